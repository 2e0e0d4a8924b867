import { deepEqual, match, ok } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { PollmodeError } from '../../lib/errors.js';
import { checkOptions, parseDevice, readOptions } from '../../lib/port/device.js';
import type { OptionTable, PortDriver } from '../../lib/port/port.js';
import { formatDevice } from './device_helper.js';

interface Options {
  readonly device?: string;
  readonly path?: string;
  readonly zeroCopy?: 'auto' | 'must';
  readonly needWakeup?: boolean;
  readonly rxRing?: number;
  readonly maxFrame?: number;
}

const table: OptionTable<Options> = {
  device: { type: 'text', help: 'a device' },
  path: { type: 'text', help: 'a path' },
  zeroCopy: { type: 'choice', help: 'a choice', choices: ['auto', 'must'] },
  needWakeup: { type: 'flag', help: 'a flag' },
  rxRing: { type: 'count', help: 'a count', min: 64, max: 32768 },
  maxFrame: { type: 'size', help: 'a size' },
};
const driver = driverWith(table);

function driverWith<Of extends object>(options: OptionTable<Of>): PortDriver<Of> {
  const never = (): never => { throw new Error('not asked for'); };
  return { name: 'toy', summary: '', options, probe: never, plan: never, open: never };
}

function refusal(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (!(error instanceof PollmodeError)) throw error;
    return `${error.code} ${error.message}`;
  }
}

const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }).filter(each => !/[\0-\x1f\x7f]/.test(each));
const tricky = fc.array(fc.constantFrom('\\', ',', '=', 'a', 'b', ':', ' ', '\\,', '\\\\', 'é', '💡'), { minLength: 1, maxLength: 12 }).map(parts => parts.join(''));

t.test('what is written by the rule is read back', t => {
  const values = fc.oneof(text, tricky);
  fc.assert(fc.property(fc.oneof(values, fc.constant('')), fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/), values, { noNullPrototype: true }), (device, options) => {
    const { device: _, ...rest } = options; // a driver never has two of them
    const parsed = parseDevice(formatDevice('toy', { device, ...rest }));
    deepEqual([parsed.driver, parsed.device, Object.fromEntries(parsed.options)], ['toy', device, rest]);
  }), { numRuns: 2000 });
  t.end();
});

t.test('typed options are read back, and are the same from an object', t => {
  const options: fc.Arbitrary<Options> = fc.record({
    device: fc.oneof(text, tricky), path: fc.oneof(text, tricky), zeroCopy: fc.constantFrom('auto', 'must'), needWakeup: fc.boolean(),
    rxRing: fc.integer({ min: 64, max: 32768 }), maxFrame: fc.integer({ min: 0, max: 2 ** 32 }),
  }, { requiredKeys: [], noNullPrototype: true });
  fc.assert(fc.property(options, given => {
    deepEqual(readOptions(driver, formatDevice('toy', { ...given } as Record<string, string>)), given);
    deepEqual(checkOptions(driver, { ...given }), given);
  }), { numRuns: 2000 });
  t.end();
});

t.test('any text at all is read or refused as EDEVICE, in a sentence that prints', t => {
  const pieces = fc.array(fc.constantFrom('toy:', 'a', ',', '=', '\\', 'path=', 'rx_ring=', '64', 'need_wakeup', '\0', '\n', 'é', '\u2028', ''), { maxLength: 12 });
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), pieces.map(parts => parts.join('')), pieces.map(parts => `toy:${parts.join('')}`)), hostile => {
    for (const read of [() => parseDevice(hostile), () => readOptions(driver, hostile)]) {
      const refused = refusal(read);
      if (refused === 'none') continue;
      match(refused, /^EDEVICE [\x20-\x7e—]+\.$/u);
      ok(refused.length < 600);
    }
  }), { numRuns: 5000 });
  t.end();
});

