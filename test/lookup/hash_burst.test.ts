import fc from 'fast-check';
import t from 'tap';
import { HASH_AGED, HASH_COUNT, HASH_FULL, HASH_NONE, HASH_STALE } from '../../lib/lookup/hash_layout.js';
import { HIGH_BASE, IMPLEMENTATIONS, expectEqual, get, get64, makeLab, readVector, reserve, reset, writeVector, type Lab } from '../burst/layout_helper.js';
import { keyWords, makeTable, type TableShape } from './hash_helper.js';

const BURST = 40;
interface Command { readonly kind: 'add' | 'delete' | 'lookup' | 'expire'; readonly keys: readonly number[]; readonly now: number; readonly pad: number }

const shapes: fc.Arbitrary<TableShape> = fc.record({
  keyBytes: fc.integer({ min: 2, max: 16 }).map(words => words * 4), capacity: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 31, max: 1000 })), colliding: fc.boolean(),
}).map(shape => ({ ...shape, capacity: Math.min(shape.capacity, shape.colliding ? 60 : shape.keyBytes > 40 ? 400 : 1000) }));
const commandLists: fc.Arbitrary<Command[]> = fc.array(fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'delete', 'lookup', 'lookup', 'expire'),
  keys: fc.oneof(fc.array(fc.nat(60), { minLength: 1, maxLength: BURST }), fc.array(fc.nat(2000), { minLength: 1, maxLength: BURST })),
  now: fc.integer({ min: 0, max: 50 }), pad: fc.constantFrom(0, 4, 20),
}), { minLength: 1, maxLength: 40 });

interface Place { readonly lab: Lab; readonly table: number; readonly keys: number; readonly values: number }

function makePlace(lab: Lab, shape: TableShape): Place {
  reset(lab);
  return { lab, table: makeTable(lab, shape), keys: reserve(lab, BURST * 96), values: reserve(lab, BURST * 4) };
}

/** Does the command and returns what came of it. */
function apply({ lab, table, keys, values }: Place, shape: TableShape, { kind, keys: numbers, now, pad }: Command, serial: number): number[] {
  const stride = shape.keyBytes + pad;
  numbers.forEach((number, i) => writeVector(lab, keys + i * stride, keyWords(number, shape.keyBytes)));
  const count = numbers.length;
  const { hashAdd, hashDelete, hashLookup, hashExpire } = lab.burst;
  if (kind === 'add') {
    writeVector(lab, values, numbers.map((_, i) => serial * 100 + i));
    return [hashAdd(table, keys, stride, values, count, now)];
  }
  if (kind === 'lookup') return [hashLookup(table, keys, stride, values, count, now), ...readVector(lab, values, count)];
  if (kind === 'delete') return [hashDelete(table, keys, stride, values, count), ...readVector(lab, values, count)];
  const taken = hashExpire(table, 1 + numbers[0] % 8, now, 20, values, 1 + numbers[0] % BURST);
  return [taken, ...readVector(lab, values, taken).sort((a, b) => a - b)];
}

/** What a Map would say. Expiry is told what was taken, since its order is the table's own. */
class Model {
  readonly map = new Map<number, { value: number; stamp: number }>();
  full = 0;
  aged = 0;

  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  expect({ kind, keys, now }: Command, serial: number, found: readonly number[]): number[] {
    if (kind === 'add') return [this.#add(keys, now, serial)];
    if (kind === 'expire') return this.#expire(now, found);
    const values = keys.map(key => {
      const entry = this.map.get(key);
      if (kind === 'delete') this.map.delete(key);
      else if (entry !== undefined && now !== 0) entry.stamp = now;
      return entry?.value ?? HASH_NONE;
    });
    return [values.filter(value => value !== HASH_NONE).length, ...values];
  }

  #add(keys: readonly number[], now: number, serial: number): number {
    for (const [i, key] of keys.entries()) {
      if (!this.map.has(key) && this.map.size === this.#capacity) {
        this.full++;
        return i;
      }
      this.map.set(key, { value: serial * 100 + i, stamp: now });
    }
    return keys.length;
  }

