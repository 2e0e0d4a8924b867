/** `pollmode forward` between files, as a person runs it. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, statSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { linesOf, readCapture } from '../../wire/pcap_helper.js';
import { Folder, someFrames } from './pcap_helper.js';

const main = new URL('../../../lib/cli/main.js', import.meta.url).pathname;
const captures = new URL('../../../../test/captures/', import.meta.url);

interface Totals {
  readonly forwarded: number;
  readonly dropped: number;
  readonly ports: { readonly rxPackets: number; readonly txPackets: number; readonly txRefused: number; readonly xstats: Record<string, number> }[];
}

/** Runs it, through a shell line where one is given; `wanted` is its exit code: 1 says that not all was written. */
function forward(args: readonly string[], shell?: string, wanted = 0): Totals {
  const command = [process.execPath, main, 'forward', ...args, '--json'];
  const options = { encoding: 'utf8', timeout: 60_000 } as const;
  const { stdout, stderr, status } = shell === undefined
    ? spawnSync(command[0]!, command.slice(1), options)
    : spawnSync('sh', ['-c', `${shell} "$@"`, 'sh', ...command], options);
  if (status !== wanted) throw new Error(`status ${status}: ${stderr}`);
  return JSON.parse(stdout) as Totals;
}

t.test('from file to file the frames and times are the same, and it ends by itself', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(2500);
  const input = folder.capture('in.pcapng', frames);
  for (const out of ['out.pcap', 'out.pcapng']) {
    const totals = forward([`pcap:${input}`, `pcap:,tx=${folder.file(out)}`]);
    t.match(totals, { forwarded: 2500, dropped: 0, ports: [{ rxPackets: 2500 }, { txPackets: 2500, txRefused: 0, xstats: { tx_not_written: 0 } }] });
    t.same(linesOf(folder.read(out)), linesOf(frames), out);
  }
});

t.test('a real capture, big-endian', async (t) => {
  const folder = new Folder(t);
  const input = folder.file('isup.pcap');
  copyFileSync(new URL('isup.pcap', captures), input);
  forward([`pcap:${input}`, `pcap:,tx=${folder.file('out.pcap')}`]);
  t.same(folder.read('out.pcap'), folder.read('isup.pcap'));
});

t.test('a disk that takes nothing: what was not written is said', async (t) => {
  const folder = new Folder(t);
  const totals = forward([`pcap:${folder.capture('in.pcap', someFrames(10))}`, 'pcap:,tx=/dev/full'], undefined, 1);
  t.match(totals.ports[1], { txPackets: 10, xstats: { tx_not_written: 10, tx_write_ENOSPC: 1 } });
});

t.test('a disk that takes a part: whole records stay, the rest is counted', async (t) => {
  const folder = new Folder(t);
  for (const out of ['out.pcap', 'out.pcapng']) {
    // A file may grow to 1 MiB here, which ends within a record; without the trap the signal would end the program. It takes some
    // milliseconds of a CPU to come there, and the rest of the time is for a machine that has none to give.
    const totals = forward(['null:size=1000', `pcap:,tx=${folder.file(out)}`, '--seconds', '2'], 'trap "" XFSZ; ulimit -f 2048; exec', 1);
    const { txPackets, txRefused, xstats } = totals.ports[1]!;
    const { frames, end } = readCapture(readFileSync(folder.file(out)));
    t.equal(end, 16, `${frames.length} whole records in ${statSync(folder.file(out)).size} bytes`);
    t.ok(frames.length > 900 && frames.every(frame => frame.length === 1000));
    t.equal(frames.length + xstats['tx_not_written']!, txPackets);
    t.ok(xstats['tx_write_EFBIG']! > 0 && txRefused > 0);
  }
});

t.test('what is written is in the file before the end, and Ctrl-C leaves a whole file', async (t) => {
  const folder = new Folder(t);
  const out = folder.file('out.pcap');
  const child = spawn(process.execPath, [main, 'forward', `pcap:${folder.capture('in.pcap', someFrames(9))},rate=100,loop=0`, `pcap:,tx=${out}`, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  while (child.exitCode === null && (statSync(out, { throwIfNoEntry: false })?.size ?? 0) < 200) await setTimeout(20);
  t.equal(child.exitCode, null);
  child.kill('SIGINT');
  t.same(await once(child, 'close'), [0, null]);
  const { forwarded } = JSON.parse(text) as Totals;
  t.ok(forwarded > 0);
  t.equal(folder.read('out.pcap').length, forwarded);
});

t.test('without the addon, and with a comma in a path', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(30);
  const { status, stderr } = spawnSync(process.execPath, [main, 'forward', `pcap:${folder.capture('in,2.pcap', frames).replace(',', '\\,')}`, `pcap:,tx=${folder.file('out.pcapng')}`], { encoding: 'utf8', env: { ...process.env, POLLMODE_ADDON: folder.file('no-addon.node') } });
  t.equal(status, 0, stderr);
  t.same(folder.read('out.pcapng'), frames);
});
