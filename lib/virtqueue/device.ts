/** The device's side of a virtqueue: the memory that the driver has shared, and how a queue begins and ends. What carries kicks and addresses is the caller's. */
import type { Arena } from '../arena/arena.js';
import { availEvent } from '../burst/virtqueue.js';
import { PollmodeError } from '../errors.js';
import type { RingFormat } from './features.js';
import {
  CHUNK, DESC_AVAIL, DESC_SHIFT, DESC_USED, INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP, INFLIGHT_SPLIT_USED, INFLIGHT_USED, INFLIGHT_WRAP, MEMORY_COUNT, MOST_REGIONS,
  NET_HEADER, OUTSIDE_AREA, OUTSIDE_AREA_BYTES, OUTSIDE_BYTES, OUTSIDE_CHAIN, OUTSIDE_REGIONS, REGIONS, REGION_BYTES, REGION_OFFSET, REGION_OUTSIDE, REGION_SHIFT, REGION_START, RING_INDEX,
  VQ_AVAIL, VQ_DESC, VQ_FLAGS, VQ_INFLIGHT, VQ_LONGEST, VQ_MEMORY, VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_NOTIFY, VQ_OFFLOADS, VQ_OUTSIDE, VQ_PACKED, VQ_READY, VQ_SCRATCH,
  VQ_SIZE, VQ_USED,
} from './layout.js';
import { describeFormat, wishEvents, withQueue, type QueueFields } from './state.js';

/** A piece of the driver's memory. */
export interface Region {
  /** Its first address, as descriptors say it. */
  readonly start: bigint;
  readonly bytes: number;
  /** Where it stands in the arena. */
  readonly offset: number;
}

/** Writes a memory table (MEMORY_BYTES) at `memory`. No burst may be in a queue of it. */
export function writeMemory({ u32, u64 }: Arena, memory: number, regions: readonly Region[]): void {
  if (regions.length > MOST_REGIONS) throw new PollmodeError('EUNSUPPORTED', `A driver shares ${regions.length} pieces of memory, and ${MOST_REGIONS} are the most: have it use larger pages.`);
  u32[(memory + MEMORY_COUNT) >>> 2] = regions.length;
  regions.forEach(({ start, bytes, offset }, i) => {
    const region = memory + REGIONS + (i << REGION_SHIFT);
    u64[(region + REGION_START) / 8] = start;
    u64[(region + REGION_BYTES) / 8] = BigInt(bytes);
    u32[(region + REGION_OFFSET) >>> 2] = offset;
  });
}

/** A region that is not in the arena, and where it is in this process. */
export interface OutsideRegion extends Omit<Region, 'offset'> { readonly address: bigint }

/** The same for memory that is not in the arena (OUTSIDE_REGIONS). */
export function writeOutsideMemory(arena: Arena, memory: number, regions: readonly OutsideRegion[]): void {
  writeMemory(arena, memory, regions.map(region => ({ ...region, offset: 0 })));
  regions.forEach(({ address }, i) => { arena.u64[(memory + REGIONS + (i << REGION_SHIFT) + REGION_OUTSIDE) / 8] = address; });
}

/** Bytes of a queue's memory for what is copied, where frames have `longest` bytes: an area for a whole go, if that is not too much. */
export function outsideBytes(longest: number): number {
  const chain = longest + NET_HEADER;
  return OUTSIDE_BYTES + Math.ceil(Math.max(2 * chain, Math.min(CHUNK * chain, 1 << 20)) / 64) * 64;
}

/** Lays it out; `regions` is a table of `writeOutsideMemory`. No burst may run. */
export function startOutside({ u8, u32 }: Arena, outside: number, regions: number, longest: number): void {
  u8.fill(0, outside, outside + OUTSIDE_BYTES);
  const fields = [
    [OUTSIDE_REGIONS, regions], [OUTSIDE_AREA, outside + OUTSIDE_BYTES], [OUTSIDE_AREA_BYTES, outsideBytes(longest) - OUTSIDE_BYTES], [OUTSIDE_CHAIN, longest + NET_HEADER],
  ] as const;
  for (const [field, value] of fields) u32[(outside + field) >>> 2] = value;
}

