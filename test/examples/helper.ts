/** What the tests of the example programs share: Linux hosts in namespaces, and a program between them. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { withNetns } from '../../lib/kernel/netns.js';
import { macBytes } from '../../lib/kernel/address.js';
import { openLab, type Lab, type LabEnd } from '../../lib/lab/veth.js';
import { until } from '../arena/party_helper.js';
import { RawWire } from '../port/conformance/wires.js';

interface Test { teardown(work: () => void): void }

export interface LinuxHostOptions {
  /** Of the program's end. */
  readonly driver?: string;
  /** Bytes of IP packet on the wire to the program. */
  readonly mtu?: number;
}

/** A namespace with nothing in it yet, and programs that run there: to their end, or in the background. */
export interface Beside {
  /** A process that is there, for `ip link set ... netns`. */
  readonly pid: string;
  readonly run: (...words: string[]) => string;
  readonly start: (...words: string[]) => ChildProcess;
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

  /** So many frames that are wanted (a neighbour may be asked for at any time), or what of them has come after a minute. */
  async receive(wire: RawWire, count: number, isWanted: (frame: Uint8Array) => boolean = () => true): Promise<Uint8Array[]> {
    const got: Uint8Array[] = [];
    for (const end = performance.now() + 60_000; got.length < count && performance.now() < end; await sleep(10)) got.push(...wire.receive().filter(isWanted));
    return got;
  }

