/** What becomes of the packets that an AF_XDP port has still to send when it is closed. */
import { binding } from '../../../binding.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import type { QueueView } from '../../queue_view.js';
import { XSK_HELD } from './layout.js';
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
