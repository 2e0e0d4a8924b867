/**
 * What a switch is made of, as its owner writes it in a file. `schema.json` beside this file says the same for editors,
 * with the bounds of every number; `parse.ts` holds a file against it.
 */
export interface SwitchConfig {
  /** For editors: where the schema is. Not looked at. */
  readonly $schema?: string;
  /** The name that `pollmode switch show --name` asks for. Default "switch". */
  readonly name?: string;
  readonly bridges: Readonly<Record<string, BridgeConfig>>;
  /** How the thread that polls does it. `burst` is the most packets of a port in a turn, default 32. */
  readonly lcore?: { readonly cpu?: number; readonly idle?: 'busy' | 'adaptive' | 'interrupt'; readonly burst?: number };
  /** The pool of all ports. Fixed while the switch runs: ports that are added later live in it. */
  readonly pool?: { readonly mbufs?: number; readonly bufferSize?: 2048 | 4096; readonly hugePages?: 'never' | 'try' | 'must' };
  /** Flows that the cache holds. Default 32768. */
  readonly flows?: number;
  /** Path of the control socket. Default: by the name, in the runtime directory. */
  readonly control?: string;
}

export interface BridgeConfig {
  /** Seconds until an address that sends nothing is forgotten. Default 300 (IEEE 802.1Q-2018, table 8-6). */
  readonly ageingSeconds?: number;
  /** Addresses that it holds. Default 8192. */
  readonly macs?: number;
  readonly ports: Readonly<Record<string, PortConfig>>;
  readonly mirrors?: Readonly<Record<string, MirrorConfig>>;
}

export type PortConfig = DevicePortConfig | PatchPortConfig | VxlanPortConfig;

interface CommonPortConfig {
  /** Default: untagged and tagged frames as they are, in VLAN 0. */
  readonly vlan?: VlanConfig;
  readonly storm?: StormConfig;
}

/** Any port that `open` opens. */
export interface DevicePortConfig extends CommonPortConfig {
  readonly device: string;
}

/** One end of a cable between two bridges of this switch; the other end names this one. */
export interface PatchPortConfig extends CommonPortConfig {
  readonly patch: { readonly bridge: string; readonly port: string };
}

/** A tunnel to other switches (RFC 7348). */
export interface VxlanPortConfig extends CommonPortConfig {
  readonly vxlan: VxlanConfig;
}

export interface VxlanConfig {
  /** VXLAN network identifier, 24 bits. */
  readonly vni: number;
  /** IPv4 address of this end. */
  readonly local: string;
  /** IPv4 addresses of the other ends: what is flooded goes to each. */
  readonly remotes: readonly string[];
  /** UDP port. Default 4789. */
  readonly port?: number;
  readonly underlay: UnderlayConfig;
}

/** What carries the tunnel's packets: a port of its own, or a bridge of this switch that the local address is then a station of. */
export interface UnderlayConfig {
  readonly bridge?: string;
  readonly device?: string;
  /** Address of this end. Default: the device's; one made of the local IP address on a bridge. */
  readonly mac?: string;
  /** Bits of the local address's network. Default 24. */
  readonly prefix?: number;
  /** Next hop to remotes outside that network. */
  readonly gateway?: string;
}

/** `access`: untagged outside, in that VLAN inside. `trunk`: tagged, of those VLANs; `native` is the one of its untagged frames. */
export type VlanConfig = { readonly access: number } | { readonly trunk: readonly number[] | 'all'; readonly native?: number };

/** A limit of flooded packets (broadcast, multicast and unknown addresses) that come in by the port. */
export interface StormConfig {
  readonly packetsPerSecond: number;
  /** Packets at once. Default: a tenth of a second's. */
  readonly burst?: number;
}

/** Copies of what passes some ports of the bridge go to another of its ports, which then carries nothing else. */
export interface MirrorConfig {
  readonly from: readonly string[];
  /** Default both. */
  readonly direction?: 'rx' | 'tx' | 'both';
  readonly to: string;
  /** Bytes of each frame that are copied. Default: all. */
  readonly snap?: number;
}
