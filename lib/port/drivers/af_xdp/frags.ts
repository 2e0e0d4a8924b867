/** Frames in several buffers (multi-buffer): whether a port asks for them, and what of it the kernel and the driver grant. */
import { PollmodeError } from '../../../errors.js';
import { xdpFeatures, type XdpFeatures } from '../../../kernel/features.js';
import type { Link } from '../../../kernel/link.js';
import { ETHER_HEADER_BYTES, VLAN_TAG_BYTES } from '../../../wire/protocol_layout.js';
import type { Settings } from './options.js';

const OVERHEAD = ETHER_HEADER_BYTES + VLAN_TAG_BYTES;
/**
 * Buffers of a frame that any kernel takes in copy mode: the least that MAX_SKB_FRAGS can be
 * (Documentation/networking/af_xdp.rst, "Multi-Buffer Support"). 9000 bytes take six of the smallest.
 */
const COPY_SEGMENTS = 17;

/** @param room bytes of a frame that fit in one buffer */
export function wantsFrags({ frags }: Settings, { mtu }: Link, room: number): boolean {
  return frags === 'on' || (frags === 'auto' && mtu + OVERHEAD > room);
}

/** Buffers of a frame at most, on a socket that was bound with XDP_USE_SG. */
export function mostSegments({ ifindex }: Link, zeroCopy: boolean): number {
  return zeroCopy ? Math.min(COPY_SEGMENTS, zeroCopySegments(ifindex) ?? COPY_SEGMENTS) : COPY_SEGMENTS;
}

/** Why frags=on is not to be had where a bind without it went well. */
export function fragsRefused({ device, zeroCopy }: Settings, link: Link, errno: number): PollmodeError {
  const segments = zeroCopySegments(link.ifindex);
  const why = zeroCopy === 'must' && segments === 1
    ? `zero-copy of its driver${link.kind === '' ? '' : ` (${link.kind})`} takes frames in one buffer only (xdp-zc-max-segs 1): leave frags=on or zero_copy=must out`
    : 'this kernel\'s AF_XDP takes frames in one buffer only: Linux 6.6 or newer is needed for frags=on; without it the longest frame is one buffer\'s';
  return new PollmodeError('EUNSUPPORTED', `af_xdp:${device}: ${why}.`, { syscall: 'bind', errno });
}

/** A native program of a driver without multi-buffer never sees such frames: said at open, when they were asked for. Throws EUNSUPPORTED. */
export function requireFragsOfDriver({ device, frags }: Settings, link: Link, attached: Link['xdp']['where']): void {
  if (frags !== 'on' || attached !== 'native' || (featuresOf(link.ifindex)?.xdp.includes('rx-sg') ?? true)) return;
  throw new PollmodeError('EUNSUPPORTED', `af_xdp:${device}: its driver${link.kind === '' ? '' : ` (${link.kind})`} gives XDP programs no frames in several buffers (NETDEV_XDP_ACT_RX_SG): use mode=generic, or leave frags=on out.`);
}

/** Buffers of a frame that zero-copy sends at most; 1, no frame in several, also where the kernel does not say (before Linux 6.6). */
function zeroCopySegments(ifindex: number): number | undefined {
  const features = featuresOf(ifindex);
  return features === undefined ? undefined : Math.max(1, features.zeroCopyMaxSegments);
}

/** Undefined where the kernel is too old to say, or knows no such interface. */
function featuresOf(ifindex: number): XdpFeatures | undefined {
  try {
    return xdpFeatures(ifindex);
  } catch (cause) {
    if (cause instanceof PollmodeError) return undefined;
    throw cause;
  }
}
