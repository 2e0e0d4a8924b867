/**
 * A redirection table under guard, in the arena: what each queue's poller and who moves entries tell each other. Plain
 * number constants.
 *
 * A move has a number, its generation, from 1 on. It is written into the entries, then into RETA_MOVING, then the NIC is
 * told, then RETA_APPLIED says so. A poller looks at RETA_MOVING after it has received: whatever the NIC put into the
 * new queue because of the move, it put there later than RETA_MOVING was written.
 *
 * A move belongs to the lcore that began it (RETA_MOVER). When that dies, the pollers go on: what is held is delivered as
 * its old queues run empty, and another ends the move. Only where it died before RETA_APPLIED nobody knows which table
 * the NIC has, the old one or the new one: RETA_UNSURE. The next move then writes the whole table, and takes every
 * entry's packets to come from anywhere (RETA_FROM_ANY).
 */
export const RETA_MAGIC = 0x41544552; // "RETA"
export const RETA_KIND = 0;
/** u32: entries of the table, and receive queues. */
export const RETA_ENTRIES = 4;
export const RETA_QUEUES = 8;
/** u32: offset of the RSS state that the NIC hashes by. */
export const RETA_RSS = 12;
/** u32: microseconds that an old queue has to be empty. */
export const RETA_HOLD_US = 16;
/** u32: the move that is under way, 0 for none; the last one that the NIC has been told; the last one that was not waited for any longer. */
export const RETA_MOVING = 20;
export const RETA_APPLIED = 24;
export const RETA_FORCED = 28;
/** u32: the last move's number. */
export const RETA_GENERATION = 32;
/** u32: lcore id + 1 of the one whose move is under way; 0 when there is none, and when he is dead and recovered. */
export const RETA_MOVER = 36;
/** u32: 1 while the NIC may have another table than this one. */
export const RETA_UNSURE = 40;

export const RETA_QUEUE_FIRST = 128;
export const RETA_QUEUE_STRIDE = 128;
/** u32: the last move for which this queue has been empty for long enough. Written by its poller, as all of this line. */
export const RETA_DRAINED = 0;
/** u32: packets that its poller holds now. */
export const RETA_HOLDING = 4;
/** u64: packets held so far; that came here although their entry's packets are delivered elsewhere already; dropped because too many were held. */
export const RETA_HELD = 8;
export const RETA_REORDERED = 16;
export const RETA_HOLD_FULL = 24;

/** Entries stand behind the queues. u32 each: the queue it was moved from, the one its packets go to, the move that did it (0: settled), the move whose first packet was delivered. */
export const RETA_ENTRY_BYTES = 16;
export const RETA_FROM = 0;
/** Instead of a queue's number in RETA_FROM: any but the one that its packets go to. */
export const RETA_FROM_ANY = 0xffffffff;
export const RETA_TO = 4;
export const RETA_MOVED = 8;
export const RETA_DELIVERED = 12;
