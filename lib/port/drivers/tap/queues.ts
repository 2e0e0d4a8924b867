import type { Arena } from '../../../arena/arena.js';
import type { Memzone } from '../../../arena/directory.js';
import { binding, type Binding } from '../../../binding.js';
import { MAX_BURST, type Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_PORT, OWNER_APP, OWNER_SHIFT,
} from '../../../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_FD, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../../layout.js';
import { PortRxQueue, PortTxQueue } from '../../port_queue.js';
import type { QueueState } from '../../queue.js';
import type { QueueView } from '../../queue_view.js';
import { TAP_BAD_FRAME, TAP_HELD, TAP_TRUNCATED, TAP_VECTORS } from './layout.js';

const EAGAIN = 11;
const ETHERNET_HEADER = 14;
const VECTOR_BYTES = MAX_BURST * 12;

/** What both directions have: the queue's vectors in the arena, and the counts of what the kernel refused. */
class TapVectors {
  /** Refusals by errno. */
  readonly refusals = new Map<number, number>();
  readonly state: QueueView;
  readonly functions: BurstFunctions;
  readonly binding: Binding;
  readonly arena: Arena;
  readonly fd: number;
  readonly pool: number;
  /** (offset, length) of each packet, for the native call. */
  readonly pairs: Uint32Array;
  /** Offset of the second vector in the arena, and the vector. */
  readonly at: number;
  readonly second: Uint32Array;

  constructor(state: QueueView, functions: BurstFunctions) {
    const vectors = state.get(TAP_VECTORS);
    this.state = state;
    this.functions = functions;
    this.binding = binding();
    this.arena = state.arena;
    this.fd = state.fd;
    this.pool = state.get(QUEUE_POOL);
    this.pairs = new Uint32Array(this.arena.buffer, vectors, 2 * MAX_BURST);
    this.at = vectors + 8 * MAX_BURST;
    this.second = new Uint32Array(this.arena.buffer, this.at, MAX_BURST);
  }

  refused(errno: number): void {
    this.refusals.set(errno, (this.refusals.get(errno) ?? 0) + 1);
  }

  header(handle: number): number {
    return (this.arena.table + (handle << HEADER_SHIFT)) >>> 0;
  }
}

/**
 * Receive side: one read(2) per packet, all of a burst's in one native call, straight into mbufs. They are taken from
 * the pool in advance, since a length is known only afterwards; those that nothing came into wait for the next burst,
 * as the port's own.
 */
export class TapRxQueue extends PortRxQueue {
  readonly #tap: TapVectors;
  readonly #lcore: number;
  readonly #room: number;
  readonly #port: number;
  #open = true;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#tap = new TapVectors(state, functions);
    this.#lcore = state.arena.lcore;
    this.#room = state.get(QUEUE_ROOM);
    this.#port = state.arena.u16[(state.offset + QUEUE_TEMPLATE + MBUF_PORT) >>> 1]!;
  }

  /** Refusals of the kernel by errno. */
  get refusals(): ReadonlyMap<number, number> {
    return this.#tap.refusals;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(max);
    if (!(most > 0)) return 0;
    const held = this.#stock(most);
    if (held === 0) {
      this.#tap.state.add(QUEUE_NOMBUF, 1);
      return 0;
    }
    const got = this.#tap.binding.readEach(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, held < most ? held : most);
    if (got > 0) return this.#deliver(burst, got);
    if (got < 0 && got !== -EAGAIN) this.#tap.refused(-got);
    return 0;
  }

  /** The mbufs that wait go back to the pool. */
  override close(): void {
    super.close();
    if (!this.#open) return;
    this.#open = false;
    const held = this.#tap.state.get(TAP_HELD);
    for (let i = 0; i < held; i++) this.#tap.second[i] = this.#tap.pairs[2 * i]! >>> HANDLE_SHIFT;
    this.#tap.functions.mbufOwn(this.#tap.arena.table, this.#tap.at, held, (OWNER_APP << OWNER_SHIFT) | this.#lcore);
    if (held > 0) this.#tap.functions.mbufFree(this.#tap.pool, this.#lcore, this.#tap.at, held);
    this.#tap.state.set(TAP_HELD, 0);
  }

  /** Sees to it that `most` mbufs wait, or as many as the pool has. Returns how many do. */
  #stock(most: number): number {
    let held = this.#tap.state.get(TAP_HELD);
    for (let want = most - held; want > 0;) {
      if (this.#tap.functions.mbufAlloc(this.#tap.pool, this.#lcore, this.#tap.at, want) === 0) {
        want >>>= 1; // the pool's last few
        continue;
      }
      this.#tap.functions.mbufOwn(this.#tap.arena.table, this.#tap.at, want, this.#tap.state.owner);
      for (let i = 0; i < want; i++) this.#offer(held + i, this.#tap.second[i]!);
      held += want;
      want = most - held;
    }
    this.#tap.state.set(TAP_HELD, held);
    return held;
  }

  #offer(place: number, handle: number): void {
    this.#tap.pairs[2 * place] = (handle << HANDLE_SHIFT) + HEADROOM;
    this.#tap.pairs[2 * place + 1] = this.#room;
  }

  /**
   * A read that fills the buffer to the last byte may have cut the frame: read(2) does not tell. Such a frame is
   * dropped, and its mbuf waits again.
   */
  #deliver(burst: Burst, got: number): number {
    const { pairs } = this.#tap;
    let good = 0;
    let kept = 0;
    let bytes = 0;
    for (let i = 0; i < got; i++) {
      const handle = pairs[2 * i]! >>> HANDLE_SHIFT;
      const length = pairs[2 * i + 1]!;
      if (length >= this.#room) {
        this.#offer(kept++, handle);
        continue;
      }
      this.#describe(handle, length);
      burst.handles[good++] = handle;
      bytes += length;
    }
    const held = this.#tap.state.get(TAP_HELD);
    pairs.copyWithin(2 * kept, 2 * got, 2 * held);
    this.#tap.state.set(TAP_HELD, held - good);
    this.#tap.state.add(TAP_TRUNCATED, kept);
    this.#tap.state.add(QUEUE_PACKETS, good);
    this.#tap.state.add(QUEUE_BYTES, bytes);
    return good;
  }

  /** The rest of the header is as the pool's alloc left it. */
  #describe(handle: number, length: number): void {
    const header = this.#tap.header(handle);
    const { u16, u32 } = this.#tap.arena;
    u16[(header + MBUF_PORT) >>> 1] = this.#port;
    u32[(header + MBUF_PKT_LEN) >>> 2] = length;
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    u32[(header + MBUF_OWNER) >>> 2] = (OWNER_APP << OWNER_SHIFT) | this.#lcore;
  }
}

