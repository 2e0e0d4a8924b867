import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readResults, parseSweepResult, type SweepResult } from '../../lib/sweep/results.js';
import { needs } from '../kernel/rights.js';
import { holdersOf, namespacesOf } from '../lab/namespaces.js';
import { checkPath, measuredCells, TINY } from '../sweep/tiny.js';
import { MAIN } from './program_helper.js';
import { needsNobody, NobodysCopy, type Ended } from './unprivileged_helper.js';

const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
const QUICK = ['--frames', '64', '--bursts', '1,32', '--rounds', '1', '--seconds', '0.05', '--warmup', '0.02'];

/** The grid of QUICK. */
const GRID = { ...TINY, rounds: 1 };

const folder = mkdtempSync(join(tmpdir(), 'pollmode-sweep-cli-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

function run(words: readonly string[], environment: Record<string, string> = {}, prefix: readonly string[] = []): Ended {
  const [program, ...rest] = [...prefix, process.execPath, MAIN, 'sweep', ...words];
  const { status, stdout, stderr } = spawnSync(program!, rest, { cwd: folder, encoding: 'utf8', timeout: 150_000, env: { ...process.env, ...environment } });
  return { status, stdout, stderr };
}

/** The same with longer and longer measured parts until it is as wanted: on a busy machine no round trip may fall into a short one. */
function runUntil(wanted: (ended: Ended) => boolean, words: readonly string[]): Ended {
  for (let seconds = GRID.seconds; ; seconds *= 4) {
    const ended = run([...words, '--seconds', String(seconds)]);
    if (ended.status !== 0 || wanted(ended)) return ended;
  }
}

/** What --json printed. */
function result({ status, stdout, stderr }: Ended): SweepResult {
  if (status !== 0) throw new Error(`exit ${String(status)}: ${stderr}`);
  return parseSweepResult(JSON.parse(stdout));
}

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

t.test('tables for people: rates, cost with our own share, round trips, the report\'s place; a comparison', admin, async (t) => {
  const words = [...QUICK, '--paths', 'raw-socket,memory_ring', '--out', join(folder, 'tables')];
  const first = runUntil(({ stdout }) => /^Round trip/m.test(stdout), words);
  t.equal(first.status, 0, first.stderr);
  for (const part of [/^64-byte frames, send: Mpps/m, /^64-byte frames, receive: Mpps/m, /own share/, /^memory ring +32 /m, /^Round trip, 64-byte frames: µs/m, /^Report: file:\/\/.*\/tables\/report\.html$/m]) {
    t.match(first.stdout, part);
  }
  t.match(first.stderr, /^ +0 % {2}about \d+ s left {2}raw socket, burst 1, 64 bytes$/m);
  const second = run([...words, '--compare', join(folder, 'tables', 'results.json')]);
  t.match(second.stdout, /× of the earlier sweep/);
});

t.test('queues, lcores and policies, asked for', admin, async (t) => {
  const out = join(folder, 'lcores');
  const printed = run([...QUICK, '--paths', 'af-xdp', '--latency-rate', '0', '--queues', '2', '--lcores', '1,2', '--policies', 'interrupt', '--out', out]);
  t.equal(printed.status, 0, printed.stderr);
  t.match(printed.stdout, /^AF_XDP by queues × lcores and idle policy:[^]*^ +2 × 1 interrupt [^]*^ +2 × 2 interrupt /m);
  t.same(readResults(join(out, 'results.json')).scaling.map(({ queues, lcores, policy }) => [queues, lcores, policy]), [[2, 1, 'interrupt'], [2, 2, 'interrupt']]);
  t.same(readdirSync(out).sort(), ['report.html', 'results.csv', 'results.json', 'scaling.csv', 'sweep.svg']);
  const none = run([...QUICK, '--paths', 'af-xdp', '--latency-rate', '0', '--queues', '0', '--out', out]);
  t.notMatch(none.stdout, /queues × lcores/);
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

/** Runs it in the background; resolves when it has said how far it is. */
async function started(t: { teardown(work: () => void): void }, words: readonly string[]): Promise<{ child: ChildProcess; ended: Promise<{ status: number | null; stdout: string; stderr: string }> }> {
  const child = spawn(process.execPath, [MAIN, 'sweep', ...words], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => { child.kill('SIGKILL'); });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name]!.setEncoding('utf8').on('data', (text: string) => { said[name] += text; });
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, ...said }));
  while (!said.stderr.includes('%')) await once(child.stderr!, 'data');
  return { child, ended };
}

/** The namespaces that it made for its two paths, and all who hold them. */
function labsOf(t: Test, child: ChildProcess): { labs: string[]; holders: string[] } {
  const own = namespacesOf(process.pid);
  const labs = [...namespacesOf(child.pid!)].filter((one) => !own.has(one));
  const holders = holdersOf(labs);
  t.ok(labs.length >= 4, `${labs.length} namespaces for two labs`);
  t.ok(holders.includes(String(child.pid)));
  return { labs, holders };
}

const LONG = ['--paths', 'af_xdp,raw socket', '--bursts', '1,32', '--frames', '64', '--seconds', '0.1', '--rounds', '100', '--json'];

