/** Receiving by AF_XDP, in plain TypeScript. The fast doubles are assembly/xsk_rx.ts and xsk_rx_chain.ts; none calls another. */
import { MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BAD_DESCRIPTOR, XSK_BROKEN_CHAIN, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_HELD, XSK_MOST_SEGMENTS, XSK_PRODUCER,
  XSK_RING_A, XSK_RX_TOO_MANY_SEGMENTS, XSK_SCRATCH, XSK_SCRATCH_COUNT, XSK_SEEN, XSK_SKIPPING,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TEMPLATE } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { xskRings } from './xsk_ring.js';

export function xskRxFunctions(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions, { xskFill }: Pick<BurstFunctions, 'xskFill'>): Pick<BurstFunctions, 'xskRx'> {
  const { u16, u32 } = views;
  const { field, setField, headerOf, own } = queueMbufs(views);
  const { descriptorAt, isHeld, handleAt, believable } = xskRings(views, hooks);
  return { xskRx };

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
}
