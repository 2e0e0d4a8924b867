/** What is raced: a peer's measurement, one of ours, and the least ratio that the project asks of itself. */
import type { Row } from './bench.js';
import { RECEIVE_LIMIT, SEND_LIMIT } from './limits.js';

const PER_BULK = 'time-stamp counter cycles per bulk of 32, enqueue and dequeue together';
const THROUGH = 'time-stamp counter cycles per bulk of 32 that went through 4096 slots, one thread enqueueing, one dequeueing; after a call that moved nothing, a side waits (ours and the C program 1 µs; ring_perf_autotest does not, and counts such calls too)';
const FORWARDED = 'packets forwarded both ways by one thread, by each program\'s own counter';
const ARRIVED = 'frames that reached the other end of the pair, by the kernel\'s counter of that interface';
const RECEIVED = 'frames received while the other CPU sends all it can, by each program\'s own counter';
const FLOOD = 'the sender is the kernel\'s own, an XDP program run on live frames';

const PER_LOOKUP = 'time-stamp counter cycles per key, the median of slices';
const ROUTES = '1.04 million routes as lpm_perf_autotest has them, entries of 2 bytes against 4, both in huge pages';
const FORWARDING = 'cycles per packet of 60 bytes: header checked, LPM, hop limit, checksum, MACs; bursts of 32';
const KEYS = '393,216 keys of 16 bytes at random in a table for 524,288, value u32 (rte_hash: position), no locks in rte_hash and a version in ours; both in huge pages';

const FROM_VIRTIO = 'frames received while testpmd sends all it can through net_virtio_user on the other CPU, by each program\'s own counter';

const INTO_VIRTIO = 'frames sent into testpmd\'s net_virtio_user on the other CPU, which takes all it can, by each program\'s own counter';

const MEMIF = 'frames that went by while testpmd\'s net_memif in the other role, on the other CPU, does all it can, by each program\'s own counter; clients share their pool';

