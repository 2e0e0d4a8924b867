import { Burst, MAX_BURST } from '../burst/burst.js';
import type { Mempool } from '../mbuf/mempool.js';

/** Who takes packets from the front of a burst: a port's send queue, or a ring in front of a queue of the table. */
export type Taker = (burst: Burst, count: number) => number;

/** Packets of one burst that go the same way, collected and then handed over at once. What is not taken is freed and counted. */
export class Outlet {
  readonly name: string;
  refused = 0;
  private readonly pool: Mempool;
  private readonly burst: Burst;
  private readonly take: Taker;
  private count = 0;

  constructor(pool: Mempool, name: string, take: Taker) {
    this.pool = pool;
    this.name = name;
    this.burst = new Burst(pool.arena, MAX_BURST);
    this.take = take;
  }

  add(handle: number): void {
    if (this.count === MAX_BURST) this.deliver();
    this.burst.handles[this.count++] = handle;
  }

  deliver(): void {
    const { count } = this;
    if (count === 0) return;
    this.count = 0;
    const taken = this.take(this.burst, count);
    if (taken === count) return;
    this.refused += count - taken;
    this.pool.free(this.burst, taken, count);
  }

  close(): void {
    this.burst.close();
  }
}
