import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { RX_RSS_HASH } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { DEFAULT_KEY } from '../../lib/rss/keys.js';
import { RSS_BYTES, RSS_IPV4, RSS_IPV6 } from '../../lib/rss/layout.js';
import { DEFAULT_TYPES, Rss } from '../../lib/rss/rss.js';
import { addressBytes } from '../../lib/address.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { codeThrown } from '../kernel/rights.js';
import { frameOf, frames } from './frames_helper.js';

/**
 * "Verifying the RSS Hash Calculation", Microsoft's documentation of NDIS: destination, source, hash of the addresses,
 * hash with the ports. The Intel 82576 and 82599 datasheets print the same.
 */
const PUBLISHED: [string, number, string, number, number, number][] = [
  ['161.142.100.80', 1766, '66.9.149.187', 2794, 0x323e8fc2, 0x51ccc178],
  ['65.69.140.83', 4739, '199.92.111.2', 14230, 0xd718262a, 0xc626b0ea],
  ['12.22.207.184', 38024, '24.19.198.95', 12898, 0xd2d0a5de, 0x5c2b394a],
  ['209.142.163.6', 2217, '38.27.205.30', 48228, 0x82989176, 0xafc7327f],
  ['202.188.127.2', 1303, '153.39.163.191', 44251, 0x5d1809c5, 0x10e828a2],
  ['3ffe:2501:200:3::1', 1766, '3ffe:2501:200:1fff::7', 2794, 0x2cc18cd5, 0x40207d3d],
  ['ff02::1', 4739, '3ffe:501:8::260:97ff:fe40:efab', 14230, 0x0f0c461c, 0xdde51bbf],
  ['fe80::200:f8ff:fe21:67cf', 38024, '3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 0x4b61e985, 0x02d1feef],
];
const BUILDS = ['fast', 'checking', 'twin'] as const;

t.test('the published verification vectors', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 64, hugePages: 'never' });
  const [rss, addressesOnly] = [Rss.create(arena, 'rss'), Rss.create(arena, 'addresses', { types: RSS_IPV4 | RSS_IPV6 })];
  const burst = pool.burst(1);
  const inputs = arena.reserve('inputs', 64);
  for (const [destination, destinationPort, source, sourcePort, plain, ported] of PUBLISHED) {
    const flow: Flow = { source, destination, protocol: 'tcp', sourcePort, destinationPort };
    t.equal(rss.hashFlow(flow), ported, `${source} to ${destination}, with ports`);
    t.equal(addressesOnly.hashFlow(flow), plain, 'addresses alone');
    const input = [...addressBytes(source), ...addressBytes(destination), sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255];
    arena.u8.set(input, inputs.offset);
    pool.alloc(burst, 1);
    pool.mbufs.copyIn(burst.handles[0]!, frameOf({ ...flow, tags: 0, extensions: [], fragment: false }));
    for (const build of BUILDS) {
      const functions = instantiate(arena.memory, build);
      functions.toeplitz(rss.offset, inputs.offset, 40, input.length, burst.offset + 0, 0);
      functions.toeplitz(rss.offset, inputs.offset, 40, input.length, inputs.offset + 48, 1);
      t.equal(arena.u32[(inputs.offset + 48) >>> 2], ported, `${build}: of the bytes`);
      t.equal(functions.rssHash(rss.offset, arena.table, burst.offset, 1), 1);
      t.equal(pool.mbufs.hash(burst.handles[0]!), ported, `${build}: of a frame`);
      functions.rssHash(addressesOnly.offset, arena.table, burst.offset, 1);
      t.equal(pool.mbufs.hash(burst.handles[0]!), plain, `${build}: of a frame, addresses alone`);
    }
    pool.free(burst, 0, 1);
  }
});

