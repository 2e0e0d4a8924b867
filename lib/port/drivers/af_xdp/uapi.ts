/** include/uapi/linux/if_xdp.h, bpf.h and if_link.h: the numbers of AF_XDP. */
export const AF_XDP = 44;
export const SOCK_RAW = 3;
export const SOL_XDP = 283;

// Socket options.
export const XDP_MMAP_OFFSETS = 1;
export const XDP_RX_RING = 2;
export const XDP_TX_RING = 3;
export const XDP_UMEM_REG = 4;
export const XDP_UMEM_FILL_RING = 5;
export const XDP_UMEM_COMPLETION_RING = 6;
export const XDP_STATISTICS = 7;
export const XDP_OPTIONS = 8;
/** Linux 6.17: packets that one sendto may send in copy mode, 32 before. */
export const XDP_MAX_TX_SKB_BUDGET = 9;

// sockaddr_xdp.sxdp_flags
/** The UMEM registration of the socket sxdp_shared_umem_fd. */
export const XDP_SHARED_UMEM = 1 << 0;
export const XDP_COPY = 1 << 1;
export const XDP_ZEROCOPY = 1 << 2;
export const XDP_USE_NEED_WAKEUP = 1 << 3;
/** Linux 6.6: frames in several buffers. */
export const XDP_USE_SG = 1 << 4;

// mmap offsets of the four rings.
export const XDP_PGOFF_RX_RING = 0;
export const XDP_PGOFF_TX_RING = 0x80000000;
export const XDP_UMEM_PGOFF_FILL_RING = 0x100000000;
export const XDP_UMEM_PGOFF_COMPLETION_RING = 0x180000000;

/** Bytes before a frame that the kernel keeps in each UMEM chunk. */
export const XDP_PACKET_HEADROOM = 256;

export const XDP_OPTIONS_ZEROCOPY = 1;

// IFLA_XDP_FLAGS, used by bpf_link too.
export const XDP_FLAGS_SKB_MODE = 1 << 1;
export const XDP_FLAGS_DRV_MODE = 1 << 2;

export const MSG_DONTWAIT = 0x40;

/** struct xdp_ring_offset: where the producer, the consumer, the descriptors and the flags of one ring stand in its mapping. */
export interface RingOffsets {
  readonly producer: number;
  readonly consumer: number;
  readonly descriptors: number;
  readonly flags: number;
}

/** struct xdp_mmap_offsets: rx, tx, fill, completion. */
export function readMmapOffsets(bytes: Uint8Array): { rx: RingOffsets; tx: RingOffsets; fill: RingOffsets; completion: RingOffsets } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const field = (index: number): number => Number(view.getBigUint64(index * 8, true));
  const ring = (first: number): RingOffsets => ({ producer: field(first), consumer: field(first + 1), descriptors: field(first + 2), flags: field(first + 3) });
  return { rx: ring(0), tx: ring(4), fill: ring(8), completion: ring(12) };
}
export const MMAP_OFFSETS_BYTES = 128;

/** struct xdp_statistics, in its order. Names for xstats. */
export const STATISTICS = ['rx_dropped', 'rx_invalid_descs', 'tx_invalid_descs', 'rx_ring_full', 'rx_fill_ring_empty_descs', 'tx_ring_empty_descs'] as const;

/** struct sockaddr_xdp. */
export function sockaddrXdp(flags: number, ifindex: number, queue: number, sharedUmemFd = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_XDP, true);
  view.setUint16(2, flags, true);
  view.setUint32(4, ifindex, true);
  view.setUint32(8, queue, true);
  view.setUint32(12, sharedUmemFd, true);
  return bytes;
}
