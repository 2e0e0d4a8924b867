/** A tunnel from `pollmode switch` to the Linux kernel's own vxlan device (RFC 7348), laid out as a Neutron host: br-int, br-tun. */
import t from 'tap';
import type { BridgeConfig, UnderlayConfig } from '../../lib/switch/config.js';
import type { FdbEntry } from '../../lib/switch/report.js';
import { LinuxHost } from '../examples/helper.js';
import { needs } from '../kernel/rights.js';
import { station, SwitchRun } from './program_helper.js';

const RIGHTS = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
t.setTimeout(120_000);

/** A host whose own interface is the wire of the tunnel; inside of it is a station like the others. */
function farEnd(test: Test, vni: number, remote: string): LinuxHost {
  const far = new LinuxHost(test, '192.0.2.2/24', '');
  far.ip('link', 'set', 'dev', far.name, 'address', '02:00:00:00:06:02');
  far.ip('link', 'add', 'vx0', 'address', '02:00:00:00:05:02', 'type', 'vxlan', 'id', String(vni), 'local', '192.0.2.2', 'remote', remote, 'dstport', '4789', 'dev', far.name);
  far.ip('link', 'set', 'dev', 'vx0', 'mtu', '1450', 'up');
  far.ip('addr', 'add', '10.5.0.2/24', 'dev', 'vx0');
  return far;
}

type Test = Parameters<typeof station>[0];

/** br-int with a station, br-tun with the tunnel, a cable between them; VLAN 7 inside is VNI 4242 outside. */
function neutron(vm: string, underlay: UnderlayConfig): Record<string, BridgeConfig> {
  return {
    'br-int': { ports: { vm: { device: vm, vlan: { access: 7 } }, 'patch-tun': { patch: { bridge: 'br-tun', port: 'patch-int' }, vlan: { trunk: [7] } } } },
    'br-tun': { ports: {
      'patch-int': { patch: { bridge: 'br-int', port: 'patch-tun' }, vlan: { trunk: [7] } },
      far: { vlan: { access: 7 }, vxlan: { vni: 4242, local: '192.0.2.1', remotes: ['192.0.2.2'], underlay } },
    } },
  };
}

for (const over of ['device', 'bridge'] as const) {
  t.test(`a tunnel over a ${over}: ping and TCP both ways, and what each side learned`, RIGHTS, async t => {
    const vm = station(t, 1);
    vm.ip('link', 'set', 'dev', vm.name, 'mtu', '1450');
    const far = farEnd(t, 4242, '192.0.2.1');
    const bridges = over === 'device' ? neutron(vm.device, { device: far.device }) : { ...neutron(vm.device, { bridge: 'br-ex' }), 'br-ex': { ports: { wire: { device: far.device } } } };
    const run = new SwitchRun(t, { bridges });
    await run.start();
    t.equal(vm.ping('10.5.0.2', 20), 20, 'from the station');
    t.equal(far.ping('10.5.0.1', 20), 20, 'to it');
    t.equal(vm.ping('10.5.0.2', 5, '-s', '1422', '-M', 'do'), 5, 'with whole frames');
    t.ok(await vm.iperf(t, far, '10.5.0.2') > 1e6, 'TCP out');
    if (over === 'device') t.ok(await far.iperf(t, vm, '10.5.0.1') > 1e6, 'TCP in');
    const learned = (await run.ask({ request: 'fdb', bridge: 'br-tun' }) as FdbEntry[]).map(({ mac, vlan, port, remote }) => [mac, vlan, port, remote].join(' '));
    t.ok(learned.some(line => line.startsWith('02:00:00:00:05:02 7 far')), learned.join());
    t.match(far.run('bridge', 'fdb', 'show', 'dev', 'vx0').stdout, /02:00:00:00:05:01 dst 192\.0\.2\.1/, 'Linux learned where the station is');
    // Reloaded with another VNI nothing passes, and with the old one it goes on.
    const other = structuredClone(bridges) as unknown as { 'br-tun': { ports: { far: { vxlan: { vni: number } } } } };
    other['br-tun'].ports.far.vxlan.vni = 4243;
    await run.reload({ bridges: other as unknown as Record<string, BridgeConfig> });
    t.equal(vm.pingInVain('10.5.0.2'), 0);
    await run.reload({ bridges });
    t.equal(vm.ping('10.5.0.2', 5), 5);
    t.equal(await run.end(), 0);
  });
}
