import { parseIpv4 } from '../address.js';
import { Burst, MAX_BURST } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Host } from '../port/host.js';
import type { Port, RxQueue } from '../port/port.js';
import { parseMac } from '../wire/ethernet.js';
import type { Bridge, Mirror } from './bridge.js';
import type { BridgeConfig, MirrorConfig, SwitchConfig, VxlanConfig } from './config.js';
import { MOST_PORTS, tooManyPorts, type Datapath } from './datapath.js';
import { deviceState } from './device_state.js';
import { Fdb } from './fdb.js';
import type { SwitchPort } from './ports.js';
import type { Changes } from './report.js';
import { StormLimit } from './storm.js';
import { PortVlans, UNTAGGED } from './vlan.js';
import { Vtep } from './vtep.js';
import { VXLAN_PORT } from './vxlan.js';
import { addressesOf, macFor, wanted, type Wanted, type WantedVtep } from './wanted.js';

const AGEING_SECONDS = 300;
const MACS = 8192;

/** What is polled: the queues of a device, and who takes what comes. */
export interface DevicePort {
  readonly queues: readonly RxQueue[];
  readonly receive: (burst: Burst, count: number) => void;
}

/** A port of the config that is there. A tunnel has one in the switch for each remote, by its address, and how to disconnect it. */
interface Placed {
  readonly name: string;
  readonly identity: string;
  readonly ports: SwitchPort[];
  readonly remotes: Map<string, { readonly port: SwitchPort; readonly disconnect: () => void }>;
  readonly device: Port | undefined;
  readonly polled: DevicePort | undefined;
}

interface PlacedVtep {
  readonly identity: string;
  readonly vtep: Vtep;
  readonly port: SwitchPort;
  readonly bridge: string | undefined;
  readonly device: Port | undefined;
  readonly polled: DevicePort | undefined;
}

/** The bridges and ports that a config asks for, in the datapath: puts up what is new, takes away what is gone, leaves the rest alone. */
export class Plant {
  readonly #host: Host;
  readonly #datapath: Datapath;
  readonly #between: () => void;
  readonly #placed = new Map<string, Placed>();
  readonly #vteps = new Map<string, PlacedVtep>();
  readonly #bridges = new Map<string, Bridge>();
  readonly #closed = new Set<Port>();
  #numbers = 1;

  /** @param between polls what is there, while all of it is as it was: what is new takes milliseconds to be had */
  constructor(host: Host, datapath: Datapath, between: () => void) {
    this.#host = host;
    this.#datapath = datapath;
    this.#between = between;
  }

