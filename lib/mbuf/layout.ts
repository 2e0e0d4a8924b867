/**
 * The mbuf header: one cache line of 64 bytes in the arena's private table, apart from the buffer it describes, so that
 * a guest, a peer or a stray DMA can reach contents but never metadata. It is `struct sk_buff` and `struct rte_mbuf` of
 * this project. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * A program holds an mbuf as a handle, `buffer offset / 2048`: contents stand at `handle << 11`, the header at
 * `table + (handle << 6)`. Handle 0 is no mbuf.
 *
 * The first 32 bytes are what a receive writes, as two 16-byte stores.
 */
export const HANDLE_SHIFT = 11;
export const HEADER_SHIFT = 6;
export const BUFFER_UNIT = 2048;
export const HEADER_BYTES = 64;

/** u16: from the buffer's first byte to the frame's first byte. */
export const MBUF_DATA_OFF = 0;
/** u16: how many hold it. 1 in a free buffer, as in DPDK, so that a receive need not count. */
export const MBUF_REFCNT = 2;
/** u16: segments in the chain that starts here; 1 for a packet in one buffer. */
export const MBUF_NB_SEGS = 4;
/** u16: port it came in by. */
export const MBUF_PORT = 6;
/** u32: offload and state flags. */
export const MBUF_OL_FLAGS = 8;
/** u32: packet type as DPDK's RTE_PTYPE_*; 0 unknown. */
export const MBUF_PACKET_TYPE = 12;
/** u32: bytes of the whole packet, all segments, without FCS. */
export const MBUF_PKT_LEN = 16;
/** u16: bytes in this segment. */
export const MBUF_DATA_LEN = 20;
/** u16: VLAN tag control information when a flag says it was stripped. */
export const MBUF_VLAN_TCI = 22;
/** u32: RSS hash when a flag says so. */
export const MBUF_HASH = 24;
/** u32: handle of the next segment, 0 for none. */
export const MBUF_NEXT = 28;
/** Two u32: seconds and nanoseconds, clock as the port says. */
export const MBUF_TIMESTAMP = 32;
/** u16: bytes of payload in each segment that TX_TCP_SEG asks for. What is still to be cut has no time stamp: it stands there. */
export const MBUF_TSO_SEGSZ = 32;
/** u32: who holds it now: kind in the top 8 bits, which one in the low 24. See OWNER_*. */
export const MBUF_OWNER = 40;
/** u32: arena offset of its pool's header. Written once, when the pool is made. */
export const MBUF_POOL = 44;
/** u32: bytes in the buffer. Written once. */
export const MBUF_BUF_LEN = 48;
/** u32: l2_len (7 bits), l3_len (9), l4_len (8): lengths for transmit offloads. */
export const MBUF_TX_OFFLOAD = 52;
/** Two u32 that are the application's own. */
export const MBUF_USER = 56;

/** The refcnt and nb_segs fields of a plain mbuf (one holder, one segment), as one u32 at MBUF_REFCNT. */
export const MBUF_PLAIN = 0x00010001;

export const OWNER_SHIFT = 24;
/** In its pool: the shared ring or an lcore's cache. */
export const OWNER_POOL = 0;
/** Held by the program that runs on lcore N, or put into a ring by it; by several of them when N is OWNER_SHARED. */
export const OWNER_APP = 1;
/** Which one of several holders is not written down: one of them dying is no reason to take the mbuf from the others. */
export const OWNER_SHARED = 0x01ffffff;
/** Given to a port to be filled: port in bits 8 to 23, queue in bits 0 to 7. */
export const OWNER_RX = 2;
/** Given to a port to be sent. */
export const OWNER_TX = 3;
/** Checking build: in the ring that is number N of the directory. Otherwise the word still names who put it there (ring/layout.ts). */
export const OWNER_RING = 4;

/** Bytes kept free before a frame: DPDK's RTE_PKTMBUF_HEADROOM is 128, AF_XDP's XDP_PACKET_HEADROOM is 256; ours is the larger. */
export const HEADROOM = 256;
/** Bytes from one place where frames begin to the next, in a pool that spreads them: a cache line. */
export const SPREAD_STEP = 64;

// Bits of ol_flags, by the names that DPDK gives them.
export const RX_VLAN_STRIPPED = 1;
export const RX_RSS_HASH = 2;
export const RX_IP_CKSUM_BAD = 4;
export const RX_L4_CKSUM_BAD = 8;
export const RX_TIMESTAMP = 16;
/** The checksum was looked at, and is right. Three bits left of its BAD. */
export const RX_IP_CKSUM_GOOD = 32;
export const RX_L4_CKSUM_GOOD = 64;
/**
 * What a port that offers it shall do before it sends. MBUF_TX_OFFLOAD has the lengths of the headers; a TCP or UDP
 * checksum field holds the checksum of the pseudo-header alone (RFC 9293 section 3.1, RFC 768), as in DPDK.
 */
export const TX_VLAN = 256; // vlan_tci is inserted
export const TX_IP_CKSUM = 512;
export const TX_TCP_CKSUM = 1024;
export const TX_UDP_CKSUM = 2048;
/** All of these; the IP version that is sent is asked of TX_IPV6 where a checksum of TCP or UDP is wanted. */
export const TX_IPV6 = 4096;
/** A TCP packet of up to 64 KiB is sent as segments of MBUF_TSO_SEGSZ bytes of payload (RTE_MBUF_F_TX_TCP_SEG); TX_TCP_CKSUM stands beside it, and RX_TIMESTAMP does not. */
export const TX_TCP_SEG = 8192;
export const TX_OFFLOADS = 0x2f00;
export const TX_L2_LEN_MASK = 127;
export const TX_L3_LEN_SHIFT = 7;
export const TX_L3_LEN_MASK = 511;
export const TX_L4_LEN_SHIFT = 16;
/** A flow rule marked the packet: the mark is the first word of MBUF_USER. */
export const RX_FDIR_ID = 128;
