/** The device's side of the rings, in plain TypeScript: flattens chains of descriptors. The fast double is assembly/virtqueue_gather.ts; neither calls the other. */
import {
  CHAIN_COUNT, CHAIN_DESCS, CHAIN_FIRST, CHAIN_ID, CHAIN_LENGTH, CHAIN_SHIFT, CHAIN_WRITTEN, DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_SHIFT,
  DESC_USED, DESC_WRITE, DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_INDEX, MEMORY_COUNT, MOST_REGIONS, MOST_SEGMENTS, NO_ID, REGIONS,
  REGION_BYTES, REGION_OFFSET, REGION_SHIFT, REGION_START, RING_ENTRIES, RING_INDEX, SEGMENTS, SEGMENTS_END, SEGMENT_SHIFT, VQ_AVAIL, VQ_DESC,
  VQ_FLAGS, VQ_INDIRECT, VQ_MEMORY, VQ_NEXT_AVAIL, VQ_OUTSIDE, VQ_SCRATCH, VQ_SIZE,
} from '../virtqueue/layout.js';
import type { OutsideFunctions } from './outside.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { advance, type VirtqueueFunctions } from './virtqueue.js';

/** A descriptor as it was copied, once. `id` is the packed ring's, `next` the split one's. */
interface Descriptor { readonly address: bigint; readonly length: number; readonly flags: number; readonly id: number; readonly next: number }

const KINDS = DESC_NEXT | DESC_WRITE | DESC_INDIRECT;

export interface GatherFunctions {
  gatherSplit(queue: number, want: number, writable: number): number;
  gatherPacked(queue: number, want: number, writable: number): number;
}

