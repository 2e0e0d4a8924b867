/** Each bench says what it measures, against whom, and with which options, and refuses what it does not know before it does anything. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const FOLDER = fileURLToPath(new URL('../../bench/', import.meta.url));
/** What benches are made of. */
const PARTS = ['heap_run', 'micro_cases', 'micro_intel', 'micro_virtio', 'micro_xsk', 'options'];
const programs = readdirSync(FOLDER).filter(name => name.endsWith('.js')).map(name => basename(name, '.js')).filter(name => !PARTS.includes(name));
/** With nothing to start, and no right to anything that it would have to make. */
const run = (name: string, ...words: string[]): { status: number | null; stdout: string; stderr: string } => spawnSync(process.execPath, [join(FOLDER, `${name}.js`), ...words], { env: { PATH: '/nonexistent' }, encoding: 'utf8', timeout: 60_000 });

t.ok(programs.length >= 17, `${programs.length} benches`);
for (const name of programs) t.test(name, async t => {
  const { status, stdout, stderr } = run(name, '--help');
  t.same([status, stderr], [0, '']);
  const [what = '', ...rest] = stdout.split('\n');
  t.match(what, /^[A-Z].{30,}/, 'what it measures');
  t.ok(rest.includes(`  node dist/bench/${name}.js [options]`) || rest.some(line => line.startsWith(`  node dist/bench/${name}.js [`)), 'how it is called');
  t.ok(rest.some(line => /^Against: .{8,}/.test(line)), 'against whom');
  t.ok(rest.some(line => /^ {2}--help +this text$/.test(line)));
  t.ok(Math.max(...stdout.split('\n').filter(line => line.startsWith('  ')).map(line => line.length)) <= 150);
  for (const words of [['--nonesuch'], ['one', 'two', 'three']]) t.match(run(name, ...words), { status: 2, stdout: '', stderr: new RegExp(`^${name}: .*--help says what there is`) }, words.join(' '));
});

t.test('numbers are asked for where numbers are usual', async t => {
  for (const [name, ...words] of [['switch', '--seconds', 'long'], ['heap', 'many'], ['idle', '--rates', '1,x'], ['startup', '']] as const) t.match(run(name, ...words), { status: 2, stdout: '', stderr: /give a number, as [\d.,]+/ }, words.join(' '));
  t.match(run('switch', '--help').stdout, /--seconds S +of each point \(default 0\.3\)/);
  t.notMatch(run('qdisc', '--help').stdout, /--case/, 'what a bench asks of its own processes is no one else\'s affair');
});
