/** What becomes of the packets that an AF_XDP port holds when it is closed, or when the lcore that polled it dies. */
import { binding } from '../../../binding.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { handles } from '../../../mbuf/audit.js';
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_OWNER, OWNER_APP, OWNER_SHIFT } from '../../../mbuf/layout.js';
import type { Mempool } from '../../../mbuf/mempool.js';
import { QUEUE_POOL } from '../../layout.js';
import type { QueueView } from '../../queue_view.js';
import {
  XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_DESCRIPTOR_BYTES, XSK_HELD, XSK_MASK, XSK_PRODUCER, XSK_RING_A, XSK_RING_B,
  XSK_SCRATCH, XSK_SCRATCH_COUNT, XSK_UMEM, XSK_UMEM_BYTES,
} from './layout.js';
import { mayGoOn, type XskTxQueue } from './queues.js';

/** How long a close waits for packets on their way: a healthy device needs microseconds, one that is stuck is not waited for. */
const SETTLE_TRIES = 100;
const SETTLE_PAUSE_MS = 1;

/**
 * Has the kernel send what is still in the TX ring, and waits until it has told of the last. In copy mode most drivers
 * get a copy of each frame; for those without linear skbs (IFF_TX_SKB_NO_LINEAR, virtio_net) the skb points into the
 * UMEM, so a buffer that went back to the pool too early would go out with another packet's bytes.
 * Returns what has stayed: `unsent` never left the ring, `uncompleted` were on their way for too long.
 */
export function settle(tx: XskTxQueue, state: QueueView, functions: BurstFunctions): { unsent: number; uncompleted: number } {
  for (let tries = 0; tries < SETTLE_TRIES; tries++) {
    functions.xskComplete(state.offset, state.arena.lcore);
    if (state.get(XSK_HELD) === 0) break;
    const refused = tx.waiting > 0 ? tx.wakeUp() : 0;
    if (refused < 0 && !mayGoOn(refused)) break;
    functions.xskComplete(state.offset, state.arena.lcore);
    if (state.get(XSK_HELD) > 0) binding().poll(new Int32Array(), SETTLE_PAUSE_MS);
  }
  const held = state.get(XSK_HELD);
  const unsent = Math.min(tx.waiting, held);
  return { unsent, uncompleted: held - unsent };
}

/** Frames that the kernel has put into the RX ring and nobody has taken. */
export function unread(rx: QueueView): number {
  const { u32 } = rx.arena;
  const ready = Atomics.load(u32, rx.get(XSK_RING_A + XSK_PRODUCER) >>> 2) - u32[rx.get(XSK_RING_A + XSK_CONSUMER) >>> 2]!;
  return Math.min(ready >>> 0, rx.get(XSK_RING_A + XSK_MASK) + 1);
}

/** Every mbuf that the kernel had goes back to the pool: its owner word says so. Nothing is reserved for it: the arena may be full. */
export function takeBack(pool: Mempool, states: readonly QueueView[], functions: BurstFunctions): void {
  const { arena } = pool;
  const owners = states.map(state => state.owner);
  const scratch = states[0]!.offset + XSK_SCRATCH;
  let count = 0;
  const free = (): void => {
    functions.mbufFree(pool.offset, arena.lcore, scratch, count);
    count = 0;
  };
  for (const handle of handles(arena, pool.offset)) {
    const owner = ownerWord(states[0]!, handle);
    if (!owners.includes(arena.u32[owner]!)) continue;
    arena.u32[owner] = (OWNER_APP << OWNER_SHIFT) | arena.lcore;
    arena.u32[(scratch >>> 2) + count++] = handle;
    if (count === XSK_SCRATCH_COUNT) free();
  }
  free();
}

/**
 * After the death of the lcore that polled the queue, perhaps in the middle of a burst. Descriptors that it had taken
 * without saying so to the kernel are at the front of the ring, and their buffers are not the queue's any more: they are
 * passed over, before such a buffer can come to the kernel again and be taken for the frame of an old descriptor. What
 * it had stamped for the kernel and not published stays the queue's until close; the count of what the kernel has is
 * made anew, high by so many.
 */
export function repair(state: QueueView): void {
  const { arena, owner } = state;
  if (state.direction === 'rx') passOver(state, XSK_RING_A, XSK_DESCRIPTOR_BYTES);
  else passOver(state, XSK_RING_B, 8);
  let held = 0;
  for (const handle of handles(arena, state.get(QUEUE_POOL))) if (arena.u32[ownerWord(state, handle)] === owner) held++;
  state.set(XSK_HELD, held);
}

function passOver(state: QueueView, ring: number, entry: number): void {
  const { u32 } = state.arena;
  const consumer = state.get(ring + XSK_CONSUMER) >>> 2;
  const mask = state.get(ring + XSK_MASK);
  let index = u32[consumer]!;
  let left = Math.min((Atomics.load(u32, state.get(ring + XSK_PRODUCER) >>> 2) - index) >>> 0, mask + 1);
  while (left-- > 0 && !isHeld(state, u32[(state.get(ring + XSK_DESCRIPTORS) + (index & mask) * entry) >>> 2]!)) index = (index + 1) >>> 0;
  Atomics.store(u32, consumer, index);
}

function isHeld(state: QueueView, address: number): boolean {
  if (address >= state.get(XSK_UMEM_BYTES)) return false;
  const start = (state.get(XSK_UMEM) + ((address & ~state.get(XSK_BUFFER_MASK)) >>> 0)) >>> 0;
  return state.arena.u32[ownerWord(state, start >>> HANDLE_SHIFT)] === state.owner;
}

/** Index of the mbuf's owner word. */
function ownerWord({ arena }: QueueView, handle: number): number {
  return (arena.table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2;
}
