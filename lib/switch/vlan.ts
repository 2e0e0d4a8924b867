/**
 * Which VLAN a frame is received in, and how it leaves a port: IEEE 802.1Q-2018, 6.9 (ingress: acceptable frame types,
 * PVID, ingress filtering) and 8.8 (egress: member set, untagged set). A frame with an S-tag is to a C-VLAN bridge one
 * without a tag.
 */
import type { VlanConfig } from './config.js';
import { TAG_KEEP, TAG_POP, TAG_PUSH, TAG_SET } from './layout.js';

/** What stands for the C-tag of a frame that has none; others are VLAN identifiers, 0 a priority tag's. */
export const UNTAGGED = -1;
/** Not in this port's member set. */
export const REFUSED = -2;
/** Never a VLAN (802.1Q table 9-2). */
export const RESERVED_VLAN = 4095;

/** One port's part in VLANs. */
export class PortVlans {
  /** VLAN of what comes without a tag; REFUSED where such frames are not taken. */
  readonly #pvid: number;
  readonly #takesTags: boolean;
  /** undefined: every VLAN. */
  readonly #members: ReadonlySet<number> | undefined;

  /** Without a config: tagged frames of every VLAN, and untagged ones as VLAN 0, which leaves untagged too. */
  constructor(config: VlanConfig = { trunk: 'all' }) {
    if ('access' in config) {
      [this.#pvid, this.#takesTags, this.#members] = [config.access, false, new Set([config.access])];
      return;
    }
    const { trunk, native } = config;
    this.#takesTags = true;
    this.#members = trunk === 'all' ? undefined : new Set([...trunk, ...(native === undefined ? [] : [native])]);
    this.#pvid = native ?? (this.#isMember(0) ? 0 : REFUSED);
  }

  /** The VLAN of a frame that comes in with this tag, or REFUSED. */
  ingress(tag: number): number {
    if (tag === UNTAGGED || tag === 0) return this.#pvid;
    return this.#takesTags && tag !== RESERVED_VLAN && this.#isMember(tag) ? tag : REFUSED;
  }

  /** The tag with which a frame of this VLAN leaves, or REFUSED. */
  egress(vlan: number): number {
    if (vlan === this.#pvid) return UNTAGGED;
    if (vlan === 0) return REFUSED; // as a priority tag it would be the other side's PVID (802.1Q-2018, table 9-2)
    return this.#isMember(vlan) ? vlan : REFUSED;
  }

  #isMember(vlan: number): boolean {
    return this.#members === undefined || this.#members.has(vlan);
  }
}

/** What makes a frame with tag `from` one with tag `to`, as FLOW_TAG has it. */
export function tagChange(from: number, to: number): number {
  if (to === from) return TAG_KEEP;
  if (to === UNTAGGED) return TAG_POP;
  return ((from === UNTAGGED ? TAG_PUSH : TAG_SET) | (to << 16)) >>> 0;
}
