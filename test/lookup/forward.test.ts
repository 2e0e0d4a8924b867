import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { Adjacencies } from '../../lib/lookup/adjacencies.js';
import { ADJACENCY_NONE, FORWARD_DUMP, FORWARD_FRAMES, FORWARD_VALUES } from '../../lib/lookup/forward_layout.js';
import { Forwarder } from '../../lib/lookup/forwarder.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { codeThrown } from '../kernel/rights.js';

const BUILDS = ['twin', 'fast', 'portable', 'checking'] as const;
const STATION = [2, 0, 0, 0, 1, 7];
const ADJACENCIES = 40;
/** Of 256 networks by the first byte, next hops as of here; within 7.0.0.0/8, longer routes. */
const hopOf = (first: number): number | undefined => first < 200 ? first % 50 : undefined;

interface Packet {
  readonly type: number; readonly first: number; readonly ttl: number; readonly checksum: number; readonly address: readonly number[];
  readonly station: boolean; readonly totalLength: number; readonly length: number; readonly dataOff: number;
}

const packets: fc.Arbitrary<Packet> = fc.record({
  type: fc.oneof({ weight: 9, arbitrary: fc.constant(0x0800) }, fc.constantFrom(0x86dd, 0x0806, 0x8100, 0x0008)),
  first: fc.oneof({ weight: 9, arbitrary: fc.constant(0x45) }, fc.constantFrom(0x46, 0x44, 0x65)),
  ttl: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(2, 64, 128, 255) }, fc.constantFrom(0, 1)),
  /** -1 for the right one. */
  checksum: fc.oneof({ weight: 5, arbitrary: fc.constant(-1) }, fc.constantFrom(0, 0xfdff, 0xfeff, 0xfefe, 0xff00, 0xfffe, 0xffff, 0xfffd), fc.nat(0xffff)),
  address: fc.tuple(fc.oneof(fc.nat(255), fc.nat(38), fc.constantFrom(7, 223, 224)), fc.constantFrom(0, 1), fc.constantFrom(0, 1), fc.nat(255)),
  station: fc.oneof({ weight: 6, arbitrary: fc.constant(true) }, fc.constant(false)),
  totalLength: fc.oneof({ weight: 9, arbitrary: fc.constant(46) }, fc.constantFrom(0, 19, 20)),
  length: fc.oneof({ weight: 12, arbitrary: fc.integer({ min: 58, max: 80 }) }, fc.nat(60)),
  dataOff: fc.constantFrom(0, 1, 2, 64, 256, 256, 300, 1968),
});
const plans = fc.record({
  rootBits: fc.constantFrom(8, 16), entryBytes: fc.constantFrom(2, 4), checksum: fc.boolean(), station: fc.boolean(), wholesome: fc.boolean(),
  list: fc.array(packets, { minLength: 1, maxLength: 60, size: 'max' }), unknown: fc.array(fc.nat(ADJACENCIES - 1), { maxLength: 5 }),
});

function sum(bytes: ArrayLike<number>): number {
  let words = 0;
  for (let at = 14; at < 34; at += 2) words += bytes[at]! * 256 + bytes[at + 1]!;
  return words % 0xffff;
}

/** 80 bytes, of which the mbuf may have fewer. */
function frameOf({ type, first, ttl, checksum, address, station, totalLength }: Packet, seed: number): number[] {
  const bytes = Array.from({ length: 80 }, (_, i) => (i * 7 + seed * 13) & 255);
  bytes.splice(0, 6, ...(station ? STATION : [2, 0, 0, 0, 1, 8]));
  bytes.splice(12, 22, type >> 8, type & 255, first, 0, 0, totalLength, seed & 255, 1, 0, 0, ttl, 17, 0, 0, 10, 0, 0, 1, ...address);
  const wanted = checksum < 0 ? 0xffff - sum(bytes) : checksum;
  bytes.splice(24, 2, wanted >> 8, wanted & 255);
  return bytes;
}

const macs = (hop: number): { destination: Uint8Array; source: Uint8Array } => ({ destination: Uint8Array.of(6, 1, hop, 3, 4, 5), source: Uint8Array.of(6, 2, hop, 5, 6, 7) });

