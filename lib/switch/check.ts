import { PollmodeError } from '../errors.js';
import { checkRequest } from '../port/host.js';
import type { BridgeConfig, MirrorConfig, PatchPortConfig, PortConfig, SwitchConfig, VxlanConfig } from './config.js';
import { wanted } from './wanted.js';

type Refuse = (path: string, why: string) => never;

/** What a schema cannot say of a configuration that it has passed. Throws EOPTION, with the JSON path. */
export function checkMeaning(config: SwitchConfig, what: string): void {
  const refuse: Refuse = (path, why) => { throw new PollmodeError('EOPTION', `${what}: ${path} ${why}`); };
  for (const [name, bridge] of Object.entries(config.bridges)) {
    for (const [port, its] of Object.entries(bridge.ports)) checkPort(config, name, port, its, refuse);
    for (const [mirror, its] of Object.entries(bridge.mirrors ?? {})) checkMirror(bridge, its, `/bridges/${name}/mirrors/${mirror}`, refuse);
    checkOutlets(bridge, `/bridges/${name}/mirrors`, refuse);
  }
  checkDevices(config, refuse);
  checkTunnels(config, refuse);
  told(() => wanted(config), why => refuse('/bridges:', why));
}

function checkPort(config: SwitchConfig, bridge: string, name: string, port: PortConfig, refuse: Refuse): void {
  const path = `/bridges/${bridge}/ports/${name}`;
  if ('device' in port) told(() => checkRequest(port.device), why => refuse(`${path}/device:`, why));
  if ('patch' in port) checkPatch(config, bridge, name, port, `${path}/patch`, refuse);
  if ('vxlan' in port) checkVxlan(config, bridge, port.vxlan, `${path}/vxlan`, refuse);
}

function checkPatch(config: SwitchConfig, bridge: string, name: string, { patch }: PatchPortConfig, path: string, refuse: Refuse): void {
  if (patch.bridge === bridge) refuse(path, `leads back into "${bridge}": a patch joins two bridges.`);
  const other = portOf(config, patch.bridge, patch.port);
  if (other === undefined) refuse(path, `names port "${patch.port}" of bridge "${patch.bridge}", which is not there: declare both ends.`);
  else if (!('patch' in other)) refuse(path, `names port "${patch.port}" of bridge "${patch.bridge}", which is no patch: give it { "patch": { "bridge": "${bridge}", "port": "${name}" } }.`);
  else if (other.patch.bridge !== bridge || other.patch.port !== name) refuse(path, `names port "${patch.port}" of bridge "${patch.bridge}", whose other end is "${other.patch.port}" of "${other.patch.bridge}": each end names the other.`);
}

function checkVxlan(config: SwitchConfig, bridge: string, vxlan: VxlanConfig, path: string, refuse: Refuse): void {
  const { underlay, local, remotes } = vxlan;
  if (underlay.device !== undefined) told(() => checkRequest(underlay.device!), why => refuse(`${path}/underlay/device:`, why));
  if (underlay.bridge === bridge) refuse(`${path}/underlay/bridge`, `is "${bridge}", the tunnel's own bridge: its packets would go into themselves. Give another bridge, or a device.`);
  if (underlay.bridge !== undefined && !Object.hasOwn(config.bridges, underlay.bridge)) refuse(`${path}/underlay/bridge`, `is "${underlay.bridge}", which is not there: there are ${Object.keys(config.bridges).join(', ')}.`);
  for (const address of [local, ...remotes]) {
    if (Number(address.split('.')[0]) >= 224 || address.startsWith('0.')) refuse(path, `has the address ${address}, which is no station's: give unicast addresses (groups are not joined; list the remotes).`);
  }
  if (remotes.includes(local)) refuse(`${path}/remotes`, `has ${local}, this end: leave it out.`);
}

function checkMirror(bridge: BridgeConfig, mirror: MirrorConfig, path: string, refuse: Refuse): void {
  for (const name of [...mirror.from, mirror.to]) {
    if (!Object.hasOwn(bridge.ports, name)) refuse(path, `names the port "${name}", which this bridge has not: it has ${Object.keys(bridge.ports).join(', ') || 'none'}.`);
  }
  if (mirror.from.includes(mirror.to)) refuse(`${path}/from`, `has "${mirror.to}", where the copies go: leave it out.`);
}

/** Where copies go carries nothing else; so it can be no source, and of one mirror only by accident: several may share it. */
function checkOutlets(bridge: BridgeConfig, path: string, refuse: Refuse): void {
  const mirrors = Object.entries(bridge.mirrors ?? {});
  for (const [name, { from }] of mirrors) {
    const [other] = mirrors.filter(([, { to }]) => from.includes(to)).map(([other]) => other);
    if (other !== undefined) refuse(`${path}/${name}/from`, `has the port that mirror "${other}" sends its copies to: leave it out.`);
  }
}

/** A device is opened once. Two tunnels over the same one share it, and a port beside them takes it as their underlay's bridge would. */
function checkDevices(config: SwitchConfig, refuse: Refuse): void {
  const seen = new Map<string, string>();
  for (const { path, port } of portsOf(config)) {
    if (!('device' in port)) continue;
    const before = seen.get(port.device);
    if (before !== undefined) refuse(`${path}/device`, `is "${port.device}", which ${before} has too: a device is one port.`);
    seen.set(port.device, path);
  }
  for (const { path, port } of portsOf(config)) {
    const device = 'vxlan' in port ? port.vxlan.underlay.device : undefined;
    const before = device === undefined ? undefined : seen.get(device);
    if (before !== undefined) refuse(`${path}/vxlan/underlay/device`, `is "${device!}", which ${before} has too: give that port's bridge as the underlay.`);
  }
}

/** By what a packet comes in it must be told which tunnel's it is (RFC 7348 section 4.1: the VNI and the two addresses). */
function checkTunnels(config: SwitchConfig, refuse: Refuse): void {
  const seen = new Map<string, string>();
  for (const { path, port } of portsOf(config)) {
    if (!('vxlan' in port)) continue;
    const { vni, local, port: udp = 4789, remotes } = port.vxlan;
    for (const remote of remotes) {
      const key = `${local} ${udp} ${vni} ${remote}`;
      const before = seen.get(key);
      if (before !== undefined) refuse(`${path}/vxlan`, `is the tunnel of ${before} once more (VNI ${vni} from ${local} to ${remote}): give it another VNI.`);
      seen.set(key, path);
    }
  }
}

/** What somebody else says of a part, with its place in front. */
function told(work: () => unknown, refuse: (why: string) => never): void {
  try {
    work();
  } catch (cause) {
    if (!(cause instanceof PollmodeError)) throw cause;
    refuse(cause.message);
  }
}

function portOf(config: SwitchConfig, bridge: string, port: string): PortConfig | undefined {
  const ports = Object.hasOwn(config.bridges, bridge) ? config.bridges[bridge]!.ports : {};
  return Object.hasOwn(ports, port) ? ports[port] : undefined;
}

function portsOf(config: SwitchConfig): { readonly path: string; readonly port: PortConfig }[] {
  return Object.entries(config.bridges).flatMap(([bridge, { ports }]) => Object.entries(ports).map(([name, port]) => ({ path: `/bridges/${bridge}/ports/${name}`, port })));
}
