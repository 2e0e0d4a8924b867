/** A memif ring whose frames are copied, in plain TypeScript: lays out what came or may be filled as chains, and gives it back. The fast double is assembly/memif_ring.ts; neither calls the other. */
import {
  MEMIF_AHEAD, MEMIF_BUFFERS, MEMIF_BUFFER_BYTES, MEMIF_DESC_NEXT, MEMIF_DESC_OFFSET, MEMIF_DESC_SHIFT, MEMIF_LEAD, MEMIF_NEXT, MEMIF_ORIGIN,
  MEMIF_OURS, MEMIF_REGIONS, MEMIF_REGION_SHIFT, MEMIF_RING, MEMIF_TABLE, MEMIF_THEIRS, RING_DESCS, RING_FLAGS,
} from '../port/drivers/memif/layout.js';
import {
  CHAIN_COUNT, CHAIN_DESCS, CHAIN_FIRST, CHAIN_ID, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, DESC_WRITE, DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN,
  DEVICE_BAD_INDEX, MOST_SEGMENTS, SEGMENTS, SEGMENTS_END, SEGMENT_SHIFT, VQ_SCRATCH, VQ_SIZE,
} from '../virtqueue/layout.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DeviceRingFunctions } from './virtqueue_device.js';

/** A descriptor as it was copied, once. `place` is where its bytes are in the arena; 0 where they are not all shared. */
interface Descriptor { readonly place: number; readonly length: number; readonly more: boolean }

