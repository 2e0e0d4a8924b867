import fc from 'fast-check';
import { readFileSync, readdirSync } from 'node:fs';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { READ_END, READ_TRUNCATED } from '../../lib/wire/pcap_reader.js';
import { Order, joined, pattern, readCapture, writeCapture, type Seen } from './pcap_helper.js';

const LONG = process.env['POLLMODE_LONG'] === '1' ? 20 : 1;
const captures = new URL('../../../test/captures/', import.meta.url);

const frames: fc.Arbitrary<Seen[]> = fc.array(fc.record({
  bytes: fc.uint8Array({ maxLength: 300 }),
  length: fc.nat(3000),
  time: fc.tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.nat(999_999_999)),
}).map(({ bytes, length, time }) => ({ bytes, length: bytes.length + (length % 7 === 0 ? length : 0), time })), { maxLength: 20 });

for (const format of ['pcap', 'pcapng'] as const) {
  for (const nanoseconds of [true, false]) {
    for (const littleEndian of [true, false]) {
      const name = `${format}, ${nanoseconds ? 'nanoseconds' : 'microseconds'}${littleEndian ? '' : ', big-endian'}`;
      t.test(`${name}: what is written is read, through windows and reads of any size`, async (t) => {
        fc.assert(fc.property(frames, fc.integer({ min: 400, max: 5000 }), fc.integer({ min: 1, max: 5000 }), (written, window, chunk) => {
          const read = readCapture(writeCapture(format, written, { nanoseconds, littleEndian }), { window, chunk, maxLength: 300 });
          const expected = nanoseconds ? written : written.map(each => ({ ...each, time: [each.time![0], each.time![1] - each.time![1] % 1000] }));
          t.same(read.frames, expected);
          return read.end === READ_END && read.odd.length === 0;
        }), { numRuns: 100 * LONG });
        t.ok(readCapture(writeCapture(format, [], { nanoseconds, littleEndian })).format.startsWith(format));
      });
    }
  }
}

/** A file with all that a pcapng can have, its frames of any size. */
function everything(): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const order of [new Order(true), new Order(false)]) {
    parts.push(order.section(order.option(4, pattern(9)), order.option(0, new Uint8Array(0))),
      order.interface(1, 60, order.option(9, Uint8Array.of(9)), order.option(14, order.u32(0, 0)), order.option(13, Uint8Array.of(4)), order.option(0, new Uint8Array(0))),
      order.block(4, pattern(8)), order.interface(113, 0), order.enhanced(0, [5, 6], pattern(61), 70, order.option(2, order.u32(0x81))), order.enhanced(1, [5, 6], pattern(10)),
      order.block(3, order.u32(20), pattern(20)), order.block(2, order.u16(0, 1), order.u32(1, 2, 7, 9), pattern(8)), order.block(0xbad, pattern(60)), order.block(5, order.u32(0, 0, 0)));
  }
  return joined(...parts);
}

const files: [string, Uint8Array][] = [
  ['everything.pcapng', everything()],
  ...readdirSync(captures).filter(name => /\.pcap(ng)?$/.test(name)).map((name): [string, Uint8Array] => [name, Uint8Array.from(readFileSync(new URL(name, captures)))]),
];

t.test('every prefix of a file gives the first of its frames, or is no capture', async (t) => {
  for (const [name, file] of files) {
    const whole = readCapture(file);
    t.equal(whole.end, READ_END, `${name}: ${whole.frames.length} frames`);
    let shorter = whole.frames.length;
    for (let length = file.length - 1; length >= 0; length -= file.length > 2000 ? 13 : 1) {
      const part = tryRead(file.subarray(0, length));
      if (part === undefined) continue;
      if (part.end !== READ_END && part.end !== READ_TRUNCATED) t.fail(`${name}, ${length} bytes: end ${part.end}`);
      if (part.frames.length > shorter) t.fail(`${name}, ${length} bytes: more frames than with more bytes`);
      shorter = part.frames.length;
      for (let i = 0; i < part.frames.length; i++) {
        if (Buffer.compare(part.frames[i]!.bytes, whole.frames[i]!.bytes) !== 0) t.fail(`${name}, ${length} bytes: frame ${i}`);
      }
    }
    t.equal(shorter, 0, `${name}: with few bytes there is none`);
  }
});

t.test('no bytes make a reader fail but by a PollmodeError at open, or go on for ever', async (t) => {
  let read = 0;
  let refused = 0;
  const changes = fc.array(fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff))), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(fc.nat(files.length - 1), changes, fc.integer({ min: 64, max: 3000 }), (which, bytes, window) => {
    const file = Uint8Array.from(files[which]![1]);
    for (const [at, value] of bytes) file[at % file.length] = value;
    if (tryRead(file, window) === undefined) refused++;
    else read++;
  }), { numRuns: 5000 * LONG });
  t.ok(read > 100 && refused > 100, `${read} read, ${refused} refused`);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 500 }), fc.constantFrom(...files.map(([, file]) => file.subarray(0, 48))), (noise, start) => { tryRead(joined(start, noise)); }), { numRuns: 2000 * LONG });
});

/** The capture, or undefined where it was refused as it should be. Any other error goes on. */
function tryRead(file: Uint8Array, window = 4096): ReturnType<typeof readCapture> | undefined {
  try {
    return readCapture(file, { window });
  } catch (error) {
    if (error instanceof PollmodeError && error.code === 'EFORMAT') return undefined;
    throw error;
  }
}
