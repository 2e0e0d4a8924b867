/**
 * Flow rules as a person writes them: what a packet must be, and what becomes of it. One vocabulary for software and for
 * what a port does itself. The first rule that a packet matches decides, by `priority` (0 first) and then in the order
 * they were given; a packet that matches none stays in queue 0.
 */
export interface FlowRule {
  /** Unique in its table. */
  readonly name: string;
  /** 0 to 65535, the lowest is asked first. Default 1000. */
  readonly priority?: number;
  /** Everything that is named must hold. Default: every packet. */
  readonly match?: FlowMatch;
  /**
   * Done in this order. At most one of drop, queue, rss and redirect, as the last; without one the packet goes on to
   * queue 0. None at all is allowed too: such a rule keeps packets from those behind it.
   */
  readonly actions: readonly FlowAction[];
}

/**
 * Ethernet frames of one segment or the first one of a chain, as they stand in memory: a VLAN tag that a NIC or the kernel
 * took out is not seen. At most two tags (802.1Q, 802.1ad) are read over. IPv6's extension headers
 * are walked over, up to four, and a protocol of 59 (none) is that of a packet that has more, or is cut off in them; ports are those
 * of TCP, UDP and SCTP in packets that are no fragments.
 */
export interface FlowMatch {
  readonly destinationMac?: string;
  readonly sourceMac?: string;
  /** Behind the tags: 0x0800, 0x86dd, 0x0806 ... */
  readonly etherType?: number;
  /** VLAN number of the outer tag, 0 to 4095, or 'none' for frames without one. */
  readonly vlan?: number | 'none';
  /** "10.0.0.0/8", "2001:db8::/32", or one address. Bits behind the length are refused, as LPM's and ACLs' prefixes are. */
  readonly source?: string;
  readonly destination?: string;
  readonly protocol?: 'icmp' | 'tcp' | 'udp' | 'icmp6' | 'sctp' | number;
  /** One port, or the first and the last of a range. */
  readonly sourcePort?: number | readonly [number, number];
  readonly destinationPort?: number | readonly [number, number];
  /** A fragment of IPv4, the first one too. */
  readonly fragment?: boolean;
}

export type FlowAction =
  | { readonly do: 'drop' }
  /** Packets and bytes, see `query`. */
  | { readonly do: 'count' }
  /** `mbufs.mark`, 32 bits, for what comes later: a discipline's class, a program's own. */
  | { readonly do: 'mark'; readonly mark: number }
  /** To one of the table's queues; 0 is the burst that was handed in. */
  | { readonly do: 'queue'; readonly queue: number }
  /** To one of these queues, by the hash of addresses and ports (Toeplitz, Microsoft's key). */
  | { readonly do: 'rss'; readonly queues: readonly number[] }
  /** New MAC addresses; a new DiffServ code point (0 to 63), the IPv4 checksum with it. */
  | { readonly do: 'rewrite'; readonly destinationMac?: string; readonly sourceMac?: string; readonly dscp?: number }
  /** A copy, as the packet is at this moment, to one of the table's ports. */
  | { readonly do: 'mirror'; readonly to: string }
  /** To one of the table's ports. */
  | { readonly do: 'redirect'; readonly to: string };
