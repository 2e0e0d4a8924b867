/** One virtqueue of a guest as the back-end knows it: what the front-end has said of it, and whether it runs. */
import { binding } from '../../../binding.js';
import { EFD_NONBLOCK } from '../../../kernel/constants.js';
import { twoEventfds } from '../../../kernel/eventfd.js';
import { QUEUE_FD } from '../../layout.js';
import type { QueueState } from '../../queue.js';
import { isRingSize, outsideBytes, ringNeeds, startDevice, startOutside } from '../../../virtqueue/device.js';
import type { RingFormat } from '../../../virtqueue/features.js';
import { DESC_AVAIL, DESC_SHIFT, DESC_USED, LONGEST_GSO, OFFLOAD_TSO4, OFFLOAD_TSO6, RING_INDEX, VQ_GENERATION, VQ_LOCK, VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_READY, VQ_TELL } from '../../../virtqueue/layout.js';
import { stopQueue } from '../../../virtqueue/state.js';
import type { VringAddress } from '../../../vhost_user/messages.js';
import type { Resume } from './inflight.js';
import type { GuestMemory } from './memory.js';
import type { Piece } from './places.js';

const NOBODY = 0xffffffff;

export interface Running {
  readonly memory: GuestMemory;
  readonly format: RingFormat;
  readonly longest: number;
  /** Offset of the queue's in-flight region; 0 for none. */
  readonly inflight: number;
  /** Where an in-flight region says that a packed ring goes on; undefined for nothing. */
  readonly resume: Resume | undefined;
  /** OFFLOAD_*. */
  readonly offloads: number;
}

/**
 * Its two descriptors keep their numbers for life, whatever the front-end puts behind them (dup3): a thread that polls
 * the queue uses them at any moment.
 */
export class Vring {
  readonly state: QueueState;
  /** Offset of its scratch memory. */
  readonly #scratch: number;
  readonly #call: number;
  readonly #kick: number;
  #windows: (Piece | undefined)[] = [];
  #outside: Piece | undefined;
  /** The front-end's eventfd stands behind #call, whether it is told or not. */
  #calls = false;
  size = 0;
  address: VringAddress | undefined;
  /** Where to go on: split, the next available index; packed, both indices with their wrap counters. */
  base = 0;
  enabled = false;
  /** A kick descriptor came, or word that there is none. */
  kicked = false;

