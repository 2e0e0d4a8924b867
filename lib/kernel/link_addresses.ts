/** IP addresses and neighbours of network interfaces through rtnetlink (linux/if_addr.h, linux/neighbour.h), as link.ts has it. */
import { ipv4Bytes, macBytes } from './address.js';
import { attribute, parseAttributes } from './attributes.js';
import { concat, getU32, setI32, setU16, setU32 } from './bytes.js';
import { AF_INET, NETLINK_ROUTE, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE } from './constants.js';
import { netlinkRequest } from './netlink.js';

const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWNEIGH = 28;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RT_SCOPE_LINK = 253;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;

/** Gives the link an IPv4 address; `prefix` is the length of its network part in bits. */
export function addAddress(ifindex: number, ip: string, prefix: number): void {
  const header = new Uint8Array(8); // struct ifaddrmsg
  header[0] = AF_INET;
  header[1] = prefix;
  setU32(header, 4, ifindex);
  const payload = concat([header, attribute(IFA_LOCAL, ipv4Bytes(ip)), attribute(IFA_ADDRESS, ipv4Bytes(ip))]);
  netlinkRequest(NETLINK_ROUTE, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, payload, `add address ${ip}`);
}

/** An address of an interface; `text` is an IPv4 address, or an IPv6 one with all its zeros. */
export interface InterfaceAddress {
  ifindex: number;
  text: string;
  prefix: number;
  /** Good on its own link only, as every interface has one in IPv6. */
  linkLocal: boolean;
}

/** Also of interfaces that are down, or without a carrier. */
export function listAddresses(): InterfaceAddress[] {
  return netlinkRequest(NETLINK_ROUTE, RTM_GETADDR, NLM_F_DUMP, new Uint8Array(8), 'list addresses')
    .filter((answer) => answer.type === RTM_NEWADDR).map(({ payload }) => {
      const found = parseAttributes(payload.subarray(8));
      const bytes = found.get(IFA_LOCAL) ?? found.get(IFA_ADDRESS) ?? new Uint8Array();
      const groups = Array.from({ length: bytes.length >> 1 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
      return { ifindex: getU32(payload, 4), text: payload[0] === AF_INET ? bytes.join('.') : groups.join(':'), prefix: payload[1]!, linkLocal: payload[3] === RT_SCOPE_LINK };
    });
}

/** A neighbour that is never asked for: no ARP on the link for it. */
export function addNeighbour(ifindex: number, ip: string, mac: string): void {
  const header = new Uint8Array(12); // struct ndmsg
  header[0] = AF_INET;
  setI32(header, 4, ifindex);
  setU16(header, 8, NUD_PERMANENT);
  const payload = concat([header, attribute(NDA_DST, ipv4Bytes(ip)), attribute(NDA_LLADDR, macBytes(mac))]);
  netlinkRequest(NETLINK_ROUTE, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, payload, `add neighbour ${ip}`);
}
