/** AF_XDP's bursts, in plain TypeScript, over rings that the kernel shares. The fast double is assembly/xsk.ts; neither calls the other. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS,
  XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MULTI_BUFFER, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_RING_FULL, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_SEEN, XSK_UMEM, XSK_UMEM_BYTES,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { count64, type ArenaViews } from './views.js';

export type XskFunctions = Pick<BurstFunctions, 'xskRx' | 'xskFill' | 'xskTx' | 'xskComplete'>;

export function xskFunctions({ u16, u32 }: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): XskFunctions {
  return { xskRx, xskFill, xskTx, xskComplete };

  function xskRx(queue: number, burst: number, max: number, lcore: number): number {
    const ring = queue + XSK_RING_A;
    const consumer = field(ring, XSK_CONSUMER);
    const index = u32[consumer >>> 2]; // ours
    if (((field(ring, XSK_SEEN) - index) >>> 0) < max) {
      // Pairs with the kernel's smp_store_release of the producer: the descriptors before the index.
      setField(ring, XSK_SEEN, Atomics.load(u32, field(ring, XSK_PRODUCER) >>> 2));
    }
    const take = Math.min(believable(field(ring, XSK_SEEN) - index, ring), max);
    let got = 0;
    if (take > 0) {
      for (let i = 0; i < take; i++) got += readDescriptor(queue, index + i, burst + got * 4, lcore);
      hooks.fault?.(DEATH_BEFORE_PUBLISH);
      // Pairs with the kernel's load of the consumer: our reads are over.
      Atomics.store(u32, consumer >>> 2, index + take);
      hooks.fault?.(DEATH_AFTER_PUBLISH);
      setField(queue, XSK_HELD, field(queue, XSK_HELD) - got);
      count64(u32, queue + QUEUE_PACKETS, got);
    }
    if (lacking(queue)) xskFill(queue, lcore);
    return got;
  }

  /** The descriptor is copied once; the copy is checked and used. Returns 1 when `slot` holds a frame now, else 0. */
  function readDescriptor(queue: number, index: number, slot: number, lcore: number): number {
    const at = (field(queue, XSK_RING_A + XSK_DESCRIPTORS) + (index & field(queue, XSK_RING_A + XSK_MASK)) * 16) >>> 2;
    const [address, high, length, options] = [u32[at], u32[at + 1], u32[at + 2], u32[at + 3]];
    const bufferMask = field(queue, XSK_BUFFER_MASK);
    const offset = address & bufferMask;
    if (!isHeld(queue, address, high) || length > bufferMask + 1 - offset) {
      count64(u32, queue + XSK_BAD_DESCRIPTOR, 1);
      return 0;
    }
    const handle = handleAt(queue, address);
    if ((options & XDP_PKT_CONTD) !== 0) {
      count64(u32, queue + XSK_MULTI_BUFFER, 1);
      giveBack(queue, handle, lcore);
      return 0;
    }
    writeHeader(queue, handle, offset, length, lcore);
    u32[slot >>> 2] = handle;
    count64(u32, queue + QUEUE_BYTES, length);
    hooks.fault?.(DEATH_MID_BURST);
    return 1;
  }

  /** Is it an address in a buffer of the UMEM that the kernel has by this queue? */
  function isHeld(queue: number, address: number, high: number): boolean {
    if (high !== 0 || address >= field(queue, XSK_UMEM_BYTES)) return false;
    return u32[(headerOf(queue, handleAt(queue, address)) + MBUF_OWNER) >>> 2] === field(queue, QUEUE_OWNER);
  }

  function handleAt(queue: number, address: number): number {
    return ((field(queue, XSK_UMEM) + ((address & ~field(queue, XSK_BUFFER_MASK)) >>> 0)) >>> 0) >>> HANDLE_SHIFT;
  }

  function writeHeader(queue: number, handle: number, offset: number, length: number, lcore: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let word = 0; word < 8; word++) u32[(header >>> 2) + word] = u32[template + word];
    u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
    u32[(header + MBUF_PKT_LEN) >>> 2] = length;
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    own(queue, handle, program(lcore));
  }

  function giveBack(queue: number, handle: number, lcore: number): void {
    own(queue, handle, program(lcore));
    setField(queue, XSK_SCRATCH, handle);
    setField(queue, XSK_HELD, field(queue, XSK_HELD) - 1);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, 1);
  }

  /** Is it worth a fill: a vector's worth, or in a short ring the half of it? */
  function lacking(queue: number): boolean {
    const aim = field(queue, XSK_AIM);
    const lack = (aim - field(queue, XSK_HELD)) >>> 0;
    return lack >= XSK_SCRATCH_COUNT || lack >= aim >>> 1;
  }

  /** In steps of the scratch vector; when the pool runs dry, in smaller and smaller ones, so that its last few are used. */
  function xskFill(queue: number, lcore: number): number {
    const aim = field(queue, XSK_AIM);
    let held = field(queue, XSK_HELD);
    let chunk = XSK_SCRATCH_COUNT;
    while (held < aim && chunk > 0) {
      const want = Math.min(aim - held, chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, want) === 0) {
        chunk = want >>> 1;
      } else {
        pushFill(queue, want);
        held += want;
      }
    }
    if (held < aim) count64(u32, queue + QUEUE_NOMBUF, 1);
    setField(queue, XSK_HELD, held);
    return held;
  }

  function pushFill(queue: number, count: number): void {
    const ring = queue + XSK_RING_B;
    const producer = field(ring, XSK_PRODUCER) >>> 2;
    const index = u32[producer]; // ours
    giving(queue, count, index, queue + XSK_SCRATCH);
    for (let i = 0; i < count; i++) {
      const handle = u32[((queue + XSK_SCRATCH) >>> 2) + i];
      own(queue, handle, field(queue, QUEUE_OWNER));
      const at = (field(ring, XSK_DESCRIPTORS) + ((index + i) & field(ring, XSK_MASK)) * 8) >>> 2;
      u32[at] = (handle << HANDLE_SHIFT) - field(queue, XSK_UMEM);
      u32[at + 1] = 0;
      hooks.fault?.(DEATH_MID_BURST);
    }
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's smp_load_acquire of the producer.
    Atomics.store(u32, producer, index + count);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_GIVING, 0);
  }

  /** What is about to be given to the kernel, for whoever finds the queue without its lcore. */
  function giving(queue: number, count: number, from: number, vector: number): void {
    setField(queue, XSK_GIVING_FROM, from);
    setField(queue, XSK_GIVING_VECTOR, vector);
    setField(queue, XSK_GIVING, count);
  }

  function xskTx(queue: number, burst: number, count: number, lcore: number): number {
    xskComplete(queue, lcore);
    if (count === 0) return 0;
    const ring = queue + XSK_RING_A;
    const producer = field(ring, XSK_PRODUCER) >>> 2;
    const index = u32[producer]; // ours
    // No more in flight than the completion ring, which is as long, can tell of.
    const held = field(queue, XSK_HELD);
    const room = field(ring, XSK_MASK) + 1 - held;
    let taken = 0;
    let sent = 0;
    giving(queue, count, index, burst);
    for (; taken < count && sent < room; taken++) {
      const slot = burst + taken * 4;
      if (writeDescriptor(queue, index + sent, u32[slot >>> 2])) sent++;
      else if (!dropBad(queue, slot, lcore)) break;
    }
    if (taken < count && sent === room) count64(u32, queue + XSK_RING_FULL, 1);
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    if (sent > 0) {
      hooks.fault?.(DEATH_BEFORE_PUBLISH);
      // Pairs with the kernel's smp_load_acquire of the producer.
      Atomics.store(u32, producer, index + sent);
      hooks.fault?.(DEATH_AFTER_PUBLISH);
      setField(queue, XSK_HELD, held + sent);
      count64(u32, queue + QUEUE_PACKETS, sent);
    }
    setField(queue, XSK_GIVING, 0);
    return taken;
  }

  /** The mbuf in the slot cannot be sent. One of this UMEM is freed, and the port goes on; another's is the program's mistake. */
  function dropBad(queue: number, slot: number, lcore: number): boolean {
    if (!inUmem(queue, u32[slot >>> 2])) {
      count64(u32, queue + XSK_NOT_IN_UMEM, 1);
      return false;
    }
    count64(u32, queue + XSK_BAD_FRAME, 1);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, slot, 1);
    return true;
  }

  function inUmem(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, XSK_UMEM)) >>> 0;
    return start < field(queue, XSK_UMEM_BYTES) && (start & field(queue, XSK_BUFFER_MASK)) === 0;
  }

  /** Returns whether the mbuf can be sent; if so the port has it. */
  function writeDescriptor(queue: number, index: number, handle: number): boolean {
    const bufferMask = field(queue, XSK_BUFFER_MASK);
    const start = ((handle << HANDLE_SHIFT) - field(queue, XSK_UMEM)) >>> 0;
    if (!inUmem(queue, handle)) return false;
    const header = headerOf(queue, handle);
    const offset = u16[(header + MBUF_DATA_OFF) >>> 1];
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    const whole = u16[(header + MBUF_NB_SEGS) >>> 1] === 1 && length >= 14 && length <= field(queue, XSK_LONGEST) && offset + length <= bufferMask + 1;
    if (!whole) return false;
    const at = (field(queue, XSK_RING_A + XSK_DESCRIPTORS) + (index & field(queue, XSK_RING_A + XSK_MASK)) * 16) >>> 2;
    u32[at] = start + offset;
    u32[at + 1] = 0;
    u32[at + 2] = length;
    u32[at + 3] = 0;
    own(queue, handle, field(queue, QUEUE_OWNER));
    count64(u32, queue + QUEUE_BYTES, length);
    hooks.fault?.(DEATH_MID_BURST);
    return true;
  }

  function xskComplete(queue: number, lcore: number): number {
    const ring = queue + XSK_RING_B;
    const consumer = field(ring, XSK_CONSUMER) >>> 2;
    const index = u32[consumer]; // ours
    // Pairs with the kernel's smp_store_release of the producer.
    const ready = believable(Atomics.load(u32, field(ring, XSK_PRODUCER) >>> 2) - index, ring);
    if (ready === 0) return 0;
    let freed = 0;
    for (let done = 0; done < ready; done += XSK_SCRATCH_COUNT) {
      const good = readCompletions(queue, index + done, Math.min(ready - done, XSK_SCRATCH_COUNT), lcore);
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, good);
      freed += good;
    }
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    Atomics.store(u32, consumer, index + ready);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_HELD, field(queue, XSK_HELD) - freed);
    return freed;
  }

  function readCompletions(queue: number, index: number, count: number, lcore: number): number {
    let good = 0;
    for (let i = 0; i < count; i++) {
      const at = (field(queue, XSK_RING_B + XSK_DESCRIPTORS) + ((index + i) & field(queue, XSK_RING_B + XSK_MASK)) * 8) >>> 2;
      const address = u32[at];
      if (!isHeld(queue, address, u32[at + 1])) {
        count64(u32, queue + XSK_BAD_COMPLETION, 1);
        continue;
      }
      const handle = handleAt(queue, address);
      own(queue, handle, program(lcore));
      u32[((queue + XSK_SCRATCH) >>> 2) + good++] = handle;
      hooks.fault?.(DEATH_MID_BURST);
    }
    return good;
  }

  /** A producer that is further ahead than its ring is long is not to be believed. */
  function believable(ahead: number, ring: number): number {
    return Math.min(ahead >>> 0, field(ring, XSK_MASK) + 1);
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
