/**
 * What the lookup benches work on, made here once and written to a file that the C program (bench/peers/lookup.c) reads
 * too, so that both have the same routes and rules. All words are u32, in the CPU's order.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { AclRule } from '../../lib/lookup/acl_rules.js';
import { randomWords } from './random.js';

/** Routes of each length from 1 to 32, of networks that begin with 0, 10 and 110: a real router's, as DPDK's app/test/test_lpm_perf.c counts them. */
const COUNTS = [
  { head: 0, bits: 1, counts: [0, 0, 1, 0, 2, 1, 3, 185, 26, 16, 39, 144, 233, 528, 866, 3856, 3268, 5662, 17301, 22226, 11147, 16746, 17120, 77578, 401, 656, 1107, 1121, 2316, 717, 10, 66] },
  { head: 0x80000000, bits: 2, counts: [0, 0, 0, 0, 1, 1, 1, 3, 3, 30, 25, 168, 305, 569, 1129, 50800, 1645, 1820, 3506, 3258, 3424, 4971, 6885, 39771, 424, 170, 433, 92, 366, 377, 2, 200] },
  { head: 0xc0000000, bits: 3, counts: [0, 0, 0, 0, 0, 0, 0, 12, 8, 9, 33, 69, 237, 1007, 1717, 14663, 8070, 16185, 48261, 36870, 33960, 50638, 61422, 466549, 1829, 4824, 4927, 5914, 10254, 4905, 1, 716] },
];
export const NEXT_HOPS = 256;

export interface PlainRoute { readonly prefix: number; readonly depth: number; readonly nextHop: number }

/** In so many /24 there are longer routes: the autotest asks for 42,000 of these, and rte_lpm refuses what 2048 tbl8 have no room for. */
const GROUPS = 2048;

/** About a million, shuffled; spread over each class's addresses as the autotest spreads them. */
export function makeRoutes(): PlainRoute[] {
  const next = randomWords(7);
  const routes: PlainRoute[] = [];
  const groups = new Set<number>();
  for (const { head, bits, counts } of COUNTS) {
    counts.forEach((count, i) => {
      const depth = i + 1;
      const range = 2 ** (depth - bits);
      const step = Math.max(1, Math.round(range / count));
      let start = next() % range;
      for (let k = 0; k < count; k++, start = (start + step) % range) {
        const prefix = (head + start * 2 ** (32 - depth)) >>> 0;
        if (depth > 24 && groups.size === GROUPS && !groups.has(prefix >>> 8)) continue;
        if (depth > 24) groups.add(prefix >>> 8);
        routes.push({ prefix, depth, nextHop: next() % NEXT_HOPS });
      }
    });
  }
  for (let i = routes.length - 1; i > 0; i--) {
    const other = next() % (i + 1);
    [routes[i], routes[other]] = [routes[other], routes[i]];
  }
  return routes;
}

/** A rule of prefixes, which both rte_acl and ours can have: address and length twice, ports from and to twice, protocol and its mask. */
export type RuleWords = readonly [source: number, sourceLength: number, destination: number, destinationLength: number, sourceFirst: number, sourceLast: number, destinationFirst: number, destinationLast: number, protocol: number, protocolMask: number];
const PORTS: readonly (readonly [number, number])[] = [[0, 65535], [1024, 65535], [80, 80], [443, 443], [22, 22], [53, 53], [25, 25], [1521, 1526], [6789, 6790], [5000, 5999]];

/**
 * Rules as a filter between networks has them (after ClassBench's seeds acl1 to acl5, Taylor and Turner, INFOCOM 2005):
 * destinations are hosts and small networks of a few sites, sources are anyone or some network, source ports hardly ever
 * matter, destination ports are a service or a range, three in four are TCP.
 */
export function makeRules(count: number): RuleWords[] {
  const next = randomWords(11);
  const masked = (address: number, length: number): number => Number(BigInt(address) >> BigInt(32 - length) << BigInt(32 - length));
  const sites = Array.from({ length: 16 }, () => masked(next(), 16));
  return Array.from({ length: count }, () => {
    const sourceLength = next() % 5 === 0 ? 0 : 8 + next() % 25;
    const destinationLength = 22 + next() % 11;
    const [sourceFirst, sourceLast] = PORTS[next() % 10 < 8 ? 0 : 1];
    const [destinationFirst, destinationLast] = PORTS[next() % PORTS.length];
    const kind = next() % 8;
    return [
      masked(next(), sourceLength), sourceLength, masked(sites[next() % 16] + (next() & 0xffff), destinationLength), destinationLength,
      sourceFirst, sourceLast, destinationFirst, destinationLast, kind < 6 ? 6 : kind === 6 ? 17 : 0, kind < 7 ? 0xff : 0,
    ];
  });
}

/** The first rule has the highest priority, and each one's value is its number. */
export function toAclRules(rules: readonly RuleWords[]): AclRule[] {
  const range = (address: number, length: number): [number, number] => [address, address + 2 ** (32 - length) - 1];
  return rules.map(([source, sourceLength, destination, destinationLength, sourceFirst, sourceLast, destinationFirst, destinationLast, protocol, mask], i) => ({
    priority: -i, value: i, source: range(source, sourceLength), destination: range(destination, destinationLength),
    sourcePort: [sourceFirst, sourceLast], destinationPort: [destinationFirst, destinationLast], ...(mask === 0 ? {} : { protocol }),
  }));
}

/** Packets, four words each as in a vector of tuples: four in five lie in some rule, the rest are at random. */
export function makeTuples(rules: readonly RuleWords[], count: number): Uint32Array {
  const next = randomWords(13);
  const words = new Uint32Array(count * 4);
  const inside = (address: number, length: number): number => address + Math.floor(next() / 2 ** length);
  for (let i = 0; i < count; i++) {
    const [source, sourceLength, destination, destinationLength, sourceFirst, sourceLast, destinationFirst, destinationLast, protocol, mask] = rules[next() % rules.length];
    if (next() % 5 === 0) words.set([next(), next(), next(), mask === 0 ? 17 : 6], i * 4);
    else {
      const ports = sourceFirst + next() % (sourceLast - sourceFirst + 1) + (destinationFirst + next() % (destinationLast - destinationFirst + 1)) * 65536;
      words.set([inside(source, sourceLength), inside(destination, destinationLength), ports, mask === 0 ? 17 : protocol], i * 4);
    }
  }
  return words;
}

export const RULES = 1000;
export const TUPLES = 16384;

/** Routes: how many, then prefix, length, next hop. Rules: how many, then their words; how many packets, then theirs. */
export function writeFiles(routes: string, rules: string): void {
  const list = makeRoutes();
  const words = new Uint32Array(1 + list.length * 3);
  words[0] = list.length;
  list.forEach(({ prefix, depth, nextHop }, i) => words.set([prefix, depth, nextHop], 1 + i * 3));
  writeFileSync(routes, Buffer.from(words.buffer));
  const made = makeRules(RULES);
  writeFileSync(rules, Buffer.from(Uint32Array.from([RULES, ...made.flat(), TUPLES, ...makeTuples(made, TUPLES)]).buffer));
}

export function readWords(path: string): Uint32Array {
  const bytes = readFileSync(path);
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
