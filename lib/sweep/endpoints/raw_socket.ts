import { Arena, MIN_ARENA } from '../../arena/arena.js';
import { binding } from '../../binding.js';
import { AF_PACKET, ETH_P_ALL, SO_RCVBUF, SOCK_NONBLOCK, SOCK_RAW, SOL_PACKET, SOL_SOCKET } from '../../kernel/constants.js';
import { check } from '../../kernel/errno.js';
import { u32 } from '../../kernel/bytes.js';
import { burstsPerTurn, Pacer, partOf, type Endpoint, type Part, type RunOrder, type Timer } from '../control.js';
import { swapBytes } from '../../wire/ethernet.js';
import { buildFrame, TIMESTAMP, type FrameEnds } from '../frame.js';
import { nanoseconds } from '../thread.js';

const SLOT = 2048;
const MOST = 512;
const PACKET_STATISTICS = 6;
const PACKET_IGNORE_OUTGOING = 23;

/**
 * A raw AF_PACKET socket with one send(2) or read(2) per packet: what a C program without rings does. One native call
 * per burst makes them, so that the figure is the kernel's and not Node-API's.
 */
export class RawSocketEndpoint implements Endpoint {
  readonly mode = 'one system call per packet';
  readonly #fd: number;
  readonly #arena: Arena;
  readonly #slots: number;
  /** (offset, length) of each packet, for the native loop. */
  readonly #pairs = new Uint32Array(2 * MOST);
  readonly #ends: FrameEnds;
  readonly #sends: boolean;
  readonly #time: Timer;
  #burst = 32;
  #perTurn = 16;
  #frame: Uint8Array = new Uint8Array(0);
  #drops = 0;
  #pacer = new Pacer(1, 1);
  #part: Part = 'send';

  constructor(ifindex: number, ends: FrameEnds, sends: boolean, time: Timer) {
    this.#ends = ends;
    this.#sends = sends;
    this.#time = time;
    this.#fd = check(binding().socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), 'socket', 'A raw socket needs CAP_NET_RAW: run as root.');
    binding().setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, u32(4 << 20));
    binding().setsockopt(this.#fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1));
    check(binding().bind(this.#fd, sockaddrLl(ETH_P_ALL, ifindex)), 'bind');
    this.#arena = Arena.create({ size: MIN_ARENA });
    this.#slots = this.#arena.reserve('slots', SLOT * MOST, { align: SLOT }).offset;
    for (let i = 0; i < MOST; i++) this.#pairs[2 * i] = this.#slots + i * SLOT;
  }

  start(order: RunOrder): void {
    this.#burst = order.burst;
    this.#perTurn = burstsPerTurn(order.burst);
    this.#part = partOf(this.#sends, order);
    this.#pacer = new Pacer(order.rate ?? 1, order.burst);
    this.#frame = buildFrame(this.#ends, order.frame);
    this.#writeFrames();
  }

  turn(): number {
    let packets = 0;
    switch (this.#part) {
      case 'send':
        for (let i = 0; i < this.#perTurn; i++) packets += this.#send(this.#burst, this.#frame.length);
        return packets;
      case 'receive':
        for (let i = 0; i < this.#perTurn; i++) packets += this.#receive();
        return packets;
      case 'ping':
        packets = this.#pacer.ready() ? this.#ping() : 0;
        this.#takeEchoes();
        return packets;
      case 'echo':
        return this.#echo();
    }
  }

  drain(): number {
    if (this.#part === 'ping') this.#takeEchoes();
    return this.#sends ? 0 : this.turn();
  }

  counters(): Record<string, number> {
    if (this.#sends) return {};
    const statistics = new Uint8Array(8);
    if (binding().getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, statistics) >= 0) {
      this.#drops += new DataView(statistics.buffer).getUint32(4, true); // reading clears it
    }
    return { socket_buffer_full: this.#drops };
  }

  close(): void {
    binding().close(this.#fd);
    this.#arena.close();
  }

  #writeFrames(): void {
    for (let i = 0; i < MOST; i++) this.#arena.u8.set(this.#frame, this.#slots + i * SLOT);
  }

  /** @param length of every frame, or 0 when the pairs hold each one's */
  #send(count: number, length: number): number {
    if (length > 0) for (let i = 0; i < count; i++) this.#pairs[2 * i + 1] = length;
    const sent = binding().sendEach(this.#fd, this.#arena.u8, this.#pairs, count, 0);
    return sent > 0 ? sent : 0;
  }

  #receive(): number {
    for (let i = 0; i < this.#burst; i++) this.#pairs[2 * i + 1] = SLOT;
    const got = binding().readEach(this.#fd, this.#arena.u8, this.#pairs, this.#burst);
    return got > 0 ? got : 0;
  }

  #ping(): number {
    const now = nanoseconds();
    this.#writeFrames(); // the slots are the receive's too
    for (let i = 0; i < this.#burst; i++) this.#arena.f64[(this.#slots + i * SLOT + TIMESTAMP) / 8] = now;
    return this.#send(this.#burst, this.#frame.length);
  }

  #takeEchoes(): void {
    const got = this.#receive();
    if (got === 0) return;
    const now = nanoseconds();
    for (let i = 0; i < got; i++) {
      // The kernel's own stack may answer too: only frames of our length are echoes.
      if (this.#pairs[2 * i + 1] === this.#frame.length) this.#time(this.#arena.f64[(this.#slots + i * SLOT + TIMESTAMP) / 8]!, now);
    }
  }

  #echo(): number {
    const got = this.#receive();
    for (let i = 0; i < got; i++) swapBytes(this.#arena.u8, this.#slots + i * SLOT);
    if (got > 0) this.#send(got, 0);
    return got;
  }
}

/** struct sockaddr_ll (linux/if_packet.h); the protocol in network byte order. */
function sockaddrLl(protocol: number, ifindex: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, false);
  view.setInt32(4, ifindex, true);
  return bytes;
}