export const rows: readonly Row[] = [
  autotest('ring SP/SC bulk 32, one thread', 'spSc', 'ring sp-sc', PER_BULK),
  cProgram('ring SP/SC bulk 32, one thread', 'C sp-sc', 'ring sp-sc', PER_BULK),
  autotest('ring MP/MC bulk 32, one thread', 'mpMc', 'ring mp-mc', PER_BULK),
  cProgram('ring MP/MC bulk 32, one thread', 'C mp-mc', 'ring mp-mc', PER_BULK),
  autotest('ring SP/SC bulk 32, two cores', 'twoCores', 'ring two-cores', THROUGH),
  cProgram('ring SP/SC bulk 32, two cores', 'C two-cores', 'ring two-cores', THROUGH),
  lookup('IPv4 LPM, bulk lookup of 32', 'lpm-lookup', 1, `${PER_LOOKUP}; ${ROUTES}; 4096 addresses at random in each slice`),
  lookup('IPv4 LPM, add, an eighth of the routes', 'lpm-add', 1, 'cycles per route, one by one into an empty table; rte_lpm takes longer for each the more there are: for all of them see --autotests, where 50x is asked for'),
  lookup('hash 16-byte key, bulk lookup of 32', 'hash-lookup', 1, `${PER_LOOKUP}; ${KEYS}; all hits, in another order than they were added`),
  lookup('hash 16-byte key, add', 'hash-add', 1, `cycles per key into a new table; ${KEYS}; ours in bulks of 32, rte_hash one by one, as it has no other`),
  lookup('ACL 1,000 rules, bulk of 32', 'acl', 0.5, `${PER_LOOKUP}; 5-tuples of prefixes and port ranges, 16,384 packets, four in five in some rule; rte_acl chooses its SIMD itself`),
  ...([['65,536', 'l3fwd', 'tables and packets come from L3 and memory'], ['4,096', 'l3fwd-few', 'packets and the entries they meet stay in L2']] as const).flatMap(([count, work, where]): Row[] => {
    const counted = `${FORWARDING}; ${count} mbufs in turn, so that ${where}, frames spread over the cache's sets on both sides; ${ROUTES}`;
    const { target: _, ...plain } = lookup(`L3 forwarding, ${count} destinations, each packet in TypeScript`, work, 1, `${counted}; ours looks a burst up in a call, and does the rest packet by packet`);
    return [
      lookup(`L3 forwarding, ${count} destinations, loop in TypeScript`, work, 1, `${counted}; ours forwards a burst in a call`),
      { ...plain, oursFigure: [`lookup ${work}-plain`, 'value'] },
    ];
  }),
  ...([['IPv4 LPM, bulk lookup of 32', 'bulk', 'lpm-lookup', 1], ['IPv4 LPM, add, all routes', 'add', 'lpm-add-all', 50]] as const).map(([name, figure, ours, target]) => lookupAutotest(name, 'lpm_perf_autotest', figure, ours, target, ROUTES)),
  ...([['hash 16-byte key, bulk lookup', 'bulk', 'hash-lookup'], ['hash 16-byte key, add', 'add', 'hash-add']] as const).map(([name, figure, ours]) => lookupAutotest(name, 'hash_perf_autotest', figure, ours, 1, `the autotest's 524,288 keys, bulks of 16, jhash; ours: ${KEYS}`)),
  {
    name: 'Internet checksum, 1500 B', peer: 'dpdk-test cksum_perf_autotest (rte_raw_cksum, aligned blocks), Debian\'s generic build', peerFigure: ['cksum_perf_autotest', 'value'],
    ours: 'lib/wire Checksums, asc -O3', oursFigure: ['checksum', 'value'], unit: 'cycles', target: 1, counted: 'time-stamp counter cycles per sum of 1500 bytes; its mean, our median of slices of 640',
  },
  {
    name: 'Internet checksum, 1500 B, against AVX-512', peer: 'C on rte_raw_cksum, gcc -O3 -march=native: vectors four times as long as WebAssembly\'s, where the machine has them (bench/peers/checksum.c)', peerFigure: ['C checksum', 'value'],
    ours: 'lib/wire Checksums, asc -O3', oursFigure: ['checksum', 'value'], unit: 'cycles', counted: 'the same; medians of slices of 640',
  },
  packets('null to null, io', 'testpmd null io', 'null-io', 3, FORWARDED),
  packets('null to null, MAC swap in TypeScript', 'testpmd null macswap', 'null-macswap', 1.5, FORWARDED),
  packets('ring ports, io', 'testpmd ring io', 'ring-io', 1, `${FORWARDED}; 256 circle in each ring; packets are counted, as net_ring does`),
  {
    name: 'ring ports, io, ours counts bytes too', peer: 'testpmd ring io, Debian\'s generic build', peerFigure: ['testpmd ring io', 'value'],
    ours: 'bench/ours/ring-io-bytes', oursFigure: ['ring-io-bytes', 'value'], unit: 'Mpps', counted: 'the same; each header is read twice, for its length',
  },
  { ...packets('AF_XDP send 64 B', 'testpmd af_xdp txonly', 'af-xdp-send', 1.3, ARRIVED), limit: SEND_LIMIT },
  {
    name: 'AF_XDP send 64 B, against bare C', peer: 'C on the rings and sendto, gcc -O3 -march=native: as fast as this kernel lets anyone send (bench/peers/xsk.c)',
    peerFigure: ['C af_xdp send', 'value'], ours: 'bench/ours/af-xdp-send', oursFigure: ['af-xdp-send', 'value'], unit: 'Mpps', counted: ARRIVED,
  },
  { ...packets('AF_XDP receive 64 B', 'testpmd af_xdp rxonly', 'af-xdp-receive', 1, `${RECEIVED}; ${FLOOD}`), limit: RECEIVE_LIMIT },
  packets('AF_XDP MAC swap 64 B', 'testpmd af_xdp macswap', 'af-xdp-macswap', 1, `frames sent back, by the kernel\'s counter of the interface; ${FLOOD}`),
  { ...packets('vhost receive 64 B', 'testpmd net_vhost rxonly', 'vhost-receive', 1.3, FROM_VIRTIO), orIdle: true },
  { ...packets('vhost send 64 B', 'testpmd net_vhost txonly', 'vhost-send', 1.3, INTO_VIRTIO), orIdle: true },
  ...(['receive', 'send'] as const).map((direction): Row => ({
    name: `vhost ${direction} 64 B, a guest beside the arena`, peer: 'the same guest over the arena', peerFigure: [`vhost-${direction}`, 'value'], ours: `bench/ours/vhost-${direction}`,
    oursFigure: [`vhost-${direction} beside`, 'value'], unit: 'Mpps', counted: 'frames; the guest has no room in the arena, so they are copied natively, a burst in one call',
  })),
  {
    ...packets('virtio_user to vhost, packed rings', 'virtio-to-vhost split', 'virtio-to-vhost packed', 1, 'frames received, our driver\'s side sending on the other CPU'),
    peer: 'the same with split rings',
  },
  switching(1),
  switching(10_000),
  switchingCycles(1),
  switchingCycles(10_000),
  ...([['server', 'receive', 'rxonly'], ['server', 'send', 'txonly'], ['client', 'receive', 'rxonly'], ['client', 'send', 'txonly']] as const).map(([role, direction, forward]) => packets(`memif ${role}, ${direction} 64 B`, `testpmd net_memif ${role} ${forward}`, `memif-${role}-${direction}`, 1, MEMIF)),
  { ...packets('AF_XDP send 64 B, against dgram', 'dgram-send', 'af-xdp-send', 10, ARRIVED), limit: SEND_LIMIT },
  { ...packets('AF_XDP receive 64 B, against dgram', 'dgram-receive', 'af-xdp-receive', 10, `${RECEIVED}; ${FLOOD}; to dgram our AF_XDP sender offers all it can, 600 or 300 kpps, whichever dgram does best at`), limit: RECEIVE_LIMIT },
];

