import { binding, type Binding } from '../../../../binding.js';
import type { Burst } from '../../../../burst/burst.js';
import type { BurstFunctions } from '../../../../burst/functions.js';
import { QUEUE_LCORE } from '../../../layout.js';
import type { WakeSource } from '../../../port.js';
import { PortTxQueue } from '../../../port_queue.js';
import { FunctionRxQueue } from '../../../queue.js';
import type { QueueView } from '../../../queue_view.js';
import { ownerWord } from '../pci/closing.js';
import {
  INTEL_CAUSE, INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH, INTEL_CHAIN_SEGMENTS, INTEL_DESCRIPTOR_SHIFT,
  INTEL_FORGET_REGISTER, INTEL_HEAD, INTEL_LASTS, INTEL_MASK, INTEL_MASK_REGISTER, INTEL_NEXT, INTEL_RING, INTEL_SIDE, INTEL_SPLIT, RXD_DD,
  RXD_STATUS,
} from './layout.js';

/** Receive side: the burst module does it all; here is how a thread sleeps on it. */
export class IntelRxQueue extends FunctionRxQueue {
  readonly #wake: WakeSource;
  readonly #state: QueueView;
  readonly #count = new Uint8Array(8);
  readonly #binding: Binding;
  #closed = false;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state, functions.intelRx);
    this.#state = state;
    this.#binding = binding();
    this.#wake = { fd: state.fd, arm: () => this.#arm() };
  }

  override get wake(): WakeSource {
    return this.#wake;
  }

  override close(): void {
    this.#closed = true;
    super.close();
  }

  /** Forgets old signals, lifts the mask that the last interrupt has set, and looks whether something came before that. */
  #arm(): boolean {
    // After close, or in another's hands, there is no register to write to.
    if (this.#state.get(QUEUE_LCORE) !== this.#state.arena.lcore + 1 || this.#closed) return true;
    this.#binding.read(this.#state.fd, this.#count);
    const { u32 } = this.#state.arena;
    const [cause, forget] = [this.#state.get(INTEL_CAUSE), this.#state.get(INTEL_FORGET_REGISTER)];
    if (forget !== 0) u32[forget >>> 2] = cause;
    u32[this.#state.get(INTEL_MASK_REGISTER) >>> 2] = cause;
    return !isReady(this.#state);
  }
}

export class IntelTxQueue extends PortTxQueue {
  private readonly intelTx: BurstFunctions['intelTx'];
  private readonly queue: number;
  private readonly lcore: number;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.intelTx = functions.intelTx;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
  }

  /** A count of 0 frees what was sent. */
  txBurst(burst: Burst, count: number): number {
    return this.admits() ? this.intelTx(this.queue, burst.offset, burst.bounded(count), this.lcore) : 0;
  }
}

/** Has the device written the next descriptor back? */
export function isReady(state: QueueView): boolean {
  return state.get(INTEL_HEAD) !== state.get(INTEL_NEXT) && isDone(state, state.get(INTEL_HEAD));
}

/** Frames that came and that nobody has taken. */
export function unread(state: QueueView): number {
  let count = 0;
  const most = (state.get(INTEL_NEXT) - state.get(INTEL_HEAD)) >>> 0;
  while (count < most && isDone(state, state.get(INTEL_HEAD) + count)) count++;
  return count;
}

function isDone(state: QueueView, index: number): boolean {
  const descriptor = state.get(INTEL_RING) + ((index & state.get(INTEL_MASK)) << INTEL_DESCRIPTOR_SHIFT);
  return (Atomics.load(state.arena.u32, (descriptor + RXD_STATUS) >>> 2) & RXD_DD) !== 0;
}

/**
 * After the death of the lcore that polled the queue, perhaps in the middle of a burst: descriptors at the front whose
 * mbufs are not the queue's any more were done with, and are passed over. What it had stamped for the device and not
 * published stays the queue's until close, and so do the pieces of a frame of which more is to come; the rest is dropped.
 */
export function repair(state: QueueView): void {
  const { u32 } = state.arena;
  const mask = state.get(INTEL_MASK);
  const next = state.get(INTEL_NEXT);
  const isDoneWith = (index: number): boolean => {
    const handle = u32[(state.get(INTEL_SIDE) >>> 2) + (index & mask)]!;
    return handle === 0 || u32[ownerWord(state, handle)] !== state.owner;
  };
  const start = state.get(INTEL_HEAD);
  let head = start;
  // tx: in the middle of a burst its last one must be known from where it is entered.
  let last = head;
  while (head !== next && isDoneWith(head)) {
    if (state.direction === 'tx' && (head === start || head === ((last + 1) >>> 0))) last = u32[(state.get(INTEL_LASTS) >>> 2) + (head & mask)]!;
    head = (head + 1) >>> 0;
  }
  if (state.direction === 'tx' && head !== start && head !== ((last + 1) >>> 0)) u32[(state.get(INTEL_LASTS) >>> 2) + (head & mask)] = last;
  state.set(INTEL_HEAD, head);
  if (state.direction === 'rx' && state.get(INTEL_CHAIN_FIRST) !== 0) {
    for (const field of [INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH, INTEL_CHAIN_SEGMENTS]) state.set(field, 0);
    state.set(INTEL_SPLIT, 1);
  }
}
