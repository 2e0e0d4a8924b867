import type { Arena } from '../../../arena/arena.js';
import type { Memzone } from '../../../arena/directory.js';
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { SOL_SOCKET, SO_INCOMING_NAPI_ID, SO_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_PREFER_BUSY_POLL } from '../../../kernel/constants.js';
import { check, EACCES, ENOBUFS, ENOMEM, EPERM } from '../../../kernel/errno.js';
import type { Mempool } from '../../../mbuf/mempool.js';
import { QUEUE_FD } from '../../layout.js';
import type { QueueState } from '../../queue.js';
import {
  XSK_AIM, XSK_BUFFER_MASK, XSK_BUSY, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_DESCRIPTOR_BYTES, XSK_FLAGS, XSK_HELD, XSK_MASK, XSK_NEXT_A, XSK_NEXT_B, XSK_NEXT_FD,
  XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_STABLE_FD, XSK_UMEM, XSK_UMEM_BYTES,
} from './layout.js';
import {
  AF_XDP, MMAP_OFFSETS_BYTES, SOCK_RAW, SOL_XDP, STATISTICS, XDP_MAX_TX_SKB_BUDGET, XDP_MMAP_OFFSETS, XDP_OPTIONS,
  XDP_OPTIONS_ZEROCOPY, XDP_SHARED_UMEM, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING, XDP_RX_RING, XDP_STATISTICS, XDP_TX_RING,
  XDP_UMEM_COMPLETION_RING, XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_REG,
  readMmapOffsets, sockaddrXdp, type RingOffsets,
} from './uapi.js';

/** One of the kernel's rings, mapped over the arena. */
interface MappedRing {
  readonly zone: Memzone;
  readonly offsets: RingOffsets;
  readonly size: number;
}

/**
 * One AF_XDP socket with its four rings over the arena and the pool's buffers as its UMEM, in place. In the order of
 * Documentation/networking/af_xdp.rst: socket, UMEM, ring sizes, mmap; `bind` starts it. The descriptor and the
 * mappings are this object's; `close` gives both back.
 *
 * Of a port's sockets the first registers the UMEM, and the others share its registration (XDP_SHARED_UMEM); each has
 * a fill and a completion ring of its own, as it must on a queue of its own (Linux 5.10). The registration is counted by
 * the kernel (xdp_get_umem), so the socket that made it may be closed before the others.
 */
export class XskSocket {
  readonly fd: number;
  readonly #arena: Arena;
  readonly #pool: Mempool;
  readonly #rings: MappedRing[] = [];
  readonly #finalStatistics = new BigUint64Array(STATISTICS.length);
  #txBudget = 32;
  #busy = false;
  #closed = false;
  #counted = false;