  /** To its end, within two minutes. */
  run(program: string, ...words: string[]): { status: number | null; stdout: string } {
    const { status, stdout, stderr } = withNetns(this.#end.netns, () => spawnSync(program, words, { encoding: 'utf8', timeout: 120_000 }));
    return { status, stdout: `${stdout}${stderr}` };
  }

  start(t: Test, program: string, ...words: string[]): ChildProcess {
    const child = withNetns(this.#end.netns, () => spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'] }));
    t.teardown(() => { child.kill('SIGKILL'); });
    return child;
  }

  /** A namespace that lasts as long as the test's process. */
  async beside(t: Test): Promise<Beside> {
    // Its standard input is this process's to close.
    const holder = withNetns(this.#end.netns, () => spawn('unshare', ['-n', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] }));
    t.teardown(() => { holder.kill('SIGKILL'); });
    const [pid, mine] = [String(holder.pid), readlinkSync(`/proc/self/fd/${this.#end.netns}`)];
    await until(() => readlinkSync(`/proc/${pid}/ns/net`) !== mine);
    const within = ['-t', pid, '-n'];
    return { pid, run: (...words) => this.run('nsenter', ...within, ...words).stdout, start: (...words) => this.start(t, 'nsenter', ...within, ...words) };
  }

  /**
   * A host behind this one, which routes to it, over a wire of this MTU: `near` are this host's addresses on that wire, `far`
   * its own, of both families. It goes with the test's process.
   */
  async behind(t: Test, near: readonly string[], far: readonly string[], mtu: number): Promise<Beside> {
    const host = await this.beside(t);
    this.ip('link', 'add', 'near', 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'far', 'mtu', String(mtu), 'netns', host.pid);
    this.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 0 > /proc/sys/net/ipv6/conf/near/dad_transmits; echo 0 > /proc/sys/net/ipv6/conf/near/disable_ipv6; ip link set near up');
    for (const address of near) this.ip('addr', 'add', address, 'dev', 'near', ...(address.includes(':') ? ['nodad'] : []));
    host.run('sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/far/dad_transmits; ip link set lo up; ip link set far up; ${far.map(each => `ip addr add ${each} dev far ${each.includes(':') ? 'nodad' : ''}`).join('; ')}; ${near.map(each => `ip route add default via ${each.split('/')[0]!}`).join('; ')}`);
    await until(() => [this.ip('link', 'show', 'near'), host.run('ip', 'link', 'show', 'far')].every(said => said.includes('state UP')));
    await until(() => near.every(each => this.#isMine(each)) && far.every(each => host.run('ip', 'route', 'get', each.split('/')[0]!).startsWith('local ')));
    return host;
  }

  /** One more address of this host's, without a wire. */
  async also(address: string): Promise<void> {
    this.ip('addr', 'add', address, 'dev', 'lo', ...(address.includes(':') ? ['nodad'] : []));
    await until(() => this.#isMine(address));
  }

  /** The kernel gives an IPv6 address its route in a worker of its own. */
  #isMine(address: string): boolean {
    return this.ip('route', 'get', address.split('/')[0]!).startsWith('local ');
  }

  /**
   * Of Linux's own ping: how many of the first so many came back. It goes on until as many have been answered as were asked
   * for, so that an answer may be late and none be lost. (By itself ping waits for the last no longer than for the others.)
   */
  ping(address: string, count = 5, ...more: string[]): number {
    const { stdout } = this.run('ping', '-n', '-c', String(count), '-i', '0.05', '-w', '60', ...more, address);
    const answered = [...stdout.matchAll(/bytes from .*icmp_seq=(\d+)/g)].map(([, number]) => Number(number));
    return new Set(answered.filter(number => number <= count)).size;
  }

  /** Where nobody is to answer: how many did within a second. */
  pingInVain(address: string, count = 1, ...more: string[]): number {
    const { stdout } = this.run('ping', '-n', '-c', String(count), '-i', '0.05', '-W', '1', ...more, address);
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? -1);
  }

  /** Of some megabytes by TCP (`-u`: of 200 kB by UDP) the bytes that iperf3 says arrived at the server. How long it takes is of no account. */
  async iperf(t: Test, server: LinuxHost, address: string, ...more: string[]): Promise<number> {
    const child = server.start(t, 'iperf3', '-s', '-1');
    const gone = once(child, 'exit');
    try {
      return await this.transfer(address, ...more);
    } finally {
      child.kill();
      await gone; // the next one wants its port
    }
  }

  /** The same with a server that somebody has started. */
  async transfer(address: string, ...more: string[]): Promise<number> {
    for (let tries = 0; ; tries++) {
      const { stdout } = this.run('iperf3', '-c', address, ...(more.includes('-u') ? ['-b', '20M', '-n', '200K'] : ['-n', '8M']), '-J', ...more);
      const result = JSON.parse(stdout) as { error?: string; end?: { sum_received?: { bytes: number } } };
      if (result.error === undefined) return result.end?.sum_received?.bytes ?? 0;
      // It needs a moment until it listens.
      if (tries === 600 || !/refused/.test(result.error)) throw new Error(result.error);
      await sleep(100);
    }
  }
}

/** An example that ends by itself. */
export function ended(name: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } {
  const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  return spawnSync(process.execPath, [path, ...words], { encoding: 'utf8', timeout: 120_000 });
}

/** An example that runs: the call ends it, and says all that it printed. */
export interface Running {
  (): Promise<string>;
  /** Resolves when what it has printed is as wanted. */
  said(isWanted: (said: string) => boolean): Promise<void>;
}

/** Starts an example and waits for the first line that it prints. */
export async function start(t: Test, name: string, ...words: string[]): Promise<Running> {
  const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [path, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  let said = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => { said += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text; });
  const closed = once(child, 'close');
  const hasSaid = async (isWanted: (said: string) => boolean): Promise<void> => {
    while (!isWanted(said)) {
      if (child.exitCode !== null || child.signalCode !== null) {
        await closed;
        throw new Error(`exit ${child.exitCode}: ${errors}`);
      }
      await sleep(10);
    }
  };
  await hasSaid(text => text.includes('\n'));
  const end = async (): Promise<string> => {
    child.kill('SIGINT');
    await closed;
    return `${said}${errors}`;
  };
  return Object.assign(end, { said: hasSaid });
}
