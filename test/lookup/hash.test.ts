import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { HASH_NONE } from '../../lib/lookup/hash_layout.js';
import { HashTable } from '../../lib/lookup/hash.js';
import { Vector } from '../../lib/lookup/vector.js';
import { codeThrown } from '../kernel/rights.js';

function key(number: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

t.test('one by one, and in bulk', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const table = HashTable.create(arena, 'flows', { entries: 1000, keyBytes: 16 });
  for (let number = 0; number < 1000; number++) table.set(key(number), number, 5);
  t.equal(codeThrown(() => table.set(key(1000), 1)), 'ETABLEFULL');
  table.set(key(7), 70);
  t.equal(table.get(key(7)), 70, 'one that is there gets a new value in a full table too');
  t.ok(table.delete(key(8)));
  t.notOk(table.delete(key(8)));
  t.equal(table.get(key(8)), undefined);
  const [keys, values] = [table.keys(3), new Vector(arena, 3)];
  [1, 8, 2].forEach((number, i) => keys.u8.set(key(number), i * 16));
  t.equal(table.lookupBulk(keys, values, 3), 2);
  t.same(Array.from(values.u32), [1, HASH_NONE, 2]);
  t.equal(table.lookupBulk(keys, values, 4), 0, 'more than the vectors hold');
  t.equal(table.lookupBulk(values, values, 1), 0, 'entries shorter than a key');
  const found = [...HashTable.find(arena, 'flows').entries()];
  t.equal(found.length, 999);
  t.same(found.find(({ value }) => value === 9), { key: key(9), value: 9, stamp: 5 });
  t.match(table.toJSON(), { kind: 'hash', name: 'flows', entries: 999, capacity: 1000, bytes: HashTable.memory({ entries: 1000, keyBytes: 16 }), full: 1 });
  t.equal(JSON.parse(JSON.stringify(table)).bytesPerEntry, (256 + 125 * 256) / 1000);
  table.close();
  t.equal(codeThrown(() => HashTable.find(arena, 'flows')), 'ENOTFOUND');
});

t.test('tens of thousands of keys: every build finds each, and no other', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  for (const [keyBytes, entries] of [[16, 60000], [40, 60000]] as const) {
    const words = keyBytes / 4;
    const table = HashTable.create(arena, 'large', { entries, keyBytes });
    const [keys, values] = [table.keys(40), new Vector(arena, 40)];
    for (let from = 0; from < 60000; from += 40) {
      for (let i = 0; i < 40; i++) {
        keys.u32.set([from + i, 1, 2, 3], i * words);
        values.u32[i] = from + i;
      }
      if (table.addBulk(keys, values, 40) !== 40) t.fail('full');
    }
    const found = (['fast', 'portable', 'checking', 'twin'] as const).map(build => {
      let [hits, wrong] = [0, 0];
      const { hashLookup } = instantiate(arena.memory, build);
      for (let from = 0; from < 80000; from += 40) {
        for (let i = 0; i < 40; i++) keys.u32.set([from + i, 1, 2, 3], i * words);
        hits += hashLookup(table.offset, keys.offset, keyBytes, values.offset, 40, 0);
        for (let i = 0; i < 40; i++) if (values.u32[i] !== (from + i < 60000 ? from + i : HASH_NONE)) wrong++;
      }
      return [hits, wrong];
    });
    t.same(found, new Array(4).fill([60000, 0]));
    table.close();
  }
});

t.test('ageing', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const table = HashTable.create(arena, 'flows', { entries: 100, keyBytes: 16 });
  for (let number = 0; number < 100; number++) table.set(key(number), number, 0xfffffff0); // the clock is about to wrap
  t.equal(table.get(key(1)), 1);
  const [keys, values] = [table.keys(1), new Vector(arena, 64)];
  keys.u8.set(key(5));
  table.lookupBulk(keys, values, 1, 20);
  t.equal(table.expire(20, 50, values, 1000), 0, 'not old enough');
  let gone = 0;
  for (let turn = 0; turn < 10; turn++) gone += table.expire(30, 40, values, 13);
  t.equal(gone, 99);
  t.equal(table.get(key(5)), 5, 'the one that was seen');
  t.same(table.stats(), { full: 0, aged: 99, stale: 0 });
});

t.test('bad options', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const zones = arena.zones().length;
  for (const options of [{ entries: 0 }, { entries: 1.5 }, { entries: (1 << 24) + 1 }, { entries: NaN }, { keyBytes: 4 }, { keyBytes: 13 }, { keyBytes: 68 }, { multipliers: new BigUint64Array(3) }]) {
    t.equal(codeThrown(() => HashTable.create(arena, 'bad', { entries: 10, keyBytes: 16, ...options })), 'EOPTION', String(Object.entries(options)));
  }
  t.equal(codeThrown(() => HashTable.create(arena, 'bad', { entries: 1 << 24, keyBytes: 64 })), 'EARENAFULL');
  t.equal(arena.zones().length, zones);
  const table = HashTable.create(arena, 'table', { entries: 10, keyBytes: 16 });
  t.equal(codeThrown(() => table.set(new Uint8Array(15), 1)), 'EOPTION');
  for (const value of [-1, HASH_NONE, 1.5]) t.equal(codeThrown(() => table.set(key(1), value)), 'EOPTION');
  for (const bad of [0, 513, 1.5]) t.equal(codeThrown(() => new Vector(arena, bad)), 'EOPTION');
  for (const bad of [0, 3, 68]) t.equal(codeThrown(() => new Vector(arena, 1, bad)), 'EOPTION');
  t.equal(codeThrown(() => HashTable.find(arena, 'nothing')), 'ENOTFOUND');
});
