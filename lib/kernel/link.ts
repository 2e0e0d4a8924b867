/**
 * Network interfaces through rtnetlink (linux/rtnetlink.h, linux/if_link.h). Every call is about the network namespace
 * that the calling thread is in: see `withNetns`. Reading needs no rights; every change needs CAP_NET_ADMIN there.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { macBytes, macText } from './address.js';
import { attribute, nest, parseAttributes, textAttribute, u32Attribute } from './attributes.js';
import { concat, fromCString, getI32, getU32, getU64, setU32 } from './bytes.js';
import { AF_INET6, IFF_LOWER_UP, IFF_UP, IFNAMSIZ, NETLINK_ROUTE, NLM_F_DUMP } from './constants.js';
import { ENODEV } from './errno.js';
import { netlinkRequest, type Message } from './netlink.js';
import {
  IFINFO_SIZE, IFLA_ADDRESS, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, RTM_NEWLINK, ifinfo,
} from './rtnetlink.js';

const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFLA_IFNAME = 3;
const IFLA_OPERSTATE = 16;
const IFLA_STATS64 = 23;
const IFLA_AF_SPEC = 26;
const IFLA_XDP = 43;
const IFLA_XDP_ATTACHED = 2;
const IFLA_XDP_PROG_ID = 4;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;

/** RFC 2863 operational states, by number. */
const OPERSTATES = ['unknown', 'notpresent', 'down', 'lowerlayerdown', 'testing', 'dormant', 'up'] as const;
export type Operstate = (typeof OPERSTATES)[number];

/** XDP_ATTACHED_*, by number. `several`: one program in the driver and another in the stack. */
const XDP_ATTACHED = ['none', 'native', 'generic', 'hardware', 'several'] as const;

/** What stands at the interface's XDP hooks. */
export interface AttachedXdp {
  readonly where: (typeof XDP_ATTACHED)[number];
  /** The kernel's number of the program; 0 where there is none, or are several. */
  readonly programId: number;
}

export interface Link {
  ifindex: number;
  name: string;
  /** Bytes of IP packet: no Ethernet header, no FCS. */
  mtu: number;
  operstate: Operstate;
  /** IFF_* of linux/if.h. */
  flags: number;
  up: boolean;
  /** "02:00:00:00:00:01"; empty where the link has none. */
  mac: string;
  /** "veth", "tun", ...; empty for a plain NIC. */
  kind: string;
  rxQueues: number;
  txQueues: number;
  xdp: AttachedXdp;
}

export interface LinkChange {
  up?: boolean;
  mac?: string;
  mtu?: number;
  name?: string;
}

export function setLink(ifindex: number, change: LinkChange): void {
  const header = ifinfo(ifindex);
  if (change.up !== undefined) {
    setU32(header, 8, change.up ? IFF_UP : 0);
    setU32(header, 12, IFF_UP);
  }
  const attributes: Uint8Array[] = [];
  if (change.name !== undefined) attributes.push(nameAttribute(change.name));
  if (change.mac !== undefined) attributes.push(attribute(IFLA_ADDRESS, macBytes(change.mac)));
  if (change.mtu !== undefined) attributes.push(u32Attribute(IFLA_MTU, change.mtu));
  netlinkRequest(NETLINK_ROUTE, RTM_NEWLINK, 0, concat([header, ...attributes]), `change link ${ifindex}`);
}

/**
 * Keeps the kernel from giving the link an IPv6 address of its own, and so from announcing one. A kernel without IPv6
 * refuses with EUNSUPPORTED, and has none to announce.
 */
export function noIpv6Address(ifindex: number): void {
  const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(IN6_ADDR_GEN_MODE_NONE));
  const payload = concat([ifinfo(ifindex), nest(IFLA_AF_SPEC, nest(AF_INET6, mode))]);
  netlinkRequest(NETLINK_ROUTE, RTM_NEWLINK, 0, payload, `no IPv6 address on link ${ifindex}`);
}

/** A veth end takes its peer with it. */
export function deleteLink(ifindex: number): void {
  netlinkRequest(NETLINK_ROUTE, RTM_DELLINK, 0, ifinfo(ifindex), `delete link ${ifindex}`);
}

/** By name or ifindex; ENOTFOUND when this namespace has no such link. */
export function readLink(which: string | number): Link {
  const payload = typeof which === 'number' ? ifinfo(which) : concat([ifinfo(0), nameAttribute(which)]);
  try {
    const [answer] = netlinkRequest(NETLINK_ROUTE, RTM_GETLINK, 0, payload, `read link ${which}`);
    if (answer !== undefined) return parseLink(answer);
  } catch (cause) {
    if (!(cause instanceof PollmodeError) || cause.errno !== ENODEV) throw cause;
    throw noSuchLink(which, cause);
  }
  throw noSuchLink(which);
}

/** Begins in lower case: who opens a device puts its name before it. */
function noSuchLink(which: string | number, cause?: PollmodeError): PollmodeError {
  const what = typeof which === 'number' ? `number ${which}` : `"${which}"`;
  return new PollmodeError('ENOTFOUND', `there is no interface ${what} in this network namespace (ip link shows them).`, { cause, syscall: 'netlink', errno: ENODEV });
}

