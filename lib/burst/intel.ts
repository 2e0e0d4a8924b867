/** Bursts of Intel's NICs, in plain TypeScript, over descriptor rings that the device shares. The fast double is assembly/intel_rx.ts, intel_fill.ts and intel_tx.ts; neither calls the other. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PKT_LEN, MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD,
  RX_L4_CKSUM_GOOD, RX_RSS_HASH, RX_VLAN_STRIPPED, TX_IPV6, TX_IP_CKSUM, TX_L2_LEN_MASK, TX_L3_LEN_MASK, TX_L3_LEN_SHIFT, TX_OFFLOADS,
  TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../mbuf/layout.js';
import {
  INTEL_82576, INTEL_BAD_FRAME, INTEL_BAD_LENGTH, INTEL_BUFFER_MASK, INTEL_CHAIN_FIRST, INTEL_CHAIN_LAST, INTEL_CHAIN_LENGTH,
  INTEL_CHAIN_SEGMENTS, INTEL_COMMAND, INTEL_CONTEXT, INTEL_CONTEXT_KIND, INTEL_DESCRIPTOR_SHIFT, INTEL_ERRORED, INTEL_ERRORS, INTEL_HEAD,
  INTEL_IOVA_HIGH, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT, INTEL_LASTS, INTEL_MASK, INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_NEXT,
  INTEL_NOT_MAPPED, INTEL_OFFERS, INTEL_PAYLOAD, INTEL_POOL, INTEL_POOL_BYTES, INTEL_REPORTS, INTEL_RING, INTEL_RING_FULL, INTEL_SCRATCH, INTEL_SCRATCH_COUNT,
  INTEL_SEGMENT, INTEL_SIDE, INTEL_SPLIT, INTEL_SPLIT_FRAMES, INTEL_TAIL, RXD_DD, RXD_EOP, RXD_HASH, RXD_IPCS, RXD_IXSM, RXD_L4CS,
  RXD_LENGTH, RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS, RXD_VP, SHORTEST, TXC_IPV4_82574, TXC_IPV4_82576, TXC_MACLEN_SHIFT, TXC_TCP_82574,
  TXC_TCP_82576, TXD_CONTEXT_82576, TXD_DATA_82574, TXD_DD, TXD_DEXT, TXD_EOP, TXD_IXSM, TXD_RS, TXD_STATUS, TXD_TXSM, TXD_VLAN_SHIFT, TXD_VLE,
} from '../port/drivers/vfio/intel/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { count64, type ArenaViews } from './views.js';

export type IntelFunctions = Pick<BurstFunctions, 'intelRx' | 'intelFill' | 'intelTx' | 'intelClean'>;

/** What the device has written into a descriptor, copied. */
interface WriteBack { readonly mrq: number; readonly hash: number; readonly status: number; readonly length: number; readonly tag: number }

/** Frames shorter than an Ethernet header are none. */
const ETHERNET_HEADER = 14;

