import { info, missing, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

const PCI_DEVICES = '/sys/bus/pci/devices';
const GROUPS = '/sys/kernel/iommu_groups';

/** What a NIC needs to be driven from here: an IOMMU, VFIO and a device that is bound to it. */
export function passthroughChecks(machine: Machine): Finding[] {
  const iommu = iommuOf(machine);
  return [iommu, vfio(machine, iommu), ...noIommu(machine), ...networkDevices(machine)];
}

function iommuOf({ files }: Machine): Finding {
  const groups = files.list(GROUPS).length;
  const asked = (files.text('/proc/cmdline') ?? '').split(/\s+/).filter(word => /^(intel_iommu|amd_iommu|iommu|iommu\.passthrough|arm-smmu[\w.]*)=/.test(word));
  const line = asked.length === 0 ? '' : ` (kernel line: ${asked.join(' ')})`;
  if (groups > 0) return ok('IOMMU', `${groups} groups${line}`);
  if (files.list('/sys/class/iommu').length > 0) return missing('IOMMU', `present, no groups${line}`, 'It is there and off: a device could write anywhere in memory.', 'Start the kernel with intel_iommu=on (or amd_iommu=on).');
  return missing('IOMMU', `none${line}`, 'Without one a device that a program drives could write anywhere in memory, so VFIO gives none away.', 'Switch VT-d or AMD-Vi on in the firmware and start the kernel with intel_iommu=on; a VM needs a virtual IOMMU.');
}

/** Without an IOMMU there is nothing to load it for: what is missing is named once. */
function vfio({ files }: Machine, iommu: Finding): Finding {
  const node = files.access('/dev/vfio/vfio');
  const driver = files.exists('/sys/bus/pci/drivers/vfio-pci');
  const groups = files.list('/dev/vfio').filter(name => /^\d+$/.test(name));
  if (!driver && node === 'absent' && iommu.status === 'missing') return info('VFIO', 'not loaded', 'It gives no device away without an IOMMU. With one, as root: modprobe vfio-pci');
  if (!driver && node === 'absent') return missing('VFIO', 'not loaded', 'NICs are driven from here through it.', 'As root: modprobe vfio-pci (a kernel without modules needs CONFIG_VFIO_PCI=y).');
  const value = `${driver ? 'vfio-pci is loaded' : 'vfio-pci is not loaded'}; groups ${groups.length === 0 ? 'none bound' : groups.join(', ')}`;
  if (node === 'denied') return missing('VFIO', value, '/dev/vfio/vfio may not be opened by this user.', 'Run as root, or give the user the group\'s files in /dev/vfio.');
  if (!driver || node === 'absent') return warn('VFIO', value, 'Only a part of it is there.', 'As root: modprobe vfio-pci');
  return ok('VFIO', value);
}

function noIommu({ files }: Machine): Finding[] {
  if (files.text('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode') !== 'Y') return [];
  return [warn('VFIO without IOMMU', 'allowed', 'A device in that mode may write anywhere in memory; pollmode does not use it.', 'As root: echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode')];
}

/** PCI devices of the network class, also those that no kernel driver made an interface of. */
function networkDevices({ files }: Machine): Finding[] {
  return files.list(PCI_DEVICES).flatMap(address => {
    const folder = `${PCI_DEVICES}/${address}`;
    if (!/^0x02/.test(files.text(`${folder}/class`) ?? '')) return [];
    const [vendor, device] = ['vendor', 'device'].map(name => (files.text(`${folder}/${name}`) ?? '').replace(/^0x/, ''));
    const group = files.target(`${folder}/iommu_group`);
    const node = files.number(`${folder}/numa_node`) ?? -1;
    const driver = files.target(`${folder}/driver`) ?? 'no driver';
    const functions = files.number(`${folder}/sriov_totalvfs`);
    const value = [`${vendor}:${device}`, driver, group === undefined ? 'no IOMMU group' : `IOMMU group ${group}`, ...(node >= 0 ? [`NUMA node ${node}`] : []),
      ...(functions === undefined ? [] : [`${files.number(`${folder}/sriov_numvfs`) ?? 0} of ${functions} virtual functions`])].join(', ');
    return [driver === 'vfio-pci' ? ok(address, value) : info(address, value)];
  });
}