/** What becomes of a frame, by RFC 1812 and RFC 1624: bytes and value. */
function expected(packet: Packet, bytes: readonly number[], { checksum, station, unknown }: { checksum: boolean; station: boolean; unknown: readonly number[] }): { bytes: readonly number[]; value: number } {
  const [first, second, third, last] = packet.address as [number, number, number, number];
  const hop = first === 7 && second === 1 && third === 1 && last >= 128 ? 33 : first === 7 && second === 1 ? 34 : hopOf(first);
  const isLeft = packet.length < 34 || packet.type !== 0x0800 || packet.first !== 0x45 || packet.ttl < 2 || first > 223 || hop === undefined || hop >= ADJACENCIES || unknown.includes(hop)
    || (station && !packet.station) || (checksum && (sum(bytes) !== 0 || packet.totalLength < 20 || packet.totalLength + 14 > packet.length));
  if (isLeft) return { bytes, value: ADJACENCY_NONE };
  const after = [...macs(hop).destination, ...macs(hop).source, ...bytes.slice(12)];
  const next = (bytes[24]! * 256 + bytes[25]! + 0x100) % 0xffff;
  after[22]!--;
  after.splice(24, 2, next >> 8, next & 255);
  return { bytes: after, value: hop * 3 };
}

t.test('any packets: every build makes of them what the RFCs say, and touches nothing else', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 64, hugePages: 'never' });
  const functions = BUILDS.map(build => instantiate(arena.memory, build));
  const burst = pool.burst(64);
  pool.alloc(burst, 64);
  const seen = { forwarded: 0, left: 0, bulk: 0 };
  fc.assert(fc.property(plans, plan => {
    const lpm = Lpm.create(arena, 'routes', { family: 4, routes: 300, groups: 300, rootBits: plan.rootBits as 8 | 16, entryBytes: plan.entryBytes as 2 | 4 });
    const adjacencies = Adjacencies.create(arena, 'adjacencies', ADJACENCIES);
    const forwarder = new Forwarder(arena, lpm, adjacencies, { ...(plan.station ? { station: Uint8Array.from(STATION) } : {}), checksum: plan.checksum });
    try {
      for (let first = 0; first < 256; first++) if (hopOf(first) !== undefined || first >= 224) lpm.add(first * 2 ** 24, 8, hopOf(first) ?? 1);
      lpm.add('7.1.0.0', 16, 34);
      lpm.add('7.1.1.128', 25, 33);
      for (let hop = 0; hop < ADJACENCIES; hop++) adjacencies.set(hop, { ...macs(hop), value: hop * 3 });
      for (const hop of plan.unknown) adjacencies.delete(hop);
      // Half of the time no frame is short, so that the quick way is taken.
      const list = plan.wholesome ? plan.list.map(packet => ({ ...packet, length: Math.max(34, packet.length) })) : plan.list;
      const zone = arena.zones().find(({ name }) => name.startsWith('forwarder/'))!;
      const frames = list.map(frameOf);
      const wanted = list.map((packet, i) => expected(packet, frames[i]!, plan));
      const compared = ['pool/buffers', 'routes', 'adjacencies', zone.name].map(name => arena.find(name));
      const fill = (): void => {
        arena.u8.fill(0x5a, pool.buffers.offset, pool.buffers.offset + pool.buffers.length);
        arena.u8.fill(0x5a, zone.offset + FORWARD_VALUES, zone.offset + zone.length);
        list.forEach(({ length, dataOff }, i) => {
          const header = pool.mbufs.header(burst.handles[i]!) >>> 1;
          arena.u16[header] = dataOff;
          arena.u16[header + 10] = length;
          arena.u32[(header >>> 1) + 4] = length;
          arena.u8.set(frames[i]!, pool.mbufs.data(burst.handles[i]!));
        });
      };
      const after = functions.map(({ forward4 }) => {
        fill();
        const left = forward4(zone.offset, burst.offset, list.length);
        if (left !== wanted.filter(({ value }) => value === ADJACENCY_NONE).length) throw new Error(`said that ${left} were left`);
        wanted.forEach(({ bytes, value }, i) => {
          const at = pool.mbufs.data(burst.handles[i]!);
          if (forwarder.values[i] !== value) throw new Error(`packet ${i} goes to ${forwarder.values[i]}, not to ${value}`);
          if (!Buffer.from(arena.u8.subarray(at, at + 80)).equals(Buffer.from(bytes))) throw new Error(`packet ${i} is ${Buffer.from(arena.u8.slice(at, at + 40)).toString('hex')}, not ${Buffer.from(bytes).subarray(0, 40).toString('hex')}`);
        });
        arena.u8.fill(0, zone.offset + FORWARD_FRAMES, zone.offset + zone.length); // the burst module's own
        arena.u8.fill(0, zone.offset + FORWARD_DUMP, zone.offset + FORWARD_VALUES);
        return compared.map(({ offset, length }) => Buffer.from(arena.u8.slice(offset, offset + length)));
      });
      for (const [i, zones] of after.entries()) zones.forEach((bytes, k) => {
        if (!bytes.equals(after[0]![k]!)) throw new Error(`${BUILDS[i]}: ${compared[k]!.name} differs from the twin's`);
      });
      for (const { value } of wanted) seen[value === ADJACENCY_NONE ? 'left' : 'forwarded']++;
      if (list.length >= 8 && plan.wholesome) seen.bulk++;
    } finally {
      forwarder.close();
      adjacencies.close();
      lpm.close();
    }
  }), { numRuns: 200 });
  t.ok(seen.forwarded > 1000 && seen.left > 1000 && seen.bulk > 20, JSON.stringify(seen));
});