for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
  t.test(`${signal}: what was measured is kept, code ${code}, and no namespace is left`, admin, async (t) => {
    const out = join(folder, signal);
    const { child, ended } = await started(t, [...LONG, '--out', out]);
    const { labs, holders } = labsOf(t, child);
    child.kill(signal);
    const { status, stdout, stderr } = await ended;
    t.equal(status, code);
    t.match(stderr, /what was measured is kept/);
    const kept = parseSweepResult(JSON.parse(stdout));
    t.same(readResults(join(out, 'results.json')), kept);
    t.match(kept.header.notes[0], /^The sweep was stopped after \d+ of \d+ runs/);
    t.ok(kept.cells.some(({ status }) => status === 'measured'), 'the run that was under way is in it');
    t.same(holdersOf(labs).filter((pid) => holders.includes(pid)), []);
  });
}

t.test('kill -9 leaves no namespace either', admin, async (t) => {
  const { child, ended } = await started(t, [...LONG, '--out', join(folder, 'killed')]);
  const { labs, holders } = labsOf(t, child);
  child.kill('SIGKILL');
  await ended;
  t.same(holdersOf(labs).filter((pid) => holders.includes(pid)), []);
  t.same(readdirSync(join(folder, 'killed')), [], 'and no half report');
});

t.test('a folder that cannot be written is refused before anything is measured', async (t) => {
  const file = join(folder, 'a file');
  writeFileSync(file, '');
  const { status, stdout, stderr } = run([...QUICK, '--paths', 'memory ring', '--out', join(file, 'report')]);
  t.same([status, stdout], [1, '']);
  t.match(stderr, /^pollmode: Cannot write .*\/a file\/report \(E\w+: .*\): choose another folder with --out\.\n$/, 'one line, and no progress');
});

t.test('a folder that went meanwhile: the tables are printed all the same', async (t) => {
  const out = join(folder, 'gone');
  const { child, ended } = await started(t, ['--paths', 'memory ring', '--bursts', '1,32', '--frames', '64', '--seconds', '0.1', '--rounds', '100', '--out', out]);
  rmSync(out, { recursive: true });
  writeFileSync(out, '');
  child.kill('SIGINT');
  const { status, stdout, stderr } = await ended;
  t.equal(status, 1);
  t.match(stdout, /^64-byte frames, send: Mpps/);
  t.match(stderr, /Cannot write .*results\.json/);
  t.notMatch(stdout, /^Report:/m);
});

t.test('--quick says how many rounds there were', async (t) => {
  const swept = result(run([...QUICK, '--quick', '--paths', 'memory ring', '--latency-rate', '0', '--json', '--out', join(folder, 'rounds')]));
  t.match(swept.header.notes[0], /^A quick sweep: rough figures, from one round of 0\.05 s of each cell\./);
});

t.test('without the addon: memory ports, and dgram over loopback', async (t) => {
  const swept = result(run([...QUICK, '--json', '--out', join(folder, 'plain')], { POLLMODE_ADDON: '/nonexistent' }));
  for (const path of ['dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
  t.equal(swept.header.link, 'UDP over 127.0.0.1');
  for (const path of ['af_xdp', 'af_packet ring', 'raw socket']) {
    t.ok(swept.cells.filter((cell) => cell.path === path).every((cell) => cell.status === 'missing' && /needs the native addon/.test(cell.reason)), path);
  }
  t.match(swept.header.notes.join('\n'), /Without the native addon .* Build it from source/);
  t.ok(measuredCells(swept, 'dgram').every(({ syscalls }) => syscalls === null), 'what cannot be counted is no zero');
});

t.test('one CPU is enough, and the result says so', admin, async (t) => {
  const swept = result(run([...QUICK, '--paths', 'af_xdp,memory ring,dgram', '--json', '--out', join(folder, 'one')], {}, ['taskset', '-c', '0']));
  for (const path of ['af_xdp', 'memory ring', 'dgram']) checkPath(t, swept, path, GRID);
  t.same([swept.header.cores, swept.header.senderCpu, swept.header.receiverCpu], [1, 0, 0]);
  t.match(swept.header.notes.join('\n'), /shared one CPU/);
});

t.test('without root', needsNobody(), async (t) => {
  const copy = new NobodysCopy();
  t.teardown(() => copy.remove());
  const words = ['sweep', ...QUICK, '--json', '--out', join(copy.home, 'report')];

  t.test('a folder of somebody else\'s: refused at once', async (t) => {
    const { status, stdout, stderr } = copy.run(['sweep', ...QUICK, '--out', '/var/no-such-report']);
    t.same([status, stdout], [1, '']);
    t.match(stderr, /^pollmode: Cannot write \/var\/no-such-report \(EACCES: .*\n$/);
  });

  t.test('where user namespaces are allowed: all but AF_XDP, over a link', async (t) => {
    const ended = copy.run(words);
    if (/user namespaces are not allowed/.test(ended.stderr)) return t.pass('they are not allowed here');
    const swept = result(ended);
    for (const path of ['af_packet ring', 'raw socket', 'dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
    t.equal(swept.header.link, 'veth pair between two network namespaces');
    t.ok(swept.cells.filter(({ path }) => path === 'af_xdp').every((cell) => cell.status === 'missing' && /run as root/.test(cell.reason)));
    t.match(swept.header.notes.join('\n'), /Root would add AF_XDP.*the count of system calls/);
    t.same(readResults(join(copy.home, 'report', 'results.json')), swept);
  });

  t.test('where they are not (here: no unshare): memory ports, and dgram over loopback', async (t) => {
    const swept = result(copy.run(words, { PATH: copy.home }));
    for (const path of ['dgram', 'memory ring', 'memory null']) checkPath(t, swept, path, GRID);
    t.equal(swept.header.link, 'UDP over 127.0.0.1');
    t.match(swept.header.notes.join('\n'), /Root would add AF_XDP, AF_PACKET rings, raw sockets/);
  });
});