t.test('fast, checking and twin hash any frame alike, whatever is in it', async t => {
  const made = BUILDS.map(build => {
    const arena = Arena.create({ size: MIN_ARENA });
    const pool = Mempool.create(arena, 'pool', { count: 64, hugePages: 'never' });
    return { arena, pool, rss: Rss.create(arena, 'rss'), burst: pool.burst(16), functions: instantiate(arena.memory, build) };
  });
  let hashed = 0;
  fc.assert(fc.property(fc.array(frames, { minLength: 1, maxLength: 16 }), fc.integer({ min: 0, max: 255 }), (list, types) => {
    const results = made.map(({ arena, pool, rss, burst, functions }) => {
      arena.u32[(rss.offset + 8) >>> 2] = types;
      pool.alloc(burst, list.length);
      list.forEach((bytes, i) => pool.mbufs.copyIn(burst.handles[i]!, bytes));
      const count = functions.rssHash(rss.offset, arena.table, burst.offset, list.length);
      const hashes = list.map((_, i) => [pool.mbufs.hash(burst.handles[i]!), pool.mbufs.flags(burst.handles[i]!) & RX_RSS_HASH]);
      pool.free(burst, 0, list.length);
      return JSON.stringify([count, hashes, Array.from(arena.u32.subarray(rss.offset >>> 2, (rss.offset + 64) >>> 2))]);
    });
    if (new Set(results).size !== 1) throw new Error(results.join('\n'));
    hashed += Number(/^\[(\d+)/.exec(results[0]!)![1]);
  }), { numRuns: 2000 });
  t.ok(hashed > 1000, `${hashed} of them had something to hash`);
  t.equal(new Set(made.map(({ arena, rss }) => Buffer.from(arena.u8.slice(rss.offset, rss.offset + RSS_BYTES)).toString('base64'))).size, 1, 'the state is the same to the byte');
});

t.test('a frame hashes as its flow does, tags and extension headers or not; fragments by their addresses', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const pool = Mempool.create(arena, 'pool', { count: 64, hugePages: 'never' });
  const rss = Rss.create(arena, 'rss', { types: 255 });
  const burst = pool.burst(1);
  const hashOf = (bytes: Uint8Array): number => {
    pool.alloc(burst, 1);
    pool.mbufs.copyIn(burst.handles[0]!, bytes);
    rss.hashBurst(burst, 1);
    const hash = pool.mbufs.hash(burst.handles[0]!);
    pool.free(burst, 0, 1);
    return hash;
  };
  const flows = fc.record({
    source: fc.oneof(fc.ipV4(), fc.ipV6()), destination: fc.oneof(fc.ipV4(), fc.ipV6()), protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
    sourcePort: fc.nat(65535), destinationPort: fc.nat(65535), tags: fc.nat(2), extensions: fc.array(fc.constantFrom(0, 43, 60), { maxLength: 7 }), fragment: fc.boolean(),
  }).filter(flow => flow.source.includes(':') === flow.destination.includes(':'));
  fc.assert(fc.property(flows, flow => {
    const expected = flow.fragment ? rss.hashFlow({ source: flow.source, destination: flow.destination }) : rss.hashFlow(flow as Flow);
    const found = hashOf(frameOf(flow as Parameters<typeof frameOf>[0]));
    if (found !== expected) throw new Error(`found ${found}, wanted ${expected}`);
  }), { numRuns: 1000 });
  t.pass('1000 flows');
});

t.test('keys', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const symmetric = Rss.create(arena, 'symmetric', { key: 'symmetric' });
  const plain = Rss.create(arena, 'plain');
  let differ = 0;
  fc.assert(fc.property(fc.ipV4(), fc.ipV4(), fc.nat(65535), fc.nat(65535), (a, b, p, q) => {
    const there: Flow = { source: a, destination: b, protocol: 'udp', sourcePort: p, destinationPort: q };
    const back: Flow = { source: b, destination: a, protocol: 'udp', sourcePort: q, destinationPort: p };
    if (symmetric.hashFlow(there) !== symmetric.hashFlow(back)) throw new Error('the ways differ');
    if (plain.hashFlow(there) !== plain.hashFlow(back)) differ++;
  }));
  t.ok(differ > 50, 'with the default key they differ');
  t.same(plain.key, DEFAULT_KEY);
  const long = Uint8Array.from({ length: 52 }, (_, i) => i * 7);
  t.same(Rss.create(arena, 'long', { key: long }).key, long, 'a key of 52 bytes is kept');
  for (const bad of [new Uint8Array(39), new Uint8Array(65), 'other' as 'default']) t.equal(codeThrown(() => Rss.create(arena, 'bad', { key: bad })), 'EOPTION');
  t.equal(codeThrown(() => Rss.create(arena, 'bad', { types: 256 })), 'EOPTION');
  t.equal(codeThrown(() => Rss.find(arena, 'nothing')), 'ENOTFOUND');
  t.equal(Rss.find(arena, 'plain').types, DEFAULT_TYPES);
  for (const bad of ['1.2.3', '::1%eth0', 'host', '']) t.equal(codeThrown(() => plain.hashFlow({ source: bad, destination: bad })), 'EOPTION');
  t.equal(codeThrown(() => plain.hashFlow({ source: '1.2.3.4', destination: '::1' })), 'EOPTION');
  t.same(addressBytes('::ffff:1.2.3.4').slice(10), [255, 255, 1, 2, 3, 4]);
});
