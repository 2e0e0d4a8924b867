/** What runs first in an lcore's thread: attaches, pins, loads the module, and answers the thread that started it. */
import { parentPort, workerData } from 'node:worker_threads';
import { Arena, type ArenaShare } from '../arena/arena.js';
import { REST_RESTING } from '../arena/layout.js';
import { lcoreHolder } from '../arena/lcores.js';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { LcoreContext, type LcoreMain, type SteeredName } from './context.js';
import { RestPoint } from './rest.js';

export interface LcoreData {
  readonly name: string;
  readonly cpu: number;
  readonly share: ArenaShare;
  readonly pool: string | undefined;
  /** URL of the module. */
  readonly module: string;
  readonly args: unknown;
  readonly steered: SteeredName | undefined;
  /** One i32: not 0 once the lcore shall stop. */
  readonly stop: Int32Array<SharedArrayBuffer>;
  /** Of its idling (lcore/idle.ts). */
  readonly shown: Float64Array<SharedArrayBuffer>;
}

export type LcoreMessage =
  | { readonly kind: 'attached'; readonly lcore: number; readonly tid: number }
  | { readonly kind: 'running' }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: LcoreFailure };

/** An error as it crosses threads: a structured clone would lose the code. */
export interface LcoreFailure {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly code: string | undefined;
}

const data = workerData as LcoreData;
const port = parentPort!;
const answer = (message: LcoreMessage): void => port.postMessage(message);
const halt = new AbortController();
port.on('message', () => halt.abort());

// The arena is not closed here: who started the lcore takes back what it held, and only then may its id be another's.
try {
  const arena = Arena.attach(data.share, REST_RESTING); // while its module is loaded it holds up nobody's recovery
  answer({ kind: 'attached', lcore: arena.lcore, tid: lcoreHolder(arena.i32, arena.lcore)!.tid });
  answer({ kind: 'done', result: await run(arena) });
} catch (cause) {
  answer({ kind: 'failed', error: failure(cause) });
}
port.close();

async function run(own: Arena): Promise<unknown> {
  if (data.cpu >= 0) pin(data.cpu);
  const main = (await import(data.module) as { default?: LcoreMain }).default;
  if (typeof main !== 'function') throw new PollmodeError('EOPTION', `${data.module} has no function as its default export: export default function (lcore) { … }.`);
  const rest = new RestPoint(own);
  rest.enter();
  answer({ kind: 'running' });
  try {
    return await main(new LcoreContext({ name: data.name, cpu: data.cpu, arena: own, args: data.args, pool: data.pool, steered: data.steered, stop: data.stop, shown: data.shown, signal: halt.signal }));
  } finally {
    rest.leave(); // also who failed moves nothing any more
  }
}

function pin(cpu: number): void {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) throw addon;
  const result = addon.setAffinity(cpu);
  if (result < 0) throw new PollmodeError('EOPTION', `lcore ${data.name}: CPU ${cpu} cannot be pinned to; this process may use ${addon.affinity().join(', ')}.`, { syscall: 'sched_setaffinity', errno: -result });
}

function failure(cause: unknown): LcoreFailure {
  if (!(cause instanceof Error)) return { name: 'Error', message: String(cause), stack: String(cause), code: undefined };
  const code = (cause as { code?: unknown }).code;
  return { name: cause.name, message: cause.message, stack: cause.stack ?? cause.message, code: typeof code === 'string' ? code : undefined };
}