export function gatherFunctions(views: ArenaViews, { isPacked }: VirtqueueFunctions, outsides: OutsideFunctions): GatherFunctions {
  const { u8, u16, u32, u64 } = views;
  const { field, setField } = queueMbufs(views);
  return { gatherSplit, gatherPacked };

  function gatherSplit(queue: number, want: number, writable: number): number {
    const avail = field(queue, VQ_AVAIL);
    const size = field(queue, VQ_SIZE);
    const next = field(queue, VQ_NEXT_AVAIL);
    // Pairs with the driver's release of the index: the descriptors before it.
    const ready = (Atomics.load(u16, (avail + RING_INDEX) >>> 1) - next) & 0xffff;
    if (ready > size) {
      count64(u32, queue + DEVICE_BAD_INDEX, 1);
      return 0;
    }
    let segment = field(queue, VQ_SCRATCH) + SEGMENTS;
    let chains = 0;
    for (; chains < Math.min(want, ready) && hasRoom(queue, segment); chains++) {
      const head = u16[((avail + RING_ENTRIES) >>> 1) + ((next + chains) & (size - 1))];
      const chain = chainAt(queue, chains);
      begin(chain, head < size ? head : NO_ID);
      if (head < size) segment = flatten(queue, chain, segment, writable, head, size);
      else segment = spoil(queue, chain, segment, DEVICE_BAD_INDEX);
    }
    return chains;
  }

  function gatherPacked(queue: number, want: number, writable: number): number {
    const size = field(queue, VQ_SIZE);
    let next = field(queue, VQ_NEXT_AVAIL);
    let segment = field(queue, VQ_SCRATCH) + SEGMENTS;
    let chains = 0;
    // No more places than the ring has: what is behind them may be what was not given back yet.
    for (let left = size; chains < want && left > 0 && hasRoom(queue, segment); chains++) {
      const turn = (next & 0x8000) !== 0 ? DESC_AVAIL : DESC_USED;
      const at = field(queue, VQ_DESC) + ((next & 0x7fff) << DESC_SHIFT);
      // Pairs with the driver's release of the flags: the rest of the descriptors before them.
      if ((Atomics.load(u16, (at + 14) >>> 1) & (DESC_AVAIL | DESC_USED)) !== turn) break;
      const chain = chainAt(queue, chains);
      begin(chain, 0);
      segment = flatten(queue, chain, segment, writable, next & 0x7fff, left);
      const places = field(chain, CHAIN_DESCS);
      if (places === 0) break;
      left -= places;
      next = advance(next, places, size);
    }
    return chains;
  }

  /** One more chain of any length. */
  function hasRoom(queue: number, segment: number): boolean {
    const outside = field(queue, VQ_OUTSIDE);
    return segment + (MOST_SEGMENTS << SEGMENT_SHIFT) <= field(queue, VQ_SCRATCH) + SEGMENTS_END && (outside === 0 || outsides.holds(outside));
  }

  function begin(chain: number, id: number): void {
    setField(chain, CHAIN_ID, id);
    setField(chain, CHAIN_DESCS, 1);
  }

  /**
   * Follows a chain from the ring's descriptor `index`, of at most `limit` descriptors, and writes its segments. What is
   * wrong with one makes all of it bad; in a packed ring its places are still counted, since the next chain stands behind
   * them. One that is longer than any is has no places: the ring stands still there. Returns where the next chain's
   * segments go.
   */
  function flatten(queue: number, chain: number, first: number, writable: number, index: number, limit: number): number {
    const packed = isPacked(queue);
    const ring = field(queue, VQ_DESC);
    const outside = field(queue, VQ_OUTSIDE);
    const used = outside === 0 ? 0 : outsides.startChain(outside, chain);
    let [segment, places, total, bad] = [first, 1, 0n, 0];
    let descriptor = read(ring, index, packed);
    if ((descriptor.flags & DESC_INDIRECT) !== 0) {
      if (packed) setField(chain, CHAIN_ID, descriptor.id);
      return flattenTable(queue, chain, first, writable, descriptor, used);
    }
    for (;;) {
      bad ||= places > MOST_SEGMENTS ? DEVICE_BAD_CHAIN : writeSegment(queue, segment, descriptor, writable, used);
      if (bad === 0) {
        total += bytesOf(queue, segment, descriptor, writable);
        segment += 1 << SEGMENT_SHIFT;
      }
      if ((descriptor.flags & DESC_NEXT) === 0 || (bad !== 0 && !packed)) break;
      if (packed && places > MOST_SEGMENTS) {
        setField(chain, CHAIN_ID, descriptor.id);
        setField(chain, CHAIN_DESCS, 0);
        return forget(queue, chain, segment, DEVICE_BAD_CHAIN, used);
      }
      if (places >= limit) {
        bad ||= DEVICE_BAD_CHAIN;
        break;
      }
      index = packed ? (index + 1) % field(queue, VQ_SIZE) : descriptor.next;
      if (index >= field(queue, VQ_SIZE)) {
        bad = DEVICE_BAD_CHAIN;
        break;
      }
      descriptor = read(ring, index, packed);
      places++;
    }
    if (packed) {
      setField(chain, CHAIN_ID, descriptor.id); // the last one's
      setField(chain, CHAIN_DESCS, places);
    }
    return bad === 0 ? finish(chain, first, segment, total) : forget(queue, chain, segment, bad, used);
  }

  /** A table of descriptors in the driver's memory (2.7.5.3 and 2.8.7). */
  function flattenTable(queue: number, chain: number, first: number, writable: number, { address, length, flags }: Descriptor, used: number): number {
    const packed = isPacked(queue);
    const limit = length >>> DESC_SHIFT;
    const allowed = (field(queue, VQ_FLAGS) & VQ_INDIRECT) !== 0 && (flags & DESC_NEXT) === 0 && (length & 15) === 0;
    if (!allowed || limit === 0 || limit > MOST_SEGMENTS) return spoil(queue, chain, first, DEVICE_BAD_CHAIN);
    const outside = field(queue, VQ_OUTSIDE);
    const table = outside !== 0 ? outsides.table(outside, address, length) : translate(field(queue, VQ_MEMORY), address, length);
    if (table === 0) return spoil(queue, chain, first, DEVICE_BAD_ADDRESS);
    let [segment, total, index] = [first, 0n, 0];
    for (let places = 1; ; places++) {
      const descriptor = read(table, index, packed);
      const bad = writeSegment(queue, segment, descriptor, writable, used);
      if (bad !== 0) return forget(queue, chain, segment, bad, used);
      total += bytesOf(queue, segment, descriptor, writable);
      segment += 1 << SEGMENT_SHIFT;
      // In a packed table all descriptors are the chain's (2.8.7); elsewhere the flag says whether one follows.
      if (packed ? places === limit : (descriptor.flags & DESC_NEXT) === 0) return finish(chain, first, segment, total);
      if (places >= limit) return forget(queue, chain, segment, DEVICE_BAD_CHAIN, used);
      index = packed ? index + 1 : descriptor.next;
      if (index >= limit) return forget(queue, chain, segment, DEVICE_BAD_CHAIN, used);
    }
  }

  function read(table: number, index: number, packed: boolean): Descriptor {
    const at = table + (index << DESC_SHIFT);
    const address = word64(at);
    const rest = word64(at + 8);
    const [third, last] = [Number((rest >> 32n) & 0xffffn), Number(rest >> 48n)];
    return { address, length: Number(rest & 0xffffffffn), flags: (packed ? last : third) & KINDS, id: third, next: last };
  }

  /** Tables of drivers stand at any multiple of a byte. */
  function word64(at: number): bigint {
    if (at % 8 === 0) return u64[at / 8];
    let word = 0n;
    for (let i = 7; i >= 0; i--) word = (word << 8n) | BigInt(u8[at + i]);
    return word;
  }

  /** Returns 0, or what is wrong; then nothing is written. */
  function writeSegment(queue: number, segment: number, { address, length, flags }: Descriptor, writable: number, used: number): number {
    if ((flags & DESC_INDIRECT) !== 0 || (flags & DESC_WRITE) !== writable) return DEVICE_BAD_CHAIN;
    const outside = field(queue, VQ_OUTSIDE);
    if (outside !== 0) return writeOutside(outsides.place(outside, used, address, length), segment);
    const offset = translate(field(queue, VQ_MEMORY), address, length);
    if (offset === 0) return DEVICE_BAD_ADDRESS;
    setField(segment, 0, offset);
    setField(segment, 4, length);
    return 0;
  }

  function writeOutside(placed: { offset: number; part: number } | undefined, segment: number): number {
    if (placed === undefined) return DEVICE_BAD_ADDRESS;
    setField(segment, 0, placed.offset);
    setField(segment, 4, placed.part);
    return 0;
  }

  /** What of a written segment counts: a driver's buffer is as large as its place; a frame that is larger than that is none. */
  function bytesOf(queue: number, segment: number, { length }: Descriptor, writable: number): bigint {
    if (field(queue, VQ_OUTSIDE) === 0) return BigInt(length);
    const part = field(segment, 4);
    return writable !== 0 || part === length ? BigInt(part) : 0xffffffffn;
  }

  /** The arena's offset of `length` bytes at an address of the other side's; 0 when it has not shared all of them. */
  function translate(memory: number, address: bigint, length: number): number {
    const count = Math.min(field(memory, MEMORY_COUNT), MOST_REGIONS);
    for (let i = 0; i < count; i++) {
      const region = memory + REGIONS + (i << REGION_SHIFT);
      const distance = address - u64[(region + REGION_START) / 8];
      const bytes = u64[(region + REGION_BYTES) / 8];
      if (distance >= 0n && distance < bytes && bytes - distance >= BigInt(length)) return field(region, REGION_OFFSET) + Number(distance);
    }
    return 0;
  }

  function finish(chain: number, first: number, segment: number, total: bigint): number {
    setField(chain, CHAIN_FIRST, first);
    setField(chain, CHAIN_COUNT, (segment - first) >>> SEGMENT_SHIFT);
    setField(chain, CHAIN_LENGTH, total > 0xffffffffn ? 0xffffffff : Number(total));
    setField(chain, CHAIN_WRITTEN, 0);
    return segment;
  }

  /** What a bad chain put on the list is not copied. */
  function forget(queue: number, chain: number, segment: number, counter: number, used: number): number {
    const outside = field(queue, VQ_OUTSIDE);
    if (outside !== 0) outsides.forgetChain(outside, chain, used);
    return spoil(queue, chain, segment, counter);
  }

  /** A bad chain has no segments; it is counted, and given back unused. The scratch memory that it took stays taken: so many descriptors are looked at in one go and no more. */
  function spoil(queue: number, chain: number, first: number, counter: number): number {
    count64(u32, queue + counter, 1);
    for (const name of [CHAIN_COUNT, CHAIN_LENGTH, CHAIN_WRITTEN]) setField(chain, name, 0);
    setField(chain, CHAIN_FIRST, first);
    return first;
  }

  function chainAt(queue: number, index: number): number {
    return field(queue, VQ_SCRATCH) + (index << CHAIN_SHIFT);
  }
}
