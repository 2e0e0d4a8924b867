/**
 * What sleeping costs and saves: one-way latency and CPU time of a receiver on AF_XDP under each idle policy, at several
 * rates, over a veth pair of this process's own. The sender is a thread on another CPU that paces single packets and
 * writes its clock (CLOCK_MONOTONIC, the same for all threads) into each.
 *
 * At each rate `adaptive` shall be no later than `interrupt` at p99 and take no more CPU than `busy`; at 10,000 packets a
 * second less than half of busy's, and with nothing to do 2 % of a CPU at most. Two figures are told apart only where the
 * rounds' ranges do not meet. "Pushed off" counts how often a second the scheduler gave the receiver's CPU to another.
 *
 *   node dist/bench/idle.js [--rates 0,1000,10000,100000] [--policies busy,adaptive,interrupt] [--seconds 1] [--rounds 5] [--json] [--svg FILE]
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { binding } from '../lib/binding.js';
import { CLONE_NEWNET } from '../lib/kernel/constants.js';
import { openLab, type LabEnd } from '../lib/lab/veth.js';
import { withNetns } from '../lib/kernel/netns.js';
import { Idle, type IdlePolicy } from '../lib/lcore/idle.js';
import { poll } from '../lib/lcore/poll.js';
import { open, type Host } from '../lib/port/host.js';
import { benchOptions } from './options.js';

const POLICIES: readonly IdlePolicy[] = ['busy', 'adaptive', 'interrupt'];
/** Where the clock stands in a frame. */
const STAMP = 48;
const hdr = createRequire(import.meta.url)('hdr-histogram-js') as typeof import('hdr-histogram-js');

interface SenderData { readonly end: LabEnd; readonly cpu: number; readonly rate: Int32Array<SharedArrayBuffer> }
interface Cell { readonly policy: IdlePolicy; readonly rate: number; readonly p50: number; readonly p99: number; readonly cpu: number; readonly packets: number; readonly spinUs: number; readonly pushed: number }

const clock = new Float64Array(2);
function now(): number {
  binding().clock(clock);
  return clock[1]!;
}

if (isMainThread) await main();
else await send(workerData as SenderData);

/** The sender: `rate[0]` packets per second, whatever it says at the moment; -1 ends. */
async function send({ end, cpu, rate }: SenderData): Promise<void> {
  binding().setAffinity(cpu);
  binding().setns(end.netns, CLONE_NEWNET);
  const host = open([`af_xdp:${end.name}`]);
  const burst = host.burst(1);
  parentPort!.postMessage('ready');
  let due = performance.now();
  for (let wanted = Atomics.load(rate, 0); wanted >= 0; wanted = Atomics.load(rate, 0)) {
    if (wanted === 0) {
      Atomics.wait(rate, 0, 0, 50);
      due = performance.now();
    } else if (performance.now() >= due) {
      due = Math.max(due + 1000 / wanted, performance.now() - 1);
      sendOne(host, burst.handles);
      host.ports[0]!.tx[0]!.txBurst(burst, 1);
    }
  }
  host.close();

  function sendOne(of: Host, handles: Uint32Array): void {
    if (of.pool.alloc(burst, 1) === 0) return;
    const at = of.mbufs.append(handles[0]!, 60);
    of.mbufs.u8.set([2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 0x88, 0xb5], at);
    of.mbufs.f64[(at + STAMP) >>> 3] = now();
  }
}

