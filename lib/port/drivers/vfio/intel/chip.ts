/** What an Intel NIC's driver is made of: the port (port.ts) asks, the chip (e1000e, igb, igbvf, ixgbe) knows the registers. */
import type { LinkState, PortRss, VirtualFunctions } from '../../../port.js';
import type { IntelFlowRules } from './flow_rules.js';

/** Where a descriptor ring is, for the device. */
export interface RingPlace {
  readonly iova: number;
  readonly bytes: number;
}

/** How frames are to be received. */
export interface ReceivePlan {
  /** Most bytes that the device may write into one buffer; a multiple of 1024 where `longest` is larger. */
  readonly segment: number;
  /** Bytes of the longest frame, with a VLAN tag, without FCS. */
  readonly longest: number;
  /** Takes VLAN tags off, into the mbuf. */
  readonly vlanStrip: boolean;
  readonly promiscuous: boolean;
}

/** In which the descriptors of the chips differ; see layout.ts. */
export interface DescriptorKind {
  /** INTEL_82574 or INTEL_82576: which context descriptors it takes. */
  readonly context: number;
  /** Third word of a transmit descriptor, and what makes a frame's length its fourth. */
  readonly command: number;
  readonly payload: number;
  /** Most descriptors of which the last alone reports that it was sent; absent: as many as a burst has. */
  readonly reports?: number;
  /** Status bits of a bad frame; the places of the two that say that a checksum is wrong. */
  readonly errors: number;
  readonly ipBadShift: number;
  readonly l4BadShift: number;
}

/** Where a thread that wants to sleep lifts a queue's interrupt mask: arena offsets of registers, and the bit to write. */
export interface InterruptPlace {
  readonly mask: number;
  readonly cause: number;
  /** Where the bit is written first, so that what came before is no reason; 0: nowhere. */
  readonly forget: number;
}

/** The device's own counter: a register, how many of it there are, and its name in xstats. */
export interface Counter {
  readonly at: number;
  readonly name: string;
  /** More of the same, by their distance: added up. */
  readonly count?: number;
  readonly stride?: number;
  /** Goes on counting when it is read, and from 0 again after 2^32 - 1; others forget. */
  readonly runs?: boolean;
}

export interface Chip {
  /** "82574L". */
  readonly model: string;
  readonly descriptors: DescriptorKind;
  /** Queues that it has in each direction. */
  readonly queues: number;
  /** Largest MTU. */
  readonly mtu: number;
  readonly counters: readonly Counter[];
  /** Read for the counters; waited at. */
  readonly registers: { readAt(offset: number): number; pause(milliseconds: number): void };
  /** After a reset. Throws EUNSUPPORTED when it has none. */
  readonly mac: string;
  readonly link: LinkState;
  /** After `reset`. */
  readonly rss?: PortRss | undefined;
  /** After `reset`. Absent: it has no filters. */
  readonly flowRules?: IntelFlowRules | undefined;
  readonly virtualFunctions?: (VirtualFunctions & { tell(): void }) | undefined;

  /** Interrupts off, reset. Throws EUNSUPPORTED for a device that does not come back, ETIMEOUT for a physical function that does not answer. */
  reset(): void;
  linkUp(): void;
  /** Rings in place and enabled, filters set; nothing comes yet. */
  prepareReceive(rings: readonly RingPlace[], plan: ReceivePlan): void;
  /** `fill` gives the queues their first buffers and moves their tails: when, in its order, is the device's affair. */
  startReceive(fill: () => void): void;
  startTransmit(rings: readonly RingPlace[]): void;
  /** Vectors: one for each queue, then one for the rest. */
  startInterrupts(queues: number, throttleUs: number): void;
  watchLink(): void;
  /** No frame comes or goes any more, and no transfer is under way. */
  stop(): void;
  promiscuous(on: boolean): void;
  multicast(groups: readonly string[]): void;
  vlanFilter(ids: readonly number[] | undefined): void;
  /** Arena offset of a queue's tail register. */
  tail(direction: 'rx' | 'tx', queue: number): number;
  interrupt(queue: number): InterruptPlace;
}
