import { binding, type Binding } from '../../../binding.js';
import { MAX_BURST, type Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { QUEUE_NOMBUF } from '../../layout.js';
import type { WakeSource } from '../../port.js';
import { PortRxQueue, PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import * as layout from './layout.js';
import { attend, lifeWord, serialOf } from './moving.js';
import * as uapi from './uapi.js';

// V8 loads an imported constant at each use, and knows a module's own.
const { XDP_RING_NEED_WAKEUP, XSK_BUSY, XSK_CONSUMER, XSK_FLAGS, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_WAKEUPS, XSK_WAKE_REFUSED } = layout;
const { MSG_DONTWAIT } = uapi;

/** What the largest burst needs with the smallest budget of the kernel's (TX_BATCH_SIZE in net/xdp/xsk.c). */
const MOST_CALLS = MAX_BURST / 32;

/**
 * What the kernel answers to a wake-up that it does not carry out whole (net/xdp/xsk.c), each with a counter:
 * EAGAIN: the budget is used up, or the device is busy, and more is waiting;
 * EBUSY: the device threw a frame away, as one does whose peer is down; ENOBUFS: no memory for a frame, which waits;
 * ENETDOWN: the interface is down; ENXIO: it is gone.
 */
const REFUSALS = [['EAGAIN', 11], ['EBUSY', 16], ['ENOBUFS', 105], ['ENETDOWN', 100], ['ENXIO', 6]] as const;
const ERRNOS: readonly number[] = REFUSALS.map(([, errno]) => errno);
/** Has the kernel done what it could, so that another call may do more? */
export function mayGoOn(answer: number): boolean {
  return answer === -11 || answer === -16 || answer === -105;
}

function countRefusal(state: QueueView, errno: number): void {
  const known = ERRNOS.indexOf(errno);
  state.add(XSK_WAKE_REFUSED + 8 * (known < 0 ? ERRNOS.length : known), 1);
}

/** The system calls made for a queue, and those that the kernel refused, by errno; only the refusals that there were. */
export function countWakeups(state: QueueView, into: Record<string, number>): void {
  const add = (name: string, count: number): void => { into[name] = (into[name] ?? 0) + count; };
  add(`${state.direction}_wakeups`, state.counter(XSK_WAKEUPS));
  [...REFUSALS.map(([name]) => name), 'other'].forEach((name, index) => {
    const count = state.counter(XSK_WAKE_REFUSED + 8 * index);
    if (count > 0) add(`${state.direction}_wakeup_${name}`, count);
  });
}

/**
 * Receive side: the burst module moves descriptors; a recvfrom wakes the driver only where the fill ring asks for it.
 * With busy polling it is also made by a burst that found nothing, and looks for the next one (xsk_recvmsg runs the NAPI).
 */
export class XskRxQueue extends PortRxQueue {
  private readonly state: QueueView;
  readonly #wake: WakeSource;
  private readonly functions: BurstFunctions;
  private readonly xskRx: BurstFunctions['xskRx'];
  private readonly queue: number;
  private readonly lcore: number;
  private readonly u32: Uint32Array;
  private readonly binding: Binding;
  /** Index of the queue's life word, and what stands there while the rings are those that were read. */
  private readonly life: number;
  private living = 0;
  /** Index of the fill ring's flags. */
  private flags = 0;
  private readonly busy: boolean;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.state = state;
    this.functions = functions;
    this.xskRx = functions.xskRx;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
    this.u32 = state.arena.u32;
    this.binding = binding();
    this.life = lifeWord(state);
    this.busy = state.get(XSK_BUSY) === 1;
    this.#wake = { get fd() { return state.fd; }, get generation() { return serialOf(state); } };
    this.#readRings();
  }

  /** Its descriptor is -1 while the interface is gone. */
  override get wake(): WakeSource {
    return this.#wake;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.admits()) return 0;
    if (this.u32[this.life] !== this.living && !this.#attend()) return 0;
    const most = burst.bounded(max);
    if (most === 0) return 0;
    const got = this.xskRx(this.queue, burst.offset, most, this.lcore);
    if ((this.u32[this.flags]! & XDP_RING_NEED_WAKEUP) !== 0 || (this.busy && got === 0)) this.#wakeUp();
    return got;
  }

  #attend(): boolean {
    const rings = attend(this.state, this.functions);
    this.#readRings();
    return rings;
  }

  #readRings(): void {
    this.living = serialOf(this.state) << 2;
    this.flags = this.state.get(XSK_RING_B + XSK_FLAGS) >>> 2;
  }

  #wakeUp(): void {
    this.state.add(XSK_WAKEUPS, 1);
    const result = this.binding.recv(this.state.fd, null, MSG_DONTWAIT);
    if (result < 0) countRefusal(this.state, -result);
  }
}

/**
 * Send side: one sendto per burst where the TX ring asks for it. In copy mode that is always, also without need-wakeup,
 * since the kernel sends inside the call: it sets the flag when it makes the ring and never takes it away.
 */
export class XskTxQueue extends PortTxQueue {
  private readonly state: QueueView;
  private readonly functions: BurstFunctions;
  private readonly xskTx: BurstFunctions['xskTx'];
  private readonly queue: number;
  private readonly lcore: number;
  private readonly u32: Uint32Array;
  private readonly binding: Binding;
  /** As in XskRxQueue. */
  private readonly life: number;
  private living = 0;
  /** Indices of the TX ring's words. */
  private flags = 0;
  private producer = 0;
  private consumer = 0;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.state = state;
    this.functions = functions;
    this.xskTx = functions.xskTx;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
    this.u32 = state.arena.u32;
    this.binding = binding();
    this.life = lifeWord(state);
    this.#readRings();
  }

  /** `wanted` 0 frees what was sent and has the kernel go on with what is still in the ring. */
  txBurst(burst: Burst, wanted: number): number {
    if (!this.admits()) return 0;
    if (this.u32[this.life] !== this.living && !this.#attend()) return this.#refuse(burst.bounded(wanted));
    const sent = this.xskTx(this.queue, burst.offset, burst.bounded(wanted), this.lcore);
    if ((this.u32[this.flags]! & XDP_RING_NEED_WAKEUP) !== 0 && this.waiting > 0) this.#push();
    return sent;
  }

  #attend(): boolean {
    const rings = attend(this.state, this.functions);
    this.#readRings();
    return rings;
  }

  #readRings(): void {
    this.living = serialOf(this.state) << 2;
    this.flags = this.state.get(XSK_RING_A + XSK_FLAGS) >>> 2;
    this.producer = this.state.get(XSK_RING_A + XSK_PRODUCER) >>> 2;
    this.consumer = this.state.get(XSK_RING_A + XSK_CONSUMER) >>> 2;
  }

  #refuse(count: number): number {
    this.state.add(QUEUE_NOMBUF, count);
    return 0;
  }

  /** One call, where the kernel takes all that waits; more where its budget is smaller than the burst, for as long as it gets on. */
  #push(): void {
    let [before, calls] = [0, 0];
    do {
      before = this.waiting;
      if (!mayGoOn(this.wakeUp())) return;
    } while (this.waiting > 0 && this.waiting < before && ++calls < MOST_CALLS);
  }

  /** Packets in the TX ring that the kernel has not come to. */
  get waiting(): number {
    return (this.u32[this.producer]! - this.u32[this.consumer]!) >>> 0;
  }

  /** Returns what the kernel said. */
  wakeUp(): number {
    this.state.add(XSK_WAKEUPS, 1);
    const result = this.binding.send(this.state.fd, null, MSG_DONTWAIT);
    if (result < 0) countRefusal(this.state, -result);
    return result;
  }
}
