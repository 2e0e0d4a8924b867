/** Filters of an Intel NIC that lead packets to queues: by EtherType, and where it has them by IPv4's 5-tuple. */
import type { PortFlowEntry, PortFlowMatch, PortFlowRule, PortFlowRules } from '../../../flow_rules.js';

/** Whole addresses in network order, a protocol with ports; what is undefined is not compared. */
export type FiveTuple = Pick<PortFlowMatch, 'protocol' | 'sourcePort' | 'destinationPort'> & { readonly source?: Uint8Array | undefined; readonly destination?: Uint8Array | undefined };

/** The registers of one kind of filter. */
export interface FilterPlaces<Wanted> {
  readonly count: number;
  /** Filter `index` leads such packets to a queue; undefined: it is off. */
  write(index: number, wanted: Wanted | undefined, queue: number): void;
}

export interface FilterKind {
  /** "82576 filters". */
  readonly where: string;
  readonly etherTypes: FilterPlaces<number>;
  readonly fiveTuples?: FilterPlaces<FiveTuple>;
  /** Where packets go that no filter is about. */
  unruled(): readonly number[];
}

const TYPE_IPV4 = 0x0800;
const TYPE_IPV6 = 0x86dd;
/** What the protocol field of a 5-tuple filter can say. */
const PROTOCOLS = [6, 17, 132];

export class IntelFlowRules implements PortFlowRules {
  readonly where: string;
  /** No section that was to be had says what becomes of a first fragment. */
  readonly sparesFragments = false;
  readonly #kind: FilterKind;
  readonly #etherTypes: Filters<number>;
  readonly #fiveTuples: Filters<FiveTuple> | undefined;
  #closed = false;

  constructor(kind: FilterKind) {
    this.where = kind.where;
    this.#kind = kind;
    this.#etherTypes = new Filters(kind.etherTypes, 'EtherTypes');
    this.#fiveTuples = kind.fiveTuples === undefined ? undefined : new Filters(kind.fiveTuples, '5-tuples');
  }

  unruledQueues(): readonly number[] {
    return [...new Set(this.#kind.unruled())].sort((a, b) => a - b);
  }

  add({ match, to }: PortFlowRule): PortFlowEntry | string {
    if (this.#closed) return 'the port is closed';
    if (to === 'drop') return 'its filters lead to queues, and do not drop';
    const { destinationMac, sourceMac, vlan, etherType } = match;
    if ((destinationMac ?? sourceMac ?? vlan) !== undefined) return 'its filters of queues do not look at MAC addresses or VLANs';
    if (Object.keys(match).length > 1 || etherType === undefined || etherType === TYPE_IPV4) return this.#fiveTuple(match, to);
    // The device would take such packets for no IP: no checksums, no RSS.
    if (etherType === TYPE_IPV6) return 'its EtherType filters are not for IP';
    return this.#entry(this.#etherTypes.add(etherType, to));
  }

  /** The registers are no more; a reset has turned all filters off. */
  close(): void {
    this.#closed = true;
  }

  #fiveTuple({ source, destination, protocol, sourcePort, destinationPort, etherType }: PortFlowMatch, queue: number): PortFlowEntry | string {
    if (this.#fiveTuples === undefined) return 'it is driven here with filters of EtherTypes alone';
    const four = etherType === TYPE_IPV4 || (source ?? destination)?.bytes.length === 4;
    if (!four) return 'its 5-tuple filters are for IPv4';
    if ((source ?? destination ?? protocol) === undefined) return 'its filters are not for all of IP';
    if ([source, destination].some(each => each !== undefined && each.length !== 32)) return 'its 5-tuple filters compare whole addresses';
    if (protocol !== undefined && !PROTOCOLS.includes(protocol)) return 'its 5-tuple filters know TCP, UDP and SCTP';
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
