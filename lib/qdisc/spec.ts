/**
 * A tree of disciplines as a person writes it: plain objects, each with its kind. Rates are bits per second of frames
 * without FCS ("10mbit" or 10_000_000); sizes are bytes; what is left out has the default that is named.
 */
import type { Rate } from './checks.js';
import type { Classify } from './classify.js';
import type { MeterSpec } from './meter.js';

export type QdiscSpec = PfifoSpec | PrioSpec | TbfSpec | DrrSpec | HtbSpec | FqCodelSpec | PoliceSpec;

export interface PfifoSpec {
  readonly kind: 'pfifo';
  /** Most packets. Default 1000. */
  readonly limit?: number;
  /** Most bytes. Default: no limit. */
  readonly bytes?: number;
}

export interface PrioSpec {
  readonly kind: 'prio';
  /** 1 to 64, the first goes first. */
  readonly bands: readonly QdiscSpec[];
  /** Default 'mark'. */
  readonly classify?: Classify;
  /** The band of everything else. Default: the last. */
  readonly default?: number;
}

export interface TbfSpec {
  readonly kind: 'tbf';
  readonly rate: Rate;
  /** Bytes that may go at once. Default: two milliseconds of the rate, two full frames at least. */
  readonly burst?: number;
  /** The rate within a burst. Default: none, a burst goes as fast as the port can. */
  readonly peak?: Rate;
  /** Size of the peak's bucket: the largest frame. Default 1514. */
  readonly peakBurst?: number;
  /** Bytes that each frame costs beside its own; 24 for FCS, preamble and gap of Ethernet. Default 0. */
  readonly overhead?: number;
  /** What waits. Default: a pfifo. */
  readonly child?: QdiscSpec;
}

export interface DrrClassSpec {
  /** Bytes of a turn, and so the class's share. Default 1514. */
  readonly quantum?: number;
  /** Default: a pfifo. */
  readonly child?: QdiscSpec;
}

export interface DrrSpec {
  readonly kind: 'drr';
  /** 1 to 65536. */
  readonly classes: readonly DrrClassSpec[];
  /** Default 'mark'. */
  readonly classify?: Classify;
  /** The class of everything else; without it that is dropped (`unclassified`). */
  readonly default?: number;
}

export interface HtbClassSpec {
  /** Unique in its HTB. */
  readonly name: string;
  /** What it may send whatever the others do. */
  readonly rate: Rate;
  /** What it may reach by borrowing. Default: the rate. */
  readonly ceil?: Rate;
  /** Bytes that it may send at once of its own, and at its ceil. Default: two milliseconds of the rate, two full frames at least. */
  readonly burst?: number;
  readonly ceilBurst?: number;
  /** A leaf's: 0 goes first, 7 last, when more than its rate is to be had. Default 0. */
  readonly priority?: number;
  /** A leaf's: bytes of a turn, and so its share of what is borrowed. Default: a tenth of a second's rate, 1514 to 200,000 (tc's r2q). */
  readonly quantum?: number;
  /** Those that borrow from it; none for a leaf. */
  readonly classes?: readonly HtbClassSpec[];
  /** A leaf's queue, any discipline that does not shape. Default: a pfifo. */
  readonly child?: QdiscSpec;
}

export interface HtbSpec {
  readonly kind: 'htb';
  readonly classes: readonly HtbClassSpec[];
  /** Says which leaf, by its number among the leaves in the order they are written. Default 'mark'. */
  readonly classify?: Classify;
  /** The leaf of everything else, by name; without it that is dropped (`unclassified`). */
  readonly default?: string;
  /** As the token bucket's. */
  readonly overhead?: number;
}

/** RFC 8290 section 5.2 has the defaults. */
export interface FqCodelSpec {
  readonly kind: 'fq_codel';
  /** Default 1024. */
  readonly flows?: number;
  /** Most packets of all flows. Default 10240. */
  readonly limit?: number;
  /** Bytes of a flow's turn. Default 1514. */
  readonly quantum?: number;
  /** The delay that a queue may have. Default 5. */
  readonly targetMs?: number;
  /** For how long it may have more. Default 100. */
  readonly intervalMs?: number;
  /** Marks ECN-capable packets instead of dropping them (RFC 3168). Default true. */
  readonly ecn?: boolean;
}

export interface PoliceSpec {
  readonly kind: 'police';
  readonly meter: MeterSpec;
  /** Drops yellow packets too. Default: red ones only. */
  readonly dropYellow?: boolean;
  /** Default: a pfifo. */
  readonly child?: QdiscSpec;
}
