/** A memif client that shares its pool, in plain TypeScript: the server writes into the mbufs themselves. The fast double is assembly/memif_zc_rx.ts; neither calls the other. */
import { HEADROOM, MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../mbuf/layout.js';
import { MEMIF_DESC_NEXT, MEMIF_NEXT, MEMIF_POSTED, MEMIF_WORTH } from '../port/drivers/memif/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../port/layout.js';
import { CHUNK, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, VECTOR, VQ_LONGEST, VQ_SCRATCH, VQ_SIZE } from '../virtqueue/layout.js';
import type { BurstFunctions } from './functions.js';
import { memifZcRing } from './memif_zc.js';
import type { MempoolFunctions } from './mempool.js';
import { isFrame, program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';

/** A descriptor as it was copied, once, and the mbuf that it is: the client's own note, not the ring's word. */
interface Done { readonly handle: number; readonly length: number; readonly more: boolean }

export function memifZcRxFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, pools: MempoolFunctions): Pick<BurstFunctions, 'memifZcRx' | 'memifZcFill'> {
  const { u16, u32 } = views;
  const { field, setField, bufferOf, headerOf, own } = queueMbufs(views);
  const { doneCount, outCount, slotAt, sideAt, post, publish } = memifZcRing(views);
  return { memifZcRx, memifZcFill };

  function memifZcRx(queue: number, burst: number, max: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    let got = 0;
    for (let done = doneCount(queue); done > 0 && got < max;) {
      const next = field(queue, MEMIF_NEXT);
      const pieces = [take(queue, next)];
      while (pieces.at(-1)!.more && pieces.length < done) pieces.push(take(queue, next + pieces.length));
      const handle = assemble(queue, pieces, lcore);
      if (handle !== 0) u32[(burst >>> 2) + got++] = handle;
      done -= pieces.length;
      setField(queue, MEMIF_NEXT, (next + pieces.length) & 0xffff);
    }
    count64(u32, queue + QUEUE_PACKETS, got);
    const lack = field(queue, VQ_SIZE) - outCount(queue);
    // Worth a fill: several bursts' worth, since each takes the head's line away from the server, which looks at it before every burst; or in a short ring the half of it.
    if (lack >= MEMIF_WORTH || lack >= field(queue, VQ_SIZE) >>> 1) fill(queue, lcore);
    leave(queue);
    return got;
  }

  function take(queue: number, index: number): Done {
    const at = slotAt(queue, index) >>> 2;
    const [kind, length] = [u32[at], u32[at + 1]];
    const handle = field(sideAt(queue, index), 0);
    setField(sideAt(queue, index), 0, 0);
    return { handle, length, more: (kind & MEMIF_DESC_NEXT) !== 0 };
  }

  /** One packet of what came. A bad one, or one whose end has not come (who sends publishes whole frames), goes back to the pool: 0. */
  function assemble(queue: number, pieces: readonly Done[], lcore: number): number {
    const wrong = pieces.findIndex(({ handle, length }) => length === 0 || length > field(queue, QUEUE_ROOM) || handle === 0);
    const lengths = pieces.map(({ length }, i) => wrong < 0 || i < wrong ? length : 0);
    const total = pieces.reduce((sum, { handle }, i) => sum + (handle === 0 ? 0 : lengths[i]!), 0);
    const handles = pieces.map(({ handle }) => handle).filter(handle => handle !== 0);
    pieces.forEach(({ handle }, i) => { if (handle !== 0) writeMbuf(queue, handle, lengths[i]!, lcore); });
    handles.slice(1).forEach((handle, i) => { u32[(headerOf(queue, handles[i]!) + MBUF_NEXT) >>> 2] = handle; });
    const first = handles[0] ?? 0;
    if (first !== 0) {
      u16[(headerOf(queue, first) + MBUF_NB_SEGS) >>> 1] = pieces.length;
      u32[(headerOf(queue, first) + MBUF_PKT_LEN) >>> 2] = total;
    }
    const bad = wrong >= 0 ? DEVICE_BAD_FRAME : pieces.at(-1)!.more ? DEVICE_BAD_CHAIN : isFrame(total, field(queue, VQ_LONGEST)) ? 0 : DEVICE_BAD_FRAME;
    if (bad === 0) {
      count64(u32, queue + QUEUE_BYTES, total);
      return first;
    }
    count64(u32, queue + bad, 1);
    if (first !== 0) freeOne(queue, first, lcore);
    return 0;
  }

  function writeMbuf(queue: number, handle: number, length: number, lcore: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let i = 0; i < 8; i++) u32[(header >>> 2) + i] = u32[template + i];
    u32[(header + MBUF_PKT_LEN) >>> 2] = length;
    u16[(header + MBUF_DATA_LEN) >>> 1] = length;
    u32[(header + MBUF_HASH) >>> 2] = 0;
    own(queue, handle, program(lcore));
  }

  function freeOne(queue: number, handle: number, lcore: number): void {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    setField(vector, 0, handle);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, vector, 1);
  }

  function memifZcFill(queue: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    fill(queue, lcore);
    const lack = field(queue, VQ_SIZE) - outCount(queue);
    leave(queue);
    return lack;
  }

  function fill(queue: number, lcore: number): void {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    let posted = field(queue, MEMIF_POSTED);
    let lack = field(queue, VQ_SIZE) - outCount(queue);
    for (let chunk = CHUNK; chunk > 0 && lack > 0;) {
      const want = Math.min(lack, chunk);
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, vector, want) === 0) {
        // The pool's last few: smaller and smaller.
        chunk = want >>> 1;
        continue;
      }
      for (let i = 0; i < want; i++) {
        const handle = u32[(vector >>> 2) + i];
        own(queue, handle, field(queue, QUEUE_OWNER));
        post(queue, posted++, bufferOf(handle) + HEADROOM, field(queue, QUEUE_ROOM), 0, handle);
      }
      lack -= want;
    }
    if (lack > 0) count64(u32, queue + QUEUE_NOMBUF, 1);
    publish(queue, posted);
  }
}
