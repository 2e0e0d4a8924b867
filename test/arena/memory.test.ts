import t from 'tap';
import { inChild } from '../native/child.js';

/** Each round touches so much; a hundred rounds of a leak would be far above what may be added to the first round's (whose size the sanitizers change). */
const TOUCHED = 2 << 20;
const LIMIT = 110 << 20;

const rounds = (make: string): string => `
  const { Arena } = await import(LIB + 'arena/arena.js');
  const { readdirSync, readlinkSync } = await import('node:fs');
  const isMemory = fd => { try { return readlinkSync('/proc/self/fd/' + fd).includes('memfd'); } catch { return false; } };
  const fds = () => readdirSync('/proc/self/fd').filter(isMemory).length;
  const round = i => { ${make} };
  round(-1);
  const before = fds();
  const start = process.memoryUsage.rss();
  let most = 0;
  for (let i = 0; i < 100; i++) {
    round(i);
    if (i % 10 === 0) globalThis.gc();
    await new Promise(setImmediate);
    most = Math.max(most, process.memoryUsage.rss());
  }
  process.stdout.write(JSON.stringify({ most: most - start, leaked: fds() - before }));`;

const CASES = {
  'private arenas': `
    const arena = Arena.create({ size: 64 << 20 });
    const { offset } = arena.reserve('x', ${TOUCHED});
    arena.u8.fill(1, offset, offset + ${TOUCHED});
    arena.close();`,
  'named arenas': `
    const arena = Arena.create({ size: 64 << 20, name: 'test-memory-' + process.pid });
    const { offset } = arena.reserve('x', ${TOUCHED});
    arena.u8.fill(1, offset, offset + ${TOUCHED});
    arena.close();
    arena.close();`,
  'zones with files of their own, not released': `
    const arena = Arena.create({ size: 64 << 20 });
    const { offset } = arena.reserve('x', ${TOUCHED}, { file: 'own' });
    arena.u8.fill(1, offset, offset + ${TOUCHED});
    arena.close();`,
};

for (const [what, make] of Object.entries(CASES)) {
  t.test(`a hundred times: ${what} are made, touched, closed and dropped, and the memory goes back`, async t => {
    const { status, stdout, stderr } = inChild(`const { setFlagsFromString } = await import('node:v8'); const { runInNewContext } = await import('node:vm'); setFlagsFromString('--expose-gc'); globalThis.gc = runInNewContext('gc');${rounds(make)}`);
    t.equal(status, 0, stderr);
    const { most, leaked } = JSON.parse(stdout) as { most: number; leaked: number };
    t.ok(most < LIMIT, `${Math.round(most / 2 ** 20)} MiB more at most, of ${100 * TOUCHED / 2 ** 20} MiB that were touched`);
    t.equal(leaked, 0, 'descriptors');
  });
}

t.test('a closed arena refuses what belongs to set-up, twice closed too', async t => {
  const { Arena } = await import('../../lib/arena/arena.js');
  const { Burst } = await import('../../lib/burst/burst.js');
  const arena = Arena.create({ size: 16 << 20 });
  const zone = arena.reserve('x', 64);
  const burst = new Burst(arena, 32);
  arena.close();
  arena.close();
  t.ok(arena.closed);
  const calls = [
    () => arena.reserve('y', 64), () => arena.overlay('y', 4096, 0), () => arena.lookup('x'), () => arena.find('x'), () => { arena.release(zone); },
    () => arena.share(), () => { arena.freeLcore(5); }, () => arena.reclaiming(() => 1),
  ];
  for (const call of calls) t.throws(call, { code: 'ECLOSED', message: /anew/ });
  burst.close();
  burst.close();
  t.equal(burst.capacity, 0);
  t.equal(burst.handles.length, 0);
});
