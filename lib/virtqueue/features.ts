import { NET_HASH_HEADER, NET_HEADER, OFFLOAD_CSUM, OFFLOAD_TSO4, OFFLOAD_TSO6 } from './layout.js';

/** Feature bits, by the names of virtio 1.2 (sections 6 and 5.1.3) and of vhost-user. */
export const VIRTIO_NET_F_CSUM = 1n << 0n;
export const VIRTIO_NET_F_GUEST_CSUM = 1n << 1n;
/** The device cuts TCP packets that the driver sends. */
export const VIRTIO_NET_F_HOST_TSO4 = 1n << 11n;
export const VIRTIO_NET_F_HOST_TSO6 = 1n << 12n;
/** The driver takes TCP packets that are still to be cut. */
export const VIRTIO_NET_F_GUEST_TSO4 = 1n << 7n;
export const VIRTIO_NET_F_GUEST_TSO6 = 1n << 8n;
export const VIRTIO_NET_F_MTU = 1n << 3n;
export const VIRTIO_NET_F_MAC = 1n << 5n;
export const VIRTIO_NET_F_MRG_RXBUF = 1n << 15n;
export const VIRTIO_NET_F_STATUS = 1n << 16n;
export const VIRTIO_NET_F_CTRL_VQ = 1n << 17n;
export const VIRTIO_NET_F_CTRL_RX = 1n << 18n;
export const VIRTIO_NET_F_CTRL_VLAN = 1n << 19n;
export const VIRTIO_NET_F_MQ = 1n << 22n;
export const VIRTIO_F_ANY_LAYOUT = 1n << 27n;
export const VIRTIO_RING_F_INDIRECT_DESC = 1n << 28n;
export const VIRTIO_RING_F_EVENT_IDX = 1n << 29n;
export const VHOST_USER_F_PROTOCOL_FEATURES = 1n << 30n;
export const VIRTIO_F_VERSION_1 = 1n << 32n;
/** The device's addresses are those of an IOMMU. */
export const VIRTIO_F_ACCESS_PLATFORM = 1n << 33n;
export const VIRTIO_F_RING_PACKED = 1n << 34n;
export const VIRTIO_F_IN_ORDER = 1n << 35n;
/** Barriers must order what the device itself sees (6.1). */
export const VIRTIO_F_ORDER_PLATFORM = 1n << 36n;
/** The device tells of each frame the hash by which it chose the queue. */
export const VIRTIO_NET_F_HASH_REPORT = 1n << 57n;
export const VIRTIO_NET_F_RSS = 1n << 60n;
export const VIRTIO_NET_F_SPEED_DUPLEX = 1n << 63n;

/** OFFLOAD_*: what frames of the driver's may leave to the device (of its send ring), or the device's to the driver (of its receive ring). Segments need checksums (5.1.3.1). */
export function offloads(features: bigint, ring: 'send' | 'receive'): number {
  const [csum, tso4, tso6] = ring === 'send' ? [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6]
    : [VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6];
  if ((features & csum) === 0n) return 0;
  return OFFLOAD_CSUM | ((features & tso4) === 0n ? 0 : OFFLOAD_TSO4) | ((features & tso6) === 0n ? 0 : OFFLOAD_TSO6);
}

/** What a virtqueue's state says of the features that both sides have. */
export interface RingFormat {
  readonly packed: boolean;
  readonly eventIdx: boolean;
  readonly mergeable: boolean;
  readonly indirect: boolean;
  /** Buffers are used in the order in which they were made available. */
  readonly inOrder: boolean;
  /** Bytes of struct virtio_net_hdr: 12, or 10 without num_buffers (5.1.6.1: only a legacy one has none), or 20 with a hash. */
  readonly header: number;
}

export function ringFormat(features: bigint): RingFormat {
  const has = (bit: bigint): boolean => (features & bit) !== 0n;
  return {
    packed: has(VIRTIO_F_RING_PACKED), eventIdx: has(VIRTIO_RING_F_EVENT_IDX), mergeable: has(VIRTIO_NET_F_MRG_RXBUF),
    indirect: has(VIRTIO_RING_F_INDIRECT_DESC), inOrder: has(VIRTIO_F_IN_ORDER),
    header: has(VIRTIO_NET_F_HASH_REPORT) ? NET_HASH_HEADER : has(VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF) ? NET_HEADER : 10,
  };
}
