/** An lcore of lcore.test.ts: forwards from a queue to a queue until it is stopped, or does what `args` says instead. */
import { wasm } from '../../lib/arena/webassembly.js';
import { FlowTable } from '../../lib/flow/table.js';
import type { LcoreContext } from '../../lib/lcore/context.js';
import { QdiscQueue } from '../../lib/qdisc/tree.js';
import { Parser } from '../../lib/wire/parser.js';

export interface ForwardArgs {
  /** Ports whose queue 0 it receives from and sends to. */
  readonly from: number;
  readonly to: number;
  readonly then: 'forward' | 'throw' | 'throw later' | 'exit' | 'no clone' | 'spin' | 'spin in WebAssembly';
  /** Buffers that it takes first and never gives back. */
  readonly keep?: number;
  /** Ends by its misfortune after so many packets. */
  readonly after?: number;
}

/** (module (func (export "spin") (loop (br 0)))) */
const ENDLESS = Uint8Array.from([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 0x73, 0x70, 0x69, 0x6e, 0, 0, 10, 9, 1, 7, 0, 3, 0x40, 0x0c, 0, 0x0b, 0x0b,
]);

export default async function forward(lcore: LcoreContext<ForwardArgs>): Promise<unknown> {
  const { from, to, then, keep = 0, after = 0 } = lcore.args;
  const burst = lcore.burst(32);
  // What it makes and does not close, since it dies: its successor makes the same under the same lcore's number.
  const [parser, table, queue] = [new Parser(lcore.arena), new FlowTable(lcore.pool, { queues: 2 }), new QdiscQueue(lcore.pool, { txBurst: () => 0 }, { kind: 'fq_codel' }, { packets: 32 })];
  if (then === 'forward') for (const each of [parser, table, queue]) each.close();
  for (let kept = 0; kept < keep; kept += 32) lcore.pool.alloc(burst, Math.min(32, keep - kept));
  if (then === 'no clone') return () => undefined;
  const [rx, tx] = [lcore.rx(from), lcore.tx(to)];
  let packets = 0;
  await lcore.poll(() => {
    const got = rx.rxBurst(burst);
    const sent = tx.txBurst(burst, got);
    if (sent < got) lcore.pool.free(burst, sent, got);
    packets += sent;
    if (then !== 'forward' && packets > after) misfortune(then);
  });
  return packets;
}

function misfortune(then: ForwardArgs['then']): void {
  if (then === 'throw') throw new RangeError('thrown by the program');
  if (then === 'throw later') setImmediate(() => { throw new RangeError('thrown by a callback'); });
  if (then === 'exit') process.exit(3);
  if (then === 'spin') for (;;);
  if (then === 'spin in WebAssembly') (new wasm.Instance(new wasm.Module(ENDLESS), {}).exports as { spin(): void }).spin();
}
