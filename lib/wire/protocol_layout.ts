/**
 * Numbers that headers name each other by. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * EtherTypes: IEEE's list ("EtherType"); IP protocols: IANA's "Assigned Internet Protocol Numbers".
 */
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_TEB = 0x6558; // a whole Ethernet frame, in GRE
export const ETHERTYPE_RARP = 0x8035;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_MPLS = 0x8847;
export const ETHERTYPE_MPLS_MULTICAST = 0x8848;
export const ETHERTYPE_PPPOE_DISCOVERY = 0x8863;
export const ETHERTYPE_PPPOE_SESSION = 0x8864;
export const ETHERTYPE_QINQ = 0x88a8; // 802.1ad's service tag
export const ETHERTYPE_LLDP = 0x88cc;
export const ETHERTYPE_1588 = 0x88f7;
export const ETHERTYPE_QINQ_OLD = 0x9100; // the outer tag before 802.1ad
/** From here on a frame's type is a type; below, it is an 802.3 length. */
export const ETHERTYPE_MIN = 0x0600;
/** Tags that are looked through before the type of a frame's payload; more are no frame of this world. */
export const VLAN_TAGS_MAX = 4;

export const PROTOCOL_HOPOPTS = 0;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IGMP = 2;
export const PROTOCOL_IPV4 = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_DCCP = 33;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_ROUTING = 43;
export const PROTOCOL_FRAGMENT = 44;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_AH = 51;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_NONE = 59;
export const PROTOCOL_DSTOPTS = 60;
export const PROTOCOL_SCTP = 132;
export const PROTOCOL_MOBILITY = 135;
export const PROTOCOL_UDPLITE = 136;
export const PROTOCOL_HIP = 139;
export const PROTOCOL_SHIM6 = 140;
/** IPv6 extension headers that are walked over; who sends more wants work done, not a packet delivered. */
export const EXTENSIONS_MAX = 32;

export const PORT_VXLAN = 4789;
export const PORT_GENEVE = 6081;
export const PORT_GTPU = 2152;

export const ETHER_HEADER_BYTES = 14;
export const VLAN_TAG_BYTES = 4;
export const IPV4_MIN_BYTES = 20;
export const IPV6_BYTES = 40;
export const TCP_MIN_BYTES = 20;
export const UDP_BYTES = 8;
export const SCTP_BYTES = 12;
export const ICMP_BYTES = 8;
export const VXLAN_BYTES = 8;
export const MPLS_BYTES = 4;
export const GRE_MIN_BYTES = 4;
export const ARP_BYTES = 28;
