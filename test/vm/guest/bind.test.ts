import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { listLinks, setLink } from '../../../lib/kernel/link.js';
import { addAddress } from '../../../lib/kernel/link_addresses.js';
import { attributePath, listNetworkDevices, readDevice, writeSysfs } from '../../../lib/kernel/pci.js';
import { VfioDevice } from '../../../lib/kernel/vfio.js';
import { bindToVfio, restore, setVirtualFunctions } from '../../../lib/pci/bind.js';
import { uses } from '../../../lib/pci/use.js';
import { codeThrown } from '../../kernel/rights.js';
import { e1000e, e1000eToo } from '../devices.js';

const CLI = fileURLToPath(new URL('../../../lib/cli/main.js', import.meta.url));

function cli(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [CLI, 'bind', ...words], { encoding: 'utf8' });
}

const driverOf = (address: string): string | undefined => readDevice(address).driver;

t.test('the list names devices, drivers, groups and interfaces', t => {
  const list = JSON.parse(cli('--json').stdout) as { address: string; driver: string; interfaces: string[] }[];
  t.same(list.map(each => each.address), listNetworkDevices().map(each => each.address));
  t.match(list.find(each => each.address === e1000e.nic), { driver: 'e1000e', vendor: 0x8086, device: 0x10d3, interfaces: [/./] });
  t.match(list.find(each => each.interfaces.includes(nameOf(e1000e.peerMac))), { driver: 'virtio-pci' });
  t.end();
});

t.test('bound and given back; a dry run does neither', t => {
  t.match(bindToVfio(e1000e.nic, { dryRun: true }).did, /bound to vfio-pci, was e1000e's/);
  t.equal(driverOf(e1000e.nic), 'e1000e');
  t.match(cli(e1000e.nic.slice(5)), { status: 0, stdout: /bound to vfio-pci, was e1000e's/ }, 'without the domain');
  t.equal(driverOf(e1000e.nic), 'vfio-pci');
  t.match(bindToVfio(e1000e.nic).did, /already/);
  t.match(restore(e1000e.nic).did, /given back to e1000e/);
  t.equal(driverOf(e1000e.nic), 'e1000e');
  t.equal(readFileSync(attributePath(readDevice(e1000e.nic), 'driver_override'), 'utf8').trim(), '(null)');
  t.match(restore(e1000e.nic).did, /not bound/);
  t.end();
});

t.test('the driver that it had is the one that it gets, also none', t => {
  const device = readDevice(e1000e.nic);
  writeSysfs(attributePath(device, 'driver/unbind'), device.address);
  bindToVfio(e1000e.nic);
  t.match(restore(e1000e.nic).did, /no driver/);
  t.equal(driverOf(e1000e.nic), undefined);
  writeSysfs('/sys/bus/pci/drivers_probe', e1000e.nic);
  t.equal(driverOf(e1000e.nic), 'e1000e');
  t.end();
});

t.test('a NIC in use stays, unless forced', t => {
  const { ifindex, name } = listLinks().find(link => link.mac === e1000e.mac)!;
  setLink(ifindex, { up: true });
  addAddress(ifindex, '192.0.2.1', 24);
  t.equal(codeThrown(() => bindToVfio(e1000e.nic)), 'EBUSYQUEUE');
  t.match(cli(e1000e.nic), { status: 1, stderr: new RegExp(`${name} has the address 192.0.2.1/24.*--force`) });
  t.equal(driverOf(e1000e.nic), 'e1000e');
  spawnSync('ip', ['route', 'add', 'default', 'via', '192.0.2.2', 'dev', name]);
  t.match(uses(readDevice(e1000e.nic)), [/carries the default route/, /192.0.2.1/]);
  t.match(bindToVfio(e1000e.nic, { force: true, dryRun: true }).did, /bound/);
  t.equal(driverOf(e1000e.nic), 'e1000e');
  bindToVfio(e1000e.nic, { force: true });
  t.equal(driverOf(e1000e.nic), 'vfio-pci');
  restore(e1000e.nic);
  t.end();
});

t.test('what stands on a NIC counts as its use', t => {
  const { ifindex, name } = listLinks().find(link => link.mac === e1000e.mac)!;
  setLink(ifindex, { up: true });
  t.same(uses(readDevice(e1000e.nic)), []);
  spawnSync('ip', ['link', 'add', 'link', name, 'name', 'tagged', 'type', 'vlan', 'id', '5']);
  spawnSync('ip', ['addr', 'add', '192.0.2.5/24', 'dev', 'tagged']);
  t.same(uses(readDevice(e1000e.nic)), ['tagged has the address 192.0.2.5/24']);
  t.equal(codeThrown(() => bindToVfio(e1000e.nic, { dryRun: true })), 'EBUSYQUEUE');
  spawnSync('ip', ['link', 'del', 'tagged']);
  t.end();
});

t.test('of several devices, those before one that is refused are bound, and said', t => {
  t.match(cli(e1000e.nic, 'eth0', e1000eToo.nic), { status: 1, stdout: /^0000:01:00\.0  bound to vfio-pci, was e1000e's\n$/, stderr: /eth0/ });
  t.same([driverOf(e1000e.nic), driverOf(e1000eToo.nic)], ['vfio-pci', 'e1000e']);
  t.same(JSON.parse(cli('--json', '--restore', e1000e.nic, 'eth0').stdout), [{ address: e1000e.nic, did: 'given back to e1000e' }]);
  t.end();
});

t.test('virtual functions come and go', t => {
  // An 82576's physical function. The bus that it is on depends on how many the kernel keeps for its virtual ones.
  const igb = listNetworkDevices().find(device => device.device === 0x10c9)!.address;
  t.match(setVirtualFunctions(igb, 2).did, /has 2 virtual functions, had 0/);
  const made = listNetworkDevices().filter(device => device.physicalFunction === igb);
  t.equal(made.length, 2);
  t.equal(new Set(made.map(device => device.group)).size, 2, 'each in a group of its own');
  // The kernel would wait until the function is closed.
  const { address } = made[0]!;
  bindToVfio(address, { force: true });
  const open = new VfioDevice(address);
  for (const work of [() => bindToVfio(igb, { dryRun: true }), () => setVirtualFunctions(igb, 0, { dryRun: true })]) t.equal(codeThrown(work), 'EBUSYQUEUE', 'one of them is open');
  open.close();
  t.match(bindToVfio(igb, { dryRun: true }).did, /bound to vfio-pci, was igb's/);
  setVirtualFunctions(igb, 1, { force: true });
  t.match(readDevice(igb).virtualFunctions, { now: 1 });
  t.equal(codeThrown(() => setVirtualFunctions(igb, 99)), 'EOPTION');
  setVirtualFunctions(igb, 0);
  t.equal(listNetworkDevices().filter(device => device.physicalFunction === igb).length, 0);
  t.equal(codeThrown(() => setVirtualFunctions(e1000e.nic, 1)), 'EUNSUPPORTED');
  t.end();
});

t.test('what is no device', t => {
  t.equal(codeThrown(() => bindToVfio('eth0')), 'EDEVICE');
  t.equal(codeThrown(() => bindToVfio('0000:01:00.0\n')), 'EDEVICE');
  t.equal(codeThrown(() => bindToVfio('ffff:ff:1f.7')), 'ENOTFOUND');
  t.end();
});

function nameOf(mac: string): string {
  return listLinks().find(link => link.mac === mac)!.name;
}
