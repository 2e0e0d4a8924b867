/** What `toJSON` gives: records that are made anew each time. */
/** What a discipline and those below it did and hold, as `toJSON` gives it. */
export interface QdiscReport {
  readonly kind: string;
  readonly name: string;
  /** Packets and bytes (without FCS) that came to it, and that it gave on. */
  readonly inPackets: number;
  readonly inBytes: number;
  readonly outPackets: number;
  readonly outBytes: number;
  /** Held here and below now. `inPackets === outPackets + heldPackets + all drops here and below`, always. */
  readonly heldPackets: number;
  readonly heldBytes: number;
  /** Its own drops by cause; those of its children are theirs. */
  readonly drops: Readonly<Record<string, number>>;
  /** What is particular to its kind: rates, tokens, marks. */
  readonly state: Readonly<Record<string, number | string>>;
  readonly children: readonly QdiscReport[];
}

export interface HtbClassReport {
  readonly name: string;
  readonly parent?: string;
  readonly rate: string;
  readonly ceil: string;
  readonly priority: number;
  readonly quantum: number;
  readonly mode: 'can send' | 'may borrow' | 'cannot send';
  readonly tokens: number;
  readonly ceilTokens: number;
  readonly packets: number;
  readonly bytes: number;
  /** Packets sent with its own tokens, those of its leaves that borrowed from it included. */
  readonly lent: number;
  /** Packets of it or of its leaves that were sent with tokens from above it. */
  readonly borrowed: number;
}

/** Everything about a tree at some moment. */
export interface QdiscTreeReport {
  readonly name: string;
  /** Packets held, those that the port did not take yet included. */
  readonly heldPackets: number;
  /** Packets given to the port, and how many times it did not take all. */
  readonly sentPackets: number;
  readonly portFull: number;
  /** Dropped before any discipline saw them; flushed: while they waited for the port. `after_close` were not taken. */
  readonly drops: Readonly<Record<'flushed' | 'tree_full' | 'too_long' | 'after_close', number>>;
  /** Not taken: mbufs of another pool. */
  readonly foreign: number;
  readonly root: QdiscReport;
}
