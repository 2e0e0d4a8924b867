/** `node dist/bench/startup.js [TIMES]`: how long a program takes from `import` to its first burst, in a new process each time. */
import { spawnSync } from 'node:child_process';
import { median } from '../lib/sweep/statistics.js';
import { benchOptions } from './options.js';

const { word } = benchOptions({
  what: 'Milliseconds from `import` to the first burst of a null port, in a new process each time.',
  against: 'what is wanted: less than 100 ms',
  word: { value: 'TIMES', default: '11', help: 'processes; figures are medians' }, options: {},
});

const CHILD = `
const start = performance.now();
const { open } = await import(process.argv[1]);
const host = open(['null:']);
const burst = host.burst(32);
const got = host.ports[0].rx[0].rxBurst(burst);
const end = performance.now();
if (got !== 32) throw new Error('no burst');
console.log(JSON.stringify({ fromImport: end - start, fromStart: end }));
`;

const index = new URL('../lib/bundle/index.js', import.meta.url).href;
const runs = Array.from({ length: Number(word) }, run);
const [fromImport, fromStart] = [median(runs.map(each => each.fromImport)), median(runs.map(each => each.fromStart))];
process.stdout.write(`import to first burst: ${fromImport.toFixed(1)} ms, the median of ${runs.length} processes (wanted: less than 100 ms; ${fromImport < 100 ? 'reached' : 'NOT reached'})
start of the process to first burst: ${fromStart.toFixed(1)} ms, of which Node.js itself takes the most
`);

function run(): { fromImport: number; fromStart: number } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', CHILD, index], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as { fromImport: number; fromStart: number };
}
