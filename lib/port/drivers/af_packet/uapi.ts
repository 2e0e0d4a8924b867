/** include/uapi/linux/if_packet.h: the numbers and structures of AF_PACKET sockets. */
import { setI32, setU16, setU32 } from '../../../kernel/bytes.js';
import { AF_PACKET } from '../../../kernel/constants.js';

// Socket options of SOL_PACKET.
export const PACKET_ADD_MEMBERSHIP = 1;
export const PACKET_RX_RING = 5;
export const PACKET_STATISTICS = 6;
export const PACKET_VERSION = 10;
export const PACKET_TX_RING = 13;
export const PACKET_VNET_HDR = 15;
export const PACKET_FANOUT = 18;
/** Linux 3.14. */
export const PACKET_QDISC_BYPASS = 20;
/** Linux 4.20. */
export const PACKET_IGNORE_OUTGOING = 23;

export const TPACKET_V2 = 1;
export const TPACKET_V3 = 2;
/** tpacket_req3.tp_feature_req_word: the kernel fills in tp_rxhash. */
export const TP_FT_REQ_FILL_RXHASH = 1;

/** How a fanout group shares packets out (packet(7)). */
export const FANOUT_MODES = { hash: 0, lb: 1, cpu: 2, rollover: 3, rnd: 4, qm: 5 } as const;
export type FanoutMode = keyof typeof FANOUT_MODES;
/** The kernel chooses a group that nobody uses. */
export const PACKET_FANOUT_FLAG_UNIQUEID = 0x2000;

export interface RxRingSize {
  readonly blockBytes: number;
  readonly blocks: number;
  /** A block that has packets is handed over after so long, full or not. */
  readonly timeoutMs: number;
  readonly hash: boolean;
}

/** struct tpacket_req3. Frame sizes mean nothing in V3's blocks, but they must add up. */
export function rxRingRequest({ blockBytes, blocks, timeoutMs, hash }: RxRingSize): Uint8Array {
  const frame = 2048;
  return words(blockBytes, blocks, frame, blockBytes / frame * blocks, timeoutMs, 0, hash ? TP_FT_REQ_FILL_RXHASH : 0);
}

/** struct tpacket_req. */
export function txRingRequest(slotBytes: number, slots: number, slotsPerBlock: number): Uint8Array {
  return words(slotBytes * slotsPerBlock, slots / slotsPerBlock, slotBytes, slots);
}

/** struct sockaddr_ll. `protocol` 0 receives nothing. */
export function sockaddrLl(protocol: number, ifindex: number): Uint8Array {
  const bytes = new Uint8Array(20);
  setU16(bytes, 0, AF_PACKET);
  new DataView(bytes.buffer).setUint16(2, protocol, false);
  setI32(bytes, 4, ifindex);
  return bytes;
}

/** struct packet_mreq with PACKET_MR_PROMISC: until the socket is closed, however that comes about. */
export function promiscuousRequest(ifindex: number): Uint8Array {
  const bytes = new Uint8Array(16);
  setI32(bytes, 0, ifindex);
  setU16(bytes, 4, 1);
  return bytes;
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  values.forEach((value, index) => setU32(bytes, index * 4, value));
  return bytes;
}
