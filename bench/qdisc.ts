/**
 * What does a packet cost in a tree of disciplines, and does that depend on how many classes or flows there are? Cycles of
 * the time-stamp counter per packet for txBurst and service of 32, what the program does to make and free a packet taken
 * off. Each case runs in a process of its own, with two packets waiting in each class, up to 2048.
 *
 * "borrowing": every class of the HTB is beyond its own rate and shares its parent's, on a clock that brings just enough
 * tokens, so that classes go into and out of the heap all the time. All of them together have a tenth of the line: with
 * more, a few classes would come back to their own tokens once for several packets, as time passes in steps of a burst.
 *
 *   node dist/bench/qdisc.js [--only PART] [--seconds 1] [--json]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { binding } from '../lib/binding.js';
import type { Burst } from '../lib/burst/burst.js';
import type { Mempool } from '../lib/mbuf/mempool.js';
import { open } from '../lib/port/host.js';
import type { TxQueue } from '../lib/port/port.js';
import type { QdiscSpec } from '../lib/qdisc/spec.js';
import { QdiscQueue } from '../lib/qdisc/tree.js';
import { benchOptions } from './options.js';
import { cyclesPerSecond, pin } from './ours/common.js';

const values = benchOptions({
  what: 'Cycles per packet of each queueing discipline, by the number of its classes or flows, bursts of 32.',
  against: 'nobody; what making and freeing the packets costs is taken off',
  options: {
    only: { value: 'PART', default: '', help: 'only cases whose name holds this text' }, seconds: { value: 'S', default: '1', help: 'of each case' }, json: { help: 'the figures as JSON' },
    case: { value: 'NAME', hidden: true, help: 'the one case of this process' },
  },
});
const BURST = 32;
const BYTES = 500;
const MOST_WAITING = 2048;

interface Case { readonly name: string; readonly classes: number; readonly spec: QdiscSpec | undefined; /** Nanoseconds that pass with each burst. */ readonly step: number }

const leaves = (count: number, rate: number, ceil: number): { name: string; rate: number; ceil: number }[] => Array.from({ length: count }, (_, i) => ({ name: `leaf ${i}`, rate, ceil }));
const counts = [1, 10, 100, 1000];

const CASES: readonly Case[] = [
  { name: 'nothing', classes: 1, spec: undefined, step: 0 },
  { name: 'pfifo', classes: 1, spec: { kind: 'pfifo', limit: 10000 }, step: 0 },
  { name: 'tbf', classes: 1, spec: { kind: 'tbf', rate: '100gbit' }, step: 1e6 },
  ...counts.map(count => ({ name: `drr ${count}`, classes: count, spec: { kind: 'drr' as const, classes: Array.from({ length: count }, () => ({})) }, step: 0 })),
  ...counts.map(count => ({ name: `htb ${count}, own rate`, classes: count, spec: { kind: 'htb' as const, classes: [{ name: 'line', rate: 1e12, classes: leaves(count, 1e11, 1e12) }] }, step: 1e6 })),
  // 32 packets of 500 bytes are 128 kbit: in a millisecond, 128 Mbit/s.
  ...counts.map(count => ({ name: `htb ${count}, borrowing`, classes: count, spec: { kind: 'htb' as const, classes: [{ name: 'line', rate: 130e6, ceil: 140e6, classes: leaves(count, 13e6 / count, 1e9) }] }, step: 1e6 })),
  ...[1, 16, 128, 1024].map(count => ({ name: `fq_codel ${count}`, classes: count, spec: { kind: 'fq_codel' as const, flows: 1024, targetMs: 1000, intervalMs: 1000 }, step: 0 })),
];

if (values.case !== undefined) process.stdout.write(JSON.stringify(measure(CASES.find(({ name }) => name === values.case)!)));
else report();

/** Cycles per packet, and the packets that stood in the tree meanwhile. */
function measure({ spec, classes, step }: Case): { cycles: number; waiting: number } {
  pin(binding().affinity()[0] ?? 0);
  const host = open(['null:'], { mbufs: 8192 });
  const burst = host.burst(BURST);
  const budget = { left: Infinity };
  const port = limited(host.ports[0]!.tx[0]!, budget);
  let now = 0;
  const queue = spec === undefined ? undefined : new QdiscQueue(host.pool, port, spec, { clock: () => now });
  const make = packets(host.pool, classes);
  budget.left = 0;
  for (let waiting = Math.min(MOST_WAITING, 2 * classes); queue !== undefined && queue.packets < waiting;) {
    make(burst);
    queue.txBurst(burst, BURST);
  }
  const turn = (): void => {
    now += step;
    make(burst);
    budget.left = BURST;
    if (queue === undefined) port.txBurst(burst, BURST);
    else queue.txBurst(burst, BURST);
  };
  const nanoseconds = fastest(turn);
  return { cycles: nanoseconds * cyclesPerSecond() / 1e9 / BURST, waiting: queue?.packets ?? 0 };
}

/** A port that takes so many more. */
function limited(tx: TxQueue, budget: { left: number }): TxQueue {
  return {
    txBurst(burst: Burst, count: number): number {
      const taken = tx.txBurst(burst, Math.min(count, budget.left));
      budget.left -= taken;
      return taken;
    },
  };
}

/** Makes 32 packets of the next classes in turn: a mark, and an IPv4 UDP header of a flow. */
function packets(pool: Mempool, classes: number): (burst: Burst) => void {
  const { mbufs } = pool;
  let next = 0;
  return burst => {
    pool.alloc(burst, BURST);
    for (let i = 0; i < BURST; i++) {
      const handle = burst.handles[i]!;
      const at = mbufs.append(handle, BYTES);
      mbufs.u16[(at + 12) >>> 1] = 0x0008;
      mbufs.u16[(at + 14) >>> 1] = 0x0045;
      mbufs.u16[(at + 22) >>> 1] = 0x1140;
      mbufs.u32[(at + 28) >>> 2] = next;
      mbufs.setMark(handle, next);
      if (++next === classes) next = 0;
    }
  };
}

/** Nanoseconds of a turn: the median of many slices, after a warm-up of as long again. */
function fastest(turn: () => void): number {
  const found: number[] = [];
  for (const until = performance.now() + Number(values.seconds) * 2000; performance.now() < until;) {
    const start = performance.now();
    for (let i = 0; i < 500; i++) turn();
    found.push((performance.now() - start) * 1e6 / 500);
  }
  const counted = found.slice(found.length >> 1).sort((a, b) => a - b);
  return counted[counted.length >> 1]!;
}

function report(): void {
  const chosen = CASES.filter(({ name }) => name === 'nothing' || name.includes(values.only));
  const rows = chosen.map(({ name }) => {
    const { status, stdout } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--case', name, '--seconds', values.seconds], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
    if (status !== 0) process.exit(1);
    return { name, ...(JSON.parse(stdout) as { cycles: number; waiting: number }) };
  });
  const base = rows[0]!.cycles;
  if (values.json) {
    process.stdout.write(`${JSON.stringify(rows.map(row => ({ ...row, own: row.cycles - base })), null, 2)}\n`);
    return;
  }
  process.stdout.write(`cycles per packet      all    its own   waiting\n`);
  for (const { name, cycles, waiting } of rows) process.stdout.write(`${name.padEnd(20)}  ${cycles.toFixed(0).padStart(4)}  ${(cycles - base).toFixed(0).padStart(9)}  ${String(waiting).padStart(8)}\n`);
}
