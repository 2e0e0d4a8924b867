/** The device's side of a virtqueue, frames out of the driver's buffers into mbufs; and memif's, which copies in the same way, in plain TypeScript. The fast doubles are assembly/vhost_rx.ts and vhost_plain.ts; none calls another. */
import {
  HEADROOM, MBUF_DATA_LEN, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_POOL, OWNER_SHIFT,
} from '../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../port/layout.js';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHUNK, DEVICE_BAD_FRAME, SCRATCH_HEADER, VECTOR, VQ_HEADER, VQ_LONGEST, VQ_OFFLOADS, VQ_SCRATCH,
  VQ_UNFINISHED,
} from '../virtqueue/layout.js';
import { ETHER_HEADER_BYTES } from '../wire/protocol_layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs, takeSome } from './queue_mbufs.js';
import { vhostChains } from './vhost_chains.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DeviceRingFunctions } from './virtqueue_device.js';
import { asks, type NetHeader, type OffloadFunctions } from './virtqueue_offload.js';

/** Over one kind of rings. */
export function receivingFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, { gather, put }: DeviceRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): { receive: BurstFunctions['vhostRx'] } {
  const { u8, u16, u32 } = views;
  const { field, setField, bufferOf, headerOf } = queueMbufs(views);
  const { chainAt, readSegments } = vhostChains(views);
  return { receive };

  function receive(queue: number, burst: number, max: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    setField(queue, VQ_UNFINISHED, 0);
    let got = 0;
    // As many chains as frames are wanted, good or bad.
    for (let left = max; left > 0;) {
      const want = Math.min(left, CHUNK);
      const chains = gather(queue, want, 0);
      if (chains === 0) break;
      const given = takeSome(u32, pools, queue, lcore, burst + got * 4, chains);
      if (given === 0) break;
      const { good, done } = takeChains(queue, burst + got * 4, given, lcore);
      put(queue, done, true);
      got += good;
      left -= done;
      if (done < want) break;
    }
    count64(u32, queue + QUEUE_PACKETS, got);
    leave(queue);
    return got;
  }

  /**
   * Fills the first mbufs of the vector with the frames of the gathered chains, and frees those that are left. A frame
   * for which there are not enough stays in the ring, with those behind it. What is still to be cut may be longer than
   * frames are. Returns the frames and the chains.
   */
  function takeChains(queue: number, vector: number, given: number, lcore: number): { good: number; done: number } {
    const most = offloads.longestReceived(queue);
    let [good, done, dry] = [0, 0, false];
    const free = (from: number): void => {
      pools.putFree(field(queue, QUEUE_POOL), lcore, vector + from * 4, given - from);
      given = from;
    };
    for (; done < given && !dry; done++) {
      const chain = chainAt(queue, done);
      const length = field(chain, CHAIN_LENGTH) - field(queue, VQ_HEADER);
      if (field(chain, CHAIN_COUNT) === 0) continue; // counted already
      if (length < ETHER_HEADER_BYTES || length > most) {
        count64(u32, queue + DEVICE_BAD_FRAME, 1);
        continue;
      }
      const handle = u32[(vector >>> 2) + good];
      let copied = copyOut(queue, chain, handle, length, lcore);
      if (copied === 'dry') {
        // The mbufs of those behind it may be enough.
        dry = true;
        free(good + 1);
        copied = copyOut(queue, chain, handle, length, lcore);
        if (copied === 'dry') {
          count64(u32, queue + QUEUE_NOMBUF, 1);
          break;
        }
      }
      if (copied === 'rejected') continue;
      count64(u32, queue + QUEUE_BYTES, length);
      good++;
    }
    if (good < given) free(good);
    return { good, done };
  }

  /**
   * A frame that one mbuf does not hold takes more; dry, and nothing is changed, when the pool has them not. Rejected and
   * counted, when its header is wrong: the first mbuf is as if it had not been touched then, the others are back in the pool.
   */
  function copyOut(queue: number, chain: number, handle: number, length: number, lcore: number): 'copied' | 'dry' | 'rejected' {
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    const room = field(queue, QUEUE_ROOM);
    const more = Math.ceil(length / room) - 1;
    if (more > CHUNK || (more > 0 && pools.takeFree(field(queue, QUEUE_POOL), lcore, vector, more) === 0)) return 'dry';
    const asked = copyFrame(queue, chain, handle, length, more, lcore);
    const isPlain = field(queue, VQ_OFFLOADS) === 0 || (!asks(asked) && length <= field(queue, VQ_LONGEST));
    if (isPlain || offloads.accept(queue, handle, asked)) return 'copied';
    u16[(headerOf(queue, handle) + MBUF_NB_SEGS) >>> 1] = 1;
    for (let i = 0, each = handle; i <= more; each = u32[(vector >>> 2) + i++]) {
      setField(headerOf(queue, each), MBUF_NEXT, 0);
      setField(headerOf(queue, each), MBUF_OWNER, OWNER_POOL << OWNER_SHIFT);
    }
    if (more > 0) pools.putFree(field(queue, QUEUE_POOL), lcore, vector, more);
    return 'rejected';
  }

  /** Returns what its header asks for: a copy, as all of it. */
  function copyFrame(queue: number, chain: number, handle: number, length: number, more: number, lcore: number): NetHeader {
    const head = field(queue, VQ_HEADER);
    const vector = field(queue, VQ_SCRATCH) + VECTOR;
    const room = field(queue, QUEUE_ROOM);
    writeMbuf(queue, handle, lcore);
    u32[(headerOf(queue, handle) + MBUF_PKT_LEN) >>> 2] = length;
    u16[(headerOf(queue, handle) + MBUF_DATA_LEN) >>> 1] = length;
    u16[(headerOf(queue, handle) + MBUF_NB_SEGS) >>> 1] = more + 1;
    if (more === 0 && field(chain, CHAIN_COUNT) === 1) {
      const from = field(field(chain, CHAIN_FIRST), 0);
      u8.copyWithin(bufferOf(handle) + HEADROOM, from + head, from + head + length);
      return offloads.readHeader(from);
    }
    const own = field(queue, VQ_SCRATCH) + SCRATCH_HEADER;
    let segment = readSegments(field(chain, CHAIN_FIRST), own, head);
    for (let i = 0; ; i++) {
      const part = Math.min(length, room);
      segment = readSegments(segment, bufferOf(handle) + HEADROOM, part);
      u16[(headerOf(queue, handle) + MBUF_DATA_LEN) >>> 1] = part;
      length -= part;
      if (length === 0) return offloads.readHeader(own);
      const next = u32[(vector >>> 2) + i];
      u32[(headerOf(queue, handle) + MBUF_NEXT) >>> 2] = next;
      handle = next;
      writeMbuf(queue, handle, lcore);
    }
  }

  function writeMbuf(queue: number, handle: number, lcore: number): void {
    const header = headerOf(queue, handle);
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let i = 0; i < 8; i++) u32[(header >>> 2) + i] = u32[template + i];
    u32[(header + MBUF_HASH) >>> 2] = 0;
    u32[(header + MBUF_OWNER) >>> 2] = (OWNER_APP << OWNER_SHIFT) | lcore;
  }
}
