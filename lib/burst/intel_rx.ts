/** Receiving by Intel's NICs, in plain TypeScript. The fast double is assembly/intel_rx.ts; neither calls the other. */
import {
  MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_VLAN_TCI, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD,
  RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN_STRIPPED,
} from '../mbuf/layout.js';
import {
  INTEL_BAD_LENGTH, INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH, INTEL_CHAIN_SEGMENTS, INTEL_ERRORED, INTEL_ERRORS, INTEL_HEAD,
  INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_MASK, INTEL_MOST, INTEL_NEXT, INTEL_SCRATCH, INTEL_SCRATCH_COUNT, INTEL_SEGMENT,
  INTEL_SPLIT, INTEL_SPLIT_FRAMES, RXD_DD, RXD_EOP, RXD_HASH, RXD_IPCS, RXD_IXSM, RXD_L4CS, RXD_LENGTH, RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS,
  RXD_VP,
} from '../port/drivers/vfio/intel/layout.js';
import { QUEUE_BYTES, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TEMPLATE } from '../port/layout.js';
import { ETHER_HEADER_BYTES } from '../wire/protocol_layout.js';
import type { BurstFunctions } from './functions.js';
import { intelRings } from './intel_ring.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

/** What the device has written into a descriptor, copied. */
interface WriteBack { readonly mrq: number; readonly hash: number; readonly status: number; readonly length: number; readonly tag: number }

