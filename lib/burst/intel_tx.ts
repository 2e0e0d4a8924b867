/** Sending by Intel's NICs, in plain TypeScript. The fast double is assembly/intel_tx.ts; neither calls the other. */
import { HANDLE_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, TX_OFFLOADS, TX_VLAN } from '../mbuf/layout.js';
import {
  INTEL_82576, INTEL_BAD_FRAME, INTEL_BUFFER_MASK, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_LASTS, INTEL_MASK,
  INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT, INTEL_NOT_MAPPED, INTEL_OFFERS, INTEL_PAYLOAD, INTEL_REPORTS, INTEL_RING_FULL, SHORTEST,
  TXD_DATA_82574, TXD_DEXT, TXD_EOP, TXD_RS, TXD_VLE,
} from '../port/drivers/vfio/intel/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import { intelContexts } from './intel_context.js';
import { intelRings } from './intel_ring.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

export function intelTxFunctions(views: ArenaViews, pools: MempoolFunctions, { intelClean }: Pick<BurstFunctions, 'intelClean'>): Pick<BurstFunctions, 'intelTx'> {
  const { u16, u32 } = views;
  const { field, headerOf, own } = queueMbufs(views);
  const { descriptorAt, sideAt, publish, isMapped } = intelRings(views);
  const { canDescribe, hasContext, writeContext, optionsOf } = intelContexts(views);
  return { intelTx };

  function intelTx(queue: number, burst: number, count: number, lcore: number): number {
    intelClean(queue, lcore);
    if (count === 0) return 0;
    const start = field(queue, INTEL_NEXT);
    const room = field(queue, INTEL_MASK) - ((start - field(queue, INTEL_HEAD)) >>> 0);
    const reports = field(queue, INTEL_REPORTS) || Infinity;
    let taken = 0;
    let packets = 0;
    let used = 0;
    let reported = 0;
    for (; taken < count; taken++) {
      const slot = burst + taken * 4;
      const took = used === room ? 0 : writeFrame(queue, start + used, room - used, u32[slot >>> 2]);
      if (took === 0) count64(u32, queue + INTEL_RING_FULL, 1);
      if (took === 0 || (took < 0 && !dropBad(queue, slot, lcore))) break;
      if (took > 0) packets++;
      if (used + took - reported > reports) {
        report(queue, start + reported, start + used);
        reported = used;
      }
      used += Math.max(took, 0);
    }
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    if (used > 0) {
      report(queue, start + reported, start + used);
      publish(queue, (start + used) >>> 0);
      count64(u32, queue + QUEUE_PACKETS, packets);
    }
    return taken;
  }

  /** Of the descriptors from `first` on, the last before `end` reports: the device writes back one instead of each. */
  function report(queue: number, first: number, end: number): void {
    const last = (end - 1) >>> 0;
    u32[(descriptorAt(queue, last) + 8) >>> 2] |= TXD_RS;
    u32[(field(queue, INTEL_LASTS) >>> 2) + (first & field(queue, INTEL_MASK))] = last;
  }

  /** The mbuf in the slot cannot be sent. One of this pool is freed, and the port goes on; another's is the program's mistake. */
  function dropBad(queue: number, slot: number, lcore: number): boolean {
    if (!isMapped(queue, u32[slot >>> 2])) {
      count64(u32, queue + INTEL_NOT_MAPPED, 1);
      return false;
    }
    count64(u32, queue + INTEL_BAD_FRAME, 1);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, slot, 1);
    return true;
  }

  /** Returns how many descriptors the frame took; 0: it has to wait for room; -1: it cannot be sent. */
  function writeFrame(queue: number, index: number, room: number, handle: number): number {
    const segments = segmentsOf(queue, handle);
    const total = segments.reduce((sum, each) => sum + lengthAt(queue, each), 0);
    if (segments.length === 0 || total < SHORTEST || total > field(queue, INTEL_MOST)) return -1;
    const header = headerOf(queue, handle);
    const flags = field(header, MBUF_OL_FLAGS);
    if ((flags & TX_OFFLOADS & ~field(queue, INTEL_OFFERS)) !== 0) return -1;
    const advanced = field(queue, INTEL_CONTEXT_KIND) === INTEL_82576;
    // An 82576 has the VLAN tag in the context too.
    const wantsContext = (flags & TX_OFFLOADS & ~(advanced ? 0 : TX_VLAN)) !== 0;
    if (wantsContext && !canDescribe(queue, header, total)) return -1;
    const context = wantsContext && !hasContext(queue, header) ? 1 : 0;
    if (segments.length + context > room) return 0;
    if (context === 1) writeContext(queue, index, header);
    const extended = (flags & TX_OFFLOADS) !== 0 && !advanced ? TXD_DEXT | TXD_DATA_82574 : 0;
    const third = field(queue, INTEL_COMMAND) | extended | ((flags & TX_VLAN) !== 0 ? TXD_VLE : 0);
    const fourth = optionsOf(queue, header) | (total * field(queue, INTEL_PAYLOAD));
    segments.forEach((each, i) => {
      const last = i === segments.length - 1;
      writeSegment(queue, index + context + i, each, third | (last ? TXD_EOP : 0), fourth);
      // Freeing the first frees them all.
      u32[sideAt(queue, index + context + i)] = i === 0 ? handle : 0;
    });
    count64(u32, queue + QUEUE_BYTES, total);
    return segments.length + context;
  }

  function writeSegment(queue: number, index: number, handle: number, third: number, fourth: number): void {
    const at = descriptorAt(queue, index) >>> 2;
    u32[at] = (handle << HANDLE_SHIFT) + u16[(headerOf(queue, handle) + MBUF_DATA_OFF) >>> 1];
    u32[at + 1] = field(queue, INTEL_IOVA_HIGH);
    u32[at + 2] = lengthAt(queue, handle) | third;
    u32[at + 3] = fourth;
    own(queue, handle, field(queue, QUEUE_OWNER));
  }

  /** The mbufs of a frame; none when one of them is no mbuf, is empty or goes beyond its buffer, or when there are too many. */
  function segmentsOf(queue: number, first: number): number[] {
    const handles: number[] = [];
    let handle = first;
    const count = isMapped(queue, first) ? u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1] : 0;
    if (count > field(queue, INTEL_MOST_SEGMENTS)) return [];
    while (handles.length < count) {
      if (!isMapped(queue, handle)) return [];
      const length = lengthAt(queue, handle);
      if (length === 0 || u16[(headerOf(queue, handle) + MBUF_DATA_OFF) >>> 1] + length > field(queue, INTEL_BUFFER_MASK) + 1) return [];
      handles.push(handle);
      handle = field(headerOf(queue, handle), MBUF_NEXT);
    }
    return handles;
  }

  function lengthAt(queue: number, handle: number): number {
    return u16[(headerOf(queue, handle) + MBUF_DATA_LEN) >>> 1];
  }
}