export function intelFunctions({ u16, u32 }: ArenaViews, pools: MempoolFunctions): IntelFunctions {
  return { intelRx, intelFill, intelTx, intelClean };

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
    const fits = length > 0 && length <= field(queue, INTEL_SEGMENT) && total <= field(queue, INTEL_MOST) && (!ends || total >= ETHERNET_HEADER);
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

  /** Up to one less than the ring has: with a tail at its head the device has none. */
  function intelFill(queue: number, lcore: number): number {
    const aim = field(queue, INTEL_MASK);
    const head = field(queue, INTEL_HEAD);
    let next = field(queue, INTEL_NEXT);
    let chunk = INTEL_SCRATCH_COUNT;
    while (((next - head) >>> 0) < aim && chunk > 0) {
      const want = Math.min(aim - ((next - head) >>> 0), chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, want) === 0) {
        chunk = want >>> 1;
      } else {
        for (let i = 0; i < want; i++) giveBuffer(queue, next + i, u32[((queue + INTEL_SCRATCH) >>> 2) + i]);
        next = (next + want) >>> 0;
      }
    }
    const held = (next - head) >>> 0;
    if (held < aim) count64(u32, queue + QUEUE_NOMBUF, 1);
    publish(queue, next);
    return held;
  }

  function giveBuffer(queue: number, index: number, handle: number): void {
    own(queue, handle, field(queue, QUEUE_OWNER));
    u32[sideAt(queue, index)] = handle;
    const at = descriptorAt(queue, index) >>> 2;
    u32[at] = (handle << HANDLE_SHIFT) + HEADROOM;
    u32[at + 1] = field(queue, INTEL_IOVA_HIGH);
    u32[at + 2] = 0;
    u32[at + 3] = 0;
  }

  /** The doorbell: a plain store, since an atomic one would read the register too. */
  function publish(queue: number, next: number): void {
    if (next === field(queue, INTEL_NEXT)) return;
    // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. An exchange is a full
    // barrier on x86 and arm64.
    Atomics.exchange(u32, (queue + INTEL_NEXT) >>> 2, next);
    u32[field(queue, INTEL_TAIL) >>> 2] = next & field(queue, INTEL_MASK);
  }

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

  function isMapped(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, INTEL_POOL)) >>> 0;
    return start < field(queue, INTEL_POOL_BYTES) && (start & field(queue, INTEL_BUFFER_MASK)) === 0;
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

  /** Are the headers, by their lengths, in the frame? */
  function canDescribe(queue: number, header: number, total: number): boolean {
    const flags = field(header, MBUF_OL_FLAGS);
    if ((flags & TX_OFFLOADS & ~TX_VLAN) === 0) return true;
    const { l2, l3 } = lengthsOf(header);
    const needs = (flags & TX_TCP_CKSUM) !== 0 ? 18 : (flags & TX_UDP_CKSUM) !== 0 ? 8 : 0;
    // An 82574 has 8 bits for where the checksum of TCP or UDP starts and is written.
    return l2 + l3 + needs <= total && (field(queue, INTEL_CONTEXT_KIND) === INTEL_82576 || l2 + l3 + 16 < 256);
  }

  function lengthsOf(header: number): { l2: number; l3: number } {
    const lengths = field(header, MBUF_TX_OFFLOAD);
    return { l2: lengths & TX_L2_LEN_MASK, l3: (lengths >>> TX_L3_LEN_SHIFT) & TX_L3_LEN_MASK };
  }

  /** What a context is made of: the lengths of headers, the tag where it belongs there, and the kinds of headers. */
  function contextKey(queue: number, header: number): [number, number] {
    const tag = field(queue, INTEL_CONTEXT_KIND) === INTEL_82576 ? u16[(header + MBUF_VLAN_TCI) >>> 1] : 0;
    return [((field(header, MBUF_TX_OFFLOAD) & 0xffff) | (tag << 16)) >>> 0, field(header, MBUF_OL_FLAGS) & (TX_OFFLOADS | TX_IPV6)];
  }

  function hasContext(queue: number, header: number): boolean {
    const [low, high] = contextKey(queue, header);
    return field(queue, INTEL_CONTEXT) === low && field(queue, INTEL_CONTEXT + 4) === high;
  }

  function writeContext(queue: number, index: number, header: number): void {
    const [low, high] = contextKey(queue, header);
    setField(queue, INTEL_CONTEXT, low);
    setField(queue, INTEL_CONTEXT + 4, high);
    const at = descriptorAt(queue, index) >>> 2;
    const { l2, l3 } = lengthsOf(header);
    const tcp = (high & TX_TCP_CKSUM) !== 0;
    const ipv4 = (high & TX_IPV6) === 0;
    if (field(queue, INTEL_CONTEXT_KIND) === INTEL_82576) {
      u32[at] = l3 | (l2 << TXC_MACLEN_SHIFT) | (u16[(header + MBUF_VLAN_TCI) >>> 1] << 16);
      u32[at + 1] = 0;
      u32[at + 2] = TXD_DEXT | TXD_CONTEXT_82576 | (ipv4 ? TXC_IPV4_82576 : 0) | (tcp ? TXC_TCP_82576 : 0);
    } else {
      u32[at] = l2 | (((l2 + 10) & 0xff) << 8) | ((l2 + l3 - 1) << 16);
      u32[at + 1] = ((l2 + l3) & 0xff) | (((l2 + l3 + (tcp ? 16 : 6)) & 0xff) << 8);
      u32[at + 2] = TXD_DEXT | (ipv4 ? TXC_IPV4_82574 : 0) | (tcp ? TXC_TCP_82574 : 0);
    }
    u32[at + 3] = 0;
    u32[sideAt(queue, index)] = 0;
  }

  function optionsOf(queue: number, header: number): number {
    const flags = field(header, MBUF_OL_FLAGS);
    const tag = (flags & TX_VLAN) !== 0 && field(queue, INTEL_CONTEXT_KIND) !== INTEL_82576 ? u16[(header + MBUF_VLAN_TCI) >>> 1] << TXD_VLAN_SHIFT : 0;
    return tag | ((flags & TX_IP_CKSUM) !== 0 ? TXD_IXSM : 0) | ((flags & (TX_TCP_CKSUM | TX_UDP_CKSUM)) !== 0 ? TXD_TXSM : 0);
  }

  /** Burst by burst, or what of one reports together: the last descriptor of each says that all of it was sent. */
  function intelClean(queue: number, lcore: number): number {
    const mask = field(queue, INTEL_MASK);
    const next = field(queue, INTEL_NEXT);
    const start = field(queue, INTEL_HEAD);
    let head = start;
    while (head !== next) {
      const last = u32[(field(queue, INTEL_LASTS) >>> 2) + (head & mask)];
      // Pairs with the device's order: it has read the frame before it writes DD.
      if ((Atomics.load(u32, (descriptorAt(queue, last) + TXD_STATUS) >>> 2) & TXD_DD) === 0) break;
      freeSent(queue, head, (last + 1 - head) >>> 0, lcore);
      head = (last + 1) >>> 0;
    }
    setField(queue, INTEL_HEAD, head);
    return (head - start) >>> 0;
  }

  function freeSent(queue: number, index: number, count: number, lcore: number): void {
    for (let done = 0; done < count; done += INTEL_SCRATCH_COUNT) {
      const batch = Math.min(count - done, INTEL_SCRATCH_COUNT);
      let found = 0;
      for (let i = 0; i < batch; i++) {
        const handle = u32[sideAt(queue, index + done + i)];
        if (handle === 0) continue;
        ownChain(queue, handle, program(lcore));
        u32[((queue + INTEL_SCRATCH) >>> 2) + found++] = handle;
      }
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + INTEL_SCRATCH, found);
    }
  }

  /** All segments of a frame. */
  function ownChain(queue: number, first: number, owner: number): void {
    let handle = first;
    own(queue, handle, owner);
    for (let left = u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1]; left > 1; left--) {
      handle = field(headerOf(queue, handle), MBUF_NEXT);
      if (!isMapped(queue, handle)) return;
      own(queue, handle, owner);
    }
  }

  function descriptorAt(queue: number, index: number): number {
    return field(queue, INTEL_RING) + ((index & field(queue, INTEL_MASK)) << INTEL_DESCRIPTOR_SHIFT);
  }

  /** Index of the side ring's entry. */
  function sideAt(queue: number, index: number): number {
    return (field(queue, INTEL_SIDE) >>> 2) + (index & field(queue, INTEL_MASK));
  }

  function own(queue: number, handle: number, owner: number): void {
    u32[(headerOf(queue, handle) + MBUF_OWNER) >>> 2] = owner;
  }

  function headerOf(queue: number, handle: number): number {
    return (field(queue, QUEUE_TABLE) + (handle << HEADER_SHIFT)) >>> 0;
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function setField(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }
}

/** The owner word of what lcore's program holds. */
function program(lcore: number): number {
  return (OWNER_APP << OWNER_SHIFT) | lcore;
}
