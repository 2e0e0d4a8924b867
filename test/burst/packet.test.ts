/** AF_PACKET's burst functions over rings that the test fills: what goes in comes out, and nothing hostile does harm. */
import fc from 'fast-check';
import t from 'tap';
import {
  HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER, MBUF_PKT_LEN,
  MBUF_PORT, MBUF_REFCNT, MBUF_TIMESTAMP, MBUF_VLAN_TCI, OWNER_APP, OWNER_POOL, OWNER_SHIFT, RX_RSS_HASH, RX_TIMESTAMP, RX_VLAN_STRIPPED,
} from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES, POOL_FOREIGN } from '../../lib/mbuf/pool_layout.js';
import {
  BLOCK_STATUS, PACKET_BAD_BLOCK, PACKET_BAD_FRAME, PACKET_LAST, PACKET_RX_TOO_LONG, PACKET_TRUNCATED, PACKET_TX_TOO_LONG, TP2_FRAME,
  TP2_LEN, TP2_LINEAR, TP_STATUS_SEND_REQUEST,
} from '../../lib/port/drivers/af_packet/layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../lib/port/layout.js';
import { expectSameBytes, HIGH_BASE, IMPLEMENTATIONS, expectEqual, get, get64, makeLab, ringContents, set } from './layout_helper.js';
import {
  BLOCK_BYTES, ROOM, SLOT_BYTES, bytesAt, commands, complete, contents, fillBlock, freeSome, makePacketWorld, receive, segmentsOf,
  sendFrames, shapes, wholeContents, type Command, type Frame, type Packet, type PacketWorld,
} from './packet_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 200;

/** What a well-behaved kernel handed over and was not yet taken, and what must be counted. */
interface Model { waiting: Packet[]; truncated: number; tooLong: number; badFrame: number; txTooLong: number; inSlots: Frame[] }

