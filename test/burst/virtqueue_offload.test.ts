/** What a struct virtio_net_hdr becomes in an mbuf, and an mbuf's flags in one, on both sides: each by an example, in every implementation. That all leave the same bytes is virtqueue.test.ts's. */
import t from 'tap';
import {
  HANDLE_SHIFT, HEADROOM, MBUF_DATA_OFF, MBUF_HASH, MBUF_OL_FLAGS, MBUF_TSO_SEGSZ, MBUF_TX_OFFLOAD, RX_L4_CKSUM_GOOD, RX_RSS_HASH, TX_IPV6, TX_OFFLOADS, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM,
} from '../../lib/mbuf/layout.js';
import { DEVICE_BAD_FRAME, DEVICE_BAD_OFFLOAD, DRIVER_BAD_FRAME, DRIVER_BAD_OFFLOAD, VQ_SIDE, VQ_UNFINISHED } from '../../lib/virtqueue/layout.js';
import { get, get64, IMPLEMENTATIONS, makeLab, set, type Lab } from './layout_helper.js';
import { LONGEST, type Outgoing, type Packet, type VqShape } from './virtqueue_commands_helper.js';
import { bytesOf, headerOf } from './virtqueue_packets_helper.js';
import { accounted, makeVqWorld, receive, send, free, type VqWorld } from './virtqueue_world_helper.js';

const SHAPE: VqShape = { packed: false, size: 8, start: 0, mergeable: true, indirect: true, eventIdx: false, inOrder: false, header: 12, outside: false, guestBuffers: 14, hostBuffers: 14, cache: 0, offloads: 7 };
const HONEST: Packet = { kind: 'tcp4', asks: 'checksum', size: 500, startOff: 0, offsetOff: 0, good: true };
const asking = (packet: Partial<Packet>, ...parts: number[]): Outgoing => ({ parts: parts.length > 0 ? parts : [1200], shift: 0, held: false, packet: { ...HONEST, ...packet } });

const TCP = { flags: TX_TCP_CKSUM, lengths: 14 | 20 << 7, size: undefined };

interface Heard { readonly flags: number; readonly lengths: number; readonly size: number | undefined }

