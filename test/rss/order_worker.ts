/** A worker of the order tests: checks every packet against the book, says now and then that a flow belongs elsewhere, and dies when told to. */
import type { Burst } from '../../lib/burst/burst.js';
import type { LcoreContext } from '../../lib/lcore/context.js';
import { ORDER_EXIT, ORDER_THROW, OrderBook, randomNumbers } from './order_helper.js';

export interface WorkerArgs {
  readonly book: string;
  /** Packets may be lost, so a flow's numbers only have to rise. */
  readonly lossy: boolean;
  /** One burst in so many is said to be consumed by another worker; 0 for none. */
  readonly recordEvery: number;
  readonly workers: number;
  readonly seed: number;
  /** Empty loops for each packet, to be a slow worker. */
  readonly toil?: number;
}

/** Returns how many packets it saw. */
export default async function work(lcore: LcoreContext<WorkerArgs>): Promise<number> {
  const { lossy, recordEvery, workers, seed, toil = 0 } = lcore.args;
  const [queue, burst, book, random] = [lcore.steered(), lcore.burst(32), OrderBook.find(lcore.arena, lcore.args.book), randomNumbers(seed)];
  let packets = 0;
  let idle = 0;
  await lcore.poll(() => {
    const got = queue.rxBurst(burst, 1 + random(burst.capacity));
    if (got === 0) return void (++idle % 16 === 0 && book.nap());
    for (let i = 0; i < got; i++) {
      book.check(lcore.mbufs.data(burst.handles[i]), !lossy);
      for (let k = 0; k < toil; k++);
    }
    obey(burst, got);
    if (recordEvery > 0 && random(recordEvery) === 0) queue.record(burst, got, random(workers));
    book.addReceived(queue.number, got); // before they are freed: what is missing after a death was held then
    lcore.pool.free(burst, 0, got);
    packets += got;
  });
  queue.release();
  return packets;

  /** With a burst in its hands. */
  function obey(held: Burst, count: number): void {
    const order = book.obey(queue.number);
    if (order === ORDER_THROW) throw new RangeError(`told to, with ${count} of ${held.capacity} packets`);
    if (order === ORDER_EXIT) process.exit(3);
  }
}
