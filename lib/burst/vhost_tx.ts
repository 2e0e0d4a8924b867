/** The device's side of a virtqueue, mbufs into the driver's buffers; and memif's, which copies in the same way, in plain TypeScript. The fast doubles are assembly/vhost_tx.ts and vhost_plain.ts; none calls another. */
import { MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, TX_TCP_SEG } from '../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL } from '../port/layout.js';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, CHUNK, DESC_WRITE, DEVICE_BAD_FRAME, DEVICE_FOREIGN,
  DEVICE_RING_FULL, DEVICE_TOO_SMALL, LONGEST_GSO, MOST_GOES, SCRATCH_HEADER, VQ_FLAGS, VQ_HEADER, VQ_LONGEST, VQ_MERGEABLE, VQ_SCRATCH,
  VQ_SIZE, VQ_UNFINISHED,
} from '../virtqueue/layout.js';
import { ETHER_HEADER_BYTES } from '../wire/protocol_layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { vhostChains } from './vhost_chains.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DeviceRingFunctions } from './virtqueue_device.js';
import type { OffloadFunctions } from './virtqueue_offload.js';

/** What stops a burst before its end. */
type Stop = 'none' | 'short' | 'foreign' | 'unfinished';

/** Over one kind of rings. */
export function sendingFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, { gather, put }: DeviceRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): { send: BurstFunctions['vhostTx'] } {
  const { u8, u16, u32 } = views;
  const { field, setField, bufferOf, headerOf } = queueMbufs(views);
  const { chainAt, writeSegments } = vhostChains(views);
  return { send };

  function send(queue: number, burst: number, count: number, lcore: number): number {
    const isMine = enter(queue, lcore);
    setField(queue, VQ_UNFINISHED, 0);
    if (!isMine) {
      count64(u32, queue + QUEUE_NOMBUF, count);
      return 0;
    }
    let taken = 0;
    let want = Math.min(count, CHUNK);
    let stopped = DEVICE_RING_FULL;
    for (let goes = 0; taken < count && goes < MOST_GOES; goes++) {
      const chains = gather(queue, want, DESC_WRITE);
      const done = fillChains(queue, burst + taken * 4, count - taken, chains);
      taken += done.taken;
      put(queue, done.used, false);
      if (done.stop === 'foreign') {
        stopped = DEVICE_FOREIGN;
        break;
      }
      if (done.stop === 'unfinished') {
        setField(queue, VQ_UNFINISHED, 1);
        break;
      }
      if (done.used === 0 && done.stop === 'short' && (chains === CHUNK || chains === field(queue, VQ_SIZE))) {
        // All that can be looked at, or all that there is, does not hold it.
        count64(u32, queue + DEVICE_TOO_SMALL, 1);
        taken++;
      } else if (chains < want && (done.used === chains || done.stop === 'short')) break;
      want = done.stop === 'short' ? CHUNK : Math.min(count - taken, CHUNK);
    }
    // Who is told of an unfinished one offers the rest again.
    if (taken < count && field(queue, VQ_UNFINISHED) === 0) {
      count64(u32, queue + stopped, 1);
      count64(u32, queue + QUEUE_NOMBUF, count - taken);
    }
    leave(queue);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, burst, taken);
    return taken;
  }

  /** Copies the first of `count` mbufs into the gathered chains. */
  function fillChains(queue: number, burst: number, count: number, chains: number): { taken: number; used: number; stop: Stop } {
    const mergeable = (field(queue, VQ_FLAGS) & VQ_MERGEABLE) !== 0;
    let [taken, used] = [0, 0];
    while (taken < count && used < chains) {
      const chain = chainAt(queue, used);
      if (field(chain, CHAIN_COUNT) === 0) {
        used++;
        continue;
      }
      const handle = u32[(burst >>> 2) + taken];
      if (!pools.belongs(field(queue, QUEUE_POOL), handle)) return { taken, used, stop: 'foreign' };
      const flags = field(headerOf(queue, handle), MBUF_OL_FLAGS);
      const isLeft = !offloads.takes(queue, flags);
      if (isLeft && field(queue, VQ_HEADER) !== 0) return { taken, used, stop: 'unfinished' };
      // A memif ring has no header to say it in.
      const length = isLeft ? 0 : sendable(queue, handle, (flags & TX_TCP_SEG) !== 0 ? LONGEST_GSO : field(queue, VQ_LONGEST));
      const need = length + field(queue, VQ_HEADER);
      if (length === 0) {
        count64(u32, queue + DEVICE_BAD_FRAME, 1);
        taken++;
        continue;
      }
      const run = mergeable ? runOf(queue, used, chains, need) : { chains: need <= field(chain, CHAIN_LENGTH) ? 1 : 0, spoilt: false };
      if (run.chains === 0 && mergeable) return { taken, used, stop: 'short' };
      used += run.chains;
      // A bad chain stands in the middle: what is before it is given back with it, unused.
      if (run.spoilt) continue;
      taken++;
      if (run.chains === 0) {
        count64(u32, queue + DEVICE_TOO_SMALL, 1);
        continue;
      }
      copyIn(queue, handle, chain, run.chains, need);
      count64(u32, queue + QUEUE_PACKETS, 1);
      count64(u32, queue + QUEUE_BYTES, length);
    }
    return { taken, used, stop: 'none' };
  }

  /** Bytes of the frame; 0 for what is none, is too long, or is not in its buffers. */
  function sendable(queue: number, handle: number, longest: number): number {
    const first = headerOf(queue, handle);
    const segments = u16[(first + MBUF_NB_SEGS) >>> 1];
    const whole = segments === 1 ? u16[(first + MBUF_DATA_LEN) >>> 1] : u32[(first + MBUF_PKT_LEN) >>> 2];
    let length = 0;
    for (let left = segments; left > 0; left--) {
      if (!pools.belongs(field(queue, QUEUE_POOL), handle)) return 0;
      const header = headerOf(queue, handle);
      const part = u16[(header + MBUF_DATA_LEN) >>> 1];
      if (u16[(header + MBUF_DATA_OFF) >>> 1] + part > u32[(header + MBUF_BUF_LEN) >>> 2]) return 0;
      length += part;
      handle = u32[(header + MBUF_NEXT) >>> 2];
    }
    return length === whole && length >= ETHER_HEADER_BYTES && length <= longest ? length : 0;
  }

  /** How many chains from `first` on hold `need` bytes together, 0 when there are too few; or, spoilt, those up to a bad one. */
  function runOf(queue: number, first: number, chains: number, need: number): { chains: number; spoilt: boolean } {
    let held = 0;
    for (let i = first; i < chains; i++) {
      if (field(chainAt(queue, i), CHAIN_COUNT) === 0) return { chains: i + 1 - first, spoilt: true };
      held += field(chainAt(queue, i), CHAIN_LENGTH);
      if (held >= need) return { chains: i + 1 - first, spoilt: false };
    }
    return { chains: 0, spoilt: false };
  }

  /** Header and frame into `run` chains, whose segments follow each other. */
  function copyIn(queue: number, handle: number, chain: number, run: number, need: number): void {
    const head = field(queue, VQ_HEADER);
    if (run === 1 && field(chain, CHAIN_COUNT) === 1 && u16[(headerOf(queue, handle) + MBUF_NB_SEGS) >>> 1] === 1) {
      const to = field(field(chain, CHAIN_FIRST), 0);
      offloads.writeHeader(to, head, 1, offloads.tell(queue, handle));
      const from = dataOf(queue, handle);
      u8.copyWithin(to + head, from, from + need - head);
      setField(chain, CHAIN_WRITTEN, need);
      return;
    }
    const own = field(queue, VQ_SCRATCH) + SCRATCH_HEADER;
    offloads.writeHeader(own, head, run, offloads.tell(queue, handle));
    let segment = writeSegments(field(chain, CHAIN_FIRST), own, head);
    for (let left = need - head; left > 0;) {
      const part = u16[(headerOf(queue, handle) + MBUF_DATA_LEN) >>> 1];
      segment = writeSegments(segment, dataOf(queue, handle), part);
      left -= part;
      handle = u32[(headerOf(queue, handle) + MBUF_NEXT) >>> 2];
    }
    for (; run > 0; run--, chain += 1 << CHAIN_SHIFT) {
      const written = Math.min(need, field(chain, CHAIN_LENGTH));
      setField(chain, CHAIN_WRITTEN, written);
      setField(chain, CHAIN_MORE, run > 1 ? 1 : 0);
      need -= written;
    }
  }

  function dataOf(queue: number, handle: number): number {
    return bufferOf(handle) + u16[(headerOf(queue, handle) + MBUF_DATA_OFF) >>> 1];
  }
}
