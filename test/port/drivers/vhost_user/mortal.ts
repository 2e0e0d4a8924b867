/** A back-end that is killed in the middle of its work: writes down the number of every frame that it has received, and sends numbered ones. node mortal.js SOCKET LOG FIRST */
import { openSync, writeSync } from 'node:fs';
import { open } from '../../../../lib/port/host.js';
import { copyWhole } from '../../conformance/frames.js';
import { numbered, numberOf } from './numbered.js';

const [path, log, first] = process.argv.slice(2) as [string, string, string];
const host = open([`vhost:${path},guest_memory=16`], { mbufs: 1024, arenaOptions: { size: 64 << 20 } });
const port = host.ports[0]!;
const file = openSync(log, 'a');
const [into, out] = [host.burst(32), host.burst(8)];
let next = Number(first);
let kept = 0;

/** For a moment; then the socket has its turn. */
function work(): void {
  for (let i = 0; i < 64; i++) {
    const got = port.rx[0]!.rxBurst(into);
    if (got > 0) writeSync(file, Uint32Array.from(into.handles.subarray(0, got), handle => numberOf(copyWhole(host.mbufs, handle))));
    host.pool.free(into, 0, got);
    if (kept === 0 && port.link!.read().up) {
      kept = host.pool.alloc(out, 8);
      for (let k = 0; k < kept; k++) host.mbufs.copyIn(out.handles[k]!, numbered(next++));
    }
    const sent = kept > 0 ? port.tx[0]!.txBurst(out, kept) : 0;
    if (sent > 0 && sent < kept) out.keep(sent, kept);
    kept -= sent;
  }
  setImmediate(work);
}
work();
