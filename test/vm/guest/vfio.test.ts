/** VFIO itself, without a driver of ours: who may open a device, and what it says when not. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { Arena } from '../../../lib/arena/arena.js';
import { PollmodeError } from '../../../lib/errors.js';
import { chooseIovaBase, VfioDevice } from '../../../lib/kernel/vfio.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { NicDevice } from '../../../lib/port/drivers/vfio/pci/device.js';
import { codeThrown } from '../../kernel/rights.js';
import { e1000e, grouped } from '../devices.js';

const HOLDER = fileURLToPath(new URL('vfio_holder.js', import.meta.url));

function messageOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (error instanceof PollmodeError) return error.message;
    throw error;
  }
}

t.test('a device that is not bound says by what to bind it', t => {
  t.equal(codeThrown(() => new VfioDevice(e1000e.nic)), 'EBUSYQUEUE');
  t.match(messageOf(() => new VfioDevice(e1000e.nic)), /driver e1000e has it: pollmode bind 0000:01:00.0/);
  t.equal(codeThrown(() => new VfioDevice('01:00')), 'EDEVICE');
  t.equal(codeThrown(() => new VfioDevice('0000:1f:00.0')), 'ENOTFOUND');
  t.end();
});

t.test('regions, ranges, configuration space, reset; a second open is refused', t => {
  bindToVfio(e1000e.nic);
  const device = new VfioDevice(e1000e.nic);
  t.teardown(() => { device.close(); restore(e1000e.nic); });
  t.same(device.region(0), { size: 128 << 10, offset: 0, mappable: true }, 'BAR 0 of an 82574L has 128 KiB');
  t.equal(device.irqs(2), 5, 'MSI-X vectors');
  t.equal(device.irqs(4), 1, 'the request interrupt');
  t.same([device.readConfig(0), device.readConfig(2)], [0x8086, 0x10d3]);
  device.busMaster(true);
  t.equal(device.readConfig(4) & 6, 6);
  device.busMaster(false);
  t.equal(device.readConfig(4) & 6, 2);
  t.equal(chooseIovaBase(device.ranges, 256 << 20), 2 ** 32);
  t.ok(device.ranges.every(({ start, end }) => !(start <= 0xfee00000 && end >= 0xfee00000)), 'the window for interrupts is in no range');
  t.match(messageOf(() => new VfioDevice(e1000e.nic)), /is open already/);
  t.equal(codeThrown(() => restore(e1000e.nic)), 'EBUSYQUEUE', 'nor can it be taken away');
  const other = spawnSync(process.execPath, [HOLDER, e1000e.nic], { encoding: 'utf8' });
  t.equal(other.stdout, 'EBUSYQUEUE\n', 'nor from another process');
  t.end();
});

t.test('memory for the device, and the limit on locked memory', t => {
  bindToVfio(e1000e.nic);
  t.teardown(() => restore(e1000e.nic));
  const arena = Arena.create({ size: 16 << 20 });
  const zone = arena.reserve('dma', 1 << 20, { align: 4096 });
  const device = new VfioDevice(e1000e.nic);
  device.map(arena.u8, zone.offset, zone.length, 2 ** 32 + zone.offset);
  t.equal(codeThrown(() => device.map(arena.u8, zone.offset, zone.length, 2 ** 32 + zone.offset)), 'EEXISTS', 'not twice');
  device.unmap(2 ** 32 + zone.offset, zone.length);
  device.map(arena.u8, zone.offset, zone.length, 2 ** 32 + zone.offset);
  device.close();
  arena.close();
  // Root may lock what it likes; without the capability the limit holds.
  const poor = spawnSync('setpriv', ['--bounding-set=-ipc_lock', 'prlimit', '--memlock=65536:65536', process.execPath, HOLDER, e1000e.nic], { encoding: 'utf8' });
  t.equal(poor.stdout, 'EMEMLOCK\n', poor.stderr);
  t.end();
});

t.test('a BAR that is too small, or that cannot be mapped, and vectors that are not there', t => {
  bindToVfio(e1000e.nic);
  const arena = Arena.create({ size: 16 << 20 });
  const host = { arena, pool: Mempool.create(arena, 'pool', { count: 64 }), number: 0, device: `vfio:${e1000e.nic}` };
  const nic = new NicDevice(host, e1000e.nic);
  t.teardown(() => { arena.close(); restore(e1000e.nic); });
  const zones = arena.zones().length;
  t.match(messageOf(() => nic.bar(0, 132 << 10)), /BAR 0 has 131072 bytes and 135168 are needed/);
  t.match(messageOf(() => nic.bar(2, 4096)), /BAR 2 has 32 bytes that cannot be mapped/, 'registers by port number');
  t.match(messageOf(() => nic.bar(5, 4096)), /BAR 5 has 0 bytes/);
  t.match(messageOf(() => nic.vectors(6)), /has 5 MSI-X vectors and 6 are needed/);
  t.equal(arena.zones().length, zones, 'nothing is left of them');
  t.equal(nic.bar(0, 128 << 10).length, 128 << 10, 'the device is usable');
  nic.close();
  t.end();
});

t.test('a group with another driver in it is not viable, and names it', t => {
  bindToVfio(grouped[0]);
  t.teardown(() => restore(grouped[0]));
  t.match(messageOf(() => new VfioDevice(grouped[0])), new RegExp(`not viable.*${grouped[1]} \\(virtio-pci\\)`));
  bindToVfio(grouped[1], { force: true });
  const device = new VfioDevice(grouped[0]);
  device.close();
  restore(grouped[1]);
  t.end();
});
