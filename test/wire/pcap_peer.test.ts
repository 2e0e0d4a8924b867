/** Wireshark reads what we read, and what we write. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { linesOf, pattern, readCapture, writeCapture, type Seen } from './pcap_helper.js';

const times: readonly (readonly [number, number])[] = [[0, 0], [1, 1], [2 ** 31, 999_999_999], [0xfffffffe, 123_456_000], [1.7e9, 5000], [7, 77]];
const captures = new URL('../../../test/captures/', import.meta.url);
const missing = spawnSync('tshark', ['--version']).status !== 0 && 'needs tshark, which this platform has not: apt install tshark';

/**
 * What Wireshark says of each frame of the files: time, captured bytes, bytes on the wire, MD5 of the captured ones. Its
 * mergecap reads them into one, since tshark takes a second to start.
 */
function wireshark(folder: string, paths: readonly string[]): string[] {
  const merged = join(folder, 'merged.pcapng');
  run('mergecap', ['-a', '-w', merged, ...paths]);
  const fields = ['frame.time_epoch', 'frame.cap_len', 'frame.len', 'frame.md5_hash'].flatMap(field => ['-e', field]);
  const text = run('tshark', ['-r', merged, '-n', '-o', 'frame.generate_md5_hash:TRUE', '-T', 'fields', ...fields]);
  return text.split('\n').filter(line => line !== '').map(line => line.replace(/\t/g, ' '));
}

function run(program: string, args: readonly string[]): string {
  const { stdout, status, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
  return stdout;
}

function newFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-pcap-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

t.test('Wireshark and this reader agree on captures', { skip: missing }, async (t) => {
  const names = readdirSync(captures).filter(each => /\.pcap(ng)?$/.test(each));
  const read = names.flatMap(name => readCapture(readFileSync(new URL(name, captures)), { window: 16384 }).frames);
  // Two differences that are meant: an mbuf holds no time after 2106, and no frame is shorter than what is there of it.
  const theirs = wireshark(newFolder(t), names.map(name => new URL(name, captures).pathname))
    .map(line => line.replace(/^(4294967296|4323283200)\.000000000 98 /, ' 98 ').replace(/ 47 0 /, ' 47 47 '));
  t.ok(theirs.length > 10, `${theirs.length} frames of ${names.length} files`);
  t.same(linesOf(read), theirs);
});

t.test('Wireshark reads what was written', { skip: missing }, async (t) => {
  const folder = newFolder(t);
  const frames: Seen[] = [14, 60, 61, 62, 63, 1514].map((size, i) => ({ bytes: pattern(size, i), length: size + (i === 2 ? 100 : 0), time: times[i]! }));
  const paths: string[] = [];
  const written: Seen[] = [];
  for (const format of ['pcap', 'pcapng'] as const) {
    for (const nanoseconds of [true, false]) {
      for (const littleEndian of [true, false]) {
        paths.push(join(folder, `${format}-${nanoseconds}-${littleEndian}`));
        writeFileSync(paths.at(-1)!, writeCapture(format, frames, { nanoseconds, littleEndian }));
        written.push(...nanoseconds ? frames : frames.map(each => ({ ...each, time: [each.time![0], each.time![1] - each.time![1] % 1000] as const })));
      }
    }
  }
  t.same(wireshark(folder, paths), linesOf(written), `${paths.length} files`);
});
