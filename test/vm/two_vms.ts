/** Two virtual machines on two ports of `pollmode switch`, each of which can be killed and started again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Image } from './image.js';
import { sharedMemory, vhostCard, Vm } from './vm.js';

export type Name = 'a' | 'b';
export const NAMES = ['a', 'b'] as const;
export const MEMORY_MB = 512;
/** A card of each machine's, and the network that the two are in. */
export interface Network { readonly card: string; readonly prefix: string }
export const FIRST: Network = { card: 'eth0', prefix: '192.0.2' };
export const address = (name: Name, { prefix }: Network): string => `${prefix}.${name === 'a' ? 1 : 2}`;
export const MAC = { a: '52:54:00:00:0a:01', b: '52:54:00:00:0a:02' };
const CLI = fileURLToPath(new URL('../../lib/cli/main.js', import.meta.url));

/** Counts of a guest's own card, as its kernel has them. */
export interface Counts { readonly rxPackets: number; readonly rxBytes: number; readonly txPackets: number; readonly txBytes: number }

/** The two machines, whatever their cards are plugged into. */
export class TwoVms {
  readonly #image: Image;
  readonly #within: (name: Name) => readonly string[];
  readonly #vms = new Map<Name, Vm>();

  /** @param within words before QEMU's own */
  constructor(image: Image, within: (name: Name) => readonly string[] = () => []) {
    this.#image = image;
    this.#within = within;
  }

  vm(name: Name): Vm {
    return this.#vms.get(name)!;
  }

  /** Boots one, and waits until its cards have carriers. */
  async start(name: Name, cards: readonly string[], networks: readonly Network[] = [FIRST]): Promise<void> {
    this.#vms.set(name, await Vm.start(this.#image, { name, memoryMb: MEMORY_MB, devices: [...sharedMemory(MEMORY_MB), ...cards], within: this.#within(name) }));
    for (const network of networks) {
      await this.must(name, `ip link set ${network.card} up && ip addr add ${address(name, network)}/24 dev ${network.card}`);
      await this.carrier(name, network);
    }
  }

  carrier(name: Name, { card } = FIRST): Promise<string> {
    return this.must(name, `for i in $(seq 100); do [ "$(cat /sys/class/net/${card}/carrier)" = 1 ] && exit 0; sleep 0.1; done; exit 1`);
  }

  /** A script that must end well. Returns what it printed. */
  async must(name: Name, script: string, seconds = 60): Promise<string> {
    const { code, output } = await this.vm(name).run(script, seconds);
    if (code !== 0) throw new Error(`machine ${name}: "${script}" ended with ${code}: ${output}`);
    return output;
  }

  /** The same in both, one after the other. */
  async each(script: string): Promise<void> {
    for (const name of NAMES) await this.must(name, script);
  }

  /** `count` pings from each to the other. Throws when one was lost. */
  async ping(size: number, count: number): Promise<string> {
    const said: string[] = [];
    for (const [from, to] of [['a', 'b'], ['b', 'a']] as const) {
      const { code, output } = await this.vm(from).run(`/bin/busybox ping -c ${count} -i 0.05 -s ${size} ${address(to, FIRST)}`);
      const lost = /(\d+)% packet loss/.exec(output)?.[1];
      if (code !== 0 || lost !== '0') throw new Error(output);
      said.push(`${from} to ${to} ${/= [\d.]+\/([\d.]+)\//.exec(output)?.[1]} ms`);
    }
    return `${count} of ${count}, ${said.join(', ')} in the mean`;
  }

  /** With iperf3's server in b: TCP from a to b and back. */
  async iperf(seconds: number): Promise<string> {
    await this.serve();
    try {
      const rates = [await this.client(`-t ${seconds}`), await this.client(`-t ${seconds} -R`)];
      return rates.map(rate => `${(rate / 1e6).toFixed(0)} Mbit/s`).join(' and back ');
    } finally {
      await this.vm('b').run('kill $(tr -d "\\0" < /tmp/iperf3.pid)');
    }
  }

  async serve(): Promise<void> {
    await this.must('b', 'iperf3 -s -D -p 5201 --pidfile /tmp/iperf3.pid; sleep 0.3');
  }

  /** iperf3 in a. Returns the bits a second that were received. */
  async client(words: string, network = FIRST): Promise<number> {
    const { error, end } = JSON.parse(await this.must('a', `iperf3 -c ${address('b', network)} -p 5201 --json --connect-timeout 5000 ${words}`)) as IperfReport;
    if (error !== undefined) throw new Error(error);
    return (end.sum_received ?? end.sum!).bits_per_second;
  }

  async counts(name: Name, { card } = FIRST): Promise<Counts> {
    const said = await this.must(name, `cd /sys/class/net/${card}/statistics && cat rx_packets rx_bytes tx_packets tx_bytes`);
    const [rxPackets, rxBytes, txPackets, txBytes] = said.trim().split('\n').map(Number) as [number, number, number, number];
    return { rxPackets, rxBytes, txPackets, txBytes };
  }

  async kill(name: Name): Promise<void> {
    await this.#vms.get(name)?.kill();
    this.#vms.delete(name);
  }

  async close(): Promise<void> {
    for (const name of NAMES) await this.kill(name);
  }
}

interface IperfReport {
  readonly error?: string;
  readonly end: { readonly sum_received?: { readonly bits_per_second: number }; readonly sum?: { readonly bits_per_second: number } };
}

export interface SwitchOptions {
  /** Of both ports: `,pass_offloads` and the like. */
  readonly options?: string;
  /** A CPU to pin to. */
  readonly cpu?: number;
  /** What it does when there is nothing. Default interrupt: the machines want the CPUs. */
  readonly idle?: 'adaptive' | 'interrupt';
  readonly say?: (line: string) => void;
}

/** A `pollmode switch` process with a vhost port for each machine. */
export class SwitchProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), 'pollmode-two-vms-'));
  readonly #remove = (): void => {
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  };
  #child: ChildProcess | undefined;

  constructor() {
    process.once('exit', this.#remove);
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  socket(name: Name): string {
    return join(this.#folder, `${name}.sock`);
  }

  card(name: Name, more = ''): string[] {
    return vhostCard('card', this.socket(name), MAC[name], more);
  }

  async start({ options = '', cpu, idle = 'interrupt', say = () => undefined }: SwitchOptions = {}): Promise<void> {
    const config = join(this.#folder, 'switch.json');
    writeFileSync(config, JSON.stringify({
      name: 'two-vms', control: join(this.#folder, 'control'), lcore: { idle, ...(cpu === undefined ? {} : { cpu }) },
      bridges: { br0: { ports: Object.fromEntries(NAMES.map(name => [name, { device: `vhost:${this.socket(name)},guest_memory=${MEMORY_MB + 64},mtu=9000${options}` }])) } },
    }));
    const child = this.#child = spawn(process.execPath, [CLI, 'switch', config, '--quiet', '--json'], { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise<void>((resolve, reject) => {
      let said = '';
      child.on('exit', code => reject(new Error(`the switch ended with ${String(code)}: ${said}`)));
      child.stderr!.on('data', (chunk: Buffer) => {
        said += String(chunk);
        say(String(chunk).trimEnd());
        if (said.includes('switch "two-vms"')) resolve();
      });
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise(resolve => { child.once('close', resolve).kill(signal); });
  }

  async close(): Promise<void> {
    await this.end('SIGTERM');
    this.#remove();
    process.off('exit', this.#remove);
  }
}
