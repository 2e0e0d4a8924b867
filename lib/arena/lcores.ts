import { threadId } from 'node:worker_threads';
import { PollmodeError } from '../errors.js';
import { LCORE_MAX, LCORE_PID, LCORE_REST, LCORE_STARTED, LCORE_STRIDE, LCORE_TABLE, LCORE_TID, LCORE_WORKER, REST_UNKNOWN, type Rest } from './layout.js';
import { callingThread, lifeOf, type Life } from './threads.js';

/** A thread that is attached to the arena, or was when it died. */
export interface LcoreHolder {
  readonly lcore: number;
  readonly pid: number;
  /** The kernel's number of the thread; 0 where the kernel does not tell it. */
  readonly tid: number;
  /** Node's `threadId` in that process: how the one who started the worker finds it again. */
  readonly worker: number;
  /** `unknown` where nothing tells (no /proc): then the one who started it must know. */
  readonly life: Life;
}

/** Index in an Int32Array over the arena of a field of an lcore's entry. */
export const lcoreField = (lcore: number, field: number): number => (LCORE_TABLE + lcore * LCORE_STRIDE + field) >> 2;

/** Takes the lowest free lcore id for the calling thread, which is doing `rest`. Throws EARENAFULL when all 64 are taken. */
export function claimLcore(i32: Int32Array, rest: Rest = REST_UNKNOWN): number {
  for (let lcore = 0; lcore < LCORE_MAX; lcore++) {
    if (Atomics.compareExchange(i32, lcoreField(lcore, LCORE_PID), 0, process.pid) === 0) {
      const { tid, started } = callingThread();
      Atomics.store(i32, lcoreField(lcore, LCORE_WORKER), threadId);
      Atomics.store(i32, lcoreField(lcore, LCORE_STARTED), started);
      Atomics.store(i32, lcoreField(lcore, LCORE_REST), rest); // before the tid: who sees that knows what it does
      Atomics.store(i32, lcoreField(lcore, LCORE_TID), tid);
      return lcore;
    }
  }
  const dead = lcores(i32).filter(({ life }) => life === 'dead').length;
  throw new PollmodeError('EARENAFULL', `All ${LCORE_MAX} lcores of this arena are in use, ${dead} of them by threads that died: close the arena in threads that are done with it, and call recoverDead(arena) in one that lives.`);
}

/** Until the claim itself is given up, whoever looks sees a claim that is being filled in, of a process that lives. */
export function releaseLcore(i32: Int32Array, lcore: number): void {
  Atomics.store(i32, lcoreField(lcore, LCORE_TID), 0);
  Atomics.store(i32, lcoreField(lcore, LCORE_REST), REST_UNKNOWN);
  Atomics.store(i32, lcoreField(lcore, LCORE_PID), 0);
}

/** Who holds an lcore id, or undefined when nobody does. */
export function lcoreHolder(i32: Int32Array, lcore: number): LcoreHolder | undefined {
  const field = (offset: number): number => Atomics.load(i32, lcoreField(lcore, offset));
  const pid = field(LCORE_PID);
  if (pid === 0) return undefined;
  const tid = field(LCORE_TID);
  return { lcore, pid, tid, worker: field(LCORE_WORKER), life: lifeOf(pid, tid, field(LCORE_STARTED)) };
}

export function lcores(i32: Int32Array): LcoreHolder[] {
  return Array.from({ length: LCORE_MAX }, (_, lcore) => lcoreHolder(i32, lcore)).filter(holder => holder !== undefined);
}