  get devices(): readonly DevicePort[] {
    return [...this.#placed.values(), ...this.#vteps.values()].flatMap(({ polled }) => polled === undefined ? [] : [polled]);
  }

  apply(config: SwitchConfig): Changes {
    const { ports, vteps } = wanted(config);
    checkMirrors(config);
    const fresh = [...ports.values()].filter(({ name, identity }) => this.#placed.get(name)?.identity !== identity);
    const freshVteps = [...vteps.values()].filter(({ local, identity }) => this.#vteps.get(local)?.identity !== identity);
    const gone = [...this.#placed.values()].filter(({ name, identity }) => ports.get(name)?.identity !== identity);
    const goneVteps = [...this.#vteps].filter(([local, { identity }]) => vteps.get(local)?.identity !== identity);
    const { devices, added } = this.#openDevices(fresh, freshVteps, [...gone, ...goneVteps.map(([, placed]) => placed)]);
    const fdbs = this.#reserve(config, ports, vteps, added);
    this.#between();
    for (const placed of gone) this.#takeAway(placed, devices);
    for (const [local, placed] of goneVteps) this.#takeVtepAway(local, placed, devices);
    this.#buildBridges(config, fdbs);
    for (const each of freshVteps) this.#placeVtep(each, devices);
    for (const each of fresh) this.#place(each, devices);
    for (const each of ports.values()) this.#configure(each);
    this.#joinBridges(config);
    this.#datapath.flows.forgetAll();
    const isFresh = new Set(fresh.map(({ name }) => name));
    return { opened: [...isFresh], closed: gone.map(({ name }) => name), kept: [...ports.keys()].filter(name => !isFresh.has(name)) };
  }

  /** Now and then. */
  tick(now: number): void {
    for (const { vtep } of this.#vteps.values()) vtep.tick(now);
  }

  close(): void {
    const none = new Map<string, Port>();
    for (const placed of this.#placed.values()) this.#takeAway(placed, none);
    for (const [local, placed] of this.#vteps) this.#takeVtepAway(local, placed, none);
  }

  /** All of them, or none: then it throws. One that another port of the switch has now is taken over by who has it next. */
  #openDevices(fresh: readonly Wanted[], vteps: readonly WantedVtep[], gone: readonly Pick<Placed, 'device'>[]): { readonly devices: Map<string, Port>; readonly added: readonly Port[] } {
    const names = [...fresh.map(({ config }) => 'device' in config ? config.device : undefined), ...vteps.map(({ underlay }) => underlay.device)];
    const devices = new Map<string, Port>();
    const added: Port[] = [];
    try {
      for (const name of names) {
        if (name === undefined) continue;
        const there = this.#host.ports.find(port => port.name === name && !this.#closed.has(port));
        const port = there ?? this.#add(name, gone);
        if (there === undefined) {
          added.push(port);
          this.#between();
        }
        devices.set(name, port);
      }
      const stays = (placed: Pick<Placed, 'device'>): boolean => !gone.includes(placed);
      const staying = [...this.#placed.values()].filter(stays).flatMap(({ device }) => device ?? []);
      this.#checkOffloads([...new Set([...devices.values(), ...staying])], vteps.length > 0 || [...this.#vteps.values()].some(stays));
    } catch (cause) {
      for (const port of added) this.#closeDevice(port);
      throw cause;
    }
    return { devices, added };
  }

  /** What else can be short is asked for while all is as it was: numbers of ports, and memory. Returns the databases of new and resized bridges. */
  #reserve(config: SwitchConfig, ports: ReadonlyMap<string, Wanted>, vteps: ReadonlyMap<string, WantedVtep>, added: readonly Port[]): Map<string, Fdb> {
    const fdbs = new Map<string, Fdb>();
    const tried: Burst[] = [];
    try {
      const waysOf = ({ config: its }: Wanted): number => 'vxlan' in its ? its.vxlan.remotes.length : 1;
      const all = [...ports.values()].reduce((sum, port) => sum + waysOf(port), vteps.size);
      if (all >= MOST_PORTS) throw tooManyPorts();
      for (const [name, { macs = MACS, ageingSeconds = AGEING_SECONDS }] of Object.entries(config.bridges)) {
        if (this.#bridges.get(name)?.fdb.capacity !== macs) fdbs.set(name, new Fdb(this.#host.arena, macs, ageingSeconds * 1000, (low, high) => this.#datapath.flows.forget(low, high)));
      }
      // Each port has a line, and each end point three vectors: as many more than there are.
      for (let vectors = all + 3 * vteps.size - this.#ways; vectors > 0; vectors--) tried.push(new Burst(this.#host.arena, MAX_BURST));
      return fdbs;
    } catch (cause) {
      for (const fdb of fdbs.values()) fdb.close();
      for (const port of added) this.#closeDevice(port);
      throw cause;
    } finally {
      for (const burst of tried) burst.close();
    }
  }

  /** Vectors that are there already. */
  get #ways(): number {
    return [...this.#placed.values()].reduce((sum, { ports }) => sum + ports.length, 4 * this.#vteps.size);
  }

  /** What one port leaves to be done, all others must do: the switch sends packets as they are. */
  #checkOffloads(all: readonly Port[], tunnels: boolean): void {
    const leaver = all.find(({ capabilities }) => (capabilities.rxLeaves ?? 0) !== 0);
    if (leaver === undefined) return;
    const left = leaver.capabilities.rxLeaves!;
    const lacking = all.find(({ capabilities }) => (left & ~(capabilities.txOffloads ?? 0)) !== 0);
    if (lacking === undefined && !tunnels) return;
    throw new PollmodeError('EUNSUPPORTED', `${leaver.name} passes on what its guest leaves to be done, and ${lacking?.name ?? 'a VXLAN tunnel'} does not do it: take pass_offloads away from the first, and it is done before the switch sees the packet.`);
  }

  /** What is there is closed only when all that is new is open: one device with other options finds itself in the way. */
  #add(name: string, gone: readonly Pick<Placed, 'device'>[]): Port {
    try {
      return this.#host.add(name);
    } catch (cause) {
      const before = gone.find(({ device }) => device !== undefined && headOf(device.name) === headOf(name))?.device;
      if (before === undefined || !(cause instanceof PollmodeError)) throw cause;
      throw new PollmodeError(cause.code, `${name}: the switch has it open as ${before.name}, and a running port keeps its options: take it out in one reload, and put it back in the next.`, { cause });
    }
  }

  #closeDevice(port: Port): void {
    port.close();
    this.#closed.add(port);
  }

  #place({ name, bridge, port: shortName, config, identity }: Wanted, devices: ReadonlyMap<string, Port>): void {
    const device = 'device' in config ? devices.get(config.device) : undefined;
    const placed = { name, identity, ports: [], remotes: new Map(), device, polled: undefined };
    if ('vxlan' in config) return void this.#placed.set(name, placed);
    const number = this.#bridges.get(bridge)!.number;
    const port = this.#datapath.addPort({ name: shortName, kind: device === undefined ? 'patch' : 'device', bridge: number, vlans: new PortVlans(config.vlan), ...(device === undefined ? {} : { device: device.name }) });
    this.#placed.set(name, { ...placed, ports: [port], polled: device === undefined ? undefined : this.#attach(port, device, (burst, count) => this.#datapath.process(port, burst, count)) });
  }

  #attach(port: SwitchPort, device: Port, receive: DevicePort['receive']): DevicePort {
    const tx = device.tx[0]!;
    port.sink = { send: (line, count) => tx.txBurst(line, count) };
    port.shares = !device.capabilities.zeroCopy;
    port.state = () => deviceState(device);
    return { queues: device.rx, receive };
  }

  #takeAway(placed: Placed, keep: ReadonlyMap<string, Port>): void {
    for (const { disconnect } of placed.remotes.values()) disconnect();
    for (const port of placed.ports) this.#datapath.removePort(port);
    if (placed.device !== undefined && keep.get(placed.device.name) !== placed.device) this.#closeDevice(placed.device);
    this.#placed.delete(placed.name);
  }

  #placeVtep(each: WantedVtep, devices: ReadonlyMap<string, Port>): void {
    const { local, underlay, identity } = each;
    const { pool, copies, carrier } = { pool: this.#host.pool, copies: this.#datapath.copies, carrier: this.#datapath.carrier };
    const device = underlay.device === undefined ? undefined : devices.get(underlay.device)!;
    const bridge = underlay.bridge === undefined ? 0 : this.#bridges.get(underlay.bridge)!.number;
    const port = this.#datapath.addPort({ name: `vtep ${local}`, kind: device === undefined ? 'local' : 'device', bridge, vlans: new PortVlans(), ...(device === undefined ? {} : { device: device.name }) });
    const mac = underlay.mac ?? device?.mac;
    const vtep = new Vtep({
      ...addressesOf(each), pool, copies, mac: mac === undefined ? macFor(local) : Uint8Array.from(parseMac(mac)),
      transmit: device === undefined ? (burst, count) => this.#datapath.process(port, burst, count) : (burst, count) => carrier.putAll(port, burst, count),
      deliver: (to, burst, count) => this.#datapath.process(to, burst, count),
    });
    vtep.underlay = port;
    const receive = (burst: Burst, count: number): number => vtep.receive(burst, count);
    if (device === undefined) port.sink = { send: receive };
    const polled = device === undefined ? undefined : this.#attach(port, device, (burst, count) => {
      carrier.countIn(port, burst, count);
      receive(burst, count);
    });
    this.#vteps.set(local, { identity, vtep, port, bridge: underlay.bridge, device, polled });
  }

  #takeVtepAway(local: string, { vtep, port, device }: PlacedVtep, keep: ReadonlyMap<string, Port>): void {
    vtep.close();
    this.#datapath.removePort(port);
    if (device !== undefined && keep.get(device.name) !== device) this.#closeDevice(device);
    this.#vteps.delete(local);
  }

