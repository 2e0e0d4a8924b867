/**
 * The driver's part of an AF_PACKET queue's state, and what the kernel puts into its two rings. Plain number constants:
 * TypeScript and AssemblyScript both read this file.
 *
 * Receive: TPACKET_V3. The ring is a row of blocks; a block is ours from the moment its status says TP_STATUS_USER until
 * we write TP_STATUS_KERNEL, and holds packets of any length, each with the distance to the next. What is left of the
 * current block is kept here from burst to burst.
 *
 * Send: TPACKET_V2. The ring is a row of slots of one size, filled in turn. A slot is ours while its status is
 * TP_STATUS_AVAILABLE. The kernel reads slots only inside our own send(2), so on this side no barrier is needed.
 *
 * Source: include/uapi/linux/if_packet.h, Documentation/networking/packet_mmap.rst, net/packet/af_packet.c.
 */
/** u32: offset of the ring in the arena. */
export const PACKET_RING = 196;

// rx, u32 each
export const PACKET_BLOCK_BYTES = 200;
export const PACKET_BLOCKS = 204;
/** The block that is read, or will be next; the packets in it that are not yet taken; where in it the next one stands. */
export const PACKET_BLOCK = 208;
export const PACKET_LEFT = 212;
export const PACKET_NEXT = 216;
/** Not 0: the VLAN tag that the kernel took out of a frame is put back. */
export const PACKET_KEEP_TAG = 220;

// tx, u32 each
export const PACKET_SLOT_BYTES = 200;
export const PACKET_SLOTS = 204;
/** The slot that will be filled next, and the offset in the arena of the one that was filled last. */
export const PACKET_TAIL = 208;
export const PACKET_LAST = 212;
/** Bytes of the longest frame, without FCS and without a VLAN tag, which may come on top. */
export const PACKET_LONGEST = 216;

/** rx: a vector of PACKET_SCRATCH_COUNT handles: the mbufs of a long frame behind its first. */
export const PACKET_SCRATCH = 512;
export const PACKET_SCRATCH_COUNT = 64;

// Counters, u64: rx.
/** Blocks that contradict themselves: what was left of each is dropped. */
export const PACKET_BAD_BLOCK = 56; // QUEUE_X0
/** Frames that the kernel had to cut because they are longer than a block: dropped. */
export const PACKET_TRUNCATED = 64; // QUEUE_X1
/** Frames that take more mbufs than PACKET_SCRATCH_COUNT and one, or than the pool ever has: dropped. */
export const PACKET_RX_TOO_LONG = 72; // QUEUE_X2
// tx
/** Packets that are shorter than an Ethernet header, contradict themselves, or have an mbuf that is not the pool's: dropped. */
export const PACKET_BAD_FRAME = 56; // QUEUE_X0
/** Frames longer than the interface's MTU allows: dropped. */
export const PACKET_TX_TOO_LONG = 64; // QUEUE_X1
/** txBurst was cut short because the next slot was still the kernel's. */
export const PACKET_RING_FULL = 72; // QUEUE_X2

// struct tpacket_block_desc with tpacket_hdr_v1
export const BLOCK_STATUS = 8;
export const BLOCK_NUM_PKTS = 12;
export const BLOCK_FIRST_PKT = 16;
export const BLOCK_HEADER = 48;
export const TP_STATUS_KERNEL = 0;
export const TP_STATUS_USER = 1;

// struct tpacket3_hdr
export const TP3_NEXT_OFFSET = 0;
/** u32 seconds, u32 nanoseconds. */
export const TP3_TIME = 4;
export const TP3_SNAPLEN = 12;
export const TP3_LEN = 16;
export const TP3_STATUS = 20;
export const TP3_MAC = 24;
export const TP3_RXHASH = 28;
export const TP3_VLAN_TCI = 32;
export const TP3_VLAN_TPID = 36;
export const TP3_HEADER = 48;
/** The kernel keeps packets in a block apart by multiples of this (V3_ALIGNMENT). */
export const TP3_ALIGN_MASK = 7;
export const TP_STATUS_VLAN_VALID = 16;
export const TP_STATUS_VLAN_TPID_VALID = 64;

// struct tpacket2_hdr, then a struct virtio_net_hdr, then the frame
export const TP2_STATUS = 0;
export const TP2_LEN = 4;
/** u16 virtio_net_hdr.hdr_len: so much the kernel copies into the packet; the rest it would attach as pages of the ring. */
export const TP2_LINEAR = 34;
export const TP2_FRAME = 42;
export const VIRTIO_NET_HEADER = 10;
export const TP_STATUS_AVAILABLE = 0;
export const TP_STATUS_SEND_REQUEST = 1;
export const TP_STATUS_SENDING = 2;
export const TP_STATUS_WRONG_FORMAT = 4;

export const ETHERNET_HEADER = 14;
export const VLAN_TAG = 4;
/** Both addresses; a VLAN tag stands behind them. */
export const ETHERNET_ADDRESSES = 12;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;
