/** Numbers of headers as words, for people. */
import * as protocols from './protocol_layout.js';

const ETHERTYPES = new Map<number, string>([
  [protocols.ETHERTYPE_IPV4, 'IPv4'], [protocols.ETHERTYPE_IPV6, 'IPv6'], [protocols.ETHERTYPE_ARP, 'ARP'], [protocols.ETHERTYPE_RARP, 'RARP'],
  [protocols.ETHERTYPE_MPLS, 'MPLS'], [protocols.ETHERTYPE_MPLS_MULTICAST, 'MPLS multicast'], [protocols.ETHERTYPE_LLDP, 'LLDP'], [protocols.ETHERTYPE_1588, 'PTP'],
  [protocols.ETHERTYPE_PPPOE_DISCOVERY, 'PPPoE discovery'], [protocols.ETHERTYPE_PPPOE_SESSION, 'PPPoE'], [protocols.ETHERTYPE_TEB, 'Ethernet'],
  [protocols.ETHERTYPE_VLAN, 'VLAN'], [protocols.ETHERTYPE_QINQ, 'QinQ'], [0x888e, 'EAPOL'], [0x88e5, 'MACsec'], [0x9000, 'loopback test'],
]);

const PROTOCOLS = new Map<number, string>([
  [protocols.PROTOCOL_HOPOPTS, 'hop-by-hop options'], [protocols.PROTOCOL_ICMP, 'ICMP'], [protocols.PROTOCOL_IGMP, 'IGMP'], [protocols.PROTOCOL_IPV4, 'IPv4'],
  [protocols.PROTOCOL_TCP, 'TCP'], [protocols.PROTOCOL_UDP, 'UDP'], [protocols.PROTOCOL_DCCP, 'DCCP'], [protocols.PROTOCOL_IPV6, 'IPv6'],
  [protocols.PROTOCOL_ROUTING, 'routing header'], [protocols.PROTOCOL_FRAGMENT, 'fragment header'], [protocols.PROTOCOL_GRE, 'GRE'], [protocols.PROTOCOL_ESP, 'ESP'],
  [protocols.PROTOCOL_AH, 'AH'], [protocols.PROTOCOL_ICMPV6, 'ICMPv6'], [protocols.PROTOCOL_NONE, 'nothing'], [protocols.PROTOCOL_DSTOPTS, 'destination options'],
  [protocols.PROTOCOL_SCTP, 'SCTP'], [protocols.PROTOCOL_MOBILITY, 'mobility header'], [protocols.PROTOCOL_UDPLITE, 'UDP-Lite'], [protocols.PROTOCOL_HIP, 'HIP'],
  [protocols.PROTOCOL_SHIM6, 'Shim6'], [88, 'EIGRP'], [89, 'OSPF'], [103, 'PIM'], [112, 'VRRP'], [115, 'L2TP'],
]);

const ICMP = new Map([
  [0, 'echo reply'], [3, 'unreachable'], [4, 'source quench'], [5, 'redirect'], [8, 'echo request'], [9, 'router advertisement'], [10, 'router solicitation'],
  [11, 'time exceeded'], [12, 'parameter problem'], [13, 'timestamp request'], [14, 'timestamp reply'],
]);
const ICMPV6 = new Map([
  [1, 'unreachable'], [2, 'packet too big'], [3, 'time exceeded'], [4, 'parameter problem'], [128, 'echo request'], [129, 'echo reply'], [130, 'multicast listener query'],
  [131, 'multicast listener report'], [132, 'multicast listener done'], [133, 'router solicitation'], [134, 'router advertisement'], [135, 'neighbour solicitation'],
  [136, 'neighbour advertisement'], [137, 'redirect'], [143, 'multicast listener report'],
]);

/** "" for one that has no name here, as in all of these. */
export function etherTypeName(type: number): string {
  return ETHERTYPES.get(type) ?? '';
}

export function protocolName(protocol: number): string {
  return PROTOCOLS.get(protocol) ?? '';
}

export function icmpName(isSix: boolean, type: number): string {
  return (isSix ? ICMPV6 : ICMP).get(type) ?? '';
}

/** "SYN ACK" */
export function tcpFlags(flags: number): string {
  return ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'AE'].filter((_, bit) => (flags & (1 << bit)) !== 0).join(' ');
}
