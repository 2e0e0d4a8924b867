/** The structures that bench/lookup_curves.ts grows: each made with so many entries, and a slice of lookups among them. */
import type { Arena } from '../../lib/arena/arena.js';
import type { HugePages } from '../../lib/arena/backing.js';
import { burstFunctions } from '../../lib/burst/module.js';
import { Acl } from '../../lib/lookup/acl.js';
import { ACL_RULES_MAX } from '../../lib/lookup/acl_layout.js';
import { HashTable } from '../../lib/lookup/hash.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import { Maglev } from '../../lib/lookup/maglev.js';
import { Vector } from '../../lib/lookup/vector.js';
import { makeRules, makeTuples, toAclRules } from './lookup_data.js';
import { randomWords } from './random.js';

const BURST = 32;
/** Lookups of a slice. */
const SLICE = 4096;

export interface Made {
  /** Bytes of the arena that are reserved for it. */
  readonly bytes: number;
  /** Nanoseconds of each lookup; the keys are new ones each time, and are made before the clock starts. */
  slice(): number;
}

export interface Structure {
  readonly name: string;
  readonly title: string;
  /** Entries at most, and what that comes from. */
  readonly most: number;
  readonly limit: string;
  /** Bytes of an arena that it fits in. */
  arena(entries: number): number;
  make(arena: Arena, entries: number, hugePages: HugePages): Made;
}

const MIB = 1 << 20;

export const STRUCTURES: readonly Structure[] = [
  {
    name: 'lpm4', title: 'LPM IPv4, root of 24 bits, entries of 2 bytes, routes /16 to /24', most: 10_000_000, limit: '2^24 routes; here as many as there are different ones',
    arena: entries => 96 * MIB + entries * 30, make: lpm4,
  },
  {
    name: 'lpm6', title: 'LPM IPv6, root of 24 bits, entries of 4 bytes, a /32 and 63 /48 in it', most: 10_000_000, limit: '2^24 routes, and groups of 1.3 KB that the arena\'s 4 GiB have room for: here one for each 12 routes',
    arena: entries => Math.min(4095 * MIB, 256 * MIB + entries * 200), make: lpm6,
  },
  { name: 'hash', title: 'Exact match, keys of 16 bytes', most: 10_000_000, limit: '2^24 entries', arena: entries => 64 * MIB + entries * 66, make: hash },
  { name: 'acl', title: 'ACL, 5-tuples of prefixes and port ranges', most: ACL_RULES_MAX, limit: `${ACL_RULES_MAX} rules`, arena: () => 512 * MIB, make: acl },
  { name: 'maglev', title: 'Maglev, entries are places of the table, a tenth as many backends', most: 2_097_143, limit: '2^21 places, a prime', arena: entries => 64 * MIB + entries * 8, make: maglev },
];

/** Runs `lookup(burst)` over a slice of bursts. */
function timed(lookup: (burst: number) => void): number {
  const start = performance.now();
  for (let burst = 0; burst < SLICE / BURST; burst++) lookup(burst);
  return (performance.now() - start) * 1e6 / SLICE;
}

function reserved(arena: Arena, before: number): number {
  return arena.zones().reduce((sum, { length }) => sum + length, 0) - before;
}

function used(arena: Arena): number {
  return reserved(arena, 0);
}

function lpm4(arena: Arena, entries: number, hugePages: HugePages): Made {
  const [next, before] = [randomWords(5), used(arena)];
  const lpm = Lpm.create(arena, 'lpm', { family: 4, routes: entries, hugePages });
  const prefixes = new Uint32Array(entries);
  while (lpm.count < entries) {
    // Most are /24, as in a real table; where those run out, any that is free.
    const depth = next() % 3 > 0 ? 24 : 16 + next() % 9;
    const prefix = (next() & (0xffffffff << (32 - depth))) >>> 0;
    const at = lpm.count;
    if (lpm.add(prefix, depth, at % 32767)) prefixes[at] = prefix;
  }
  const bytes = reserved(arena, before);
  const [vectors, nextHops, { lpm4Lookup }] = [arena.reserve('keys', SLICE * 4).offset, new Vector(arena, BURST), burstFunctions(arena)];
  return {
    bytes,
    slice() {
      for (let i = 0; i < SLICE; i++) arena.u32[(vectors >>> 2) + i] = prefixes[next() % entries];
      return timed(burst => lpm4Lookup(lpm.offset, vectors + burst * BURST * 4, nextHops.offset, BURST));
    },
  };
}

