/**
 * The driver's part of the state of a queue of an Intel NIC, and its descriptors. Plain number constants: TypeScript and
 * AssemblyScript both read this file. Sections are those of the datasheets of 82574 (rev. 3.4), 82576 and 82599.
 *
 * 82574, 82576 and 82599 share it: rings of 16-byte descriptors; what a receive writes back stands in the same places in
 * the extended descriptors of the 82574 (7.1.4) and the advanced ones of the others (82576 7.1.5, 82599 7.1.6), but for its
 * error bits; what a send wants is the same but for constants and the context descriptor. What differs is in the queue's
 * state, so that there is one set of burst functions.
 *
 * A ring of descriptors is shared with the device; beside it stands a side ring that the device cannot reach, and that
 * says which mbuf each descriptor's buffer belongs to (0: it gives none back): a descriptor that comes back is never asked
 * for that. Our indices run freely; the device's are them modulo the ring's size, and it owns what is between its head and
 * its tail.
 */
/** u32: offsets in the arena of the first descriptor, the side ring (u32 handles) and the tail register; then size - 1. */
export const INTEL_RING = 196;
export const INTEL_SIDE = 200;
export const INTEL_TAIL = 204;
export const INTEL_MASK = 208;
/** u32: rx: the next descriptor to look at. tx: the next to take back. */
export const INTEL_HEAD = 212;
/** u32: the next descriptor to give to the device. */
export const INTEL_NEXT = 216;
/** u32: the upper half of every IOVA: the lower is the offset in the arena. */
export const INTEL_IOVA_HIGH = 220;
/** u32: where the buffers that the device may reach start, their bytes, and bytes of one, less one. */
export const INTEL_POOL = 224;
export const INTEL_POOL_BYTES = 228;
export const INTEL_BUFFER_MASK = 232;
/** u32: bytes of the longest frame. */
export const INTEL_MOST = 236;
/** u32, rx: not 0 in the middle of a frame in several descriptors that is dropped to its end; 2: and that is counted already. */
export const INTEL_SPLIT = 240;
/** u32, tx: second side ring: for the first descriptor of a burst, the free-running index of its last one, which alone reports. */
export const INTEL_LASTS = 244;
/**
 * u32, rx: offset in the arena of the register that lifts an interrupt's mask, this queue's bit in it, and offset of the
 * register where that bit is written first to forget an earlier cause, 0 for none.
 */
export const INTEL_MASK_REGISTER = 248;
export const INTEL_CAUSE = 252;
export const INTEL_FORGET_REGISTER = 256;
/** u32, rx: most bytes that the device writes into one buffer. A longer frame comes in several; INTEL_MOST of the same length: there is none. */
export const INTEL_SEGMENT = 260;
/** u32, rx, a frame that has come in part: its first and last mbuf, their number, its bytes. The first is 0 for none. */
export const INTEL_CHAIN_FIRST = 264;
export const INTEL_CHAIN_LAST = 268;
export const INTEL_CHAIN_SEGMENTS = 272;
export const INTEL_CHAIN_LENGTH = 276;
/** u32, rx: status bits that make a frame bad; and how far right the two bits of wrong checksums must go to be RX_IP_CKSUM_BAD and RX_L4_CKSUM_BAD. */
export const INTEL_ERRORS = 280;
export const INTEL_IP_BAD_SHIFT = 284;
export const INTEL_L4_BAD_SHIFT = 288;
/** u32, tx: third word of a data descriptor, without its length; and what makes a frame's length its fourth word (0: nothing). */
export const INTEL_COMMAND = 264;
export const INTEL_PAYLOAD = 268;
/** u32, tx: INTEL_82574 or INTEL_82576: which kind of context descriptor it takes. */
export const INTEL_CONTEXT_KIND = 272;
/** Two u32, tx: the context that the device has, as the driver writes it; 0 and 0 for none. */
export const INTEL_CONTEXT = 276;
/** u32, tx: most segments of a frame. */
export const INTEL_MOST_SEGMENTS = 284;
/** u32, tx: TX_* that the port offers; a frame that wants another is bad. */
export const INTEL_OFFERS = 288;
/** u32, tx: most descriptors of which the last alone reports; 0: as many as a burst has. Not below what one frame can take. */
export const INTEL_REPORTS = 292;
/** A vector of INTEL_SCRATCH_COUNT handles. */
export const INTEL_SCRATCH = 512;
export const INTEL_SCRATCH_COUNT = 64;

/** An 82574 puts the VLAN tag into a frame's own descriptor, and checksums are told of by where they start. */
export const INTEL_82574 = 0;
/** 82576 and 82599 have the VLAN tag in the context, and the lengths of headers. */
export const INTEL_82576 = 1;

