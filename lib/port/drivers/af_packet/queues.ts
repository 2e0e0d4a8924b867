import { binding, type Binding } from '../../../binding.js';
import type { Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { MSG_DONTWAIT } from '../../../kernel/constants.js';
import { EINVAL, EMSGSIZE } from '../../../kernel/errno.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import {
  PACKET_LAST, PACKET_RING, PACKET_SLOTS, PACKET_SLOT_BYTES, PACKET_TAIL, TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST,
  TP_STATUS_WRONG_FORMAT,
} from './layout.js';

/**
 * Send side: the burst module copies frames into the ring, and one send(2) per burst has the kernel send them, inside
 * the call. What it could not send (interface down, no memory) stays in the ring for the next burst's call; a burst of
 * 0 makes that call too.
 */
export class PacketTxQueue extends PortTxQueue {
  /** System calls made, and those that the kernel refused, by errno. */
  kicks = 0;
  readonly refusals = new Map<number, number>();
  /** Frames that the kernel found malformed; their slots were freed. */
  wrongFormat = 0;
  readonly #state: QueueView;
  readonly #packetTx: BurstFunctions['packetTx'];
  readonly #lcore: number;
  readonly #u32: Uint32Array;
  readonly #last: number;
  readonly #fd: number;
  readonly #binding: Binding;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#state = state;
    this.#packetTx = functions.packetTx;
    this.#lcore = state.arena.lcore;
    this.#u32 = state.arena.u32;
    this.#last = (state.offset + PACKET_LAST) >>> 2;
    this.#fd = state.fd;
    this.#binding = binding();
  }

  txBurst(burst: Burst, wanted: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(wanted);
    const taken = most > 0 ? this.#packetTx(this.#state.offset, burst.offset, most, this.#lcore) : 0;
    // Again only after a malformed frame was taken out of the way.
    while (this.#pending() && this.#kick()) this.wrongFormat++;
    return taken;
  }

  /** Slots are sent in order, so the last one tells. */
  #pending(): boolean {
    return this.#u32[this.#u32[this.#last]! >>> 2] === TP_STATUS_SEND_REQUEST;
  }

  /** Returns whether there is reason to do it again. */
  #kick(): boolean {
    this.kicks++;
    const result = this.#binding.send(this.#fd, null, MSG_DONTWAIT);
    if (result >= 0) return false;
    this.refusals.set(-result, (this.refusals.get(-result) ?? 0) + 1);
    return (result === -EINVAL || result === -EMSGSIZE) && this.#dropWrong();
  }

  /**
   * The kernel stands at a slot whose frame it finds malformed, and goes no further. The frames behind it move up by one
   * slot each, over it. Returns whether there was such a slot.
   */
  #dropWrong(): boolean {
    const slots = this.#state.get(PACKET_SLOTS);
    const before = (slot: number): number => (slot === 0 ? slots : slot) - 1;
    const newest = before(this.#state.get(PACKET_TAIL));
    let wrong = newest;
    while (this.#status(wrong) === TP_STATUS_SEND_REQUEST && before(wrong) !== newest) wrong = before(wrong);
    if ((this.#status(wrong) & TP_STATUS_WRONG_FORMAT) === 0) return false;
    for (let slot = wrong; slot !== newest; slot = (slot + 1) % slots) this.#move((slot + 1) % slots, slot);
    this.#u32[this.#at(newest) >>> 2] = TP_STATUS_AVAILABLE;
    this.#state.set(PACKET_TAIL, newest);
    this.#state.set(PACKET_LAST, this.#at(before(newest)));
    return true;
  }

  #move(from: number, to: number): void {
    const start = this.#at(from);
    this.#state.arena.u8.copyWithin(this.#at(to), start, start + this.#state.get(PACKET_SLOT_BYTES));
  }

  #status(slot: number): number {
    return this.#u32[this.#at(slot) >>> 2]!;
  }

  #at(slot: number): number {
    return this.#state.get(PACKET_RING) + slot * this.#state.get(PACKET_SLOT_BYTES);
  }
}