export interface DeviceSetup {
  readonly format: RingFormat;
  readonly size: number;
  /** Offsets in the arena, in the driver's memory: checked by whoever translated them. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** Where to go on: the next available index, and for a packed ring the next used one, each with its wrap counter. */
  readonly nextAvail: number;
  readonly nextUsed: number;
  /** Offset of the memory table. */
  readonly memory: number;
  /** Offset of SCRATCH_BYTES of private memory. */
  readonly scratch: number;
  /** Bytes of the longest frame. */
  readonly longest: number;
  /** Offset of the queue's in-flight region; 0 for none. */
  readonly inflight: number;
  /** Offset of what `startOutside` has laid out, when the driver's memory is not in the arena; 0 when it is. */
  readonly outside: number;
  /** OFFLOAD_*. */
  readonly offloads: number;
}

/** What a ring's parts need: bytes and alignment (2.7 and 2.8), of the descriptors, the driver's area and the device's. */
export function ringNeeds(packed: boolean, size: number): readonly (readonly [bytes: number, align: number])[] {
  return packed ? [[size << DESC_SHIFT, 16], [4, 4], [4, 4]] : [[size << DESC_SHIFT, 16], [6 + size * 2, 2], [6 + size * 8, 4]];
}

export function isRingSize(packed: boolean, size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= 32768 && (packed || (size & (size - 1)) === 0);
}

/** Bursts work from here on. Throws EBUSYQUEUE. */
export function startDevice(queue: QueueFields, setup: DeviceSetup): void {
  withQueue(queue, () => {
    describeFormat(queue, setup.format, setup.size);
    const fields = [
      [VQ_DESC, setup.desc], [VQ_AVAIL, setup.avail], [VQ_USED, setup.used], [VQ_NEXT_AVAIL, setup.nextAvail], [VQ_NEXT_USED, setup.nextUsed],
      [VQ_MEMORY, setup.memory], [VQ_SCRATCH, setup.scratch], [VQ_LONGEST, setup.longest], [VQ_INFLIGHT, setup.inflight], [VQ_OUTSIDE, setup.outside], [VQ_OFFLOADS, setup.offloads], [VQ_NOTIFY, 1],
    ] as const;
    for (const [field, value] of fields) queue.set(field, value);
    // One interrupt too many does no harm; one that was due when the queue was stopped is not lost.
    if (setup.inflight !== 0) noteUsed(queue, setup);
    wishKicks(queue, false);
    queue.set(VQ_READY, 1);
  });
}

/** The in-flight region as it is between two bursts. */
function noteUsed({ arena: { u8, u16 } }: QueueFields, { format, nextUsed, inflight }: DeviceSetup): void {
  if (!format.packed) {
    u16[(inflight + INFLIGHT_SPLIT_USED) >>> 1] = nextUsed;
    return;
  }
  for (const [used, wrap] of [[INFLIGHT_USED, INFLIGHT_WRAP], [INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP]] as const) {
    u16[(inflight + used) >>> 1] = nextUsed & 0x7fff;
    u8[inflight + wrap] = nextUsed >>> 15;
  }
}

/** Does the driver tell of what it makes available? A polled queue does not want it. */
export function wishKicks(queue: QueueFields, wanted: boolean): void {
  const used = queue.get(VQ_USED);
  wishEvents(queue, wanted, used, availEvent(used, queue.get(VQ_SIZE)), queue.get(VQ_NEXT_AVAIL));
}

/** Has the driver made something available that was not looked at? */
export function hasAvailable(queue: QueueFields): boolean {
  const { u16 } = queue.arena;
  const next = queue.get(VQ_NEXT_AVAIL);
  if ((queue.get(VQ_FLAGS) & VQ_PACKED) === 0) return Atomics.load(u16, (queue.get(VQ_AVAIL) + RING_INDEX) >>> 1) !== next;
  const flags = Atomics.load(u16, (queue.get(VQ_DESC) + ((next & 0x7fff) << DESC_SHIFT) + 14) >>> 1);
  return (flags & (DESC_AVAIL | DESC_USED)) === ((next & 0x8000) !== 0 ? DESC_AVAIL : DESC_USED);
}
