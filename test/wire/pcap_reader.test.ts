import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { openCapture } from '../../lib/wire/pcap_open.js';
import { READ_CORRUPT_FILE, READ_END, READ_FAILED, READ_TOO_LONG, READ_TRUNCATED } from '../../lib/wire/pcap_reader.js';
import { CaptureWindow } from '../../lib/wire/pcap_window.js';
import { Order, hex, joined, pattern, readCapture, sourceOf } from './pcap_helper.js';

/** Classic pcap's header by hand: magic, version, two reserved, snap length, link type. */
const bigMicro = 'a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000001';
const littleMicro = 'd4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000';
const bigNano = 'a1b23c4d 0002 0004 00000000 00000000 0000ffff 00000001';
const littleNano = '4d3cb2a1 0200 0400 00000000 00000000 ffff0000 01000000';

t.test('four variants of classic pcap, byte by byte', async (t) => {
  const big = '00000001 0007a120 00000005 00000009 0102030405';
  const little = '01000000 20a10700 05000000 09000000 0102030405';
  const frame = (nanoseconds: number) => [{ bytes: hex('0102030405'), length: 9, time: [1, nanoseconds] }];
  t.same(readCapture(hex(bigMicro, big)), { format: 'pcap, microseconds, big-endian', frames: frame(500_000_000), odd: [], end: READ_END });
  t.same(readCapture(hex(littleMicro, little)), { format: 'pcap, microseconds', frames: frame(500_000_000), odd: [], end: READ_END });
  t.same(readCapture(hex(bigNano, big)), { format: 'pcap, nanoseconds, big-endian', frames: frame(500_000), odd: [], end: READ_END });
  t.same(readCapture(hex(littleNano, little)), { format: 'pcap, nanoseconds', frames: frame(500_000), odd: [], end: READ_END });
});

t.test('seconds are unsigned, and too many microseconds are carried', async (t) => {
  const record = (seconds: string, micro: string) => `${seconds} ${micro} 00000001 00000001 aa`;
  const { frames } = readCapture(hex(bigMicro, record('ffffffff', '00000000'), record('00000001', '001e8481'), record('ffffffff', '000f4240')));
  t.same(frames.map(frame => frame.time), [[0xffffffff, 0], [3, 1000], undefined]);
});

t.test('the FCS that a file says it has is no part of a frame', async (t) => {
  // FCS length 2 words, P set: 0x24000001.
  const file = hex('a1b2c3d4 0002 0004 00000000 00000000 0000ffff 24000001',
    '00000001 00000000 00000006 00000006 0102 fcfcfcfc', // whole
    '00000001 00000000 00000005 00000008 01020304 fc', // cut within its FCS
    '00000001 00000000 00000002 00000002 fcfc'); // shorter than an FCS
  t.same(readCapture(file).frames.map(({ bytes, length }) => [bytes, length]), [[hex('0102'), 2], [hex('01020304'), 4], [hex(''), 0]]);
});

t.test('a record that cannot be ends the file; a long one is passed over', async (t) => {
  const good = '00000001 00000000 00000001 00000001 aa';
  t.match(readCapture(hex(bigMicro, good, '00000001 00000000 00040001 00040001', good)), { frames: { length: 1 }, end: READ_CORRUPT_FILE });
  const long = joined(hex('00000001 00000000 00001000 00001000'), new Uint8Array(4096));
  for (const window of [64, 4096, 8192]) {
    t.match(readCapture(joined(hex(bigMicro), long, hex(good)), { window, maxLength: 60 }), { frames: { length: 1 }, odd: [READ_TOO_LONG], end: READ_END }, `through ${window} bytes`);
    const cut = joined(hex(bigMicro), long).subarray(0, -1);
    t.match(readCapture(cut, { window, maxLength: 60 }), { frames: { length: 0 }, odd: [], end: READ_TRUNCATED }, `cut, through ${window} bytes`);
  }
});

t.test('what is no such capture is called by its name', async (t) => {
  const header = (magic: string, rest = '0002 0004 00000000 00000000 0000ffff 00000001') => hex(magic, rest);
  const cases: [Uint8Array, RegExp][] = [
    [hex(''), /is empty/], [hex('a1b2'), /2 bytes long/], [hex(bigMicro).subarray(0, 23), /ends within its file header/],
    [header('1f8b0800'), /gzip.*gunzip it first/], [header('28b52ffd'), /zstd/], [header('04224d18'), /lz4/], [header('fd377a58', '5a00'), /xz/],
    [header('425a6839'), /bzip2/], [header('504b0304'), /zip archive/], [header('736e6f6f', '70000000 00000002'), /snoop/], [header('474d4255'), /Network Monitor 2/],
    [header('a1b2cd34'), /Kuznetsov/], [header('34cdb2a1'), /Kuznetsov/], [header('a12b3c4d'), /Navtel/], [header('1c0001ac'), /Ixia/],
    [header('deadbeef'), /no capture \(it starts with 0xdeadbeef\)/],
    [header('a1b2c3d4', '0002 0003 00000000 00000000 0000ffff 00000001'), /version 2\.3/],
    [header('a1b2c3d4', '0002 0004 00000000 00000000 0000ffff 00000071'), /113 \(LINUX_SLL/],
    [header('a1b2c3d4', '0002 0004 00000000 00000000 0000ffff 000000f0'), /link type 240,/],
    [header('a1b2c3d4', '0002 0004 00000000 00000000 0000ffff 00010001'), /reserved bits/],
  ];
  for (const [file, message] of cases) {
    t.throws(() => readCapture(file), { constructor: PollmodeError, code: 'EFORMAT', message }, String(message));
  }
});

t.test('a refused read is an end of its own', async (t) => {
  const file = joined(hex(bigMicro), hex('00000001 00000000 00000040 00000040'), pattern(64), hex('00000001 00000000 00000040 00000040'), pattern(64));
  const failure = new Error('EIO');
  const window = new CaptureWindow({
    read(into, at, length, position) {
      if (position >= 110) throw failure;
      const part = file.subarray(position, Math.min(position + length, 110));
      into.set(part, at);
      return part.length;
    },
  }, new Uint8Array(256));
  const reader = openCapture(window, 'a.pcap', 100);
  t.same([reader.step(), reader.step(), reader.step()], [1, READ_FAILED, READ_FAILED]);
  t.equal(window.failure, failure);
});

t.test('a reader starts again from the first record', async (t) => {
  const order = new Order(false);
  const files = [
    hex(bigMicro, '00000001 00000000 00000001 00000001 aa'),
    joined(order.section(), order.interface(1, 0), order.enhanced(0, [0, 1_000_000], hex('aa'))),
  ];
  for (const file of files) {
    const window = new CaptureWindow(sourceOf(file), new Uint8Array(64));
    const reader = openCapture(window, 'a.pcap', 32);
    const frames = (): number => {
      let count = 0;
      for (let result = 0; result < READ_END;) {
        result = reader.step();
        if (result === 1) count += window.bytes[reader.frame.at] === 0xaa && reader.frame.time.seconds === 1 ? 1 : 100;
      }
      return count;
    };
    t.equal(frames(), 1);
    t.equal(frames(), 0);
    reader.rewind();
    t.equal(frames(), 1, reader.format);
  }
});
