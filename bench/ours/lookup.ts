/**
 * The lookups against bench/peers/lookup.c: `lookup WHAT --file FILE --seconds S --cpu N`. Cycles of the time-stamp counter
 * per operation, the median of slices; `check` is the exclusive-or of what was found, so that both can be seen to do the same.
 */
import { Arena } from '../../lib/arena/arena.js';
import { burstFunctions } from '../../lib/burst/module.js';
import { Acl } from '../../lib/lookup/acl.js';
import { HashTable } from '../../lib/lookup/hash.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { Vector } from '../../lib/lookup/vector.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { parseArgs } from 'node:util';
import { cyclesPerSecond, pin, print } from './common.js';
import { l3fwdPlainSlice, l3fwdSlice, prepareFrames } from './l3fwd.js';
import { NEXT_HOPS, readWords, RULES, toAclRules, TUPLES, type RuleWords } from './lookup_data.js';
import { randomWords } from './random.js';

const BURST = 32;
const BATCH = 4096;
/** A part of the routes is enough to see what an add costs rte_lpm, whose time for each grows with their number. */
const ADD_SHARE = 8;
const KEYS = 393216;
const CAPACITY = 524288;
/** Packets of the forwarding, each to an address of its own: many, so that many of the routes are met, or few. */
const PACKETS = 65536;
const FEW_PACKETS = 4096;

const { values, positionals } = parseArgs({ allowPositionals: true, options: { file: { type: 'string' }, seconds: { type: 'string', default: '1' }, cpu: { type: 'string', default: '-1' }, 'other-cpu': { type: 'string' } } });
const seconds = Number(values.seconds);
pin(Number(values.cpu));
const perNanosecond = cyclesPerSecond() / 1e9;
const arena = Arena.create({ size: 512 << 20 });

const runs: Readonly<Record<string, () => { cycles: number; check: number }>> = { 'lpm-lookup': lpmLookup, 'lpm-add': () => lpmAdd(ADD_SHARE), 'lpm-add-all': () => lpmAdd(1), 'hash-lookup': hashLookup, 'hash-add': hashAdd, acl, l3fwd: () => l3fwd(PACKETS, false), 'l3fwd-few': () => l3fwd(FEW_PACKETS, false), 'l3fwd-plain': () => l3fwd(PACKETS, true), 'l3fwd-few-plain': () => l3fwd(FEW_PACKETS, true) };
print(runs[positionals[0]]());

/** Median of what `slice` says that it took, in nanoseconds per operation, without the first eighth. */
function median(slice: () => number, least = 8): number {
  const found: number[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until || found.length < least;) found.push(slice());
  const sorted = found.slice(found.length >> 3).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] * perNanosecond;
}

function filled(every = 1): { lpm: Lpm; cycles: number } {
  const words = readWords(values.file!);
  const lpm = Lpm.create(arena, 'routes', { family: 4, routes: 1 << 21, groups: 2048, hugePages: 'try' });
  let routes = 0;
  const start = performance.now();
  for (let at = 1; at < words.length; at += 3 * every, routes++) lpm.add(words[at], words[at + 1], words[at + 2]);
  return { lpm, cycles: (performance.now() - start) * 1e6 / routes * perNanosecond };
}

function lpmLookup(): { cycles: number; check: number } {
  const { lpm } = filled();
  const next = randomWords(1);
  const vectors = Array.from({ length: BATCH / BURST }, () => lpm.addresses(BURST));
  const nextHops = new Vector(arena, BURST);
  let check = 0;
  let batches = 0;
  const cycles = median(() => {
    for (const { u32 } of vectors) for (let i = 0; i < BURST; i++) u32[i] = next();
    const start = performance.now();
    for (const addresses of vectors) lpm.lookupBulk(addresses, nextHops, BURST);
    const took = (performance.now() - start) * 1e6 / BATCH;
    if (batches++ < 8) for (const addresses of vectors) check = look(lpm, addresses, nextHops, check);
    return took;
  });
  return { cycles, check };
}

function look(lpm: Lpm, addresses: Vector, nextHops: Vector, check: number): number {
  lpm.lookupBulk(addresses, nextHops, BURST);
  for (const nextHop of nextHops.u32) check = (Math.imul(check, 31) + nextHop) >>> 0;
  return check;
}

function lpmAdd(every: number): { cycles: number; check: number } {
  const found: number[] = [];
  for (let round = 0; round < 3; round++) {
    const { lpm, cycles } = filled(every);
    found.push(cycles);
    lpm.close();
  }
  return { cycles: found.sort((a, b) => a - b)[1], check: 0 };
}

