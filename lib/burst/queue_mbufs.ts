/** A queue's state and the mbufs that go through it, in plain TypeScript: what the twins of queues that copy or lend them share. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import { QUEUE_NOMBUF, QUEUE_POOL, QUEUE_TABLE } from '../port/layout.js';
import { VQ_BUFFER_MASK, VQ_POOL, VQ_POOL_BYTES } from '../virtqueue/layout.js';
import type { MempoolFunctions } from './mempool.js';
import { count64, type ArenaViews } from './views.js';

export interface QueueMbufs {
  /** A u32 of a structure, by its offset there. */
  field(structure: number, name: number): number;
  setField(structure: number, name: number, value: number): void;
  /** Offset of the mbuf's buffer. */
  bufferOf(handle: number): number;
  /** Offset of its header, in the table of the queue's pool. */
  headerOf(queue: number, handle: number): number;
  own(queue: number, handle: number, owner: number): void;
  /** All segments change hands. */
  ownChain(queue: number, handle: number, owner: number): void;
  /** Is it an mbuf in the memory that the other side knows? */
  isShared(queue: number, handle: number): boolean;
}

export function queueMbufs({ u16, u32 }: ArenaViews): QueueMbufs {
  return { field, setField, bufferOf, headerOf, own, ownChain, isShared };

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }

  function setField(structure: number, name: number, value: number): void {
    u32[(structure + name) >>> 2] = value;
  }

  function bufferOf(handle: number): number {
    return (handle << HANDLE_SHIFT) >>> 0;
  }

  function headerOf(queue: number, handle: number): number {
    return (field(queue, QUEUE_TABLE) + (handle << HEADER_SHIFT)) >>> 0;
  }

  function own(queue: number, handle: number, owner: number): void {
    u32[(headerOf(queue, handle) + MBUF_OWNER) >>> 2] = owner;
  }

  function ownChain(queue: number, handle: number, owner: number): void {
    for (let left = u16[(headerOf(queue, handle) + MBUF_NB_SEGS) >>> 1]; left > 0 && handle !== 0; left--) {
      own(queue, handle, owner);
      handle = u32[(headerOf(queue, handle) + MBUF_NEXT) >>> 2];
    }
  }

  function isShared(queue: number, handle: number): boolean {
    const start = (bufferOf(handle) - field(queue, VQ_POOL)) >>> 0;
    return start < field(queue, VQ_POOL_BYTES) && (start & field(queue, VQ_BUFFER_MASK)) === 0;
  }
}

/** `want` mbufs, or as many as the pool has when it runs dry: halves of it are tried. What is not had stays in the ring. */
export function takeSome(u32: Uint32Array, pools: MempoolFunctions, queue: number, lcore: number, vector: number, want: number): number {
  for (; want > 0; want >>>= 1) {
    if (pools.takeFree(u32[(queue + QUEUE_POOL) >>> 2], lcore, vector, want) > 0) return want;
  }
  count64(u32, queue + QUEUE_NOMBUF, 1);
  return 0;
}

/** An Ethernet header. */
const SHORTEST = 14;

/** Is it as long as an Ethernet frame is, and no longer than the queue takes? */
export function isFrame(length: number, longest: number): boolean {
  return length >= SHORTEST && length <= longest;
}

/** The owner word of what lcore's program holds. */
export function program(lcore: number): number {
  return (OWNER_APP << OWNER_SHIFT) | lcore;
}