for (const implementation of [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const]) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: frames come out as they went in, in order, and the rest is counted`, async t => {
    let [received, sent] = [0, 0];
    fc.assert(fc.property(shapes, commands(false), (shape, list) => {
      const world = makePacketWorld(lab, shape);
      const model: Model = { waiting: [], truncated: 0, tooLong: 0, badFrame: 0, txTooLong: 0, inSlots: [] };
      for (const command of list) step(world, model, command);
      // Whatever is left in the ring comes out once the program lets go of what it has.
      while (model.waiting.length > 0) {
        freeSome(world, world.held.length, 0);
        step(world, model, { kind: 'rx', max: 20, lcore: 0 });
      }
      freeSome(world, world.held.length, 1);
      checkCounters(world, model);
      expectAllFree(world);
      received += get64(lab, world.rx, QUEUE_PACKETS);
      sent += get64(lab, world.tx, QUEUE_PACKETS);
    }), { numRuns: RUNS });
    t.ok(received > RUNS && sent > RUNS, `${received} received, ${sent} sent`);
  });
}

function step(world: PacketWorld, model: Model, command: Command): void {
  switch (command.kind) {
    case 'fill': model.waiting.push(...fillBlock(world, command.packets) ?? []); break;
    case 'rx': checkReceive(world, model, command.max, command.lcore); break;
    case 'free': freeSome(world, command.count, command.lcore); break;
    case 'tx': checkSend(world, model, command.frames, command.lcore); break;
    case 'complete': model.inSlots.splice(0, complete(world, command.count)); break;
  }
}

/** What the port passed by in this call, its counters say; the rest of what it took is in the burst, in order. */
function checkReceive(world: PacketWorld, model: Model, max: number, lcore: number): void {
  const dropped = (): number => get64(world.lab, world.rx, PACKET_TRUNCATED) + get64(world.lab, world.rx, PACKET_RX_TOO_LONG);
  const before = dropped();
  const handles = receive(world, max, lcore);
  const consumed = model.waiting.splice(0, handles.length + dropped() - before);
  const delivered = consumed.filter(packet => !skipped(model, packet));
  expectEqual(delivered.length, handles.length);
  handles.forEach((handle, i) => expectPacket(world, handle, delivered[i]!, lcore));
}

/** Is it one that is counted instead of delivered? */
function skipped(model: Model, packet: Packet): boolean {
  if (packet.cut > 0) model.truncated++;
  else return false;
  return true;
}

function expectPacket(world: PacketWorld, handle: number, packet: Packet, lcore: number): void {
  const { lab, shape, pool } = world;
  const header = pool.table + handle * HEADER_BYTES;
  const half = (field: number): number => lab.u16[(header + field) >>> 1];
  const inFrame = packet.tpid !== 0 && packet.length >= 12 && (shape.keep !== 0 || packet.tpid === 0x88a8);
  const stripped = packet.tpid !== 0 && !inFrame;
  const bytes = expectedBytes(packet, inFrame);
  const first = Math.min(packet.length, ROOM) + (inFrame ? 4 : 0);
  const segments = segmentsOf(world, handle);
  expectEqual(segments.length, Math.max(1, Math.ceil(packet.length / ROOM)));
  expectEqual([half(MBUF_DATA_OFF), half(MBUF_DATA_LEN), get(lab, header, MBUF_PKT_LEN)], [inFrame ? HEADROOM - 4 : HEADROOM, first, bytes.length]);
  expectEqual([half(MBUF_REFCNT), half(MBUF_NB_SEGS), half(MBUF_PORT)], [1, segments.length, 0]);
  segments.slice(1).forEach((segment, i) => expectRest(world, segment, bytes.subarray(first + i * ROOM, first + (i + 1) * ROOM), lcore));
  expectEqual(get(lab, header, MBUF_OL_FLAGS), RX_TIMESTAMP | (packet.hash === 0 ? 0 : RX_RSS_HASH) | (stripped ? RX_VLAN_STRIPPED : 0));
  expectEqual([get(lab, header, MBUF_HASH), half(MBUF_VLAN_TCI)], [packet.hash, stripped ? packet.tci : 0]);
  expectEqual([get(lab, header, MBUF_TIMESTAMP), get(lab, header, MBUF_TIMESTAMP + 4)], [1000 + packet.seed, packet.seed]);
  expectEqual(get(lab, header, MBUF_OWNER), (OWNER_APP << OWNER_SHIFT) | lcore);
  expectSame(bytesAt(world, handle * 2 ** HANDLE_SHIFT + half(MBUF_DATA_OFF), first), bytes.subarray(0, first));
}

/** An mbuf behind the first: plain, but for its place in the chain. */
function expectRest(world: PacketWorld, handle: number, bytes: Uint8Array, lcore: number): void {
  const { lab, pool } = world;
  const header = pool.table + handle * HEADER_BYTES;
  const half = (field: number): number => lab.u16[(header + field) >>> 1];
  expectEqual([half(MBUF_DATA_OFF), half(MBUF_DATA_LEN), get(lab, header, MBUF_PKT_LEN), half(MBUF_REFCNT), half(MBUF_NB_SEGS)], [HEADROOM, bytes.length, bytes.length, 1, 1]);
  expectEqual([get(lab, header, MBUF_OL_FLAGS), half(MBUF_VLAN_TCI), get(lab, header, MBUF_OWNER)], [0, 0, (OWNER_APP << OWNER_SHIFT) | lcore]);
  expectSame(bytesAt(world, handle * 2 ** HANDLE_SHIFT + HEADROOM, bytes.length), bytes);
}

function expectedBytes(packet: Packet, inFrame: boolean): Uint8Array {
  const bytes = contents(packet.seed, packet.length);
  if (!inFrame) return bytes;
  const tpid = packet.tpid > 1 ? packet.tpid : 0x8100;
  return Uint8Array.from([...bytes.subarray(0, 12), tpid >>> 8, tpid & 0xff, packet.tci >>> 8, packet.tci & 0xff, ...bytes.subarray(12)]);
}

function checkSend(world: PacketWorld, model: Model, wanted: readonly Frame[], lcore: number): void {
  const room = world.shape.slots - model.inSlots.length;
  const { frames, taken } = sendFrames(world, wanted, 0, lcore);
  const good: Frame[] = [];
  let expected = 0;
  for (const frame of frames) {
    const kind = kindOf(world, frame);
    if (kind === 'good' && good.length === room) break;
    if (kind === 'good') good.push(frame);
    else model[kind]++;
    expected++;
  }
  expectEqual(taken, expected);
  good.forEach((frame, i) => expectSlot(world, (world.slot + model.inSlots.length + i) % world.shape.slots, frame));
  model.inSlots.push(...good);
}

function kindOf({ shape }: PacketWorld, { offset, length, segments, more, tagged }: Frame): 'good' | 'badFrame' | 'txTooLong' {
  const total = more.reduce((sum, bytes) => sum + bytes, length);
  if (segments !== more.length + 1 || total < 14 || offset + length > 2048) return 'badFrame';
  return total <= shape.longest + (tagged && length >= 14 ? 4 : 0) ? 'good' : 'txTooLong';
}

function expectSlot(world: PacketWorld, index: number, frame: Frame): void {
  const { lab } = world;
  const slot = world.slots + index * SLOT_BYTES;
  const bytes = wholeContents(frame);
  expectEqual([get(lab, slot), get(lab, slot, TP2_LEN), lab.u16[(slot + TP2_LINEAR) >>> 1]], [TP_STATUS_SEND_REQUEST, bytes.length + 10, bytes.length]);
  expectSame(bytesAt(world, slot + TP2_FRAME, bytes.length), bytes);
}

function checkCounters({ lab, rx, tx, slots, shape, slot }: PacketWorld, model: Model): void {
  expectEqual([get64(lab, rx, PACKET_TRUNCATED), get64(lab, rx, PACKET_RX_TOO_LONG), get64(lab, rx, PACKET_BAD_BLOCK)], [model.truncated, model.tooLong, 0]);
  expectEqual([get64(lab, tx, PACKET_BAD_FRAME), get64(lab, tx, PACKET_TX_TOO_LONG)], [model.badFrame, model.txTooLong]);
  if (model.inSlots.length > 0) expectEqual(get(lab, tx, PACKET_LAST), slots + (slot + model.inSlots.length - 1) % shape.slots * SLOT_BYTES);
}

function freeHandles({ lab, pool }: PacketWorld): number[] {
  const cached = [0, 1].flatMap(lcore => {
    const cache = pool.offset + POOL_CACHES + lcore * CACHE_STRIDE;
    return Array.from({ length: get(lab, cache, CACHE_LENGTH) }, (_, i) => get(lab, cache, 64 + i * 4));
  });
  return [...ringContents(lab, pool.ring), ...cached];
}

/** Every mbuf is in the pool, once, and says so. */
function expectAllFree(world: PacketWorld): void {
  expectEqual(freeHandles(world).sort((a, b) => a - b), world.pool.handles);
  for (const handle of world.pool.handles) expectEqual(get(world.lab, world.pool.table + handle * HEADER_BYTES, MBUF_OWNER), OWNER_POOL << OWNER_SHIFT);
}

const PAIRS = [
  [makeLab({ build: 'fast' }), makeLab({ build: 'twin' })],
  [makeLab({ build: 'checking', checks: true }), makeLab({ build: 'twin', checks: true })],
  [makeLab({ build: 'fast', base: HIGH_BASE }), makeLab({ build: 'twin', base: HIGH_BASE })],
] as const;

for (const [left, right] of PAIRS) {
  t.test(`lockstep: ${left.name} and ${right.name} leave the same bytes, whatever stands in the rings`, async t => {
    let bad = 0;
    fc.assert(fc.property(shapes, commands(true), (shape, list) => {
      const worlds = [makePacketWorld(left, shape), makePacketWorld(right, shape)] as const;
      for (const command of list) {
        expectEqual(applyHostile(worlds[0], command), applyHostile(worlds[1], command));
        expectSameBytes(left, right);
      }
      for (const world of worlds) expectBalance(world);
      bad += get64(left, worlds[0].rx, PACKET_BAD_BLOCK);
    }), { numRuns: RUNS });
    t.ok(bad > RUNS / 10, `the whole zone, after every command; ${bad} bad blocks`);
  });
}

/** As `step`, without a model; the block is overwritten in places before it is handed over. */
function applyHostile(world: PacketWorld, command: Command): unknown {
  const block = world.ring + world.block * BLOCK_BYTES;
  switch (command.kind) {
    case 'fill': {
      const placed = fillBlock(world, command.packets);
      if (placed !== undefined) for (const { word, value } of command.pokes) set(world.lab, block, word * 4, value);
      return [placed?.length, get(world.lab, block, BLOCK_STATUS)];
    }
    case 'rx': return receive(world, command.max, command.lcore);
    case 'free': return freeSome(world, command.count, command.lcore);
    case 'tx': return sendFrames(world, command.frames, command.foreign, command.lcore).taken;
    case 'complete': return complete(world, command.count, command.status);
  }
}

/** Nothing is lost: each mbuf is free or held, whatever the kernel said. */
function expectBalance(world: PacketWorld): void {
  expectEqual([...freeHandles(world), ...world.held.flatMap(handle => segmentsOf(world, handle))].sort((a, b) => a - b), world.pool.handles);
  expectEqual(get64(world.lab, world.tx, QUEUE_BYTES) >= get64(world.lab, world.tx, QUEUE_PACKETS) * 14, true);
  expectEqual(get64(world.lab, world.pool.offset, POOL_FOREIGN) <= get64(world.lab, world.tx, PACKET_BAD_FRAME), true);
}

const small = (seed: number): Packet => ({ length: 60, cut: 0, hash: 0, tpid: 0, tci: 0, seed });
const plain = { cache: 0, slots: 2, longest: 1514, keep: 0 };

t.test('one burst takes from several blocks', async t => {
  for (const lab of PAIRS.flat()) {
    const world = makePacketWorld(lab, { ...plain, count: 24, blocks: 3 });
    for (const count of [3, 0, 5]) fillBlock(world, Array.from({ length: count }, (_, i) => small(i)));
    t.equal(receive(world, 7, 0).length, 7);
    t.equal(receive(world, 7, 0).length, 1);
    t.equal(receive(world, 7, 0).length, 0);
    t.same([0, 1, 2].map(block => get(lab, world.ring + block * BLOCK_BYTES, BLOCK_STATUS)), [0, 0, 0], 'all blocks are the kernel\'s again');
  }
});

t.test('a dry pool leaves packets in the ring, and they come when there are mbufs again', async t => {
  for (const lab of PAIRS.flat()) {
    const world = makePacketWorld(lab, { ...plain, count: 6, blocks: 2 });
    fillBlock(world, Array.from({ length: 10 }, (_, i) => small(i)));
    t.equal(receive(world, 20, 0).length, 6, 'as many as the pool has');
    t.equal(receive(world, 20, 0).length, 0);
    t.equal(get64(lab, world.rx, QUEUE_NOMBUF), 1, 'a receive that found no mbuf');
    t.equal(get(lab, world.ring, BLOCK_STATUS), 1, 'the block is kept');
    freeSome(world, 6, 0);
    const rest = receive(world, 20, 0);
    t.same(rest.map(handle => bytesAt(world, handle * 2 ** HANDLE_SHIFT + HEADROOM, 1)[0]), [6, 7, 8, 9]);
  }
});

function expectSame(found: Uint8Array, wanted: Uint8Array): void {
  const at = found.findIndex((byte, i) => byte !== wanted[i]);
  if (at >= 0) throw new Error(`byte ${at}: found ${found[at]}, wanted ${wanted[at]}`);
}
