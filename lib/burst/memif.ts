/** A memif client that shares its pool: the server reads and writes the mbufs themselves; in plain TypeScript. The fast double is assembly/memif.ts; neither calls the other. */
import {
  HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN,
} from '../mbuf/layout.js';
import {
  MEMIF_DESC_NEXT, MEMIF_DESC_OFFSET, MEMIF_DESC_SHIFT, MEMIF_NEXT, MEMIF_OURS, MEMIF_POSTED, MEMIF_RING, MEMIF_SIDE, MEMIF_THEIRS, MEMIF_WORTH, POOL_REGION,
  RING_DESCS, RING_FLAGS,
} from '../port/drivers/memif/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../port/layout.js';
import {
  CHUNK, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, DEVICE_FOREIGN, DEVICE_RING_FULL, VECTOR, VQ_BUFFER_MASK, VQ_LONGEST, VQ_POOL,
  VQ_POOL_BYTES, VQ_SCRATCH, VQ_SIZE,
} from '../virtqueue/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { program, queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';

export type MemifZcFunctions = Pick<BurstFunctions, 'memifZcRx' | 'memifZcFill' | 'memifZcTx' | 'memifZcClean'>;

/** An Ethernet header. */
const SHORTEST = 14;

/** A descriptor as it was copied, once, and the mbuf that it is: the client's own note, not the ring's word. */
interface Done { readonly handle: number; readonly length: number; readonly more: boolean }

export function memifZcFunctions(views: ArenaViews, { enter, leave, tellSplit }: VirtqueueFunctions, pools: MempoolFunctions): MemifZcFunctions {
  const { u16, u32 } = views;
  const { field, setField, bufferOf, headerOf, own, ownChain } = queueMbufs(views);
  return { memifZcRx, memifZcFill, memifZcTx, memifZcClean };

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

  /** Descriptors that the server is done with and that were not looked at; none, and counted, when its index jumps. */
  function doneCount(queue: number): number {
    // Pairs with the server's release of its index: its buffers, and in what it fills the descriptors, before it.
    const done = (Atomics.load(u16, field(queue, MEMIF_THEIRS) >>> 1) - field(queue, MEMIF_NEXT)) & 0xffff;
    if (done <= outCount(queue)) return done;
    count64(u32, queue + DEVICE_BAD_INDEX, 1);
    return 0;
  }

  /** Descriptors that are out. */
  function outCount(queue: number): number {
    return (field(queue, MEMIF_POSTED) - field(queue, MEMIF_NEXT)) & 0xffff;
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
    const bad = wrong >= 0 ? DEVICE_BAD_FRAME : pieces.at(-1)!.more ? DEVICE_BAD_CHAIN : isFrame(queue, total) ? 0 : DEVICE_BAD_FRAME;
    if (bad === 0) {
      count64(u32, queue + QUEUE_BYTES, total);
      return first;
    }
    count64(u32, queue + bad, 1);
    if (first !== 0) freeOne(queue, first, lcore);
    return 0;
  }

  function isFrame(queue: number, length: number): boolean {
    return length >= SHORTEST && length <= field(queue, VQ_LONGEST);
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

  /** Is it an mbuf in the memory that the server knows? */
  function isShared(queue: number, handle: number): boolean {
    const start = (bufferOf(handle) - field(queue, VQ_POOL)) >>> 0;
    return start < field(queue, VQ_POOL_BYTES) && (start & field(queue, VQ_BUFFER_MASK)) === 0;
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
    return length === whole && isFrame(queue, length) ? segments : [];
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

  function post(queue: number, index: number, place: number, length: number, flags: number, handle: number): void {
    const at = slotAt(queue, index) >>> 2;
    u32[at] = flags | (POOL_REGION << 16);
    u32[at + 1] = length;
    u32[at + (MEMIF_DESC_OFFSET >> 2)] = place - field(queue, VQ_POOL);
    setField(sideAt(queue, index), 0, handle);
  }

  function publish(queue: number, posted: number): void {
    setField(queue, MEMIF_POSTED, posted & 0xffff);
    Atomics.store(u16, field(queue, MEMIF_OURS) >>> 1, posted);
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

  function slotAt(queue: number, index: number): number {
    return field(queue, MEMIF_RING) + RING_DESCS + ((index & (field(queue, VQ_SIZE) - 1)) << MEMIF_DESC_SHIFT);
  }

  function sideAt(queue: number, index: number): number {
    return field(queue, MEMIF_SIDE) + ((index & (field(queue, VQ_SIZE) - 1)) << 2);
  }
}

