import fc from 'fast-check';
import t from 'tap';
import { addressBytes, addressText } from '../../lib/address.js';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';
import { LPM_NONE } from '../../lib/lookup/lpm_layout.js';
import { Lpm, type LpmOptions } from '../../lib/lookup/lpm.js';
import { Vector } from '../../lib/lookup/vector.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { codeThrown } from '../kernel/rights.js';

const BUILDS = ['fast', 'portable', 'checking', 'twin'] as const;
type Shape = Required<Pick<LpmOptions, 'family' | 'rootBits' | 'entryBytes'>>;
interface Command { readonly bytes: readonly number[]; readonly depth: number; readonly nextHop: number; readonly remove: boolean }

/** Bytes of few values, so that routes cover one another. */
function addresses(family: 4 | 6): fc.Arbitrary<number[]> {
  return fc.array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 });
}

const shapes: fc.Arbitrary<Shape> = fc.record({ family: fc.constantFrom(4, 6), rootBits: fc.constantFrom(8, 16), entryBytes: fc.constantFrom(2, 4) });
const plans = shapes.chain(shape => fc.record({
  shape: fc.constant(shape),
  commands: fc.array(fc.record({
    bytes: addresses(shape.family), depth: fc.nat(shape.family === 4 ? 32 : 128), nextHop: fc.nat(32766), remove: fc.boolean(),
  }), { minLength: 1, maxLength: 60 }),
  probes: fc.array(addresses(shape.family), { minLength: 1, maxLength: 37 }),
}));

function masked(bytes: readonly number[], depth: number): number[] {
  return bytes.map((byte, i) => byte & (depth >= i * 8 + 8 ? 0xff : depth <= i * 8 ? 0 : 0xff00 >> (depth - i * 8)) & 0xff);
}

/** Routes by "prefix/depth"; the longest that covers an address is found by trying them all. */
class Model {
  readonly routes = new Map<string, Command>();

  apply({ bytes, depth, nextHop, remove }: Command): boolean {
    const key = `${masked(bytes, depth).join('.')}/${depth}`;
    const known = this.routes.has(key);
    if (remove) return this.routes.delete(key);
    this.routes.set(key, { bytes: masked(bytes, depth), depth, nextHop, remove });
    return !known;
  }

  lookup(address: readonly number[]): number {
    let best: Command | undefined;
    for (const route of this.routes.values()) {
      if (masked(address, route.depth).every((byte, i) => byte === route.bytes[i]) && route.depth >= (best?.depth ?? 0)) best = route;
    }
    return best?.nextHop ?? LPM_NONE;
  }
}

function made(build: BurstBuild): Arena {
  process.env['POLLMODE_BURST'] = build;
  try {
    const arena = Arena.create({ size: MIN_ARENA });
    Lpm.create(arena, 'first', { family: 4, routes: 1, groups: 1, rootBits: 8 }).close();
    return arena;
  } finally {
    delete process.env['POLLMODE_BURST'];
  }
}

function apply(lpm: Lpm, { bytes, depth, nextHop, remove }: Command): boolean {
  const prefix = Uint8Array.from(masked(bytes, depth));
  return remove ? lpm.delete(prefix, depth) : lpm.add(prefix, depth, nextHop);
}

function writeAddresses(lpm: Lpm, vector: Vector, list: readonly (readonly number[])[]): void {
  list.forEach((bytes, i) => {
    if (lpm.family === 4) vector.u32[i] = new DataView(Uint8Array.from(bytes).buffer).getUint32(0);
    else vector.u8.set(bytes, i * 16);
  });
}

t.test('any adds and deletes: every build finds what trying all routes finds; without routes no group is left', async t => {
  const arena = made('fast');
  const functions = BUILDS.map(build => instantiate(arena.memory, build));
  let deleted = 0;
  fc.assert(fc.property(plans, ({ shape, commands, probes }) => {
    const lpm = Lpm.create(arena, 'table', { ...shape, routes: 100, groups: 1000 });
    const [vector, nextHops] = [lpm.addresses(40), new Vector(arena, 40)];
    try {
      const model = new Model();
      const wanted = [...probes, ...commands.map(({ bytes }) => bytes)].slice(0, 40);
      for (const command of commands) {
        if (apply(lpm, command) !== model.apply(command)) throw new Error('new or not, there or not');
        if (command.remove) deleted++;
        writeAddresses(lpm, vector, wanted);
        for (const { lpm4Lookup, lpm6Lookup } of functions) {
          (shape.family === 4 ? lpm4Lookup : lpm6Lookup)(lpm.offset, vector.offset, nextHops.offset, wanted.length);
          wanted.forEach((address, i) => {
            if (nextHops.u32[i] !== model.lookup(address)) throw new Error(`${addressText(address)}: ${nextHops.u32[i]}, not ${model.lookup(address)}`);
          });
        }
        if (lpm.count !== model.routes.size) throw new Error('the count');
      }
      const listed = [...lpm.routes()].map(({ prefix, depth, nextHop }) => `${addressBytes(prefix).join('.')}/${depth} ${nextHop}`).sort();
      const expected = [...model.routes].map(([key, { nextHop }]) => `${key} ${nextHop}`).sort();
      if (JSON.stringify(listed) !== JSON.stringify(expected)) throw new Error('the list of routes');
      for (const { prefix, depth } of [...lpm.routes()]) lpm.delete(prefix, depth);
      const { groups } = lpm.toJSON() as { groups: { used: number } };
      if (groups.used !== 0 || wanted.some(address => lpm.lookup(Uint8Array.from(address)) !== undefined)) throw new Error('something is left');
    } finally {
      vector.close();
      nextHops.close();
      lpm.close();
    }
  }), { numRuns: 300 });
  t.ok(deleted > 500, `${deleted} deletions`);
});

