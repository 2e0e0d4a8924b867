/** What can be checked of VFIO without a device: addresses, the kernel's structures, and where IOVAs are. The rest is in test/vm/guest. */
import fc from 'fast-check';
import t from 'tap';
import { setU16, setU32, setU64 } from '../../lib/kernel/bytes.js';
import { parseAddress } from '../../lib/kernel/pci.js';
import { chooseIovaBase, VfioDevice } from '../../lib/kernel/vfio.js';
import { iovaRanges, irqSet, sized, VFIO_IOMMU_MAP_DMA, type IovaRange } from '../../lib/kernel/vfio_uapi.js';
import { PollmodeError } from '../../lib/errors.js';
import { codeThrown } from './rights.js';

t.test('PCI addresses', t => {
  for (const [text, whole] of [['01:00.0', '0000:01:00.0'], ['0000:0A:1f.7', '0000:0a:1f.7'], ['00ff:ff:00.1', '00ff:ff:00.1']] as const) t.equal(parseAddress(text), whole);
  for (const text of ['', 'eth0', '1:0.0', '01:20.0', '01:00.8', '01:00', '0000:01:00.0 ', '../../01:00.0', '0000:01:00.0\n', '01:00.0/x']) t.equal(codeThrown(() => parseAddress(text)), 'EDEVICE', JSON.stringify(text));
  t.equal(codeThrown(() => new VfioDevice('ffff:ff:1f.7')), 'ENOTFOUND');
  t.end();
});

/** A vfio_iommu_type1_info with a capability that is something else, then the ranges. */
function info(ranges: readonly (readonly [bigint, bigint])[]): Uint8Array {
  const bytes = sized(48 + 16 * ranges.length);
  setU32(bytes, 4, 2); // VFIO_IOMMU_INFO_CAPS
  setU32(bytes, 16, 24);
  setU16(bytes, 24, 3);
  setU32(bytes, 28, 32);
  setU16(bytes, 32, 1);
  setU32(bytes, 40, ranges.length);
  ranges.forEach(([start, end], i) => {
    setU64(bytes, 48 + 16 * i, start);
    setU64(bytes, 56 + 16 * i, end);
  });
  return bytes;
}

t.test('the IOVA ranges of a capability chain', t => {
  t.same(iovaRanges(info([[0n, 0xfedfffffn], [0xfef00000n, (1n << 64n) - 1n]])), [{ start: 0, end: 0xfedfffff }, { start: 0xfef00000, end: Number.MAX_SAFE_INTEGER }]);
  t.equal(iovaRanges(sized(24)), undefined);
  const circle = info([]);
  setU16(circle, 32, 9);
  setU32(circle, 36, 24);
  t.equal(iovaRanges(circle), undefined, 'a chain that runs in a circle ends');
  t.end();
});

t.test('a garbled chain gives ranges, none, or EFORMAT', t => {
  let [refused, read] = [0, 0];
  const word = fc.oneof(fc.constantFrom(0, 1, 2, 24, 32, 44, 0xffff, 0x7fffffff, 0xffffffff), fc.nat({ max: 0xffffffff }));
  fc.assert(fc.property(fc.array(fc.record({ at: fc.nat({ max: 12 }), word }), { maxLength: 4 }), pokes => {
    const bytes = info([[0n, 5n], [7n, 9n]]);
    for (const { at, word } of pokes) setU32(bytes, 4 + 4 * at, word);
    try {
      if (iovaRanges(bytes) !== undefined) read++;
    } catch (error) {
      if (!(error instanceof PollmodeError) || error.code !== 'EFORMAT') throw error;
      refused++;
    }
  }), { numRuns: 2000 });
  t.ok(refused > 100 && read > 100, `${refused} refused, ${read} read`);
  t.end();
});

t.test('the whole arena is inside one range, at a multiple of 2^32', t => {
  const GiB = 2 ** 30;
  const x86: IovaRange[] = [{ start: 0, end: 0xfedfffff }, { start: 0xfef00000, end: 2 ** 39 - 1 }];
  t.equal(chooseIovaBase(x86, 4 * GiB - 65536), 2 ** 32);
  t.equal(chooseIovaBase([{ start: 0, end: 2 ** 32 - 1 }], GiB), 0, 'an IOMMU of 32 bits');
  t.equal(chooseIovaBase([{ start: 5 * GiB, end: 2 ** 40 }], GiB), 2 ** 33);
  t.equal(codeThrown(() => chooseIovaBase([], GiB)), 'EUNSUPPORTED');
  t.equal(codeThrown(() => chooseIovaBase([{ start: 0, end: GiB - 2 }], GiB)), 'EUNSUPPORTED', 'one byte too few');
  t.end();
});

t.test('numbers and structures of linux/vfio.h', t => {
  t.equal(VFIO_IOMMU_MAP_DMA, 0x3b71, '_IO(\';\', 113)');
  t.same([...irqSet(2, [7, -1])], [28, 0, 0, 0, 0x24, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 255, 255, 255, 255]);
  t.same([...irqSet(4, [])].slice(0, 12), [20, 0, 0, 0, 0x21, 0, 0, 0, 4, 0, 0, 0]);
  t.end();
});