/** Send side: one write(2) per packet, all of a burst's in one native call. What the kernel took it has copied. */
export class TapTxQueue extends PortTxQueue {
  readonly #tap: TapVectors;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#tap = new TapVectors(state, functions);
  }

  /** Refusals of the kernel by errno. */
  get refusals(): ReadonlyMap<number, number> {
    return this.#tap.refusals;
  }

  txBurst(burst: Burst, wanted: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(wanted);
    if (!(most > 0)) return 0;
    const good = this.#describe(burst, most);
    const result = good > 0 ? this.#tap.binding.writeEach(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, good) : 0;
    if (result < 0) this.#tap.refused(-result);
    const sent = result > 0 ? result : 0;
    // Bad frames are taken too, up to the first good one that was refused.
    const taken = sent === good ? most : this.#tap.second[sent]!;
    this.#count(most, taken, sent);
    if (taken > 0) this.#tap.functions.mbufFree(this.#tap.pool, this.#tap.arena.lcore, burst.offset, taken);
    return taken;
  }

  /** Writes the pairs of the frames that can be sent, and the place of each in the burst. Returns how many. */
  #describe(burst: Burst, count: number): number {
    const { u16 } = this.#tap.arena;
    let good = 0;
    for (let i = 0; i < count; i++) {
      const handle = burst.handles[i]!;
      const header = this.#tap.header(handle);
      if (!this.#isWhole(header)) continue;
      this.#tap.pairs[2 * good] = ((handle << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1]!;
      this.#tap.pairs[2 * good + 1] = u16[(header + MBUF_DATA_LEN) >>> 1]!;
      this.#tap.second[good++] = i;
    }
    return good;
  }

  /** One segment inside its buffer, no shorter than an Ethernet header, which the kernel would refuse. */
  #isWhole(header: number): boolean {
    const { u16, u32 } = this.#tap.arena;
    const length = u16[(header + MBUF_DATA_LEN) >>> 1]!;
    return u16[(header + MBUF_NB_SEGS) >>> 1] === 1 && length >= ETHERNET_HEADER
      && u16[(header + MBUF_DATA_OFF) >>> 1]! + length <= u32[(header + MBUF_BUF_LEN) >>> 2]!;
  }

  #count(offered: number, taken: number, sent: number): void {
    let bytes = 0;
    for (let i = 0; i < sent; i++) bytes += this.#tap.pairs[2 * i + 1]!;
    this.#tap.state.add(QUEUE_PACKETS, sent);
    this.#tap.state.add(QUEUE_BYTES, bytes);
    this.#tap.state.add(TAP_BAD_FRAME, taken - sent);
    this.#tap.state.add(QUEUE_NOMBUF, offered - taken);
  }
}

/** Reserves a queue's vectors and tells its state of them. */
export function reserveVectors(state: QueueState, name: string, fd: number): Memzone {
  const zone = state.arena.reserve(name, VECTOR_BYTES);
  state.set(TAP_VECTORS, zone.offset);
  state.set(QUEUE_FD, fd);
  return zone;
}