for (const implementation of IMPLEMENTATIONS) {
  const lab = makeLab(implementation);

  /** What the host makes of a frame that the guest sends; undefined: it was dropped. */
  const hear = (frame: Outgoing, shape: VqShape = SHAPE): { heard: Heard | undefined; world: VqWorld } => {
    const world = makeVqWorld(lab, shape);
    if (send(world, world.guest, [frame]).taken !== 1) throw new Error('the guest could not send it');
    const [handle] = receive(world, world.host, 4);
    if (handle === undefined) return { heard: undefined, world };
    const header = headerOf(world.host, handle);
    const flags = get(lab, header, MBUF_OL_FLAGS);
    return { heard: { flags, lengths: get(lab, header, MBUF_TX_OFFLOAD), size: (flags & TX_TCP_SEG) === 0 ? undefined : lab.u16[(header + MBUF_TSO_SEGSZ) >>> 1]! }, world };
  };

  t.test(`${lab.name}: checksums that a guest leaves`, async t => {
    for (const parts of [[1200], [100, 1100], [1792, 1792]]) {
      const cases: [Packet['kind'], number, number, number][] = [
        ['tcp4', TX_TCP_CKSUM, 14, 20], ['udp4', TX_UDP_CKSUM, 14, 20], ['tcp6', TX_TCP_CKSUM | TX_IPV6, 14, 40], ['udp6', TX_UDP_CKSUM | TX_IPV6, 14, 40], ['tagged', TX_TCP_CKSUM, 18, 20],
      ];
      for (const [kind, flags, l2, l3] of cases) {
        const { heard, world } = hear(asking({ kind }, ...parts));
        t.same(heard, { flags, lengths: l2 | l3 << 7, size: undefined }, `${kind}, in parts of ${parts.join(' and ')}`);
        t.equal(get(lab, world.host.rx, VQ_UNFINISHED), 1, 'and the burst says so');
      }
    }
    t.same(hear(asking({ asks: 'nothing' })).heard?.flags, 0, 'none');
    t.same(hear(asking({}), { ...SHAPE, offloads: 0 }).heard?.flags, 0, 'what was not agreed upon is not read');
  });

  t.test(`${lab.name}: packets that a guest leaves to be cut`, async t => {
    t.same(hear(asking({ asks: 'segments' })).heard, { flags: TX_TCP_CKSUM | TX_TCP_SEG, lengths: 14 | 20 << 7, size: 500 });
    t.same(hear(asking({ asks: 'segments', kind: 'tcp6', size: 400 }, 54, 1700)).heard, { flags: TX_TCP_CKSUM | TX_TCP_SEG | TX_IPV6, lengths: 14 | 40 << 7, size: 400 });
    t.same(hear(asking({ asks: 'segments', size: 1300 })).heard?.flags, TX_TCP_CKSUM, 'one segment is not cut');
    t.same(hear(asking({ asks: 'segments', size: 1448 }, 1792, 1792, 1792)).heard?.size, 1448, 'longer than frames are');
  });

  t.test(`${lab.name}: a checksum that is not the packet's own is written at once`, async t => {
    // Of no IP packet, and of a TCP packet, from elsewhere on: what stood in the field is the sum of a pseudo header.
    for (const [packet, start, offset] of [[{ kind: 'other' }, 20, 4], [{ startOff: 3 }, 37, 16]] as const) {
      const world = makeVqWorld(lab, SHAPE);
      const { offered } = send(world, world.guest, [asking(packet, 1201)]);
      const [handle] = receive(world, world.host, 1);
      t.equal(get(lab, headerOf(world.host, handle!), MBUF_OL_FLAGS), 0);
      const [before, after] = [offered[0]!.bytes, bytesOf(world, world.host, handle!)];
      t.equal(sum(Buffer.concat([after.subarray(start), Buffer.alloc((after.length - start) % 2), before.subarray(start + offset, start + offset + 2)])), 0xffff);
      t.ok(after.equals(Buffer.concat([before.subarray(0, start + offset), after.subarray(start + offset, start + offset + 2), before.subarray(start + offset + 2)])), 'nothing else');
    }
  });

  t.test(`${lab.name}: a header that is wrong costs its frame, and nothing else`, async t => {
    const bad: [string, Partial<Packet>, number[]?][] = [
      ['a start behind the frame', { startOff: 60_000 }], ['an offset behind it', { offsetOff: 1180 }], ['a sum of both', { startOff: 65_501, offsetOff: 65_519 }],
      ['a start in another segment', { startOff: 1800 }, [1792, 1792]],
      ['segments of nothing', { asks: 'segments', size: 0 }], ['segments that are too long', { asks: 'segments', size: LONGEST - 53 }],
      ['of UDP', { asks: 'segments', kind: 'udp4' }], ['of UDP, called TCP', { asks: 'segments', kind: 'udp4', gsoType: 1 }], ['of IPv6, called IPv4', { asks: 'segments', kind: 'tcp6', gsoType: 1 }],
      ['with ECN, which was not offered', { asks: 'segments', gsoType: 0x81 }], ['of a fragment', { asks: 'segments', kind: 'fragment' }], ['of no IP', { asks: 'segments', kind: 'other' }],
      ['a TCP header that is not all there', { asks: 'segments', good: false }, [60]],
      ['not agreed upon', { asks: 'segments' }], ['not agreed upon for IPv6', { asks: 'segments', kind: 'tcp6' }],
    ];
    for (const [name, packet, parts = [1200]] of bad) {
      const { heard, world } = hear(asking(packet, ...parts), { ...SHAPE, offloads: !name.startsWith('not agreed') ? 7 : name.endsWith('IPv6') ? 3 : 1 });
      t.same([heard, get64(lab, world.host.rx, DEVICE_BAD_OFFLOAD)], [undefined, 1], name);
      t.equal(accounted(world, world.host), SHAPE.hostBuffers, 'its mbufs are in the pool');
      // The next one is not the worse for it.
      send(world, world.guest, [asking({})]);
      t.equal(receive(world, world.host, 4).length, 1);
    }
    const without = hear(asking({ asks: 'checksum', gsoType: 1, good: false }));
    t.same([without.heard, get64(lab, without.world.host.rx, DEVICE_BAD_OFFLOAD)], [undefined, 1], 'segments without a checksum');
    const long = hear(asking({ asks: 'checksum' }, 1792, 1792, 1792));
    t.same([long.heard, get64(lab, long.world.host.rx, DEVICE_BAD_FRAME)], [undefined, 1], 'a frame that is too long, and is not to be cut');
    t.equal(accounted(long.world, long.world.host), SHAPE.hostBuffers);
  });

  t.test(`${lab.name}: what a guest is told`, async t => {
    const told = (packet: Partial<Packet>, parts: number[] = [1200], offloads = 7): string => {
      const world = makeVqWorld(lab, { ...SHAPE, offloads });
        if (send(world, world.host, [asking(packet, ...parts)]).taken !== 1) return 'not taken';
      const [handle] = receive(world, world.guest, 1);
      const at = (handle! << HANDLE_SHIFT >>> 0) + lab.u16[(headerOf(world.guest, handle!) + MBUF_DATA_OFF) >>> 1]! - SHAPE.header - lab.base;
      const bytes = lab.zone.subarray(at, at + 10);
      return [bytes[0], bytes[1], ...[2, 4, 6, 8].map(i => bytes.readUInt16LE(i))].join(' ');
    };
    t.equal(told({ asks: 'nothing', good: false }), '0 0 0 0 0 0');
    t.equal(told({ asks: 'nothing', good: true }), '2 0 0 0 0 0', 'a checksum that was looked at');
    t.equal(told({ asks: 'nothing', good: true }, [1200], 0), '0 0 0 0 0 0', 'of which it wants to know nothing');
    t.equal(told({}), '1 0 0 0 34 16');
    t.equal(told({ kind: 'udp6' }), '1 0 0 0 54 6');
    t.equal(told({ kind: 'tagged' }, [60, 1000]), '1 0 0 0 38 16');
    t.equal(told({ asks: 'segments' }), '1 1 54 500 34 16');
    t.equal(told({ asks: 'segments', kind: 'tcp6', good: false }, [1700, 1700, 1700]), '1 4 86 500 54 16');
  });

  t.test(`${lab.name}: a send stops before what the guest does not do`, async t => {
    for (const [offloads, packet] of [[0, {}], [1, { asks: 'segments' }], [3, { asks: 'segments', kind: 'tcp6' }], [5, { asks: 'segments' }], [7, { size: 4000 }]] as const) {
      const world = makeVqWorld(lab, { ...SHAPE, offloads });
      const plain: Outgoing = { parts: [60], shift: 0, held: false };
      t.equal(send(world, world.host, [plain, asking(packet), plain]).taken, 1);
      t.equal(get(lab, world.host.tx, VQ_UNFINISHED), 1);
      t.equal(send(world, world.host, [plain]).taken, 1);
      t.equal(get(lab, world.host.tx, VQ_UNFINISHED), 0);
      free(world, world.host, 100);
      t.equal(accounted(world, world.host), SHAPE.hostBuffers);
    }
  });

  const wants = ({ lab }: VqWorld, header: number): Heard => {
    const flags = get(lab, header, MBUF_OL_FLAGS);
    return { flags: flags & (TX_OFFLOADS | TX_IPV6), lengths: get(lab, header, MBUF_TX_OFFLOAD), size: (flags & TX_TCP_SEG) === 0 ? undefined : lab.u16[(header + MBUF_TSO_SEGSZ) >>> 1]! };
  };

  t.test(`${lab.name}: what a driver's mbuf says, the device's says too, and the other way round`, async t => {
    const cases: [Partial<Packet>, number[], Heard][] = [
      [{}, [1200], TCP], [{}, [54, 20, 1300], TCP], [{ kind: 'udp4' }, [1200], { ...TCP, flags: TX_UDP_CKSUM }],
      [{ kind: 'udp6' }, [62, 60], { flags: TX_UDP_CKSUM | TX_IPV6, lengths: 14 | 40 << 7, size: undefined }], [{ kind: 'tagged' }, [1200], { ...TCP, lengths: 18 | 20 << 7 }],
      [{ asks: 'segments', good: true }, [1200], { ...TCP, flags: TX_TCP_CKSUM | TX_TCP_SEG, size: 500 }],
      [{ asks: 'segments', kind: 'tcp6', size: 1400 }, [1792, 1792, 1792], { flags: TX_TCP_CKSUM | TX_TCP_SEG | TX_IPV6, lengths: 14 | 40 << 7, size: 1400 }],
    ];
    for (const packed of [false, true]) for (const [packet, parts, heard] of cases) for (const held of [false, true]) {
      const shape = { ...SHAPE, packed, start: packed ? 0x8000 : 0 };
      const frame: Outgoing = { ...asking({ ...packet, byFlags: true }, ...parts), held };
      const there = hear(frame, shape);
      t.same(there.heard, heard, `a driver sends ${JSON.stringify(packet)} in parts of ${parts.join(' and ')}`);
      t.same(get64(lab, there.world.guest.tx, DRIVER_BAD_FRAME), 0);
      const world = makeVqWorld(lab, shape);
      const { offered } = send(world, world.host, [frame]);
      const [handle] = receive(world, world.guest, 2);
      t.same(wants(world, headerOf(world.guest, handle!)), heard, 'and receives it');
      t.ok(bytesOf(world, world.guest, handle!).equals(offered[0]!.bytes), 'untouched');
      t.equal(get(lab, world.guest.rx, VQ_UNFINISHED), 1);
    }
  });

  t.test(`${lab.name}: a driver that passes nothing on has the checksum written, and says that it is good`, async t => {
    for (const [kind, place, own] of [['tcp4', 50, true], ['udp4', 40, true], ['tcp6', 70, true], ['udp6', 60, true], ['tagged', 54, true], ['other', 36, false], ['fragment', 50, false]] as const) {
      for (const parts of [[1201], [1001, 1002]]) {
        const world = makeVqWorld(lab, { ...SHAPE, finish: true });
        const { offered } = send(world, world.host, [asking({ kind, good: false }, ...parts)]);
        const [handle] = receive(world, world.guest, 2);
        const [before, after] = [offered[0]!.bytes, bytesOf(world, world.guest, handle!)];
        const start = place - (kind.startsWith('udp') ? 6 : 16);
        t.equal(get(lab, headerOf(world.guest, handle!), MBUF_OL_FLAGS), own ? RX_L4_CKSUM_GOOD : 0, kind);
        t.equal(sum(Buffer.concat([after.subarray(start), Buffer.alloc((after.length - start) % 2), before.subarray(place, place + 2)])), 0xffff);
        t.ok(after.equals(Buffer.concat([before.subarray(0, place), after.subarray(place, place + 2), before.subarray(place + 2)])), 'nothing else');
        t.equal(get(lab, world.guest.rx, VQ_UNFINISHED), 0);
      }
    }
  });

  t.test(`${lab.name}: what a device has looked at is good, where that was agreed upon`, async t => {
    for (const [offloads, finish, flags] of [[7, false, RX_L4_CKSUM_GOOD], [1, true, RX_L4_CKSUM_GOOD], [0, false, 0]] as const) {
      for (const parts of [[1200], [1000, 1000]]) {
        const world = makeVqWorld(lab, { ...SHAPE, offloads, finish });
        send(world, world.host, [asking({ asks: 'nothing', good: true }, ...parts), asking({ asks: 'nothing', good: false })]);
        if (offloads === 0) headerOfDevice(lab, world, [2, 0, 0, 0, 0, 0]);
        t.same(receive(world, world.guest, 3).map(handle => get(lab, headerOf(world.guest, handle), MBUF_OL_FLAGS)), [flags, 0]);
      }
    }
  });

  t.test(`${lab.name}: a hash that the device reports`, async t => {
    for (const offloads of [0, 7]) for (const parts of [[1200], [1000, 1000]]) {
      const world = makeVqWorld(lab, { ...SHAPE, header: 20, offloads });
      const frames = [asking({ asks: 'nothing', good: true }, ...parts), asking({ asks: 'nothing', good: true })];
      const { offered } = send(world, world.host, frames);
      const first = get(lab, get(lab, world.guest.rx, VQ_SIDE));
      const front = (first << HANDLE_SHIFT >>> 0) + HEADROOM - 20;
      set(lab, front, 12, 0xfeedbeef);
      set(lab, front, 16, 2);
      const handles = receive(world, world.guest, 3);
      t.same(handles.map(handle => bytesOf(world, world.guest, handle).toString('hex')), offered.map(({ bytes }) => bytes.toString('hex')));
      const good = offloads === 0 ? 0 : RX_L4_CKSUM_GOOD;
      t.same(handles.map(handle => [get(lab, headerOf(world.guest, handle), MBUF_OL_FLAGS), get(lab, headerOf(world.guest, handle), MBUF_HASH)]), [[good | RX_RSS_HASH, 0xfeedbeef], [good, 0]]);
    }
  });

  t.test(`${lab.name}: a device's header that is wrong costs its frame, and nothing else`, async t => {
    const bad: [string, number[], boolean?][] = [
      ['a start behind the frame', [1, 0, 0, 0, 60_000, 16]], ['an offset behind it', [1, 0, 0, 0, 34, 1777]], ['both', [1, 0, 0, 0, 65_535, 65_535]],
      ['segments without a checksum', [2, 1, 54, 500, 34, 16]], ['segments of nothing', [1, 1, 54, 0, 34, 16]], ['of another kind', [1, 3, 54, 500, 34, 16]],
      ['segments, for one that takes none', [1, 1, 54, 500, 34, 16], true],
    ];
    for (const parts of [[1200], [1000, 1000]]) for (const [name, words, finish = false] of bad) {
      const world = makeVqWorld(lab, { ...SHAPE, finish });
      send(world, world.host, [asking({}, ...parts)]);
      headerOfDevice(lab, world, words);
      t.same([receive(world, world.guest, 4).length, get64(lab, world.guest.rx, DRIVER_BAD_OFFLOAD)], [0, 1], name);
      send(world, world.host, [asking({ good: true })]);
      t.equal(receive(world, world.guest, 4).length, 1, 'the next one comes');
      free(world, world.guest, 4);
      t.equal(accounted(world, world.guest, 0x02000001), SHAPE.guestBuffers);
    }
    const long = makeVqWorld(lab, SHAPE);
    send(long, long.host, [asking({ asks: 'segments', size: 1000 }, 1792, 1792, 1792)]);
    headerOfDevice(lab, long, [1, 0, 0, 0, 34, 16]);
    t.same([receive(long, long.guest, 4).length, get64(lab, long.guest.rx, DRIVER_BAD_FRAME)], [0, 1], 'too long, and not to be cut');
  });

  t.test(`${lab.name}: a driver refuses to send what its device does not do, and what is not there`, async t => {
    const cases: [number, Partial<Packet>, number[]?][] = [
      [0, {}], [0, { kind: 'udp4' }], [1, { asks: 'segments' }], [3, { asks: 'segments', kind: 'tcp6' }], [7, { size: 4000 }], [7, { asks: 'segments', size: 0 }],
      [7, {}, [51, 600]], [7, { kind: 'udp4' }, [41, 600]], [7, { asks: 'segments' }, [53, 1100]], [7, { startOff: 460, kind: 'udp6' }, [500]],
    ];
    for (const [offloads, packet, parts = [1200]] of cases) {
      const world = makeVqWorld(lab, { ...SHAPE, offloads });
      const plain: Outgoing = { parts: [60], shift: 0, held: false };
      t.equal(send(world, world.guest, [plain, asking({ ...packet, byFlags: true }, ...parts), plain]).taken, 3);
      t.same([receive(world, world.host, 4).length, get64(lab, world.guest.tx, DRIVER_BAD_FRAME)], [2, 1], JSON.stringify(packet));
      free(world, world.host, 100);
      lab.burst.virtioClean(world.guest.tx, 1);
      t.equal(accounted(world, world.guest, 0x02000001), SHAPE.guestBuffers);
    }
  });
}

/** The device says otherwise of the first frame that it has put into the guest's buffers: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset. */
function headerOfDevice(lab: Lab, { guest }: VqWorld, [flags, kind, ...words]: readonly number[]): void {
  const handle = get(lab, get(lab, guest.rx, VQ_SIDE));
  lab.zone.set([flags!, kind!, ...words.flatMap(word => [word & 0xff, word >>> 8])], (handle << HANDLE_SHIFT >>> 0) + HEADROOM - SHAPE.header - lab.base);
}

/** The one's complement sum (RFC 1071). */
function sum(bytes: Buffer): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i++) total += i % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}
