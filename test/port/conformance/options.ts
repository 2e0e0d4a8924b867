import { deepEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import type { Test } from 'tap';
import { checkOptions, readOptions } from '../../../lib/port/device.js';
import { open } from '../../../lib/port/host.js';
import type { OptionSpec, PortDriver } from '../../../lib/port/port.js';
import { codeThrown, refusal } from '../../kernel/rights.js';
import { formatDevice, optionKey } from '../device_helper.js';
import { driverOf } from './opening.js';
import { RUNS, type Place, type Subject } from './subject.js';

type Options = Record<string, string | number | boolean>;

export function optionValues(t: Test, subject: Subject, place: Place): void {
  const driver = driverOf(subject);
  t.test('options as text and as an object are the same, and plan takes or refuses all of them', t => {
    fc.assert(fc.property(options(driver), given => {
      const device = formatDevice(driver.name, given);
      deepEqual(readOptions(driver, device), given);
      deepEqual(checkOptions(driver, given), given);
      ok(['none', 'EOPTION'].includes(codeThrown(() => driver.plan(given))));
    }), { numRuns: RUNS * 20 });
    t.end();
  });
  t.test('values that an option cannot have are refused, typed, before anything is opened', t => {
    for (const [name, spec] of specs(driver)) {
      for (const value of badText(spec)) t.match(refusal(() => place.within(() => open([deviceWith(driver, name, value)])).close()), /^EDEVICE /, printable(`${name}=${value}`));
      for (const value of badValues(spec)) t.match(refusal(() => place.within(() => open([{ driver: driver.name, ...required(driver), [name]: value }])).close()), /^EOPTION /, printable(`${name}: ${String(value)}`));
    }
    for (const name of ['nonesuch', 'constructor', '__proto__', 'toString']) {
      t.match(refusal(() => open([{ driver: driver.name, ...required(driver), ...JSON.parse(`{"${name}":1}`) as object }])), /^EOPTION /);
    }
    t.end();
  });
}

/** A test's name that keeps to TAP's line. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 60)).replace(/[^ -~]/g, '?');
}

function specs(driver: PortDriver): [string, OptionSpec][] {
  return Object.entries(driver.options as Record<string, OptionSpec>);
}

function options(driver: PortDriver): fc.Arbitrary<Options> {
  const all = specs(driver);
  const requiredKeys = all.filter(([, spec]) => spec.required === true).map(([name]) => name);
  return fc.record(Object.fromEntries(all.map(([name, spec]) => [name, value(spec)])), { requiredKeys, noNullPrototype: true });
}

const readable = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter(text => !/[\0-\x1f\x7f]/.test(text));

function value(spec: OptionSpec): fc.Arbitrary<string | number | boolean> {
  switch (spec.type) {
    case 'text': return fc.oneof(readable, fc.constantFrom('a=b', 'a,b', '\\', 'a\\,b', 'true', '0'));
    case 'flag': return fc.boolean();
    case 'choice': return fc.constantFrom(...spec.choices!);
    case 'count':
    case 'size': {
      const { min = 0, max = 2 ** 32 } = spec;
      return fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max), fc.integer({ min: 0, max: 16 }).map(power => Math.min(max, Math.max(min, 2 ** power))));
    }
  }
}

/** What must be there, for a request whose fault is another option. */
function required(driver: PortDriver): Options {
  return Object.fromEntries(specs(driver).filter(([, spec]) => spec.required === true).map(([name]) => [name, 'x']));
}

function deviceWith(driver: PortDriver, name: string, text: string): string {
  const device = typeof required(driver)['device'] === 'string' && name !== 'device' ? 'x' : '';
  return name === 'device' ? `${driver.name}:${text}` : `${driver.name}:${device},${optionKey(name)}=${text}`.replace(':,', ':');
}

function badText(spec: OptionSpec): string[] {
  switch (spec.type) {
    case 'text': return spec.required === true ? ['', 'a\0b', 'a\nb'] : ['a\0b', 'a\nb'];
    case 'choice': return ['', 'nonesuch', spec.choices![0]!.toUpperCase(), `${spec.choices![0]!} `, 'constructor'];
    case 'flag': return ['', '2', 'TRUE', 'yes ', 'null'];
    case 'count':
    case 'size': return ['', '-1', '1.5', '1e3', '0x10', ' 64', '64 ', 'NaN', 'Infinity', '9'.repeat(30), '٣', String((spec.max ?? 2 ** 32) + 1)];
  }
}

function badValues(spec: OptionSpec): unknown[] {
  const never = [null, {}, [], Symbol('s'), () => 1, 64n];
  switch (spec.type) {
    case 'text': return [...never, '', 5, true, 'a\0b', 'a\nb', 'x'.repeat(5000)];
    case 'choice': return [...never, '', 'nonesuch', 0];
    case 'flag': return [...never, 1, 'true', NaN];
    case 'count':
    case 'size': return [...never, NaN, Infinity, -Infinity, -1, 1.5, '64', 2 ** 53, 1e300, (spec.max ?? 2 ** 32) + 1, true];
  }
}