/** Sites of /32 under a few dozen /16, each with 63 networks of /48 in four /40. */
function lpm6(arena: Arena, entries: number, hugePages: HugePages): Made {
  const [next, before] = [randomWords(5), used(arena)];
  const lpm = Lpm.create(arena, 'lpm', { family: 6, routes: entries, groups: 11_000 + Math.ceil(entries / 12), hugePages });
  const words = new Uint32Array(entries * 2);
  const bytesOf = new Uint8Array(16);
  const view = new DataView(bytesOf.buffer);
  let [high, low] = [0, 0];
  while (lpm.count < entries) {
    const at = lpm.count;
    if (at % 64 === 0) [high, low] = [0x20000000 + (next() % 40) * 65536 + (next() & 0xffff), 0];
    else low = (next() % 4) * 2 ** 24 + (next() & 0xff) * 65536;
    view.setUint32(0, high);
    view.setUint32(4, low);
    if (lpm.add(bytesOf, at % 64 === 0 ? 32 : 48, at)) words.set([high, low], at * 2);
  }
  const bytes = reserved(arena, before);
  const [vectors, nextHops, { lpm6Lookup }] = [arena.reserve('keys', SLICE * 16).offset, new Vector(arena, BURST), burstFunctions(arena)];
  const keys = new DataView(arena.buffer, vectors, SLICE * 16);
  return {
    bytes,
    slice() {
      for (let i = 0; i < SLICE; i++) {
        const route = next() % entries;
        keys.setUint32(i * 16, words[route * 2]);
        keys.setUint32(i * 16 + 4, words[route * 2 + 1]);
        keys.setUint32(i * 16 + 12, next());
      }
      return timed(burst => lpm6Lookup(lpm.offset, vectors + burst * BURST * 16, nextHops.offset, BURST));
    },
  };
}

function hash(arena: Arena, entries: number, hugePages: HugePages): Made {
  const before = used(arena);
  const table = HashTable.create(arena, 'table', { entries, keyBytes: 16, hugePages });
  const bytes = reserved(arena, before);
  const [vectors, values, { hashAdd, hashLookup }] = [arena.reserve('keys', SLICE * 16).offset, new Vector(arena, BURST), burstFunctions(arena)];
  const next = randomWords(5);
  const write = (place: number, number: number): void => arena.u32.set([number, Math.imul(number, 0x9e3779b1), number >>> 7, 17], (vectors >>> 2) + place * 4);
  for (let number = 0; number < entries; number++) {
    write(0, number);
    hashAdd(table.offset, vectors, 16, values.offset, 1, 0);
  }
  return {
    bytes,
    slice() {
      for (let i = 0; i < SLICE; i++) write(i, next() % entries);
      return timed(burst => { hashLookup(table.offset, vectors + burst * BURST * 16, 16, values.offset, BURST, 0); });
    },
  };
}

function acl(arena: Arena, entries: number): Made {
  const before = used(arena);
  const table = Acl.create(arena, 'acl');
  const rules = makeRules(entries);
  table.build(toAclRules(rules));
  const bytes = reserved(arena, before);
  const packets = makeTuples(rules, SLICE * 16);
  const [vectors, values, { aclClassify }] = [arena.reserve('keys', SLICE * 16).offset, new Vector(arena, BURST), burstFunctions(arena)];
  let from = 0;
  return {
    bytes,
    slice() {
      from = (from + 1) % 16;
      arena.u32.set(packets.subarray(from * SLICE * 4, (from + 1) * SLICE * 4), vectors >>> 2);
      return timed(burst => { aclClassify(table.offset, vectors + burst * BURST * 16, values.offset, BURST); });
    },
  };
}

function maglev(arena: Arena, entries: number): Made {
  const before = used(arena);
  const size = primeFrom(entries);
  const table = Maglev.create(arena, 'maglev', { size });
  table.build(Array.from({ length: Math.ceil(entries / 10) }, (_, value) => ({ name: `backend ${value}`, value })));
  const bytes = reserved(arena, before);
  const [vectors, values, { maglevLookup }] = [arena.reserve('keys', SLICE * 4).offset, new Vector(arena, BURST), burstFunctions(arena)];
  const next = randomWords(5);
  return {
    bytes,
    slice() {
      for (let i = 0; i < SLICE; i++) arena.u32[(vectors >>> 2) + i] = next();
      return timed(burst => maglevLookup(table.offset, vectors + burst * BURST * 4, values.offset, BURST));
    },
  };
}

/** That number, or the next one that is a prime. */
function primeFrom(number: number): number {
  for (let factor = 2; factor * factor <= number; factor++) if (number % factor === 0) return primeFrom(number + 1);
  return number;
}
