import type { Arena } from '../../../arena/arena.js';
import type { Memzone } from '../../../arena/directory.js';
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { getI32, getU32, u32 } from '../../../kernel/bytes.js';
import { AF_PACKET, ETH_P_ALL, SOCK_RAW, SOL_PACKET, SOL_SOCKET, SO_SNDBUF, SO_SNDBUFFORCE } from '../../../kernel/constants.js';
import { check, EINVAL, ENETDOWN, ENOMEM, ENOPROTOOPT, EPERM, kernelError } from '../../../kernel/errno.js';
import { QUEUE_FD } from '../../layout.js';
import type { QueueState } from '../../queue.js';
import {
  PACKET_BLOCKS, PACKET_BLOCK_BYTES, PACKET_KEEP_TAG, PACKET_LAST, PACKET_LONGEST, PACKET_RING, PACKET_SLOTS,
  PACKET_SLOT_BYTES, TP2_FRAME, TP_STATUS_SEND_REQUEST, VLAN_TAG,
} from './layout.js';
import {
  FANOUT_MODES, PACKET_ADD_MEMBERSHIP, PACKET_FANOUT, PACKET_FANOUT_FLAG_UNIQUEID, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS,
  PACKET_RX_RING, PACKET_STATISTICS, PACKET_TX_RING, PACKET_VERSION, PACKET_VNET_HDR, TPACKET_V2, TPACKET_V3, promiscuousRequest,
  rxRingRequest, sockaddrLl, txRingRequest, type FanoutMode, type RxRingSize,
} from './uapi.js';

const SO_ERROR = 4;
const MAP_POPULATE = 0x8000;
/** So many slots make up one of the kernel's blocks: then slots of whole cache lines fill blocks of whole pages. */
export const SLOTS_PER_BLOCK = 64;

export interface RxSettings extends RxRingSize {
  readonly promiscuous: boolean;
  readonly ignoreOutgoing: boolean;
  readonly keepTag: boolean;
}

/** What a fanout group is called and how it shares out; without a number, one that the kernel chooses. */
export interface Fanout {
  readonly group: number | undefined;
  readonly mode: FanoutMode;
}

/**
 * A socket with a TPACKET_V3 receive ring over the arena. In the order of Documentation/networking/packet_mmap.rst:
 * socket, ring, mmap, bind. It is made with protocol 0, so that nothing of other interfaces comes in before the bind.
 */
export class RxRing {
  readonly fd: number;
  readonly #arena: Arena;
  readonly #settings: RxSettings;
  readonly #totals = { packets: 0, drops: 0, freezes: 0, downs: 0 };
  #zone: Memzone | undefined;

