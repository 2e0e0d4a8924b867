import type { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Host } from '../port/host.js';
import type { Port, RxQueue } from '../port/port.js';
import type { Bridge, Mirror } from './bridge.js';
import type { BridgeConfig, MirrorConfig, PortConfig, SwitchConfig } from './config.js';
import type { Datapath } from './datapath.js';
import { Fdb } from './fdb.js';
import type { SwitchPort } from './ports.js';
import type { Changes } from './report.js';
import { StormLimit } from './storm.js';
import { PortVlans } from './vlan.js';

const AGEING_SECONDS = 300;
const MACS = 8192;

/** What is polled: the queues of a device, and who takes what comes. */
export interface DevicePort {
  readonly queues: readonly RxQueue[];
  readonly receive: (burst: Burst, count: number) => void;
}

/** A port of the config that is there. */
interface Placed {
  readonly name: string;
  /** Says what it is; a port of the same name that says otherwise is another one. */
  readonly identity: string;
  readonly ports: readonly SwitchPort[];
  readonly device: DevicePort | undefined;
  readonly close: () => void;
}

interface Wanted { readonly name: string; readonly bridge: string; readonly config: PortConfig; readonly identity: string }

/** The bridges and ports that a config asks for, in the datapath: puts up what is new, takes away what is gone, leaves the rest alone. */
export class Plant {
  readonly #host: Host;
  readonly #datapath: Datapath;
  readonly #placed = new Map<string, Placed>();
  readonly #bridges = new Map<string, Bridge>();
  #numbers = 1;

  constructor(host: Host, datapath: Datapath) {
    this.#host = host;
    this.#datapath = datapath;
  }

  get devices(): readonly DevicePort[] {
    return [...this.#placed.values()].flatMap(({ device }) => device === undefined ? [] : [device]);
  }

  apply(config: SwitchConfig): Changes {
    const wanted = wantedPorts(config);
    const fresh = [...wanted.values()].filter(({ name, identity }) => this.#placed.get(name)?.identity !== identity);
    const gone = [...this.#placed.values()].filter(({ name, identity }) => wanted.get(name)?.identity !== identity);
    const opened = this.#openDevices(fresh, gone);
    for (const placed of gone) this.#takeAway(placed);
    this.#buildBridges(config);
    for (const each of fresh) this.#place(each, opened.get(each.name));
    for (const each of wanted.values()) this.#configure(each);
    this.#joinBridges(config);
    this.#datapath.flows.forgetAll();
    return { opened: fresh.map(({ name }) => name), closed: gone.map(({ name }) => name), kept: [...wanted.keys()].filter(name => !fresh.some(each => each.name === name)) };
  }

  close(): void {
    for (const placed of this.#placed.values()) this.#takeAway(placed);
  }

  /** All of them, or none: then it throws. A device that a port leaves which goes away can be another port's at once. */
  #openDevices(fresh: readonly Wanted[], gone: readonly Placed[]): Map<string, Port> {
    const inUse = new Set([...this.#placed.values()].filter(placed => !gone.includes(placed)).map(({ identity }) => identity));
    const opened = new Map<string, Port>();
    const added: Port[] = [];
    try {
      for (const { name, config } of fresh) {
        if (!('device' in config)) continue;
        if (inUse.has(config.device)) throw new PollmodeError('EOPTION', `"${config.device}" is the device of two ports: leave one out.`);
        inUse.add(config.device);
        const there = this.#host.ports.find(port => port.name === config.device && !this.#closed.has(port));
        const port = there ?? this.#host.add(config.device);
        if (there === undefined) added.push(port);
        opened.set(name, port);
      }
    } catch (cause) {
      for (const port of added) {
        port.close();
        this.#closed.add(port);
      }
      throw cause;
    }
    return opened;
  }

  readonly #closed = new Set<Port>();

  #place({ name, bridge, config, identity }: Wanted, device: Port | undefined): void {
    const datapath = this.#datapath;
    const number = this.#bridges.get(bridge)!.number;
    const shortName = name.slice(bridge.length + 1);
    const port = datapath.addPort({ name: shortName, kind: device === undefined ? 'patch' : 'device', bridge: number, vlans: new PortVlans(config.vlan), ...(device === undefined ? {} : { device: device.name }) });
    if (device === undefined) {
      this.#placed.set(name, { name, identity, ports: [port], device: undefined, close: () => undefined });
      return;
    }
    const tx = device.tx[0]!;
    port.sink = { send: (line, count) => tx.txBurst(line, count) };
    this.#placed.set(name, {
      name, identity, ports: [port],
      device: { queues: device.rx, receive: (burst, count) => datapath.process(port, burst, count) },
      close: () => {
        device.close();
        this.#closed.add(device);
      },
    });
  }

  #takeAway(placed: Placed): void {
    for (const port of placed.ports) this.#datapath.removePort(port);
    placed.close();
    this.#placed.delete(placed.name);
  }

  #configure({ name, config }: Wanted): void {
    for (const port of this.#placed.get(name)!.ports) {
      port.vlans = new PortVlans(config.vlan);
      const same = JSON.stringify(config.storm) === JSON.stringify(port.stormConfig);
      if (!same) port.storm = config.storm === undefined ? undefined : new StormLimit(config.storm, this.#datapath.now);
      port.stormConfig = config.storm;
      if ('patch' in config) port.peer = this.#placed.get(`${config.patch.bridge}/${config.patch.port}`)!.ports[0];
    }
  }

  #buildBridges(config: SwitchConfig): void {
    for (const [name, bridge] of this.#bridges) {
      if (config.bridges[name] !== undefined) continue;
      bridge.fdb.close();
      this.#bridges.delete(name);
      this.#datapath.bridges.delete(bridge.number);
    }
    for (const [name, wanted] of Object.entries(config.bridges)) this.#buildBridge(name, wanted);
  }

