import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { PollmodeError } from '../../errors.js';
import { Pacer, partOf, type Endpoint, type Part, type RunOrder, type Timer } from '../control.js';
import { HEADERS, payloadBytes, TIMESTAMP, type FrameEnds } from '../frame.js';
import { nanoseconds } from '../thread.js';

/** Where the clock stands in the payload. */
const STAMP = TIMESTAMP - HEADERS;

/** Node's own UDP socket: a burst is the sends of one turn of the event loop. */
export class DgramEndpoint implements Endpoint {
  readonly eventLoop = true;
  readonly mode = 'a send per packet, a burst per turn of the event loop';
  readonly #socket: Socket;
  readonly #port: number;
  readonly #sends: boolean;
  readonly #time: Timer;
  #burst = 32;
  #payload: Buffer = Buffer.alloc(0);
  #packets = 0;
  /** Sends that libuv has not finished. */
  #sending = 0;
  #pacer = new Pacer(1, 1);
  #part: Part = 'send';

  private constructor(socket: Socket, port: number, sends: boolean, time: Timer) {
    this.#socket = socket;
    this.#port = port;
    this.#sends = sends;
    this.#time = time;
  }

  /** In the calling thread's namespace. Throws ESYSCALL where the address cannot be had. */
  static async open({ port, peer }: { port: number; peer: number }, { from, to }: FrameEnds, sends: boolean, time: Timer): Promise<DgramEndpoint> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const endpoint = new DgramEndpoint(socket, port, sends, time);
    const [own, other] = sends ? [from.ip, to.ip] : [to.ip, from.ip];
    try {
      socket.bind({ address: own, port, exclusive: true });
      await once(socket, 'listening');
      socket.connect(peer, other);
      await once(socket, 'connect');
    } catch (cause) {
      socket.close();
      throw new PollmodeError('ESYSCALL', `A UDP socket on ${own}:${port} was refused (${cause instanceof Error ? cause.message : String(cause)}): run the sweep again.`, { cause });
    }
    socket.on('message', message => endpoint.#take(message));
    socket.on('error', () => undefined); // a refused send is not counted as sent
    return endpoint;
  }

  start(order: RunOrder): void {
    this.#burst = order.burst;
    this.#part = partOf(this.#sends, order);
    this.#pacer = new Pacer(order.rate ?? 1, order.burst);
    this.#payload = Buffer.alloc(payloadBytes(order.frame));
  }

  /** Returns what the event loop did since the last turn; a sender starts the next burst when the last one is done. */
  turn(): number {
    if (this.#part === 'send' && this.#sending === 0) this.#send(this.#payload);
    if (this.#part === 'ping' && this.#pacer.ready()) this.#ping();
    return this.#moved();
  }

  drain(): number {
    return this.#moved();
  }

  counters(): Record<string, number> {
    return this.#sends ? {} : { socket_buffer_full: udpDrops(this.#port) };
  }

  close(): void {
    this.#socket.close();
  }

  #moved(): number {
    const packets = this.#packets;
    this.#packets = 0;
    return packets;
  }

  #send(payload: Buffer): void {
    this.#sending += this.#burst;
    for (let i = 0; i < this.#burst; i++) this.#socket.send(payload, this.#sent);
  }

  #ping(): void {
    // A new payload for each burst: libuv may still hold the last one's.
    const payload = Buffer.from(this.#payload);
    payload.writeDoubleLE(nanoseconds(), STAMP);
    this.#send(payload);
  }

  readonly #sent = (error: Error | null): void => {
    this.#sending--;
    if (error === null) this.#packets++;
  };

  #take(message: Buffer): void {
    if (this.#part === 'receive') this.#packets++;
    else if (this.#part === 'ping') this.#time(message.readDoubleLE(STAMP), nanoseconds());
    else if (this.#part === 'echo') {
      this.#sending++;
      this.#socket.send(message, this.#sent);
    }
  }
}

/** The socket's own drops: the last column of its line in /proc/net/udp, where there is such a file. */
function udpDrops(port: number): number {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const line = udpSockets().split('\n').find(each => each.trim().split(/\s+/)[1]?.endsWith(hex) === true);
  return Number(line?.trim().split(/\s+/).at(-1) ?? 0);
}

function udpSockets(): string {
  try {
    return readFileSync('/proc/thread-self/net/udp', 'utf8');
  } catch {
    return '';
  }
}