async function main(): Promise<void> {
  const values = benchOptions({
    what: 'One-way latency and CPU time of an AF_XDP receiver under each idle policy, at several rates, over a veth pair.',
    against: 'our own policies, one with another',
    needs: 'root, for the veth pair; two CPUs',
    options: {
      rates: { value: 'LIST', default: '0,1000,10000,100000', help: 'packets a second' }, policies: { value: 'LIST', default: 'busy,adaptive,interrupt', help: 'which' },
      seconds: { value: 'S', default: '1', help: 'of each cell' }, rounds: { value: 'N', default: '5', help: 'figures are medians' }, json: { help: 'the figures as JSON' }, svg: { value: 'FILE', help: 'draws CPU against p99 into it' },
    },
  });
  const policies = POLICIES.filter(policy => values.policies.split(',').includes(policy));
  const [senderCpu = 0, receiverCpu = senderCpu] = binding().affinity();
  const lab = openLab();
  const rate = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { end: lab.a, cpu: senderCpu, rate } satisfies SenderData });
  await once(worker, 'message');
  binding().setAffinity(receiverCpu);
  const host = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name}`]));
  const cells: Cell[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const each of values.rates.split(',').map(Number)) {
      // Each policy comes first, second and third in turn: what runs before it leaves the scheduler and the CPU in some state.
      for (const policy of policies.map((_, i) => policies[(i + round) % policies.length]!)) {
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kround ${round + 1}, ${each} packets/s, ${policy}`);
        cells.push(await measure(host, policy, each, rate, Number(values.seconds)));
      }
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  Atomics.store(rate, 0, -1);
  Atomics.notify(rate, 0);
  await once(worker, 'exit');
  host.close();
  lab.close();
  const table = medians(cells);
  if (values.json) process.stdout.write(`${JSON.stringify({ table, cells }, null, 1)}\n`);
  else process.stdout.write(`${[...lines(table), ...verdicts(cells)].join('\n')}\n`);
  if (values.svg !== undefined) writeFileSync(values.svg, draw(table));
}

async function measure(host: Host, policy: IdlePolicy, wanted: number, rate: Int32Array, seconds: number): Promise<Cell> {
  const queue = host.ports[0]!.rx[0]!;
  const burst = host.burst();
  const histogram = hdr.build({ lowestDiscernibleValue: 1, highestTrackableValue: 1e10, numberOfSignificantValueDigits: 3 });
  const idle = new Idle({ policy, queues: [queue] });
  let packets = 0;
  const body = (): number => {
    const got = queue.rxBurst(burst);
    if (got === 0) return 0;
    const at = now();
    for (let i = 0; i < got; i++) histogram.recordValue(Math.max(1, Math.round(at - host.mbufs.f64[(host.mbufs.data(burst.handles[i]!) + STAMP) >>> 3]!)));
    host.pool.free(burst, 0, got);
    packets += got;
    return got;
  };
  Atomics.store(rate, 0, wanted);
  Atomics.notify(rate, 0);
  await poll(body, { idle, seconds: 0.3 }); // warm-up
  histogram.reset();
  packets = 0;
  const before = usage();
  const started = performance.now();
  await poll(body, { idle, seconds });
  const [after, took] = [usage(), (performance.now() - started) / 1000];
  const [cpu, pushed] = [(after.microseconds - before.microseconds) / 1e6 / took, (after.pushed - before.pushed) / took];
  Atomics.store(rate, 0, 0);
  await poll(body, { idle, seconds: 0.05 });
  burst.close();
  const at = (percentile: number): number => (packets === 0 ? NaN : histogram.getValueAtPercentile(percentile) / 1000);
  return { policy, rate: wanted, p50: at(50), p99: at(99), cpu, packets, spinUs: idle.stats().spinUs, pushed };
}

/** User and system time of this thread, and how often it was made to give way. */
function usage(): { microseconds: number; pushed: number } {
  const into = new Float64Array(4);
  binding().usage(false, into);
  return { microseconds: into[0]! + into[1]!, pushed: into[3]! };
}

function medians(cells: readonly Cell[]): Cell[] {
  const keys = [...new Set(cells.map(cell => `${cell.rate} ${cell.policy}`))];
  return keys.map(key => {
    const same = cells.filter(cell => `${cell.rate} ${cell.policy}` === key);
    const of = (pick: (cell: Cell) => number): number => middle(same.map(pick));
    return { ...same[0]!, p50: of(cell => cell.p50), p99: of(cell => cell.p99), cpu: of(cell => cell.cpu), packets: of(cell => cell.packets), spinUs: of(cell => cell.spinUs), pushed: of(cell => cell.pushed) };
  });
}

function lines(table: readonly Cell[]): string[] {
  const time = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(1)).padStart(8);
  return ['AF_XDP on veth, one-way latency in µs (median of rounds), CPU of the receiving thread', 'packets/s   policy        p50       p99    CPU  pushed off/s  spins before it sleeps',
    ...table.map(({ rate, policy, p50, p99, cpu, spinUs, pushed }) => (
      `${String(rate).padStart(9)}   ${policy.padEnd(9)} ${time(p50)}  ${time(p99)}  ${(cpu * 100).toFixed(1).padStart(5)}%  ${pushed.toFixed(0).padStart(12)}  ${policy === 'adaptive' ? `${spinUs.toFixed(1)} µs` : ''}`
    ))];
}

