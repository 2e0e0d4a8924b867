/** Poll loops that find nothing: the sockets' turns in between make no objects, which would be collected while a ring runs full. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { open } from '../../lib/port/host.js';

const POLLS = 400_000;
/** A turn each thousand polls, and what a call of the addon leaves. When a turn made typed arrays for what did not come, each poll cost two bytes. */
const MOST_BYTES = 200_000;

for (const [name, ends] of [
  ['memif', (path: string) => [`memif:${path},role=server`, `memif:${path}`]],
  ['vhost and virtio_user', (path: string) => [`vhost:${path},guest_memory=16`, `virtio_user:${path}`]],
] as const) {
  t.test(`${name}: polls in vain leave the heap alone`, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'pollmode-turns-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const host = open(ends(join(folder, 's')), { mbufs: 8192 });
    t.teardown(() => host.close());
    const burst = host.burst(32);
    for (const port of host.ports) {
      const rx = port.rx[0]!;
      const poll = (): number => {
        let got = 0;
        for (let i = 0; i < POLLS; i++) got += rx.rxBurst(burst);
        return got;
      };
      poll(); // until it is compiled
      t.equal(poll(), 0, 'nothing comes');
      t.ok(Math.max(...[1, 2, 3].map(() => growthOf(poll))) < MOST_BYTES, `${port.name}: at most ${MOST_BYTES} bytes in ${POLLS} polls`);
    }
  });
}

/** The most of several is what counts: a collection in between hides what was made. */
function growthOf(work: () => unknown): number {
  const before = process.memoryUsage().heapUsed;
  work();
  return process.memoryUsage().heapUsed - before;
}
