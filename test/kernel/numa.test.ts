import t from 'tap';
import { existsSync, readdirSync } from 'node:fs';
import { nodeOfCpu, nodeOfDevice } from '../../lib/kernel/numa.js';

t.test('nodes of a machine with two', async t => {
  const sys = t.testdir({
    devices: {
      system: { cpu: { cpu0: { node0: {} }, cpu3: { node1: {}, cache: {} }, cpu4: {} } },
      pci: { '0000:01:00.0': { numa_node: '1\n' }, '0000:02:00.0': { numa_node: '0\n', virtio2: {} }, '0000:03:00.0': { numa_node: '-1\n' } },
    },
    class: { net: {
      eth0: { address: '02:00:00:00:00:01\n', device: t.fixture('symlink', '../../../devices/pci/0000:01:00.0') },
      eth1: { address: '02:00:00:00:00:02\n', device: t.fixture('symlink', '../../../devices/pci/0000:02:00.0/virtio2') },
      veth0: { address: '02:00:00:00:00:03\n' },
    } },
    bus: { pci: { devices: { '0000:01:00.0': t.fixture('symlink', '../../../devices/pci/0000:01:00.0'), '0000:03:00.0': t.fixture('symlink', '../../../devices/pci/0000:03:00.0') } } },
  });
  t.same([0, 3, 4, 9].map(cpu => nodeOfCpu(cpu, sys)), [0, 1, -1, -1]);
  const nodes = (...devices: string[]): number[] => devices.map(device => nodeOfDevice(device, undefined, sys));
  t.same(nodes('eth0', 'eth1', 'veth0', 'none'), [1, 0, -1, -1], 'a virtio NIC is where its PCI device is');
  t.same(nodes('0000:01:00.0', '0000:03:00.0', '0000:09:00.0'), [1, -1, -1]);
  t.same(nodes('../eth0', '.', '', '/tmp/vm0.sock'), [-1, -1, -1, -1], 'what is no name is no path either');
  t.same(['02:00:00:00:00:01', '02:00:00:00:00:09'].map(mac => nodeOfDevice('eth0', mac, sys)), [1, -1], 'another interface of that name is in another namespace');
});

t.test('this machine', async t => {
  const cpu = '/sys/devices/system/cpu/cpu0';
  const there = existsSync(cpu) && readdirSync(cpu).some(name => /^node\d+$/.test(name));
  t.equal(nodeOfCpu(0) >= 0, there);
  t.equal(nodeOfDevice('lo'), -1);
});