t.test('a table of adjacencies: what is set is found, by another thread\'s object too', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const zones = arena.zones().length;
  const adjacencies = Adjacencies.create(arena, 'adjacencies', 3);
  const adjacency = { ...macs(9), value: 0x7fffffff };
  adjacencies.set(2, adjacency);
  t.same(adjacencies.get(2), adjacency);
  t.equal(adjacencies.get(0), undefined);
  const other = Arena.attach(arena.share());
  t.same(Adjacencies.find(other, 'adjacencies').get(2), adjacency);
  t.equal(codeThrown(() => Adjacencies.find(other, 'adjacencies').set(0, adjacency)), 'ETHREAD');
  t.match(adjacencies.toJSON(), { kind: 'adjacencies', capacity: 3, known: 1, bytes: 112 });
  t.ok(adjacencies.delete(2));
  t.notOk(adjacencies.delete(2));
  t.equal(adjacencies.get(2), undefined);
  adjacencies.release();
  Adjacencies.find(other, 'adjacencies').set(0, adjacency);
  t.same(adjacencies.get(0), adjacency);
  other.close();
  for (const hop of [-1, 3, 0.5, NaN]) t.equal(codeThrown(() => adjacencies.set(hop, adjacency)), 'EOPTION', `next hop ${hop}`);
  for (const value of [-1, 2 ** 31, 1.5, NaN]) t.equal(codeThrown(() => adjacencies.set(0, { ...adjacency, value })), 'EOPTION', `value ${value}`);
  t.equal(codeThrown(() => adjacencies.set(0, { ...adjacency, source: new Uint8Array(5) })), 'EOPTION');
  for (const entries of [0, -1, 2 ** 20 + 1, NaN]) t.equal(codeThrown(() => Adjacencies.create(arena, 'bad', entries)), 'EOPTION', `${entries} entries`);
  t.equal(codeThrown(() => Adjacencies.find(arena, 'nothing')), 'ENOTFOUND');
  adjacencies.close();
  t.equal(arena.zones().length, zones);
});

t.test('a forwarder refuses what is not for it, and does nothing when a burst is shorter or it is closed', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 32, hugePages: 'never' });
  const routes = Lpm.create(arena, 'routes', { family: 4, routes: 10, rootBits: 8 });
  const six = Lpm.create(arena, 'six', { family: 6, routes: 10, rootBits: 8 });
  const adjacencies = Adjacencies.create(arena, 'adjacencies', 4);
  t.equal(codeThrown(() => new Forwarder(arena, six, adjacencies)), 'EOPTION');
  t.equal(codeThrown(() => new Forwarder(arena, routes, adjacencies, { station: new Uint8Array(4) })), 'EOPTION');
  const forwarder = new Forwarder(arena, routes, adjacencies);
  const burst = pool.burst(8);
  pool.alloc(burst, 8);
  routes.add('10.0.0.0', 8, 1);
  adjacencies.set(1, { ...macs(1), value: 5 });
  const packet: Packet = { type: 0x0800, first: 0x45, ttl: 3, checksum: -1, address: [10, 1, 2, 3], station: true, totalLength: 46, length: 80, dataOff: 256 };
  for (const handle of burst.handles) pool.mbufs.copyIn(handle, Uint8Array.from(frameOf(packet, 0)));
  t.equal(forwarder.forward(burst, 9), 0, 'more than the burst holds');
  t.equal(forwarder.forward(burst, -1), 0);
  t.equal(forwarder.forward(burst, NaN), 0);
  t.equal(pool.mbufs.u8[pool.mbufs.data(burst.handles[0]!) + 22], 3, 'as it was');
  t.equal(forwarder.forward(burst, 8), 0, 'none is left');
  t.same([...forwarder.values.subarray(0, 8)], Array(8).fill(5));
  t.equal(forwarder.forward(burst, 8), 0);
  t.equal(forwarder.forward(burst, 8), 8, 'no hop left: a router must say so to the sender');
  forwarder.close();
  forwarder.close();
  t.equal(forwarder.forward(burst, 8), 0);
  t.notOk(arena.zones().some(({ name }) => name.startsWith('forwarder/')));
  // What a thread that died under this lcore has left.
  for (let i = 0; i < 600; i++) arena.reserve(`forwarder/${arena.lcore}/${i}`, 64);
  const later = new Forwarder(arena, routes, adjacencies);
  t.equal(later.forward(burst, 8), 8);
  later.close();
});
