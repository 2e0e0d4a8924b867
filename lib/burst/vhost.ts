/** The device's side of a virtqueue, moving frames, and memif's, which copies in the same way, in plain TypeScript. The fast double is assembly/vhost.ts; neither calls the other. */
import {
  HEADROOM, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PKT_LEN, OWNER_APP, OWNER_POOL, OWNER_SHIFT, TX_TCP_SEG,
} from '../mbuf/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TEMPLATE } from '../port/layout.js';
import {
  CHAIN_COUNT, CHAIN_FIRST, CHAIN_LENGTH, CHAIN_MORE, CHAIN_SHIFT, CHAIN_WRITTEN, CHUNK, DESC_WRITE, DEVICE_BAD_FRAME, DEVICE_FOREIGN, DEVICE_RING_FULL,
  DEVICE_TOO_SMALL, LONGEST_GSO, MOST_GOES, SCRATCH_HEADER, SEGMENT_SHIFT, VECTOR, VQ_FLAGS, VQ_HEADER,
  VQ_LONGEST, VQ_MERGEABLE, VQ_OFFLOADS, VQ_SCRATCH, VQ_SIZE, VQ_UNFINISHED,
} from '../virtqueue/layout.js';
import type { MempoolFunctions } from './mempool.js';
import { asks, type NetHeader, type OffloadFunctions } from './virtqueue_offload.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import type { VirtqueueFunctions } from './virtqueue.js';
import type { DeviceRingFunctions } from './virtqueue_device.js';

/** An Ethernet header. */
const SHORTEST = 14;

/** What stops a burst before its end. */
type Stop = 'none' | 'short' | 'foreign' | 'unfinished';

/** As `vhostRx` and `memifRx`, `vhostTx` and `memifTx` of BurstFunctions. */
export interface CopyingFunctions {
  receive(queue: number, burst: number, max: number, lcore: number): number;
  send(queue: number, burst: number, count: number, lcore: number): number;
}

/** Over one kind of rings. */
export function copyingFunctions(views: ArenaViews, { enter, leave }: VirtqueueFunctions, { gather, put }: DeviceRingFunctions, offloads: OffloadFunctions, pools: MempoolFunctions): CopyingFunctions {
  const { u8, u16, u32 } = views;
  const { field, setField, bufferOf, headerOf } = queueMbufs(views);
  return { receive, send };

  function receive(queue: number, burst: number, max: number, lcore: number): number {
    if (!enter(queue, lcore)) return 0;
    setField(queue, VQ_UNFINISHED, 0);
    let got = 0;
    // As many chains as frames are wanted, good or bad.
    for (let left = max; left > 0;) {
      const want = Math.min(left, CHUNK);
      const chains = gather(queue, want, 0);
      if (chains === 0) break;
      const given = takeSome(queue, burst + got * 4, chains, lcore);
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

  /** `want` mbufs, or as many as the pool has when it runs dry: halves of it are tried. What is not had stays in the ring. */
  function takeSome(queue: number, vector: number, want: number, lcore: number): number {
    for (; want > 0; want >>>= 1) {
      if (pools.takeFree(field(queue, QUEUE_POOL), lcore, vector, want) > 0) return want;
    }
    count64(u32, queue + QUEUE_NOMBUF, 1);
    return 0;
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
      if (length < SHORTEST || length > most) {
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

  /** Takes `length` bytes off the front of segments, to `to`. Returns the segment that has the next byte. */
  function readSegments(segment: number, to: number, length: number): number {
    return eachPart(segment, length, (from, done, part) => { u8.copyWithin(to + done, from, from + part); });
  }

  /** The other way: `length` bytes into the front of segments. */
  function writeSegments(segment: number, from: number, length: number): number {
    return eachPart(segment, length, (to, done, part) => { u8.copyWithin(to, from + done, from + done + part); });
  }

  /** Walks `length` bytes of segments, and shortens them by what was walked. */
  function eachPart(segment: number, length: number, work: (at: number, done: number, part: number) => void): number {
    for (let done = 0; done < length;) {
      const part = Math.min(field(segment, 4), length - done);
      work(field(segment, 0), done, part);
      setField(segment, 0, field(segment, 0) + part);
      setField(segment, 4, field(segment, 4) - part);
      if (field(segment, 4) === 0) segment += 1 << SEGMENT_SHIFT;
      done += part;
    }
    return segment;
  }

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
    return length === whole && length >= SHORTEST && length <= longest ? length : 0;
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

  function chainAt(queue: number, index: number): number {
    return field(queue, VQ_SCRATCH) + (index << CHAIN_SHIFT);
  }
}
