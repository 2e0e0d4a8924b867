/** One ring as either end's queue has it: what a burst finds in the queue's state, from the moment that it runs. */
import { binding } from '../../../binding.js';
import type { Mempool } from '../../../mbuf/mempool.js';
import { VQ_BUFFER_MASK, VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_NOTIFY, VQ_POOL, VQ_POOL_BYTES, VQ_READY, VQ_SCRATCH, VQ_SIZE } from '../../../virtqueue/layout.js';
import { wishEvents, withQueue } from '../../../virtqueue/state.js';
import type { QueueView } from '../../queue_view.js';
import {
  MEMIF_AHEAD, MEMIF_BUFFERS, MEMIF_BUFFER_BYTES, MEMIF_COOKIE, MEMIF_DESC_OFFSET, MEMIF_DESC_SHIFT, MEMIF_LEAD, MEMIF_NEXT, MEMIF_ORIGIN, MEMIF_OURS,
  MEMIF_POSTED, MEMIF_REGIONS, MEMIF_RING, MEMIF_THEIRS, RING_COOKIE, RING_DESCS, RING_FLAGS, RING_HEAD, RING_MASK_INT, RING_TAIL,
} from './layout.js';

/** What is written into an eventfd. */
const ONE = new Uint8Array(BigUint64Array.of(1n).buffer);

export function ringBytes(log2Size: number): number {
  return RING_DESCS + (1 << (log2Size + MEMIF_DESC_SHIFT));
}

export interface RingSetup {
  /** Offset of the ring in the arena. */
  readonly ring: number;
  readonly log2Size: number;
  /** Bytes of the longest frame. */
  readonly longest: number;
  /** Offset of SCRATCH_BYTES of private memory. */
  readonly scratch: number;
}

/** A server's: the client's head is theirs. Returns what is wrong with the ring. Throws EBUSYQUEUE. */
export function startServer(queue: QueueView, setup: RingSetup, regions: number): string | undefined {
  const { u16, u32 } = queue.arena;
  if (u32[(setup.ring + RING_COOKIE) >>> 2] !== MEMIF_COOKIE) return 'A ring has no cookie';
  start(queue, setup, { [MEMIF_THEIRS]: setup.ring + RING_HEAD, [MEMIF_OURS]: setup.ring + RING_TAIL, [MEMIF_REGIONS]: regions }, () => {
    u16[(setup.ring + RING_TAIL) >>> 1] = 0;
  });
  return undefined;
}

/** What a client's queue copies from and to: a buffer for each descriptor, from `buffers` on, in the region that begins at `origin`. */
export interface OwnBuffers { readonly buffers: number; readonly bytes: number; readonly origin: number }

/** A client's that copies. What it receives into is handed out at once. */
export function startCopying(queue: QueueView, setup: RingSetup, { buffers, bytes, origin }: OwnBuffers): void {
  const size = 1 << setup.log2Size;
  const receives = queue.direction === 'rx';
  start(queue, setup, {
    ...clientIndices(setup), [MEMIF_BUFFERS]: buffers, [MEMIF_BUFFER_BYTES]: bytes, [MEMIF_ORIGIN]: origin, [MEMIF_LEAD]: receives ? 0 : size, [MEMIF_AHEAD]: receives ? size : 0,
  }, () => {
    const { u16, u32 } = queue.arena;
    for (let i = 0; i < size; i++) {
      const at = (setup.ring + RING_DESCS + (i << MEMIF_DESC_SHIFT)) >>> 2;
      u32.set([0, bytes], at);
      u32[at + (MEMIF_DESC_OFFSET >>> 2)] = buffers + i * bytes - origin;
    }
    if (receives) Atomics.store(u16, (setup.ring + RING_HEAD) >>> 1, size);
  });
}

/** A client's that shares its pool. Its side table is zero, as it was at first or is after `takeBack`. */
export function startSharing(queue: QueueView, setup: RingSetup, pool: Mempool): void {
  start(queue, setup, {
    ...clientIndices(setup), [MEMIF_POSTED]: 0, [VQ_POOL]: pool.buffers.offset, [VQ_POOL_BYTES]: pool.size * pool.bufferSize, [VQ_BUFFER_MASK]: pool.bufferSize - 1,
  }, () => undefined);
}

/** An empty ring in the client's memory, before anybody knows of it. */
export function makeRing({ arena: { u8, u32 } }: QueueView, ring: number, log2Size: number): void {
  u8.fill(0, ring, ring + ringBytes(log2Size));
  u32[(ring + RING_COOKIE) >>> 2] = MEMIF_COOKIE;
}

/** Does the other end tell of what it sends? A polled queue does not want it. */
export function wishInterrupts(queue: QueueView, wanted: boolean): void {
  wishEvents(queue, wanted, queue.get(MEMIF_RING) + RING_FLAGS, 0, 0);
}

/** Is there something that was not looked at? */
export function hasCome(queue: QueueView): boolean {
  return Atomics.load(queue.arena.u16, queue.get(MEMIF_THEIRS) >>> 1) !== queue.get(MEMIF_NEXT);
}

/**
 * Something came to a queue that has asked to be told, and may not have been: DPDK's sender looks at the flags with no
 * barrier behind its index, and so perhaps at those from before. The port looks for this now and then.
 */
export function wakeLate(queue: QueueView, event: number): void {
  if (queue.get(VQ_READY) === 0) return;
  const wanted = (queue.arena.u16[(queue.get(MEMIF_RING) + RING_FLAGS) >>> 1]! & RING_MASK_INT) === 0;
  if (wanted && hasCome(queue)) binding().write(event, ONE);
}

function clientIndices({ ring }: RingSetup): Record<number, number> {
  return { [MEMIF_THEIRS]: ring + RING_TAIL, [MEMIF_OURS]: ring + RING_HEAD };
}

/** Bursts work from here on, and the other end is not asked to tell of anything. */
function start(queue: QueueView, { ring, log2Size, longest, scratch }: RingSetup, fields: Readonly<Record<number, number>>, before: () => void): void {
  withQueue(queue, () => {
    const all = {
      [VQ_FLAGS]: VQ_MERGEABLE, [VQ_HEADER]: 0, [VQ_SIZE]: 1 << log2Size, [VQ_LONGEST]: longest, [VQ_SCRATCH]: scratch, [VQ_NOTIFY]: 0,
      [MEMIF_RING]: ring, [MEMIF_NEXT]: 0, ...fields,
    };
    for (const [field, value] of Object.entries(all)) queue.set(Number(field), value);
    before();
    if (queue.direction === 'rx') wishInterrupts(queue, false);
    queue.set(VQ_READY, 1);
  });
}
