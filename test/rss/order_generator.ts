/** An lcore of the order tests: sends numbered packets of many flows, real IPv4/UDP frames, some flows far more than others. */
import type { LcoreContext } from '../../lib/lcore/context.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { frameOf } from './frames_helper.js';
import { FRAME, OrderBook, randomNumbers } from './order_helper.js';

export interface GeneratorArgs {
  readonly port: number;
  readonly book: string;
  readonly flows: number;
  /** Packets in all; 0: until the book says stop. */
  readonly packets: number;
  /** Most packets that are sent and not yet received, so that no ring overflows; 0 for no such care. */
  readonly window: number;
  readonly seed: number;
  /** Gives its CPU away after so many bursts, where threads have to start beside it. Default: only when nobody takes any more. */
  readonly napEvery?: number;
  /** The flows, where they are not to be those of `flowOf`. */
  readonly list?: readonly Flow[];
}

export default async function generate(lcore: LcoreContext<GeneratorArgs>): Promise<number> {
  const { port, flows, packets, window, seed, napEvery = 0, list } = lcore.args;
  const [book, tx, burst, random] = [OrderBook.find(lcore.arena, lcore.args.book), lcore.tx(port), lcore.burst(32), randomNumbers(seed)];
  const templates = Array.from({ length: flows }, (_, flow) => templateOf(list?.[flow] ?? flowOf(flow)));
  const numbers = new Uint32Array(flows);
  let sent = 0;
  let bursts = 0;
  let waiting = 0;
  await lcore.poll(() => {
    if (waiting === 0) {
      if (book.stopped || (packets > 0 && sent >= packets)) return false;
      if (window > 0 && sent - book.receivedInAll + burst.capacity > window) return book.nap();
      waiting = lcore.pool.alloc(burst, burst.capacity);
      for (let i = 0; i < waiting; i++) write(burst.handles[i]);
    }
    const taken = tx.txBurst(burst, waiting);
    waiting = burst.keep(taken, waiting);
    sent += taken;
    book.addSent(taken);
    if (taken === 0 || (napEvery > 0 && ++bursts % napEvery === 0)) book.nap();
    return true;
  });
  if (waiting > 0) lcore.pool.free(burst, 0, waiting);
  return sent;

  function write(handle: number): void {
    const flow = choose();
    lcore.mbufs.copyIn(handle, templates[flow]);
    book.stamp(lcore.mbufs.data(handle), flow, numbers[flow]++);
  }

  /** A quarter of all packets are of flow 0, the elephant; another quarter of the first sixteen. */
  function choose(): number {
    const kind = random(4);
    return kind === 0 ? 0 : random(kind === 1 ? Math.min(16, flows) : flows);
  }
}

/** A flow as a person writes it: they differ in addresses and ports. */
export function flowOf(flow: number): Flow {
  return { source: `10.1.${(flow >> 8) & 255}.${flow & 255}`, destination: `10.2.0.${flow % 7}`, protocol: 'udp', sourcePort: 1024 + flow % 60000, destinationPort: 53 };
}

function templateOf(flow: Flow): Uint8Array {
  const frame = frameOf({ ...flow, tags: 0, extensions: [], fragment: false });
  return Uint8Array.from({ length: FRAME }, (_, i) => frame[i] ?? 0);
}
