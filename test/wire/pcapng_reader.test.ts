import t from 'tap';
import { READ_CORRUPT_BLOCK, READ_CORRUPT_FILE, READ_END, READ_NOT_ETHERNET, READ_TOO_LONG, READ_TRUNCATED } from '../../lib/wire/pcap_reader.js';
import { Order, hex, joined, padded, pattern, readCapture } from './pcap_helper.js';

const little = new Order(true);
const big = new Order(false);

t.test('a whole file, byte by byte', async (t) => {
  const file = hex(
    '0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c', // section, big-endian, length unknown
    '00000001 00000020 0001 0000 00000000 0009 0001 09000000 0000 0000 00000020', // interface: Ethernet, if_tsresol 10^-9
    '00000006 00000024 00000000 00000000 3b9aca01 00000003 00000007 aabbcc00 00000024', // enhanced packet, 1.000000001 s, 3 of 7 bytes
    '00000003 00000014 00000002 ddee0000 00000014', // simple packet of 2 bytes
    '00000002 00000024 0000 ffff 00000000 00000005 00000001 00000001 99000000 00000024', // obsolete packet, drops unknown
    '0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000', // a section of the other byte order
    '01000000 14000000 0100 0000 00000000 14000000', // interface: microseconds
    '06000000 24000000 00000000 00000000 40420f00 02000000 02000000 12340000 24000000', // 1 s
  );
  t.same(readCapture(file), {
    format: 'pcapng',
    frames: [
      { bytes: hex('aabbcc'), length: 7, time: [1, 1] }, { bytes: hex('ddee'), length: 2, time: undefined },
      { bytes: hex('99'), length: 1, time: [0, 5] }, { bytes: hex('1234'), length: 2, time: [1, 0] },
    ],
    odd: [], end: READ_END,
  });
});

