/**
 * The driver's part of an 82574L queue's state, and its descriptors. Plain number constants: TypeScript and
 * AssemblyScript both read this file. Sections are those of the Intel 82574 GbE Controller Family Datasheet, rev. 3.4.
 *
 * A ring of descriptors is shared with the device; beside it stands a side ring that the device cannot reach, and that
 * says which mbuf each descriptor's buffer belongs to: a descriptor that comes back is never asked for that. Our indices
 * run freely; the device's are them modulo the ring's size, and it owns what is between its head and its tail.
 */
/** u32: offsets in the arena of the first descriptor, the side ring (u32 handles) and the tail register; then size - 1. */
export const E1000E_RING = 196;
export const E1000E_SIDE = 200;
export const E1000E_TAIL = 204;
export const E1000E_MASK = 208;
/** u32: rx: the next descriptor to look at. tx: the next to take back. */
export const E1000E_HEAD = 212;
/** u32: the next descriptor to give to the device. */
export const E1000E_NEXT = 216;
/** u32: the upper half of every IOVA: the lower is the offset in the arena. */
export const E1000E_IOVA_HIGH = 220;
/** u32: where the buffers that the device may reach start, their bytes, and bytes of one, less one. */
export const E1000E_POOL = 224;
export const E1000E_POOL_BYTES = 228;
export const E1000E_BUFFER_MASK = 232;
/** u32: rx: most bytes that the device writes into a buffer. tx: bytes of the longest frame. */
export const E1000E_MOST = 236;
/** u32, rx: not 0 in the middle of a frame in several descriptors, which is dropped to its end. */
export const E1000E_SPLIT = 240;
/** u32, tx: second side ring: for the first descriptor of a burst, the free-running index of its last one, which alone reports. */
export const E1000E_LASTS = 244;
/** u32, rx: offset in the arena of the register that lifts an interrupt's mask (IMS), and this queue's bit in it. */
export const E1000E_MASK_REGISTER = 248;
export const E1000E_CAUSE = 252;
/** A vector of E1000E_SCRATCH_COUNT handles. */
export const E1000E_SCRATCH = 512;
export const E1000E_SCRATCH_COUNT = 64;

// Counters, u64: rx.
/** Descriptors whose length is below an Ethernet header's or beyond what the device was told that a buffer holds. */
export const E1000E_BAD_LENGTH = 56; // QUEUE_X0
/** Frames in several descriptors, which were not asked for. */
export const E1000E_SPLIT_FRAMES = 64; // QUEUE_X1
/** Frames that the device itself calls bad (CRC, symbol, sequence, carrier extension, receive error). */
export const E1000E_ERRORED = 72; // QUEUE_X2
// tx
/** txBurst stopped at an mbuf that the device cannot reach. */
export const E1000E_NOT_MAPPED = 56; // QUEUE_X0
/** Frames that were taken and dropped: a chain, or too short, too long, or beyond their buffer. */
export const E1000E_BAD_FRAME = 64; // QUEUE_X1
/** txBurst was cut short because the ring was full. */
export const E1000E_RING_FULL = 72; // QUEUE_X2

export const E1000E_DESCRIPTOR_SHIFT = 4;

// Extended receive descriptor (7.1): given as buffer address, then 8 bytes of zeros.
/** u32, written back: multiple receive queues; the low 4 bits are the RSS type, 0 for no hash. */
export const RXD_MRQ = 0;
/** u32, written back: RSS hash. */
export const RXD_HASH = 4;
/** u32, written back: extended status in bits 0 to 19, extended errors in bits 20 to 31. */
export const RXD_STATUS = 8;
/** u16, written back: bytes in the buffer. */
export const RXD_LENGTH = 12;
export const RXD_DD = 1;
export const RXD_EOP = 2;
/** CE, SE, SEQ, CXE and RXE: bits 24, 25, 26, 28, 31. */
export const RXD_ERRORS = 0x97000000;
/** TCPE and IPE: checksums that are wrong. */
export const RXD_L4_BAD = 0x20000000;
export const RXD_IP_BAD = 0x40000000;
export const RXD_RSS_TYPE = 15;

// Legacy transmit descriptor (7.2): address; then length, CSO, CMD, STA, CSS and a VLAN tag.
export const TXD_STATUS = 12;
export const TXD_DD = 1;
/** CMD, as a part of the descriptor's third u32: end of packet, insert the FCS, report status. */
export const TXD_EOP_IFCS = 0x03000000;
export const TXD_RS = 0x08000000;

/** The shortest frame that the device pads to 64 bytes with the FCS (TCTL.PSP). */
export const SHORTEST = 17;
