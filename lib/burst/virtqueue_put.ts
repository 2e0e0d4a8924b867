/** The device's side of the rings, in plain TypeScript: gives chains back that virtqueue_gather.ts has flattened. The fast double is assembly/virtqueue_put.ts; neither calls the other. */
import {
  CHAIN_DESCS, CHAIN_ID, CHAIN_SHIFT, CHAIN_WRITTEN, DESC_AVAIL, DESC_SHIFT, DESC_USED, DESC_WRITE, INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP,
  INFLIGHT_SPLIT_USED, INFLIGHT_USED, INFLIGHT_WRAP, NO_ID, RING_ENTRIES, RING_INDEX, VQ_AVAIL, VQ_DESC, VQ_INFLIGHT, VQ_NEXT_AVAIL, VQ_NEXT_USED,
  VQ_SCRATCH, VQ_SIZE, VQ_USED,
} from '../virtqueue/layout.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';
import { advance, usedEvent, type VirtqueueFunctions } from './virtqueue.js';

export interface PutFunctions {
  putSplit(queue: number, count: number, single: boolean): void;
  putPacked(queue: number, count: number, single: boolean): void;
}

export function putFunctions(views: ArenaViews, { tellSplit, tellPacked }: VirtqueueFunctions): PutFunctions {
  const { u8, u16, u64 } = views;
  const { field, setField } = queueMbufs(views);
  return { putSplit, putPacked };

  function putSplit(queue: number, count: number, single: boolean): void {
    const [used, avail, size] = [field(queue, VQ_USED), field(queue, VQ_AVAIL), field(queue, VQ_SIZE)];
    const old = field(queue, VQ_NEXT_USED);
    let index = old;
    for (let i = 0; i < count; i++) {
      const chain = chainAt(queue, i);
      if (field(chain, CHAIN_ID) === NO_ID) continue;
      // The last one's id is what is left at the first one's place.
      const entry = used + RING_ENTRIES + ((single ? old : index) & (size - 1)) * 8;
      setField(entry, 0, field(chain, CHAIN_ID));
      setField(entry, 4, field(chain, CHAIN_WRITTEN));
      index = (index + 1) & 0xffff;
    }
    setField(queue, VQ_NEXT_AVAIL, (field(queue, VQ_NEXT_AVAIL) + count) & 0xffff);
    setField(queue, VQ_NEXT_USED, index);
    if (index === old) return;
    // Pairs with the driver's acquire of the index: entries and buffers before it.
    Atomics.store(u16, (used + RING_INDEX) >>> 1, index);
    const inflight = field(queue, VQ_INFLIGHT);
    if (inflight !== 0) u16[(inflight + INFLIGHT_SPLIT_USED) >>> 1] = index;
    tellSplit(queue, avail, usedEvent(avail, size), index, old);
  }

  /** The driver looks at them in order, so the first one's flags are what publishes all. */
  function putPacked(queue: number, count: number, single: boolean): void {
    if (count === 0) return;
    const size = field(queue, VQ_SIZE);
    const old = field(queue, VQ_NEXT_USED);
    let [next, places] = [old, 0];
    for (let i = 0; i < count; i++) {
      const chain = chainAt(queue, i);
      if (i > 0 && !single) u64[usedPlace(queue, next)] = usedWord(chain, next);
      places += field(chain, CHAIN_DESCS);
      next = advance(next, field(chain, CHAIN_DESCS), size);
    }
    noteUsed(queue, INFLIGHT_USED, INFLIGHT_WRAP, next);
    Atomics.store(u64, usedPlace(queue, old), usedWord(chainAt(queue, single ? count - 1 : 0), old));
    noteUsed(queue, INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP, next);
    setField(queue, VQ_NEXT_AVAIL, advance(field(queue, VQ_NEXT_AVAIL), places, size));
    setField(queue, VQ_NEXT_USED, next);
    tellPacked(queue, field(queue, VQ_AVAIL), next, places);
  }

  /** For a device after this one, should this one die in between. */
  function noteUsed(queue: number, used: number, wrap: number, next: number): void {
    const inflight = field(queue, VQ_INFLIGHT);
    if (inflight === 0) return;
    u16[(inflight + used) >>> 1] = next & 0x7fff;
    u8[inflight + wrap] = next >>> 15;
  }

  /** Index of the second word of a place in a packed ring. */
  function usedPlace(queue: number, next: number): number {
    return (field(queue, VQ_DESC) + ((next & 0x7fff) << DESC_SHIFT) + 8) / 8;
  }

  /** Length, id and flags of a used descriptor. */
  function usedWord(chain: number, next: number): bigint {
    const written = field(chain, CHAIN_WRITTEN);
    const flags = ((next & 0x8000) !== 0 ? DESC_AVAIL | DESC_USED : 0) | (written > 0 ? DESC_WRITE : 0);
    return BigInt(written) | (BigInt(field(chain, CHAIN_ID)) << 32n) | (BigInt(flags) << 48n);
  }

  function chainAt(queue: number, index: number): number {
    return field(queue, VQ_SCRATCH) + (index << CHAIN_SHIFT);
  }
}
