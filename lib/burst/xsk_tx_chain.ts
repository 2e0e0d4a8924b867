/** Packets to send that are not one mbuf of one holder, and those that cannot be sent, in plain TypeScript. The fast double is assembly/xsk_tx_chain.ts; neither calls the other. */
import { HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_REFCNT } from '../mbuf/layout.js';
import {
  XSK_BAD_FRAME, XSK_BUFFER_MASK, XSK_COPIED, XSK_COPY_NOMBUF, XSK_LONGEST, XSK_MOST_SEGMENTS, XSK_NOT_IN_UMEM, XSK_SCRATCH,
  XSK_SCRATCH_COUNT, XSK_TX_TOO_MANY_SEGMENTS,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_POOL } from '../port/layout.js';
import type { BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { xskRings } from './xsk_ring.js';

export interface XskTxChains {
  sendOther(queue: number, index: number, room: number, slot: number, lcore: number): number;
}

export function xskTxChains(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions): XskTxChains {
  const { u8, u16, u32 } = views;
  const { field, headerOf } = queueMbufs(views);
  const { giving, give, inUmem, isInside, writeDescriptor } = xskRings(views, hooks);
  return { sendOther };

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
}

/** What `sendOther` says when a packet stays the program's. */
export const NO_ROOM = -1;
const STOP = -2;
