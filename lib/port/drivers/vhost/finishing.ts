/**
 * What a guest leaves to be done and nobody does for it, done in software: of what it sends, before a program sees it; of
 * what it is sent, where it has not said that it does it itself. Pieces that find no room wait here, in order: a program
 * counts them as its lcore's own, and so does whoever buries that lcore.
 */
import { Burst } from '../../../burst/burst.js';
import { HEADER_SHIFT, MBUF_OL_FLAGS, TX_OFFLOADS } from '../../../mbuf/layout.js';
import { Mempool } from '../../../mbuf/mempool.js';
import { QUEUE_NOMBUF, QUEUE_POOL } from '../../layout.js';
import { VQ_FINISHED, VQ_PIECES, VQ_UNFINISHABLE, VQ_UNFINISHED } from '../../../virtqueue/layout.js';
import { Offloads } from '../../../wire/offloads.js';
import type { BurstCaller } from '../../armed_queue.js';
import type { QueueView } from '../../queue_view.js';

/** A send: `count` entries from the entry `from` on. Returns how many were taken. */
export interface SendCaller {
  callFrom(burst: Burst, from: number, count: number): number;
}

/** A 64 KiB packet in segments of 128 bytes. */
const MOST_PIECES = 512;

/** One packet's pieces, and how far they have gone. Its memory is taken when a packet first needs it. */
class Pieces {
  readonly burst: Burst;
  readonly #state: QueueView;
  readonly #pool: Mempool;
  readonly #offloads: Offloads;
  from = 0;
  to = 0;

  constructor(state: QueueView) {
    const { arena } = state;
    const offset = state.get(QUEUE_POOL);
    this.#state = state;
    this.#pool = Mempool.find(arena, arena.zones().find(zone => zone.offset === offset)!.name);
    this.#offloads = new Offloads(this.#pool);
    this.burst = new Burst(arena, MOST_PIECES);
  }

  /** Takes the packet over. */
  make(handle: number): void {
    this.from = 0;
    this.to = this.#offloads.finish(handle, this.burst);
    if (this.to === 0) this.#state.add(VQ_UNFINISHABLE, 1);
    else this.#state.add(VQ_FINISHED, 1);
    this.#state.add(VQ_PIECES, this.to);
  }

  free(burst: Burst, from: number, to: number): void {
    this.#pool.free(burst, from, to);
  }

  close(): void {
    this.free(this.burst, this.from, this.to);
    this.from = this.to = 0;
    this.burst.close();
    this.#offloads.close();
  }
}

/** Receives what wants nothing any more. Packets that a burst has no room for come first in the next one. */
export class FinishingReceiver implements BurstCaller {
  private readonly caller: BurstCaller;
  private readonly state: QueueView;
  private readonly u32: Uint32Array;
  /** Index of VQ_UNFINISHED. */
  private readonly unfinished: number;
  private waiting = false;
  #pieces: Pieces | undefined;
  /** Frames as they came, from the first that wanted something. */
  #raw: Burst | undefined;
  #next = 0;
  #end = 0;

  constructor(state: QueueView, caller: BurstCaller) {
    this.state = state;
    this.caller = caller;
    this.u32 = state.arena.u32;
    this.unfinished = (state.offset + VQ_UNFINISHED) >>> 2;
  }

  /** Is something here that the ring does not show? */
  get hasMore(): boolean {
    return this.waiting;
  }

  call(burst: Burst, count: number): number {
    if (this.waiting) return this.#drain(burst, 0, count);
    const got = this.caller.call(burst, count);
    return got === 0 || this.u32[this.unfinished] === 0 ? got : this.#finish(burst, got, count);
  }

  close(): void {
    this.#pieces?.free(this.#raw!, this.#next, this.#end);
    this.#pieces?.close();
    this.#raw?.close();
    this.#pieces = this.#raw = undefined;
    this.waiting = false;
  }

  #finish(burst: Burst, got: number, count: number): number {
    this.#pieces ??= new Pieces(this.state);
    const raw = this.#raw ??= new Burst(this.state.arena, MOST_PIECES);
    let first = 0;
    while (first < got && !this.#wants(burst.handles[first]!)) first++;
    for (let i = first; i < got; i++) raw.handles[i - first] = burst.handles[i]!;
    this.#next = 0;
    this.#end = got - first;
    return this.#drain(burst, first, count);
  }

  #drain(burst: Burst, from: number, count: number): number {
    const [pieces, raw] = [this.#pieces!, this.#raw!];
    let n = from;
    while (n < count) {
      if (pieces.from < pieces.to) burst.handles[n++] = pieces.burst.handles[pieces.from++]!;
      else if (this.#next === this.#end) break;
      else {
        const handle = raw.handles[this.#next++]!;
        if (this.#wants(handle)) pieces.make(handle);
        else burst.handles[n++] = handle;
      }
    }
    this.waiting = pieces.from < pieces.to || this.#next < this.#end;
    return n;
  }

  #wants(handle: number): boolean {
    return (this.u32[flagsOf(this.state, handle)]! & TX_OFFLOADS) !== 0;
  }
}

function flagsOf(state: QueueView, handle: number): number {
  return (state.arena.table + (handle << HEADER_SHIFT) + MBUF_OL_FLAGS) >>> 2;
}

/** Sends what a guest takes as it is, and finishes the rest for it. */
export class FinishingSender {
  private readonly caller: SendCaller;
  private readonly state: QueueView;
  private readonly u32: Uint32Array;
  private readonly unfinished: number;
  private waiting = false;
  #pieces: Pieces | undefined;

  constructor(state: QueueView, caller: SendCaller) {
    this.state = state;
    this.caller = caller;
    this.u32 = state.arena.u32;
    this.unfinished = (state.offset + VQ_UNFINISHED) >>> 2;
  }

  call(burst: Burst, count: number): number {
    if (this.waiting && !this.#flush()) {
      this.state.add(QUEUE_NOMBUF, count);
      return 0;
    }
    const taken = this.caller.callFrom(burst, 0, count);
    return this.u32[this.unfinished] === 0 ? taken : this.#finish(burst, taken, count);
  }

  /** Another try for pieces that wait, where no packet comes that would push them. */
  flush(): void {
    if (this.waiting) this.#flush();
  }

  close(): void {
    this.#pieces?.close();
    this.#pieces = undefined;
    this.waiting = false;
  }

  /** From the packet on that the burst stopped at. */
  #finish(burst: Burst, from: number, count: number): number {
    const pieces = this.#pieces ??= new Pieces(this.state);
    let taken = from;
    while (taken < count && this.u32[this.unfinished] !== 0) {
      pieces.make(burst.handles[taken++]!);
      if (!this.#flush()) {
        this.state.add(QUEUE_NOMBUF, count - taken);
        return taken;
      }
      if (taken < count) taken += this.caller.callFrom(burst, taken, count - taken);
    }
    return taken;
  }

  /** Returns whether all pieces have gone. */
  #flush(): boolean {
    const pieces = this.#pieces!;
    if (pieces.from < pieces.to) pieces.from += this.caller.callFrom(pieces.burst, pieces.from, pieces.to - pieces.from);
    this.waiting = pieces.from < pieces.to;
    return !this.waiting;
  }
}
