/** A program at one end of a memif socket: sends and receives as fast as it can until it is killed. Its argument is the device string. */
import { open } from '../../../../lib/port/host.js';

const host = open([process.argv[2]!], { mbufs: 2048, arenaOptions: { size: 64 << 20 } });
const port = host.ports[0]!;
const burst = host.burst(32);
let told = false;
setInterval(() => {
  for (let i = 0; i < 50; i++) {
    host.pool.free(burst, 0, port.rx[0]!.rxBurst(burst));
    const made = host.pool.alloc(burst, 32);
    for (const handle of burst.handles.subarray(0, made)) host.mbufs.append(handle, 60);
    const sent = port.tx[0]!.txBurst(burst, made);
    if (sent < made) host.pool.free(burst, sent, made);
  }
  if (told || port.link!.read().up !== true) return;
  told = true;
  process.stdout.write('up\n');
}, 1);
