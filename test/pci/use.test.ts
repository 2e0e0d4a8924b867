/** What counts as the machine's use of a NIC, on links of the test's own. With devices: test/vm/guest/bind.test.ts. */
import t from 'tap';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { binding } from '../../lib/binding.js';
import { needs } from '../kernel/rights.js';
import { inChild } from '../native/child.js';

t.test('addresses, default routes and masters, of what stands on the interface too', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN'), async t => {
  const fd = createNetns();
  // A sysfs of its own shows the links of its namespace.
  const code = `
    const { spawnSync } = await import('node:child_process');
    const run = (line) => { const [program, ...words] = line.split(' '); const done = spawnSync(program, words, { encoding: 'utf8' }); if (done.status !== 0) throw new Error(line + ': ' + done.stderr); };
    const { uses } = await import(LIB + 'pci/use.js');
    const look = () => console.log(JSON.stringify(uses({ interfaces: ['left'], driver: 'some' })));
    for (const line of ['mount -t sysfs none /sys', 'ip link add left type veth peer name right', 'ip link set left up', 'ip link set right up']) run(line);
    look();
    run('ip link add bridge0 type bridge');
    run('ip link set left master bridge0');
    run('ip link add link bridge0 name top type macvlan');
    for (const name of ['bridge0', 'top']) run('ip link set ' + name + ' up');
    look();
    run('ip address add 192.0.2.1/24 dev top');
    run('ip route add default via 192.0.2.2 dev top');
    run('ip address add 192.0.2.3/24 dev bridge0');
    look();
    run('ip link set left nomaster');
    look();`;
  const ended = withNetns(fd, () => inChild(code, ['unshare', '-m']));
  t.same(ended.stdout.trim().split('\n').map(line => JSON.parse(line) as unknown), [
    [],
    ['left is part of a bridge or bond'],
    ['left is part of a bridge or bond', 'bridge0 has the address 192.0.2.3/24', 'top carries the default route', 'top has the address 192.0.2.1/24'],
    [],
  ], ended.stderr);
  binding().close(fd);
});
