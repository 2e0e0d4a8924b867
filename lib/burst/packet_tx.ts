/** Sending by AF_PACKET, in plain TypeScript. The fast double is assembly/packet_tx.ts; neither calls the other. */
import { MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT } from '../mbuf/layout.js';
import {
  ETHERNET_ADDRESSES, ETHERNET_HEADER, ETHERTYPE_QINQ, ETHERTYPE_VLAN, PACKET_BAD_FRAME, PACKET_LAST, PACKET_LONGEST, PACKET_RING,
  PACKET_RING_FULL, PACKET_SLOTS, PACKET_SLOT_BYTES, PACKET_TAIL, PACKET_TX_TOO_LONG, TP2_FRAME, TP2_LEN, TP2_LINEAR, TP2_STATUS,
  TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST, VIRTIO_NET_HEADER, VLAN_TAG,
} from '../port/drivers/af_packet/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL } from '../port/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import { queueMbufs } from './queue_mbufs.js';
import { count64, type ArenaViews } from './views.js';

export function packetTxFunctions(views: ArenaViews, pools: MempoolFunctions): Pick<BurstFunctions, 'packetTx'> {
  const { u8, u16, u32 } = views;
  const { field, setField, bufferOf, headerOf } = queueMbufs(views);
  return { packetTx };

  function packetTx(queue: number, burst: number, count: number, lcore: number): number {
    let taken = 0;
    for (; taken < count; taken++) {
      const segments = sendable(queue, u32[(burst >>> 2) + taken]);
      if (segments === undefined) continue;
      const tail = field(queue, PACKET_TAIL);
      const slot = field(queue, PACKET_RING) + tail * field(queue, PACKET_SLOT_BYTES);
      // Pairs with the kernel's write when it has sent the slot's frame: its reads before its status.
      if (Atomics.load(u32, (slot + TP2_STATUS) >>> 2) !== TP_STATUS_AVAILABLE) {
        count64(u32, queue + PACKET_RING_FULL, 1);
        break;
      }
      fillSlot(queue, slot, segments);
      setField(queue, PACKET_LAST, slot);
      setField(queue, PACKET_TAIL, (tail + 1) % field(queue, PACKET_SLOTS));
    }
    count64(u32, queue + QUEUE_NOMBUF, count - taken);
    pools.mbufFree(field(queue, QUEUE_POOL), lcore, burst, taken);
    return taken;
  }

  function fillSlot(queue: number, slot: number, segments: readonly number[]): void {
    let length = 0;
    for (const handle of segments) {
      const header = headerOf(queue, handle);
      const bytes = u16[(header + MBUF_DATA_LEN) >>> 1];
      const data = bufferOf(handle) + u16[(header + MBUF_DATA_OFF) >>> 1];
      u8.copyWithin(slot + TP2_FRAME + length, data, data + bytes);
      length += bytes;
    }
    u16[(slot + TP2_LINEAR) >>> 1] = length;
    setField(slot, TP2_LEN, length + VIRTIO_NET_HEADER);
    setField(slot, TP2_STATUS, TP_STATUS_SEND_REQUEST);
    count64(u32, queue + QUEUE_PACKETS, 1);
    count64(u32, queue + QUEUE_BYTES, length);
  }

  /** The segments of one whole Ethernet frame inside its buffers, no longer than the interface takes. Counts the other kinds. */
  function sendable(queue: number, handle: number): readonly number[] | undefined {
    const segments = segmentsOf(queue, handle);
    const total = segments?.reduce((sum, segment) => sum + u16[(headerOf(queue, segment) + MBUF_DATA_LEN) >>> 1], 0) ?? 0;
    if (total < ETHERNET_HEADER) return refuse(queue + PACKET_BAD_FRAME);
    const header = headerOf(queue, handle);
    const tagged = u16[(header + MBUF_DATA_LEN) >>> 1] >= ETHERNET_HEADER && isTagged(bufferOf(handle) + u16[(header + MBUF_DATA_OFF) >>> 1]);
    const longest = field(queue, PACKET_LONGEST) + (tagged ? VLAN_TAG : 0);
    return total <= longest ? segments : refuse(queue + PACKET_TX_TOO_LONG);
  }

  function refuse(counter: number): undefined {
    count64(u32, counter, 1);
    return undefined;
  }

  /** Undefined when they contradict themselves. */
  function segmentsOf(queue: number, handle: number): number[] | undefined {
    const segments: number[] = [];
    let [next, count] = [handle, 1];
    for (; segments.length < count; next = field(headerOf(queue, next), MBUF_NEXT)) {
      if (!pools.belongs(field(queue, QUEUE_POOL), next)) return undefined;
      const header = headerOf(queue, next);
      if (u16[(header + MBUF_DATA_OFF) >>> 1] + u16[(header + MBUF_DATA_LEN) >>> 1] > field(header, MBUF_BUF_LEN)) return undefined;
      if (segments.length === 0) count = u16[(header + MBUF_NB_SEGS) >>> 1];
      segments.push(next);
    }
    // What a single mbuf's `next` says is nobody's business.
    return count === 0 || (count > 1 && next !== 0) ? undefined : segments;
  }

  function isTagged(frame: number): boolean {
    const kind = (u8[frame + ETHERNET_ADDRESSES] << 8) | u8[frame + ETHERNET_ADDRESSES + 1];
    return kind === ETHERTYPE_VLAN || kind === ETHERTYPE_QINQ;
  }
}
