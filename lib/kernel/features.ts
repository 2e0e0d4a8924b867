/**
 * What the kernel says an interface can do with XDP: its `netdev` generic netlink family (linux/netdev.h,
 * Documentation/netlink/specs/netdev.yaml; Linux 6.3 and later). Asking alters nothing and needs no rights.
 */
import { PollmodeError } from '../errors.js';
import { u32Attribute } from './attributes.js';
import { getU32, getU64 } from './bytes.js';
import { NETLINK_GENERIC, NLM_F_DUMP } from './constants.js';
import { genericAttributes, genericFamily, genericPayload, netlinkRequest, type Message } from './netlink.js';

const NETDEV_CMD_DEV_GET = 1;
const NETDEV_A_DEV_IFINDEX = 1;
const NETDEV_A_DEV_XDP_FEATURES = 3;
const NETDEV_A_DEV_XDP_ZC_MAX_SEGS = 4;
const NETDEV_A_DEV_XDP_RX_METADATA_FEATURES = 5;
const NETDEV_A_DEV_XSK_FEATURES = 6;

/** Names by bit number, as in the kernel's specification. */
const XDP_ACT = ['basic', 'redirect', 'ndo-xmit', 'xsk-zerocopy', 'hw-offload', 'rx-sg', 'ndo-xmit-sg'] as const;
const RX_METADATA = ['timestamp', 'hash', 'vlan-tag'] as const;
const XSK_FLAGS = ['tx-timestamp', 'tx-checksum', 'tx-launch-time-fifo'] as const;
export type XdpAct = (typeof XDP_ACT)[number];
export type RxMetadata = (typeof RX_METADATA)[number];
export type XskFlag = (typeof XSK_FLAGS)[number];

export interface XdpFeatures {
  ifindex: number;
  xdp: XdpAct[];
  rxMetadata: RxMetadata[];
  xsk: XskFlag[];
  /** Segments of one packet in zero-copy mode; 0 where there is no zero-copy. */
  zeroCopyMaxSegments: number;
}

/** One interface of the calling thread's namespace. ENOTFOUND without it, or where the kernel is too old to say. */
export function xdpFeatures(ifindex: number): XdpFeatures {
  const payload = genericPayload(NETDEV_CMD_DEV_GET, 1, u32Attribute(NETDEV_A_DEV_IFINDEX, ifindex));
  const [answer] = netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), 0, payload, `XDP features of link ${ifindex}`);
  if (answer === undefined) throw new PollmodeError('ENOTFOUND', `The kernel said nothing about link ${ifindex}: check that it exists.`);
  return parseFeatures(answer);
}

export function listXdpFeatures(): XdpFeatures[] {
  const payload = genericPayload(NETDEV_CMD_DEV_GET, 1);
  return netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), NLM_F_DUMP, payload, 'XDP features').map(parseFeatures);
}

/** Reads one NETDEV_CMD_DEV_GET answer. Bits that have no name here are left out. */
export function parseFeatures(answer: Message): XdpFeatures {
  const found = genericAttributes(answer);
  const bits = (type: number): bigint => {
    const bytes = found.get(type);
    return bytes === undefined ? 0n : getU64(bytes, 0);
  };
  const word = (type: number): number => {
    const bytes = found.get(type);
    return bytes === undefined ? 0 : getU32(bytes, 0);
  };
  return {
    ifindex: word(NETDEV_A_DEV_IFINDEX),
    xdp: named(bits(NETDEV_A_DEV_XDP_FEATURES), XDP_ACT),
    rxMetadata: named(bits(NETDEV_A_DEV_XDP_RX_METADATA_FEATURES), RX_METADATA),
    xsk: named(bits(NETDEV_A_DEV_XSK_FEATURES), XSK_FLAGS),
    zeroCopyMaxSegments: word(NETDEV_A_DEV_XDP_ZC_MAX_SEGS),
  };
}

function named<Name extends string>(mask: bigint, names: readonly Name[]): Name[] {
  return names.filter((_, bit) => (mask >> BigInt(bit) & 1n) === 1n);
}
