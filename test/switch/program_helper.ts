/** `pollmode switch` as a user runs it: a process, a configuration file, a control socket. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SwitchAnswer } from '../../lib/cli/switch_answer.js';
import type { SwitchConfig } from '../../lib/switch/config.js';
import { askSwitch } from '../../lib/switch/control_client.js';
import type { ControlRequest } from '../../lib/switch/protocol.js';
import type { Changes } from '../../lib/switch/report.js';
import { MAIN } from '../cli/program_helper.js';
import { LinuxHost } from '../examples/helper.js';

interface Test { teardown(work: () => void): void }

/** A folder that goes with the test. */
export function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-switch-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A Linux host with a MAC address of its own: its number is the last byte of both addresses. */
export function station(t: Test, number: number, driver = 'af_xdp', network = '10.5.0'): LinuxHost {
  const host = new LinuxHost(t, `${network}.${number}/24`, '', { driver });
  host.ip('link', 'set', 'dev', host.name, 'address', `02:00:00:00:05:${number.toString(16).padStart(2, '0')}`);
  return host;
}

export class SwitchRun {
  readonly file: string;
  readonly control: string;
  /** What it printed, on both. */
  said = '';
  #child: ChildProcess | undefined;
  #closed: Promise<unknown> = Promise.resolve();

  constructor(t: Test, config: SwitchConfig) {
    const folder = scratch(t);
    this.file = join(folder, 'switch.json');
    this.control = join(folder, 'control');
    this.write(config);
    t.teardown(() => { this.#child?.kill('SIGKILL'); });
  }

  write(config: SwitchConfig): void {
    writeFileSync(this.file, JSON.stringify({ control: this.control, ...config }, null, 1));
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Until its first line; throws with what it said when it ends before. */
  async start(...words: string[]): Promise<void> {
    const child = spawn(process.execPath, [MAIN, 'switch', this.file, '--quiet', ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#closed = once(child, 'close');
    this.said = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { this.said += text; });
    while (!this.said.includes('\n')) {
      if (child.exitCode !== null) break;
      await sleep(10);
    }
    if (child.exitCode !== null || !this.said.startsWith('switch "')) {
      await this.#closed;
      throw new Error(`exit ${child.exitCode}: ${this.said}`);
    }
  }

  ask(request: ControlRequest): Promise<unknown> {
    return askSwitch(this.control, request);
  }

  async show(): Promise<SwitchAnswer> {
    return await this.ask({ request: 'show' }) as SwitchAnswer;
  }

  async reload(config: SwitchConfig): Promise<Changes> {
    this.write(config);
    return await this.ask({ request: 'reload' }) as Changes;
  }

  /** Of a port: all packets that were dropped there, by cause. */
  async drops(port: string): Promise<Record<string, number>> {
    const { report } = await this.show();
    return { ...report.ports.find(each => `${each.bridge}/${each.name}` === port)?.drops };
  }

  /** Returns its exit code. */
  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    this.#child!.kill(signal);
    await this.#closed;
    return this.#child!.exitCode;
  }
}
