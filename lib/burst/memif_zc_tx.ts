/** A memif client that shares its pool, in plain TypeScript: the server reads the mbufs themselves. The fast double is assembly/memif_zc_tx.ts; neither calls the other. */
import { MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../mbuf/layout.js';
import { MEMIF_DESC_NEXT, MEMIF_NEXT, MEMIF_POSTED, MEMIF_RING, RING_FLAGS } from '../port/drivers/memif/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL } from '../port/layout.js';
import { CHUNK, DEVICE_BAD_FRAME, DEVICE_FOREIGN, DEVICE_RING_FULL, VECTOR, VQ_LONGEST, VQ_SCRATCH, VQ_SIZE } from '../virtqueue/layout.js';
import type { BurstFunctions } from './functions.js';
import { memifZcRing } from './memif_zc.js';
import type { MempoolFunctions } from './mempool.js';
import { isFrame, program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';

export function memifZcTxFunctions(views: ArenaViews, { enter, leave, tellSplit }: VirtqueueFunctions, pools: MempoolFunctions): Pick<BurstFunctions, 'memifZcTx' | 'memifZcClean'> {
  const { u16, u32 } = views;
  const { field, setField, bufferOf, headerOf, own, ownChain, isShared } = queueMbufs(views);
  const { doneCount, sideAt, post, publish } = memifZcRing(views);
  return { memifZcTx, memifZcClean };

  function memifZcTx(queue: number, burst: number, count: number, lcore: number): number {
    if (!enter(queue, lcore)) {
      count64(u32, queue + QUEUE_NOMBUF, count);
      return 0;
    }
    clean(queue, lcore);
    const old = field(queue, MEMIF_POSTED);
    let [posted, taken, stopped] = [old, 0, DEVICE_RING_FULL];
    for (; taken < count; taken++) {
      const handle = u32[(burst >>> 2) + taken];
      if (!isShared(queue, handle)) {
        stopped = DEVICE_FOREIGN;
        break;
      }
      const segments = segmentsOf(queue, handle);
      // What the ring can never hold is not waited for.
      if (segments.length === 0 || segments.length > field(queue, VQ_SIZE)) {
        count64(u32, queue + DEVICE_BAD_FRAME, 1);
        pools.mbufFree(field(queue, QUEUE_POOL), lcore, burst + taken * 4, 1);
        continue;
      }
      if (field(queue, VQ_SIZE) - ((posted - field(queue, MEMIF_NEXT)) & 0xffff) < segments.length) break;
      posted = postPacket(queue, posted, handle, segments);
      count64(u32, queue + QUEUE_PACKETS, 1);
    }
    if (taken < count) {
      count64(u32, queue + stopped, 1);
      count64(u32, queue + QUEUE_NOMBUF, count - taken);
    }
    if (posted !== old) {
      publish(queue, posted);
      tellSplit(queue, field(queue, MEMIF_RING) + RING_FLAGS, 0, posted & 0xffff, old);
    }
    leave(queue);
    return taken;
  }

  /** The mbufs of a frame; none for one that cannot be sent. */
  function segmentsOf(queue: number, first: number): number[] {
    const count = u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1];
    const whole = count === 1 ? u16[(headerOf(queue, first) + MBUF_DATA_LEN) >>> 1] : u32[(headerOf(queue, first) + MBUF_PKT_LEN) >>> 2];
    const segments: number[] = [];
    let length = 0;
    for (let handle = first; segments.length < count; handle = u32[(headerOf(queue, handle) + MBUF_NEXT) >>> 2]) {
      if (!isShared(queue, handle)) return [];
      const header = headerOf(queue, handle);
      if (u16[(header + MBUF_DATA_OFF) >>> 1] + u16[(header + MBUF_DATA_LEN) >>> 1] > u32[(header + MBUF_BUF_LEN) >>> 2]) return [];
      length += u16[(header + MBUF_DATA_LEN) >>> 1];
      segments.push(handle);
    }
    return length === whole && isFrame(length, field(queue, VQ_LONGEST)) ? segments : [];
  }

  /** Its mbuf is noted at the last one's place: so long is all of it out. Returns the next place. */
  function postPacket(queue: number, posted: number, first: number, segments: readonly number[]): number {
    segments.forEach((handle, i) => {
      const header = headerOf(queue, handle);
      const length = u16[(header + MBUF_DATA_LEN) >>> 1];
      const last = i === segments.length - 1;
      post(queue, posted + i, bufferOf(handle) + u16[(header + MBUF_DATA_OFF) >>> 1], length, last ? 0 : MEMIF_DESC_NEXT, last ? first : 0);
      own(queue, handle, field(queue, QUEUE_OWNER));
      count64(u32, queue + QUEUE_BYTES, length);
    });
    return posted + segments.length;
  }

  function memifZcClean(queue: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    const freed = clean(queue, lcore);
    leave(queue);
    return freed;
  }

  function clean(queue: number, lcore: number): number {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    let freed = 0;
    for (let done = doneCount(queue); done > 0;) {
      const part = Math.min(done, CHUNK);
      let count = 0;
      for (let i = 0; i < part; i++) {
        const side = sideAt(queue, field(queue, MEMIF_NEXT) + i);
        const handle = field(side, 0);
        if (handle === 0) continue; // not a frame's last
        ownChain(queue, handle, program(lcore));
        setField(side, 0, 0);
        u32[(vector >>> 2) + count++] = handle;
      }
      setField(queue, MEMIF_NEXT, (field(queue, MEMIF_NEXT) + part) & 0xffff);
      pools.mbufFree(field(queue, QUEUE_POOL), lcore, vector, count);
      freed += count;
      done -= part;
    }
    return freed;
  }
}
