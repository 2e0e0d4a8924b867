/** The lab itself: what the other suites take for granted. */
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import t from 'tap';
import { listLinks } from '../../../lib/kernel/link.js';
import { e1000e, grouped } from '../devices.js';

t.test('an IOMMU that the kernel uses, with a group for each NIC', t => {
  const group = (nic: string): string => readlinkSync(`/sys/bus/pci/devices/${nic}/iommu_group`);
  t.notSame(group(e1000e.nic), group(grouped[0]));
  t.equal(group(grouped[0]), group(grouped[1]), 'functions without isolation share one');
  t.ok(existsSync('/dev/vfio/vfio'), 'VFIO');
  t.end();
});

t.test('the NICs are where the list says', t => {
  t.equal(readFileSync(`/sys/bus/pci/devices/${e1000e.nic}/device`, 'utf8').trim(), '0x10d3');
  t.ok(listLinks().some(link => link.mac === e1000e.peerMac), 'Linux has the other end');
  t.end();
});
