import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { EAGAIN } from '../../../kernel/errno.js';
import {
  HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_PORT, OWNER_APP, OWNER_SHIFT,
} from '../../../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_ROOM, QUEUE_TEMPLATE } from '../../layout.js';
import { PortRxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { TAP_CHAIN_NOMBUF, TAP_HELD, TAP_SPILL, TAP_SPILL_BYTES, TAP_TRUNCATED } from './layout.js';
import { TapVectors } from './vectors.js';

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