  #expire(now: number, [taken, ...values]: readonly number[]): number[] {
    for (const value of values) {
      const [key, entry] = [...this.map].find(([, each]) => each.value === value) ?? [];
      if (key === undefined || (now - entry!.stamp) >>> 0 <= 20) throw new Error(`value ${value} was not old enough to go`);
      this.map.delete(key);
    }
    this.aged += taken;
    return [taken, ...values];
  }
}

const LABS = [...IMPLEMENTATIONS, { build: 'fast', base: HIGH_BASE } as const, { build: 'twin', base: HIGH_BASE } as const].map(makeLab);

for (const lab of LABS) {
  t.test(`hash, ${lab.name}: is a Map of a limited size`, async t => {
    let refused = 0;
    fc.assert(fc.property(shapes, commandLists, (shape, commands) => {
      const place = makePlace(lab, shape);
      const model = new Model(shape.capacity);
      commands.forEach((command, serial) => {
        const found = apply(place, shape, command, serial).map(value => value >>> 0);
        expectEqual(found, model.expect(command, serial, found));
        expectEqual([get(lab, place.table, HASH_COUNT), get64(lab, place.table, HASH_FULL), get64(lab, place.table, HASH_AGED), get64(lab, place.table, HASH_STALE)], [model.map.size, model.full, model.aged, 0]);
      });
      refused += model.full;
    }), { numRuns: 200 });
    t.ok(refused > 10, `full ${refused} times`);
  });

  t.test(`hash, ${lab.name}: what expires is all that is old, once each bucket was looked at`, async t => {
    const shape = { keyBytes: 16, capacity: 100, colliding: false };
    const place = makePlace(lab, shape);
    for (let number = 0; number < 100; number++) apply(place, shape, { kind: 'add', keys: [number], now: number, pad: 0 }, number);
    apply(place, shape, { kind: 'lookup', keys: [1, 2, 3], now: 100, pad: 0 }, 0);
    const gone: number[] = [];
    for (let turn = 0; turn < 40; turn++) {
      const taken = lab.burst.hashExpire(place.table, 3, 100, 50, place.values, 7);
      gone.push(...readVector(lab, place.values, taken));
    }
    t.same(gone.map(value => value / 100).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i).filter(i => ![1, 2, 3].includes(i)));
    t.equal(get(lab, place.table, HASH_COUNT), 53);
  });

  t.test(`hash, ${lab.name}: years of churn leave a table as it was when new`, async t => {
    const shape = { keyBytes: 8, capacity: 40, colliding: false };
    const place = makePlace(lab, shape);
    for (let round = 0; round < 300; round++) {
      const keys = Array.from({ length: 40 }, (_, i) => round * 40 + i);
      t.equal(apply(place, shape, { kind: 'add', keys, now: 0, pad: 0 }, 0)[0], 40);
      t.equal(apply(place, shape, { kind: 'delete', keys, now: 0, pad: 0 }, 0)[0], 40);
    }
    // Versions and old keys aside: every tag and every count of passed buckets is 0 again.
    const first = place.table + 256;
    for (let bucket = 0; bucket < 5; bucket++) t.same(Array.from(lab.zone.subarray(first - lab.base + bucket * 192 + 4, first - lab.base + bucket * 192 + 16)), new Array(12).fill(0));
  });
}

const [FAST, PORTABLE, , TWIN] = LABS;
for (const [left, right] of [[FAST, TWIN], [PORTABLE, TWIN], [LABS[5], LABS[6]]]) {
  t.test(`hash, lockstep: ${left.name} and ${right.name} leave the same bytes`, async t => {
    fc.assert(fc.property(shapes, commandLists, (shape, commands) => {
      const places = [makePlace(left, shape), makePlace(right, shape)];
      commands.forEach((command, serial) => {
        expectEqual(apply(places[0], shape, command, serial), apply(places[1], shape, command, serial));
        if (!left.zone.equals(right.zone)) throw new Error(`the zones differ after ${command.kind}`);
      });
    }), { numRuns: 200 });
    t.pass('the whole zone, after every command');
  });
}