t.test('examples', t => {
  const read = (device: string): unknown => readOptions(driver, device);
  t.same(read('toy:'), {});
  t.same(read('toy:eth0'), { device: 'eth0' });
  t.same(read('toy:0000:01:00.0'), { device: '0000:01:00.0' }, 'colons are plain');
  t.same(read('toy:,path=out.pcap'), { path: 'out.pcap' });
  t.same(read('toy:path=out.pcap'), { path: 'out.pcap' }, 'the device may be left out whole');
  t.same(read('toy:a,need_wakeup'), { device: 'a', needWakeup: true }, 'a flag alone is on');
  t.same(read('toy:a,need_wakeup=off,zero_copy=must,rx_ring=0064'), { device: 'a', needWakeup: false, zeroCopy: 'must', rxRing: 64 });
  t.same(read('toy:a\\,b\\\\c,path=x=y'), { device: 'a,b\\c', path: 'x=y' }, 'only the first = counts');
  t.same(read('toy:a\\=b.pcap'), { device: 'a=b.pcap' });
  t.same(read('toy:A=b.pcap'), { device: 'A=b.pcap' }, 'no option starts with a capital');
  t.same(read('toy:a\\'), { device: 'a\\' }, 'a backslash at the end is itself');
  t.end();
});

t.test('refusals say where the fault is, and what to write', t => {
  for (const [device, why] of [
    ['', /must start with a driver's name and a colon/], ['eth0', /driver:device/], [':eth0', /must start/], ['Toy:a', /must start/], ['1toy:', /must start/],
    [' toy:a', /must start/], ['toy:a\0', /control character/], ['toy:a,path=x\n', /control character/], ['toy:a,', /"" is no key=value/],
    ['toy:a,,path=x', /"" is no key=value/], ['toy:a,=x', /"=x" is no key=value/], ['toy:a,Path=x', /"Path=x" is no key=value/],
    ['toy:a,path=x,path=y', /"path" is there twice/], ['toy:a,device=b', /no option "device"/], ['toy:a,nonesuch=1', /no option "nonesuch". It has: path, zero_copy, need_wakeup, rx_ring, max_frame/],
    ['toy:a,rxRing=64', /"rxRing=64" is no key=value/], ['toy:a,constructor=1', /no option "constructor"/], ['toy:a,to_string', /no option "to_string"/],
    ['toy:a,rx_ring=63', /rx_ring=63 — give a whole number from 64 to 32768/], ['toy:a,rx_ring', /rx_ring=true — give a whole number/],
    ['toy:a,zero_copy=no', /give one of auto, must/], ['toy:a,need_wakeup=maybe', /give 1 or 0/], ['toy:a,path=', /give a text/],
    [`toy:${'a'.repeat(5000)}`, /at most 4096 characters/], [`toy:${','.repeat(4000)}`, /is no key=value/],
  ] as const) t.match(refusal(() => readOptions(driver, device)), new RegExp(`^EDEVICE .*${why.source}`));
  for (const nothing of [undefined, null, 5, {}, [], Symbol('toy:')]) t.match(refusal(() => parseDevice(nothing as string)), /^EDEVICE .*must be a string/);
  t.end();
});

t.test('an option that must be there, and a device that nobody takes', t => {
  const strict = driverWith<{ device: string; path: string }>({ device: { type: 'text', help: 'an interface', required: true }, path: { type: 'text', help: 'a path', required: true } });
  t.match(refusal(() => readOptions(strict, 'toy:')), /^EDEVICE .*needs something after the colon: an interface/);
  t.match(refusal(() => readOptions(strict, 'toy:a')), /^EDEVICE .*needs path=: a path/);
  t.match(refusal(() => checkOptions(strict, { device: 'a' })), /^EOPTION .*"path"/);
  t.match(refusal(() => checkOptions(strict, { device: 'a', path: undefined })), /^EOPTION .*"path"/, 'undefined is not there');
  const bare = driverWith<{ size?: number }>({ size: { type: 'size', help: 'a size' } });
  t.match(refusal(() => readOptions(bare, 'toy:a')), /^EDEVICE .*takes no device/);
  t.match(refusal(() => checkOptions(bare, { device: 'a' })), /^EOPTION .*no option "device"/);
  t.same(readOptions(bare, 'toy:size=5'), { size: 5 });
  t.end();
});
