/** The 82574L's bursts, in plain TypeScript, over descriptor rings that the device shares. The fast double is assembly/e1000e.ts; neither calls the other. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_L4_CKSUM_BAD, RX_RSS_HASH,
} from '../mbuf/layout.js';
import {
  E1000E_BAD_FRAME, E1000E_BAD_LENGTH, E1000E_BUFFER_MASK, E1000E_DESCRIPTOR_SHIFT, E1000E_ERRORED, E1000E_HEAD, E1000E_IOVA_HIGH,
  E1000E_LASTS, E1000E_MASK, E1000E_MOST, E1000E_NEXT, E1000E_NOT_MAPPED, E1000E_POOL, E1000E_POOL_BYTES, E1000E_RING, E1000E_RING_FULL,
  E1000E_SCRATCH, E1000E_SCRATCH_COUNT, E1000E_SIDE, E1000E_SPLIT, E1000E_SPLIT_FRAMES, E1000E_TAIL, RXD_DD, RXD_EOP, RXD_ERRORS,
  RXD_HASH, RXD_IP_BAD, RXD_L4_BAD, RXD_LENGTH, RXD_MRQ, RXD_RSS_TYPE, RXD_STATUS, SHORTEST, TXD_DD, TXD_EOP_IFCS, TXD_RS, TXD_STATUS,
} from '../port/drivers/vfio/e1000e/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { count64, type ArenaViews } from './views.js';

export type E1000eFunctions = Pick<BurstFunctions, 'e1000eRx' | 'e1000eFill' | 'e1000eTx' | 'e1000eClean'>;

/** Frames shorter than an Ethernet header are none. */
const ETHERNET_HEADER = 14;