  constructor(arena: Arena, name: string, ifindex: number, settings: RxSettings) {
    this.#arena = arena;
    this.#settings = settings;
    this.fd = packetSocket();
    try {
      set(this.fd, PACKET_VERSION, TPACKET_V3, 'TPACKET_V3 needs Linux 3.2 or newer.');
      if (settings.ignoreOutgoing) ignoreOutgoing(this.fd);
      const bytes = settings.blockBytes * settings.blocks;
      askForRing(this.fd, PACKET_RX_RING, rxRingRequest(settings), bytes, 'fewer or smaller blocks (rx_blocks=, block_size=)');
      this.#zone = arena.overlay(name, bytes, this.fd, { flags: MAP_POPULATE });
      bind(this.fd, ETH_P_ALL, ifindex);
      if (settings.promiscuous) check(binding().setsockopt(this.fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuousRequest(ifindex)), 'setsockopt(PACKET_ADD_MEMBERSHIP)');
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** Joins a fanout group: each packet goes to one of its sockets. Returns the group's number. Throws EOPTION. */
  join({ group, mode }: Fanout): number {
    const flags = group === undefined ? PACKET_FANOUT_FLAG_UNIQUEID : 0;
    const result = binding().setsockopt(this.fd, SOL_PACKET, PACKET_FANOUT, u32((((FANOUT_MODES[mode] | flags) << 16) | (group ?? 0)) >>> 0));
    if (result === -EINVAL) throw new PollmodeError('EOPTION', `Fanout group ${String(group)} is there already, with another mode or on another interface: choose another number, or the same fanout_mode= in all its ports.`, { syscall: 'setsockopt(PACKET_FANOUT)', errno: EINVAL });
    check(result, 'setsockopt(PACKET_FANOUT)', 'a fanout group has at most 256 sockets: choose another number.');
    const joined = new Uint8Array(4);
    check(binding().getsockopt(this.fd, SOL_PACKET, PACKET_FANOUT, joined), 'getsockopt(PACKET_FANOUT)');
    return getU32(joined, 0) & 0xffff;
  }

  /** Tells a queue's state where its ring is. */
  describe(state: QueueState): void {
    state.set(QUEUE_FD, this.fd);
    state.set(PACKET_RING, this.#zone!.offset);
    state.set(PACKET_BLOCK_BYTES, this.#settings.blockBytes);
    state.set(PACKET_BLOCKS, this.#settings.blocks);
    state.set(PACKET_KEEP_TAG, this.#settings.keepTag ? 1 : 0);
  }

  /**
   * PACKET_STATISTICS since the socket was opened: the kernel forgets them when it is asked, so they are added up here.
   * `packets` counts what came, drops included; `freezes` how often the ring had no free block.
   */
  statistics(): { readonly packets: number; readonly drops: number; readonly freezes: number; readonly downs: number } {
    const counts = new Uint8Array(12);
    if (binding().getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, counts) === counts.length) {
      this.#totals.packets += getU32(counts, 0);
      this.#totals.drops += getU32(counts, 4);
      this.#totals.freezes += getU32(counts, 8);
    }
    // The kernel leaves ENETDOWN on the socket when the interface goes down; asking clears it.
    const error = new Uint8Array(4);
    if (binding().getsockopt(this.fd, SOL_SOCKET, SO_ERROR, error) === 4 && getI32(error, 0) === ENETDOWN) this.#totals.downs++;
    return this.#totals;
  }

  close(): void {
    binding().close(this.fd);
    if (this.#zone !== undefined) this.#arena.release(this.#zone);
  }
}

export interface TxSettings {
  /** A multiple of SLOTS_PER_BLOCK. */
  readonly slots: number;
  /** Bytes of the longest frame without a VLAN tag. */
  readonly longest: number;
  readonly qdiscBypass: boolean;
}

/**
 * A socket with a transmit ring over the arena: one of its own, because
 * - its frames have a virtio_net_hdr before them (PACKET_VNET_HDR holds for all of a socket). Its `hdr_len` says how
 *   much the kernel shall copy into the packet; without it, all but the Ethernet header is attached as pages of the
 *   ring, which a veth must copy into new pages, and a NIC must map one by one;
 * - it is TPACKET_V2: V3's blocks are for receiving only, and both rings of a socket are of one version;
 * - bound with protocol 0 it receives nothing, so a port that only sends costs its host no copies.
 */
export class TxRing {
  readonly fd: number;
  readonly #arena: Arena;
  readonly #settings: TxSettings;
  readonly #slotBytes: number;
  #zone: Memzone | undefined;

  constructor(arena: Arena, name: string, ifindex: number, settings: TxSettings) {
    this.#arena = arena;
    this.#settings = settings;
    this.#slotBytes = Math.ceil((TP2_FRAME + settings.longest + VLAN_TAG) / 64) * 64;
    this.fd = packetSocket();
    try {
      set(this.fd, PACKET_VERSION, TPACKET_V2, 'TPACKET_V2 needs Linux 2.6.27 or newer.');
      set(this.fd, PACKET_VNET_HDR, 1, 'A transmit ring with virtio_net_hdr needs Linux 4.6 or newer.');
      if (settings.qdiscBypass) set(this.fd, PACKET_QDISC_BYPASS, 1, 'qdisc_bypass needs Linux 3.14 or newer: leave it out.');
      const bytes = this.#slotBytes * settings.slots;
      askForRing(this.fd, PACKET_TX_RING, txRingRequest(this.#slotBytes, settings.slots, SLOTS_PER_BLOCK), bytes, 'fewer slots (tx_ring=)');
      this.#roomForAll(bytes);
      this.#zone = arena.overlay(name, bytes, this.fd, { flags: MAP_POPULATE });
      bind(this.fd, 0, ifindex);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  describe(state: QueueState): void {
    const ring = this.#zone!.offset;
    state.set(QUEUE_FD, this.fd);
    state.set(PACKET_RING, ring);
    state.set(PACKET_SLOT_BYTES, this.#slotBytes);
    state.set(PACKET_SLOTS, this.#settings.slots);
    state.set(PACKET_LAST, ring); // an empty slot: nothing to send
    state.set(PACKET_LONGEST, this.#settings.longest);
  }

  /** Frames in the ring that the kernel has not taken. */
  unsent(): number {
    const { u32 } = this.#arena;
    let count = 0;
    for (let slot = 0; slot < this.#settings.slots; slot++) {
      if (u32[(this.#zone!.offset + slot * this.#slotBytes) >>> 2] === TP_STATUS_SEND_REQUEST) count++;
    }
    return count;
  }

  close(): void {
    binding().close(this.fd);
    if (this.#zone !== undefined) this.#arena.release(this.#zone);
  }

  /** A send buffer for a whole ring and the kernel's overhead, so that send(2) ends because all is sent; as much as the system lets us have. */
  #roomForAll(bytes: number): void {
    const wanted = u32(bytes + this.#settings.slots * 1024);
    if (binding().setsockopt(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, wanted) < 0) binding().setsockopt(this.fd, SOL_SOCKET, SO_SNDBUF, wanted);
  }
}

function packetSocket(): number {
  const fd = binding().socket(AF_PACKET, SOCK_RAW, 0);
  if (fd === -EPERM) {
    throw new PollmodeError('ERIGHTS', 'A packet socket needs CAP_NET_RAW: run as root, or give node the capability (setcap cap_net_raw+ep).', { syscall: 'socket', errno: EPERM });
  }
  return check(fd, 'socket', 'AF_PACKET needs a kernel with CONFIG_PACKET.');
}

function set(fd: number, option: number, value: number, mend: string): void {
  check(binding().setsockopt(fd, SOL_PACKET, option, u32(value)), 'setsockopt(SOL_PACKET)', mend);
}

function ignoreOutgoing(fd: number): void {
  const result = binding().setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1));
  if (result === -ENOPROTOOPT) throw new PollmodeError('EUNSUPPORTED', 'Leaving out what the host itself sends needs Linux 4.20 or newer: set ignore_outgoing=0, and tell such frames by their source.', { syscall: 'setsockopt(PACKET_IGNORE_OUTGOING)', errno: ENOPROTOOPT });
  check(result, 'setsockopt(PACKET_IGNORE_OUTGOING)');
}

function askForRing(fd: number, option: number, request: Uint8Array, bytes: number, less: string): void {
  const result = binding().setsockopt(fd, SOL_PACKET, option, request);
  if (result === -ENOMEM) {
    throw new PollmodeError('ESYSCALL', `The kernel has no memory for a ring of ${Math.ceil(bytes / 2 ** 20)} MiB: ask for ${less}.`, { syscall: 'setsockopt(packet ring)', errno: ENOMEM });
  }
  check(result, 'setsockopt(packet ring)', result === -EINVAL ? `the kernel refuses this ring's shape: ask for ${less}, blocks in powers of two.` : undefined);
}

function bind(fd: number, protocol: number, ifindex: number): void {
  const result = binding().bind(fd, sockaddrLl(protocol, ifindex));
  if (result < 0) throw kernelError(-result, 'bind');
}
