import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { errnoName } from '../../../kernel/errno.js';
import { readLinkOf, type Link } from '../../../kernel/link.js';
import { withNetnsPath } from '../../../kernel/netns.js';
import type { Port, PortDriver, PortHost } from '../../port.js';
import { probeAddon } from '../../probe.js';
import { FunctionRxQueue, type QueueState } from '../../queue.js';
import { QueuePort, total } from '../../queue_port.js';
import {
  ETHERNET_HEADER, PACKET_BAD_BLOCK, PACKET_BAD_FRAME, PACKET_RING_FULL, PACKET_RX_TOO_LONG, PACKET_TRUNCATED, PACKET_TX_TOO_LONG,
} from './layout.js';
import { PacketTxQueue } from './queues.js';
import { RxRing, SLOTS_PER_BLOCK, TxRing } from './rings.js';
import { FANOUT_MODES, type FanoutMode } from './uapi.js';

export interface AfPacketOptions {
  /** The interface's name. */
  readonly device: string;
  /** Rx and tx queues, a socket each; the rx sockets share the interface's packets as a fanout group. Default 1. */
  readonly queues?: number;
  /** Sends past the queueing disciplines, straight to the driver. Default false. */
  readonly qdiscBypass?: boolean;
  /** Shares packets with the other sockets of this group, 0 to 65535, here and in other processes. */
  readonly fanout?: number;
  /** How the group shares them out. Default hash: a flow stays in one queue. */
  readonly fanoutMode?: FanoutMode;
  /** Bytes of one block of the receive ring, a power of two, and how many of them. Default 65536 and 64: 4 MiB. */
  readonly blockSize?: number;
  readonly rxBlocks?: number;
  /** Milliseconds after which a block that has packets is handed over, full or not: what a lone packet waits. Default 1. */
  readonly blockTimeout?: number;
  /** Frames in the transmit ring, a multiple of 64. Default 512. */
  readonly txRing?: number;
  /** All frames of the link, not only those for this host; ends with the port. Default false. */
  readonly promiscuous?: boolean;
  /** Leaves out what this host sends on the interface. Default true. */
  readonly ignoreOutgoing?: boolean;
  /** A VLAN tag goes into the mbuf's header (`strip`, as the kernel and most NICs have it) or stays in the frame (`keep`). Default strip. */
  readonly vlan?: 'strip' | 'keep';
  /** Has the kernel compute a flow hash for each packet, for the mbuf's header. Default false: it costs time. */
  readonly rxHash?: boolean;
  /** Path of a network namespace to open the interface in. */
  readonly netns?: string;
}

type Settings = Required<Omit<AfPacketOptions, 'fanout' | 'netns'>> & AfPacketOptions;

const MOST_RING_BYTES = 2 ** 30;

/** A slot of the transmit ring is as long as the longest frame: an interface of 64 KiB (a loopback's) shall not make it 40 times as large. */
const JUMBO_MTU = 9000;

/**
 * `af_packet:eth0`: an interface's frames through a packet socket's mapped rings (packet(7),
 * Documentation/networking/packet_mmap.rst). Any Ethernet interface will do, and the host's own stack gets its packets
 * too. Frames are copied once more than with af_xdp, between the rings and the mbufs; receiving makes no system call,
 * sending one per burst.
 *
 * A received packet waits until its block is full or `block_timeout` is over: throughput first. The MTU is read at open.
 * Frames that are longer than a buffer come as chains, those too that segmentation offload made longer than the MTU.
 */
