/** Sending by AF_XDP, in plain TypeScript. The fast double is assembly/xsk_tx.ts; neither calls the other. */
import { MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_REFCNT } from '../mbuf/layout.js';
import { XSK_GIVING, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_PRODUCER, XSK_RING_A, XSK_RING_FULL } from '../port/drivers/af_xdp/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../port/layout.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';
import { xskRings } from './xsk_ring.js';
import { NO_ROOM, xskTxChains } from './xsk_tx_chain.js';

export function xskTxFunctions(views: ArenaViews, hooks: BurstHooks, pools: MempoolFunctions, { xskComplete }: Pick<BurstFunctions, 'xskComplete'>): Pick<BurstFunctions, 'xskTx'> {
  const { u16, u32 } = views;
  const { field, setField, headerOf } = queueMbufs(views);
  const { giving, give, inUmem, isInside, writeDescriptor } = xskRings(views, hooks);
  const { sendOther } = xskTxChains(views, hooks, pools);
  return { xskTx };

  function xskTx(queue: number, burst: number, count: number, lcore: number): number {
    xskComplete(queue, lcore);
    if (count === 0) return 0;
    const ring = queue + XSK_RING_A;
    const index = u32[field(ring, XSK_PRODUCER) >>> 2]; // ours
    // No more in flight than the completion ring, which is as long, can tell of.
    const room = field(ring, XSK_MASK) + 1 - field(queue, XSK_HELD);
    let [next, told, taken, dropped] = [0, 0, 0, 0];
    giving(queue, count, index, burst);
    for (; taken < count; taken++) {
      const slot = burst + taken * 4;
      if (next < room && isPlain(queue, u32[slot >>> 2])) {
        writePlain(queue, index + next++, u32[slot >>> 2]);
        continue;
      }
      if (next < room) told = give(queue, index, told, next);
      const used = next === room ? NO_ROOM : sendOther(queue, index + next, room - next, slot, lcore);
      if (used === NO_ROOM) count64(u32, queue + XSK_RING_FULL, 1);
      if (used < 0) break;
      if (used === 0) dropped++;
      next += used;
      told = next;
      giving(queue, count - taken - 1, index + next, slot + 4);
    }
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    give(queue, index, told, next);
    count64(u32, queue + QUEUE_PACKETS, taken - dropped);
    setField(queue, XSK_GIVING, 0);
    return taken;
  }

  function isPlain(queue: number, handle: number): boolean {
    if (!inUmem(queue, handle)) return false;
    const header = headerOf(queue, handle);
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    if (u16[(header + MBUF_REFCNT) >>> 1] !== 1 || u16[(header + MBUF_NB_SEGS) >>> 1] !== 1) return false;
    return length >= 14 && length <= field(queue, XSK_LONGEST) && isInside(queue, header);
  }

  function writePlain(queue: number, index: number, handle: number): void {
    const header = headerOf(queue, handle);
    const length = u16[(header + MBUF_DATA_LEN) >>> 1];
    writeDescriptor(queue, index, handle, { offset: u16[(header + MBUF_DATA_OFF) >>> 1], length, goesOn: false });
    count64(u32, queue + QUEUE_BYTES, length);
  }
}
