/** `pollmode switch` and the kernel's own 802.1Q devices (the module 8021q), which plain hosts may not have. */
import t from 'tap';
import { station, SwitchRun } from '../../switch/program_helper.js';

t.setTimeout(300_000);

t.test('a trunk to a host with VLAN devices: each reaches its own VLAN\'s access port, and no other', async t => {
  const [a10, a20, trunk] = [station(t, 1), station(t, 2), station(t, 3)];
  trunk.ip('addr', 'flush', 'dev', trunk.name);
  // A tag that stays beside the frame, as for a NIC that puts it in, is not in what an XDP program sees.
  trunk.run('ethtool', '-K', trunk.name, 'txvlan', 'off');
  for (const vlan of [10, 20]) {
    trunk.ip('link', 'add', 'link', trunk.name, 'name', `vlan${vlan}`, 'type', 'vlan', 'id', String(vlan));
    trunk.ip('link', 'set', `vlan${vlan}`, 'up');
  }
  trunk.ip('addr', 'add', '10.5.0.13/32', 'dev', 'vlan10');
  trunk.ip('addr', 'add', '10.5.0.23/32', 'dev', 'vlan20');
  trunk.ip('route', 'add', '10.5.0.1/32', 'dev', 'vlan10', 'src', '10.5.0.13');
  trunk.ip('route', 'add', '10.5.0.2/32', 'dev', 'vlan20', 'src', '10.5.0.23');
  const run = new SwitchRun(t, { bridges: { br0: { ports: {
    a10: { device: a10.device, vlan: { access: 10 } }, a20: { device: a20.device, vlan: { access: 20 } }, trunk: { device: trunk.device, vlan: { trunk: [10, 20] } },
  } } } });
  await run.start();
  t.equal(a10.ping('10.5.0.13'), 5, 'VLAN 10 to the kernel\'s device');
  t.equal(trunk.ping('10.5.0.1'), 5, 'and from it');
  t.equal(a20.ping('10.5.0.23'), 5, 'VLAN 20');
  t.equal(trunk.ping('10.5.0.2'), 5);
  t.equal(a10.pingInVain('10.5.0.2'), 0, 'and not from one to the other');
  t.equal(await run.end(), 0);
});
