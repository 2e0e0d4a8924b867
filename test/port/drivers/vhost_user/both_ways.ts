/** An lcore of moving.test.ts: bursts both ways over a vhost port, as fast as it can. Returns how many frames it received and sent; throws when one holds what is of no guest. */
import type { LcoreContext } from '../../../../lib/lcore/context.js';

export interface BothWays { readonly port: number; /** Sixteen of them in a row are in no frame by chance. */ readonly elsewhere: number }

export default async function bothWays(lcore: LcoreContext<BothWays>): Promise<{ received: number; sent: number }> {
  const { port, elsewhere } = lcore.args;
  const [rx, tx, into, out] = [lcore.rx(port), lcore.tx(port), lcore.burst(32), lcore.burst(4)];
  const row = Buffer.alloc(16, elsewhere);
  let [received, sent] = [0, 0];
  await lcore.poll(() => {
    const got = rx.rxBurst(into);
    for (const handle of into.handles.subarray(0, got)) if (Buffer.from(lcore.mbufs.copyOut(handle)).includes(row)) throw new Error('a frame holds what is beside the guest\'s memory');
    lcore.pool.free(into, 0, got);
    received += got;
    const wanted = lcore.pool.alloc(out, 4);
    for (const handle of out.handles.subarray(0, wanted)) lcore.mbufs.append(handle, 60 + sent % 1000);
    const taken = tx.txBurst(out, wanted);
    lcore.pool.free(out, taken, wanted);
    sent += taken;
  });
  return { received, sent };
}