  constructor(state: QueueState, scratch: number) {
    this.state = state;
    this.#scratch = scratch;
    [this.#call, this.#kick] = twoEventfds();
    state.set(VQ_TELL, NOBODY);
    state.set(QUEUE_FD, this.#kick);
  }

  get running(): boolean {
    return this.state.get(VQ_READY) !== 0;
  }

  /** Is a burst in it? */
  get busy(): boolean {
    return this.state.get(VQ_LOCK) !== 0;
  }

  /** The descriptor is taken over; undefined: the guest polls, and is not told. */
  setCall(fd: number | undefined): void {
    if (fd !== undefined) replace(this.#call, fd);
    this.#calls ||= fd !== undefined;
    this.state.set(VQ_TELL, fd === undefined ? NOBODY : this.#call);
  }

  setKick(fd: number | undefined): void {
    if (fd !== undefined) this.#putKick(fd);
    this.kicked = true;
  }

  /** Starts it, if all that it needs has come and is right. Returns what is wrong otherwise. */
  start({ memory, format, longest, inflight, resume, offloads }: Running): string | undefined {
    this.#closeWindows();
    if (this.address === undefined || this.size === 0 || !this.kicked || !this.enabled) return 'not complete';
    if (!isRingSize(format.packed, this.size)) return `has ${this.size} descriptors`;
    const needs = ringNeeds(format.packed, this.size);
    const { desc, avail, used } = this.address;
    this.#windows = [desc, avail, used].map((at, i) => memory.window(at, needs[i]![0], needs[i]![1]));
    const [descAt, availAt, usedAt] = this.#windows.map(window => window?.offset);
    // What is still to be cut is longer than frames are.
    const outside = this.#layOutside(memory, (offloads & (OFFLOAD_TSO4 | OFFLOAD_TSO6)) !== 0 ? Math.max(longest, LONGEST_GSO) : longest);
    if (descAt === undefined || availAt === undefined || usedAt === undefined || outside === undefined) return 'has a ring that is not in the guest\'s memory, or not aligned';
    // What comes is used in the order it came, so a split ring says itself how far a back-end before this one was.
    const said = format.packed ? resume === undefined ? this.base : this.#resumed(descAt, resume) : this.state.arena.u16[(usedAt + RING_INDEX) >>> 1]!;
    // An older front-end says the available index only, and means both.
    const [nextAvail, nextUsed] = format.packed ? [said & 0xffff, said >>> 16 || said & 0xffff] : [said, said];
    if (format.packed && ((nextAvail & 0x7fff) >= this.size || (nextUsed & 0x7fff) >= this.size)) return 'goes on at a place that it does not have';
    startDevice(this.state, {
      format, size: this.size, desc: descAt, avail: availAt, used: usedAt, nextAvail, nextUsed,
      memory: memory.table, scratch: this.#scratch, longest, inflight, outside, offloads,
    });
    return undefined;
  }

  /** Memory for copies of frames of so many bytes, when the guest's is not in the arena. 0: it is; undefined: there is no room. */
  #layOutside(memory: GuestMemory, longest: number): number | undefined {
    if (!memory.beside) return 0;
    this.#outside = memory.reserve(outsideBytes(longest));
    if (this.#outside !== undefined) startOutside(this.state.arena, this.#outside.offset, memory.outside, longest);
    return this.#outside?.offset;
  }

  /** Where the rings were, and the copies; no burst may run. */
  #closeWindows(): void {
    for (const window of this.#windows.splice(0)) window?.close();
    this.#outside?.close();
    this.#outside = undefined;
  }

  /** The last burst of a back-end that died was published, if the first of its places says so (the reconnecting steps of the document). */
  #resumed(desc: number, { before, after }: Resume): number {
    if ((before & 0x7fff) >= this.size) return 0xffffffff; // refused below
    const flags = this.state.arena.u16[(desc + ((before & 0x7fff) << DESC_SHIFT) + 14) >>> 1]! & (DESC_AVAIL | DESC_USED);
    const published = before !== after && flags === ((before & 0x8000) !== 0 ? DESC_AVAIL | DESC_USED : 0);
    const place = published ? after : before;
    return (place | (place << 16)) >>> 0;
  }

  /** No burst runs from here on. Where it would go on is `base`. */
  stop(packed: boolean): void {
    if (!this.running) return;
    stopQueue(this.state);
    this.#closeWindows();
    this.base = packed ? (this.state.get(VQ_NEXT_AVAIL) | (this.state.get(VQ_NEXT_USED) << 16)) >>> 0 : this.state.get(VQ_NEXT_AVAIL);
  }

  /** As it was before anything was said. */
  reset(): void {
    stopQueue(this.state);
    this.#closeWindows();
    Object.assign(this, { size: 0, address: undefined, base: 0, enabled: false });
    this.dropDescriptors();
  }

  /** Lets go of the front-end's descriptors; the numbers stay. Where the process has no descriptor more, the old one stays behind its number till the next comes: nobody tells it. */
  dropDescriptors(): void {
    this.state.set(VQ_TELL, NOBODY);
    if (this.#calls) replace(this.#call, binding().eventfd(0, EFD_NONBLOCK));
    this.#calls = false;
    if (this.kicked) this.#putKick(binding().eventfd(0, EFD_NONBLOCK));
    this.kicked = false;
  }

  close(): void {
    stopQueue(this.state);
    this.state.set(VQ_TELL, NOBODY);
    this.state.set(QUEUE_FD, 0xffffffff);
    this.#closeWindows();
    binding().close(this.#call);
    binding().close(this.#kick);
  }

  #putKick(fd: number): void {
    replace(this.#kick, fd);
    this.state.set(VQ_GENERATION, this.state.get(VQ_GENERATION) + 1);
  }
}

function replace(number: number, by: number): void {
  binding().replace(number, by);
  binding().close(by);
}