  /**
   * @param fd a fresh socket that another made, and becomes this object's; without it, one is made
   * @param registers the pool as a UMEM; otherwise `bind` names the socket whose registration it shares
   */
  constructor(arena: Arena, pool: Mempool, name: string, sizes: { rx: number; tx: number }, fd = xdpSocket(), registers = true) {
    this.#arena = arena;
    this.#pool = pool;
    this.fd = fd;
    try {
      if (registers) this.#registerUmem();
      this.#mapRings(name, sizes);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** Of the pool's buffers. */
  get #bytes(): number {
    return this.#pool.size * this.#pool.bufferSize;
  }

  /** bind(2): from here on frames flow. Returns 0 or -errno, for the caller to explain. With `sharing`, mode and flags are that socket's, which must be bound. */
  bind(ifindex: number, queue: number, flags: number, sharing?: XskSocket): number {
    const address = sharing === undefined ? sockaddrXdp(flags, ifindex, queue) : sockaddrXdp(XDP_SHARED_UMEM, ifindex, queue, sharing.fd);
    return binding().bind(this.fd, address);
  }

  /** Did the bind end in zero-copy? */
  get zeroCopy(): boolean {
    const value = new Uint8Array(4);
    check(binding().getsockopt(this.fd, SOL_XDP, XDP_OPTIONS, value), 'getsockopt(XDP_OPTIONS)');
    return (value[0]! & XDP_OPTIONS_ZEROCOPY) !== 0;
  }

  /** How many packets one sendto may send in copy mode; 32 where the kernel cannot be told. */
  get txBudget(): number {
    return this.#txBudget;
  }

  raiseTxBudget(packets: number): void {
    if (binding().setsockopt(this.fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, u32(packets)) === 0) this.#txBudget = packets;
  }

  /**
   * SO_PREFER_BUSY_POLL, SO_BUSY_POLL (microseconds) and SO_BUSY_POLL_BUDGET (Linux 5.11, Documentation/networking/napi.rst):
   * from now on a system call for its queues runs the NAPI that their packets come by. Throws ERIGHTS, EUNSUPPORTED.
   */
  busyPoll(microseconds: number, budget: number): void {
    const option = (name: number, value: number, text: string): void => {
      check(binding().setsockopt(this.fd, SOL_SOCKET, name, u32(value)), `setsockopt(${text})`, 'busy polling needs CAP_NET_ADMIN, and a kernel from 5.11 on with CONFIG_NET_RX_BUSY_POLL: run as root, or leave busy_poll= out.');
    };
    option(SO_PREFER_BUSY_POLL, 1, 'SO_PREFER_BUSY_POLL');
    option(SO_BUSY_POLL, microseconds, 'SO_BUSY_POLL');
    option(SO_BUSY_POLL_BUDGET, budget, 'SO_BUSY_POLL_BUDGET');
    this.#busy = true;
  }

  /**
   * Does the kernel know which NAPI to run? It asks the driver at bind (Linux 6.14, netif_queue_set_napi: veth says nothing),
   * and before 6.13 it learnt from the first packet. While it does not, a busy poll does nothing, and interrupts do all.
   */
  get knowsNapi(): boolean {
    const value = new Uint8Array(4);
    return binding().getsockopt(this.fd, SOL_SOCKET, SO_INCOMING_NAPI_ID, value) > 0 && value.some(byte => byte !== 0);
  }

  /** Makes a queue's state that of this socket. */
  describe(state: QueueState): void {
    state.set(QUEUE_FD, this.fd);
    state.set(XSK_STABLE_FD, this.fd);
    this.#describeRings(state, XSK_RING_A, XSK_RING_B);
    state.set(XSK_UMEM, this.#pool.buffers.offset);
    // Not the zone's length: that is rounded up to huge pages, and the kernel knows of whole buffers only.
    state.set(XSK_UMEM_BYTES, this.#bytes);
    state.set(XSK_BUFFER_MASK, this.#pool.bufferSize - 1);
    state.set(XSK_HELD, 0);
    state.set(XSK_BUSY, Number(this.#busy));
    // As many as the RX ring holds, so that a frame that was given a buffer finds a place in it.
    state.set(XSK_AIM, state.direction === 'rx' ? this.#rings[0]!.size : 0);
  }

  /** Tells a queue's state that its next rings are this socket's. */
  offer(state: QueueState): void {
    state.set(XSK_NEXT_FD, this.fd);
    this.#describeRings(state, XSK_NEXT_A, XSK_NEXT_B);
  }

  #describeRings(state: QueueState, a: number, b: number): void {
    const [rx, tx, fill, completion] = this.#rings as [MappedRing, MappedRing, MappedRing, MappedRing];
    describeRing(state, a, state.direction === 'rx' ? rx : tx);
    describeRing(state, b, state.direction === 'rx' ? fill : completion);
  }

  /** XDP_STATISTICS, by the kernel's names, added up. */
  addStatistics(into: Record<string, number>): void {
    const counts = this.#finalStatistics;
    if (!this.#counted) binding().getsockopt(this.fd, SOL_XDP, XDP_STATISTICS, new Uint8Array(counts.buffer));
    STATISTICS.forEach((name, index) => { into[`kernel_${name}`] = (into[`kernel_${name}`] ?? 0) + Number(counts[index]); });
  }

  /** Its interface is gone: the kernel counts no more, and soon the number of the descriptor may be another socket's. */
  stopCounting(): void {
    this.addStatistics({});
    this.#counted = true;
  }

  /** @param number false: the number of the descriptor is used for another socket, and stays */
  close(number = true): void {
    if (this.#closed) return;
    this.stopCounting();
    this.#closed = true;
    if (number) binding().close(this.fd);
    for (const ring of this.#rings) this.#arena.release(ring.zone);
  }

  /** struct xdp_umem_reg: the pool's buffers as they stand; a chunk is a buffer. */
  #registerUmem(): void {
    const { buffers, bufferSize } = this.#pool;
    const registration = new Uint8Array(32);
    const view = new DataView(registration.buffer);
    view.setBigUint64(8, BigInt(this.#bytes), true);
    view.setUint32(16, bufferSize, true);
    const zone = this.#arena.u8.subarray(buffers.offset, buffers.offset + this.#bytes);
    const result = binding().setsockopt(this.fd, SOL_XDP, XDP_UMEM_REG, registration, [[0, zone]]);
    if (result === -ENOBUFS || result === -ENOMEM) {
      throw new PollmodeError('EMEMLOCK', `The kernel may not lock the pool's ${Math.ceil(this.#bytes / 2 ** 20)} MiB: raise the limit (ulimit -l unlimited, or LimitMEMLOCK= in a systemd unit), give node CAP_IPC_LOCK, or ask for fewer mbufs.`, { syscall: 'setsockopt(XDP_UMEM_REG)', errno: -result });
    }
    check(result, 'setsockopt(XDP_UMEM_REG)');
  }

  #mapRings(name: string, sizes: { rx: number; tx: number }): void {
    const option = (which: number, size: number): void => { check(binding().setsockopt(this.fd, SOL_XDP, which, u32(size)), 'setsockopt(ring size)', 'ring sizes are powers of two'); };
    option(XDP_UMEM_FILL_RING, sizes.rx);
    option(XDP_UMEM_COMPLETION_RING, sizes.tx);
    option(XDP_RX_RING, sizes.rx);
    option(XDP_TX_RING, sizes.tx);
    const bytes = new Uint8Array(MMAP_OFFSETS_BYTES);
    const length = check(binding().getsockopt(this.fd, SOL_XDP, XDP_MMAP_OFFSETS, bytes), 'getsockopt(XDP_MMAP_OFFSETS)');
    if (length !== MMAP_OFFSETS_BYTES) throw new PollmodeError('EUNSUPPORTED', 'This kernel\'s AF_XDP has no need-wakeup flags: Linux 5.4 or newer is needed.');
    const offsets = readMmapOffsets(bytes);
    this.#map(`${name}/rx-ring`, offsets.rx, sizes.rx, XSK_DESCRIPTOR_BYTES, XDP_PGOFF_RX_RING);
    this.#map(`${name}/tx-ring`, offsets.tx, sizes.tx, XSK_DESCRIPTOR_BYTES, XDP_PGOFF_TX_RING);
    this.#map(`${name}/fill-ring`, offsets.fill, sizes.rx, 8, XDP_UMEM_PGOFF_FILL_RING);
    this.#map(`${name}/completion-ring`, offsets.completion, sizes.tx, 8, XDP_UMEM_PGOFF_COMPLETION_RING);
  }

  #map(name: string, offsets: RingOffsets, size: number, entry: number, fdOffset: number): void {
    const zone = this.#arena.overlay(name, offsets.descriptors + size * entry, this.fd, { fdOffset, flags: MAP_POPULATE });
    this.#rings.push({ zone, offsets, size });
  }
}

const MAP_POPULATE = 0x8000;

/** A socket of the calling thread's network namespace, where it can be bound. Throws ERIGHTS, EUNSUPPORTED. */
export function xdpSocket(): number {
  const fd = binding().socket(AF_XDP, SOCK_RAW, 0);
  if (fd === -EPERM || fd === -EACCES) {
    throw new PollmodeError('ERIGHTS', 'An AF_XDP socket needs CAP_NET_RAW: run as root, give node the capability (setcap cap_net_raw,cap_net_admin,cap_bpf+ep), or take one from pollmode broker (broker=).', { syscall: 'socket', errno: -fd });
  }
  return check(fd, 'socket', 'AF_XDP needs a kernel with CONFIG_XDP_SOCKETS (Linux 4.18 or newer)');
}

function describeRing(state: QueueState, at: number, { zone, offsets, size }: MappedRing): void {
  state.set(at + XSK_PRODUCER, zone.offset + offsets.producer);
  state.set(at + XSK_CONSUMER, zone.offset + offsets.consumer);
  state.set(at + XSK_FLAGS, zone.offset + offsets.flags);
  state.set(at + XSK_DESCRIPTORS, zone.offset + offsets.descriptors);
  state.set(at + XSK_MASK, size - 1);
}

function u32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}
