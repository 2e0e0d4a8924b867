/** What the tests of the example programs share: Linux hosts in namespaces, and a program between them. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { withNetns } from '../../lib/kernel/netns.js';
import { macBytes } from '../../lib/kernel/address.js';
import { openLab, type Lab, type LabEnd } from '../../lib/lab/veth.js';
import { RawWire } from '../port/conformance/wires.js';

interface Test { teardown(work: () => void): void }

/** A host of Linux's own behind one leg of the program, with an address and a default route through it. */
export class LinuxHost {
  readonly #end: LabEnd;
  /** The device string of the program's end of the wire. */
  readonly device: string;
  /** The MAC address of the program's end. */
  readonly programMac: Uint8Array;

  constructor(t: Test, address: string, gateway: string, driver = 'af_xdp') {
    const lab: Lab = openLab({ txChecksum: false });
    t.teardown(() => lab.close());
    this.#end = lab.a;
    this.device = `${driver}:${lab.b.name},netns=/proc/${process.pid}/fd/${lab.b.netns}`;
    this.programMac = Uint8Array.from(macBytes(lab.b.mac));
    this.ip('addr', 'flush', 'dev', lab.a.name);
    this.ip('neigh', 'flush', 'all', 'nud', 'permanent');
    this.ip('addr', 'add', address, 'dev', lab.a.name);
    this.ip('link', 'set', 'lo', 'up');
    if (gateway !== '') this.ip('route', 'add', 'default', 'via', gateway);
  }

  get name(): string {
    return this.#end.name;
  }

  get mac(): string {
    return this.#end.mac;
  }

  ip(...words: string[]): string {
    return this.run('ip', ...words).stdout;
  }

  /** A raw socket on its end of the wire. */
  wire(t: Test): RawWire {
    const wire = withNetns(this.#end.netns, () => new RawWire(this.#end.ifindex));
    t.teardown(() => wire.close());
    return wire;
  }

  /** So many frames, or what has come after five seconds. */
  async receive(wire: RawWire, count: number): Promise<Uint8Array[]> {
    const got: Uint8Array[] = [];
    for (let tries = 0; tries < 500 && got.length < count; tries++) {
      got.push(...wire.receive());
      await sleep(10);
    }
    return got;
  }

  /** To its end, within 20 seconds. */
  run(program: string, ...words: string[]): { status: number | null; stdout: string } {
    const { status, stdout, stderr } = withNetns(this.#end.netns, () => spawnSync(program, words, { encoding: 'utf8', timeout: 20_000 }));
    return { status, stdout: `${stdout}${stderr}` };
  }

  start(t: Test, program: string, ...words: string[]): ChildProcess {
    const child = withNetns(this.#end.netns, () => spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] }));
    t.teardown(() => { child.kill('SIGKILL'); });
    return child;
  }

  /** Of Linux's own ping: how many of so many came back. */
  ping(address: string, count = 5, ...more: string[]): number {
    const { stdout } = this.run('ping', '-n', '-c', String(count), '-i', '0.05', '-W', '2', ...more, address);
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? -1);
  }

  /** Mbit/s that iperf3 says arrived at the server. */
  async iperf(t: Test, server: LinuxHost, address: string, ...more: string[]): Promise<number> {
    const child = server.start(t, 'iperf3', '-s', '-1');
    await sleep(300);
    const { stdout } = this.run('iperf3', '-c', address, '-t', '1', '-J', ...more);
    child.kill();
    const result = JSON.parse(stdout) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
    if (result.error !== undefined) throw new Error(result.error);
    return (result.end?.sum_received?.bits_per_second ?? 0) / 1e6;
  }
}

/** An example that ends by itself. */
export function ended(name: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  return spawnSync(process.execPath, [path, ...words], { encoding: 'utf8', timeout: 20_000 });
}

/** Starts an example and waits for the first line that it prints. Returns what ends it, and then says what it printed. */
export async function start(t: Test, name: string, ...words: string[]): Promise<() => Promise<string>> {
  const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [path, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  let said = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { said += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  const closed = once(child, 'close');
  while (!said.includes('\n')) {
    if (child.exitCode !== null) {
      await closed;
      throw new Error(`exit ${child.exitCode}: ${errors}`);
    }
    await sleep(10);
  }
  return async () => {
    child.kill('SIGINT');
    await closed;
    return `${said}${errors}`;
  };
}
