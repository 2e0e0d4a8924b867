/** The driver's part of a tap queue's state, u32 each at QUEUE_DRIVER, and its counters. */
/** rx: mbufs that wait to be read into. */
export const TAP_HELD = 196;
/**
 * Offset of the queue's vectors in the arena, for one burst of the largest size: MAX_BURST pairs (offset, length) for
 * the native call; then MAX_BURST handles (rx: scratch) or places in the burst (tx).
 */
export const TAP_VECTORS = 200;

// Counters, u64.
/** rx: frames that were longer than a buffer, and so cut by read(2): dropped. */
export const TAP_TRUNCATED = 56; // QUEUE_X0
/** tx: mbufs that are a chain, are shorter than an Ethernet header, or contradict themselves: dropped. */
export const TAP_BAD_FRAME = 56; // QUEUE_X0
