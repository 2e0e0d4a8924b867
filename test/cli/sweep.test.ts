import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { readResults } from '../../lib/sweep/results.js';
import { checkPath, measuredCells } from '../sweep/tiny.js';
import { admin, folder, GRID, QUICK, result, run, runUntil } from './sweep_helper.js';
import type { Ended } from './unprivileged_helper.js';

t.test('--json prints the result and nothing else; the report folder holds the same', admin, async (t) => {
  const out = join(folder, 'json');
  const both = (ended: Ended): boolean => ['af_xdp', 'dgram'].every(path => result(ended).latency.some(each => each.path === path));
  const printed = result(runUntil(both, [...QUICK, '--paths', 'dgram,AF_XDP', '--latency-rate', '5000', '--json', '--out', out]));
  for (const path of ['dgram', 'af_xdp']) checkPath(t, printed, path, GRID);
  // A cell of which no round trip was timed is not there.
  const timed = printed.latency.map(({ path, burst, offered }) => `${path} ${burst} ${offered}`);
  t.same(timed.filter(each => !['af_xdp 1 5000', 'af_xdp 32 5000', 'dgram 1 5000', 'dgram 32 5000'].includes(each)), []);
  t.equal(new Set(timed).size, timed.length);
  t.same(readResults(join(out, 'results.json')), printed);
  t.same(readdirSync(out).sort(), ['latency.csv', 'report.html', 'results.csv', 'results.json', 'sweep.svg']);
  t.match(readFileSync(join(out, 'report.html'), 'utf8'), /<!DOCTYPE html>[^]*AF_XDP sends 64-byte frames/);
});

t.test('tables for people: rates, cost with our own share, round trips, the report\'s place', admin, async (t) => {
  const words = [...QUICK, '--paths', 'raw-socket,memory_ring', '--out', join(folder, 'tables')];
  const first = runUntil(({ stdout }) => /^Round trip/m.test(stdout), words);
  t.equal(first.status, 0, first.stderr);
  for (const part of [/^64-byte frames, send: Mpps/m, /^64-byte frames, receive: Mpps/m, /own share/, /^memory ring +32 /m, /^Round trip, 64-byte frames: µs/m, /^Report: file:\/\/.*\/tables\/report\.html$/m]) {
    t.match(first.stdout, part);
  }
  t.match(first.stderr, /^ +0 % {2}about \d+ s left {2}raw socket, burst 1, 64 bytes$/m);
});

t.test('queues, lcores and policies, asked for; a comparison', admin, async (t) => {
  const out = join(folder, 'lcores');
  const printed = run([...QUICK, '--paths', 'af-xdp', '--latency-rate', '0', '--queues', '2', '--lcores', '1,2', '--policies', 'interrupt', '--out', out]);
  t.equal(printed.status, 0, printed.stderr);
  t.match(printed.stdout, /^AF_XDP by queues × lcores and idle policy:[^]*^ +2 × 1 interrupt [^]*^ +2 × 2 interrupt /m);
  t.same(readResults(join(out, 'results.json')).scaling.map(({ queues, lcores, policy }) => [queues, lcores, policy]), [[2, 1, 'interrupt'], [2, 2, 'interrupt']]);
  t.same(readdirSync(out).sort(), ['report.html', 'results.csv', 'results.json', 'scaling.csv', 'sweep.svg']);
  const none = run([...QUICK, '--paths', 'af-xdp', '--latency-rate', '0', '--queues', '0', '--compare', join(out, 'results.json'), '--out', join(folder, 'compared')]);
  t.notMatch(none.stdout, /queues × lcores/);
  t.match(none.stdout, /× of the earlier sweep/);
});

t.test('bad words are refused with what to do, and nothing is run', async (t) => {
  const refused = (words: string[], sentence: RegExp): void => {
    const { status, stdout, stderr } = run(words);
    t.ok(status === 1 || status === 2, `${words.join(' ')}: exit ${String(status)}`);
    t.equal(stdout, '');
    t.match(stderr, sentence);
  };
  refused(['--paths', 'carrier pigeon'], /There is no path "carrier pigeon": choose of af_xdp, /);
  refused(['--bursts', '1,513'], /whole number from 1 to 512/);
  refused(['--policies', 'busy,nap'], /There is no policy "nap": choose of busy, adaptive, interrupt/);
  refused(['--lcores', '65'], /whole number from 1 to 64/);
  refused(['--frames', '63'], /whole number from 64 to 1518/);
  refused(['--seconds', '0'], /above 0/);
  refused(['--full', '--quick'], /cannot be used with/);
  refused(['--compare', join(folder, 'none.json')], /name a results\.json/);
});

t.test('a folder that cannot be written is refused before anything is measured', async (t) => {
  const file = join(folder, 'a file');
  writeFileSync(file, '');
  const { status, stdout, stderr } = run([...QUICK, '--paths', 'memory ring', '--out', join(file, 'report')]);
  t.same([status, stdout], [1, '']);
  t.match(stderr, /^pollmode: Cannot write .*\/a file\/report \(E\w+: .*\): choose another folder with --out\.\n$/, 'one line, and no progress');
});

t.test('without the addon: memory ports, and dgram over loopback; --quick says how many rounds there were', async (t) => {
  const swept = result(run([...QUICK, '--quick', '--json', '--out', join(folder, 'plain')], { POLLMODE_ADDON: '/nonexistent' }));
  for (const path of ['dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
  t.equal(swept.header.link, 'UDP over 127.0.0.1');
  for (const path of ['af_xdp', 'af_packet ring', 'raw socket']) {
    t.ok(swept.cells.filter((cell) => cell.path === path).every((cell) => cell.status === 'missing' && /needs the native addon/.test(cell.reason)), path);
  }
  t.match(swept.header.notes.join('\n'), /Without the native addon .* Build it from source/);
  t.match(swept.header.notes[0], /^A quick sweep: rough figures, from one round of 0\.05 s of each cell\./);
  t.ok(measuredCells(swept, 'dgram').every(({ syscalls }) => syscalls === null), 'what cannot be counted is no zero');
});

t.test('one CPU is enough, and the result says so', admin, async (t) => {
  const [cpu] = binding().affinity();
  const swept = result(run([...QUICK, '--paths', 'af_xdp,memory ring,dgram', '--json', '--out', join(folder, 'one')], {}, ['taskset', '-c', String(cpu)]));
  for (const path of ['af_xdp', 'memory ring', 'dgram']) checkPath(t, swept, path, GRID);
  t.same([swept.header.cores, swept.header.senderCpu, swept.header.receiverCpu], [1, cpu, cpu]);
  t.match(swept.header.notes.join('\n'), /shared one CPU/);
});
