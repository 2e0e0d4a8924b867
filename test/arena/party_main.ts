/** The other side of party_helper.ts: runs the functions that a test sends, in a process or a worker of its own. */
import { isMainThread, parentPort } from 'node:worker_threads';
import type { Held, Reply, Request, Tools } from './party_helper.js';
import { Arena } from '../../lib/arena/arena.js';
import { binding } from '../../lib/binding.js';
import { Burst } from '../../lib/burst/burst.js';
import { burstFunctions, instantiate, misuseReporter } from '../../lib/burst/module.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { recoverDead } from '../../lib/lcore/recover.js';
import { attachHost } from '../../lib/port/attached_host.js';
import { open } from '../../lib/port/host.js';
import { Ring } from '../../lib/ring/ring.js';

const tools: Tools = { Arena, Ring, Mempool, Burst, recoverDead, burstFunctions, instantiate, misuseReporter, binding, attachHost, open, held: {} as Held };

async function answer({ source, argument }: Request): Promise<Reply> {
  try {
    const work = (0, eval)(`(${source})`) as (tools: Tools, argument: unknown) => unknown;
    return { result: await work(tools, argument) };
  } catch (error) {
    const { name, message, stack, code } = error as Error & { code?: string };
    return { error: { name, message, stack, code } };
  }
}

if (isMainThread) {
  process.on('message', (request: Request) => { void answer(request).then(reply => process.send!(reply)); });
  process.on('disconnect', () => process.exit());
} else {
  parentPort!.on('message', (request: Request) => { void answer(request).then(reply => { parentPort!.postMessage(reply); }); });
}
