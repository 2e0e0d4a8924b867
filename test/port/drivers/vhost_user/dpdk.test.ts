/** DPDK at the other end: its net_virtio_user behind our vhost port, and its net_vhost behind our virtio_user port. testpmd swaps the addresses and sends everything back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { open } from '../../../../lib/port/host.js';
import { bounce, machine, run, skip, testpmd } from '../testpmd_helper.js';

for (const packed of [0, 1]) {
  const rings = packed === 1 ? 'packed' : 'split';
  t.test(`our vhost behind DPDK's virtio_user, ${rings} rings`, { skip }, async t => {
    const path = join(machine.folder, 'a');
    const host = open([`vhost:${path}`], { mbufs: 2048 });
    t.teardown(() => host.close());
    await run(t, testpmd('a', `net_virtio_user0,path=${path},queues=1,queue_size=256,packed_vq=${packed}`), () => bounce(t, host, host.ports[0]!));
  });
  t.test(`our virtio_user before DPDK's vhost, ${rings} rings`, { skip }, async t => {
    const path = join(machine.folder, 'b');
    rmSync(path, { force: true });
    const program = testpmd('b', `net_vhost0,iface=${path},queues=1`);
    await run(t, program, async () => {
      const host = open([`virtio_user:${path},packed=${packed}`], { mbufs: 2048 });
      try {
        await bounce(t, host, host.ports[0]!);
      } finally {
        host.close();
      }
    });
  });
}
