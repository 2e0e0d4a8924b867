import { Arena, MIN_ARENA } from '../../arena/arena.js';
import { binding } from '../../binding.js';
import { AF_PACKET, ETH_P_ALL, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET } from '../../kernel/constants.js';
import { check } from '../../kernel/errno.js';
import { u32 } from '../../kernel/bytes.js';
import { Pacer, type Endpoint, type RunOrder } from '../control.js';
import { buildFrame, TIMESTAMP, type FrameEnds } from '../frame.js';

const BURSTS_PER_TURN = 16;
const SLOT = 2048;
const MOST = 512;
const SO_RCVBUF = 8;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_IGNORE_OUTGOING = 23;
const clock = new Float64Array(2);

/**
 * A raw AF_PACKET socket with one send(2) or read(2) per packet: what a C program without rings does. One native call
 * per burst makes them, so that the figure is the kernel's and not Node-API's.
 */
export class RawSocketEndpoint implements Endpoint {
  readonly mode = 'one system call per packet';
  readonly #fd: number;
  readonly #arena: Arena;
  readonly #slots: number;
  readonly #pairs = new Uint32Array(2 * MOST);
  readonly #ends: FrameEnds;
  readonly #sends: boolean;
  readonly #time: (nanoseconds: number) => void;
  #burst = 32;
  #length = 0;
  #drops = 0;
  #pacer: Pacer | undefined;
  #timed = false;

  constructor(ifindex: number, ends: FrameEnds, sends: boolean, time: (nanoseconds: number) => void) {
    this.#ends = ends;
    this.#sends = sends;
    this.#time = time;
    const protocol = sends ? 0 : ETH_P_ALL;
    this.#fd = check(binding().socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), 'socket', 'A raw socket needs CAP_NET_RAW: run as root.');
    check(binding().bind(this.#fd, sockaddrLl(protocol, ifindex)), 'bind');
    if (!sends) {
      binding().setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, u32(4 << 20));
      binding().setsockopt(this.#fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1));
    }
    this.#arena = Arena.create({ size: MIN_ARENA });
    this.#slots = this.#arena.reserve('slots', SLOT * MOST, { align: SLOT }).offset;
  }

  start({ burst, frame, rate }: RunOrder): void {
    this.#burst = burst;
    this.#timed = rate !== undefined;
    this.#pacer = rate === undefined ? undefined : new Pacer(rate, burst);
    const bytes = buildFrame(this.#ends, frame);
    this.#length = bytes.length;
    for (let i = 0; i < MOST; i++) {
      this.#pairs[2 * i] = this.#slots + i * SLOT;
      if (this.#sends) this.#arena.u8.set(bytes, this.#slots + i * SLOT);
    }
  }

  turn(): number {
    if (this.#pacer !== undefined && this.#sends) return this.#pacer.ready() ? this.#send(true) : 0;
    if (this.#timed) return this.#receive(true);
    let packets = 0;
    for (let i = 0; i < BURSTS_PER_TURN; i++) packets += this.#sends ? this.#send(false) : this.#receive(false);
    return packets;
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

  #send(stamped: boolean): number {
    if (stamped) binding().clock(clock);
    for (let i = 0; i < this.#burst; i++) {
      this.#pairs[2 * i + 1] = this.#length;
      if (stamped) this.#arena.f64[(this.#slots + i * SLOT + TIMESTAMP) / 8] = clock[1]!;
    }
    const sent = binding().sendEach(this.#fd, this.#arena.u8, this.#pairs, this.#burst, 0);
    return sent > 0 ? sent : 0;
  }

  #receive(timed: boolean): number {
    for (let i = 0; i < this.#burst; i++) this.#pairs[2 * i + 1] = SLOT;
    const got = binding().readEach(this.#fd, this.#arena.u8, this.#pairs, this.#burst);
    if (got <= 0) return 0;
    if (timed) {
      binding().clock(clock);
      for (let i = 0; i < got; i++) this.#time(clock[1]! - this.#arena.f64[(this.#slots + i * SLOT + TIMESTAMP) / 8]!);
    }
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

