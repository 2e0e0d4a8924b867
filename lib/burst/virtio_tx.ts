/** The driver's side of a virtqueue, where the device reads and writes the pool's buffers themselves, in plain TypeScript: mbufs go to it and come back. The fast double is assembly/virtio_tx.ts; neither calls the other. */
import {
  MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_PLAIN, MBUF_REFCNT, TX_OFFLOADS, TX_TCP_SEG,
} from '../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL } from '../port/layout.js';
import {
  CHUNK, DRIVER_BAD_FRAME, DRIVER_FOREIGN, DRIVER_RING_FULL, EXTRA_DESCS, LONGEST_GSO, MOST_GOES, MOST_SEGMENTS, SEGMENTS, SEGMENT_SHIFT, VECTOR,
  VQ_FLAGS, VQ_HEADER, VQ_INDIRECT, VQ_LONGEST, VQ_ROOM, VQ_SCRATCH, VQ_SIZE,
} from '../virtqueue/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { isFrame, program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DriverRingFunctions } from './virtqueue_driver.js';
import { NOTHING, type NetHeader, type OffloadFunctions } from './virtqueue_offload.js';

/** What a send says instead of the places that it took. */
const FULL = -1;
const UNSENDABLE = 0;

export function virtioTxFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, rings: DriverRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): Pick<BurstFunctions, 'virtioTx' | 'virtioClean'> {
  const { u16, u32 } = views;
  const { field, setField, bufferOf, headerOf, ownChain, isShared } = queueMbufs(views);
  return { virtioTx, virtioClean };

  function virtioTx(queue: number, burst: number, count: number, lcore: number): number {
    if (!enter(queue, lcore)) {
      count64(u32, queue + QUEUE_NOMBUF, count);
      return 0;
    }
    clean(queue, lcore);
    let [taken, pushed, stopped] = [0, 0, DRIVER_RING_FULL];
    for (; taken < count; taken++) {
      const handle = u32[(burst >>> 2) + taken];
      if (!isShared(queue, handle)) {
        stopped = DRIVER_FOREIGN;
        break;
      }
      const places = sendOne(queue, pushed, handle);
      if (places === FULL) break;
      if (places === UNSENDABLE) {
        count64(u32, queue + DRIVER_BAD_FRAME, 1);
        pools.mbufFree(field(queue, QUEUE_POOL), lcore, burst + taken * 4, 1);
        continue;
      }
      pushed += places;
      ownChain(queue, handle, field(queue, QUEUE_OWNER));
      count64(u32, queue + QUEUE_PACKETS, 1);
    }
    if (taken < count) {
      count64(u32, queue + stopped, 1);
      count64(u32, queue + QUEUE_NOMBUF, count - taken);
    }
    rings.publish(queue, pushed);
    leave(queue);
    return taken;
  }

  /** Returns the places that it took in the ring. */
  function sendOne(queue: number, nth: number, handle: number): number {
    const flags = field(headerOf(queue, handle), MBUF_OL_FLAGS);
    const asks = (flags & TX_OFFLOADS) !== 0;
    if (asks && (!offloads.takes(queue, flags) || !offloads.isWhole(queue, handle))) return UNSENDABLE;
    const told = asks ? offloads.tell(queue, handle) : NOTHING;
    const longest = (flags & TX_TCP_SEG) !== 0 ? LONGEST_GSO : field(queue, VQ_LONGEST);
    return isAlone(queue, handle, longest) ? sendAlone(queue, nth, handle, told) : sendParts(queue, nth, handle, longest, told);
  }

  /** One holder and one segment, a frame, and room for the header before it. */
  function isAlone(queue: number, handle: number, longest: number): boolean {
    const header = headerOf(queue, handle);
    const [offset, length] = [u16[(header + MBUF_DATA_OFF) >>> 1], u16[(header + MBUF_DATA_LEN) >>> 1]];
    const alone = u16[(header + MBUF_REFCNT) >>> 1] === (MBUF_PLAIN & 0xffff) && u16[(header + MBUF_NB_SEGS) >>> 1] === MBUF_PLAIN >>> 16;
    return alone && offset >= field(queue, VQ_HEADER) && isFrame(length, longest) && offset + length <= u32[(header + MBUF_BUF_LEN) >>> 2];
  }

  function sendAlone(queue: number, nth: number, handle: number, told: NetHeader): number {
    if (field(queue, VQ_ROOM) === 0) return FULL;
    const [header, head] = [headerOf(queue, handle), field(queue, VQ_HEADER)];
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    const at = bufferOf(handle) + u16[(header + MBUF_DATA_OFF) >>> 1] - head;
    offloads.writeHeader(at, head, 0, told);
    rings.pushOne(queue, nth, at, length + head, 0, handle);
    count64(u32, queue + QUEUE_BYTES, length);
    return 1;
  }

  function sendParts(queue: number, nth: number, handle: number, longest: number, told: NetHeader): number {
    const count = listSegments(queue, handle, longest, told);
    if (count === 0) return UNSENDABLE;
    const indirect = (field(queue, VQ_FLAGS) & VQ_INDIRECT) !== 0 && count <= EXTRA_DESCS;
    // What the ring can never hold is not waited for.
    const places = indirect ? 1 : count;
    if (field(queue, VQ_ROOM) < places) return places <= field(queue, VQ_SIZE) ? FULL : UNSENDABLE;
    const header = headerOf(queue, handle);
    count64(u32, queue + QUEUE_BYTES, u16[(header + MBUF_NB_SEGS) >>> 1] === 1 ? u16[(header + MBUF_DATA_LEN) >>> 1] : u32[(header + MBUF_PKT_LEN) >>> 2]);
    return rings.pushChain(queue, nth, count, indirect, handle);
  }

  /**
   * The pieces of a frame whose mbufs the header cannot be written into: its own, in the id's extra memory, then the
   * mbufs'. Returns how many; 0 for a frame that cannot be sent.
   */
  function listSegments(queue: number, handle: number, longest: number, told: NetHeader): number {
    const first = headerOf(queue, handle);
    const chained = u16[(first + MBUF_NB_SEGS) >>> 1];
    const whole = chained === 1 ? u16[(first + MBUF_DATA_LEN) >>> 1] : u32[(first + MBUF_PKT_LEN) >>> 2];
    let [length, count] = [0, 1];
    for (let left = chained; left > 0; left--) {
      if (!isShared(queue, handle) || count === MOST_SEGMENTS) return 0;
      const header = headerOf(queue, handle);
      const [offset, part] = [u16[(header + MBUF_DATA_OFF) >>> 1], u16[(header + MBUF_DATA_LEN) >>> 1]];
      if (offset + part > u32[(header + MBUF_BUF_LEN) >>> 2]) return 0;
      writeSegment(queue, count++, bufferOf(handle) + offset, part);
      length += part;
      handle = u32[(header + MBUF_NEXT) >>> 2];
    }
    if (length !== whole || !isFrame(length, longest)) return 0;
    if (field(queue, VQ_ROOM) === 0) return count; // there is no id, and nothing will be sent
    const [own, head] = [rings.nextExtra(queue), field(queue, VQ_HEADER)];
    offloads.writeHeader(own, head, 0, told);
    writeSegment(queue, 0, own, head);
    return count;
  }

  function writeSegment(queue: number, i: number, offset: number, length: number): void {
    const at = field(queue, VQ_SCRATCH) + SEGMENTS + (i << SEGMENT_SHIFT);
    setField(at, 0, offset);
    setField(at, 4, length);
  }

  function virtioClean(queue: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    const freed = clean(queue, lcore);
    leave(queue);
    return freed;
  }

  function clean(queue: number, lcore: number): number {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    let freed = 0;
    for (let goes = 0; goes < MOST_GOES; goes++) {
      const popped = rings.popUsed(queue, CHUNK);
      for (let i = 0; i < popped; i++) {
        const handle = field(pairAt(queue, i), 0);
        ownChain(queue, handle, program(lcore));
        u32[(vector >>> 2) + i] = handle;
      }
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, vector, popped);
      freed += popped;
      if (popped < CHUNK) break;
    }
    return freed;
  }

  /** What popUsed leaves of a buffer: its handle and the bytes that were written. */
  function pairAt(queue: number, i: number): number {
    return field(queue, VQ_SCRATCH) + SEGMENTS + i * 8;
  }
}
