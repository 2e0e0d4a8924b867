/**
 * Packet types: the values of DPDK's RTE_PTYPE_* (rte_mbuf_ptype.h, "Packet type"), four bits for each layer, in
 * `mbufs.packetType`. Plain number constants: TypeScript and AssemblyScript both read this file.
 */
export const PTYPE_UNKNOWN = 0;
export const PTYPE_L2_ETHER = 0x1;
/** IEEE 1588 directly over Ethernet. */
export const PTYPE_L2_ETHER_TIMESYNC = 0x2;
export const PTYPE_L2_ETHER_ARP = 0x3;
export const PTYPE_L2_ETHER_LLDP = 0x4;
export const PTYPE_L2_ETHER_VLAN = 0x6;
/** Two tags or more. */
export const PTYPE_L2_ETHER_QINQ = 0x7;
export const PTYPE_L2_ETHER_PPPOE = 0x8;
export const PTYPE_L2_ETHER_MPLS = 0xa;
export const PTYPE_L2_MASK = 0xf;

export const PTYPE_L3_IPV4 = 0x10;
/** With options. */
export const PTYPE_L3_IPV4_EXT = 0x30;
export const PTYPE_L3_IPV6 = 0x40;
/** With extension headers. */
export const PTYPE_L3_IPV6_EXT = 0xc0;
export const PTYPE_L3_MASK = 0xf0;

export const PTYPE_L4_TCP = 0x100;
export const PTYPE_L4_UDP = 0x200;
/** A fragment, the first or a later one, whatever is in it. */
export const PTYPE_L4_FRAG = 0x300;
export const PTYPE_L4_SCTP = 0x400;
/** ICMP and ICMPv6. */
export const PTYPE_L4_ICMP = 0x500;
/** None of the others, and no fragment. */
export const PTYPE_L4_NONFRAG = 0x600;
export const PTYPE_L4_IGMP = 0x700;
export const PTYPE_L4_MASK = 0xf00;

export const PTYPE_TUNNEL_IP = 0x1000;
export const PTYPE_TUNNEL_GRE = 0x2000;
export const PTYPE_TUNNEL_VXLAN = 0x3000;
/** GRE with an Ethernet frame in it. */
export const PTYPE_TUNNEL_NVGRE = 0x4000;
export const PTYPE_TUNNEL_ESP = 0x9000;
export const PTYPE_TUNNEL_MASK = 0xf000;

export const PTYPE_INNER_L2_ETHER = 0x10000;
export const PTYPE_INNER_L2_ETHER_VLAN = 0x20000;
export const PTYPE_INNER_L2_ETHER_QINQ = 0x30000;
export const PTYPE_INNER_L2_MASK = 0xf0000;
export const PTYPE_INNER_L3_IPV4 = 0x100000;
export const PTYPE_INNER_L3_IPV4_EXT = 0x200000;
export const PTYPE_INNER_L3_IPV6 = 0x300000;
export const PTYPE_INNER_L3_IPV6_EXT = 0x500000;
export const PTYPE_INNER_L3_MASK = 0xf00000;
/** The inner layer 4 has the outer one's numbers, 16 bits up: PTYPE_L4_TCP << 16 is RTE_PTYPE_INNER_L4_TCP. */
export const PTYPE_INNER_L4_SHIFT = 16;
export const PTYPE_INNER_L4_MASK = 0xf000000;
export const PTYPE_ALL_MASK = 0xfffffff;

/** Where the lengths stand in an mbuf's MBUF_TX_OFFLOAD, as in DPDK: 7 bits of layer 2, 9 of layer 3, 8 of layer 4. */
export const L3_LEN_SHIFT = 7;
export const L4_LEN_SHIFT = 16;
export const L2_LEN_MASK = 0x7f;
export const L3_LEN_MASK = 0x1ff;
export const L4_LEN_MASK = 0xff;
/** Label stack entries that are looked at. */
export const MPLS_ENTRIES_MAX = 16;
