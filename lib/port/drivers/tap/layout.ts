/** The driver's part of a tap queue's state, u32 each at QUEUE_DRIVER, and its counters. */
/** rx: mbufs that wait to be read into. */
export const TAP_HELD = 196;
/**
 * Offset of the queue's vectors in the arena, for one burst of the largest size: MAX_BURST pairs (offset, length) for
 * the native call; then MAX_BURST handles (rx: scratch) or places in the burst (tx).
 */
export const TAP_VECTORS = 200;
/** rx: where what an mbuf has no room for is read to, and its bytes; 0 where no frame is longer than that. */
export const TAP_SPILL = 204;
export const TAP_SPILL_BYTES = 208;

// Counters, u64.
/** rx: frames that were longer than the MTU at open allowed, and so cut by read(2): dropped. */
export const TAP_TRUNCATED = 56; // QUEUE_X0
/** rx: frames in several mbufs for which the pool had too few: dropped. */
export const TAP_CHAIN_NOMBUF = 64; // QUEUE_X1
/** tx: packets that are shorter than an Ethernet header, or contradict themselves: dropped. */
export const TAP_BAD_FRAME = 56; // QUEUE_X0
