/** What the bursts of AF_XDP do to the kernel's rings in each direction, in plain TypeScript. The fast double is assembly/xsk_ring.ts; neither calls the other. */
import { HANDLE_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OWNER } from '../mbuf/layout.js';
import {
  XDP_PKT_CONTD, XSK_BUFFER_MASK, XSK_DESCRIPTORS, XSK_GIVING, XSK_GIVING_FROM, XSK_GIVING_VECTOR, XSK_HELD, XSK_MASK, XSK_PRODUCER,
  XSK_RING_A, XSK_UMEM, XSK_UMEM_BYTES,
} from '../port/drivers/af_xdp/layout.js';
import { QUEUE_OWNER } from '../port/layout.js';
import { DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH, DEATH_MID_BURST } from './codes.js';
import type { BurstHooks } from './functions.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';

export interface XskRings {
  /** Index of a descriptor's first word. */
  descriptorAt(queue: number, index: number): number;
  /** Are so many bytes from an address on in a buffer of the UMEM that the kernel has by this queue? */
  isHeld(queue: number, address: number, high: number, length: number): boolean;
  /** The mbuf whose buffer an address of the UMEM is in. */
  handleAt(queue: number, address: number): number;
  /** A producer that is further ahead than its ring is long is not to be believed. */
  believable(ahead: number, ring: number): number;
  /** What is about to be given to the kernel, for whoever finds the queue without its lcore. */
  giving(queue: number, count: number, from: number, vector: number): void;
  /** Tells the kernel of the descriptors from `told` to `next`, which is returned; both count from `index` on. */
  give(queue: number, index: number, told: number, next: number): number;
  /** Is the mbuf's buffer one of this UMEM's? */
  inUmem(queue: number, handle: number): boolean;
  /** Does the mbuf's data end in its buffer? */
  isInside(queue: number, header: number): boolean;
  /** The mbuf is the port's from here on. */
  writeDescriptor(queue: number, index: number, handle: number, frame: { offset: number; length: number; goesOn: boolean }): void;
}

export function xskRings(views: ArenaViews, hooks: BurstHooks): XskRings {
  const { u16, u32 } = views;
  const { field, setField, headerOf, own } = queueMbufs(views);
  return { descriptorAt, isHeld, handleAt, believable, giving, give, inUmem, isInside, writeDescriptor };

  function descriptorAt(queue: number, index: number): number {
    return (field(queue, XSK_RING_A + XSK_DESCRIPTORS) + ((index & field(queue, XSK_RING_A + XSK_MASK)) >>> 0) * 16) >>> 2;
  }

  function isHeld(queue: number, address: number, high: number, length: number): boolean {
    const bufferMask = field(queue, XSK_BUFFER_MASK);
    if (high !== 0 || address >= field(queue, XSK_UMEM_BYTES) || length > bufferMask + 1 - (address & bufferMask)) return false;
    return u32[(headerOf(queue, handleAt(queue, address)) + MBUF_OWNER) >>> 2] === field(queue, QUEUE_OWNER);
  }

  function handleAt(queue: number, address: number): number {
    return ((field(queue, XSK_UMEM) + ((address & ~field(queue, XSK_BUFFER_MASK)) >>> 0)) >>> 0) >>> HANDLE_SHIFT;
  }

  function believable(ahead: number, ring: number): number {
    return Math.min(ahead >>> 0, field(ring, XSK_MASK) + 1);
  }

  function giving(queue: number, count: number, from: number, vector: number): void {
    setField(queue, XSK_GIVING_FROM, from);
    setField(queue, XSK_GIVING_VECTOR, vector);
    setField(queue, XSK_GIVING, count);
  }

  function give(queue: number, index: number, told: number, next: number): number {
    if (told === next) return next;
    hooks.fault?.(DEATH_BEFORE_PUBLISH);
    // Pairs with the kernel's smp_load_acquire of the producer.
    Atomics.store(u32, field(queue, XSK_RING_A + XSK_PRODUCER) >>> 2, index + next);
    hooks.fault?.(DEATH_AFTER_PUBLISH);
    setField(queue, XSK_HELD, field(queue, XSK_HELD) + next - told);
    return next;
  }

  function inUmem(queue: number, handle: number): boolean {
    const start = ((handle << HANDLE_SHIFT) - field(queue, XSK_UMEM)) >>> 0;
    return start < field(queue, XSK_UMEM_BYTES) && (start & field(queue, XSK_BUFFER_MASK)) === 0;
  }

  function isInside(queue: number, header: number): boolean {
    return u16[(header + MBUF_DATA_OFF) >>> 1] + u16[(header + MBUF_DATA_LEN) >>> 1] <= field(queue, XSK_BUFFER_MASK) + 1;
  }

  function writeDescriptor(queue: number, index: number, handle: number, { offset, length, goesOn }: { offset: number; length: number; goesOn: boolean }): void {
    const at = descriptorAt(queue, index);
    u32[at] = (handle << HANDLE_SHIFT) - field(queue, XSK_UMEM) + offset;
    u32[at + 1] = 0;
    u32[at + 2] = length;
    u32[at + 3] = goesOn ? XDP_PKT_CONTD : 0;
    own(queue, handle, field(queue, QUEUE_OWNER));
    hooks.fault?.(DEATH_MID_BURST);
  }
}
