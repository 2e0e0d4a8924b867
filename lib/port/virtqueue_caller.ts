/** A burst call on a virtqueue: the burst function, and what follows it. */
import { binding, type Binding } from '../binding.js';
import type { Burst } from '../burst/burst.js';
import { VQ_NOTIFY, VQ_TELL } from '../virtqueue/layout.js';
import type { QueueFunction } from './queue.js';
import type { QueueView } from './queue_view.js';

/** What a call counts towards the socket's turn: one that moved nothing more. */
const EMPTY_CALL = 4;
const TURN = 4096;
const NOBODY = 0xffffffff;
/** What is written into an eventfd. */
const ONE = new Uint8Array(BigUint64Array.of(1n).buffer);

/** Tells the other side by its eventfd when the burst says that it wants to be told, and now and then gives the port's socket a turn. */
export class VirtqueueCaller {
  private readonly move: QueueFunction;
  private readonly u32: Uint32Array;
  private readonly queue: number;
  private readonly lcore: number;
  /** Index of VQ_NOTIFY. */
  private readonly notify: number;
  private readonly turn: () => void;
  private readonly binding: Binding;
  private calls = 0;

  constructor(state: QueueView, move: QueueFunction, turn: () => void) {
    this.move = move;
    this.u32 = state.arena.u32;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
    this.notify = (state.offset + VQ_NOTIFY) >>> 2;
    this.turn = turn;
    this.binding = binding();
  }

  call(burst: Burst, count: number): number {
    return this.callFrom(burst, 0, count);
  }

  /** The same with `count` entries from the entry `from` on. */
  callFrom(burst: Burst, from: number, count: number): number {
    const moved = this.move(this.queue, burst.offset + from * 4, count, this.lcore);
    if (this.u32[this.notify] !== 0) this.tell();
    this.calls += moved === 0 ? EMPTY_CALL : 1;
    if (this.calls >= TURN) {
      this.calls = 0;
      this.turn();
    }
    return moved;
  }

  private tell(): void {
    this.u32[this.notify] = 0;
    const fd = this.u32[(this.queue + VQ_TELL) >>> 2]!;
    if (fd !== NOBODY) this.binding.write(fd, ONE);
  }
}

/** For a queue in the hands of another thread than the one that has the socket. */
export function noTurn(): void {
  // the opening thread's timer serves it
}
