/** What is raced: a peer's measurement, one of ours, and the least ratio that the project asks of itself. */
import type { Row } from './bench.js';

const PER_BULK = 'time-stamp counter cycles per bulk of 32, enqueue and dequeue together';
const THROUGH = 'time-stamp counter cycles per bulk of 32 that went through 4096 slots, one thread enqueueing, one dequeueing';
const FORWARDED = 'packets forwarded both ways by one thread, by each program\'s own counter';
const ARRIVED = 'frames that reached the other end of the pair, by the kernel\'s counter of that interface';
const RECEIVED = 'frames received while our AF_XDP sender on the other CPU sends all it can, by each program\'s own counter';

const FROM_VIRTIO = 'frames received while testpmd sends all it can through net_virtio_user on the other CPU, by each program\'s own counter';

const INTO_VIRTIO = 'frames sent into testpmd\'s net_virtio_user on the other CPU, which takes all it can, by each program\'s own counter';

export const rows: readonly Row[] = [
  autotest('ring SP/SC bulk 32, one thread', 'spSc', 'ring sp-sc', PER_BULK),
  cProgram('ring SP/SC bulk 32, one thread', 'C sp-sc', 'ring sp-sc', PER_BULK),
  autotest('ring MP/MC bulk 32, one thread', 'mpMc', 'ring mp-mc', PER_BULK),
  cProgram('ring MP/MC bulk 32, one thread', 'C mp-mc', 'ring mp-mc', PER_BULK),
  autotest('ring SP/SC bulk 32, two cores', 'twoCores', 'ring two-cores', THROUGH),
  cProgram('ring SP/SC bulk 32, two cores', 'C two-cores', 'ring two-cores', THROUGH),
  packets('null to null, io', 'testpmd null io', 'null-io', 3, FORWARDED),
  packets('null to null, MAC swap in TypeScript', 'testpmd null macswap', 'null-macswap', 1.5, FORWARDED),
  packets('ring ports, io', 'testpmd ring io', 'ring-io', 1, `${FORWARDED}; 256 circle in each ring`),
  packets('AF_XDP send 64 B', 'testpmd af_xdp txonly', 'af-xdp-send', 1.3, ARRIVED),
  packets('AF_XDP receive 64 B', 'testpmd af_xdp rxonly', 'af-xdp-receive', 1, RECEIVED),
  packets('AF_XDP MAC swap 64 B', 'testpmd af_xdp macswap', 'af-xdp-macswap', 1, 'frames sent back, by the kernel\'s counter of the interface, with the same sender'),
  { ...packets('vhost receive 64 B', 'testpmd net_vhost rxonly', 'vhost-receive', 1.3, FROM_VIRTIO), orIdle: true },
  { ...packets('vhost send 64 B', 'testpmd net_vhost txonly', 'vhost-send', 1.3, INTO_VIRTIO), orIdle: true },
  {
    ...packets('virtio_user to vhost, packed rings', 'virtio-to-vhost split', 'virtio-to-vhost packed', 1, 'frames received, our driver\'s side sending on the other CPU'),
    peer: 'the same with split rings',
  },
  packets('AF_XDP send 64 B, against dgram', 'dgram-send', 'af-xdp-send', 10, ARRIVED),
  packets('AF_XDP receive 64 B, against dgram', 'dgram-receive', 'af-xdp-receive', 10, `${RECEIVED}; to dgram it offers all it can, 400 or 200 kpps, whichever dgram does best at`),
];

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

function packets(name: string, peer: string, ours: string, target: number, counted: string): Row {
  return {
    name, peer: peer.startsWith('dgram') ? `Node's dgram (bench/ours/${peer})` : `${peer}, Debian's generic build`, peerFigure: [peer, 'value'],
    ours: `bench/ours/${ours}`, oursFigure: [ours, 'value'], unit: 'Mpps', target, counted,
  };
}
