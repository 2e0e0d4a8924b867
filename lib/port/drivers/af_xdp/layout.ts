/**
 * The driver's part of an AF_XDP queue's state: where the kernel's rings are in the arena, and our side's indices. Plain
 * number constants: TypeScript and AssemblyScript both read this file.
 *
 * Each of the kernel's rings has a producer and a consumer index of its own; ours is written by us only, so its value is
 * kept in the ring itself. Source: include/uapi/linux/if_xdp.h, Documentation/networking/af_xdp.rst.
 *
 * A frame in several buffers (multi-buffer, Linux 6.6) has a descriptor for each, all but the last with XDP_PKT_CONTD.
 * It becomes a chain of mbufs once its last descriptor is there; nothing of it is kept between bursts. A chain that is
 * sent is taken apart, since the kernel tells of each buffer by itself; one that another holds too is copied.
 */
// A ring's five words, at XSK_RING_A (rx: the RX ring; tx: the TX ring) and XSK_RING_B (rx: fill; tx: completion).
export const XSK_RING_A = 192;
export const XSK_RING_B = 224;
/** u32: offsets in the arena of the producer index, the consumer index, the flags, the first descriptor; then size - 1. */
export const XSK_PRODUCER = 0;
export const XSK_CONSUMER = 4;
export const XSK_FLAGS = 8;
export const XSK_DESCRIPTORS = 12;
export const XSK_MASK = 16;
/** u32: the other side's index as last seen, so that its line is read only when it must. */
export const XSK_SEEN = 20;

/** u32: where the UMEM starts in the arena, and its bytes. */
export const XSK_UMEM = 256;
export const XSK_UMEM_BYTES = 260;
/** u32: bytes of a buffer, less one. */
export const XSK_BUFFER_MASK = 264;
/** u32: rx: buffers that the kernel has, and how many it should have. tx: packets given and not completed. */
export const XSK_HELD = 268;
export const XSK_AIM = 272;
/** u32, tx: bytes of the longest frame that the link takes. The kernel does not look at an AF_XDP frame's length; what is too long for the link is lost behind it, uncounted. */
export const XSK_LONGEST = 276;
/** u32: which socket the rings are of, and what has become of it: serial << 2 | one of XSK_LIVE, XSK_GONE, XSK_OFFERED, XSK_MOVING. See moving.ts. */
export const XSK_LIFE = 280;
export const XSK_LIVE = 0;
/** Its interface is not there any more: bursts return 0. */
export const XSK_GONE = 1;
/** A new socket's rings stand at XSK_NEXT_*: whoever polls the queue moves it over. */
export const XSK_OFFERED = 2;
/** It is being moved. */
export const XSK_MOVING = 3;
/** u32: most buffers of one frame; 0 or 1 where the socket takes no frame in several. */
export const XSK_MOST_SEGMENTS = 284;

/** u64: system calls made for this queue, and from XSK_WAKE_REFUSED on one counter for each answer of queues.ts's REFUSALS. */
export const XSK_WAKEUPS = 288;
export const XSK_WAKE_REFUSED = 296;
/**
 * u32 each, written before mbufs are given to the kernel and cleared after: how many, from which ring index on, and the
 * vector that they stand in. If the lcore dies in between, `repair` knows by them which the kernel has not heard of.
 */
export const XSK_GIVING = 344;
export const XSK_GIVING_FROM = 348;
export const XSK_GIVING_VECTOR = 352;
/** u32, rx: 1 while descriptors are passed over up to the end of a frame that was dropped. */
export const XSK_SKIPPING = 356;

// What the queue is to be moved to: the five words of each ring, then u32 of the socket, its serial, and the longest frame; XSK_NEXT_MOST_SEGMENTS too.
export const XSK_NEXT_A = 384;
export const XSK_NEXT_B = 404;
export const XSK_NEXT_FD = 424;
export const XSK_NEXT_SERIAL = 428;
export const XSK_NEXT_LONGEST = 432;
/** u32, rx: the descriptor that others wait on, which is the same whichever socket is behind it. */
export const XSK_STABLE_FD = 436;
/** u64, tx: packets that a gone interface had not sent, or had not said so of, when the queue was moved. */
export const XSK_LOST = 440;
/** u32: 1 where the socket busy-polls: a burst that finds nothing makes the system call that looks. */
export const XSK_BUSY = 448;
/** u32: most buffers of one frame of the socket that the queue is to be moved to. */
export const XSK_NEXT_MOST_SEGMENTS = 452;

/** A vector of XSK_SCRATCH_COUNT handles. */
export const XSK_SCRATCH = 512;
export const XSK_SCRATCH_COUNT = 64;

// Counters, u64: rx.
/** RX descriptors that point outside the UMEM, across a buffer's end, or at a buffer that the kernel did not have. */
export const XSK_BAD_DESCRIPTOR = 56; // QUEUE_X0
/** Frames in more buffers than XSK_MOST_SEGMENTS: dropped. */
export const XSK_RX_TOO_MANY_SEGMENTS = 64; // QUEUE_X1
/** Frames in several buffers, one of them in a bad descriptor: dropped. */
export const XSK_BROKEN_CHAIN = 72; // QUEUE_X2
// tx
/** txBurst stopped at an mbuf that is not in this UMEM. */
export const XSK_NOT_IN_UMEM = 56; // QUEUE_X0
/** Frames shorter than 14 bytes or longer than the link takes; mbufs that reach past their buffer, and chains that contradict themselves or leave this UMEM: taken and dropped. */
export const XSK_BAD_FRAME = 64; // QUEUE_X1
/** Completions that name no buffer that was given. */
export const XSK_BAD_COMPLETION = 72; // QUEUE_X2
/** txBurst was cut short because the TX ring was full. */
export const XSK_RING_FULL = 80; // QUEUE_X3
/** Packets that take more buffers than XSK_MOST_SEGMENTS, copied or not: taken and dropped. */
export const XSK_TX_TOO_MANY_SEGMENTS = 88; // QUEUE_X4
/** Packets that were sent as a copy: chains of more segments than the socket takes in a frame, and those with an mbuf that another holds too. */
export const XSK_COPIED = 96; // QUEUE_X5
/** txBurst was cut short because the pool had no mbufs to copy a packet into. */
export const XSK_COPY_NOMBUF = 104; // QUEUE_X6

/** xdp_desc.options: the frame goes on in the next descriptor. */
export const XDP_PKT_CONTD = 1;
export const XSK_DESCRIPTOR_BYTES = 16;
export const XDP_RING_NEED_WAKEUP = 1;
