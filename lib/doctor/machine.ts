import { release } from 'node:os';
import { addonPath, tryBinding, type Binding } from '../binding.js';
import { chosenBuild, instantiate } from '../burst/module.js';
import { wasm } from '../arena/webassembly.js';
import { PollmodeError } from '../errors.js';
import { listJournals, type Left } from '../journal/left.js';
import { driverInfo, readChannels, type Channels, type DriverInfo } from '../kernel/ethtool.js';
import { listXdpFeatures, type XdpFeatures } from '../kernel/features.js';
import { listLinks, type Link } from '../kernel/link.js';
import { listQueues, type QueueUse } from '../kernel/queues.js';
import { drivers } from '../port/drivers.js';
import type { PortDriver } from '../port/port.js';
import { Files } from './files.js';

/** Everything that the checks look at, so that a test can put another machine there. Nothing in it alters anything. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** As `uname -r` prints it. */
  readonly release: string;
  readonly node: string;
  readonly files: Files;
  readonly addon: Addon;
  /** Throws where a burst module cannot be loaded. */
  loadBurst(): string;
  /** Undefined without the addon. */
  readonly network: Network | undefined;
  readonly drivers: readonly PortDriver[];
  journals(): Left[];
}

export interface Addon {
  readonly binding: Pick<Binding, 'socket' | 'close'> | PollmodeError;
  readonly path: string | undefined;
}

/** What the kernel says of the calling thread's network namespace. Each throws a `PollmodeError` where it says nothing. */
export interface Network {
  links(): Link[];
  xdp(): XdpFeatures[];
  driver(name: string): DriverInfo;
  channels(name: string): Channels;
  queues(ifindex: number): QueueUse[];
}

export function thisMachine(): Machine {
  const binding = tryBinding();
  return {
    platform: process.platform, arch: process.arch, release: release(), node: process.versions.node,
    files: new Files(),
    addon: { binding, path: addonPath() },
    loadBurst,
    network: binding instanceof PollmodeError ? undefined : { links: listLinks, xdp: listXdpFeatures, driver: driverInfo, channels: readChannels, queues: listQueues },
    drivers,
    journals: () => listJournals(),
  };
}

/** The build that a program here would get, and that it can be instantiated. */
function loadBurst(): string {
  const build = chosenBuild();
  instantiate(new wasm.Memory({ initial: 1024, maximum: 1024, shared: true }), build);
  return build;
}

/** What a call gives, or undefined where it is refused. */
export function granted<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof PollmodeError) return undefined;
    throw error;
  }
}
