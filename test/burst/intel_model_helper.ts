/** What Intel's burst functions must do with frames, as the datasheets have it, apart from their code. */
import {
  HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_VLAN_TCI, OWNER_APP, OWNER_SHIFT, RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RX_L4_CKSUM_BAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH,
  RX_VLAN_STRIPPED, TX_IPV6, TX_IP_CKSUM, TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../../lib/mbuf/layout.js';
import {
  INTEL_82574, INTEL_82576, INTEL_BAD_FRAME, INTEL_HEAD, INTEL_NEXT, INTEL_RING_FULL, RXD_IP_BAD, RXD_IPCS, RXD_IXSM, RXD_L4_BAD, RXD_L4CS,
  TXD_RS,
} from '../../lib/port/drivers/vfio/intel/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import {
  descriptor, headerOf, IOVA_HIGH, make, MOST, MOST_SEGMENTS, SEGMENT, send, sent, totalOf, type Outgoing, type Piece, type Shape, type
  World,
} from './intel_world_helper.js';
import { expectEqual, get, get64 } from './layout_helper.js';

/** The context that the device has been given last, as the driver tells them apart. */
const lastContext = new WeakMap<World, string>();

/** What the next receive of `max` descriptors must give: the pieces of each packet. */
export function expected(world: World, max: number): { readonly handle: number; readonly piece: Piece }[][] {
  const packets: { readonly handle: number; readonly piece: Piece }[][] = [];
  const segment = world.shape.jumbo ? SEGMENT : MOST;
  for (const each of world.waiting.splice(0, max)) {
    const { length, errors, ends } = each.piece;
    if (world.split !== 0 || (!ends && !world.shape.jumbo)) {
      if (ends && world.split === 1) world.counts.split++;
      world.split = ends ? 0 : world.split || 1;
      continue;
    }
    const total = world.partial.reduce((sum, { piece }) => sum + piece.length, length);
    const errored = ends && errors !== 0;
    if (errored || length === 0 || length > segment || total > MOST || (ends && total < 14)) {
      world.counts[errored ? 'errored' : 'bad']++;
      world.partial = [];
      world.split = ends ? 0 : 2;
      continue;
    }
    world.partial.push(each);
    if (!ends) continue;
    packets.push(world.partial);
    world.partial = [];
  }
  return packets;
}

export function checkPacket(world: World, packet: readonly { readonly handle: number; readonly piece: Piece }[], core: number): void {
  const { lab } = world;
  const { hash, tag, checks } = packet.at(-1)!.piece;
  const head = headerOf(world, packet[0]!.handle);
  const badIp = (checks & RXD_IP_BAD) !== 0;
  const badL4 = (checks & RXD_L4_BAD) !== 0;
  const sums = (checks & RXD_IXSM) !== 0 ? 0 : (badIp ? RX_IP_CKSUM_BAD : (checks & RXD_IPCS) !== 0 ? RX_IP_CKSUM_GOOD : 0) | (badL4 ? RX_L4_CKSUM_BAD : (checks & RXD_L4CS) !== 0 ? RX_L4_CKSUM_GOOD : 0);
  expectEqual([get(lab, head, MBUF_PKT_LEN), lab.u16[(head + MBUF_NB_SEGS) >>> 1]], [packet.reduce((sum, { piece }) => sum + piece.length, 0), packet.length]);
  expectEqual([get(lab, head, MBUF_HASH), get(lab, head, MBUF_OL_FLAGS)], [hash, (hash === 0 ? 0 : RX_RSS_HASH) | (tag === 0 ? 0 : RX_VLAN_STRIPPED) | sums]);
  expectEqual(lab.u16[(head + MBUF_VLAN_TCI) >>> 1], tag);
  packet.forEach(({ handle, piece }, i) => {
    const header = headerOf(world, handle);
    expectEqual([lab.u16[(header + MBUF_DATA_LEN) >>> 1], lab.u16[(header + MBUF_DATA_OFF) >>> 1]], [piece.length, HEADROOM]);
    expectEqual([get(lab, header, MBUF_NEXT), get(lab, header, MBUF_OWNER)], [packet[i + 1]?.handle ?? 0, ((OWNER_APP << OWNER_SHIFT) | core) >>> 0]);
  });
}

/** The device sends what was accepted, in order, as it was asked to. */
export function checkSent(world: World, count: number, seen: { sentChains: number; contexts: number }): void {
  const out = sent(world, count);
  expectEqual(out.map(({ parts, tag, options, context }) => ({ parts, tag, options, context })), world.accepted.splice(0, out.length));
  seen.sentChains += out.filter(({ parts }) => parts.length > 1).length;
  seen.contexts += out.filter(({ context }) => context !== '').length;
}