t.test('addresses in packets: every build finds what a lookup by hand finds, and nothing in what is too short', async t => {
  const arena = made('fast');
  const pool = Mempool.create(arena, 'pool', { count: 64, hugePages: 'never' });
  const functions = BUILDS.map(build => instantiate(arena.memory, build));
  const [burst, nextHops] = [pool.burst(16), new Vector(arena, 16)];
  let short = 0;
  const packets = fc.record({ family: fc.constantFrom(4, 6), entryBytes: fc.constantFrom(2, 4), lengths: fc.array(fc.nat(80), { minLength: 1, maxLength: 16 }), place: fc.oneof(fc.nat(60), fc.constant(0xffffffff)), headroom: fc.nat(255), seed: fc.nat() });
  fc.assert(fc.property(packets, ({ family, entryBytes, lengths, place, headroom, seed }) => {
    const lpm = Lpm.create(arena, 'table', { family: family as 4 | 6, entryBytes: entryBytes as 2 | 4, rootBits: 8, routes: 600, groups: 20 });
    for (let byte = 0; byte < 256; byte++) lpm.add(Uint8Array.from({ length: family === 4 ? 4 : 16 }, (_, i) => i === 0 ? byte : 0), 8, byte);
    lpm.add(Uint8Array.from({ length: family === 4 ? 4 : 16 }, (_, i) => i < 2 ? 7 : 0), 16, 777);
    pool.alloc(burst, lengths.length);
    const wanted = lengths.map((length, i) => {
      const handle = burst.handles[i];
      pool.mbufs.copyIn(handle, Uint8Array.from({ length }, (_, k) => (k + seed + i) % 9));
      if (headroom < length) pool.mbufs.adjust(handle, headroom);
      const left = headroom < length ? length - headroom : length;
      const bytes = family === 4 ? 4 : 16;
      if (place + bytes > left) {
        short++;
        return LPM_NONE;
      }
      const at = pool.mbufs.data(handle) + place;
      return lpm.lookup(arena.u8.slice(at, at + bytes)) ?? LPM_NONE;
    });
    for (const { lpm4Mbufs, lpm6Mbufs } of functions) {
      (family === 4 ? lpm4Mbufs : lpm6Mbufs)(lpm.offset, arena.table, burst.offset, place, nextHops.offset, lengths.length);
      if (wanted.join() !== nextHops.u32.subarray(0, lengths.length).join()) throw new Error(`found ${nextHops.u32.join()}, wanted ${wanted.join()}`);
    }
    pool.free(burst, 0, lengths.length);
    lpm.close();
  }), { numRuns: 300 });
  t.ok(short > 100, `${short} were too short`);
});

t.test('lockstep: tables whose routes were written by way of fast and of twin are the same to the byte', async t => {
  const arenas = [made('fast'), made('twin')];
  fc.assert(fc.property(plans, ({ shape, commands }) => {
    const tables = arenas.map(arena => Lpm.create(arena, 'table', { ...shape, routes: 100, groups: 300 }));
    // The multipliers of their hash tables are random: let them be the same.
    const [from, to] = arenas.map(arena => arena.find('table/routes').offset + 64);
    arenas[1].u8.set(arenas[0].u8.subarray(from, from + 136), to);
    try {
      for (const command of commands) {
        const [left, right] = tables.map(table => apply(table, command));
        if (left !== right) throw new Error('one said new, one not');
      }
      for (const name of ['table', 'table/writer', 'table/routes']) {
        const [left, right] = arenas.map(arena => Buffer.from(arena.buffer, arena.find(name).offset, arena.find(name).length));
        if (!left.equals(right)) throw new Error(`${name} differs`);
      }
    } finally {
      for (const table of tables) table.close();
    }
  }), { numRuns: 150 });
  t.pass('all three zones');
});

