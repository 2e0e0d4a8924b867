/** Pairs of virtual Ethernet devices (veth(4)) through rtnetlink, as link.ts has it. */
import { PollmodeError } from '../errors.js';
import { macBytes } from './address.js';
import { attribute, nest, textAttribute, u32Attribute } from './attributes.js';
import { concat } from './bytes.js';
import { NETLINK_ROUTE, NLM_F_CREATE, NLM_F_EXCL } from './constants.js';
import { nameAttribute } from './link.js';
import { netlinkRequest } from './netlink.js';
import { IFLA_ADDRESS, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, RTM_NEWLINK, ifinfo } from './rtnetlink.js';

const IFLA_NET_NS_FD = 28;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;

export interface VethEnd {
  name: string;
  mac?: string;
  /** The namespace to put it in, by descriptor; the calling thread's where absent. */
  netns?: number;
}

export interface VethOptions {
  a: VethEnd;
  b: VethEnd;
  /** Receive and transmit queues of each end; 1 where absent. May exceed the number of CPUs. */
  queues?: number;
  mtu?: number;
}

/** Makes a veth pair, both ends down, with no IPv6 addresses of their own. EEXISTS when a name is taken. */
export function createVeth(options: VethOptions): void {
  const peer = concat([ifinfo(0), ...endAttributes(options.b, options)]);
  const payload = concat([
    ifinfo(0), ...endAttributes(options.a, options),
    nest(IFLA_LINKINFO, textAttribute(IFLA_INFO_KIND, 'veth'), nest(IFLA_INFO_DATA, nest(VETH_INFO_PEER, peer))),
  ]);
  netlinkRequest(NETLINK_ROUTE, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, `create veth ${options.a.name}`);
}

function endAttributes(end: VethEnd, { queues = 1, mtu }: VethOptions): Uint8Array[] {
  if (!Number.isInteger(queues) || queues < 1 || queues > 4096) {
    throw new PollmodeError('EOPTION', `${queues} is no number of veth queues: ask for 1 to 4096.`);
  }
  const attributes = [nameAttribute(end.name), u32Attribute(IFLA_NUM_RX_QUEUES, queues), u32Attribute(IFLA_NUM_TX_QUEUES, queues)];
  if (mtu !== undefined) attributes.push(u32Attribute(IFLA_MTU, mtu));
  if (end.mac !== undefined) attributes.push(attribute(IFLA_ADDRESS, macBytes(end.mac)));
  if (end.netns !== undefined) attributes.push(u32Attribute(IFLA_NET_NS_FD, end.netns));
  return attributes;
}
