/**
 * Rules that a NIC carries out in front of everything (ethtool's n-tuple, filters of a NIC's own): what a port has that
 * can, and how lib/flow asks it. They are few and exact, and each says what becomes of a packet.
 */

/** Everything that is named must hold, as in lib/flow's FlowMatch. Numbers in the machine's order, addresses as they stand in a packet. */
export interface PortFlowMatch {
  readonly destinationMac?: Uint8Array;
  readonly sourceMac?: Uint8Array;
  /** Behind the tags, and no tag's. */
  readonly etherType?: number;
  /** Of the outer tag. */
  readonly vlan?: number;
  /** Both of one version. */
  readonly source?: AddressPrefix;
  readonly destination?: AddressPrefix;
  /** Of IP; where ports are named, TCP, UDP or SCTP. */
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

export interface AddressPrefix {
  /** 4 or 16. */
  readonly bytes: Uint8Array;
  /** In bits, 1 or more. */
  readonly length: number;
}

export interface PortFlowRule {
  readonly match: PortFlowMatch;
  /** A receive queue of the port, or the packet goes no further. */
  readonly to: number | 'drop';
}

/** A rule that the NIC has, until it is removed or the port closes. */
export interface PortFlowEntry {
  /** Why the NIC has it no more, for people: the interface came back as another, which refused it. */
  readonly lost?: string | undefined;
  /** Twice is once. */
  remove(): void;
}

/** For the thread that opened the port. */
export interface PortFlowRules {
  /** For people, and for what `query` says ran: "ethtool n-tuple". */
  readonly where: string;
  /** Is it known that a rule that names ports leaves fragments alone? Else the first fragment of a datagram may be taken by it. */
  readonly sparesFragments: boolean;
  /** Queues that packets come to which no rule is about; undefined where that cannot be told. */
  unruledQueues(): readonly number[] | undefined;
  /**
   * Has the NIC carry out a rule: a packet that matches it does what it says; one that does not, never. A match may be
   * missed (a packet that the NIC cannot read): who asks has the rule in software too. Between two rules that a packet
   * matches both, which one wins is not said. Returns why not, for people, where the NIC or the kernel refuses.
   */
  add(rule: PortFlowRule): PortFlowEntry | string;
}

/** 4 or 6 where a match is about one version of IP only. */
export function versionOf({ etherType, source, destination }: PortFlowMatch): 4 | 6 | undefined {
  const bytes = (source ?? destination)?.bytes.length;
  if (bytes !== undefined) return bytes === 4 ? 4 : 6;
  return etherType === 0x0800 ? 4 : etherType === 0x86dd ? 6 : undefined;
}