export function intelRxFunctions(views: ArenaViews, pools: MempoolFunctions, { intelFill }: Pick<BurstFunctions, 'intelFill'>): Pick<BurstFunctions, 'intelRx'> {
  const { u16, u32 } = views;
  const { field, setField, headerOf, own } = queueMbufs(views);
  const { descriptorAt, sideAt } = intelRings(views);
  return { intelRx };

  function intelRx(queue: number, burst: number, max: number, lcore: number): number {
    const head = field(queue, INTEL_HEAD);
    const ready = countDone(queue, head, max);
    let got = 0;
    if (ready > 0) {
      for (let i = 0; i < ready; i++) got += takeFrame(queue, head + i, burst + got * 4, lcore);
      setField(queue, INTEL_HEAD, head + ready);
      count64(u32, queue + QUEUE_PACKETS, got);
    }
    if (lacking(queue)) intelFill(queue, lcore);
    return got;
  }

  /** Descriptors in a row that the device has written back, at most `max`, and never more than it was given. */
  function countDone(queue: number, head: number, max: number): number {
    const most = Math.min(max, (field(queue, INTEL_NEXT) - head) >>> 0);
    let ready = 0;
    // Pairs with the device's order: a frame's bytes and its descriptor's other fields are written before DD.
    while (ready < most && (Atomics.load(u32, (descriptorAt(queue, head + ready) + RXD_STATUS) >>> 2) & RXD_DD) !== 0) ready++;
    return ready;
  }

  /** The descriptor is copied once; the copy is checked and used. Returns 1 when `slot` holds a frame now, else 0. */
  function takeFrame(queue: number, index: number, slot: number, lcore: number): number {
    const at = descriptorAt(queue, index) >>> 2;
    const written: WriteBack = { mrq: u32[at + RXD_MRQ / 4], hash: u32[at + RXD_HASH / 4], status: u32[at + RXD_STATUS / 4], length: u32[at + RXD_LENGTH / 4] & 0xffff, tag: u32[at + RXD_LENGTH / 4] >>> 16 };
    const handle = u32[sideAt(queue, index)];
    const fault = faultOf(queue, written);
    if (fault !== undefined) {
      if (fault !== 0) count64(u32, queue + fault, 1);
      dropChain(queue, lcore);
      giveBack(queue, handle, lcore);
      return 0;
    }
    link(queue, handle, written.length);
    if ((written.status & RXD_EOP) === 0) return 0;
    count64(u32, queue + QUEUE_BYTES, field(queue, INTEL_CHAIN_LENGTH));
    u32[slot >>> 2] = field(queue, INTEL_CHAIN_FIRST);
    finishChain(queue, written, lcore);
    return 1;
  }

  /** The counter of why the descriptor's frame is dropped, with all that has come of it; 0 where that is counted elsewhere; undefined for a good one. */
  function faultOf(queue: number, { status, length }: WriteBack): number | undefined {
    const ends = (status & RXD_EOP) !== 0;
    const split = field(queue, INTEL_SPLIT);
    if (split !== 0 || (!ends && field(queue, INTEL_SEGMENT) >= field(queue, INTEL_MOST))) {
      // Counted once, at its last piece.
      setField(queue, INTEL_SPLIT, ends ? 0 : split || 1);
      return ends && split === 1 ? INTEL_SPLIT_FRAMES : 0;
    }
    const total = field(queue, INTEL_CHAIN_LENGTH) + length;
    const errored = ends && (status & field(queue, INTEL_ERRORS)) !== 0;
    const fits = length > 0 && length <= field(queue, INTEL_SEGMENT) && total <= field(queue, INTEL_MOST) && (!ends || total >= ETHER_HEADER_BYTES);
    if (!errored && fits) return undefined;
    setField(queue, INTEL_SPLIT, ends ? 0 : 2);
    return errored ? INTEL_ERRORED : INTEL_BAD_LENGTH;
  }

  /** Until the frame is whole its mbufs stay the queue's, each alone but for its `next`. */
  function link(queue: number, handle: number, length: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let word = 0; word < 8; word++) u32[(header >>> 2) + word] = u32[template + word];
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    setField(header, MBUF_PKT_LEN, length);
    if (field(queue, INTEL_CHAIN_FIRST) === 0) setField(queue, INTEL_CHAIN_FIRST, handle);
    else setField(headerOf(queue, field(queue, INTEL_CHAIN_LAST)), MBUF_NEXT, handle);
    setField(queue, INTEL_CHAIN_LAST, handle);
    setField(queue, INTEL_CHAIN_SEGMENTS, field(queue, INTEL_CHAIN_SEGMENTS) + 1);
    setField(queue, INTEL_CHAIN_LENGTH, field(queue, INTEL_CHAIN_LENGTH) + length);
  }

  /** The program's from here on. What is said of the whole frame stands in its last descriptor, and goes to its first mbuf. */
  function finishChain(queue: number, { mrq, hash, status, tag }: WriteBack, lcore: number): void {
    const head = headerOf(queue, field(queue, INTEL_CHAIN_FIRST));
    const hashed = (mrq & RXD_RSS_TYPE) !== 0;
    u16[(head + MBUF_NB_SEGS) >>> 1] = field(queue, INTEL_CHAIN_SEGMENTS);
    setField(head, MBUF_PKT_LEN, field(queue, INTEL_CHAIN_LENGTH));
    setField(head, MBUF_OL_FLAGS, (hashed ? RX_RSS_HASH : 0) | ((status & RXD_VP) !== 0 ? RX_VLAN_STRIPPED : 0) | checksumFlags(queue, status));
    setField(head, MBUF_HASH, hashed ? hash : 0);
    if ((status & RXD_VP) !== 0) u16[(head + MBUF_VLAN_TCI) >>> 1] = tag;
    for (const handle of received(queue)) own(queue, handle, program(lcore));
    forgetChain(queue);
  }

  function checksumFlags(queue: number, status: number): number {
    if ((status & RXD_IXSM) !== 0) return 0;
    const ipBad = (status >>> field(queue, INTEL_IP_BAD_SHIFT)) & RX_IP_CKSUM_BAD;
    const l4Bad = (status >>> field(queue, INTEL_L4_BAD_SHIFT)) & RX_L4_CKSUM_BAD;
    const ip = ipBad !== 0 ? RX_IP_CKSUM_BAD : (status & RXD_IPCS) !== 0 ? RX_IP_CKSUM_GOOD : 0;
    return ip | (l4Bad !== 0 ? RX_L4_CKSUM_BAD : (status & RXD_L4CS) !== 0 ? RX_L4_CKSUM_GOOD : 0);
  }

  /** The mbufs of the frame that has come in part. */
  function received(queue: number): number[] {
    const handles: number[] = [];
    let handle = field(queue, INTEL_CHAIN_FIRST);
    for (let left = field(queue, INTEL_CHAIN_SEGMENTS); left > 0; left--) {
      handles.push(handle);
      handle = field(headerOf(queue, handle), MBUF_NEXT);
    }
    return handles;
  }

  function dropChain(queue: number, lcore: number): void {
    for (const handle of received(queue)) {
      setField(headerOf(queue, handle), MBUF_NEXT, 0);
      giveBack(queue, handle, lcore);
    }
    forgetChain(queue);
  }

  function forgetChain(queue: number): void {
    for (const name of [INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_SEGMENTS, INTEL_CHAIN_LENGTH]) setField(queue, name, 0);
  }

  function giveBack(queue: number, handle: number, lcore: number): void {
    own(queue, handle, program(lcore));
    setField(queue, INTEL_SCRATCH, handle);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, 1);
  }

  /** Is it worth a fill: a vector's worth, or in a short ring the half of it? */
  function lacking(queue: number): boolean {
    const mask = field(queue, INTEL_MASK);
    const lack = mask - ((field(queue, INTEL_NEXT) - field(queue, INTEL_HEAD)) >>> 0);
    return lack >= INTEL_SCRATCH_COUNT || lack >= mask >>> 1;
  }
}
