import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Lpm } from '../../lib/lookup/lpm.js';
import type { Report, Task } from './lpm_worker.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const MILLISECONDS = LONG ? 60_000 : 1_200;
const NETS = 64;
/** Of each reader's lookups so many by longer routes, and so many groups used again: on a busy machine that may take longer. */
const ENOUGH = 1000;

for (const [build, family] of [['fast', 4], ['portable', 4], ['twin', 4], ['fast', 6], ['portable', 6]] as const) {
  t.test(`lpm, ${build}, IPv${family}: one thread adds and deletes, two look up: never another net's next hop`, { timeout: MILLISECONDS + 60_000 }, async t => {
    process.env['POLLMODE_BURST'] = build;
    const arena = Arena.create({ size: MIN_ARENA });
    // Few groups, so that each is soon another net's.
    const lpm = Lpm.create(arena, 'table', { family, routes: 1000, groups: 12, rootBits: 8 });
    for (let net = 0; net < NETS; net++) lpm.add(address(family, net * 2 ** 24), 8, net);
    const progress = arena.reserve('progress', 64).offset;
    const longerOf = (seed: number): number => progress + 4 + 4 * seed;
    const deadline = Date.now() + MILLISECONDS + 50_000;
    const workers = [1, 2].map(seed => new Worker(new URL('./lpm_worker.js', import.meta.url), { workerData: { share: arena.share(), progress, longer: longerOf(seed), seed, deadline } satisfies Task }));
    const reports = workers.map(async worker => {
      const gone = once(worker, 'exit');
      const [report] = await once(worker, 'message') as [Report];
      await gone;
      return report;
    });
    while (Atomics.load(arena.u32, progress >>> 2) < workers.length) await new Promise(resolve => setTimeout(resolve, 5));
    let changes = 0;
    const reuses = (): number => (lpm.toJSON() as { groups: { reuses: number } }).groups.reuses;
    const isEnough = (): boolean => reuses() > ENOUGH && [1, 2].every(seed => Atomics.load(arena.u32, longerOf(seed) >>> 2) > ENOUGH);
    for (const until = Date.now() + MILLISECONDS; Date.now() < until || (!isEnough() && Date.now() < deadline);) {
      for (let i = 0; i < 50; i++) churn(lpm, changes++);
    }
    Atomics.store(arena.u32, (progress >>> 2) + 1, 1);
    const found = await Promise.all(reports);
    t.ok(reuses() > ENOUGH, `${reuses()} groups were used again`);
    t.ok(found.every(({ longer }) => longer > ENOUGH), `${found.map(({ lookups, longer }) => `${lookups} lookups, ${longer} by the longer routes`).join('; ')}`);
    t.same(found.map(({ wrong }) => wrong), [0, 0]);
    arena.close();
    delete process.env['POLLMODE_BURST'];
  });
}

/** Three routes of one net, each in a group of its own below the other, come and go. */
function churn(lpm: Lpm, change: number): void {
  const net = (Math.imul(change, 0x9e3779b1) >>> 26) * 2 ** 24;
  const routes = [[net + 65536, 16], [net + 65536 + 256, 24], [net + 65536 + 256 + 3, 32]] as const;
  for (const [prefix, depth] of routes) lpm.add(address(lpm.family, prefix), depth, (net / 2 ** 24) + 256 * (1 + change % 100));
  for (const [prefix, depth] of routes) lpm.delete(address(lpm.family, prefix), depth);
}

/** These 32 bits, at the front of an IPv6 address. */
function address(family: 4 | 6, bits: number): number | Uint8Array {
  if (family === 4) return bits;
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, bits);
  return bytes;
}
