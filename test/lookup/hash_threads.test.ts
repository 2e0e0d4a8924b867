import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { HashTable } from '../../lib/lookup/hash.js';
import { Vector } from '../../lib/lookup/vector.js';
import { codeThrown } from '../kernel/rights.js';
import { keyWords } from './hash_helper.js';
import type { Report, Task } from './hash_worker.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const MILLISECONDS = LONG ? 60_000 : 1_500;
/** So many changes, and lookups that found something: on a busy machine that may take longer. */
const ENOUGH = 1000;
const KEYS = 256;
/** These stay, though the slots beside theirs are used again and again. */
const STABLE = 64;

for (const build of ['fast', 'portable', 'twin']) {
  t.test(`hash, ${build}: one thread adds and deletes, three look up: no value is another key's, no key that stays is missed`, { timeout: MILLISECONDS + 60_000 }, async t => {
    process.env['POLLMODE_BURST'] = build;
    const arena = Arena.create({ size: MIN_ARENA });
    // Few buckets, so that each slot is used again soon; keys of 64 bytes, so that one takes long to write.
    const table = HashTable.create(arena, 'table', { entries: 160, keyBytes: 64 });
    const progress = arena.reserve('progress', 64).offset;
    const hitsOf = (seed: number): number => progress + 4 + 4 * seed;
    const deadline = Date.now() + MILLISECONDS + 50_000;
    const workers = [1, 2, 3].map(seed => new Worker(new URL('./hash_worker.js', import.meta.url), { workerData: { share: arena.share(), progress, hits: hitsOf(seed), keys: KEYS, stable: STABLE, seed, deadline } satisfies Task }));
    const reports = workers.map(async worker => {
      const gone = once(worker, 'exit');
      const [report] = await once(worker, 'message') as [Report];
      await gone;
      return report;
    });
    const [keys, values] = [table.keys(1), new Vector(arena, 1)];
    const change = (number: number, serial: number): void => {
      keys.u32.set(keyWords(number, 64));
      values.u32[0] = (serial << 16) | number;
      if (table.deleteBulk(keys, values, 1) === 0) {
        values.u32[0] = ((serial & 0x7fff) << 16) | number;
        table.addBulk(keys, values, 1);
      }
    };
    for (let number = 0; number < STABLE; number++) change(number, 0);
    while (Atomics.load(arena.u32, progress >>> 2) < workers.length) await new Promise(resolve => setTimeout(resolve, 5));
    let changes = 0;
    const isEnough = (): boolean => changes > ENOUGH && [1, 2, 3].reduce((sum, seed) => sum + Atomics.load(arena.u32, hitsOf(seed) >>> 2), 0) > ENOUGH;
    for (const until = Date.now() + MILLISECONDS; Date.now() < until || (!isEnough() && Date.now() < deadline);) {
      for (let i = 0; i < 200; i++) change(STABLE + (Math.imul(changes, 0x9e3779b1) >>> 8) % (KEYS - STABLE), changes++);
    }
    Atomics.store(arena.u32, (progress >>> 2) + 1, 1);
    const found = await Promise.all(reports);
    const sum = (of: (report: Report) => number): number => found.reduce((total, report) => total + of(report), 0);
    t.ok(changes > ENOUGH && sum(({ hits }) => hits) > ENOUGH, `${changes} changes beside ${sum(({ lookups }) => lookups)} lookups, ${sum(({ hits }) => hits)} of them hits`);
    t.equal(sum(({ wrong }) => wrong), 0, 'no value of another key');
    t.equal(sum(({ lost }) => lost), 0, 'none that stays was missed');
    t.equal(table.stats().stale, 0);
    arena.close();
    delete process.env['POLLMODE_BURST'];
  });
}

t.test('one thread writes; another one may when it lets go', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const other = Arena.attach(arena.share());
  const [mine, theirs] = [HashTable.create(arena, 'table', { entries: 10, keyBytes: 8 }), HashTable.find(other, 'table')];
  mine.set(new Uint8Array(8), 1);
  t.equal(codeThrown(() => theirs.set(new Uint8Array(8), 2)), 'ETHREAD');
  t.equal(theirs.get(new Uint8Array(8)), 1);
  mine.release();
  theirs.set(new Uint8Array(8), 2);
  t.equal(mine.get(new Uint8Array(8)), 2);
  t.equal(codeThrown(() => mine.delete(new Uint8Array(8))), 'ETHREAD');
  other.close();
  t.ok(mine.delete(new Uint8Array(8)), 'the writer is gone');
});
