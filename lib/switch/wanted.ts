import { addressBytes, parseIpv4 } from '../address.js';
import { PollmodeError } from '../errors.js';
import { parseMac } from '../wire/ethernet.js';
import type { PortConfig, SwitchConfig, UnderlayConfig, VxlanConfig } from './config.js';

/** A port that a config asks for. */
export interface Wanted {
  /** "bridge/port". */
  readonly name: string;
  readonly bridge: string;
  readonly port: string;
  readonly config: PortConfig;
  /** A port of that name with another identity is another port. */
  readonly identity: string;
}

/** A tunnel end point: what all tunnels have that name its address. */
export interface WantedVtep {
  readonly local: string;
  readonly underlay: UnderlayConfig;
  readonly identity: string;
}

export interface WantedAll {
  readonly ports: ReadonlyMap<string, Wanted>;
  readonly vteps: ReadonlyMap<string, WantedVtep>;
}

/** By name and by address. Throws EOPTION for what cannot be. */
export function wanted({ bridges }: SwitchConfig): WantedAll {
  const ports = new Map<string, Wanted>();
  const vteps = new Map<string, WantedVtep>();
  for (const [bridge, each] of Object.entries(bridges)) {
    for (const [port, config] of Object.entries(each.ports)) {
      ports.set(`${bridge}/${port}`, { name: `${bridge}/${port}`, bridge, port, config, identity: identityOf(config) });
      if ('vxlan' in config) addVtep(vteps, `${bridge}/${port}`, config.vxlan, bridges);
    }
  }
  checkPatches(ports);
  checkDevices(ports, vteps);
  return { ports, vteps };
}

/** Address, bits of its network and next hop of an end point, in host order. */
export function addressesOf({ local, underlay: { prefix = 24, gateway } }: WantedVtep): { local: number; prefix: number; gateway: number } {
  return { local: parseIpv4(local), prefix, gateway: gateway === undefined ? 0 : parseIpv4(gateway) };
}

/** Locally administered, of the IP address: what a VTEP has that nobody gave one. */
export function macFor(local: string): Uint8Array {
  return Uint8Array.of(0x02, 0xfe, ...addressBytes(local));
}

function identityOf(config: PortConfig): string {
  if ('device' in config) return config.device;
  if ('patch' in config) return `patch ${config.patch.bridge}/${config.patch.port}`;
  const { vni, local, port } = config.vxlan;
  return `vxlan ${JSON.stringify([vni, local, port ?? 0, config.vxlan.underlay])}`;
}

function addVtep(vteps: Map<string, WantedVtep>, name: string, { local, remotes, underlay }: VxlanConfig, bridges: SwitchConfig['bridges']): void {
  for (const address of [local, ...remotes, ...(underlay.gateway === undefined ? [] : [underlay.gateway])]) parseIpv4(address);
  if (underlay.mac !== undefined) parseMac(underlay.mac);
  if (new Set([local, ...remotes]).size !== remotes.length + 1) refuse(`${name} names an address twice: each remote once, and none of them the local one`);
  if ((underlay.bridge === undefined) === (underlay.device === undefined)) refuse(`${name} needs an underlay, a bridge or a device: name one`);
  if (underlay.bridge !== undefined && bridges[underlay.bridge] === undefined) refuse(`${name} is to run over the bridge "${underlay.bridge}", which is not there`);
  const identity = JSON.stringify([underlay.bridge, underlay.device, underlay.mac, underlay.prefix, underlay.gateway]);
  const before = vteps.get(local);
  if (before !== undefined && before.identity !== identity) refuse(`${name} and another tunnel have the local address ${local} over different underlays: make them the same`);
  vteps.set(local, { local, underlay, identity });
}

function checkPatches(ports: ReadonlyMap<string, Wanted>): void {
  for (const { name, config } of ports.values()) {
    if (!('patch' in config)) continue;
    const other = `${config.patch.bridge}/${config.patch.port}`;
    const peer = ports.get(other)?.config;
    if (peer === undefined || !('patch' in peer) || `${peer.patch.bridge}/${peer.patch.port}` !== name) refuse(`${name} is a patch to ${other}, which is none to ${name}: a patch has two ends that name each other`);
  }
}

function checkDevices(ports: ReadonlyMap<string, Wanted>, vteps: ReadonlyMap<string, WantedVtep>): void {
  const used = new Set<string>();
  const devices = [...[...ports.values()].map(({ config }) => 'device' in config ? config.device : undefined), ...[...vteps.values()].map(({ underlay }) => underlay.device)];
  for (const device of devices) {
    if (device === undefined) continue;
    if (used.has(device)) refuse(`"${device}" is there twice: a device is one port's, or one tunnel address's`);
    used.add(device);
  }
}

function refuse(what: string): never {
  throw new PollmodeError('EOPTION', `${what}.`);
}
