/** What an interface's driver can do for XDP, by the `netdev` generic netlink family (linux/netdev.h, Linux 6.3; frames in several buffers from 6.6 on). */
import { PollmodeError } from '../errors.js';
import { u32Attribute } from './attributes.js';
import { getU32, getU64 } from './bytes.js';
import { NETLINK_GENERIC } from './constants.js';
import { genericAttributes, genericFamily, genericPayload, netlinkRequest } from './netlink.js';

const NETDEV_CMD_DEV_GET = 1;
const NETDEV_A_DEV_IFINDEX = 1;
const NETDEV_A_DEV_XDP_FEATURES = 3;
const NETDEV_A_DEV_XDP_ZC_MAX_SEGS = 4;
/** enum netdev_xdp_act */
const NETDEV_XDP_ACT_RX_SG = 1n << 5n;

export interface XdpFeatures {
  /** Does a native program get frames in several buffers? */
  readonly receivesFrags: boolean;
  /** Buffers of a frame that zero-copy AF_XDP sends at most; 1: no frame in several. */
  readonly zeroCopySegments: number;
}

/** Of an interface in the calling thread's namespace; undefined where the kernel is too old to say, or knows no such interface. */
export function readXdpFeatures(ifindex: number): XdpFeatures | undefined {
  try {
    const payload = genericPayload(NETDEV_CMD_DEV_GET, 1, u32Attribute(NETDEV_A_DEV_IFINDEX, ifindex));
    const [answer] = netlinkRequest(NETLINK_GENERIC, genericFamily('netdev'), 0, payload, `XDP features of link ${ifindex}`);
    const found = answer === undefined ? undefined : genericAttributes(answer);
    const features = found?.get(NETDEV_A_DEV_XDP_FEATURES);
    if (found === undefined || features === undefined || features.length < 8) return undefined;
    const segments = found.get(NETDEV_A_DEV_XDP_ZC_MAX_SEGS);
    return { receivesFrags: (getU64(features, 0) & NETDEV_XDP_ACT_RX_SG) !== 0n, zeroCopySegments: segments === undefined ? 1 : getU32(segments, 0) };
  } catch (cause) {
    if (cause instanceof PollmodeError) return undefined;
    throw cause;
  }
}
