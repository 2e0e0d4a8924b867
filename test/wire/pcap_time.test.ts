import fc from 'fast-check';
import t from 'tap';
import { CaptureTime, Wide, timeScale } from '../../lib/wire/pcap_time.js';

const u32 = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff));

t.test('64-bit divisions are exact', async (t) => {
  const by = fc.oneof(fc.integer({ min: 1, max: 2 ** 32 }), fc.nat(40).map(n => 2 ** Math.min(n, 32)), fc.nat(9).map(n => 10 ** n));
  fc.assert(fc.property(u32, u32, by, (high, low, divisor) => {
    const wide = new Wide();
    [wide.high, wide.low] = [high, low];
    const rest = wide.divide(divisor);
    const value = (BigInt(high) << 32n) | BigInt(low);
    return BigInt(rest) === value % BigInt(divisor) && ((BigInt(wide.high) << 32n) | BigInt(wide.low)) === value / BigInt(divisor) && wide.low < 2 ** 32;
  }), { numRuns: 20_000 });
  t.pass('as BigInt has them');
});

t.test('seconds and nanoseconds of every unit, as BigInt has them', async (t) => {
  let inside = 0;
  const offsets = fc.oneof(fc.constant(0), fc.integer({ min: -(2 ** 33), max: 2 ** 33 }), fc.constantFrom(-(2 ** 63), 2 ** 62));
  fc.assert(fc.property(u32, u32, fc.integer({ min: 0, max: 255 }), offsets, (high, low, resolution, offset) => {
    const time = new CaptureTime();
    time.setWide(high, low, timeScale(resolution, offset));
    const value = (BigInt(high) << 32n) | BigInt(low);
    const unit = BigInt(resolution & 0x80 ? 2 : 10) ** BigInt(resolution & 0x7f);
    const seconds = value / unit + BigInt(offset);
    const known = seconds >= 0n && seconds < 1n << 32n && value / unit < 1n << 53n;
    // Of a unit finer than 2^-32 s, what is finer than that is cut off first.
    const bits = BigInt(Math.max(0, (resolution & 0x7f) - 32));
    const cut = resolution & 0x80 ? (value % unit) >> bits << bits : value % unit;
    if (known) inside++;
    if (time.known !== known || time.outside === known) return false;
    return !known || (BigInt(time.seconds) === seconds && BigInt(time.nanoseconds) === cut * 1_000_000_000n / unit);
  }), { numRuns: 20_000 });
  t.ok(inside > 1000, `${inside} of them fit`);
});

t.test('a time is written as it was', async (t) => {
  fc.assert(fc.property(u32, fc.integer({ min: 0, max: 999_999_999 }), fc.constantFrom(1_000_000, 1_000_000_000), (seconds, nanoseconds, unit) => {
    const fraction = Math.floor(nanoseconds / (1e9 / unit));
    const wide = new Wide();
    wide.join(seconds, unit, fraction);
    return ((BigInt(wide.high) << 32n) | BigInt(wide.low)) === BigInt(seconds) * BigInt(unit) + BigInt(fraction) && wide.low >= 0 && wide.low < 2 ** 32;
  }), { numRuns: 20_000 });
  t.pass('as BigInt has it');
});
