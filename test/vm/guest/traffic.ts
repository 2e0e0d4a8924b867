/** Sends and receives on a port until it is killed, and says when it has begun. */
import { open } from '../../../lib/port/host.js';

const host = open([process.argv[2]!]);
const port = host.ports[0]!;
const burst = host.burst(32);
let turns = 0;
for (;;) {
  if (host.pool.alloc(burst, 32) === 32) {
    for (const handle of burst.handles) host.mbufs.append(handle, 100);
    host.pool.free(burst, port.tx[0]!.txBurst(burst, 32), 32);
  }
  host.pool.free(burst, 0, port.rx[0]!.rxBurst(burst));
  if (++turns === 100) process.stdout.write('moving\n');
}
