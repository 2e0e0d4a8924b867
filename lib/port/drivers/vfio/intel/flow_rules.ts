/**
 * Filters of an Intel NIC that lead packets to queues, by EtherType and by IPv4's 5-tuple; to a queue that is off, where the
 * device drops them.
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../../../wire/protocol_layout.js';
import type { PortFlowEntry, PortFlowMatch, PortFlowRule, PortFlowRules } from '../../../flow_rules.js';

/** Whole addresses in network order, a protocol with ports; what is undefined is not compared. */
export type FiveTuple = Pick<PortFlowMatch, 'protocol' | 'sourcePort' | 'destinationPort'> & { readonly source?: Uint8Array | undefined; readonly destination?: Uint8Array | undefined };

/** The registers of one kind of filter. */
export interface FilterPlaces<Wanted> {
  readonly count: number;
  /** Filter `index` leads such packets to a queue; undefined: it is off. */
  write(index: number, wanted: Wanted | undefined, queue: number): void;
}

export interface FiveTuplePlaces extends FilterPlaces<FiveTuple> {
  /** What its protocol field can say; absent: any. */
  readonly protocols?: readonly number[];
  /** Without an address it would take IPv6's packets too. */
  readonly needsAddress?: boolean;
}

export interface FilterKind {
  /** "82576 filters". */
  readonly where: string;
  readonly etherTypes: FilterPlaces<number>;
  readonly fiveTuples: FiveTuplePlaces;
  /** A queue that filters can name and that stays off: the device drops what is led there. Undefined: none is left. */
  readonly dropQueue: number | undefined;
  /** Where packets go that no filter is about. */
  unruled(): readonly number[];
}

export class IntelFlowRules implements PortFlowRules {
  readonly where: string;
  /** No section that was to be had says what becomes of a first fragment. */
  readonly sparesFragments = false;
  readonly #kind: FilterKind;
  readonly #etherTypes: Filters<number>;
  readonly #fiveTuples: Filters<FiveTuple>;
  #closed = false;

  constructor(kind: FilterKind) {
    this.where = kind.where;
    this.#kind = kind;
    this.#etherTypes = new Filters(kind.etherTypes, 'EtherTypes');
    this.#fiveTuples = new Filters(kind.fiveTuples, '5-tuples');
  }

  unruledQueues(): readonly number[] {
    return [...new Set(this.#kind.unruled())].sort((a, b) => a - b);
  }

  add({ match, to }: PortFlowRule): PortFlowEntry | string {
    if (this.#closed) return 'the port is closed';
    const queue = to === 'drop' ? this.#kind.dropQueue : to;
    if (queue === undefined) return 'its filters drop into a queue that is off, and every queue that they can name is on: open it with fewer';
    const { destinationMac, sourceMac, vlan, etherType } = match;
    if ((destinationMac ?? sourceMac ?? vlan) !== undefined) return 'its filters of queues do not look at MAC addresses or VLANs';
    if (Object.keys(match).length > 1 || etherType === undefined || etherType === ETHERTYPE_IPV4) return this.#fiveTuple(match, queue);
    // The device would take such packets for no IP: no checksums, no RSS.
    if (etherType === ETHERTYPE_IPV6) return 'its EtherType filters are not for IP';
    return this.#entry(this.#etherTypes.add(etherType, queue));
  }

  /** The registers are no more; a reset has turned all filters off. */
  close(): void {
    this.#closed = true;
  }

  #fiveTuple({ source, destination, protocol, sourcePort, destinationPort, etherType }: PortFlowMatch, queue: number): PortFlowEntry | string {
    const { protocols, needsAddress = false } = this.#kind.fiveTuples;
    const four = etherType === ETHERTYPE_IPV4 || (source ?? destination)?.bytes.length === 4;
    if (!four) return 'its 5-tuple filters are for IPv4';
    if ((source ?? destination ?? protocol) === undefined) return 'its filters are not for all of IP';
    if ([source, destination].some(each => each !== undefined && each.length !== 32)) return 'its 5-tuple filters compare whole addresses';
    if (needsAddress && source === undefined && destination === undefined) return 'its 5-tuple filters are not known to leave IPv6 alone without an address';
    if (protocol !== undefined && protocols?.includes(protocol) === false) return 'its 5-tuple filters know TCP, UDP and SCTP';
    return this.#entry(this.#fiveTuples.add({ source: source?.bytes, destination: destination?.bytes, protocol, sourcePort, destinationPort } as FiveTuple, queue));
  }

  #entry(remove: (() => void) | string): PortFlowEntry | string {
    if (typeof remove === 'string') return remove;
    let there = true;
    return {
      remove: () => {
        if (there && !this.#closed) remove();
        there = false;
      },
    };
  }
}

/** Which of them are taken. */
class Filters<Wanted> {
  readonly #places: FilterPlaces<Wanted>;
  readonly #what: string;
  readonly #taken = new Set<number>();

  constructor(places: FilterPlaces<Wanted>, what: string) {
    this.#places = places;
    this.#what = what;
  }

  /** Returns what takes it away. */
  add(wanted: Wanted, queue: number): (() => void) | string {
    const index = Array.from({ length: this.#places.count }, (_, i) => i).find(i => !this.#taken.has(i));
    if (index === undefined) return `all ${this.#places.count} of its filters of ${this.#what} are taken`;
    this.#taken.add(index);
    this.#places.write(index, wanted, queue);
    return () => {
      this.#taken.delete(index);
      this.#places.write(index, undefined, 0);
    };
  }
}

/** As registers have them: as they stand in a packet, the first byte the lowest. */
export function addressWord(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : (bytes[0]! | bytes[1]! << 8 | bytes[2]! << 16 | bytes[3]! << 24) >>> 0;
}

export function portWord(port = 0): number {
  return port >> 8 | (port & 255) << 8;
}
