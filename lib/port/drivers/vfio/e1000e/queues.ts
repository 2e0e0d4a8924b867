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
  E1000E_CAUSE, E1000E_DESCRIPTOR_SHIFT, E1000E_HEAD, E1000E_LASTS, E1000E_MASK, E1000E_MASK_REGISTER, E1000E_NEXT, E1000E_RING, E1000E_SIDE,
  RXD_DD, RXD_STATUS,
} from './layout.js';

/** Receive side: the burst module does it all; here is how a thread sleeps on it. */
export class E1000eRxQueue extends FunctionRxQueue {
  readonly #wake: WakeSource;
  readonly #state: QueueView;
  readonly #count = new Uint8Array(8);
  readonly #binding: Binding;
  #closed = false;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state, functions.e1000eRx);
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
    this.#state.arena.u32[this.#state.get(E1000E_MASK_REGISTER) >>> 2] = this.#state.get(E1000E_CAUSE);
    return !isReady(this.#state);
  }
}

export class E1000eTxQueue extends PortTxQueue {
  readonly #e1000eTx: BurstFunctions['e1000eTx'];
  readonly #queue: number;
  readonly #lcore: number;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#e1000eTx = functions.e1000eTx;
    this.#queue = state.offset;
    this.#lcore = state.arena.lcore;
  }

  /** A count of 0 frees what was sent. */
  txBurst(burst: Burst, count: number): number {
    return this.admits() ? this.#e1000eTx(this.#queue, burst.offset, burst.bounded(count), this.#lcore) : 0;
  }
}

/** Has the device written the next descriptor back? */
export function isReady(state: QueueView): boolean {
  return state.get(E1000E_HEAD) !== state.get(E1000E_NEXT) && isDone(state, state.get(E1000E_HEAD));
}

/** Frames that came and that nobody has taken. */
export function unread(state: QueueView): number {
  let count = 0;
  const most = (state.get(E1000E_NEXT) - state.get(E1000E_HEAD)) >>> 0;
  while (count < most && isDone(state, state.get(E1000E_HEAD) + count)) count++;
  return count;
}

function isDone(state: QueueView, index: number): boolean {
  const descriptor = state.get(E1000E_RING) + ((index & state.get(E1000E_MASK)) << E1000E_DESCRIPTOR_SHIFT);
  return (Atomics.load(state.arena.u32, (descriptor + RXD_STATUS) >>> 2) & RXD_DD) !== 0;
}

/**
 * After the death of the lcore that polled the queue, perhaps in the middle of a burst: descriptors at the front whose
 * mbufs are not the queue's any more were done with, and are passed over. What it had stamped for the device and not
 * published stays the queue's until close.
 */
export function repair(state: QueueView): void {
  const { u32 } = state.arena;
  const mask = state.get(E1000E_MASK);
  const next = state.get(E1000E_NEXT);
  let head = state.get(E1000E_HEAD);
  // tx: in the middle of a burst its last one must be known from where it is entered.
  let last = head;
  while (head !== next && u32[ownerWord(state, u32[(state.get(E1000E_SIDE) >>> 2) + (head & mask)]!)] !== state.owner) {
    if (state.direction === 'tx' && (head === state.get(E1000E_HEAD) || head === ((last + 1) >>> 0))) last = u32[(state.get(E1000E_LASTS) >>> 2) + (head & mask)]!;
    head = (head + 1) >>> 0;
  }
  if (state.direction === 'tx' && head !== state.get(E1000E_HEAD) && head !== ((last + 1) >>> 0)) u32[(state.get(E1000E_LASTS) >>> 2) + (head & mask)] = last;
  state.set(E1000E_HEAD, head);
}
