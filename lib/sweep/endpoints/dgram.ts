import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { nanoseconds, Pacer, partOf, type Endpoint, type Part, type RunOrder, type Timer } from '../control.js';
import { HEADERS, payloadBytes, TIMESTAMP, UDP_PORT, type FrameEnds } from '../frame.js';

/** Where the clock stands in the payload. */
const STAMP = TIMESTAMP - HEADERS;

/** Node's own UDP socket: a burst is the sends of one turn of the event loop. */
export class DgramEndpoint implements Endpoint {
  readonly eventLoop = true;
  readonly mode = 'a send per packet, a burst per turn of the event loop';
  readonly #socket: Socket;
  readonly #sends: boolean;
  readonly #time: Timer;
  #burst = 32;
  #payload: Buffer = Buffer.alloc(0);
  #packets = 0;
  /** Sends that libuv has not finished. */
  #sending = 0;
  #pacer = new Pacer(1, 1);
  #part: Part = 'send';

  private constructor(socket: Socket, sends: boolean, time: Timer) {
    this.#socket = socket;
    this.#sends = sends;
    this.#time = time;
  }

  /** In the calling thread's namespace; `UDP_PORT` on both sides. */
  static async open({ from, to }: FrameEnds, sends: boolean, time: Timer): Promise<DgramEndpoint> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const endpoint = new DgramEndpoint(socket, sends, time);
    const [own, peer] = sends ? [from.ip, to.ip] : [to.ip, from.ip];
    socket.bind({ address: own, port: UDP_PORT, exclusive: true });
    await once(socket, 'listening');
    socket.connect(UDP_PORT, peer);
    await once(socket, 'connect');
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
    const packets = this.#packets;
    this.#packets = 0;
    return packets;
  }

  /** The socket's own drops: the last column of its line in /proc/net/udp. */
  counters(): Record<string, number> {
    return this.#sends ? {} : { socket_buffer_full: udpDrops() };
  }

  close(): void {
    this.#socket.close();
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
    else if (this.#part === 'ping') this.#time(nanoseconds() - message.readDoubleLE(STAMP));
    else if (this.#part === 'echo') {
      this.#sending++;
      this.#socket.send(message, this.#sent);
    }
  }
}

function udpDrops(): number {
  const port = `:${UDP_PORT.toString(16).toUpperCase().padStart(4, '0')}`;
  const line = readFileSync('/proc/thread-self/net/udp', 'utf8').split('\n').find(each => each.trim().split(/\s+/)[1]?.endsWith(port) === true);
  return Number(line?.trim().split(/\s+/).at(-1) ?? 0);
}
