import type { Arena } from '../../../arena/arena.js';
import type { Memzone } from '../../../arena/directory.js';
import { binding, type Binding } from '../../../binding.js';
import { MAX_BURST, type Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER,
  MBUF_PKT_LEN, MBUF_POOL, MBUF_PORT, OWNER_APP, OWNER_SHIFT,
} from '../../../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_FD, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../../layout.js';
import { PortRxQueue, PortTxQueue } from '../../port_queue.js';
import type { QueueState } from '../../queue.js';
import type { QueueView } from '../../queue_view.js';
import { TAP_BAD_FRAME, TAP_CHAIN_NOMBUF, TAP_HELD, TAP_SPILL, TAP_SPILL_BYTES, TAP_TRUNCATED, TAP_VECTORS } from './layout.js';

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
 * as the port's own. A frame that is longer than an mbuf has room for goes on in a place of the queue's, and is copied
 * from there into more mbufs: a native call for each such frame, and a copy of what is behind the first mbuf.
 */
export class TapRxQueue extends PortRxQueue {
  readonly #tap: TapVectors;
  readonly #lcore: number;
  readonly #room: number;
  readonly #port: number;
  readonly #spill: number;
  readonly #spillBytes: number;
  #open = true;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#tap = new TapVectors(state, functions);
    this.#lcore = state.arena.lcore;
    this.#room = state.get(QUEUE_ROOM);
    this.#spill = state.get(TAP_SPILL);
    this.#spillBytes = state.get(TAP_SPILL_BYTES);
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
    const wanted = held < most ? held : most;
    let good = 0;
    for (let looked = 0; looked < wanted;) {
      const got = this.#read(wanted - looked);
      if (got <= 0) {
        if (got < 0 && got !== -EAGAIN) this.#tap.refused(-got);
        break;
      }
      const spilt = this.#tap.pairs[2 * got - 1]! > this.#room;
      good = this.#deliver(burst, good, got);
      looked += got;
      if (!spilt) break;
    }
    return good;
  }

  #read(count: number): number {
    const { binding, fd, arena, pairs } = this.#tap;
    return this.#spillBytes === 0 ? binding.readEach(fd, arena.u8, pairs, count) : binding.readEachSpilling(fd, arena.u8, pairs, count, this.#spill, this.#spillBytes);
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
   * A read that fills what there is to the last byte may have cut the frame: read(2) does not tell. Such a frame is
   * dropped, and its mbuf waits again. Returns how many the burst has now.
   */
  #deliver(burst: Burst, before: number, got: number): number {
    const { pairs } = this.#tap;
    const most = this.#room + this.#spillBytes;
    let good = before;
    let kept = 0;
    let bytes = 0;
    let cut = 0;
    for (let i = 0; i < got; i++) {
      const handle = pairs[2 * i]! >>> HANDLE_SHIFT;
      const length = pairs[2 * i + 1]!;
      if (length >= most || (length > this.#room && !this.#chain(handle, length))) {
        if (length >= most) cut++;
        this.#offer(kept++, handle);
        continue;
      }
      if (length <= this.#room) this.#describe(handle, length);
      burst.handles[good++] = handle;
      bytes += length;
    }
    const held = this.#tap.state.get(TAP_HELD);
    pairs.copyWithin(2 * kept, 2 * got, 2 * held);
    this.#tap.state.set(TAP_HELD, held - (good - before));
    this.#tap.state.add(TAP_TRUNCATED, cut);
    this.#tap.state.add(QUEUE_PACKETS, good - before);
    this.#tap.state.add(QUEUE_BYTES, bytes);
    return good;
  }

  /** Puts what was spilt behind the first mbuf. False, and it is counted, when the pool has not so many more. */
  #chain(first: number, length: number): boolean {
    const { arena: { u8, u16, u32 }, functions, pool, at, second } = this.#tap;
    const rest = length - this.#room;
    const more = Math.ceil(rest / this.#room);
    if (functions.mbufAlloc(pool, this.#lcore, at, more) === 0) {
      this.#tap.state.add(TAP_CHAIN_NOMBUF, 1);
      return false;
    }
    this.#describe(first, this.#room);
    const head = this.#tap.header(first);
    let before = head;
    for (let i = 0; i < more; i++) {
      const handle = second[i]!;
      const from = this.#spill + i * this.#room;
      const part = i + 1 < more ? this.#room : rest - i * this.#room;
      u8.copyWithin(((handle << HANDLE_SHIFT) >>> 0) + HEADROOM, from, from + part);
      this.#describe(handle, part);
      u32[(before + MBUF_NEXT) >>> 2] = handle;
      before = this.#tap.header(handle);
    }
    u16[(head + MBUF_NB_SEGS) >>> 1] = more + 1;
    u32[(head + MBUF_PKT_LEN) >>> 2] = length;
    return true;
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

/** Send side: one write(2) per packet, all of a burst's in one native call; a chain is a writev(2) and a call of its own. What the kernel took it has copied. */
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
    let taken = 0;
    for (let end = 0; taken < most && taken === end;) {
      end = this.#isChain(burst.handles[taken]!) ? taken + 1 : this.#runOf(burst, taken, most);
      taken = this.#isChain(burst.handles[taken]!) ? taken + this.#sendChain(burst.handles[taken]!) : this.#sendRun(burst, taken, end);
    }
    this.#tap.state.add(QUEUE_NOMBUF, most - taken);
    if (taken > 0) this.#tap.functions.mbufFree(this.#tap.pool, this.#tap.arena.lcore, burst.offset, taken);
    return taken;
  }

  #isChain(handle: number): boolean {
    return this.#tap.arena.u16[(this.#tap.header(handle) + MBUF_NB_SEGS) >>> 1]! > 1;
  }

  /** Place of the next chain, or `most`. */
  #runOf(burst: Burst, from: number, most: number): number {
    let end = from + 1;
    while (end < most && !this.#isChain(burst.handles[end]!)) end++;
    return end;
  }

  /** Those up to `end`, which are in one mbuf. Returns the place of the first that was not taken. */
  #sendRun(burst: Burst, from: number, end: number): number {
    const good = this.#describe(burst, from, end);
    const result = good > 0 ? this.#tap.binding.writeEach(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, good) : 0;
    if (result < 0) this.#tap.refused(-result);
    const sent = result > 0 ? result : 0;
    // Bad frames are taken too, up to the first good one that was refused.
    const taken = sent === good ? end : this.#tap.second[sent]!;
    let bytes = 0;
    for (let i = 0; i < sent; i++) bytes += this.#tap.pairs[2 * i + 1]!;
    this.#count(sent, bytes, taken - from - sent);
    return taken;
  }

  /** One writev(2). Returns 1 when the packet was taken. */
  #sendChain(handle: number): number {
    const segments = this.#describeChain(handle);
    if (segments === 0) {
      this.#count(0, 0, 1);
      return 1;
    }
    const result = this.#tap.binding.writev(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, segments);
    if (result < 0) {
      this.#tap.refused(-result);
      return 0;
    }
    this.#count(1, result, 0);
    return 1;
  }

  /** Writes the pairs of the frames that can be sent, and the place of each in the burst. Returns how many. */
  #describe(burst: Burst, from: number, end: number): number {
    const { u16 } = this.#tap.arena;
    let good = 0;
    for (let i = from; i < end; i++) {
      const handle = burst.handles[i]!;
      const header = this.#tap.header(handle);
      if (u16[(header + MBUF_NB_SEGS) >>> 1] !== 1 || u16[(header + MBUF_DATA_LEN) >>> 1]! < ETHERNET_HEADER || !this.#pair(good, handle)) continue;
      this.#tap.second[good++] = i;
    }
    return good;
  }

  /** Writes a pair for each segment. Returns how many, 0 for a packet that cannot be sent: shorter than an Ethernet header, which the kernel would refuse, or contradicting itself. */
  #describeChain(handle: number): number {
    const { u16, u32 } = this.#tap.arena;
    const segments = u16[(this.#tap.header(handle) + MBUF_NB_SEGS) >>> 1]!;
    if (segments > MAX_BURST) return 0;
    let total = 0;
    for (let i = 0; i < segments; i++) {
      if (handle === 0 || !this.#pair(i, handle)) return 0;
      total += this.#tap.pairs[2 * i + 1]!;
      handle = u32[(this.#tap.header(handle) + MBUF_NEXT) >>> 2]!;
    }
    return handle === 0 && total >= ETHERNET_HEADER ? segments : 0;
  }

  /** Where an mbuf's bytes are. False when they are not all in its buffer, or it is not this pool's. */
  #pair(place: number, handle: number): boolean {
    const { u16, u32 } = this.#tap.arena;
    const header = this.#tap.header(handle);
    const offset = u16[(header + MBUF_DATA_OFF) >>> 1]!;
    const length = u16[(header + MBUF_DATA_LEN) >>> 1]!;
    if (u32[(header + MBUF_POOL) >>> 2] !== this.#tap.pool || offset + length > u32[(header + MBUF_BUF_LEN) >>> 2]!) return false;
    this.#tap.pairs[2 * place] = ((handle << HANDLE_SHIFT) >>> 0) + offset;
    this.#tap.pairs[2 * place + 1] = length;
    return true;
  }

  #count(sent: number, bytes: number, bad: number): void {
    this.#tap.state.add(QUEUE_PACKETS, sent);
    this.#tap.state.add(QUEUE_BYTES, bytes);
    this.#tap.state.add(TAP_BAD_FRAME, bad);
  }
}

/** Reserves a queue's vectors and tells its state of them. `longest`: bytes of a frame at most, and one by which it is known that none was cut. */
export function reserveVectors(state: QueueState, name: string, fd: number, longest: number): Memzone {
  const spill = state.direction === 'rx' ? Math.max(0, longest - state.get(QUEUE_ROOM)) : 0;
  const zone = state.arena.reserve(name, VECTOR_BYTES + spill);
  state.set(TAP_SPILL, zone.offset + VECTOR_BYTES);
  state.set(TAP_SPILL_BYTES, spill);
  state.set(TAP_VECTORS, zone.offset);
  state.set(QUEUE_FD, fd);
  return zone;
}
