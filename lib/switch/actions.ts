/** What is done with the packets of a flow, as the slow path found out; flows that are treated alike share one list. */
import { TAG_KEEP } from './layout.js';

/** Why a packet goes nowhere; the names are those of the counters. */
export const CAUSES = [
  'runt', 'source_multicast', 'reserved_vlan', 'reserved_address', 'vlan_ingress', 'vlan_egress', 'same_port', 'no_port', 'loop',
  'storm_broadcast', 'storm_multicast', 'storm_unknown', 'tx_full', 'no_mbuf', 'no_headroom', 'mirror_only', 'port_gone',
  'vxlan_not_for_us', 'vxlan_bad_ip', 'vxlan_bad_length', 'vxlan_bad_flags', 'vxlan_unknown_vni', 'vxlan_unknown_remote', 'vxlan_no_neighbour',
] as const;
export type Cause = (typeof CAUSES)[number];

/** One way out: a port's number, FLOW_TAG for it, and at most how many bytes of the frame (0: all of it). */
export interface Output {
  readonly port: number;
  readonly tag: number;
  readonly snap: number;
}

export type StormClass = 'broadcast' | 'multicast' | 'unknown';

/** A bridge that packets of a flow go through: where they were received in it, as what VLAN. `by` patch ports they leave it. */
export interface Crossing {
  readonly bridge: number;
  readonly port: number;
  readonly vlan: number;
}

export interface ActionList {
  /** In the order in which they are carried out: cut copies first, then those that change the tag, those that keep it last. */
  readonly outputs: readonly Output[];
  readonly crossings: readonly Crossing[];
  /** Patch ports that it leaves a bridge by. */
  readonly patches: readonly number[];
  /** Ports whose storm limit is asked, and for what. */
  readonly storm: StormClass | undefined;
  readonly limiters: readonly number[];
  /** Why and at which port it ends, where there are no outputs, or only mirrors'. */
  readonly drop: { readonly cause: Cause; readonly port: number } | undefined;
}

export function inOrder(outputs: readonly Output[]): Output[] {
  const rank = ({ tag, snap }: Output): number => snap > 0 ? 0 : tag === TAG_KEEP ? 2 : 1;
  return [...outputs].sort((a, b) => rank(a) - rank(b) || a.tag - b.tag);
}

/** The same text for lists that say the same. */
export function listKey({ outputs, crossings, patches, storm, limiters, drop }: ActionList): string {
  const way = outputs.map(({ port, tag, snap }) => `${port}.${tag}.${snap}`).join();
  const path = crossings.map(({ bridge, port, vlan }) => `${bridge}.${port}.${vlan}`).join();
  return `${way}|${path}|${patches.join()}|${storm ?? ''}${limiters.join()}|${drop === undefined ? '' : `${drop.cause}${drop.port}`}`;
}
