import type { Arena } from '../../../../arena/arena.js';
import type { Memzone } from '../../../../arena/directory.js';
import { PollmodeError } from '../../../../errors.js';
import { DESC_AVAIL, DESC_NEXT, DESC_USED, DESC_WRITE, EVENT_DISABLE, NO_EVENTS, RING_ENTRIES, RING_INDEX } from '../../../../virtqueue/layout.js';
import { pause } from '../pci/registers.js';
import { CTRL_ACK_OK, NO_VECTOR } from './registers.js';
import type { RingAddresses } from './transport.js';

/** A command takes two descriptors, what is said and the answer's place, and the ring has no more: it begins anew with each command. */
const SIZE = 2;
// The page: descriptors, the two rings (or event suppressions), the command, the answer.
const AVAIL = 64;
const USED = 128;
const COMMAND = 192;
const ANSWER = 4092;
export const CONTROL_BYTES = 4096;
const MOST_DATA = ANSWER - COMMAND - 2;
const PATIENCE_MS = 2000;
/** Looks before the thread sleeps in between: most devices answer at once. */
const QUICK_LOOKS = 1000;
/** No answer is this. */
const UNANSWERED = 0xff;

/** The control virtqueue (5.1.6.5): one command at a time, waited for. For set-up, in the thread that opened the port. */
export class ControlQueue {
  readonly #name: string;
  readonly #arena: Arena;
  readonly #at: number;
  readonly #iova: number;
  readonly #packed: boolean;
  readonly #index: number;
  #doorbell = 0;
  #sent = 0;
  #broken = false;

  /** `zone`: CONTROL_BYTES that the device reads and writes, zeroed. `index`: the queue's number. */
  constructor(name: string, arena: Arena, zone: Memzone, iova: number, packed: boolean, index: number) {
    this.#name = name;
    this.#arena = arena;
    this.#at = zone.offset;
    this.#iova = iova + zone.offset;
    this.#packed = packed;
    this.#index = index;
    if (packed) arena.u32[(this.#at + AVAIL) >>> 2] = EVENT_DISABLE << 16;
    else arena.u16[(this.#at + AVAIL) >>> 1] = NO_EVENTS;
  }

  get addresses(): RingAddresses {
    return { size: SIZE, desc: this.#iova, driver: this.#iova + AVAIL, device: this.#iova + USED, vector: NO_VECTOR };
  }

  /** Offset of the queue's doorbell. */
  set doorbell(offset: number) {
    this.#doorbell = offset;
  }

  /** Throws EUNSUPPORTED when the device says no, ENOANSWER when it says nothing. */
  send([kind, command]: readonly [number, number], data: Uint8Array): void {
    if (this.#broken) throw this.#silence();
    if (data.length > MOST_DATA) throw new PollmodeError('EOPTION', `${this.#name}: a command of ${data.length} bytes for the NIC, and ${MOST_DATA} are the most: ask for less at once.`);
    const { u8, u16 } = this.#arena;
    u8.set([kind, command], this.#at + COMMAND);
    u8.set(data, this.#at + COMMAND + 2);
    u8[this.#at + ANSWER] = UNANSWERED;
    if (this.#packed) this.#offerPacked(data.length + 2);
    else this.#offerSplit(data.length + 2);
    u16[this.#doorbell >>> 1] = this.#index;
    this.#await();
    if (u8[this.#at + ANSWER] !== CTRL_ACK_OK) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: the NIC refused command ${kind}.${command} of virtio 1.2, section 5.1.6.5: it has not the room or not the right to do that.`);
  }

  /** 2.7.13: descriptors, then the ring's entry, then its index. */
  #offerSplit(bytes: number): void {
    this.#describe(0, COMMAND, bytes, DESC_NEXT, 1);
    this.#describe(1, ANSWER, 1, DESC_WRITE, 0);
    const { u16 } = this.#arena;
    u16[(this.#at + AVAIL + RING_ENTRIES + 2 * (this.#sent & (SIZE - 1))) >>> 1] = 0;
    this.#sent = (this.#sent + 1) & 0xffff;
    Atomics.store(u16, (this.#at + AVAIL + RING_INDEX) >>> 1, this.#sent);
  }

  /** 2.8.21: the first descriptor's flags last. Each command goes once around, so the wrap counter is 1, 0, 1 and so on. */
  #offerPacked(bytes: number): void {
    const turn = (this.#sent & 1) === 0 ? DESC_AVAIL : DESC_USED;
    this.#describe(1, ANSWER, 1, 0, DESC_WRITE | turn);
    const { u32, u16 } = this.#arena;
    const first = this.#at;
    u32[(first + 8) >>> 2] = bytes;
    this.#address(first, COMMAND);
    u16[(first + 12) >>> 1] = 0;
    this.#sent = (this.#sent + 1) & 0xffff;
    Atomics.store(u16, (first + 14) >>> 1, DESC_NEXT | turn);
  }

  /** The last two fields are flags and next in a split ring, id and flags in a packed one. */
  #describe(index: number, place: number, bytes: number, third: number, fourth: number): void {
    const { u32, u16 } = this.#arena;
    const at = this.#at + 16 * index;
    this.#address(at, place);
    u32[(at + 8) >>> 2] = bytes;
    u16[(at + 12) >>> 1] = third;
    u16[(at + 14) >>> 1] = fourth;
  }

  #address(descriptor: number, place: number): void {
    const { u32 } = this.#arena;
    u32[descriptor >>> 2] = (this.#iova + place) % 2 ** 32;
    u32[(descriptor + 4) >>> 2] = Math.floor((this.#iova + place) / 2 ** 32);
  }

  #await(): void {
    const deadline = performance.now() + PATIENCE_MS;
    for (let looks = 0; !this.#isUsed(); looks++) {
      if (looks < QUICK_LOOKS) continue;
      if (performance.now() > deadline) {
        this.#broken = true;
        throw this.#silence();
      }
      pause(1);
    }
  }

  #isUsed(): boolean {
    const { u16 } = this.#arena;
    if (!this.#packed) return Atomics.load(u16, (this.#at + USED + RING_INDEX) >>> 1) === this.#sent;
    const both = DESC_AVAIL | DESC_USED;
    return (Atomics.load(u16, (this.#at + 14) >>> 1) & both) === ((this.#sent & 1) === 1 ? both : 0);
  }

  #silence(): PollmodeError {
    return new PollmodeError('ENOANSWER', `${this.#name}: the NIC did not answer a command in ${PATIENCE_MS / 1000} seconds: close the port and open it again, which resets the NIC.`);
  }
}