  #buildBridge(name: string, { ageingSeconds = AGEING_SECONDS, macs = MACS }: BridgeConfig): void {
    const { flows, bridges } = this.#datapath;
    const before = this.#bridges.get(name);
    if (before?.fdb.capacity === macs) {
      before.fdb.ageing = ageingSeconds * 1000;
      return;
    }
    const fdb = new Fdb(this.#host.arena, macs, ageingSeconds * 1000, (low, high) => flows.forget(low, high));
    if (before !== undefined) {
      for (const { vlan, low, high, port, seen } of before.fdb.entries()) fdb.learn(vlan, low, high, port, seen);
      before.fdb.close();
      before.fdb = fdb;
      return;
    }
    const bridge: Bridge = { number: this.#numbers++, name, fdb, ports: [], mirrors: [] };
    this.#bridges.set(name, bridge);
    bridges.set(bridge.number, bridge);
  }

  #joinBridges(config: SwitchConfig): void {
    for (const [name, { ports, mirrors = {} }] of Object.entries(config.bridges)) {
      const bridge = this.#bridges.get(name)!;
      bridge.ports = Object.keys(ports).flatMap(port => this.#placed.get(`${name}/${port}`)!.ports);
      bridge.mirrors = Object.entries(mirrors).map(([mirror, wanted]) => this.#mirror(name, mirror, wanted));
      for (const port of bridge.ports) port.isMirror = bridge.mirrors.some(({ to }) => to === port.number);
      bridge.fdb.forget((number, vlan) => {
        const port = this.#datapath.ports[number];
        return port === undefined || port.isMirror || port.vlans.egress(vlan) < -1;
      });
    }
  }

  #mirror(bridge: string, name: string, { from, direction = 'both', to, snap = 0 }: MirrorConfig): Mirror {
    const numbers = (port: string): number[] => {
      const placed = this.#placed.get(`${bridge}/${port}`);
      if (placed === undefined) throw new PollmodeError('EOPTION', `Mirror "${name}" of ${bridge} names a port "${port}" that is not there: name one of that bridge's.`);
      return placed.ports.map(({ number }) => number);
    };
    const sources = new Set(from.flatMap(numbers));
    const none = new Set<number>();
    return { name, rx: direction === 'tx' ? none : sources, tx: direction === 'rx' ? none : sources, to: numbers(to)[0]!, snap };
  }
}

/** By "bridge/port". Throws EOPTION for what cannot be, before anything is changed. */
function wantedPorts({ bridges }: SwitchConfig): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const [bridge, { ports }] of Object.entries(bridges)) {
    for (const [port, config] of Object.entries(ports)) wanted.set(`${bridge}/${port}`, { name: `${bridge}/${port}`, bridge, config, identity: identityOf(config) });
  }
  for (const { name, config } of wanted.values()) {
    if (!('patch' in config)) continue;
    const peer = wanted.get(`${config.patch.bridge}/${config.patch.port}`)?.config;
    if (peer === undefined || !('patch' in peer) || `${peer.patch.bridge}/${peer.patch.port}` !== name) {
      throw new PollmodeError('EOPTION', `${name} is a patch to ${config.patch.bridge}/${config.patch.port}, which is none to ${name}: a patch has two ends that name each other.`);
    }
  }
  return wanted;
}

function identityOf(config: PortConfig): string {
  if ('device' in config) return config.device;
  if ('patch' in config) return `patch ${config.patch.bridge}/${config.patch.port}`;
  throw new PollmodeError('EUNSUPPORTED', 'Tunnels are not there yet: leave the vxlan port out.');
}
