/** DPDK's net_memif at the other end, in either role, with and without zero copy on the client's side. testpmd swaps the addresses and sends everything back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { open, type Host } from '../../../../lib/port/host.js';
import { bounce, machine, run, skip, testpmd } from '../testpmd_helper.js';

/** Our end, once DPDK's listens; or before it connects. */
async function within(device: string, work: (host: Host) => Promise<void>): Promise<void> {
  const host = open([device], { mbufs: 8192 });
  try {
    await work(host);
  } finally {
    host.close();
  }
}

for (const zeroCopy of ['yes', 'no']) {
  t.test(`our server behind DPDK's client, zero-copy=${zeroCopy}`, { skip }, async t => {
    const path = join(machine.folder, 'a');
    await within(`memif:${path},role=server`, host => run(
      t, testpmd('a', `net_memif0,role=client,socket=${path},socket-abstract=no,zero-copy=${zeroCopy}`), () => bounce(t, host, host.ports[0]!)));
  });
}

for (const words of ['', ',zero_copy=0', ',rsize=6', ',zero_copy=0,bsize=512']) {
  t.test(`our client before DPDK's server${words}`, { skip }, async t => {
    const path = join(machine.folder, 'b');
    rmSync(path, { force: true });
    // DPDK's server looks at a buffer's length only when it is told that buffers may be smaller than its own.
    const bsize = words.includes('bsize') ? ',bsize=512' : '';
    await run(t, testpmd('b', `net_memif0,role=server,socket=${path},socket-abstract=no${bsize}`), () => within(`memif:${path}${words}`, host => bounce(t, host, host.ports[0]!)));
  });
}

t.test('an abstract socket, an id and a secret, as DPDK has them', { skip }, async t => {
  const name = `pollmode-${process.pid}`;
  await within(`memif:${name},role=server,abstract=1,id=7,secret=open`, host => run(
    t, testpmd('c', `net_memif0,role=client,socket=${name},id=7,secret=open`), () => bounce(t, host, host.ports[0]!)));
});

t.test('several queues', { skip }, async t => {
  const path = join(machine.folder, 'd');
  await within(`memif:${path},role=server,queues=2`, host => run(
    t, testpmd('d', `net_memif0,role=client,socket=${path},socket-abstract=no,zero-copy=yes`, 2), () => bounce(t, host, host.ports[0]!)));
});
