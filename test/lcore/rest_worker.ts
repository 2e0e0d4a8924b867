/** An lcore of recovery.test.ts: what it does while others die is told by the words of `args`, in a zone of the arena. */
import { workerData } from 'node:worker_threads';
import type { LcoreContext } from '../../lib/lcore/context.js';
import type { LcoreData } from '../../lib/lcore/worker.js';
import { MBUF_OWNER, OWNER_POOL, OWNER_SHIFT } from '../../lib/mbuf/layout.js';
import { GO, WAITING } from './rest_words.js';

export interface RestArgs {
  /** Shared by all of a test: what each waits for. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /**
   * `loading`: its module is loaded only once it may go on. `busy`: so long is one call of its loop. `dead`: as that, and
   * ends with it. `stray`: ends in the middle of a call, when three buffers of it are just on their way.
   */
  readonly what: 'poll' | 'loading' | 'busy' | 'dead' | 'stray';
}

const { words, what } = (workerData as LcoreData).args as RestArgs;
if (what === 'loading') waitForGo();

export default async function rest(lcore: LcoreContext<RestArgs>): Promise<void> {
  const burst = lcore.burst(8);
  let calls = 0;
  await lcore.poll(() => {
    if (++calls !== 3) return;
    if (what === 'poll') Atomics.add(words, WAITING, 1);
    if (what === 'busy' || what === 'dead') waitForGo();
    if (what === 'stray') loseThree();
    if (what === 'stray' || what === 'dead') process.exit(3);
  });

  /** Out of the cache and not yet stamped: nobody lists them, and they are the pool's. */
  function loseThree(): void {
    lcore.pool.alloc(burst, 3);
    for (let i = 0; i < 3; i++) lcore.mbufs.u32[(lcore.mbufs.header(burst.handles[i]!) + MBUF_OWNER) >>> 2] = OWNER_POOL << OWNER_SHIFT;
  }
}

function waitForGo(): void {
  Atomics.add(words, WAITING, 1);
  while (Atomics.load(words, GO) === 0) Atomics.wait(words, GO, 0);
}
