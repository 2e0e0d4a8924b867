import { unwatchFile, watchFile } from 'node:fs';
import { PollmodeError } from '../errors.js';
import { Idle } from '../lcore/idle.js';
import { poll } from '../lcore/poll.js';
import { demandOf, open, type Host } from '../port/host.js';
import type { SwitchConfig } from '../switch/config.js';
import { ControlServer } from '../switch/control_server.js';
import { DEFAULT_NAME, newControlPath } from '../switch/control_path.js';
import { devicesOf } from '../switch/devices.js';
import { readSwitchConfig } from '../switch/parse.js';
import type { ControlRequest } from '../switch/protocol.js';
import type { Changes } from '../switch/report.js';
import { Switch } from '../switch/switch.js';
import { counted } from './figures.js';
import { pin } from './forward.js';
import { LiveLine } from './live.js';
import type { SwitchAnswer } from './switch_answer.js';
import { changesText } from './switch_text.js';

export interface SwitchProgramOptions {
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** mbufs of a pool beside what its ports may hold: packets that wait in the switch, and ports that are added later. */
const SPARE = 8192;
/** Taken at the start only. */
const FIXED = ['name', 'control', 'pool', 'flows', 'lcore'] as const;

/** `pollmode switch CONFIG`: the ports, the switch, its control socket and its signals, until it is told to end. */
export class SwitchProgram {
  readonly #path: string;
  readonly #options: SwitchProgramOptions;
  readonly #name: string;
  readonly #host: Host;
  readonly #switch: Switch;
  readonly #control: ControlServer;
  readonly #started = performance.now();
  #config: SwitchConfig;
  /** Ends the poll loop for a moment, so that it begins anew with what it then sleeps on. */
  #turn = new AbortController();
  #stopped = false;

  /** Throws what `open`, the drivers, the switch and the control socket throw, with nothing left behind. */
  constructor(path: string, config: SwitchConfig, options: SwitchProgramOptions) {
    this.#path = path;
    this.#options = options;
    this.#config = config;
    this.#name = config.name ?? DEFAULT_NAME;
    if (config.lcore?.cpu !== undefined) pin(config.lcore.cpu);
    const undo: (() => void)[] = [];
    try {
      // The socket first: a second switch of that name must not get as far as the first one's devices.
      this.#control = new ControlServer({ path: config.control ?? newControlPath(this.#name), answer: request => this.#answer(request) });
      undo.push(() => this.#control.close());
      this.#host = openHost(config);
      undo.push(() => this.#host.close());
      this.#switch = new Switch(this.#host, config);
    } catch (cause) {
      for (const work of undo.reverse()) work();
      throw cause;
    }
  }

  async run(): Promise<void> {
    const { json = false, quiet = false, follow = false } = this.#options;
    const stop = (): void => this.#stop();
    const reload = (): void => this.#reloadAloud();
    process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', reload);
    if (follow) watchFile(this.#path, { interval: 500, persistent: false }, reload);
    (json ? process.stderr : process.stdout).write(`${this.#banner()}\n`);
    const live = new LiveLine(this.#host, !quiet && !json);
    try {
      while (!this.#stopped) {
        this.#turn = new AbortController();
        await poll(() => this.#switch.poll(), { signal: this.#turn.signal, idle: this.#idle() });
      }
      live.end();
      this.#report(json);
    } finally {
      live.end();
      unwatchFile(this.#path, reload);
      process.off('SIGINT', stop).off('SIGTERM', stop).off('SIGHUP', reload);
      this.#control.close();
      this.#switch.close();
      this.#host.close();
    }
  }

  #banner(): string {
    const { bridges } = this.#config;
    const ports = Object.values(bridges).reduce((sum, bridge) => sum + Object.keys(bridge.ports).length, 0);
    return `switch "${this.#name}": ${Object.keys(bridges).join(', ')}, ${counted(ports, 'port')}; pollmode switch show${this.#config.control === undefined ? this.#name === DEFAULT_NAME ? '' : ` --name ${this.#name}` : ` --control ${this.#config.control}`}`;
  }

  #answer({ request, bridge, limit }: Required<ControlRequest>): unknown {
    switch (request) {
      case 'show': return this.#show();
      case 'ports': return this.#switch.ports();
      case 'fdb': return this.#switch.fdb(bridge === '' ? undefined : bridge).slice(0, limit);
      case 'flows': return this.#switch.flows(limit);
      case 'reload': return this.#reload();
      case 'stop': return void setImmediate(() => this.#stop());
    }
  }

  #show(): SwitchAnswer {
    const { policy } = this.#idleNow;
    return { name: this.#name, pid: process.pid, file: this.#path, seconds: (performance.now() - this.#started) / 1000, idle: policy, config: this.#config, report: this.#switch.show() };
  }

  #stop(): void {
    this.#stopped = true;
    this.#turn.abort();
  }

  /** All of the changed file, or nothing of it. Throws as `readSwitchConfig` and `Switch.apply`. */
  #reload(): Changes {
    const config = readSwitchConfig(this.#path);
    for (const field of FIXED) {
      if (JSON.stringify(config[field]) !== JSON.stringify(this.#config[field])) throw new PollmodeError('EOPTION', `${this.#path}: /${field} is taken at the start only: put it back, or end the switch and start it anew.`);
    }
    const changes = this.#switch.apply(config);
    this.#config = config;
    this.#turn.abort();
    return changes;
  }

  #reloadAloud(): void {
    try {
      process.stderr.write(`switch: ${changesText(this.#reload())}\n`);
    } catch (refusal) {
      if (!(refusal instanceof PollmodeError)) throw refusal;
      process.stderr.write(`switch: goes on as it was: ${refusal.message}\n`);
    }
  }

  #idleNow = new Idle({ policy: 'busy', queues: [] });

  /** Sleeps on what the ports have to sleep on. With one that has nothing the sleeps are short, and where none has, there are none. */
  #idle(): Idle {
    const { queues } = this.#switch;
    const waking = queues.filter(({ wake }) => wake !== undefined);
    const policy = waking.length === 0 ? 'busy' : this.#config.lcore?.idle ?? 'adaptive';
    this.#idleNow = new Idle({ policy, queues: waking, ...(waking.length < queues.length ? { sleepMs: 1 } : {}) });
    return this.#idleNow;
  }

  #report(json: boolean): void {
    const report = this.#switch.show();
    if (json) process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);
    else process.stdout.write(`${counted(report.packets, 'packet')}, ${report.slow} of them by the slow path\n`);
  }
}

function openHost(config: SwitchConfig): Host {
  const devices = devicesOf(config);
  const { mbufs = 2 * demandOf(devices) + SPARE, bufferSize, hugePages } = config.pool ?? {};
  // What ports ask of a pool once it is made cannot be had any more: a reload may bring any of them.
  return open(devices, { mbufs: Math.min(mbufs, 1 << 20), ownFile: true, ...(bufferSize === undefined ? {} : { bufferSize }), ...(hugePages === undefined ? {} : { hugePages }) });
}
