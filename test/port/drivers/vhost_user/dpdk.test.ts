/** DPDK at the other end: its net_virtio_user behind our vhost port, and its net_vhost behind our virtio_user port. testpmd swaps the addresses and sends everything back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { open } from '../../../../lib/port/host.js';
import { bounce, machine, run, skip, testpmd, until } from '../testpmd_helper.js';

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
  t.test(`our vhost as a client of DPDK's virtio_user, ${rings} rings: each of the two goes and comes back`, { skip }, async t => {
    const path = join(machine.folder, `c${packed}`);
    const vdev = `net_virtio_user0,path=${path},server=1,queues=1,queue_size=256,packed_vq=${packed}`;
    let host = open([`vhost:${path},client=1`], { mbufs: 2048 });
    t.teardown(() => host.close());
    const first = testpmd('c', vdev);
    await run(t, first, () => bounce(t, host, host.ports[0]!));
    t.comment('our side goes, and another one comes');
    host.close();
    host = open([`vhost:${path},client=1`], { mbufs: 2048 });
    await bounce(t, host, host.ports[0]!);
    t.comment('DPDK goes, and another one comes');
    first.kill();
    await first.exited;
    await until(() => host.ports[0]!.link!.read().up === false);
    rmSync(path, { force: true });
    await run(t, testpmd('d', vdev), () => bounce(t, host, host.ports[0]!));
  });
}
