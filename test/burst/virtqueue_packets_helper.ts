/** One side's packets: their bytes, and what an mbuf or a struct virtio_net_hdr says is left to be done with them. */
import {
  HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_TSO_SEGSZ,
  MBUF_TX_OFFLOAD, RX_L4_CKSUM_GOOD, TX_IPV6, TX_IP_CKSUM, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM,
} from '../../lib/mbuf/layout.js';
import { EXTRA_BYTES, VQ_EXTRA, VQ_SIDE } from '../../lib/virtqueue/layout.js';
import { get, set, type Pool } from './layout_helper.js';
import type { Outgoing, Packet } from './virtqueue_commands_helper.js';
import type { VqWorld } from './virtqueue_world_helper.js';

export interface Side {
  readonly pool: Pool;
  readonly rx: number;
  readonly tx: number;
  /** The program's mbufs; and those that it has a second hold on, which it may give up once they were sent. */
  readonly held: number[];
  readonly shared: number[];
}

export const headerOf = ({ pool }: Side, handle: number): number => (pool.table + handle * HEADER_BYTES) >>> 0;

/** A frame's bytes over all its segments. */
export function bytesOf({ lab }: Pick<VqWorld, 'lab'>, side: Side, first: number): Buffer {
  const parts: Buffer[] = [];
  let handle = first;
  for (let left = lab.u16[(headerOf(side, first) + MBUF_NB_SEGS) >>> 1]!; left > 0; left--) {
    const header = headerOf(side, handle);
    const at = (handle << HANDLE_SHIFT >>> 0) + lab.u16[(header + MBUF_DATA_OFF) >>> 1]! - lab.base;
    parts.push(lab.zone.subarray(at, at + lab.u16[(header + MBUF_DATA_LEN) >>> 1]!));
    handle = get(lab, header, MBUF_NEXT);
  }
  return Buffer.concat(parts);
}

export function fillPart({ lab, ...world }: VqWorld, side: Side, handle: number, { parts, shift }: Outgoing, i: number, next: number): void {
  const header = headerOf(side, handle);
  const offset = HEADROOM + (i === 0 ? shift : 0);
  lab.u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
  lab.u16[(header + MBUF_DATA_LEN) >>> 1] = parts[i]!;
  set(lab, header, MBUF_PKT_LEN, parts[i]!);
  set(lab, header, MBUF_NEXT, next);
  const at = (handle << HANDLE_SHIFT >>> 0) + offset - lab.base;
  for (let byte = 0; byte < parts[i]!; byte++) lab.zone[at + byte] = (world.seed + i * 31 + byte * 7) & 0xff;
}

const TRANSPORT = { tcp4: [34, 16], udp4: [34, 6], tcp6: [54, 16], udp6: [54, 6], tagged: [38, 16], fragment: [34, 16], other: [20, 4] } as const;
const GSO_TYPE = { tcp4: 1, udp4: 3, tcp6: 4, udp6: 3, tagged: 1, fragment: 1, other: 1 } as const;

/** Headers as they should be, as far as the first segment goes. */
export function writePacket(world: VqWorld, side: Side, head: number, { parts }: Outgoing, { kind, asks, size, startOff, good, byFlags }: Packet): void {
  const { lab } = world;
  const length = parts.reduce((sum, part) => sum + part, 0);
  const header = headerOf(side, head);
  const at = (head << HANDLE_SHIFT >>> 0) + lab.u16[(header + MBUF_DATA_OFF) >>> 1]! - lab.base;
  const tag = kind === 'tagged' ? [0x81, 0, 0, 5] : [];
  const ip = 14 + tag.length;
  const protocol = kind.startsWith('udp') ? 17 : 6;
  const isSix = kind.endsWith('6');
  const inside = length - ip - (isSix ? 40 : 0);
  const network = isSix ? [0x86, 0xdd, 0x60, 0, 0, 0, inside >>> 8, inside, protocol, 64]
    : [8, 0, 0x45, 0, inside >>> 8, inside, 0, 1, kind === 'fragment' ? 0x20 : 0, 0, 64, protocol];
  const front = kind === 'other' ? [] : [...tag, ...network];
  const room = parts[0]! - 12;
  lab.zone.set(front.slice(0, Math.max(0, room)), at + 12);
  const [start] = TRANSPORT[kind];
  if (kind !== 'other' && !kind.startsWith('udp') && parts[0]! > start + 13) lab.zone[at + start + 12] = good ? 0x50 : 0x80;
  if (side === world.guest && byFlags !== true) return;
  const flags = asks === 'nothing' ? 0 : (protocol === 17 ? TX_UDP_CKSUM : TX_TCP_CKSUM) | (asks === 'segments' ? TX_TCP_SEG : 0);
  set(lab, header, MBUF_OL_FLAGS, flags | (isSix ? TX_IPV6 : 0) | (good ? RX_L4_CKSUM_GOOD : 0) | (size === 4000 ? TX_IP_CKSUM : 0));
  set(lab, header, MBUF_TX_OFFLOAD, ip | (Math.max(0, start - ip + startOff) & 511) << 7);
  lab.u16[(header + MBUF_TSO_SEGSZ) >>> 1] = size;
}

/** struct virtio_net_hdr before the frame, where virtioTx has put one: the mbuf is the device's now, as the guest's memory is. */
export function askFor({ lab, shape, guest }: VqWorld, side: Side, head: number, frame: Outgoing): void {
  const { packet: front } = frame;
  if (front === undefined || front.asks === 'nothing' || front.byFlags === true) return;
  const isAlone = frame.parts.length === 1 && !frame.held && 256 + frame.shift >= shape.header;
  // The others' stands in the memory of the descriptor's id.
  const id = Array.from({ length: shape.size }, (_, i) => get(lab, get(lab, guest.tx, VQ_SIDE) + i * 8)).indexOf(head);
  if (!isAlone && id < 0) return;
  const own = isAlone ? (head << HANDLE_SHIFT >>> 0) + lab.u16[(headerOf(side, head) + MBUF_DATA_OFF) >>> 1]! - shape.header : get(lab, guest.tx, VQ_EXTRA) + id * EXTRA_BYTES;
  const at = own - lab.base;
  const [start, offset] = TRANSPORT[front.kind];
  const type = front.gsoType ?? (front.asks === 'segments' ? GSO_TYPE[front.kind] : 0);
  const words = [start + 20, front.size, start + front.startOff, offset + front.offsetOff];
  lab.zone.set([front.good || front.asks === 'segments' ? 1 : 2, type, ...words.flatMap(word => [word & 0xff, (word >>> 8) & 0xff])], at);
}
