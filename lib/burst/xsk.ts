/** AF_XDP's bursts, in plain TypeScript, over rings that the kernel shares. The fast double is assembly/xsk.ts; neither calls the other. */
import {
  HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, MBUF_REFCNT,
  OWNER_APP, OWNER_SHIFT,
} from '../mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_COMPLETION, XSK_BAD_DESCRIPTOR, XSK_BAD_FRAME, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_CONSUMER,
  XSK_COPIED, XSK_COPY_NOMBUF, XSK_DESCRIPTORS, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_LONGEST, XSK_MASK,
  XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_RING_FULL, XSK_RX_TOO_MANY_SEGMENTS, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_SEEN, XSK_SKIPPING, XSK_TX_TOO_MANY_SEGMENTS, XSK_UMEM, XSK_UMEM_BYTES,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { count64, type ArenaViews } from './views.js';

export type XskFunctions = Pick<BurstFunctions, 'xskRx' | 'xskFill' | 'xskTx' | 'xskComplete'>;

export function xskFunctions({ u8, u16, u32 }: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): XskFunctions {
  return { xskRx, xskFill, xskTx, xskComplete };

  function xskRx(queue: number, burst: number, max: number, lcore: number): number {
    const ring = queue + XSK_RING_A;
    const consumer = field(ring, XSK_CONSUMER);
    const index = u32[consumer >>> 2]; // ours
    if (((field(ring, XSK_SEEN) - index) >>> 0) < max) {
      // Pairs with the kernel's smp_store_release of the producer: the descriptors before the index.
      setField(ring, XSK_SEEN, Atomics.load(u32, field(ring, XSK_PRODUCER) >>> 2));
    }
    const ready = believable(field(ring, XSK_SEEN) - index, ring);
    let [read, got] = [0, 0];
    if (ready > 0 && max > 0) {
      while (read < ready && got < max) {
        if (field(queue, XSK_SKIPPING) === 1) {
          skipDescriptor(queue, index + read++, lcore);
          continue;
        }
        const frame = readFrame(queue, index + read, ready - read, lcore);
        if (frame.descriptors === 0) {
          // Its end may have come since: the next burst shall look.
          setField(ring, XSK_SEEN, index + read);
          break;
        }
        read += frame.descriptors;
        if (frame.handle !== 0) u32[(burst >>> 2) + got++] = frame.handle;
      }
      hooks.fault?.(DEATH_BEFORE_PUBLISH);
      // Pairs with the kernel's load of the consumer: our reads are over.
      Atomics.store(u32, consumer >>> 2, index + read);
      hooks.fault?.(DEATH_AFTER_PUBLISH);
      count64(u32, queue + QUEUE_PACKETS, got);
    }
    if (lacking(queue)) xskFill(queue, lcore);
    return got;
  }

  /** The next frame: how many descriptors it has, 0 while its end is not there; and its first mbuf, 0 when it was dropped. */
  function readFrame(queue: number, index: number, ready: number, lcore: number): { descriptors: number; handle: number } {
    const most = Math.max(field(queue, XSK_MOST_SEGMENTS), 1);
    const good: number[] = [];
    let [descriptors, length, ends] = [0, 0, false];
    while (!ends && descriptors < Math.min(most, ready)) {
      const piece = readDescriptor(queue, index + descriptors++, lcore);
      ends = piece.ends;
      if (piece.handle === 0) continue;
      good.push(piece.handle);
      length += piece.length;
    }
    const alone = ends && descriptors === 1;
    if (!alone) u32.set(good, (queue + XSK_SCRATCH) >>> 2);
    if (!ends && descriptors < most) {
      for (const handle of good) own(queue, handle, field(queue, QUEUE_OWNER));
      return { descriptors: 0, handle: 0 };
    }
    setField(queue, XSK_HELD, field(queue, XSK_HELD) - good.length);
    if (ends && good.length === descriptors) {
      link(queue, good, length);
      count64(u32, queue + QUEUE_BYTES, length);
      return { descriptors, handle: good[0]! };
    }
    count64(u32, queue + XSK_BAD_DESCRIPTOR, descriptors - good.length);
    if (!alone) count64(u32, queue + (good.length < descriptors ? XSK_BROKEN_CHAIN : XSK_RX_TOO_MANY_SEGMENTS), 1);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, queue + XSK_SCRATCH, good.length);
    if (!ends) setField(queue, XSK_SKIPPING, 1);
    return { descriptors, handle: 0 };
  }

  /** The descriptor is copied once; the copy is checked and used. `handle` is 0 when it is bad. */
  function readDescriptor(queue: number, index: number, lcore: number): { handle: number; length: number; ends: boolean } {
    const at = descriptorAt(queue, index);
    const [address, high, length, options] = [u32[at], u32[at + 1], u32[at + 2], u32[at + 3]];
    const ends = (options & XDP_PKT_CONTD) === 0;
    if (!isHeld(queue, address, high, length)) return { handle: 0, length: 0, ends };
    const handle = handleAt(queue, address);
    writeHeader(queue, handle, address & field(queue, XSK_BUFFER_MASK), length, lcore);
    hooks.fault?.(DEATH_MID_BURST);
    return { handle, length, ends };
  }

  /** One packet of the mbufs. */
  function link(queue: number, handles: readonly number[], length: number): void {
    const head = headerOf(queue, handles[0]!);
    u16[(head + MBUF_NB_SEGS) >>> 1] = handles.length;
    u32[(head + MBUF_PKT_LEN) >>> 2] = length;
    for (let i = 1; i < handles.length; i++) u32[(headerOf(queue, handles[i - 1]!) + MBUF_NEXT) >>> 2] = handles[i]!;
  }

  /** Of a frame that was dropped before its end. */
  function skipDescriptor(queue: number, index: number, lcore: number): void {
    const at = descriptorAt(queue, index);
    const [address, high, length, options] = [u32[at], u32[at + 1], u32[at + 2], u32[at + 3]];
    if ((options & XDP_PKT_CONTD) === 0) setField(queue, XSK_SKIPPING, 0);
    if (isHeld(queue, address, high, length)) giveBack(queue, handleAt(queue, address), lcore);
    else count64(u32, queue + XSK_BAD_DESCRIPTOR, 1);
  }

  /** Index of a descriptor's first word. */
  function descriptorAt(queue: number, index: number): number {
    return (field(queue, XSK_RING_A + XSK_DESCRIPTORS) + ((index & field(queue, XSK_RING_A + XSK_MASK)) >>> 0) * 16) >>> 2;
  }

  /** Are so many bytes from an address on in a buffer of the UMEM that the kernel has by this queue? */
  function isHeld(queue: number, address: number, high: number, length: number): boolean {
    const bufferMask = field(queue, XSK_BUFFER_MASK);
    if (high !== 0 || address >= field(queue, XSK_UMEM_BYTES) || length > bufferMask + 1 - (address & bufferMask)) return false;
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
    const index = u32[field(ring, XSK_PRODUCER) >>> 2]; // ours
    // No more in flight than the completion ring, which is as long, can tell of.
    const room = field(ring, XSK_MASK) + 1 - field(queue, XSK_HELD);
    let [next, told, taken, dropped] = [0, 0, 0, 0];
    giving(queue, count, index, burst);
    for (; taken < count; taken++) {
      const slot = burst + taken * 4;
      if (next < room && isPlain(queue, u32[slot >>> 2])) {
        writePlain(queue, index + next++, u32[slot >>> 2]);
        continue;
      }
      if (next < room) told = give(queue, index, told, next);
      const used = next === room ? NO_ROOM : sendOther(queue, index + next, room - next, slot, lcore);
      if (used === NO_ROOM) count64(u32, queue + XSK_RING_FULL, 1);
      if (used < 0) break;
      if (used === 0) dropped++;
      next += used;
      told = next;
      giving(queue, count - taken - 1, index + next, slot + 4);
    }
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    give(queue, index, told, next);
    count64(u32, queue + QUEUE_PACKETS, taken - dropped);
    setField(queue, XSK_GIVING, 0);
    return taken;
  }

  /** Tells the kernel of the descriptors from `told` to `next`, which is returned; both count from `index` on. */
  function give(queue: number, index: number, told: number, next: number): number {
    if (told === next) return next;
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's smp_load_acquire of the producer.
    Atomics.store(u32, field(queue, XSK_RING_A + XSK_PRODUCER) >>> 2, index + next);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_HELD, field(queue, XSK_HELD) + next - told);
    return next;
  }

  function isPlain(queue: number, handle: number): boolean {
    if (!inUmem(queue, handle)) return false;
    const header = headerOf(queue, handle);
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    if (u16[(header + MBUF_REFCNT) >>> 1] !== 1 || u16[(header + MBUF_NB_SEGS) >>> 1] !== 1) return false;
    return length >= 14 && length <= field(queue, XSK_LONGEST) && isInside(queue, header);
  }

  function isInside(queue: number, header: number): boolean {
    return u16[(header + MBUF_DATA_OFF) >>> 1] + u16[(header + MBUF_DATA_LEN) >>> 1] <= field(queue, XSK_BUFFER_MASK) + 1;
  }

  function writePlain(queue: number, index: number, handle: number): void {
    const header = headerOf(queue, handle);
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    writeDescriptor(queue, index, handle, { offset: u16[(header + MBUF_DATA_OFF) >>> 1], length, goesOn: false });
    count64(u32, queue + QUEUE_BYTES, length);
  }

  /**
   * The packet in the slot is a chain, is held by others too, or cannot be sent. A shared one is copied: its owner word has
   * room for one queue, and others may send it at the same time. One of this UMEM that cannot be sent is freed, and the port
   * goes on; another's is the program's mistake. Returns how many descriptors it took, 0 when it was dropped, or NO_ROOM or STOP.
   */
  function sendOther(queue: number, index: number, room: number, slot: number, lcore: number): number {
    const pool = field(queue, QUEUE_POOL);
    const most = Math.max(field(queue, XSK_MOST_SEGMENTS), 1);
    const handle = u32[slot >>> 2];
    if (!inUmem(queue, handle)) return count(XSK_NOT_IN_UMEM, STOP);
    const segments = segmentsOf(queue, handle);
    if (segments === 'too many') return drop(XSK_TX_TOO_MANY_SEGMENTS);
    if (segments === 'bad') return drop(XSK_BAD_FRAME);
    const total = lengthOf(queue, segments);
    const each = field(queue, XSK_BUFFER_MASK) + 1 - HEADROOM;
    const copies = segments.length > most || segments.some(segment => u16[(headerOf(queue, segment) + MBUF_REFCNT) >>> 1] !== 1);
    const used = copies ? Math.ceil(total / each) : segments.length;
    if (used > most) return drop(XSK_TX_TOO_MANY_SEGMENTS);
    if (used > room) return NO_ROOM;
    if (copies && pools.takeFree(pool, lcore, queue + XSK_SCRATCH, used) === 0) return count(XSK_COPY_NOMBUF, STOP);
    if (!copies) u32.set(segments, (queue + XSK_SCRATCH) >>> 2);
    giving(queue, used, index, queue + XSK_SCRATCH);
    if (copies) writeCopy(queue, index, segments, each);
    else writeChain(queue, index, segments);
    give(queue, index, 0, used);
    count64(u32, queue + QUEUE_BYTES, total);
    if (copies) {
      count64(u32, queue + XSK_COPIED, 1);
      pools.mbufFree(pool, lcore, slot, 1);
    }
    return used;

    function count(counter: number, answer: number): number {
      count64(u32, queue + counter, 1);
      return answer;
    }

    function drop(counter: number): number {
      pools.mbufFree(pool, lcore, slot, 1);
      return count(counter, 0);
    }
  }

  /** All segments of a packet, when each can be sent, and the packet too. */
  function segmentsOf(queue: number, handle: number): number[] | 'bad' | 'too many' {
    const count = u16[(headerOf(queue, handle) + MBUF_NB_SEGS) >>> 1];
    if (count > XSK_SCRATCH_COUNT) return 'too many';
    const segments: number[] = [];
    for (let next = handle; segments.length < count; next = u32[(headerOf(queue, next) + MBUF_NEXT) >>> 2]) {
      if (!inUmem(queue, next) || u16[(headerOf(queue, next) + MBUF_DATA_LEN) >>> 1] === 0 || !isInside(queue, headerOf(queue, next))) return 'bad';
      segments.push(next);
    }
    const total = lengthOf(queue, segments);
    // What goes on behind its last segment may lead anywhere, back into itself too.
    const ends = count > 0 && u32[(headerOf(queue, segments[count - 1]!) + MBUF_NEXT) >>> 2] === 0;
    return ends && total >= 14 && total <= field(queue, XSK_LONGEST) ? segments : 'bad';
  }

  function lengthOf(queue: number, segments: readonly number[]): number {
    return segments.reduce((sum, segment) => sum + u16[(headerOf(queue, segment) + MBUF_DATA_LEN) >>> 1], 0);
  }

  /** Each segment is an mbuf of its own from here on: its completion frees it. */
  function writeChain(queue: number, index: number, segments: readonly number[]): void {
    segments.forEach((segment, i) => {
      const header = headerOf(queue, segment);
      u16[(header + MBUF_NB_SEGS) >>> 1] = 1;
      u32[(header + MBUF_NEXT) >>> 2] = 0;
      const [offset, length] = [u16[(header + MBUF_DATA_OFF) >>> 1], u16[(header + MBUF_DATA_LEN) >>> 1]];
      writeDescriptor(queue, index + i, segment, { offset, length, goesOn: i + 1 < segments.length });
    });
  }

  /** Into the mbufs of the scratch vector, `each` bytes behind the headroom of each. */
  function writeCopy(queue: number, index: number, segments: readonly number[], each: number): void {
    const bytes = segments.flatMap(segment => {
      const header = headerOf(queue, segment);
      const from = ((segment << HANDLE_SHIFT) >>> 0) + u16[(header + MBUF_DATA_OFF) >>> 1];
      return Array.from(u8.subarray(from, from + u16[(header + MBUF_DATA_LEN) >>> 1]));
    });
    const copy = (i: number): number => u32[((queue + XSK_SCRATCH) >>> 2) + i];
    for (let i = 0; i * each < bytes.length; i++) u8.set(bytes.slice(i * each, (i + 1) * each), ((copy(i) << HANDLE_SHIFT) >>> 0) + HEADROOM);
    for (let i = 0; i * each < bytes.length; i++) {
      const left = bytes.length - i * each;
      writeDescriptor(queue, index + i, copy(i), { offset: HEADROOM, length: Math.min(left, each), goesOn: left > each });
    }
  }

  function inUmem(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, XSK_UMEM)) >>> 0;
    return start < field(queue, XSK_UMEM_BYTES) && (start & field(queue, XSK_BUFFER_MASK)) === 0;
  }

  /** The mbuf is the port's from here on. */
  function writeDescriptor(queue: number, index: number, handle: number, { offset, length, goesOn }: { offset: number; length: number; goesOn: boolean }): void {
    const at = descriptorAt(queue, index);
    u32[at] = (handle << HANDLE_SHIFT) - field(queue, XSK_UMEM) + offset;
    u32[at + 1] = 0;
    u32[at + 2] = length;
    u32[at + 3] = goesOn ? XDP_PKT_CONTD : 0;
    own(queue, handle, field(queue, QUEUE_OWNER));
    hooks.fault?.(DEATH_MID_BURST);
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
      if (!isHeld(queue, address, u32[at + 1], 0)) {
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

/** What `sendOther` says when a packet stays the program's. */
const NO_ROOM = -1;
const STOP = -2;

/** The owner word of what lcore's program holds. */
function program(lcore: number): number {
  return (OWNER_APP << OWNER_SHIFT) | lcore;
}
