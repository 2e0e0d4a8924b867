import { PollmodeError } from '../errors.js';
import type { Steering } from './steering.js';

export interface RebalanceOptions {
  /** Most buckets that move in one round. Default 8. */
  readonly moves?: number;
  /** Begins when the busiest worker has so much more than the mean, as a part of it. Default 0.25. */
  readonly above?: number;
  /** And goes on, once it has begun, until it has no more than this. Default 0.1. */
  readonly until?: number;
  /** Rounds that a bucket which moved stays where it is. Default 3. */
  readonly rest?: number;
}

/** What one round saw and did. */
export interface RebalanceRound {
  /** Of each worker: packets since the last round, and those that wait in its ring. -1 for one out of service. */
  readonly loads: readonly number[];
  readonly moves: readonly { readonly bucket: number; readonly from: number; readonly to: number; readonly packets: number }[];
}

/**
 * Moves buckets off busy workers. Each round it counts what came since the last one, and while the busiest worker has
 * too much gives the bucket to the idlest one that comes nearest to evening the two out. A bucket that has more than
 * half of the difference stays: to move it would only exchange the two, so an elephant flow alone in its bucket stays
 * put and what shares a worker with it leaves. The steering moves buckets without reordering; this only says which.
 *
 * Any thread may run it, one for a steering. Not beside `record` (RFS), which says otherwise where a flow belongs.
 */
export class Rebalancer {
  readonly #steering: Steering;
  readonly #options: Required<RebalanceOptions>;
  /** Of each bucket: its packet count at the last round, packets in this one, and rounds that it still rests. */
  readonly #last: Uint32Array;
  readonly #fresh: Uint32Array;
  readonly #rest: Uint8Array;
  #balancing = false;

  /** Throws EOPTION. */
  constructor(steering: Steering, { moves = 8, above = 0.25, until = 0.1, rest = 3 }: RebalanceOptions = {}) {
    if (!(Number.isInteger(moves) && moves >= 1)) throw new PollmodeError('EOPTION', `Rebalancer: moves ${String(moves)}: give a whole number from 1.`);
    if (!(until >= 0 && above >= until)) throw new PollmodeError('EOPTION', `Rebalancer: above ${String(above)}, until ${String(until)}: give parts of the mean, "until" not above "above".`);
    if (!(Number.isInteger(rest) && rest >= 0 && rest < 256)) throw new PollmodeError('EOPTION', `Rebalancer: rest ${String(rest)}: give a whole number from 0 to 255.`);
    this.#steering = steering;
    this.#options = { moves, above, until, rest };
    this.#last = Uint32Array.from({ length: steering.buckets }, (_, bucket) => steering.bucket(bucket).packets);
    this.#fresh = new Uint32Array(steering.buckets);
    this.#rest = new Uint8Array(steering.buckets);
  }

  /** Looks, and moves what should move. */
  round(): RebalanceRound {
    const owners = this.#count();
    const loads = this.#loads(owners);
    const before = [...loads];
    const moves: RebalanceRound['moves'][number][] = [];
    while (moves.length < this.#options.moves) {
      const move = this.#next(owners, loads);
      if (move === undefined) break;
      this.#steering.want(move.bucket, move.to);
      owners[move.bucket] = move.to;
      loads[move.from] -= move.packets;
      loads[move.to] += move.packets;
      this.#rest[move.bucket] = this.#options.rest + 1;
      moves.push(move);
    }
    return { loads: before, moves };
  }

  /** Counts what is new in each bucket. Returns whose each one is, or soon will be. */
  #count(): Uint8Array {
    const owners = new Uint8Array(this.#steering.buckets);
    for (let bucket = 0; bucket < owners.length; bucket++) {
      const { worker, wanted, packets } = this.#steering.bucket(bucket);
      this.#fresh[bucket] = packets - this.#last[bucket]; // modulo 2^32, as the counter
      this.#last[bucket] = packets;
      if (this.#rest[bucket] > 0) this.#rest[bucket]--;
      owners[bucket] = wanted < this.#steering.workers && this.#steering.inService(wanted) ? wanted : worker;
    }
    return owners;
  }

  #loads(owners: Uint8Array): number[] {
    const loads = Array.from({ length: this.#steering.workers }, (_, worker) => (this.#steering.inService(worker) ? this.#steering.backlog(worker) : -1));
    owners.forEach((owner, bucket) => { if (loads[owner] >= 0) loads[owner] += this.#fresh[bucket]; });
    return loads;
  }

  /** The best move from the busiest worker to the idlest, if there is any worth it. */
  #next(owners: Uint8Array, loads: readonly number[]): RebalanceRound['moves'][number] | undefined {
    const serving = loads.map((load, worker) => ({ load, worker })).filter(({ load }) => load >= 0);
    if (serving.length < 2) return undefined;
    const busiest = serving.reduce((most, each) => (each.load > most.load ? each : most));
    const idlest = serving.reduce((least, each) => (each.load < least.load ? each : least));
    const mean = serving.reduce((sum, { load }) => sum + load, 0) / serving.length;
    this.#balancing = busiest.load > mean * (1 + (this.#balancing ? this.#options.until : this.#options.above));
    if (!this.#balancing) return undefined;
    const bucket = this.#largest(owners, busiest.worker, (busiest.load - idlest.load) / 2);
    return bucket < 0 ? undefined : { bucket, from: busiest.worker, to: idlest.worker, packets: this.#fresh[bucket] };
  }

  /** The worker's bucket that has the most packets, but no more than `most`; -1 for none. */
  #largest(owners: Uint8Array, worker: number, most: number): number {
    let best = -1;
    for (let bucket = 0; bucket < owners.length; bucket++) {
      const packets = this.#fresh[bucket];
      if (owners[bucket] !== worker || packets === 0 || packets > most || this.#rest[bucket] > 0) continue;
      if (best < 0 || packets > this.#fresh[best]) best = bucket;
    }
    return best;
  }
}
