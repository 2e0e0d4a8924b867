/**
 * Lesson 3: what is known of a packet. Run it: node dist/examples/03-metadata.js
 *
 * You will learn
 * - that a packet is bytes in a buffer and, apart from them, a header of one cache line that says where they are;
 * - what its fields are called in Linux (struct sk_buff) and in DPDK (struct rte_mbuf), and where the words mislead;
 * - that headers go on and come off without a byte being moved, that a long packet is a chain, a shared one a count.
 */
import { build, Chains, open, Parser, ptype, Rss } from '../lib/index.js';

const host = open(['ring:wire'], { mbufs: 512 });
const { mbufs, pool } = host;
const { rx: [rx], tx: [tx] } = host.ports[0]!;
const burst = host.burst();

/** The buffer, 32 bytes a letter: · is room, ▇ the frame. */
function show(what: string, dpdk: string, linux: string): void {
  const [before, frame, behind] = [mbufs.headroom(one), mbufs.dataLen(one), mbufs.tailroom(one)];
  const letters = Math.ceil(frame / 32);
  const picture = `${'·'.repeat(Math.floor(before / 32))}${'▇'.repeat(letters)}`.padEnd(64, '·');
  console.log(`${what.padEnd(33)} ${dpdk.padEnd(21)} ${linux.padEnd(12)} data_off ${String(before).padStart(3)}, ${String(frame).padStart(3)} bytes, ${behind} behind\n  |${picture}|`);
}

// One buffer and what is done to it. The 256 bytes in front are there from the first: for headers that nobody knows of yet.
pool.alloc(burst, 1);
const one = burst.handles[0]!;
const data = Array.from({ length: 60 }, (_, i) => i);
console.log('                                  DPDK                  Linux');
show('alloc: an empty frame', 'rte_pktmbuf_alloc', 'alloc_skb');
mbufs.copyIn(one, build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.udp({ sourcePort: 53, destinationPort: 5353 }), data));
show('append: a frame of 102 bytes', 'rte_pktmbuf_append', 'skb_put');
mbufs.prepend(one, 50);
show('prepend: a tunnel takes 50 more', 'rte_pktmbuf_prepend', 'skb_push');
mbufs.adjust(one, 50);
show('adjust: its end takes them off', 'rte_pktmbuf_adj', 'skb_pull');

// Now it goes over a wire; a parse and a hash fill in what a NIC may have filled in already.
tx!.txBurst(burst, 1);
rx!.rxBurst(burst);
new Parser(host.arena).parse(burst, 1);
Rss.create(host.arena, 'rss').hashBurst(burst, 1);
mbufs.setMark(one, 7);

const kind = mbufs.packetType(one);
const isUdp = (kind & ptype.PTYPE_L4_MASK) === ptype.PTYPE_L4_UDP;
const fields: readonly (readonly [string, string | number, string, string])[] = [
  ['handle', one, '(the pointer)', '(the pointer)'],
  ['buffer: handle << 11', one << 11, 'buf_addr', 'head'],
  ['headroom = data_off', mbufs.headroom(one), 'data_off', 'data - head'],
  ['dataLen: in this buffer', mbufs.dataLen(one), 'data_len', 'skb_headlen(): len - data_len (!)'],
  ['pktLen: of the whole packet', mbufs.pktLen(one), 'pkt_len', 'len'],
  ['tailroom', mbufs.tailroom(one), 'rte_pktmbuf_tailroom', 'end - tail'],
  ['segments', mbufs.segments(one), 'nb_segs', 'skb_shinfo: nr_frags + 1'],
  ['refcnt', mbufs.refcnt(one), 'refcnt', 'users (header), dataref (bytes)'],
  ['packetType', `0x${kind.toString(16)}: ${isUdp ? 'UDP' : 'not UDP'}`, 'packet_type', 'protocol, and what each layer reads'],
  ['l2Len, l3Len, l4Len', `${mbufs.l2Len(one)}, ${mbufs.l3Len(one)}, ${mbufs.l4Len(one)}`, 'l2_len, l3_len, l4_len', 'network_header, transport_header'],
  ['hash', `0x${mbufs.hash(one).toString(16)}`, 'hash.rss', 'hash'],
  ['mark', mbufs.mark(one), 'hash.fdir.hi', 'mark'],
  ['user', mbufs.user(one, 1), 'dynamic fields', 'cb[48]'],
  ['flags', `0x${mbufs.flags(one).toString(16)}`, 'ol_flags', 'ip_summed, l4_hash, ...'],
  ['owner', `0x${mbufs.owner(one).toString(16)}`, '-', 'destructor, sk'],
];
console.log(`\n${'here'.padEnd(29)} ${'value'.padEnd(18)} ${'rte_mbuf'.padEnd(24)} sk_buff`);
for (const [name, value, dpdk, linux] of fields) console.log(`${name.padEnd(29)} ${String(value).padEnd(18)} ${dpdk.padEnd(24)} ${linux}`);
console.log(`The header stands at ${mbufs.header(one)}, the bytes at ${mbufs.data(one)}: a device, a guest or a peer is shown the bytes alone.`);

// A packet that is longer than a buffer is a chain: the first header speaks for all, `next` leads on.
const chains = new Chains(pool);
pool.alloc(burst, 1);
const long = burst.handles[0]!;
chains.copyIn(long, new Uint8Array(4014));
console.log(`\na packet of ${mbufs.pktLen(long)} bytes in ${mbufs.segments(long)} buffers:`);
for (let segment = long; segment !== 0; segment = chains.next(segment)) console.log(`  handle ${segment}: ${mbufs.dataLen(segment)} bytes`);

// Sharing costs no copy: each holder counts, and frees once. (skb_get and rte_mbuf_refcnt_update; skb_clone has two headers.)
const free = (): number => pool.audit().free;
const before = free();
chains.clone(long);
console.log(`clone: ${mbufs.refcnt(long)} holders, ${free()} buffers free`);
pool.free(burst, 0, 1);
console.log(`one frees it: ${mbufs.refcnt(long)} holder, ${free()} buffers free`);
pool.free(burst, 0, 1);
console.log(`the other too: ${free()} buffers free, ${free() - before} more than before`);
burst.handles[0] = one;
pool.free(burst, 0, 1);
host.close();
