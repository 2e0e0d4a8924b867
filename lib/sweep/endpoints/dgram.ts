import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { binding } from '../../binding.js';
import { Pacer, type Endpoint, type RunOrder } from '../control.js';
import { HEADERS, payloadBytes, TIMESTAMP, UDP_PORT, type FrameEnds } from '../frame.js';

const clock = new Float64Array(2);

/** Node's own UDP socket: a burst is the sends of one turn of the event loop. */
export class DgramEndpoint implements Endpoint {
  readonly eventLoop = true;
  readonly mode = 'a send per packet, a burst per turn of the event loop';
  readonly #socket: Socket;
  readonly #time: (nanoseconds: number) => void;
  #burst = 32;
  #payload = Buffer.alloc(0);
  #received = 0;
  #sending = 0;
  #pacer: Pacer | undefined;
  #timed = false;

  private constructor(socket: Socket, time: (nanoseconds: number) => void) {
    this.#socket = socket;
    this.#time = time;
  }

  /** In the calling thread's namespace. The port is `UDP_PORT` on both sides. */
  static async open(ends: FrameEnds, sends: boolean, time: (nanoseconds: number) => void): Promise<DgramEndpoint> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const endpoint = new DgramEndpoint(socket, time);
    const address = sends ? ends.from.ip : ends.to.ip;
    socket.bind({ address, port: UDP_PORT, exclusive: true });
    await once(socket, 'listening');
    if (sends) {
      socket.connect(UDP_PORT, ends.to.ip);
      await once(socket, 'connect');
    } else {
      socket.on('message', message => endpoint.#take(message));
    }
    socket.on('error', () => undefined); // a refused send is not counted as sent
    return endpoint;
  }

  start({ burst, frame, rate }: RunOrder): void {
    this.#burst = burst;
    this.#timed = rate !== undefined;
    this.#pacer = rate === undefined ? undefined : new Pacer(rate, burst);
    this.#payload = Buffer.alloc(payloadBytes(frame));
  }

  /** Sender: a burst of sends when the last one's are done. Receiver: what the event loop brought since the last turn. */
  turn(): number {
    if (this.#socket.listenerCount('message') > 0) return this.#taken();
    if (this.#sending > 0 || (this.#pacer !== undefined && !this.#pacer.ready())) return this.#taken();
    if (this.#pacer !== undefined) {
      // Each burst a new payload: libuv may still hold the last one's.
      this.#payload = Buffer.from(this.#payload);
      binding().clock(clock);
      this.#payload.writeDoubleLE(clock[1]!, TIMESTAMP - HEADERS);
    }
    this.#sending = this.#burst;
    for (let i = 0; i < this.#burst; i++) this.#socket.send(this.#payload, this.#sent);
    return this.#taken();
  }

  /** /proc/net/udp's drops, of the socket's own line. */
  counters(): Record<string, number> {
    if (this.#socket.listenerCount('message') === 0) return {};
    return { socket_buffer_full: udpDrops() };
  }

  close(): void {
    this.#socket.close();
  }

  readonly #sent = (error: Error | null): void => {
    this.#sending--;
    if (error === null) this.#received++;
  };

  #taken(): number {
    const packets = this.#received;
    this.#received = 0;
    return packets;
  }

  #take(message: Buffer): void {
    this.#received++;
    if (!this.#timed || message.length < TIMESTAMP - HEADERS + 8) return;
    binding().clock(clock);
    this.#time(clock[1]! - message.readDoubleLE(TIMESTAMP - HEADERS));
  }
}

/** The last column of the calling thread's namespace's only socket on our port. */
function udpDrops(): number {
  const port = UDP_PORT.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/thread-self/net/udp', 'utf8').split('\n').find(each => each.split(/\s+/)[2]?.endsWith(`:${port}`) === true);
  return Number(line?.trim().split(/\s+/).at(-1) ?? 0);
}
