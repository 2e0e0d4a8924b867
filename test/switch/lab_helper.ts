/** A switch whose ports are rings, and a station at the other end of each: no device, no clock but the test's. */
import { Burst } from '../../lib/burst/burst.js';
import { open, type Host } from '../../lib/port/host.js';
import type { Port } from '../../lib/port/port.js';
import type { BridgeConfig, PortConfig, SwitchConfig } from '../../lib/switch/config.js';
import { Switch } from '../../lib/switch/switch.js';

let made = 0;

export type BridgeWanted = Omit<BridgeConfig, 'ports'> & { readonly ports: Readonly<Record<string, PortConfig | PortOptions>> };
/** A port of the lab: its device is a ring. */
export type PortOptions = Omit<PortConfig, 'device'> & { readonly device?: undefined };

export class SwitchLab {
  readonly host: Host;
  readonly sw: Switch;
  readonly config: SwitchConfig;
  now = 0;
  readonly #wires = new Map<string, Port>();
  readonly #burst: Burst;
  readonly #prefix = `lab${made++}`;

  constructor(bridges: Readonly<Record<string, BridgeWanted>>, options: Omit<SwitchConfig, 'bridges'> & { readonly mbufs?: number } = {}) {
    const { mbufs = 2048, ...rest } = options;
    this.host = open([], { mbufs });
    this.#burst = this.host.burst(64);
    this.config = { ...rest, bridges: this.devices(bridges) };
    this.sw = new Switch(this.host, this.config, { clock: () => this.now });
  }

  /** The same with a ring for each port that is none of the other kinds; the station's end is opened too. */
  devices(bridges: Readonly<Record<string, BridgeWanted>>): SwitchConfig['bridges'] {
    return Object.fromEntries(Object.entries(bridges).map(([bridge, { ports, ...rest }]) => [bridge, {
      ...rest, ports: Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, 'patch' in port || 'vxlan' in port ? port : { ...port, device: this.wire(name) }])),
    } as BridgeConfig]));
  }

  /** The switch's end of a wire whose other end is the station of that name. */
  wire(name: string): string {
    const [inward, outward] = [`${this.#prefix}.${name}.in`, `${this.#prefix}.${name}.out`];
    if (!this.#wires.has(name)) this.#wires.set(name, this.host.add(`ring:${outward},tx=${inward},size=256`));
    return `ring:${inward},tx=${outward},size=256`;
  }

  /** Frames into the switch. Returns how many the wire took. */
  send(name: string, ...frames: readonly Uint8Array[]): number {
    const { pool, mbufs } = this.host;
    let sent = 0;
    for (const frame of frames) {
      if (pool.alloc(this.#burst, 1) === 0) throw new Error('the lab\'s pool is dry');
      if (!mbufs.copyIn(this.#burst.handles[0]!, frame)) throw new Error('too long for an mbuf');
      const taken = this.#wires.get(name)!.tx[0]!.txBurst(this.#burst, 1);
      if (taken === 0) pool.free(this.#burst, 0, 1);
      sent += taken;
    }
    return sent;
  }

  /** What came out of the switch. */
  receive(name: string): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let count = this.#take(name); count > 0; count = this.#take(name)) {
      for (let i = 0; i < count; i++) frames.push(this.host.mbufs.copyOut(this.#burst.handles[i]!));
      this.host.pool.free(this.#burst, 0, count);
    }
    return frames;
  }

  /** Polls until nothing comes any more. */
  settle(): void {
    for (let quiet = 0; quiet < 2;) quiet = this.sw.poll() === 0 ? quiet + 1 : 0;
  }

  /** Sends, lets the switch work, and returns what came out where, but for stations that got nothing. */
  exchange(from: string, ...frames: readonly Uint8Array[]): Record<string, Uint8Array[]> {
    this.send(from, ...frames);
    this.settle();
    return Object.fromEntries([...this.#wires.keys()].map(name => [name, this.receive(name)] as const).filter(([, got]) => got.length > 0));
  }

  drops(bridge: string, name: string): Record<string, number> {
    const port = this.sw.ports().find(each => each.bridge === bridge && each.name === name);
    if (port === undefined) throw new Error(`no port ${bridge}/${name}`);
    return { ...port.drops };
  }

  /** mbufs that are not free: none, once all stations have received. */
  get out(): number {
    const { free, total } = this.host.pool.audit();
    return total - free;
  }

  close(): void {
    this.sw.close();
    this.host.close();
  }

  #take(name: string): number {
    return this.#wires.get(name)!.rx[0]!.rxBurst(this.#burst);
  }
}

export const BROADCAST = 0xffffffffffff;

export interface FrameParts {
  readonly to: number;
  readonly from: number;
  /** Undefined: no tag. */
  readonly tag?: number;
  readonly priority?: number;
  readonly type?: number;
  readonly length?: number;
  readonly fill?: number;
}

/** A frame, MACs as numbers of 48 bits. `length`: bytes without FCS. */
export function frame({ to, from, tag, priority = 0, type = 0x88b5, length = 60, fill = 0x5a }: FrameParts): Uint8Array {
  const bytes = new Uint8Array(length).fill(fill);
  const header = [...mac(to), ...mac(from), ...(tag === undefined ? [] : [0x81, 0x00, (priority << 5) | (tag >>> 8), tag & 0xff]), type >>> 8, type & 0xff];
  bytes.set(header.slice(0, length));
  return bytes;
}

function mac(address: number): number[] {
  return [5, 4, 3, 2, 1, 0].map(byte => Math.floor(address / 2 ** (8 * byte)) & 0xff);
}