/** Can it be sent at all? */
function isSendable({ kind }: Shape, frame: Outgoing): boolean {
  const { lengths, offset, flags, l2, l3 } = frame;
  const total = totalOf(frame);
  const wantsSum = (flags & (TX_IP_CKSUM | TX_TCP_CKSUM)) !== 0;
  const described = !wantsSum || (l2 + l3 + ((flags & TX_TCP_CKSUM) !== 0 ? 18 : 0) <= total && (kind === INTEL_82576 || l2 + l3 + 16 < 256));
  return lengths.length <= MOST_SEGMENTS && lengths.every(length => length > 0 && offset + length <= 2048) && total >= 17 && total <= MOST && (flags & TX_UDP_CKSUM) === 0 && described;
}

/** The context that a frame needs, as the datasheets have it; '' for none. */
function contextOf({ kind }: Shape, { flags, l2, l3, tag }: Outgoing): string {
  const [tcp, ipv4, sums] = [(flags & TX_TCP_CKSUM) !== 0, (flags & TX_IPV6) === 0, (flags & (TX_IP_CKSUM | TX_TCP_CKSUM)) !== 0];
  if (!sums && (kind === INTEL_82574 || (flags & TX_VLAN) === 0)) return '';
  if (kind === INTEL_82576) return [(l3 | l2 << 9 | tag << 16) >>> 0, 0, 0x20200000 | (ipv4 ? 0x400 : 0) | (tcp ? 0x800 : 0), 0].join();
  const start = l2 + l3;
  return [(l2 | l2 + 10 << 8 | start - 1 << 16) >>> 0, (start & 255) | (start + (tcp ? 16 : 6) & 255) << 8, 0x20000000 | (ipv4 ? 0x02000000 : 0) | (tcp ? 0x01000000 : 0), 0].join();
}

export function checkSend(world: World, list: readonly Outgoing[], core: number): void {
  const { lab, tx, shape } = world;
  const counters = (): number[] => [INTEL_BAD_FRAME, QUEUE_NOMBUF, QUEUE_BYTES, QUEUE_PACKETS].map(field => get64(lab, tx, field));
  const before = counters();
  lab.burst.intelClean(tx, core);
  const start = get(lab, tx, INTEL_NEXT);
  let room = shape.size - 1 - ((start - get(lab, tx, INTEL_HEAD)) >>> 0);
  const offered = make(world, list);
  let [taken, bad, bytes] = [0, 0, 0];
  let context = lastContext.get(world) ?? '';
  /** Descriptors of each frame; the number of the first frame of those that report together; how many each such group has. */
  const takes: number[] = [];
  let reported = 0;
  const groups: number[] = [];
  for (const { frame, handles } of offered) {
    if (room === 0) break;
    if (!isSendable(shape, frame)) { bad++; taken++; continue; }
    const wanted = contextOf(shape, frame);
    const key = wanted === '' ? '' : `${frame.l2} ${frame.l3} ${frame.flags} ${shape.kind === INTEL_82576 ? frame.tag : 0}`;
    const needs = handles.length + (key === '' || key === context ? 0 : 1);
    if (needs > room) break;
    room -= needs;
    // What would be too long without a report is reported up to the frame before.
    const all = takes.slice(reported).reduce((sum, each) => sum + each, needs);
    if (shape.reports > 0 && all > shape.reports) reported = takes.length;
    groups[reported] = (groups[reported] ?? 0) + needs;
    takes.push(needs);
    if (key !== '') context = key;
    taken++;
    bytes += totalOf(frame);
    const options = ((frame.flags & TX_IP_CKSUM) !== 0 ? 1 : 0) | ((frame.flags & TX_TCP_CKSUM) !== 0 ? 2 : 0);
    world.accepted.push({
      parts: handles.map((handle, i) => [((handle << HANDLE_SHIFT) + frame.offset >>> 0) + IOVA_HIGH * 2 ** 32, frame.lengths[i]!]),
      tag: (frame.flags & TX_VLAN) !== 0 ? frame.tag : -1, options, context: options === 0 ? '' : wanted,
    });
  }
  lastContext.set(world, context);
  const full = get64(lab, tx, INTEL_RING_FULL);
  expectEqual(send(world, list, core), taken);
  const after = counters();
  expectEqual(after.map((value, i) => value - before[i]!), [bad, offered.length - taken, bytes, taken - bad]);
  expectEqual(get64(lab, tx, INTEL_RING_FULL) - full, taken < offered.length ? 1 : 0);
  // The last descriptor of the burst reports, or of each group of it, and no other.
  const reporting = groups.flatMap(length => [...Array<boolean>(length - 1).fill(false), true]);
  expectEqual(reporting.map((_, i) => (get(lab, descriptor(world, tx, (start + i) & (shape.size - 1)), 8) & TXD_RS) !== 0), reporting);
  expectEqual((get(lab, tx, INTEL_NEXT) - start) >>> 0, reporting.length);
}
