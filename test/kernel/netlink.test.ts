import fc from 'fast-check';
import t from 'tap';
import { attribute, listAttributes, nest, parseAttributes, textAttribute, u32Attribute } from '../../lib/kernel/attributes.js';
import { fromCString, getU32 } from '../../lib/kernel/bytes.js';
import { NETLINK_ROUTE } from '../../lib/kernel/constants.js';
import { parseFeatures } from '../../lib/kernel/features.js';
import { parseLink } from '../../lib/kernel/link.js';
import { genericFamily, message, netlinkRequest, parseMessages } from '../../lib/kernel/netlink.js';
import { codeThrown, needs } from './rights.js';

const bytes = fc.uint8Array({ maxLength: 300 });

t.test('an attribute is laid out as the kernel says: length, type, payload, padding', async (t) => {
  t.same([...u32Attribute(4, 1500)], [8, 0, 4, 0, 0xdc, 5, 0, 0]);
  t.same([...textAttribute(3, 'lo')], [7, 0, 3, 0, 0x6c, 0x6f, 0, 0]);
  t.same([...nest(18, attribute(1, Uint8Array.of(9)))], [12, 0, 18, 0x80, 5, 0, 1, 0, 9, 0, 0, 0]);
});

t.test('what is built is what is parsed', async (t) => {
  const entry = fc.record({ type: fc.integer({ min: 1, max: 0x3fff }), payload: bytes });
  fc.assert(fc.property(fc.array(entry, { maxLength: 8 }), (entries) => {
    const whole = nest(1, ...entries.map(({ type, payload }) => attribute(type, payload)));
    const found = listAttributes(parseAttributes(whole).get(1)!);
    t.same(found.map(({ type, payload }) => [type, ...payload]), entries.map(({ type, payload }) => [type, ...payload]));
  }), { numRuns: 50 });
});

t.test('any bytes at all parse or are refused as EFORMAT, in time', async (t) => {
  const parsers = [listAttributes, parseMessages, (all: Uint8Array) => parseLink({ type: 16, flags: 0, sequence: 0, payload: all }),
    (all: Uint8Array) => parseFeatures({ type: 20, flags: 0, sequence: 0, payload: all })];
  for (const parse of parsers) {
    let refused = 0;
    fc.assert(fc.property(bytes, (all) => {
      const code = codeThrown(() => parse(all));
      if (code === 'EFORMAT') refused++;
      return code === 'none' || code === 'EFORMAT';
    }), { numRuns: 300 });
    t.ok(refused > 0, 'some were');
  }
});

t.test('lengths that lie are refused', async (t) => {
  t.equal(codeThrown(() => listAttributes(Uint8Array.of(0, 0, 1, 0))), 'EFORMAT', 'a length of 0 would never end');
  t.equal(codeThrown(() => listAttributes(Uint8Array.of(9, 0, 1, 0, 1, 2, 3, 4))), 'EFORMAT', 'past the end');
  t.equal(codeThrown(() => listAttributes(Uint8Array.of(4, 0, 1, 0, 1))), 'EFORMAT', 'a tail');
  t.equal(codeThrown(() => parseMessages(message(1, 0, 0, new Uint8Array(8)).subarray(0, 20))), 'EFORMAT');
  t.equal(codeThrown(() => attribute(1, new Uint8Array(0x10000))), 'EOPTION');
});

t.test('a name is cut at its NUL and nowhere else', async (t) => {
  t.equal(fromCString(Uint8Array.of(0x61, 0, 0x62)), 'a');
  t.equal(fromCString(Uint8Array.of(0x61, 0x62)), 'ab');
});

t.test('the kernel answers: a family that is there, one that is not, and a request that is nonsense', needs(), async (t) => {
  t.ok(genericFamily('nlctrl') === 0x10, 'the family of families has a fixed number');
  t.equal(codeThrown(() => genericFamily('no-such-family')), 'ENOTFOUND');
  t.not(codeThrown(() => netlinkRequest(NETLINK_ROUTE, 0x3ff, 0, new Uint8Array(16), 'nonsense')), 'none');
  t.equal(getU32(message(1, 2, 3, new Uint8Array(4)), 0), 20);
});
