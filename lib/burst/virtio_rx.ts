/** The driver's side of a virtqueue, where the device reads and writes the pool's buffers themselves, in plain TypeScript: what it has filled becomes mbufs, and it is given empty ones. The fast double is assembly/virtio_rx.ts; neither calls the other. */
import {
  HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, RX_RSS_HASH,
} from '../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../port/layout.js';
import {
  CHUNK, DESC_WRITE, DRIVER_BAD_LENGTH, MOST_GOES, NET_HASH, NET_HASH_REPORT, NET_NUM_BUFFERS, OFFLOAD_CSUM, OFFLOAD_HASH, SEGMENTS, VECTOR,
  VQ_FLAGS, VQ_HEADER, VQ_MERGEABLE, VQ_OFFLOADS, VQ_PART_HEAD, VQ_PART_LEFT, VQ_PART_TAIL, VQ_ROOM, VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../virtqueue/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { isFrame, program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DriverRingFunctions } from './virtqueue_driver.js';
import type { OffloadFunctions } from './virtqueue_offload.js';

export function virtioRxFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, rings: DriverRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): Pick<BurstFunctions, 'virtioRx' | 'virtioFill'> {
  const { u16, u32 } = views;
  const { field, setField, bufferOf, headerOf, own } = queueMbufs(views);
  return { virtioRx, virtioFill };

  function virtioRx(queue: number, burst: number, max: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    if (field(queue, VQ_OFFLOADS) !== 0) setField(queue, VQ_UNFINISHED, 0);
    let got = 0;
    for (let goes = 0; got < max && goes < MOST_GOES; goes++) {
      const want = Math.min(max - got, CHUNK);
      const popped = rings.popUsed(queue, want);
      let taken = 0;
      for (let i = 0; i < popped; i++) taken += takeBuffer(queue, pairAt(queue, i), burst + (got + taken) * 4, lcore);
      got += field(queue, VQ_OFFLOADS) === 0 ? taken : acceptFrames(queue, burst + got * 4, taken, lcore);
      if (popped < want) break;
    }
    count64(u32, queue + QUEUE_PACKETS, got);
    for (let i = 0; i < got; i++) count64(u32, queue + QUEUE_BYTES, u32[(headerOf(queue, u32[(burst >>> 2) + i]) + MBUF_PKT_LEN) >>> 2]);
    const lack = field(queue, VQ_ROOM);
    // Worth a fill: half a vector's worth, or in a short ring the half of it.
    if (lack >= CHUNK >>> 1 || lack >= field(queue, VQ_SIZE) >>> 1) fill(queue, lcore);
    leave(queue);
    return got;
  }

  /** Returns 1 when `slot` holds a frame now, else 0. */
  function takeBuffer(queue: number, pair: number, slot: number, lcore: number): number {
    const [handle, written] = [field(pair, 0), field(pair, 4)];
    const length = written - field(queue, VQ_HEADER);
    // Copied once: it stands where the device writes.
    const buffers = (field(queue, VQ_FLAGS) & VQ_MERGEABLE) !== 0 ? u16[(bufferOf(handle) + HEADROOM - field(queue, VQ_HEADER) + NET_NUM_BUFFERS) >>> 1] : 1;
    const whole = field(queue, VQ_PART_LEFT) === 0 && buffers === 1 && length <= field(queue, QUEUE_ROOM) && isFrame(length, offloads.longestReceived(queue));
    const first = whole ? handle : takePart(queue, handle, written, buffers, lcore);
    if (first === 0) return 0;
    if (whole) writeMbuf(queue, handle, HEADROOM, length, lcore);
    u32[slot >>> 2] = first;
    return 1;
  }

  /** Does what the frames' headers say; those that are bad are freed, and the others move up. Returns how many there are then. */
  function acceptFrames(queue: number, vector: number, count: number, lcore: number): number {
    let good = 0;
    for (let i = 0; i < count; i++) {
      const handle = u32[(vector >>> 2) + i];
      const at = bufferOf(handle) + HEADROOM - field(queue, VQ_HEADER);
      const looked = (field(queue, VQ_OFFLOADS) & OFFLOAD_CSUM) === 0 || offloads.acceptChecked(queue, handle, offloads.readHeader(at));
      if (!looked) {
        freeOne(queue, handle, lcore);
        continue;
      }
      if ((field(queue, VQ_OFFLOADS) & OFFLOAD_HASH) !== 0 && u16[(at + NET_HASH_REPORT) >>> 1] !== 0) {
        setField(headerOf(queue, handle), MBUF_HASH, field(at, NET_HASH));
        u32[(headerOf(queue, handle) + MBUF_OL_FLAGS) >>> 2] |= RX_RSS_HASH;
      }
      u32[(vector >>> 2) + good++] = handle;
    }
    return good;
  }

  /** A buffer that is no frame by itself. Returns the first mbuf of the frame that it completes, or 0. VQ_PART_HEAD 0: the rest of a bad one is to come. */
  function takePart(queue: number, handle: number, written: number, buffers: number, lcore: number): number {
    const begins = field(queue, VQ_PART_LEFT) === 0;
    if (begins) {
      setField(queue, VQ_PART_LEFT, buffers === 0 || buffers > field(queue, VQ_SIZE) ? 1 : buffers);
      setField(queue, VQ_PART_HEAD, handle);
    }
    setField(queue, VQ_PART_LEFT, field(queue, VQ_PART_LEFT) - 1);
    const head = field(queue, VQ_HEADER);
    const length = (begins ? written - head : written) >>> 0;
    const first = field(queue, VQ_PART_HEAD);
    const bad = length === 0 || length > field(queue, QUEUE_ROOM) + (begins ? 0 : head) || first === 0;
    writeMbuf(queue, handle, begins ? HEADROOM : HEADROOM - head, bad ? 0 : length, lcore);
    if (bad) {
      if (begins) setField(queue, VQ_PART_HEAD, 0);
      freeOne(queue, handle, lcore);
      return dropPart(queue, lcore);
    }
    if (!begins) link(queue, first, handle, length);
    setField(queue, VQ_PART_TAIL, handle);
    if (field(queue, VQ_PART_LEFT) > 0) return 0;
    if (!isFrame(u32[(headerOf(queue, first) + MBUF_PKT_LEN) >>> 2], offloads.longestReceived(queue))) return dropPart(queue, lcore);
    setField(queue, VQ_PART_HEAD, 0);
    return first;
  }

  function writeMbuf(queue: number, handle: number, offset: number, length: number, lcore: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let i = 0; i < 8; i++) u32[(header >>> 2) + i] = u32[template + i];
    u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
    u32[(header + MBUF_PKT_LEN) >>> 2] = length;
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    u32[(header + MBUF_HASH) >>> 2] = 0;
    own(queue, handle, program(lcore));
  }

  /** One more segment of the packet that begins with `first`. */
  function link(queue: number, first: number, handle: number, length: number): void {
    u32[(headerOf(queue, first) + MBUF_PKT_LEN) >>> 2] += length;
    u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1]++;
    u32[(headerOf(queue, field(queue, VQ_PART_TAIL)) + MBUF_NEXT) >>> 2] = handle;
  }

  /** The frame is bad: what there is of it goes, counted once; what comes of it still will go too. */
  function dropPart(queue: number, lcore: number): number {
    const first = field(queue, VQ_PART_HEAD);
    setField(queue, VQ_PART_HEAD, 0);
    if (first !== 0) freeOne(queue, first, lcore);
    if (field(queue, VQ_PART_LEFT) === 0) count64(u32, queue + DRIVER_BAD_LENGTH, 1);
    return 0;
  }

  function freeOne(queue: number, handle: number, lcore: number): void {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    setField(vector, 0, handle);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, vector, 1);
  }

  function virtioFill(queue: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    fill(queue, lcore);
    const lack = field(queue, VQ_ROOM);
    leave(queue);
    return lack;
  }

  function fill(queue: number, lcore: number): void {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    let [chunk, pushed] = [CHUNK, 0];
    while (chunk > 0 && field(queue, VQ_ROOM) > 0) {
      const want = Math.min(field(queue, VQ_ROOM), chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, vector, want) === 0) {
        chunk = want >>> 1;
      } else {
        for (let i = 0; i < want; i++) giveBuffer(queue, pushed + i, u32[(vector >>> 2) + i]);
        pushed += want;
      }
    }
    if (field(queue, VQ_ROOM) > 0) count64(u32, queue + QUEUE_NOMBUF, 1);
    rings.publish(queue, pushed);
  }

  /** From its header's place on, behind which its frame will stand at HEADROOM. */
  function giveBuffer(queue: number, nth: number, handle: number): void {
    const head = field(queue, VQ_HEADER);
    own(queue, handle, field(queue, QUEUE_OWNER));
    rings.pushOne(queue, nth, bufferOf(handle) + HEADROOM - head, field(queue, QUEUE_ROOM) + head, DESC_WRITE, handle);
  }

  /** What popUsed leaves of a buffer: its handle and the bytes that were written. */
  function pairAt(queue: number, i: number): number {
    return field(queue, VQ_SCRATCH) + SEGMENTS + i * 8;
  }
}