/** What is asked of `adaptive`, rate by rate. */
function verdicts(cells: readonly Cell[]): string[] {
  return [...new Set(cells.map(({ rate }) => rate))].flatMap(rate => {
    const of = (policy: IdlePolicy, pick: (cell: Cell) => number): number[] => cells.filter(cell => cell.rate === rate && cell.policy === policy).map(pick).filter(value => !Number.isNaN(value));
    const cpu = (policy: IdlePolicy): number[] => of(policy, cell => cell.cpu);
    const line = (what: string, ok: boolean): string => `${ok ? 'reaches' : 'MISSES '}  ${rate} packets/s: ${what}`;
    const asked: string[] = [];
    if (rate > 0 && cpu('interrupt').length > 0) asked.push(line('p99 no worse than interrupt\'s', noMore(of('adaptive', cell => cell.p99), of('interrupt', cell => cell.p99))));
    if (cpu('busy').length > 0) asked.push(line('CPU no more than busy\'s', noMore(cpu('adaptive'), cpu('busy'))));
    if (rate === 10_000 && cpu('busy').length > 0) asked.push(line('CPU under half of busy\'s', Math.max(...cpu('adaptive')) < Math.min(...cpu('busy')) / 2));
    if (rate === 0) asked.push(line('at most 2 % of a CPU', middle(cpu('adaptive')) <= 0.02));
    return asked;
  });
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** By the medians, or the rounds cannot tell them apart: each has rounds on both sides of the other's median. */
function noMore(ours: readonly number[], theirs: readonly number[]): boolean {
  return middle(ours) <= middle(theirs) || (Math.min(...ours) <= middle(theirs) && Math.max(...theirs) >= middle(ours));
}

/** CPU against p99, a line per policy, a point per rate. */
function draw(table: readonly Cell[]): string {
  const [width, height, left, bottom] = [640, 400, 60, 50];
  const points = table.filter(cell => !Number.isNaN(cell.p99));
  const most = Math.log10(Math.max(...points.map(cell => cell.p99)) * 1.5);
  const x = (cpu: number): number => left + Math.min(cpu, 1) * (width - left - 20);
  const y = (p99: number): number => height - bottom - Math.log10(Math.max(p99, 1)) / most * (height - bottom - 20);
  const colours: Record<IdlePolicy, string> = { busy: '#c0392b', adaptive: '#2471a3', interrupt: '#1e8449' };
  const dots = points.map(({ policy, rate, cpu, p99 }) => `<circle cx="${x(cpu).toFixed(1)}" cy="${y(p99).toFixed(1)}" r="5" fill="${colours[policy]}"/><text x="${(x(cpu) + 8).toFixed(1)}" y="${(y(p99) + 4).toFixed(1)}" font-size="11" fill="#555">${rate / 1000}k</text>`);
  const legend = POLICIES.map((policy, i) => `<text x="${left + 20 + i * 110}" y="16" font-size="13" fill="${colours[policy]}">● ${policy}</text>`);
  const ticks = [1, 10, 100, 1000, 10000].filter(tick => Math.log10(tick) <= most).map(tick => `<line x1="${left}" x2="${width - 20}" y1="${y(tick)}" y2="${y(tick)}" stroke="#ddd"/><text x="${left - 6}" y="${y(tick) + 4}" font-size="11" text-anchor="end">${tick} µs</text>`);
  const shares = [0, 0.25, 0.5, 0.75, 1].map(share => `<text x="${x(share)}" y="${height - bottom + 18}" font-size="11" text-anchor="middle">${share * 100}%</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>${ticks.join('')}${shares.join('')}${legend.join('')}${dots.join('')}<text x="${(width + left) / 2}" y="${height - 10}" font-size="12" text-anchor="middle">CPU of the receiving thread</text><text x="14" y="${height / 2}" font-size="12" text-anchor="middle" transform="rotate(-90 14 ${height / 2})">p99 one-way latency</text></svg>\n`;
}