export function e1000eFunctions({ u16, u32 }: ArenaViews, pools: MempoolFunctions): E1000eFunctions {
  return { e1000eRx, e1000eFill, e1000eTx, e1000eClean };

  function e1000eRx(queue: number, burst: number, max: number, lcore: number): number {
    const head = field(queue, E1000E_HEAD);
    const ready = countDone(queue, head, max);
    let got = 0;
    if (ready > 0) {
      for (let i = 0; i < ready; i++) got += takeFrame(queue, head + i, burst + got * 4, lcore);
      setField(queue, E1000E_HEAD, head + ready);
      count64(u32, queue + QUEUE_PACKETS, got);
    }
    if (lacking(queue)) e1000eFill(queue, lcore);
    return got;
  }

  /** Descriptors in a row that the device has written back, at most `max`, and never more than it was given. */
  function countDone(queue: number, head: number, max: number): number {
    const most = Math.min(max, (field(queue, E1000E_NEXT) - head) >>> 0);
    let ready = 0;
    // Pairs with the device's order: a frame's bytes and its descriptor's other fields are written before DD.
    while (ready < most && (Atomics.load(u32, (descriptorAt(queue, head + ready) + RXD_STATUS) >>> 2) & RXD_DD) !== 0) ready++;
    return ready;
  }

  /** The descriptor is copied once; the copy is checked and used. Returns 1 when `slot` holds a frame now, else 0. */
  function takeFrame(queue: number, index: number, slot: number, lcore: number): number {
    const at = descriptorAt(queue, index);
    const status = u32[(at + RXD_STATUS) >>> 2];
    const length = u16[(at + RXD_LENGTH) >>> 1];
    const handle = u32[sideAt(queue, index)];
    if (!isGood(queue, status, length)) {
      giveBack(queue, handle, lcore);
      return 0;
    }
    writeHeader(queue, handle, at, status, length, lcore);
    u32[slot >>> 2] = handle;
    count64(u32, queue + QUEUE_BYTES, length);
    return 1;
  }

  function isGood(queue: number, status: number, length: number): boolean {
    const split = field(queue, E1000E_SPLIT) !== 0 || (status & RXD_EOP) === 0;
    if (split) {
      // Counted once, at its last piece.
      setField(queue, E1000E_SPLIT, (status & RXD_EOP) === 0 ? 1 : 0);
      return (status & RXD_EOP) !== 0 && refuse(queue + E1000E_SPLIT_FRAMES);
    }
    if ((status & RXD_ERRORS) !== 0) return refuse(queue + E1000E_ERRORED);
    return (length >= ETHERNET_HEADER && length <= field(queue, E1000E_MOST)) || refuse(queue + E1000E_BAD_LENGTH);
  }

  function writeHeader(queue: number, handle: number, at: number, status: number, length: number, lcore: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let word = 0; word < 8; word++) u32[(header >>> 2) + word] = u32[template + word];
    const hashed = (u32[(at + RXD_MRQ) >>> 2] & RXD_RSS_TYPE) !== 0;
    u32[(header + MBUF_OL_FLAGS) >>> 2] = (hashed ? RX_RSS_HASH : 0) | ((status & RXD_IP_BAD) !== 0 ? RX_IP_CKSUM_BAD : 0) | ((status & RXD_L4_BAD) !== 0 ? RX_L4_CKSUM_BAD : 0);
    u32[(header + MBUF_HASH) >>> 2] = hashed ? u32[(at + RXD_HASH) >>> 2] : 0;
    u32[(header + MBUF_PKT_LEN) >>> 2] = length;
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    own(queue, handle, program(lcore));
  }

  function giveBack(queue: number, handle: number, lcore: number): void {
    own(queue, handle, program(lcore));
    setField(queue, E1000E_SCRATCH, handle);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + E1000E_SCRATCH, 1);
  }

  /** Is it worth a fill: half a vector's worth, or in a short ring the half of it? */
  function lacking(queue: number): boolean {
    const mask = field(queue, E1000E_MASK);
    const lack = mask - ((field(queue, E1000E_NEXT) - field(queue, E1000E_HEAD)) >>> 0);
    return lack >= E1000E_SCRATCH_COUNT >>> 1 || lack >= mask >>> 1;
  }

  /** Up to one less than the ring has: with a tail at its head the device has none. */
  function e1000eFill(queue: number, lcore: number): number {
    const aim = field(queue, E1000E_MASK);
    const head = field(queue, E1000E_HEAD);
    let next = field(queue, E1000E_NEXT);
    let chunk = E1000E_SCRATCH_COUNT;
    while (((next - head) >>> 0) < aim && chunk > 0) {
      const want = Math.min(aim - ((next - head) >>> 0), chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, queue + E1000E_SCRATCH, want) === 0) {
        chunk = want >>> 1;
      } else {
        for (let i = 0; i < want; i++) giveBuffer(queue, next + i, u32[((queue + E1000E_SCRATCH) >>> 2) + i]);
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
    u32[at + 1] = field(queue, E1000E_IOVA_HIGH);
    u32[at + 2] = 0;
    u32[at + 3] = 0;
  }

  /** The doorbell: a plain store, since an atomic one would read the register too. */
  function publish(queue: number, next: number): void {
    if (next === field(queue, E1000E_NEXT)) return;
    // Pairs with the device's fetch after the tail has moved: the descriptors are in memory before. An exchange is a full
    // barrier on x86 and arm64.
    Atomics.exchange(u32, (queue + E1000E_NEXT) >>> 2, next);
    u32[field(queue, E1000E_TAIL) >>> 2] = next & field(queue, E1000E_MASK);
  }

  function e1000eTx(queue: number, burst: number, count: number, lcore: number): number {
    e1000eClean(queue, lcore);
    if (count === 0) return 0;
    const next = field(queue, E1000E_NEXT);
    const room = field(queue, E1000E_MASK) - ((next - field(queue, E1000E_HEAD)) >>> 0);
    let taken = 0;
    let sent = 0;
    for (; taken < count && sent < room; taken++) {
      const slot = burst + taken * 4;
      if (writeDescriptor(queue, next + sent, u32[slot >>> 2])) sent++;
      else if (!dropBad(queue, slot, lcore)) break;
    }
    if (taken < count && sent === room) count64(u32, queue + E1000E_RING_FULL, 1);
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    if (sent > 0) {
      const last = (next + sent - 1) >>> 0;
      u32[(descriptorAt(queue, last) + 8) >>> 2] |= TXD_RS;
      u32[(field(queue, E1000E_LASTS) >>> 2) + (next & field(queue, E1000E_MASK))] = last;
      publish(queue, (next + sent) >>> 0);
      count64(u32, queue + QUEUE_PACKETS, sent);
    }
    return taken;
  }

  /** The mbuf in the slot cannot be sent. One of this pool is freed, and the port goes on; another's is the program's mistake. */
  function dropBad(queue: number, slot: number, lcore: number): boolean {
    if (!isMapped(queue, u32[slot >>> 2])) return refuse(queue + E1000E_NOT_MAPPED);
    count64(u32, queue + E1000E_BAD_FRAME, 1);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, slot, 1);
    return true;
  }

  function isMapped(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, E1000E_POOL)) >>> 0;
    return start < field(queue, E1000E_POOL_BYTES) && (start & field(queue, E1000E_BUFFER_MASK)) === 0;
  }

  /** Returns whether the mbuf can be sent; if so the port has it. */
  function writeDescriptor(queue: number, index: number, handle: number): boolean {
    const bufferMask = field(queue, E1000E_BUFFER_MASK);
    if (!isMapped(queue, handle)) return false;
    const header = headerOf(queue, handle);
    const offset = u16[(header + MBUF_DATA_OFF) >>> 1];
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    const whole = u16[(header + MBUF_NB_SEGS) >>> 1] === 1 && length >= SHORTEST && length <= field(queue, E1000E_MOST) && offset + length <= bufferMask + 1;
    if (!whole) return false;
    const at = descriptorAt(queue, index) >>> 2;
    u32[at] = (handle << HANDLE_SHIFT) + offset;
    u32[at + 1] = field(queue, E1000E_IOVA_HIGH);
    u32[at + 2] = length | TXD_EOP_IFCS;
    u32[at + 3] = 0;
    u32[sideAt(queue, index)] = handle;
    own(queue, handle, field(queue, QUEUE_OWNER));
    count64(u32, queue + QUEUE_BYTES, length);
    return true;
  }

  /** Burst by burst: the last descriptor of each says that all of it was sent. */
  function e1000eClean(queue: number, lcore: number): number {
    const mask = field(queue, E1000E_MASK);
    const next = field(queue, E1000E_NEXT);
    const start = field(queue, E1000E_HEAD);
    let head = start;
    while (head !== next) {
      const last = u32[(field(queue, E1000E_LASTS) >>> 2) + (head & mask)];
      // Pairs with the device's order: it has read the frame before it writes DD.
      if ((Atomics.load(u32, (descriptorAt(queue, last) + TXD_STATUS) >>> 2) & TXD_DD) === 0) break;
      freeSent(queue, head, (last + 1 - head) >>> 0, lcore);
      head = (last + 1) >>> 0;
    }
    setField(queue, E1000E_HEAD, head);
    return (head - start) >>> 0;
  }

  function freeSent(queue: number, index: number, count: number, lcore: number): void {
    for (let done = 0; done < count; done += E1000E_SCRATCH_COUNT) {
      const batch = Math.min(count - done, E1000E_SCRATCH_COUNT);
      for (let i = 0; i < batch; i++) {
        const handle = u32[sideAt(queue, index + done + i)];
        own(queue, handle, program(lcore));
        u32[((queue + E1000E_SCRATCH) >>> 2) + i] = handle;
      }
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + E1000E_SCRATCH, batch);
    }
  }

  function refuse(counter: number): boolean {
    count64(u32, counter, 1);
    return false;
  }

  function descriptorAt(queue: number, index: number): number {
    return field(queue, E1000E_RING) + ((index & field(queue, E1000E_MASK)) << E1000E_DESCRIPTOR_SHIFT);
  }

  /** Index of the side ring's entry. */
  function sideAt(queue: number, index: number): number {
    return (field(queue, E1000E_SIDE) >>> 2) + (index & field(queue, E1000E_MASK));
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
