import { PollmodeError } from '../errors.js';
import { LCORE_MAX, LCORE_PID, LCORE_REST, LCORE_STATE, LCORE_STRIDE, LCORE_TABLE, LCORE_TID, REST_UNKNOWN } from './layout.js';

/** Index in an Int32Array over the arena of a field of an lcore's entry. */
export const lcoreField = (lcore: number, field: number): number => (LCORE_TABLE + lcore * LCORE_STRIDE + field) >> 2;

/** Takes the lowest free lcore id for the calling thread. Throws EARENAFULL when all 64 are taken. */
export function claimLcore(i32: Int32Array, pid: number, thread: number): number {
  for (let lcore = 0; lcore < LCORE_MAX; lcore++) {
    if (Atomics.compareExchange(i32, lcoreField(lcore, LCORE_STATE), 0, 1) === 0) {
      Atomics.store(i32, lcoreField(lcore, LCORE_REST), REST_UNKNOWN);
      Atomics.store(i32, lcoreField(lcore, LCORE_PID), pid);
      Atomics.store(i32, lcoreField(lcore, LCORE_TID), thread);
      return lcore;
    }
  }
  throw new PollmodeError('EARENAFULL', `All ${LCORE_MAX} lcores of this arena are in use: close the arena in threads that are done with it.`);
}

export function releaseLcore(i32: Int32Array, lcore: number): void {
  Atomics.store(i32, lcoreField(lcore, LCORE_STATE), 0);
}

/** The process that holds an lcore id, or 0 when nobody does. */
export function lcorePid(i32: Int32Array, lcore: number): number {
  return Atomics.load(i32, lcoreField(lcore, LCORE_STATE)) === 0 ? 0 : Atomics.load(i32, lcoreField(lcore, LCORE_PID));
}
