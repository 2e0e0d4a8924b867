/** Two virtual machines on two ports of a switch process, each of which can be killed and started again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PortStats } from '../../lib/port/port.js';
import type { Image } from './image.js';
import { sharedMemory, vhostCard, Vm } from './vm.js';

export type Name = 'a' | 'b';

const MEMORY_MB = 512;
const ADDRESS = { a: '192.0.2.1', b: '192.0.2.2' };
const MAC = { a: '52:54:00:00:0a:01', b: '52:54:00:00:0a:02' };
const BRIDGE = fileURLToPath(new URL('two_port_bridge_main.js', import.meta.url));

export class Lab {
  readonly #folder = mkdtempSync(join(tmpdir(), 'pollmode-two-vms-'));
  readonly #image: Image;
  readonly #say: (line: string) => void;
  readonly #vms = new Map<Name, Vm>();
  #switch: ChildProcess | undefined;
  #printed = '';
  #line: (line: string) => void = () => undefined;

  private constructor(image: Image, say: (line: string) => void) {
    this.#image = image;
    this.#say = say;
  }

  static async start(image: Image, say: (line: string) => void): Promise<Lab> {
    const lab = new Lab(image, say);
    try {
      await lab.startSwitch();
      say(`booting Linux ${image.version} twice ...`);
      await Promise.all([lab.startVm('a'), lab.startVm('b')]);
      return lab;
    } catch (cause) {
      await lab.close();
      throw cause;
    }
  }

  vm(name: Name): Vm {
    return this.#vms.get(name)!;
  }

  /** `count` pings from each to the other. Throws when one was lost. */
  async ping(size: number, count: number): Promise<string> {
    const said: string[] = [];
    for (const [from, to] of [['a', 'b'], ['b', 'a']] as const) {
      const { code, output } = await this.vm(from).run(`/bin/busybox ping -c ${count} -i 0.05 -s ${size} ${ADDRESS[to]}`);
      const lost = /(\d+)% packet loss/.exec(output)?.[1];
      if (code !== 0 || lost !== '0') throw new Error(output);
      said.push(`${from} to ${to} ${/= [\d.]+\/([\d.]+)\//.exec(output)?.[1]} ms`);
    }
    return `${count} of ${count}, ${said.join(', ')} in the mean`;
  }

  /** TCP from a to b and back. */
  async iperf(seconds: number): Promise<string> {
    const said: string[] = [];
    await this.must('b', 'iperf3 -s -D -p 5201 --pidfile /tmp/iperf3.pid; sleep 0.3');
    try {
      for (const back of ['', '-R']) {
        const report = JSON.parse(await this.must('a', `iperf3 -c ${ADDRESS.b} -p 5201 -t ${seconds} ${back} --json --connect-timeout 5000`)) as IperfReport;
        if (report.error !== undefined) throw new Error(report.error);
        said.push(`${(report.end.sum_received.bits_per_second / 1e6).toFixed(0)} Mbit/s`);
      }
    } finally {
      await this.vm('b').run('kill $(tr -d "\\0" < /tmp/iperf3.pid)');
    }
    return said.join(' and back ');
  }

  /** A script that must end well. Returns what it printed. */
  async must(name: Name, script: string): Promise<string> {
    const { code, output } = await this.vm(name).run(script);
    if (code !== 0) throw new Error(`machine ${name}: "${script}" ended with ${code}: ${output}`);
    return output;
  }

  /** The switch's counters, port by port. */
  async stats(): Promise<PortStats[]> {
    const said = new Promise<string>(resolve => { this.#line = resolve; });
    this.#switch!.kill('SIGUSR2');
    return JSON.parse(await said) as PortStats[];
  }

  async startSwitch(): Promise<void> {
    const child = this.#switch = spawn(process.execPath, [BRIDGE, ...(['a', 'b'] as const).map(name => `vhost:${this.#socket(name)},guest_memory=${MEMORY_MB + 64},mtu=9000,pass_offloads`)], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stderr!.on('data', (chunk: Buffer) => this.#say(String(chunk).trimEnd()));
    this.#printed = '';
    await new Promise<void>((resolve, reject) => {
      child.on('exit', code => reject(new Error(`the switch ended with ${String(code)}`)));
      child.stdout!.on('data', (chunk: Buffer) => {
        this.#printed += String(chunk);
        const lines = this.#printed.split('\n');
        this.#printed = lines.pop()!;
        for (const line of lines) {
          if (line === 'ready') resolve();
          else this.#line(line);
        }
      });
    });
  }

  async restartSwitch(): Promise<void> {
    await this.#endSwitch('SIGKILL');
    await this.startSwitch();
    // The machines look for it every 200 ms.
    for (const name of ['a', 'b'] as const) await this.#carrier(name);
  }

  /** `more`: properties of its card. */
  async startVm(name: Name, more = ''): Promise<void> {
    const vm = await Vm.start(this.#image, {
      name, memoryMb: MEMORY_MB, devices: [...sharedMemory(MEMORY_MB), ...vhostCard('card', this.#socket(name), MAC[name], more)],
    });
    this.#vms.set(name, vm);
    await this.must(name, `ip link set eth0 up && ip addr add ${ADDRESS[name]}/24 dev eth0`);
    await this.#carrier(name);
  }

  async restartVm(name: Name, more = ''): Promise<void> {
    await this.vm(name).kill();
    await this.startVm(name, more);
  }

  async close(): Promise<void> {
    for (const vm of this.#vms.values()) await vm.kill();
    this.#line = line => { for (const [i, stats] of (JSON.parse(line) as PortStats[]).entries()) this.#say(`port ${i}: ${describe(stats)}`); };
    if (this.#switch !== undefined) await this.#endSwitch('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #carrier(name: Name): Promise<string> {
    return this.must(name, 'for i in $(seq 100); do [ "$(cat /sys/class/net/eth0/carrier)" = 1 ] && exit 0; sleep 0.1; done; exit 1');
  }

  #socket(name: Name): string {
    return join(this.#folder, `${name}.sock`);
  }

  async #endSwitch(signal: NodeJS.Signals): Promise<void> {
    const child = this.#switch!;
    if (child.exitCode !== null || child.signalCode !== null) return;
    await new Promise(resolve => { child.once('close', resolve).kill(signal); });
  }
}

function describe({ rxPackets, rxBytes, txPackets, txBytes, txRefused, xstats }: PortStats): string {
  const others = Object.entries(xstats).filter(([, value]) => value !== 0).map(([name, value]) => ` ${name} ${value}`);
  return `rx ${rxPackets} packets ${rxBytes} bytes, tx ${txPackets} packets ${txBytes} bytes, refused ${txRefused};${others.join(',')}`;
}

interface IperfReport {
  readonly error?: string;
  readonly end: { readonly sum_received: { readonly bits_per_second: number } };
}
