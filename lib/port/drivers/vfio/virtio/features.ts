/** Which features are taken of those that a device offers: virtio 1.2, sections 3.1, 5.1.3 and 6. */
import { PollmodeError } from '../../../../errors.js';
import {
  VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_ORDER_PLATFORM, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HASH_REPORT, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_MAC, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_RSS, VIRTIO_NET_F_SPEED_DUPLEX, VIRTIO_NET_F_STATUS,
  VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
} from '../../../../virtqueue/features.js';

export interface Wishes {
  /** Pairs of queues. */
  readonly queues: number;
  /** Bytes of the largest IP packet. */
  readonly mtu: number;
  /** Lets the device drop frames of VLANs that were not chosen. */
  readonly vlanFilter: boolean;
  /** Takes frames with what was left to be done, and packets that are still to be cut. */
  readonly passOffloads: boolean;
}

const ALWAYS = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_ORDER_PLATFORM | VIRTIO_F_RING_PACKED | VIRTIO_RING_F_EVENT_IDX
  | VIRTIO_RING_F_INDIRECT_DESC | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MTU | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_CTRL_VQ
  | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_SPEED_DUPLEX | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6;
const UNCUT = VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6;

const NEEDS: readonly (readonly [bit: bigint, why: string])[] = [
  [VIRTIO_F_VERSION_1, 'it is a legacy one (QEMU: disable-legacy=on)'],
  [VIRTIO_F_ACCESS_PLATFORM, 'it goes around the IOMMU, so its addresses would be those of the machine (QEMU: iommu_platform=on)'],
];

/** Throws EUNSUPPORTED, with what is missing. */
export function chooseFeatures(name: string, offered: bigint, { queues, vlanFilter, passOffloads }: Wishes): bigint {
  const refuse = (why: string): never => { throw new PollmodeError('EUNSUPPORTED', `${name}: the virtio device cannot be used, ${why}.`); };
  for (const [bit, why] of NEEDS) if ((offered & bit) === 0n) refuse(why);
  const has = (bits: bigint): boolean => (offered & bits) === bits;
  const steered = VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_VQ;
  if (queues > 1 && !has(steered)) refuse(`it has one pair of queues, and ${queues} are asked for (QEMU: mq=on and a netdev with queues=)`);
  const filtered = VIRTIO_NET_F_CTRL_VLAN | VIRTIO_NET_F_CTRL_VQ;
  if (vlanFilter && !has(filtered)) refuse('it has no VLAN filter');
  const wanted = ALWAYS | (queues > 1 ? steered | VIRTIO_NET_F_RSS | VIRTIO_NET_F_HASH_REPORT : 0n) | (vlanFilter ? filtered : 0n) | (passOffloads ? UNCUT : 0n);
  return offered & wanted & ~lacking(has);
}

/** What cannot be had without another feature, where that is not there: 5.1.3.1; and 64 KiB are never in one buffer of ours. */
function lacking(has: (bits: bigint) => boolean): bigint {
  return (has(VIRTIO_NET_F_CTRL_VQ) ? 0n : VIRTIO_NET_F_CTRL_RX) | (has(VIRTIO_NET_F_RSS) ? 0n : VIRTIO_NET_F_HASH_REPORT) | (has(VIRTIO_NET_F_CSUM) ? 0n : VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6)
    | (has(VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MRG_RXBUF) ? 0n : UNCUT);
}
