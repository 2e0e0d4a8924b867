/** The driver's side of a virtqueue: where its parts stand, and how it begins. What carries kicks and addresses is the caller's. */
import { usedEvent } from '../burst/virtqueue.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { RingFormat } from './features.js';
import {
  DESC_AVAIL, DESC_SHIFT, DESC_USED, EXTRA_BYTES, RING_INDEX, SCRATCH_BYTES, SIDE_HANDLE, SIDE_SHIFT, VQ_AVAIL, VQ_BATCH, VQ_BUFFER_MASK, VQ_DESC, VQ_EXTRA,
  VQ_FLAGS, VQ_FREE, VQ_FREE_HEAD, VQ_FREE_TAIL, VQ_IOVA, VQ_LONGEST, VQ_NEXT_AVAIL, VQ_NEXT_USED, VQ_NOTIFY, VQ_OFFLOADS, VQ_PACKED, VQ_PART_HEAD,
  VQ_PART_LEFT, VQ_PART_TAIL, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_ROOM, VQ_SCRATCH, VQ_SIDE, VQ_SIZE, VQ_USED,
} from './layout.js';
import { describeFormat, wishEvents, withQueue, type QueueFields } from './state.js';

/** Where the device finds the parts of a ring, from the start of the memory that it shares with the driver. */
export interface RingPlaces {
  readonly desc: number;
  /** The available ring, or the driver's event suppression. */
  readonly avail: number;
  /** The used ring, or the device's. */
  readonly used: number;
  /** Headers and tables that the driver writes beside its frames. */
  readonly extra: number;
  readonly bytes: number;
}

/** Each part on lines of its own, so that the two sides do not take lines from each other for nothing. */
export function ringPlaces(packed: boolean, size: number): RingPlaces {
  const line = (bytes: number): number => Math.ceil(bytes / 128) * 128;
  const avail = line(size << DESC_SHIFT);
  const used = avail + line(packed ? 4 : 6 + size * 2);
  const extra = used + line(packed ? 4 : 6 + size * 8);
  return { desc: 0, avail, used, extra, bytes: extra + size * EXTRA_BYTES };
}

/** Bytes of the driver's own memory beside it: scratch, what is out, and the free ids. */
export function driverPrivateBytes(size: number): number {
  return SCRATCH_BYTES + (size << SIDE_SHIFT) + size * 2;
}

export interface DriverSetup {
  readonly format: RingFormat;
  /** Descriptors: a power of two in a split ring, any number up to 32768 in a packed one. */
  readonly size: number;
  /** Offset of `ringPlaces().bytes` of shared memory, at a multiple of 128. */
  readonly shared: number;
  /** Offset of `driverPrivateBytes` of private memory, at a multiple of 64. */
  readonly own: number;
  /** What is added to an offset in the arena to make an address of the device's. */
  readonly iova: bigint;
  readonly pool: Mempool;
  /** Bytes of the longest frame. */
  readonly longest: number;
  /** OFFLOAD_*. Default none. */
  readonly offloads?: number;
}

/** An empty queue, as after a device's reset; nothing may be out in it. Bursts work once `openQueue` was called. */
export function resetDriver(queue: QueueFields, { format, size, shared, own, iova, pool, longest, offloads = 0 }: DriverSetup): void {
  const { arena } = queue;
  const places = ringPlaces(format.packed, size);
  const side = own + SCRATCH_BYTES;
  const free = side + (size << SIDE_SHIFT);
  // 2.8.9: a packed ring's first turn has wrap counter 1.
  const first = format.packed ? 0x8000 : 0;
  withQueue(queue, () => {
    arena.u8.fill(0, shared, shared + places.bytes);
    arena.u8.fill(0, own, free);
    for (let id = 0; id < size; id++) arena.u16[(free >>> 1) + id] = id;
    describeFormat(queue, format, size);
    const fields = [
      [VQ_DESC, shared + places.desc], [VQ_AVAIL, shared + places.avail], [VQ_USED, shared + places.used], [VQ_EXTRA, shared + places.extra],
      [VQ_NEXT_AVAIL, first], [VQ_NEXT_USED, first], [VQ_SCRATCH, own], [VQ_SIDE, side], [VQ_FREE, free], [VQ_FREE_HEAD, 0], [VQ_FREE_TAIL, 0],
      [VQ_ROOM, size], [VQ_POOL, pool.buffers.offset], [VQ_POOL_BYTES, pool.size * pool.bufferSize], [VQ_BUFFER_MASK, pool.bufferSize - 1],
      [VQ_LONGEST, longest], [VQ_PART_HEAD, 0], [VQ_PART_TAIL, 0], [VQ_PART_LEFT, 0], [VQ_NOTIFY, 0],
      [VQ_BATCH, 0], [VQ_OFFLOADS, offloads],
    ] as const;
    for (const [field, value] of fields) queue.set(field, value);
    arena.u64[(queue.offset + VQ_IOVA) / 8] = iova;
    queue.set(VQ_READY, 0);
    wishInterrupts(queue, false);
  });
}

/** Does the device tell of what it has used? A polled queue does not want it. */
export function wishInterrupts(queue: QueueFields, wanted: boolean): void {
  const avail = queue.get(VQ_AVAIL);
  wishEvents(queue, wanted, avail, usedEvent(avail, queue.get(VQ_SIZE)), queue.get(VQ_NEXT_USED));
}

/** Before a sleep: asks to be told. Returns false when there is something already. Throws EBUSYQUEUE. */
export function armDriver(queue: QueueFields): boolean {
  return withQueue(queue, () => {
    if (queue.get(VQ_READY) === 0) return true;
    wishInterrupts(queue, true);
    return !hasUsed(queue);
  });
}

/** After a sleep: polled again. */
export function disarmDriver(queue: QueueFields): void {
  withQueue(queue, () => { if (queue.get(VQ_READY) !== 0) wishInterrupts(queue, false); });
}

/** Has the device used something that was not looked at? */
export function hasUsed(queue: QueueFields): boolean {
  return usedCount(queue, 1) > 0;
}

/** Buffers that the device has used and that were not looked at, as it says; of one descriptor each in a packed ring. `most` are counted. */
export function usedCount(queue: QueueFields, most: number = queue.get(VQ_SIZE)): number {
  const { u16 } = queue.arena;
  const [next, size] = [queue.get(VQ_NEXT_USED), queue.get(VQ_SIZE)];
  if ((queue.get(VQ_FLAGS) & VQ_PACKED) === 0) return Math.min(most, (Atomics.load(u16, (queue.get(VQ_USED) + RING_INDEX) >>> 1) - next) & 0xffff);
  let count = 0;
  while (count < most) {
    const index = (next & 0x7fff) + count;
    const turn = (next & 0x8000) !== 0 !== index >= size;
    const flags = Atomics.load(u16, (queue.get(VQ_DESC) + ((index % size) << DESC_SHIFT) + 14) >>> 1);
    if ((flags & (DESC_AVAIL | DESC_USED)) !== (turn ? DESC_AVAIL | DESC_USED : 0)) break;
    count++;
  }
  return count;
}

/** The mbufs that are out, and the first of a frame that has come in part; for a queue that is stopped. */
export function outstanding(queue: QueueFields): number[] {
  const handles = [queue.get(VQ_PART_HEAD)].filter(handle => handle !== 0);
  for (let id = 0; id < queue.get(VQ_SIZE); id++) {
    const handle = queue.arena.u32[(queue.get(VQ_SIDE) + (id << SIDE_SHIFT) + SIDE_HANDLE) >>> 2]!;
    if (handle !== 0) handles.push(handle);
  }
  return handles;
}
