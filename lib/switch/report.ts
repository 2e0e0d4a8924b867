/** What a switch says of itself: plain data, copies. */
import type { Cause } from './actions.js';
import type { PortKind } from './ports.js';

export interface PortReport {
  readonly bridge: string;
  readonly name: string;
  readonly number: number;
  readonly kind: PortKind;
  readonly device?: string;
  /** Of a tunnel, which has one of these for each remote. */
  readonly remote?: string;
  readonly rx: { readonly packets: number; readonly bytes: number };
  readonly tx: { readonly packets: number; readonly bytes: number };
  /** Packets that wait to be sent. */
  readonly waiting: number;
  /** By cause; those that are not 0. */
  readonly drops: Partial<Record<Cause, number>>;
  /** Of a device that has another program or a cable at its other end: is it there? */
  readonly link?: 'up' | 'down';
  /** What the device counted itself, by its driver's names: what it lost before the switch saw it, what its guest did wrong. Those that are not 0. */
  readonly counters?: Readonly<Record<string, number>>;
}

export interface FdbEntry {
  readonly bridge: string;
  readonly mac: string;
  readonly vlan: number;
  readonly port: string;
  readonly remote?: string;
  /** Seconds since it was last seen. */
  readonly age: number;
}

export interface FlowReport {
  readonly bridge: string;
  readonly port: string;
  readonly source: string;
  readonly destination: string;
  /** Of the tag that it comes with; absent: none. */
  readonly tag?: number;
  readonly vlan: number;
  readonly packets: number;
  readonly bytes: number;
  /** Seconds since its last packet. */
  readonly idle: number;
  readonly actions: readonly string[];
}

export interface BridgeReport {
  readonly name: string;
  readonly ports: readonly string[];
  readonly macs: { readonly count: number; readonly capacity: number; readonly evicted: number; readonly aged: number; readonly moved: number; readonly held: number };
}

export interface SwitchReport {
  readonly bridges: readonly BridgeReport[];
  readonly ports: readonly PortReport[];
  readonly flows: { readonly count: number; readonly capacity: number; readonly installed: number; readonly evicted: number; readonly invalidated: number };
  /** Packets that were polled, and of these those that the cache did not carry out by itself. */
  readonly packets: number;
  readonly slow: number;
}

/** What `apply` did, by name ("bridge/port"). */
export interface Changes {
  readonly opened: readonly string[];
  readonly closed: readonly string[];
  readonly kept: readonly string[];
}