  #configure({ name, bridge, port: shortName, config }: Wanted): void {
    const placed = this.#placed.get(name)!;
    if ('vxlan' in config) this.#connect(placed, shortName, this.#bridges.get(bridge)!.number, config.vxlan);
    for (const port of placed.ports) {
      port.vlans = new PortVlans(config.vlan);
      const same = JSON.stringify(config.storm) === JSON.stringify(port.stormConfig);
      if (!same) port.storm = config.storm === undefined ? undefined : new StormLimit(config.storm, this.#datapath.now);
      port.stormConfig = config.storm;
      if ('patch' in config) port.peer = this.#placed.get(`${config.patch.bridge}/${config.patch.port}`)!.ports[0];
    }
  }

  /** A tunnel's remotes: those that are new, and not those that are gone. */
  #connect(placed: Placed, shortName: string, bridge: number, { vni, local, remotes, port: udpPort = VXLAN_PORT }: VxlanConfig): void {
    for (const [remote, { port, disconnect }] of placed.remotes) {
      if (remotes.includes(remote)) continue;
      disconnect();
      this.#datapath.removePort(port);
      placed.remotes.delete(remote);
      placed.ports.splice(placed.ports.indexOf(port), 1);
    }
    const { vtep } = this.#vteps.get(local)!;
    for (const remote of remotes) {
      if (placed.remotes.has(remote)) continue;
      const port = this.#datapath.addPort({ name: shortName, kind: 'vxlan', bridge, vlans: new PortVlans(), remote });
      placed.remotes.set(remote, { port, disconnect: vtep.connect(port, vni, udpPort, parseIpv4(remote)) });
      placed.ports.push(port);
    }
    for (const port of placed.ports) port.group = placed.ports[0]!.number;
  }

  #buildBridges(config: SwitchConfig, fdbs: ReadonlyMap<string, Fdb>): void {
    for (const [name, bridge] of this.#bridges) {
      if (config.bridges[name] !== undefined) continue;
      bridge.fdb.close();
      this.#bridges.delete(name);
      this.#datapath.bridges.delete(bridge.number);
    }
    for (const [name, each] of Object.entries(config.bridges)) this.#buildBridge(name, each, fdbs.get(name));
  }

  /** @param fdb for one that is new, or has another size now */
  #buildBridge(name: string, { ageingSeconds = AGEING_SECONDS }: BridgeConfig, fdb: Fdb | undefined): void {
    const before = this.#bridges.get(name);
    if (fdb === undefined) {
      before!.fdb.ageing = ageingSeconds * 1000;
      return;
    }
    if (before !== undefined) {
      for (const { vlan, low, high, port, seen } of before.fdb.entries()) fdb.learn(vlan, low, high, port, seen);
      before.fdb.close();
      before.fdb = fdb;
      return;
    }
    const bridge: Bridge = { number: this.#numbers++, name, fdb, ports: [], mirrors: [] };
    this.#bridges.set(name, bridge);
    this.#datapath.bridges.set(bridge.number, bridge);
  }

  /** Which ports a bridge has now; what was learned behind ports that left the VLAN is forgotten. */
  #joinBridges(config: SwitchConfig): void {
    for (const [name, { ports, mirrors = {} }] of Object.entries(config.bridges)) {
      const bridge = this.#bridges.get(name)!;
      const locals = [...this.#vteps.values()].filter(vtep => vtep.bridge === name).map(({ port }) => port);
      bridge.ports = [...Object.keys(ports).flatMap(port => this.#placed.get(`${name}/${port}`)!.ports), ...locals];
      bridge.mirrors = Object.entries(mirrors).map(([mirror, each]) => this.#mirror(name, mirror, each));
      for (const port of bridge.ports) port.isMirror = bridge.mirrors.some(({ to }) => to === port.number);
      bridge.fdb.forget((number, vlan) => {
        const port = this.#datapath.ports[number];
        return port === undefined || port.isMirror || port.vlans.egress(vlan) < UNTAGGED;
      });
    }
  }

  #mirror(bridge: string, name: string, { from, direction = 'both', to, snap = 0 }: MirrorConfig): Mirror {
    const numbers = (port: string): number[] => this.#placed.get(`${bridge}/${port}`)!.ports.map(({ number }) => number);
    const sources = new Set(from.flatMap(numbers));
    const none = new Set<number>();
    return { name, rx: direction === 'tx' ? none : sources, tx: direction === 'rx' ? none : sources, to: numbers(to)[0] ?? 0, snap };
  }
}

/** Driver and device, without the options. */
function headOf(device: string): string {
  return /^(?:\\.|[^\\,])*/.exec(device)![0];
}

/** Throws EOPTION for one that names what is not there. */
function checkMirrors({ bridges }: SwitchConfig): void {
  for (const [bridge, { ports, mirrors = {} }] of Object.entries(bridges)) {
    for (const [name, { from, to }] of Object.entries(mirrors)) {
      const lacking = [...from, to].find(port => ports[port] === undefined);
      if (lacking !== undefined) throw new PollmodeError('EOPTION', `Mirror "${name}" of ${bridge} names a port "${lacking}" that is not there: name one of that bridge's.`);
      if (from.includes(to)) throw new PollmodeError('EOPTION', `Mirror "${name}" of ${bridge} copies "${to}" to itself: name another port.`);
    }
  }
}