/** `readLink` for a driver, whose device string stands before what the kernel refuses: "af_xdp:eth0: there is no ...". */
export function readLinkOf(device: string, name: string): Link {
  try {
    return readLink(name);
  } catch (cause) {
    if (!(cause instanceof PollmodeError)) throw cause;
    const { code, message, syscall, errno: number } = cause;
    throw new PollmodeError(code, `${device}: ${message}`, { cause, ...(syscall === undefined ? {} : { syscall }), ...(number === undefined ? {} : { errno: number }) });
  }
}

export function listLinks(): Link[] {
  return netlinkRequest(NETLINK_ROUTE, RTM_GETLINK, NLM_F_DUMP, ifinfo(0), 'list links')
    .filter((answer) => answer.type === RTM_NEWLINK).map(parseLink);
}

/** Reads one RTM_NEWLINK message. EFORMAT when it is malformed. */
export function parseLink(answer: Message): Link {
  const found = parseAttributes(answer.payload.subarray(IFINFO_SIZE));
  const word = (type: number): number => {
    const bytes = found.get(type);
    return bytes === undefined ? 0 : getU32(bytes, 0);
  };
  const flags = getU32(answer.payload, 8);
  const info = found.get(IFLA_LINKINFO);
  const kind = info === undefined ? undefined : parseAttributes(info).get(IFLA_INFO_KIND);
  return {
    ifindex: getI32(answer.payload, 4),
    name: fromCString(found.get(IFLA_IFNAME) ?? new Uint8Array()),
    mtu: word(IFLA_MTU),
    operstate: OPERSTATES[found.get(IFLA_OPERSTATE)?.[0] ?? 0] ?? 'unknown',
    flags,
    up: (flags & IFF_UP) !== 0,
    mac: macText(found.get(IFLA_ADDRESS) ?? new Uint8Array()),
    kind: kind === undefined ? '' : fromCString(kind),
    rxQueues: word(IFLA_NUM_RX_QUEUES),
    txQueues: word(IFLA_NUM_TX_QUEUES),
    xdp: parseXdp(found.get(IFLA_XDP)),
  };
}

function parseXdp(nested: Uint8Array | undefined): AttachedXdp {
  const found = nested === undefined ? undefined : parseAttributes(nested);
  const id = found?.get(IFLA_XDP_PROG_ID);
  return { where: XDP_ATTACHED[found?.get(IFLA_XDP_ATTACHED)?.[0] ?? 0] ?? 'several', programId: id === undefined ? 0 : getU32(id, 0) };
}

/** What the kernel dropped on a link: of what the link received, and of what it had to send (struct rtnl_link_stats64). */
export interface LinkDrops {
  rx: number;
  tx: number;
}

/** ENOTFOUND when this namespace has no such link. */
export function readLinkDrops(ifindex: number): LinkDrops {
  const [answer] = netlinkRequest(NETLINK_ROUTE, RTM_GETLINK, 0, ifinfo(ifindex), `read link ${ifindex}`);
  const counts = answer === undefined ? undefined : parseAttributes(answer.payload.subarray(IFINFO_SIZE)).get(IFLA_STATS64);
  if (counts === undefined) throw new PollmodeError('ENOTFOUND', `The kernel keeps no counters of link ${ifindex}: check that it exists.`);
  return { rx: Number(getU64(counts, 6 * 8)), tx: Number(getU64(counts, 7 * 8)) };
}

/**
 * The link as soon as the kernel calls it "up", or as it is after `timeoutMs`. The kernel notices a carrier some time
 * after the call that raised it (a second where it has had much to tell, more where namespaces are being taken away), and
 * until then drops what is sent.
 */
export function waitForCarrier(ifindex: number, timeoutMs = 10_000): Link {
  const end = performance.now() + timeoutMs;
  let link = readLink(ifindex);
  while (!carries(link) && performance.now() < end) {
    binding().poll(new Int32Array(), 1);
    link = readLink(ifindex);
  }
  return link;
}

/** A tap or a loopback never says "up": its state is unknown, and the flag tells. */
function carries({ operstate, flags }: Link): boolean {
  return operstate === 'up' || (operstate === 'unknown' && (flags & IFF_LOWER_UP) !== 0);
}

/** EOPTION unless it is a name that the kernel takes. */
export function nameAttribute(name: string): Uint8Array {
  checkName(name);
  return textAttribute(IFLA_IFNAME, name);
}

/** EOPTION unless the kernel would take it as an interface's name (net/core/dev.c, dev_valid_name). */
export function checkName(name: string): void {
  const length = new TextEncoder().encode(name).length;
  if (length === 0 || length >= IFNAMSIZ || name === '.' || name === '..' || /[\0/:\s]/.test(name)) {
    throw new PollmodeError('EOPTION', `${JSON.stringify(name)} is no interface name: use 1 to 15 bytes without spaces, slashes and colons.`);
  }
}