// Counters, u64: rx.
/** Frames whose length is below an Ethernet header's or beyond what the device was told that a buffer or a frame has. */
export const INTEL_BAD_LENGTH = 56; // QUEUE_X0
/** Frames in several descriptors, which were not asked for. */
export const INTEL_SPLIT_FRAMES = 64; // QUEUE_X1
/** Frames that the device itself calls bad (CRC, symbol, sequence, carrier extension, receive error). */
export const INTEL_ERRORED = 72; // QUEUE_X2
// tx
/** txBurst stopped at an mbuf that the device cannot reach. */
export const INTEL_NOT_MAPPED = 56; // QUEUE_X0
/** Frames that were taken and dropped: too short, too long, beyond their buffer, or a chain that is broken or too long. */
export const INTEL_BAD_FRAME = 64; // QUEUE_X1
/** txBurst was cut short because the ring was full. */
export const INTEL_RING_FULL = 72; // QUEUE_X2

export const INTEL_DESCRIPTOR_SHIFT = 4;

// Receive descriptor (82574 7.1.4, 82576 7.1.5, 82599 7.1.6): given as buffer address, then 8 bytes of zeros.
/** u32, written back: the low 4 bits are the RSS type, 0 for no hash. */
export const RXD_MRQ = 0;
/** u32, written back: RSS hash. */
export const RXD_HASH = 4;
/** u32, written back: extended status in bits 0 to 19, extended errors in bits 20 to 31. */
export const RXD_STATUS = 8;
/** u16, written back: bytes in the buffer; behind it, u16, the VLAN tag. */
export const RXD_LENGTH = 12;
export const RXD_DD = 1;
export const RXD_EOP = 2;
/** 82574: the device looked at no checksum. Reserved in the 82576; a flow director's match in the 82599, which is off: 0. */
export const RXD_IXSM = 4;
/** A VLAN tag was taken off. */
export const RXD_VP = 8;
/** TCP or UDP checksum, IP checksum: was looked at. */
export const RXD_L4CS = 32;
export const RXD_IPCS = 64;
/** CE, SE, SEQ, CXE and RXE: bits 24, 25, 26, 28, 31. 82574 and 82576. */
export const RXD_ERRORS = 0x97000000;
/** RXE: any error that the MAC found. 82599 (7.1.6.2), where L4E and IPE are the bits 30 and 31. */
export const RXD_ERRORS_82599 = 0x20000000;
/** TCPE (L4E) and IPE: checksums that are wrong. 82574 and 82576. */
export const RXD_L4_BAD = 0x20000000;
export const RXD_IP_BAD = 0x40000000;
export const RXD_RSS_TYPE = 15;

// Transmit descriptor (82574 7.2.10, 82576 7.2.2, 82599 7.2.3.2): address; then length and command; then status and options.
export const TXD_STATUS = 12;
export const TXD_DD = 1;
/** End of packet, insert the FCS, report status, extension, insert a VLAN tag: bits of the third u32 in all of them. */
export const TXD_EOP = 0x01000000;
export const TXD_IFCS = 0x02000000;
export const TXD_RS = 0x08000000;
export const TXD_DEXT = 0x20000000;
export const TXD_VLE = 0x40000000;
/** DTYP of a data descriptor of the 82574 (with DEXT), and of the others; and of a context descriptor of the others. 82574's is 0. */
export const TXD_DATA_82574 = 0x00100000;
export const TXD_DATA_82576 = 0x00300000;
export const TXD_CONTEXT_82576 = 0x00200000;
/** POPTS: insert the IP checksum, the TCP or UDP checksum: bits of the fourth u32. */
export const TXD_IXSM = 0x100;
export const TXD_TXSM = 0x200;
/** Where an 82574's data descriptor has the VLAN tag, and an 82576's context. */
export const TXD_VLAN_SHIFT = 16;
/** 82576: PAYLEN, in the fourth u32. */
export const TXD_PAYLEN_SHIFT = 14;
/** Context of the 82574: TUCMD's TCP and IP (version 4), in the third u32. */
export const TXC_TCP_82574 = 0x01000000;
export const TXC_IPV4_82574 = 0x02000000;
/** Of the 82576: MACLEN, in the first u32; IPV4 and L4T (0 UDP, 1 TCP), in the third. */
export const TXC_MACLEN_SHIFT = 9;
export const TXC_IPV4_82576 = 0x400;
export const TXC_TCP_82576 = 0x800;

/** The shortest frame that the devices pad to 64 bytes with the FCS (TCTL.PSP). */
export const SHORTEST = 17;