/** Not `orIdle`: where the switch waits for the machines, the ratio is only what could be seen of it. */
function switching(flows: number): Row {
  return {
    name: `switch, two vhost ports, 64 B, ${flows} flow${flows === 1 ? '' : 's'}`, peer: 'Open vSwitch with DPDK, Debian\'s, one poll-mode thread, NORMAL (a learning bridge)', peerFigure: [`OVS-DPDK ${flows} flows`, 'value'],
    ours: 'lib/switch, a learning bridge', oursFigure: [`switch ${flows} flows`, 'value'], unit: 'Mpps', target: 1.5,
    counted: 'frames that arrived at the machine behind the second port, sent by the one behind the first; both are our virtio_user ports, one program on the other CPU, the same for both switches; flows are pairs of MAC addresses, a frame each in turn',
  };
}

/** What either switch itself takes, whoever is the limit. */
function switchingCycles(flows: number): Row {
  return {
    ...switching(flows), name: `switch, the same, ${flows} flow${flows === 1 ? '' : 's'}: cycles of the switch`, peerFigure: [`OVS-DPDK ${flows} flows`, 'cycles'], oursFigure: [`switch ${flows} flows`, 'cycles'],
    unit: 'cycles', counted: 'time-stamp counter cycles per packet, of polls that found some: of Open vSwitch its own "avg processing cycles per packet"; of ours, of eight polls any of which found some',
  };
}

function autotest(name: string, figure: string, ours: string, counted: string): Row {
  return {
    name, peer: 'dpdk-test ring_perf_autotest, 8-byte elements, Debian\'s generic build', peerFigure: ['ring_perf_autotest', figure],
    ours: 'lib/ring, 4-byte elements, asc -O3', oursFigure: [ours, 'mean'], unit: 'cycles', target: 1, counted: `${counted}; the mean over a whole run`,
  };
}

function cProgram(name: string, measurement: string, ours: string, counted: string): Row {
  return {
    name, peer: 'C on rte_ring_*_elem, 4-byte elements, gcc -O3 -march=native', peerFigure: [measurement, 'value'],
    ours: 'lib/ring, 4-byte elements, asc -O3', oursFigure: [ours, 'value'], unit: 'cycles', target: 1, counted: `${counted}; the median of slices of 4000`,
  };
}

function lookup(name: string, work: string, target: number, counted: string): Row {
  return {
    name, peer: 'C on rte_lpm, rte_hash, rte_acl (bench/peers/lookup.c), gcc -O3 -march=native over Debian\'s libraries', peerFigure: [`C ${work}`, 'value'],
    ours: 'lib/lookup, asc -O3', oursFigure: [`lookup ${work}`, 'value'], unit: 'cycles', target, counted,
  };
}

function lookupAutotest(name: string, measurement: string, figure: string, ours: string, target: number, counted: string): Row {
  return {
    name, peer: `dpdk-test ${measurement}, Debian's generic build`, peerFigure: [measurement, figure],
    ours: 'lib/lookup, asc -O3', oursFigure: [`lookup ${ours}`, 'value'], unit: 'cycles', target, counted, slow: true,
  };
}

function packets(name: string, peer: string, ours: string, target: number, counted: string): Row {
  return {
    name, peer: peer.startsWith('dgram') ? `Node's dgram (bench/ours/${peer})` : `${peer}, Debian's generic build`, peerFigure: [peer, 'value'],
    ours: `bench/ours/${ours}`, oursFigure: [ours, 'value'], unit: 'Mpps', target, counted,
  };
}