/** Keys one behind the other, then the same in another order, in which they are looked up. */
function keysOf(): { keys: number; shuffled: number } {
  const next = randomWords(1);
  const keys = arena.reserve('keys', KEYS * 16).offset;
  const shuffled = arena.reserve('shuffled', KEYS * 16).offset;
  for (let i = 0; i < KEYS * 4; i++) arena.u32[(keys >>> 2) + i] = next();
  arena.u8.copyWithin(shuffled, keys, keys + KEYS * 16);
  for (let i = KEYS - 1; i > 0; i--) swap(shuffled >>> 2, i, next() % (i + 1));
  return { keys, shuffled };
}

function swap(words: number, a: number, b: number): void {
  const { u32 } = arena;
  for (let i = 0; i < 4; i++) {
    const kept = u32[words + a * 4 + i];
    u32[words + a * 4 + i] = u32[words + b * 4 + i];
    u32[words + b * 4 + i] = kept;
  }
}

function addAll(table: HashTable, keys: number): number {
  const { hashAdd: add } = burstFunctions(arena);
  const numbers = new Vector(arena, BURST);
  const start = performance.now();
  for (let i = 0; i < KEYS; i += BURST) {
    for (let k = 0; k < BURST; k++) numbers.u32[k] = i + k;
    add(table.offset, keys + i * 16, 16, numbers.offset, BURST, 0);
  }
  const took = (performance.now() - start) * 1e6 / KEYS;
  numbers.close();
  return took;
}

function hashAdd(): { cycles: number; check: number } {
  const { keys } = keysOf();
  const cycles = median(() => {
    const table = HashTable.create(arena, 'table', { entries: CAPACITY, keyBytes: 16, hugePages: 'try' });
    const took = addAll(table, keys);
    if (table.count !== KEYS) throw new Error(`${table.count} keys`);
    table.close();
    return took;
  }, 9);
  return { cycles, check: KEYS };
}

function hashLookup(): { cycles: number; check: number } {
  const { keys, shuffled } = keysOf();
  const table = HashTable.create(arena, 'table', { entries: CAPACITY, keyBytes: 16, hugePages: 'try' });
  addAll(table, keys);
  const { hashLookup: lookup } = burstFunctions(arena);
  const found = new Vector(arena, BURST);
  let check = 0;
  const cycles = median(() => {
    let hits = 0;
    const start = performance.now();
    for (let i = 0; i < KEYS; i += BURST) hits += lookup(table.offset, shuffled + i * 16, 16, found.offset, BURST, 0);
    check = hits;
    return (performance.now() - start) * 1e6 / KEYS;
  });
  return { cycles, check };
}

function acl(): { cycles: number; check: number } {
  const words = readWords(values.file!);
  const rules = Array.from({ length: RULES }, (_, i) => Array.from(words.subarray(1 + i * 10, 11 + i * 10)) as unknown as RuleWords);
  const table = Acl.create(arena, 'acl');
  table.build(toAclRules(rules));
  const packets = arena.reserve('packets', TUPLES * 16).offset;
  arena.u32.set(words.subarray(2 + RULES * 10, 2 + RULES * 10 + TUPLES * 4), packets >>> 2);
  const { aclClassify } = burstFunctions(arena);
  const found = new Vector(arena, BURST);
  let check = 0;
  const cycles = median(() => {
    const start = performance.now();
    for (let i = 0; i < TUPLES; i += BURST) aclClassify(table.offset, packets + i * 16, found.offset, BURST);
    return (performance.now() - start) * 1e6 / TUPLES;
  });
  for (let i = 0; i < TUPLES; i += BURST) {
    aclClassify(table.offset, packets + i * 16, found.offset, BURST);
    for (const value of found.u32) check = (Math.imul(check, 31) + value + 1) >>> 0;
  }
  return { cycles, check };
}

/** Frames are spread over the cache's sets, as rte_mempool pads its objects so that they are. */
function l3fwd(packets: number, plain: boolean): { cycles: number; check: number } {
  const { lpm } = filled();
  const pool = Mempool.create(arena, 'pool', { count: packets, spread: 8, hugePages: 'try' });
  const frames = prepareFrames(lpm, pool, packets, NEXT_HOPS);
  const cycles = median(() => {
    frames.restore();
    const start = performance.now();
    if (plain) for (let round = 0; round < 16; round++) l3fwdPlainSlice(lpm, pool.mbufs, frames);
    else for (let round = 0; round < 16; round++) l3fwdSlice(frames);
    return (performance.now() - start) * 1e6 / 16 / packets;
  });
  return { cycles, check: frames.check() };
}
