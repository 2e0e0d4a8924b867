/** A sweep that does not come to its end by itself. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseSweepResult, readResults } from '../../lib/sweep/results.js';
import { holdersOf, namespacesOf } from '../lab/namespaces.js';
import { MAIN } from './program_helper.js';
import { admin, folder } from './sweep_helper.js';

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
