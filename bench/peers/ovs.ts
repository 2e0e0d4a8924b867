/**
 * Open vSwitch with DPDK, of Debian's package `openvswitch-switch-dpdk`: its database and its switch in a folder and a
 * network namespace of their own, so that neither its sockets nor its tap devices (they outlive it) are the machine's.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Cpus } from './dpdk.js';
import { installed, type Machine } from './machine.js';
import type { Program } from './program.js';

/** Debian keeps the two switches apart, with and without DPDK, whichever of them is the machine's ovs-vswitchd. */
const SWITCH = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const BRIDGE = 'br0';
const COMMAND_SECONDS = 20;
const run = promisify(execFile);

/** Why it cannot be run, or undefined. */
export function ovsLacks(machine: Machine): string | undefined {
  if (!existsSync(SWITCH) || !existsSync(SCHEMA)) return 'Open vSwitch with DPDK not found: apt-get install openvswitch-switch-dpdk';
  const missing = ['setpriv', 'unshare'].filter(name => !installed(name));
  if (missing.length > 0) return `${missing.join(' and ')} not found: apt-get install util-linux`;
  if (process.getuid?.() !== 0) return 'Open vSwitch with DPDK needs root';
  return machine.reserveHugePages();
}

export interface OvsOptions {
  /** Its poll-mode thread is on the measured CPU, all its other threads on the other. */
  readonly cpus: Cpus;
  /** MiB of huge pages. Its pool takes half of them or more, by powers of two, and its ports need some of the rest. Default 160. */
  readonly memory?: number;
}

/** A running one, with a userspace bridge `br0` (one flow: NORMAL, learning). Its poll-mode thread takes all of its CPU: stop it soon. */
export class Ovs {
  readonly folder: string;
  readonly bridge = BRIDGE;
  #database: Program | undefined;
  #switch: Program | undefined;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Both die with the thread that starts them, by whatever it dies. Throws when it does not come up. */
  static async start(machine: Machine, options: OvsOptions): Promise<Ovs> {
    const ovs = new Ovs(mkdtempSync(join(machine.folder, 'ovs-')));
    try {
      await ovs.#start(machine, options);
      return ovs;
    } catch (cause) {
      await ovs.stop();
      throw cause;
    }
  }

  /** A port of the bridge, with a vhost-user socket that a driver's side connects to. Returns the socket's path. */
  async addPort(name: string): Promise<string> {
    await this.vsctl('add-port', BRIDGE, name, '--', 'set', 'Interface', name, 'type=dpdkvhostuser');
    return join(this.folder, name);
  }

  /** A port that connects to a driver's side that listens at `path`, and again when that comes back. */
  async addClientPort(name: string, path: string): Promise<void> {
    await this.vsctl('add-port', BRIDGE, name, '--', 'set', 'Interface', name, 'type=dpdkvhostuserclient', `options:vhost-server-path=${path}`);
  }

  /** ovs-vsctl: waits until the switch has done it. */
  vsctl(...args: string[]): Promise<string> {
    return this.#command('ovs-vsctl', [`--db=unix:${this.#databaseSocket}`, '--retry', ...args]);
  }

  /** ovs-ofctl, of OpenFlow: `ofctl('add-flow', ovs.bridge, 'in_port=a,actions=output:b')`. */
  ofctl(...args: string[]): Promise<string> {
    return this.#command('ovs-ofctl', args);
  }

  /** ovs-appctl: a question to the switch itself, as `dpif-netdev/pmd-stats-show`. */
  appctl(...args: string[]): Promise<string> {
    return this.#command('ovs-appctl', ['-t', this.#path('switch.ctl'), ...args]);
  }

  /** Frames that its poll-mode thread has taken from all ports. It has no counts of a vhost-user port whose socket is its own. */
  async received(): Promise<number> {
    const found = /core_id \d+:\s+packets received: (\d+)/.exec(await this.appctl('dpif-netdev/pmd-stats-show'));
    if (found === null) throw new Error('Open vSwitch has no poll-mode thread: give it a port');
    return Number(found[1]);
  }

  /** What it has complained of. */
  get complaints(): string {
    return this.#switch?.lastWords ?? '';
  }

  /** Ends it, and removes its folder. */
  async stop(): Promise<void> {
    for (const program of [this.#switch, this.#database]) {
      program?.kill();
      await program?.exited;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(machine: Machine, { cpus, memory = 160 }: OvsOptions): Promise<void> {
    await this.#command('ovsdb-tool', ['create', this.#path('conf.db'), SCHEMA]);
    // Its pid file, and DPDK's own folder, are in /run otherwise.
    const environment = { OVS_RUNDIR: this.folder, OVS_LOGDIR: this.folder, OVS_DBDIR: this.folder, RUNTIME_DIRECTORY: this.folder };
    const start = (command: string, ...args: string[]): Program => machine.start('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--net', command, ...args, '--no-chdir'], { environment });
    this.#database = start('ovsdb-server', this.#path('conf.db'), `--remote=punix:${this.#databaseSocket}`, `--unixctl=${this.#path('database.ctl')}`, '-vconsole:warn');
    await this.vsctl('--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', ...Object.entries(this.#settings(cpus, memory)).map(([key, value]) => `other_config:${key}="${value}"`));
    this.#switch = start(SWITCH, `unix:${this.#databaseSocket}`, `--unixctl=${this.#path('switch.ctl')}`, '-vconsole:warn');
    await this.vsctl('add-br', BRIDGE, '--', 'set', 'bridge', BRIDGE, 'datapath_type=netdev');
    await this.#makePool();
    if ((await this.vsctl('get', 'Open_vSwitch', '.', 'dpdk_initialized')).trim() !== 'true') throw new Error(`Open vSwitch came up without DPDK: ${this.#switch.lastWords}`);
  }

  /**
   * Its pool is made with the first port that runs. It tries one that is too large first, and a vhost-user port that a
   * driver connects to meanwhile finds no memory: so there is a port before those, for a moment. The pool stays.
   */
  async #makePool(): Promise<void> {
    await this.vsctl('add-port', BRIDGE, 'first', '--', 'set', 'Interface', 'first', 'type=dpdk', 'options:dpdk-devargs=net_null0,no-rx=1');
    await this.vsctl('del-port', BRIDGE, 'first');
  }

  #settings(cpus: Cpus, memory: number): Record<string, string | number> {
    return {
      'dpdk-init': 'true', 'dpdk-extra': '--in-memory --no-pci --no-telemetry', 'dpdk-socket-mem': memory, 'dpdk-socket-limit': memory,
      'dpdk-lcore-mask': mask(cpus.other), 'pmd-cpu-mask': mask(cpus.measured), 'vhost-iommu-support': 'false',
    };
  }

  async #command(command: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run(command, args, { env: { ...process.env, OVS_RUNDIR: this.folder }, timeout: COMMAND_SECONDS * 1000 });
    return stdout;
  }

  get #databaseSocket(): string {
    return this.#path('db.sock');
  }

  #path(name: string): string {
    return join(this.folder, name);
  }
}

function mask(cpu: number): string {
  return `0x${(2 ** cpu).toString(16)}`;
}
