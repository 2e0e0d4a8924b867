/** DPDK's own programs: testpmd and dpdk-test, of Debian's package `dpdk`. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { installed, type Machine } from './machine.js';

/** Which CPUs a run uses: the measured thread's, and the other one for senders and for a program's idle main thread. */
export interface Cpus {
  readonly measured: number;
  readonly other: number;
}

export interface TestpmdOptions {
  readonly vdevs: readonly string[];
  readonly forward: 'io' | 'macswap' | 'txonly' | 'rxonly';
  /** Bursts that are sent first, to circle between ring ports. */
  readonly firstBursts?: number;
  readonly netns?: number;
  /** Packets per burst; default 32, as testpmd's. */
  readonly burst?: number;
}

/** Packets per second of each port, over the measured seconds, by testpmd's own counters. */
export interface TestpmdRates {
  readonly rx: readonly number[];
  readonly tx: readonly number[];
}

export interface TestpmdRun<T> {
  readonly rates: TestpmdRates;
  /** What `during` returned. */
  readonly seen: T | undefined;
  /** Of the forwarding thread's CPU time, the part that was spent outside the kernel. */
  readonly userShare: number;
}

const WARM_UP_SECONDS = 0.7;

/** Why DPDK's programs cannot be run, or undefined. */
export function dpdkLacks(machine: Machine): string | undefined {
  const missing = ['dpdk-testpmd', 'dpdk-test', 'stdbuf'].filter(name => !installed(name));
  if (missing.length > 0) return `${missing.join(' and ')} not found: apt-get install dpdk coreutils`;
  if (process.getuid?.() !== 0) return 'DPDK\'s programs need root: sudo npm run bench:peers';
  return machine.reserveHugePages();
}

/**
 * Options of DPDK's environment: lcore 0 is its main thread's; huge pages without a mount and without files (in-memory);
 * no NIC of this machine touched (no-pci). RUNTIME_DIRECTORY keeps its own folder out of /run.
 */
function environmentOptions(mainCpu: number, secondCpu: number): string[] {
  return ['--lcores', `0@${mainCpu},1@${secondCpu}`, '--in-memory', '--no-pci', '--no-telemetry'];
}

/**
 * Forwards on the measured CPU; testpmd's main thread waits for commands on the other one. `during` is called in the
 * measured seconds, for counters that are read from outside.
 */
export async function testpmd<T>(machine: Machine, cpus: Cpus, seconds: number, options: TestpmdOptions, during?: () => Promise<T>): Promise<TestpmdRun<T>> {
  const { vdevs, forward, firstBursts, netns, burst = 32 } = options;
  const args = [...environmentOptions(cpus.other, cpus.measured), ...vdevs.map(vdev => `--vdev=${vdev}`), '--',
    `--forward-mode=${forward}`, '--nb-cores=1', `--burst=${burst}`, '--total-num-mbufs=16384', '-i'];
  // Its standard output is a pipe here, which the C library would keep back by blocks.
  const program = machine.start('stdbuf', ['-oL', 'dpdk-testpmd', ...args], { environment: { RUNTIME_DIRECTORY: machine.folder }, ...(netns === undefined ? {} : { netns }) });
  try {
    await program.expect(/^Done$/m);
    program.write(firstBursts === undefined ? 'start' : `start tx_first ${firstBursts}`);
    await program.expect(/nb forwarding cores=1/);
    await sleep(WARM_UP_SECONDS * 1000);
    program.write('show port stats all');
    const from = workerTicks(program.pid);
    const seen = await Promise.all([during?.(), sleep(seconds * 1000)]);
    const to = workerTicks(program.pid);
    program.write('show port stats all');
    await sleep(50);
    program.write('stop');
    program.write('quit');
    const [user, system] = [to.user - from.user, to.system - from.system];
    return { rates: lastRates(await program.finish(20), vdevs.length), seen: seen[0], userShare: user / Math.max(1, user + system) };
  } finally {
    program.kill();
  }
}

/** The forwarding thread's time in clock ticks (proc_pid_stat(5), fields 14 and 15). DPDK calls it "rte-worker-1", later "dpdk-worker1". */
function workerTicks(pid: number): { user: number; system: number } {
  const tasks = `/proc/${pid}/task`;
  const worker = readdirSync(tasks).find(id => readFileSync(`${tasks}/${id}/comm`, 'utf8').includes('worker'));
  if (worker === undefined) throw new Error('dpdk-testpmd has no worker thread');
  const fields = readFileSync(`${tasks}/${worker}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return { user: Number(fields[11]), system: Number(fields[12]) };
}

/** testpmd prints packets per second since the last time it was asked. */
function lastRates(output: string, ports: number): TestpmdRates {
  const all = (name: string): number[] => [...output.matchAll(new RegExp(`${name}-pps:\\s+(\\d+)`, 'g'))].map(match => Number(match[1])).slice(-ports);
  const rates = { rx: all('Rx'), tx: all('Tx') };
  if (rates.rx.length !== ports) throw new Error('dpdk-testpmd printed no rates');
  return rates;
}

/** One of dpdk-test's autotests: what it prints until `wanted` has come; it is ended then, for it may go on with other tests for minutes. */
export async function autotest(machine: Machine, { measured, other }: Cpus, name: string, wanted: RegExp, seconds: number): Promise<string> {
  const program = machine.start('stdbuf', ['-oL', 'dpdk-test', ...environmentOptions(measured, other)], { environment: { DPDK_TEST: name, RUNTIME_DIRECTORY: machine.folder } });
  try {
    await program.expect(wanted, seconds);
    return program.output;
  } finally {
    program.kill();
    await program.exited;
  }
}

/** The number that `pattern` catches in an autotest's output. */
export function printed(output: string, pattern: RegExp): number {
  const found = pattern.exec(output);
  if (found === null) throw new Error(`the autotest printed nothing like ${String(pattern)}`);
  return Number(found[1]);
}

/** Cycles of ring_perf_autotest's bulks of 32 pointers, on one thread; per bulk, enqueue and dequeue together. */
export interface RingPerf {
  readonly spSc: number;
  readonly mpMc: number;
  /** On two cores: per bulk that went through. */
  readonly twoCores: number;
}

export async function ringPerf(machine: Machine, cpus: Cpus): Promise<RingPerf> {
  const program = machine.start('dpdk-test', environmentOptions(cpus.measured, cpus.other), { environment: { DPDK_TEST: 'ring_perf_autotest', RUNTIME_DIRECTORY: machine.folder } });
  program.end(); // it would wait for more commands
  const output = await program.finish(60);
  const figure = (section: string, line: string): number => {
    const found = new RegExp(`### Testing ${section} ###[^#]*?legacy APIs: ${line} \\(size: 32\\): ([\\d.]+)`).exec(output);
    if (found === null) throw new Error(`ring_perf_autotest printed no ${line} for ${section}`);
    return Number(found[1]);
  };
  return {
    spSc: figure('bulk enq/deq', 'SP/SC: bulk'),
    mpMc: figure('bulk enq/deq', 'MP/MC: bulk'),
    // It prints the sum of both sides' cycles per element; both run at the same time.
    twoCores: figure('using two physical cores', 'SP/SC: bulk') / 2 * 32,
  };
}