export const afPacketDriver: PortDriver<AfPacketOptions> = {
  name: 'af_packet',
  summary: 'an interface\'s frames through mapped rings of the kernel\'s packet sockets',
  options: {
    device: { type: 'text', help: 'name of the interface', required: true },
    queues: { type: 'count', help: 'rx and tx queues, sharing the packets as a fanout group (default 1)', min: 1, max: 64 },
    qdiscBypass: { type: 'flag', help: 'send past the queueing disciplines (default off)' },
    fanout: { type: 'count', help: 'share packets with the other sockets of this group', min: 0, max: 65535 },
    fanoutMode: { type: 'choice', help: 'how the group shares them out (default hash)', choices: Object.keys(FANOUT_MODES) },
    blockSize: { type: 'size', help: 'bytes of one block of the receive ring, a power of two (default 65536)', min: 4096, max: 4 << 20 },
    rxBlocks: { type: 'count', help: 'blocks of the receive ring (default 64)', min: 2, max: 65536 },
    blockTimeout: { type: 'count', help: 'milliseconds that a lone packet waits (default 1)', min: 1, max: 1000 },
    txRing: { type: 'count', help: `frames in the transmit ring, a multiple of ${SLOTS_PER_BLOCK} (default 512)`, min: SLOTS_PER_BLOCK, max: 65536 },
    promiscuous: { type: 'flag', help: 'all frames of the link, not only those for this host (default off)' },
    ignoreOutgoing: { type: 'flag', help: 'leave out what this host sends on the interface (default on)' },
    vlan: { type: 'choice', help: 'VLAN tags go into the mbuf\'s header or stay in the frame (default strip)', choices: ['strip', 'keep'] },
    rxHash: { type: 'flag', help: 'have the kernel compute a flow hash for each packet (default off)' },
    netns: { type: 'text', help: 'path of the network namespace that the interface is in' },
  },
  probe: probeAddon,
  plan(options) {
    checkRings(settings(options));
    return { mbufs: 0, bufferSize: 2048, registered: false };
  },
  open: (options, host) => options.netns === undefined ? openHere(settings(options), host) : withNetnsPath(options.netns, () => openHere(settings(options), host)),
  attach: {
    rx: state => new FunctionRxQueue(state, burstFunctions(state.arena).packetRx),
    tx: state => new PacketTxQueue(state, burstFunctions(state.arena)),
  },
};

function settings(options: AfPacketOptions): Settings {
  return {
    queues: 1, qdiscBypass: false, fanoutMode: 'hash', blockSize: 65536, rxBlocks: 64, blockTimeout: 1, txRing: 512,
    promiscuous: false, ignoreOutgoing: true, vlan: 'strip', rxHash: false, ...options,
  };
}

function checkRings({ blockSize, rxBlocks, txRing, queues }: Settings): void {
  const refuse = (why: string): never => { throw new PollmodeError('EOPTION', `af_packet: ${why}.`); };
  if ((blockSize & (blockSize - 1)) !== 0) refuse(`a block of ${blockSize} bytes: choose a power of two`);
  if (txRing % SLOTS_PER_BLOCK !== 0) refuse(`a transmit ring of ${txRing} frames: choose a multiple of ${SLOTS_PER_BLOCK}`);
  if (blockSize * rxBlocks * queues > MOST_RING_BYTES) refuse(`receive rings of ${blockSize * rxBlocks * queues} bytes: choose smaller or fewer blocks, ${MOST_RING_BYTES} bytes in all are the most`);
}

/** In the calling thread's network namespace. Each step undoes those before it when it fails. */
function openHere(options: Settings, host: PortHost): Port {
  const link = usableLink(options, host);
  const rings: { rx: RxRing[]; tx: TxRing[] } = { rx: [], tx: [] };
  const release = (): void => { for (const ring of [...rings.rx, ...rings.tx]) ring.close(); };
  try {
    for (let queue = 0; queue < options.queues; queue++) openRings(options, host, link, rings, queue);
    joinGroup(options, rings.rx);
    return port(options, host, link, rings, release);
  } catch (cause) {
    release();
    throw cause;
  }
}

function usableLink({ device }: Settings, host: PortHost): Link {
  const link = readLinkOf(host.device, device);
  if (!link.up) throw new PollmodeError('EDOWN', `${host.device}: the interface is down: ip link set ${device} up.`);
  if (link.mac.length !== '00:00:00:00:00:00'.length) throw new PollmodeError('EUNSUPPORTED', `${host.device}: ${device} is no Ethernet interface${link.kind === '' ? '' : ` (${link.kind})`}: choose one that has a MAC address.`);
  return link;
}

