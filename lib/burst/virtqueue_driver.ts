/** The driver's side of the rings, in plain TypeScript: makes descriptors available, and takes what was used. The fast double is assembly/virtqueue_driver.ts; neither calls the other. */
import {
  DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_SHIFT, DESC_USED, DRIVER_BAD_USED, EXTRA_SHIFT, EXTRA_TABLE, NO_ID, RING_ENTRIES, RING_INDEX, SEGMENTS,
  SEGMENT_SHIFT, SIDE_DESCS, SIDE_HANDLE, SIDE_NEXT, SIDE_SHIFT, VQ_AVAIL, VQ_BATCH, VQ_DESC, VQ_EXTRA, VQ_FLAGS, VQ_FREE, VQ_FREE_HEAD, VQ_FREE_TAIL, VQ_IN_ORDER, VQ_IOVA,
  VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from '../virtqueue/layout.js';
import { count64, type ArenaViews } from './views.js';
import { advance, availEvent, type VirtqueueFunctions } from './virtqueue.js';

export interface DriverRingFunctions {
  /** Offset of the extra memory of the id that the next chain will have. */
  nextExtra(queue: number): number;
  /** One buffer in one descriptor, the `nth` since the last `publish`; `kind` are its flags. Its mbuf is out from now on. */
  pushOne(queue: number, nth: number, offset: number, length: number, kind: number, handle: number): void;
  /** `count` segments of the scratch memory as one chain, in a table of its own where `indirect`. Returns the places that it took in the ring. */
  pushChain(queue: number, nth: number, count: number, indirect: boolean, handle: number): number;
  /** The device sees what was pushed: `count` chains in a split ring, descriptors in a packed one. */
  publish(queue: number, count: number): void;
  /** Takes up to `want` used buffers: pairs of handle and length, in the scratch memory from SEGMENTS on. Returns how many. */
  popUsed(queue: number, want: number): number;
}

export function driverRingFunctions({ u16, u32, u64 }: ArenaViews, { isPacked, tellSplit, tellUnlessDisabled }: VirtqueueFunctions): DriverRingFunctions {
  return { nextExtra: queue => extraAt(queue, idAhead(queue, 0)), pushOne, pushChain, publish, popUsed };

  function pushOne(queue: number, nth: number, offset: number, length: number, kind: number, handle: number): void {
    const id = idAhead(queue, 0);
    takeIds(queue, 1);
    writeSide(queue, id, handle, 1, 0);
    const address = u64[(queue + VQ_IOVA) / 8] + BigInt(offset);
    if (isPacked(queue)) return writePacked(queue, nth, address, length, kind, id);
    writeDescriptor(field(queue, VQ_DESC) + (id << DESC_SHIFT), address, length, kind, 0);
    makeAvailable(queue, nth, id);
  }

  function pushChain(queue: number, nth: number, count: number, indirect: boolean, handle: number): number {
    if (indirect) {
      const table = extraAt(queue, idAhead(queue, 0)) + EXTRA_TABLE;
      for (let i = 0; i < count; i++) writeTable(queue, table + (i << DESC_SHIFT), i, i + 1 === count);
      pushOne(queue, nth, table, count << DESC_SHIFT, DESC_INDIRECT, handle);
      return 1;
    }
    return isPacked(queue) ? pushPacked(queue, nth, count, handle) : pushSplit(queue, nth, count, handle);
  }

  /** In a table of a packed ring the descriptors follow each other without a flag (2.8.7). */
  function writeTable(queue: number, at: number, i: number, last: boolean): void {
    const { address, length } = segmentAt(queue, i);
    const linked = !last && !isPacked(queue);
    writeDescriptor(at, address, length, linked ? DESC_NEXT : 0, linked ? i + 1 : 0);
  }

  function pushPacked(queue: number, nth: number, count: number, handle: number): number {
    const id = idAhead(queue, 0);
    for (let i = 0; i < count; i++) {
      const { address, length } = segmentAt(queue, i);
      writePacked(queue, nth + i, address, length, i + 1 < count ? DESC_NEXT : 0, id);
    }
    writeSide(queue, id, handle, count, undefined);
    takeIds(queue, 1);
    return count;
  }

  /** Each descriptor of it has an id, and the first one's is the chain's. */
  function pushSplit(queue: number, nth: number, count: number, handle: number): number {
    const ids = Array.from({ length: count }, (_, i) => idAhead(queue, i));
    ids.forEach((id, i) => {
      const { address, length } = segmentAt(queue, i);
      const next = ids[i + 1] ?? 0;
      writeDescriptor(field(queue, VQ_DESC) + (id << DESC_SHIFT), address, length, i + 1 < count ? DESC_NEXT : 0, next);
      u16[(sideAt(queue, id) + SIDE_NEXT) >>> 1] = next;
    });
    writeSide(queue, ids[0], handle, count, undefined);
    makeAvailable(queue, nth, ids[0]);
    takeIds(queue, count);
    return 1;
  }

  function segmentAt(queue: number, i: number): { address: bigint; length: number } {
    const at = field(queue, VQ_SCRATCH) + SEGMENTS + (i << SEGMENT_SHIFT);
    return { address: u64[(queue + VQ_IOVA) / 8] + BigInt(field(at, 0)), length: field(at, 4) };
  }

  function writeSide(queue: number, id: number, handle: number, descs: number, next: number | undefined): void {
    setField(sideAt(queue, id), SIDE_HANDLE, handle);
    u16[(sideAt(queue, id) + SIDE_DESCS) >>> 1] = descs;
    if (next !== undefined) u16[(sideAt(queue, id) + SIDE_NEXT) >>> 1] = next;
    setField(queue, VQ_ROOM, field(queue, VQ_ROOM) - descs);
  }

  function writeDescriptor(at: number, address: bigint, length: number, third: number, last: number): void {
    u64[at / 8] = address;
    u64[at / 8 + 1] = word(length, third, last);
  }

  function makeAvailable(queue: number, nth: number, id: number): void {
    const index = (field(queue, VQ_NEXT_AVAIL) + nth) & (field(queue, VQ_SIZE) - 1);
    u16[((field(queue, VQ_AVAIL) + RING_ENTRIES) >>> 1) + index] = id;
  }

  /** The first place since the last publishing keeps its old flags until then; its new ones wait in the scratch memory. */
  function writePacked(queue: number, nth: number, address: bigint, length: number, flags: number, id: number): void {
    const next = advance(field(queue, VQ_NEXT_AVAIL), nth, field(queue, VQ_SIZE));
    const at = placeAt(queue, next) / 8;
    const second = word(length, id, flags | ((next & 0x8000) !== 0 ? DESC_AVAIL : DESC_USED));
    u64[at] = address;
    u64[nth === 0 ? field(queue, VQ_SCRATCH) / 8 : at + 1] = second;
  }

  function publish(queue: number, count: number): void {
    if (count === 0) return;
    const [size, used, old] = [field(queue, VQ_SIZE), field(queue, VQ_USED), field(queue, VQ_NEXT_AVAIL)];
    if (isPacked(queue)) {
      Atomics.store(u64, placeAt(queue, old) / 8 + 1, u64[field(queue, VQ_SCRATCH) / 8]);
      setField(queue, VQ_NEXT_AVAIL, advance(old, count, size));
      return tellUnlessDisabled(queue, used);
    }
    const index = (old + count) & 0xffff;
    setField(queue, VQ_NEXT_AVAIL, index);
    // Pairs with the device's acquire of the index: entries and descriptors before it.
    Atomics.store(u16, (field(queue, VQ_AVAIL) + RING_INDEX) >>> 1, index);
    tellSplit(queue, used, availEvent(used, size), index, old);
  }

  function popUsed(queue: number, want: number): number {
    if ((field(queue, VQ_FLAGS) & VQ_IN_ORDER) !== 0) return popInOrder(queue, want);
    return isPacked(queue) ? popPacked(queue, want) : popSplit(queue, want);
  }

  /**
   * Buffers come back in the order they went out, and so their ids stand in the ring of free ones, from its tail on. An
   * entry ends a batch, of which some may be left for the next call.
   */
  function popInOrder(queue: number, want: number): number {
    let pairs = 0;
    for (let i = 0; i < want; i++) {
      if (field(queue, VQ_BATCH) === 0) {
        const id = usedId(queue);
        if (id === NO_ID) break;
        if (id >= field(queue, VQ_SIZE) || field(sideAt(queue, id), SIDE_HANDLE) === 0) {
          count64(u32, queue + DRIVER_BAD_USED, 1);
          passUsed(queue, 1);
          continue;
        }
        setField(queue, VQ_BATCH, id | BATCH_OPEN);
      }
      const id = u16[(field(queue, VQ_FREE) >>> 1) + field(queue, VQ_FREE_TAIL)];
      const places = u16[(sideAt(queue, id) + SIDE_DESCS) >>> 1];
      pairs += keep(queue, pairs, release(queue, id), 0);
      passUsed(queue, places);
      if ((id | BATCH_OPEN) === field(queue, VQ_BATCH)) setField(queue, VQ_BATCH, 0);
    }
    return pairs;
  }

  /** The id of the next used entry, NO_ID while there is none. */
  function usedId(queue: number): number {
    const [used, size, next] = [field(queue, VQ_USED), field(queue, VQ_SIZE), field(queue, VQ_NEXT_USED)];
    if (isPacked(queue)) {
      const second = Atomics.load(u64, placeAt(queue, next) / 8 + 1);
      const turn = (next & 0x8000) !== 0 ? DESC_AVAIL | DESC_USED : 0;
      return (Number(second >> 48n) & (DESC_AVAIL | DESC_USED)) === turn ? Number((second >> 32n) & 0xffffn) : NO_ID;
    }
    const ready = (Atomics.load(u16, (used + RING_INDEX) >>> 1) - next) & 0xffff;
    if (ready === 0) return NO_ID;
    if (ready <= size) return Math.min(field(used + RING_ENTRIES + (next & (size - 1)) * 8, 0), NO_ID - 1);
    count64(u32, queue + DRIVER_BAD_USED, 1);
    return NO_ID;
  }

  function passUsed(queue: number, places: number): void {
    const next = field(queue, VQ_NEXT_USED);
    setField(queue, VQ_NEXT_USED, isPacked(queue) ? advance(next, places, field(queue, VQ_SIZE)) : (next + 1) & 0xffff);
  }

  function popSplit(queue: number, want: number): number {
    const [used, size, next] = [field(queue, VQ_USED), field(queue, VQ_SIZE), field(queue, VQ_NEXT_USED)];
    // Pairs with the device's release of the index: entries and buffers before it.
    const ready = (Atomics.load(u16, (used + RING_INDEX) >>> 1) - next) & 0xffff;
    if (ready > size) {
      count64(u32, queue + DRIVER_BAD_USED, 1);
      return 0;
    }
    let pairs = 0;
    const take = Math.min(ready, want);
    for (let i = 0; i < take; i++) {
      const entry = used + RING_ENTRIES + ((next + i) & (size - 1)) * 8;
      const [id, length] = [field(entry, 0), field(entry, 4)];
      pairs += keep(queue, pairs, release(queue, id), length);
    }
    setField(queue, VQ_NEXT_USED, (next + take) & 0xffff);
    return pairs;
  }

  function popPacked(queue: number, want: number): number {
    const size = field(queue, VQ_SIZE);
    let [next, pairs] = [field(queue, VQ_NEXT_USED), 0];
    for (let i = 0; i < want; i++) {
      // Pairs with the device's release of the flags. Length, id and flags in one.
      const second = Atomics.load(u64, placeAt(queue, next) / 8 + 1);
      const turn = (next & 0x8000) !== 0 ? DESC_AVAIL | DESC_USED : 0;
      if ((Number(second >> 48n) & (DESC_AVAIL | DESC_USED)) !== turn) break;
      const id = Number((second >> 32n) & 0xffffn);
      const places = id < size ? u16[(sideAt(queue, id) + SIDE_DESCS) >>> 1] : 1;
      const handle = release(queue, id);
      // One that is made up has its place all the same, or it would be looked at for ever.
      next = advance(next, handle === 0 ? 1 : places, size);
      pairs += keep(queue, pairs, handle, Number(second & 0xffffffffn));
    }
    setField(queue, VQ_NEXT_USED, next);
    return pairs;
  }

  function keep(queue: number, pairs: number, handle: number, length: number): number {
    if (handle === 0) return 0;
    const at = field(queue, VQ_SCRATCH) + SEGMENTS + pairs * 8;
    setField(at, 0, handle);
    setField(at, 4, length);
    return 1;
  }

  /** What is out under an id comes back, and its descriptors are free. 0 for an id under which nothing is. */
  function release(queue: number, id: number): number {
    const handle = id < field(queue, VQ_SIZE) ? field(sideAt(queue, id), SIDE_HANDLE) : 0;
    if (handle === 0) {
      count64(u32, queue + DRIVER_BAD_USED, 1);
      return 0;
    }
    const descs = u16[(sideAt(queue, id) + SIDE_DESCS) >>> 1];
    setField(sideAt(queue, id), SIDE_HANDLE, 0);
    setField(queue, VQ_ROOM, field(queue, VQ_ROOM) + descs);
    freeId(queue, id);
    for (let i = 1; i < descs && !isPacked(queue); i++) {
      id = u16[(sideAt(queue, id) + SIDE_NEXT) >>> 1];
      freeId(queue, id);
    }
    return handle;
  }

  function idAhead(queue: number, ahead: number): number {
    return u16[(field(queue, VQ_FREE) >>> 1) + (field(queue, VQ_FREE_HEAD) + ahead) % field(queue, VQ_SIZE)];
  }

  function takeIds(queue: number, count: number): void {
    setField(queue, VQ_FREE_HEAD, (field(queue, VQ_FREE_HEAD) + count) % field(queue, VQ_SIZE));
  }

  function freeId(queue: number, id: number): void {
    const at = field(queue, VQ_FREE_TAIL);
    u16[(field(queue, VQ_FREE) >>> 1) + at] = id;
    setField(queue, VQ_FREE_TAIL, (at + 1) % field(queue, VQ_SIZE));
  }

  function placeAt(queue: number, next: number): number {
    return field(queue, VQ_DESC) + ((next & 0x7fff) << DESC_SHIFT);
  }

  function sideAt(queue: number, id: number): number {
    return field(queue, VQ_SIDE) + (id << SIDE_SHIFT);
  }

  function extraAt(queue: number, id: number): number {
    return field(queue, VQ_EXTRA) + (id << EXTRA_SHIFT);
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function setField(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }
}

const BATCH_OPEN = 1 << 16;

/** The second half of a descriptor. */
function word(length: number, third: number, last: number): bigint {
  return BigInt(length) | (BigInt(third) << 32n) | (BigInt(last) << 48n);
}