export function memifRingFunctions({ u16, u32 }: ArenaViews, { tellSplit }: VirtqueueFunctions): DeviceRingFunctions {
  return { gather, put };

  function gather(queue: number, want: number, writable: number): number {
    const size = field(queue, VQ_SIZE);
    // Pairs with the other end's release of its index: the descriptors before it.
    const ready = (Atomics.load(u16, field(queue, MEMIF_THEIRS) >>> 1) + field(queue, MEMIF_LEAD) - field(queue, MEMIF_NEXT)) & 0xffff;
    if (ready > size) {
      count64(u32, queue + DEVICE_BAD_INDEX, 1);
      return 0;
    }
    return writable === DESC_WRITE ? gatherEmpty(queue, Math.min(want, ready)) : gatherFrames(queue, want, ready);
  }

  /** Each descriptor is a chain of its own: a frame that needs several takes a run of them. */
  function gatherEmpty(queue: number, count: number): number {
    let segment = field(queue, VQ_SCRATCH) + SEGMENTS;
    for (let i = 0; i < count; i++) {
      const index = field(queue, MEMIF_NEXT) + i;
      const empty = isOwn(queue) ? { place: ownBuffer(queue, index), length: field(queue, MEMIF_BUFFER_BYTES), more: false } : { ...read(queue, index), more: false };
      segment = flatten(queue, chainAt(queue, i), segment, [empty]);
    }
    return count;
  }

  function gatherFrames(queue: number, want: number, ready: number): number {
    let index = field(queue, MEMIF_NEXT);
    let segment = field(queue, VQ_SCRATCH) + SEGMENTS;
    let chains = 0;
    for (; chains < want && ready > 0 && hasRoom(queue, segment); chains++) {
      const pieces = [read(queue, index)];
      while (pieces.at(-1)!.more && pieces.length < ready) pieces.push(read(queue, index + pieces.length));
      segment = flatten(queue, chainAt(queue, chains), segment, pieces);
      index += pieces.length;
      ready -= pieces.length;
    }
    return chains;
  }

  /** One more chain of any length. */
  function hasRoom(queue: number, segment: number): boolean {
    return segment + (MOST_SEGMENTS << SEGMENT_SHIFT) <= field(queue, VQ_SCRATCH) + SEGMENTS_END;
  }

  /**
   * Writes the segments of a chain. What is wrong with one makes all of it bad: it is counted, by the first that is wrong,
   * and has no segments. A frame whose end has not come is bad too: who sends publishes whole frames. Returns where the
   * next chain's segments go.
   */
  function flatten(queue: number, chain: number, first: number, pieces: readonly Descriptor[]): number {
    setField(chain, CHAIN_ID, 0);
    setField(chain, CHAIN_DESCS, pieces.length);
    for (const name of [CHAIN_COUNT, CHAIN_LENGTH, CHAIN_WRITTEN, CHAIN_MORE, CHAIN_MORE + 4]) setField(chain, name, 0);
    setField(chain, CHAIN_FIRST, first);
    let [segment, total] = [first, 0];
    for (const { place, length } of pieces) {
      if (segment - first === MOST_SEGMENTS << SEGMENT_SHIFT) return spoil(queue, first, DEVICE_BAD_CHAIN);
      if (place === 0) return spoil(queue, first, DEVICE_BAD_ADDRESS);
      setField(segment, 0, place);
      setField(segment, 4, length);
      segment += 1 << SEGMENT_SHIFT;
      total += length;
    }
    if (pieces.at(-1)!.more) return spoil(queue, first, DEVICE_BAD_CHAIN);
    setField(chain, CHAIN_COUNT, pieces.length);
    setField(chain, CHAIN_LENGTH, Math.min(total, 0xffffffff));
    return segment;
  }

  function spoil(queue: number, first: number, counter: number): number {
    count64(u32, queue + counter, 1);
    return first;
  }

  /** A client's buffers are where it put them, whatever the descriptor says by now. */
  function read(queue: number, index: number): Descriptor {
    const at = slotAt(queue, index) >>> 2;
    const [kind, length, offset] = [u32[at], u32[at + 1], u32[at + (MEMIF_DESC_OFFSET >> 2)]];
    const place = !isOwn(queue) ? translate(queue, kind >>> 16, offset, length) : length <= field(queue, MEMIF_BUFFER_BYTES) ? ownBuffer(queue, index) : 0;
    return { place, length, more: (kind & MEMIF_DESC_NEXT) !== 0 };
  }

  /** The arena's offset of `length` bytes in a region; 0 when the other end has not shared all of them. */
  function translate(queue: number, region: number, offset: number, length: number): number {
    const table = field(queue, MEMIF_REGIONS);
    if (region >= field(table, 0)) return 0;
    const entry = table + MEMIF_TABLE + (region << MEMIF_REGION_SHIFT);
    return offset + length <= field(entry, 4) ? (field(entry, 0) + offset) >>> 0 : 0;
  }

  function put(queue: number, count: number, together: boolean): void {
    if (count === 0) return;
    const old = field(queue, MEMIF_NEXT);
    let index = old;
    for (let i = 0; i < count; i++) {
      const chain = chainAt(queue, i);
      if (together) index += field(chain, CHAIN_DESCS);
      else fill(queue, index++, field(chain, CHAIN_MORE), field(chain, CHAIN_WRITTEN));
    }
    // Of a client that copies: each buffer is empty again.
    for (let each = old; together && isOwn(queue) && each < index; each++) fill(queue, each, 0, field(queue, MEMIF_BUFFER_BYTES));
    setField(queue, MEMIF_NEXT, index & 0xffff);
    Atomics.store(u16, field(queue, MEMIF_OURS) >>> 1, index + field(queue, MEMIF_AHEAD));
    // Who receives says in the flags whether it wants to be told.
    if (!together) tellSplit(queue, field(queue, MEMIF_RING) + RING_FLAGS, 0, index & 0xffff, old);
  }

  /** A descriptor says flags and length; a client writes its own whole. */
  function fill(queue: number, index: number, flags: number, length: number): void {
    const at = slotAt(queue, index);
    u16[at >>> 1] = flags;
    u32[(at + 4) >>> 2] = length;
    if (!isOwn(queue)) return;
    u16[(at + 2) >>> 1] = 0; // region 0
    u32[(at + MEMIF_DESC_OFFSET) >>> 2] = ownBuffer(queue, index) - field(queue, MEMIF_ORIGIN);
  }

  /** A client that copies, from and to buffers of its own. */
  function isOwn(queue: number): boolean {
    return field(queue, MEMIF_BUFFERS) !== 0;
  }

  function ownBuffer(queue: number, index: number): number {
    return (field(queue, MEMIF_BUFFERS) + (index & (field(queue, VQ_SIZE) - 1)) * field(queue, MEMIF_BUFFER_BYTES)) >>> 0;
  }

  function slotAt(queue: number, index: number): number {
    return field(queue, MEMIF_RING) + RING_DESCS + ((index & (field(queue, VQ_SIZE) - 1)) << MEMIF_DESC_SHIFT);
  }

  function chainAt(queue: number, index: number): number {
    return field(queue, VQ_SCRATCH) + (index << CHAIN_SHIFT);
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function setField(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }
}
