/**
 * `npm run bench`: the burst functions' twins raced against the WebAssembly, one operation at a time, in one thread.
 * Each build runs in a process of its own, so that V8 sees one kind of function at each call.
 */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { instantiate, type BurstBuild } from '../lib/burst/module.js';
import { cases } from './micro_cases.js';
import { benchOptions } from './options.js';

const values = benchOptions({
  what: `Nanoseconds of each burst function, one operation at a time, in one thread (also \`npm run bench\`).

There is more, each with a --help of its own: \`npm run bench:peers\`, and node dist/bench/X.js with X one of checksum,
descriptors, event_loop, heap, htb_linux, idle, lookup_curves, qdisc, recovery, rps, shaping, startup, steering_curves,
switch, toeplitz, two_vms.`,
  against: 'the functions\' twins in TypeScript',
  options: {
    only: { value: 'PART', default: '', help: 'only operations whose name holds this text' }, seconds: { value: 'S', default: '1', help: 'the longest that one operation is measured' }, json: { help: 'the figures as JSON' },
    build: { value: 'BUILD', hidden: true, help: 'the one build of this process' },
  },
});

/** Nanoseconds of one operation, and how far they may be off (the mean's margin of error at 95 %, in per cent). */
interface Figure {
  readonly name: string;
  readonly nanoseconds: number;
  readonly margin: number;
}

if (values.build !== undefined) process.stdout.write(JSON.stringify(measure(values.build as BurstBuild)));
else report(child('fast'), child('twin'));

function measure(build: BurstBuild): Figure[] {
  const benchmark = createRequire(import.meta.url)('benchmark') as typeof import('benchmark');
  const suite = new benchmark.Suite();
  const chosen = cases(arena => instantiate(arena.memory, build)).filter(({ name }) => name.toLowerCase().includes(values.only.toLowerCase()));
  for (const { name, run } of chosen) suite.add(name, run, { maxTime: Number(values.seconds) });
  const figures: Figure[] = [];
  suite.on('cycle', (event: { target: { name?: string; stats: { mean: number; rme: number } } }) => {
    const { name = '', stats } = event.target;
    figures.push({ name, nanoseconds: stats.mean * 1e9, margin: stats.rme });
    process.stderr.write(`${build}: ${name}\n`);
  });
  suite.run({ async: false });
  return figures;
}

function child(build: BurstBuild): Figure[] {
  const { status, stdout } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--build', build, '--only', values.only, '--seconds', values.seconds], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
  if (status !== 0) process.exit(1);
  return JSON.parse(stdout) as Figure[];
}

function report(fast: readonly Figure[], twins: readonly Figure[]): void {
  const pairs = fast.map((figure, i) => ({ name: figure.name, wasm: figure.nanoseconds, wasmMargin: figure.margin, twin: twins[i]!.nanoseconds, twinMargin: twins[i]!.margin }));
  if (values.json) {
    process.stdout.write(`${JSON.stringify(pairs.map(pair => ({ ...pair, ratio: pair.twin / pair.wasm })), null, 2)}\n`);
    return;
  }
  const width = Math.max(...pairs.map(({ name }) => name.length));
  process.stdout.write(`${'nanoseconds per operation'.padEnd(width)}  WebAssembly      TypeScript   ratio\n`);
  for (const { name, wasm, wasmMargin, twin, twinMargin } of pairs) {
    process.stdout.write(`${name.padEnd(width)}  ${cell(wasm, wasmMargin)}  ${cell(twin, twinMargin)}  ${(twin / wasm).toFixed(1).padStart(5)}x\n`);
  }
}

function cell(nanoseconds: number, margin: number): string {
  return `${nanoseconds.toFixed(1).padStart(6)} ±${margin.toFixed(0).padStart(2)}%`.padStart(14);
}
