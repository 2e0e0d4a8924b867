/**
 * Lesson 9: which queue does this flow come to? Run it: node dist/examples/09-which-queue.js
 *
 * You will learn
 * - how a NIC spreads flows over queues (receive-side scaling, RSS): a Toeplitz hash, a redirection table (RETA), a queue;
 * - that all of it can be known before the first packet, by whoever has the key;
 * - that a change of the table moves the flows of the changed entries and no others, and what a symmetric key is for.
 *
 * The NIC's part is played by `hashBurst`, which hashes as NICs do, and four `ring:` ports, which are its queues. A real one
 * has the same as `port.rss` (its key, its table) and puts its hash into the mbuf.
 */
import { build, DEFAULT_KEY, open, Parser, Rss, type Flow } from '../lib/index.js';

const QUEUES = 4;
const ENTRIES = 16; // most NICs have 128
const host = open(Array.from({ length: QUEUES }, (_, queue) => `ring:queue${queue}`), { mbufs: 512 });
const { arena, mbufs, pool } = host;

/**
 * The hash, bit by bit, as Microsoft defined it ("RSS hashing functions"): for each bit of the input that is 1, the 32 bits
 * of the key that begin at its place are added without carry.
 */
function toeplitz(input: readonly number[], key: Uint8Array): number {
  const keyBits = [...key].map(byte => byte.toString(2).padStart(8, '0')).join('');
  let hash = 0;
  input.forEach((byte, place) => {
    for (let bit = 0; bit < 8; bit++) if ((byte & (128 >> bit)) !== 0) hash ^= parseInt(keyBits.slice(place * 8 + bit, place * 8 + bit + 32), 2);
  });
  return hash >>> 0;
}

/** What is hashed of TCP over IPv4: both addresses, both ports. */
const inputOf = ({ source, destination, sourcePort, destinationPort }: Required<Flow>): number[] => [...`${source}.${destination}`.split('.').map(Number), sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255];

// The first is from Microsoft's own table, which says 0x51ccc178 of it; the others are a web server's clients.
const flows: Required<Flow>[] = [
  { source: '66.9.149.187', sourcePort: 2794, destination: '161.142.100.80', destinationPort: 1766, protocol: 'tcp' },
  ...[51_514, 38_020, 60_443, 44_712, 35_999, 57_301, 49_152].map((sourcePort, i) => ({ source: `198.51.100.${i + 1}`, sourcePort, destination: '192.0.2.1', destinationPort: 443, protocol: 'tcp' as const })),
];
const hex = (hash: number): string => `0x${hash.toString(16).padStart(8, '0')}`;
const nameOf = (source: string, sourcePort: number): string => `${source}:${sourcePort}`.padEnd(19);

const rss = Rss.create(arena, 'rss'); // with Microsoft's key, which is DEFAULT_KEY
const reta = Array.from({ length: ENTRIES }, (_, entry) => entry % QUEUES);
const queueOf = (hash: number): number => reta[hash % ENTRIES]!;

console.log('flow from            by hand      predicted    entry  queue');
for (const flow of flows) {
  const hash = rss.hashFlow(flow);
  console.log(`${nameOf(flow.source, flow.sourcePort)}  ${hex(toeplitz(inputOf(flow), DEFAULT_KEY))}   ${hex(hash)}   ${String(hash % ENTRIES).padStart(5)}  ${String(queueOf(hash)).padStart(5)}`);
}

const burst = host.burst(flows.length);
const parser = new Parser(arena);

/** A packet of each flow comes in, and the NIC puts it where it belongs. */
function arrive(): void {
  pool.alloc(burst, flows.length);
  flows.forEach(({ source, destination, sourcePort, destinationPort }, i) => {
    mbufs.copyIn(burst.handles[i]!, build.frame(build.ethernet(), build.ipv4({ source, destination }), build.tcp({ sourcePort, destinationPort })));
  });
  rss.hashBurst(burst, flows.length);
  const one = host.burst(1);
  for (let i = 0; i < flows.length; i++) {
    one.handles[0] = burst.handles[i]!;
    host.ports[queueOf(mbufs.hash(one.handles[0]))]!.tx[0]!.txBurst(one, 1);
  }
  one.close();
}

/** What each queue's lcore finds. */
function look(): void {
  host.ports.forEach((port, queue) => {
    const got = port.rx[0]!.rxBurst(burst);
    parser.tuples(burst, got);
    const found = Array.from({ length: got }, (_, i) => nameOf(parser.source(i), parser.sourcePort(i)).trim());
    console.log(`  queue ${queue}: ${found.join(', ') || '-'}`);
    pool.free(burst, 0, got);
  });
}

console.log(`\nredirection table: ${reta.join(' ')}\nand they came to`);
arrive();
look();

// Queue 3's lcore is to stop: its entries go to the others.
reta.forEach((queue, entry) => { if (queue === 3) reta[entry] = (entry >> 2) % 3; });
console.log(`\nredirection table: ${reta.join(' ')}\nonly what had come to queue 3 comes elsewhere`);
arrive();
look();

// A firewall wants both ways of a connection on one lcore. With this key, exchanging source and destination changes nothing.
const symmetric = Rss.create(arena, 'symmetric', { key: 'symmetric' });
console.log(`\n${''.padEnd(19)}  Microsoft's key           symmetric key\nflow from            there  back  the same?   there  back  the same?`);
for (const flow of flows.slice(0, 4)) {
  const back = { ...flow, source: flow.destination, sourcePort: flow.destinationPort, destination: flow.source, destinationPort: flow.sourcePort };
  const columns = [rss, symmetric].map(each => [each.hashFlow(flow), each.hashFlow(back)].map(hash => hash % ENTRIES) as [number, number]);
  console.log(`${nameOf(flow.source, flow.sourcePort)}  ${columns.map(([there, again]) => `${String(there).padStart(5)} ${String(again).padStart(5)}  ${(there === again ? 'yes' : 'no').padEnd(9)}`).join('   ')}`.trimEnd());
}
host.close();
