import { binding, type Binding } from '../../../binding.js';
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import type { QueueState } from '../../queue.js';
import type { RxQueue, TxQueue } from '../../port.js';
import * as layout from './layout.js';
import * as uapi from './uapi.js';

// V8 loads an imported constant at each use, and knows a module's own.
const { XDP_RING_NEED_WAKEUP, XSK_FLAGS, XSK_RING_A, XSK_RING_B } = layout;
const { MSG_DONTWAIT } = uapi;

/** Receive side: the burst module moves descriptors; a recvfrom wakes the driver only where the fill ring asks for it. */
export class XskRxQueue implements RxQueue {
  afterClose = 0;
  /** System calls made, and those that the kernel refused, by errno. */
  wakeups = 0;
  readonly refusals = new Map<number, number>();
  readonly #xskRx: BurstFunctions['xskRx'];
  readonly #queue: number;
  readonly #lcore: number;
  readonly #fd: number;
  readonly #u32: Uint32Array;
  readonly #flags: number;
  readonly #binding: Binding;
  #open = true;

  constructor(state: QueueState, functions: BurstFunctions, fd: number) {
    this.#xskRx = functions.xskRx;
    this.#queue = state.offset;
    this.#lcore = state.arena.lcore;
    this.#u32 = state.arena.u32;
    this.#flags = state.get(XSK_RING_B + XSK_FLAGS) >>> 2;
    this.#fd = fd;
    this.#binding = binding();
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.#open) {
      this.afterClose++;
      return 0;
    }
    const most = max < burst.capacity ? max : burst.capacity;
    if (!(most > 0)) return 0;
    const got = this.#xskRx(this.#queue, burst.offset, most, this.#lcore);
    if ((this.#u32[this.#flags]! & XDP_RING_NEED_WAKEUP) !== 0) this.#wake();
    return got;
  }

  close(): void {
    this.#open = false;
  }

  #wake(): void {
    this.wakeups++;
    const result = this.#binding.recv(this.#fd, null, MSG_DONTWAIT);
    if (result < 0) count(this.refusals, -result);
  }
}

/** Send side: one sendto per burst where the TX ring asks for it, which in copy mode is always, since the kernel sends inside the call. */
export class XskTxQueue implements TxQueue {
  afterClose = 0;
  wakeups = 0;
  readonly refusals = new Map<number, number>();
  readonly #xskTx: BurstFunctions['xskTx'];
  readonly #queue: number;
  readonly #lcore: number;
  readonly #fd: number;
  readonly #u32: Uint32Array;
  readonly #flags: number;
  readonly #binding: Binding;
  #open = true;

  constructor(state: QueueState, functions: BurstFunctions, fd: number) {
    this.#xskTx = functions.xskTx;
    this.#queue = state.offset;
    this.#lcore = state.arena.lcore;
    this.#u32 = state.arena.u32;
    this.#flags = state.get(XSK_RING_A + XSK_FLAGS) >>> 2;
    this.#fd = fd;
    this.#binding = binding();
  }

  txBurst(burst: Burst, wanted: number): number {
    if (!this.#open) {
      this.afterClose++;
      return 0;
    }
    const most = wanted < burst.capacity ? wanted : burst.capacity;
    const sent = this.#xskTx(this.#queue, burst.offset, most > 0 ? most : 0, this.#lcore);
    if ((this.#u32[this.#flags]! & XDP_RING_NEED_WAKEUP) !== 0) this.#wake();
    return sent;
  }

  close(): void {
    this.#open = false;
  }

  #wake(): void {
    this.wakeups++;
    const result = this.#binding.send(this.#fd, null, MSG_DONTWAIT);
    // EAGAIN says that the budget was used up and more is waiting: the next burst's call goes on with it.
    if (result < 0) count(this.refusals, -result);
  }
}

function count(map: Map<number, number>, key: number): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}