function openRings(options: Settings, host: PortHost, link: Link, rings: { rx: RxRing[]; tx: TxRing[] }, queue: number): void {
  const name = `port/${host.number}/packet/${queue}`;
  rings.rx.push(new RxRing(host.arena, `${name}/rx-ring`, link.ifindex, {
    blockBytes: options.blockSize, blocks: options.rxBlocks, timeoutMs: options.blockTimeout, hash: options.rxHash,
    promiscuous: options.promiscuous, ignoreOutgoing: options.ignoreOutgoing, keepTag: options.vlan === 'keep',
  }));
  const longest = mtuOf(link, host) + ETHERNET_HEADER;
  rings.tx.push(new TxRing(host.arena, `${name}/tx-ring`, link.ifindex, { slots: options.txRing, longest, qdiscBypass: options.qdiscBypass }));
}

function mtuOf(link: Link, host: PortHost): number {
  return Math.min(link.mtu, Math.max(JUMBO_MTU, host.pool.room - ETHERNET_HEADER));
}

/** The first socket may found the group; the others join it. */
function joinGroup({ fanout, fanoutMode: mode, queues }: Settings, rings: readonly RxRing[]): void {
  if (fanout === undefined && queues === 1) return;
  let group = fanout;
  for (const ring of rings) group = ring.join({ group, mode });
}

function port(options: Settings, host: PortHost, link: Link, rings: { rx: readonly RxRing[]; tx: readonly TxRing[] }, release: () => void): Port {
  const functions = burstFunctions(host.arena);
  const senders: PacketTxQueue[] = [];
  return new QueuePort(host, {
    mac: link.mac,
    capabilities: {
      mtu: mtuOf(link, host), rxQueues: options.queues, txQueues: options.queues,
      timestamps: 'software', zeroCopy: false, mode: describe(options),
    },
    rx(state, queue) {
      rings.rx[queue]!.describe(state);
      return new FunctionRxQueue(state, functions.packetRx);
    },
    tx(state, queue) {
      rings.tx[queue]!.describe(state);
      senders.push(new PacketTxQueue(state, functions));
      return senders[queue]!;
    },
    xstats(into, rx, tx) {
      receiveCounters(into, rings.rx, rx);
      sendCounters(into, senders, rings.tx, tx);
    },
    release,
  });
}

function describe({ rxBlocks, blockSize, blockTimeout, txRing, qdiscBypass, fanout, fanoutMode, queues }: Settings): string {
  const words = [`TPACKET_V3 ${rxBlocks} x ${blockSize / 1024} KiB, ${blockTimeout} ms`, `tx ring ${txRing}`, qdiscBypass ? 'qdisc bypass' : 'through the qdisc'];
  if (fanout !== undefined || queues > 1) words.push(`fanout ${fanout ?? 'of its own'}, ${fanoutMode}`);
  return words.join(', ');
}

function receiveCounters(into: Record<string, number>, rings: readonly RxRing[], states: readonly QueueState[]): void {
  Object.assign(into, {
    rx_bad_block: total(states, PACKET_BAD_BLOCK), rx_truncated: total(states, PACKET_TRUNCATED), rx_too_long: total(states, PACKET_RX_TOO_LONG),
    kernel_rx_packets: 0, kernel_rx_drops: 0, kernel_rx_freezes: 0, rx_interface_down: 0,
  });
  for (const ring of rings) {
    const { packets, drops, freezes, downs } = ring.statistics();
    into['kernel_rx_packets']! += packets;
    into['kernel_rx_drops']! += drops;
    into['kernel_rx_freezes']! += freezes;
    into['rx_interface_down']! += downs;
  }
}

function sendCounters(into: Record<string, number>, queues: readonly PacketTxQueue[], rings: readonly TxRing[], states: readonly QueueState[]): void {
  Object.assign(into, {
    tx_bad_frame: total(states, PACKET_BAD_FRAME), tx_too_long: total(states, PACKET_TX_TOO_LONG), tx_ring_full: total(states, PACKET_RING_FULL),
    tx_wrong_format: queues.reduce((sum, queue) => sum + queue.wrongFormat, 0), tx_kicks: queues.reduce((sum, queue) => sum + queue.kicks, 0),
    tx_unsent: rings.reduce((sum, ring) => sum + ring.unsent(), 0),
  });
  for (const { refusals } of queues) {
    for (const [errno, count] of refusals) {
      const name = `tx_kick_${errnoName(errno)}`;
      into[name] = (into[name] ?? 0) + count;
    }
  }
}
