/** tshark reads what we read, and what we write. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { pattern, readCapture, writeCapture, type Seen } from './pcap_helper.js';

const captures = new URL('../../../test/captures/', import.meta.url);
const missing = spawnSync('tshark', ['--version']).status !== 0 && 'needs tshark, which this platform has not: apt install tshark';

/** What tshark says of each frame: time, captured bytes, bytes on the wire, MD5 of the captured ones. */
function tshark(path: string): string[] {
  const fields = ['frame.time_epoch', 'frame.cap_len', 'frame.len', 'frame.md5_hash'].flatMap(field => ['-e', field]);
  const { stdout, status, stderr } = spawnSync('tshark', ['-r', path, '-n', '-o', 'frame.generate_md5_hash:TRUE', '-T', 'fields', ...fields], { encoding: 'utf8', timeout: 60_000 });
  if (status !== 0) throw new Error(stderr);
  return stdout.split('\n').filter(line => line !== '').map(line => line.replace(/\t/g, ' '));
}

function ours(frames: readonly Seen[]): string[] {
  return frames.map(({ time, bytes, length }) => `${time === undefined ? '' : `${time[0]}.${String(time[1]).padStart(9, '0')}`} ${bytes.length} ${length} ${createHash('md5').update(bytes).digest('hex')}`);
}

t.test('tshark and this reader agree on captures', { skip: missing }, async (t) => {
  for (const name of readdirSync(captures).filter(each => /\.pcap(ng)?$/.test(each))) {
    const file = readFileSync(new URL(name, captures));
    let theirs = tshark(new URL(name, captures).pathname);
    // Two differences that are meant: an mbuf holds no time after 2106, and no frame is shorter than what is there of it.
    if (name === 'time_2106_overflow.pcapng') theirs = theirs.map(line => line.replace('4294967296.000000000', ''));
    if (name === 'rsvp-rsvp_obj_print-oobr.pcap') theirs = theirs.map(line => line.replace(' 47 0 ', ' 47 47 '));
    t.same(ours(readCapture(file, { window: 16384 }).frames), theirs, `${name}: ${theirs.length} frames`);
  }
});

t.test('tshark reads what was written', { skip: missing }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-pcap-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const frames: Seen[] = [14, 60, 61, 62, 63, 1514].map((size, i) => ({ bytes: pattern(size, i), length: size + (i === 2 ? 100 : 0), time: [[0, 0], [1, 1], [2 ** 31, 999_999_999], [0xfffffffe, 123_456_000], [1.7e9, 5000], [7, 77]][i] as [number, number] }));
  const path = join(folder, 'a');
  // tshark takes a second to start: half of the variants show each value of each.
  for (const [format, nanoseconds, littleEndian] of [['pcap', true, true], ['pcap', false, false], ['pcapng', true, false], ['pcapng', false, true]] as const) {
    writeFileSync(path, writeCapture(format, frames, { nanoseconds, littleEndian }));
    const expected = nanoseconds ? frames : frames.map(each => ({ ...each, time: [each.time![0], each.time![1] - each.time![1] % 1000] as const }));
    t.same(tshark(path), ours(expected), `${format}, ${nanoseconds ? 'ns' : 'µs'}, ${littleEndian ? 'little' : 'big'}-endian`);
  }
});
