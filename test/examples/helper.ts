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

export interface LinuxHostOptions {
  /** Of the program's end. */
  readonly driver?: string;
  /** Bytes of IP packet on the wire to the program. */
  readonly mtu?: number;
}

/** A host of Linux's own behind one leg of the program, with an address and a default route through it; or, with a comma between, of both families. */
export class LinuxHost {
  readonly #end: LabEnd;
  /** The device string of the program's end of the wire. */
  readonly device: string;
  /** The MAC address of the program's end. */
  readonly programMac: Uint8Array;

  constructor(t: Test, addresses: string, gateways: string, { driver = 'af_xdp', mtu = 1500 }: LinuxHostOptions = {}) {
    const lab: Lab = openLab({ txChecksum: false, mtu });
    t.teardown(() => lab.close());
    this.#end = lab.a;
    this.device = `${driver}:${lab.b.name},netns=/proc/${process.pid}/fd/${lab.b.netns}`;
    this.programMac = Uint8Array.from(macBytes(lab.b.mac));
    this.ip('addr', 'flush', 'dev', lab.a.name);
    this.ip('neigh', 'flush', 'all', 'nud', 'permanent');
    this.ip('link', 'set', 'lo', 'up');
    if (addresses.includes(':')) this.#speakIpv6();
    for (const address of addresses.split(',')) this.ip('addr', 'add', address, 'dev', lab.a.name, ...(address.includes(':') ? ['nodad'] : []));
    for (const gateway of gateways.split(',')) if (gateway !== '') this.ip('route', 'add', 'default', 'via', gateway);
  }

  /**
   * The lab's links are without IPv6: this one gets it, with a link-local address. Links made from now on have theirs at once:
   * while Linux looks for somebody who has the same address (RFC 4862, 5.4: a second or two) its router asks nobody for a neighbour.
   */
  #speakIpv6(): void {
    this.ip('link', 'set', this.name, 'addrgenmode', 'eui64');
    this.run('sh', '-c', `for each in all default lo ${this.name}; do echo 0 > /proc/sys/net/ipv6/conf/$each/dad_transmits; echo 0 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done`);
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
    const { status, stdout, stderr } = withNetns(this.#end.netns, () => spawnSync(program, words, { encoding: 'utf8', timeout: 120_000 }));
    return { status, stdout: `${stdout}${stderr}` };
  }

  start(t: Test, program: string, ...words: string[]): ChildProcess {
    const child = withNetns(this.#end.netns, () => spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] }));
    t.teardown(() => { child.kill('SIGKILL'); });
    return child;
  }

  /**
   * A host behind this one, which routes to it, over a wire of this MTU: `near` are this host's addresses on that wire, `far`
   * its own, of both families. Returns what starts programs there. It goes with a process of the test's.
   */
  async behind(t: Test, near: readonly string[], far: readonly string[], mtu: number): Promise<(...words: string[]) => ChildProcess> {
    const holder = this.start(t, 'unshare', '-n', 'sleep', '100');
    await sleep(200);
    const within = ['-t', String(holder.pid), '-n'];
    this.ip('link', 'add', 'near', 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'far', 'mtu', String(mtu), 'netns', String(holder.pid));
    this.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv6/conf/near/dad_transmits; echo 0 > /proc/sys/net/ipv6/conf/near/disable_ipv6; ip link set near up');
    for (const address of near) this.ip('addr', 'add', address, 'dev', 'near', ...(address.includes(':') ? ['nodad'] : []));
    this.run('nsenter', ...within, 'sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/far/dad_transmits; ip link set lo up; ip link set far up; ${far.map(each => `ip addr add ${each} dev far ${each.includes(':') ? 'nodad' : ''}`).join('; ')}; ${near.map(each => `ip route add default via ${each.split('/')[0]!}`).join('; ')}`);
    return (...words) => this.start(t, 'nsenter', ...within, ...words);
  }

  /** Of Linux's own ping: how many of so many came back. */
  ping(address: string, count = 5, ...more: string[]): number {
    const { stdout } = this.run('ping', '-n', '-c', String(count), '-i', '0.05', '-W', '2', ...more, address);
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? -1);
  }

  /** Mbit/s that iperf3 says arrived at the server. */
  async iperf(t: Test, server: LinuxHost, address: string, ...more: string[]): Promise<number> {
    const child = server.start(t, 'iperf3', '-s', '-1');
    try {
      return await this.measure(address, ...more);
    } finally {
      child.kill();
    }
  }

  /** The same with a server that somebody has started. */
  async measure(address: string, ...more: string[]): Promise<number> {
    for (let tries = 0; ; tries++) {
      const { stdout } = this.run('iperf3', '-c', address, ...(more.includes('-u') ? ['-t', '1'] : ['-n', '8M']), '-J', ...more);
      const result = JSON.parse(stdout) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
      if (result.error === undefined) return (result.end?.sum_received?.bits_per_second ?? 0) / 1e6;
      // It needs a moment until it listens.
      if (tries === 50 || !/refused/.test(result.error)) throw new Error(result.error);
      await sleep(100);
    }
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
