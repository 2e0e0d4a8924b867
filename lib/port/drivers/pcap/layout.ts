/** The pcap port's part of a queue's state. Plain number constants, as in port/layout.ts. */
import { QUEUE_DRIVER, QUEUE_X0, QUEUE_X1, QUEUE_X2, QUEUE_X3, QUEUE_X4, QUEUE_X5, QUEUE_X6 } from '../../layout.js';

/** u32: offset of the zone that the file is read or written through. */
export const PCAP_WINDOW = QUEUE_DRIVER;

// rx counters, u64.
/** Frames that fit in no mbuf of this pool, or blocks larger than the window: dropped. */
export const PCAP_TOO_LONG = QUEUE_X0;
/** Frames of interfaces that are no Ethernet: dropped. */
export const PCAP_NOT_ETHERNET = QUEUE_X1;
/** Frames of which the capture holds only the first bytes: delivered with those. */
export const PCAP_SNAPPED = QUEUE_X2;
/** Blocks with wrong contents: passed over. */
export const PCAP_CORRUPT_BLOCK = QUEUE_X3;
/** Times that the file ended within a record. */
export const PCAP_TRUNCATED = QUEUE_X4;
/** Times that it could not be read on because lengths were wrong. */
export const PCAP_CORRUPT_FILE = QUEUE_X5;
/** Frames with a time before 1970 or after 2106: delivered without one. */
export const PCAP_TIME_OUTSIDE = QUEUE_X6;

// tx counters, u64.
/** mbufs that are not this pool's or whose lengths contradict each other: refused. */
export const PCAP_BAD_FRAME = QUEUE_X0;
/** Frames that were taken, and that could not be written when the port was closed. */
export const PCAP_NOT_WRITTEN = QUEUE_X1;