t.test('the default root of 24 bits, both families', async t => {
  const arena = Arena.create({ size: 384 << 20 });
  const four = Lpm.create(arena, 'four', { family: 4, routes: 1000 });
  four.add('0.0.0.0', 0, 1);
  four.add('10.0.0.0', 8, 2);
  four.add('10.1.2.0', 24, 3);
  four.add('10.1.2.128', 25, 4);
  four.add('255.255.255.255', 32, 32766);
  const seen = (): (number | undefined)[] => ['9.9.9.9', '10.9.9.9', '10.1.2.127', '10.1.2.128', '255.255.255.255', '255.255.255.254'].map(address => four.lookup(address));
  t.same(seen(), [1, 2, 3, 4, 32766, 1]);
  t.equal(four.get('10.0.0.0', 8), 2);
  t.notOk(four.add('10.0.0.0', 8, 5), 'another next hop');
  four.delete('10.1.2.0', 24);
  t.same(seen(), [1, 5, 5, 4, 32766, 1], 'the covering route is back, the longer one stays');
  t.notOk(four.delete('10.1.2.0', 24));
  four.delete('0.0.0.0', 0);
  t.same(seen(), [undefined, 5, 5, 4, 32766, undefined]);
  t.match(four.toJSON(), { kind: 'lpm', family: 4, routes: 3, groups: { used: 2, max: 2048 }, depths: { 8: 1, 25: 1, 32: 1 } });
  four.close();
  const six = Lpm.create(arena, 'six', { family: 6, routes: 1000 });
  six.add('2001:db8::', 32, 7);
  six.add('2001:db8:1::', 48, 8);
  six.add('2001:db8:1::1', 128, 0x7ffffffe);
  t.same(['2001:db8:2::', '2001:db8:1::2', '2001:db8:1::1', '2001:db9::'].map(address => six.lookup(address)), [7, 8, 0x7ffffffe, undefined]);
  t.same([...six.routes()].map(({ prefix, depth }) => `${prefix}/${depth}`).sort(), ['2001:db8:1::/48', '2001:db8:1::1/128', '2001:db8::/32']);
  const other = Arena.attach(arena.share());
  t.equal(Lpm.find(other, 'six').lookup('2001:db8:1::9'), 8, 'from another thread\'s object');
  t.equal(codeThrown(() => Lpm.find(other, 'six').add('::', 0, 1)), 'ETHREAD');
  other.close();
  arena.close();
});

t.test('full tables and absurd routes change nothing', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const lpm = Lpm.create(arena, 'table', { family: 4, routes: 3, groups: 2, rootBits: 16 });
  lpm.add('10.0.0.0', 24, 1);
  t.equal(codeThrown(() => lpm.add('10.1.0.0', 32, 2)), 'ETABLEFULL', 'two groups more');
  lpm.add('10.1.0.0', 16, 2);
  lpm.add('10.1.1.0', 24, 3);
  t.equal(codeThrown(() => lpm.add('11.0.0.0', 8, 4)), 'ETABLEFULL', 'a fourth route');
  t.same([lpm.lookup('10.1.0.0'), lpm.lookup('11.0.0.0'), lpm.count], [2, undefined, 3]);
  t.match(lpm.toJSON(), { full: 2, groups: { used: 2 } });
  lpm.delete('10.0.0.0', 24);
  lpm.add('10.2.0.0', 24, 9);
  t.match(lpm.toJSON(), { groups: { used: 2, reuses: 1 } });
  for (const [prefix, depth, nextHop] of [['10.0.0.1', 24, 1], ['10.0.0.0', 33, 1], ['10.0.0.0', -1, 1], ['10.0.0.0', 1.5, 1], ['10.0.0.0', 8, -1], ['10.0.0.0', 8, 32767], ['10.0.0.0', 8, NaN], ['::', 8, 1], ['x', 8, 1], [2 ** 32, 8, 1], [-1, 8, 1]] as const) {
    t.equal(codeThrown(() => lpm.add(prefix, depth, nextHop)), 'EOPTION', `${prefix}/${depth} to ${nextHop}`);
  }
  t.throws(() => lpm.add('10.77.1.1', 8, 1), { message: 'LPM: 10.77.1.1/8 has bits behind its length: write 10.0.0.0/8, or 10.77.1.1/32 for the one address.' });
  const zones = arena.zones().length;
  for (const options of [{ family: 5 as 4 }, { routes: 0 }, { groups: 0 }, { groups: 0x8001 }, { rootBits: 12 as 8 }, { entryBytes: 3 as 2 }]) {
    t.equal(codeThrown(() => Lpm.create(arena, 'bad', { family: 4, routes: 10, rootBits: 8, ...options })), 'EOPTION', JSON.stringify(options));
  }
  t.equal(codeThrown(() => Lpm.create(arena, 'large', { family: 4, routes: 10 })), 'EARENAFULL', 'a root of 24 bits in 16 MiB');
  t.equal(codeThrown(() => Lpm.find(arena, 'table/routes')), 'ENOTFOUND');
  t.equal(arena.zones().length, zones, 'and nothing is left of what could not be made');
});

t.test('addresses as text', async t => {
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }), addresses(6)), bytes => {
    if (addressBytes(addressText(bytes)).join() !== Array.from(bytes).join()) throw new Error(addressText(bytes));
  }));
  const pairs = [['::', '::'], ['1::', '1::'], ['::1', '::1'], ['1:0:0:2:0:0:0:3', '1:0:0:2::3'], ['2001:DB8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1']];
  for (const [text, canonical] of pairs) t.equal(addressText(addressBytes(text)), canonical);
});