for (const order of [little, big]) {
  const name = order.littleEndian ? 'little-endian' : 'big-endian';
  const frame = pattern(5);
  const read = (...blocks: Uint8Array[]) => readCapture(joined(order.section(), ...blocks));

  t.test(`${name}: each interface has its own unit and offset`, async (t) => {
    const unit = (resolution: number, ...more: Uint8Array[]) => order.interface(1, 0, order.option(9, Uint8Array.of(resolution)), ...more);
    const offset = (high: number, low: number) => order.option(14, order.littleEndian ? order.u32(low, high) : order.u32(high, low));
    const { frames } = read(
      unit(0), unit(3), unit(12), unit(0x80 | 1), unit(0x80 | 32), unit(6, offset(0, 1000)), unit(6, offset(0xffffffff, 0xffffffff)), order.interface(1, 0),
      ...[[0, 7], [0, 7001], [232, 3567587328], [0, 3], [7, 0x80000000], [0, 2_000_000], [0, 2_000_000], [0, 2_000_000]].map((time, i) => order.enhanced(i, time as [number, number], frame)),
    );
    t.same(frames.map(each => each.time), [[7, 0], [7, 1_000_000], [1, 0], [1, 500_000_000], [7, 500_000_000], [1002, 0], [1, 0], [2, 0]]);
  });

  t.test(`${name}: times that 32 bits of seconds do not hold are none`, async (t) => {
    const { frames } = read(order.interface(1, 0, order.option(9, Uint8Array.of(0))), order.enhanced(0, [1, 0], frame), order.enhanced(0, [0, 0xffffffff], frame));
    t.same(frames.map(each => each.time), [undefined, [0xffffffff, 0]]);
  });

  t.test(`${name}: a simple packet is as long as its interface's snap length lets it be`, async (t) => {
    const { frames, odd } = read(order.interface(1, 4), order.block(3, order.u32(10), pattern(4)), order.block(3, order.u32(3), padded(pattern(3))), order.block(3, order.u32(10)));
    t.same(frames.map(({ bytes, length }) => [bytes, length]), [[pattern(4), 10], [pattern(3), 3]]);
    t.same(odd, [READ_CORRUPT_BLOCK], 'one whose block is shorter than that');
  });

  t.test(`${name}: FCS by if_fcslen and by epb_flags`, async (t) => {
    const flags = (octets: number) => order.option(2, order.u32(octets << 5));
    const { frames } = read(
      order.interface(1, 0, order.option(13, Uint8Array.of(4))), order.interface(1, 0, order.option(13, Uint8Array.of(32))), order.interface(1, 0),
      order.enhanced(0, [0, 0], pattern(9)), order.enhanced(1, [0, 0], pattern(9)), order.enhanced(2, [0, 0], pattern(9)),
      order.enhanced(2, [0, 0], pattern(9), 9, order.option(1, pattern(6)), flags(4)),
      order.enhanced(0, [0, 0], pattern(9), 9, flags(2), order.option(0, hex(''))),
      order.enhanced(2, [0, 0], pattern(9), 9, order.option(0, hex('')), flags(4)),
    );
    t.same(frames.map(each => each.bytes.length), [5, 5, 9, 5, 7, 9]);
  });

  t.test(`${name}: unknown blocks, comments and broken option lists are passed over`, async (t) => {
    const { frames, odd, end } = read(
      order.block(0x80000bad, pattern(5000)), order.block(4), order.block(5, pattern(20)),
      order.interface(1, 0, order.option(2, pattern(3)), order.option(1, pattern(65535)), order.option(9, Uint8Array.of(9))),
      order.interface(1, 0, joined(order.u16(9, 60000), pattern(4))),
      order.interface(1, 0, joined(order.u16(9, 4), Uint8Array.of(9, 9, 9, 9))),
      order.enhanced(0, [0, 5], frame), order.enhanced(1, [0, 5], frame, 5, joined(order.u16(2, 4))), order.enhanced(2, [0, 5], frame, 5, order.u16(1, 0xfff0)),
    );
    t.same(frames.map(each => each.time), [[0, 5], [0, 5000], [0, 5000]], 'if_tsresol behind 64 KiB of comment; one too long and one of wrong length are none');
    t.same([odd, end], [[], READ_END]);
  });

  t.test(`${name}: wrong contents cost the block, wrong ends the rest`, async (t) => {
    const good = order.enhanced(0, [0, 0], frame);
    const claims = (captured: number, from = 0) => order.block(6, order.u32(from, 0, 0, captured, captured), padded(frame));
    const { frames, odd, end } = read(order.interface(1, 0), order.interface(105, 0),
      claims(9), claims(0xffffffff), claims(5, 2), claims(5, 0xffffffff), order.block(6, order.u32(0, 0, 0)), order.block(2, order.u32(0)), order.block(3),
      claims(5, 1), good);
    t.same(odd, [...new Array<number>(7).fill(READ_CORRUPT_BLOCK), READ_NOT_ETHERNET]);
    t.same([frames.length, end], [1, READ_END]);

    const wrongTrailer = Uint8Array.from(good);
    wrongTrailer[wrongTrailer.length - 4 + (order.littleEndian ? 0 : 3)]! += 4;
    for (const bad of [wrongTrailer, order.u32(6, 8, 8), order.u32(6, 0, 0), order.u32(0, 0)]) {
      t.match(read(order.interface(1, 0), good, bad, good), { frames: { length: 1 }, odd: [], end: READ_CORRUPT_FILE });
    }
    t.match(read(order.interface(1, 0), good, order.u32(0x77, 0xfffffff0)), { frames: { length: 1 }, odd: [], end: READ_TRUNCATED });
  });

  t.test(`${name}: a block without its padding in its length, as some writers made them`, async (t) => {
    const block = joined(order.u32(6, 37, 0, 0, 5, 5, 5), padded(frame), order.u32(37));
    t.match(read(order.interface(1, 0), block, block), { frames: [{ bytes: frame }, { bytes: frame }], odd: [], end: READ_END });
  });

  t.test(`${name}: a section of another version is passed over, its frames are told of`, async (t) => {
    const other = order.block(0x0a0d0d0a, order.u32(0x1a2b3c4d), order.u16(2, 0), order.u32(0xffffffff, 0xffffffff));
    const good = joined(order.interface(1, 0), order.enhanced(0, [0, 0], frame));
    t.match(read(good, other, good, order.section(), good), { frames: { length: 2 }, odd: [READ_CORRUPT_BLOCK], end: READ_END });
    t.throws(() => readCapture(joined(other, good)), { code: 'EFORMAT', message: /not 1\.0/ });
    const minorTwo = order.block(0x0a0d0d0a, order.u32(0x1a2b3c4d), order.u16(1, 2), order.u32(0xffffffff, 0xffffffff));
    t.match(readCapture(joined(minorTwo, good)), { frames: { length: 1 } }, 'minor version 2 is 0');
  });

  t.test(`${name}: frames and blocks that are too long`, async (t) => {
    const file = joined(order.section(), order.interface(1, 0), order.enhanced(0, [0, 0], pattern(101)), order.enhanced(0, [0, 0], pattern(100)),
      order.enhanced(0, [0, 0], frame, 5, order.option(1, pattern(3000))), order.enhanced(0, [0, 0], frame));
    t.match(readCapture(file, { window: 256, maxLength: 100 }), { frames: { length: 2 }, odd: [READ_TOO_LONG, READ_TOO_LONG], end: READ_END });
  });
}

t.test('a file without Ethernet is refused by name; one with some is read', async (t) => {
  const frame = pattern(5);
  const wifi = joined(little.section(), little.interface(127, 0), little.enhanced(0, [0, 0], frame));
  t.throws(() => readCapture(wifi), { code: 'EFORMAT', message: /127 \(IEEE802_11_RADIOTAP\)/ });
  t.throws(() => readCapture(joined(little.section(), little.interface(127, 0))), { code: 'EFORMAT' }, 'without frames too');
  const mixed = joined(little.section(), little.interface(127, 0), little.interface(1, 0), little.enhanced(0, [0, 0], frame), little.enhanced(1, [0, 0], frame));
  t.match(readCapture(mixed), { frames: { length: 1 }, odd: [READ_NOT_ETHERNET], end: READ_END });
  t.match(readCapture(little.section()), { frames: { length: 0 }, end: READ_END }, 'a file of nothing');
});

t.test('a section header that is none', async (t) => {
  for (const bad of ['0a0d0d0a', '0a0d0d0a 1c000000 4d3c2b1b 0100 0000 ffffffffffffffff 1c000000', '0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1d000000', '0a0d0d0a 14000000 4d3c2b1a 0100 0000 14000000']) {
    t.throws(() => readCapture(hex(bad)), { code: 'EFORMAT', message: /section header/ });
  }
});
