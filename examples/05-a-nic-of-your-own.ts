/**
 * Lesson 5: a NIC of your own: VFIO, the IOMMU, SR-IOV. Run it: node dist/examples/05-a-nic-of-your-own.js [PCI ADDRESS]
 *
 * You will learn
 * - that VFIO hands a NIC from the kernel to one program: its registers as memory, its interrupts as descriptors;
 * - that this is safe only behind an IOMMU, and that what the IOMMU cannot tell apart (a group) goes together;
 * - that with SR-IOV one NIC makes virtual functions: each with rings, interrupts and an IOMMU group of its own.
 *
 *          registers (BAR) <--- stores ----  this program   ----> the arena: buffers, descriptor rings
 *   NIC ---- DMA, by its own addresses ----> [ the IOMMU: those two, nothing else ] ---^
 *   NIC ---- MSI-X ---> the kernel ---> eventfd, for who wants to sleep
 *
 * Without an address it shows what this machine has, and the command for each step. With one (as root, of a NIC that is
 * bound to vfio-pci) it drives that NIC: says hello four times on its wire, and shows what comes in three seconds.
 */
import { existsSync, readdirSync } from 'node:fs';
import { build, describe, Idle, open, poll, PollmodeError } from '../lib/index.js';
import { listNetworkDevices, type PciDevice } from '../lib/kernel/pci.js';

const BIND = 'pollmode bind'; // in a clone: node dist/lib/cli/main.js bind
const GROUPS = '/sys/kernel/iommu_groups';

function whatNext({ address, driver, group, virtualFunctions, physicalFunction }: PciDevice): string[] {
  if (group === undefined) return ['nothing, without an IOMMU'];
  const others = existsSync(`${GROUPS}/${group}/devices`) ? readdirSync(`${GROUPS}/${group}/devices`).length - 1 : 0;
  return [
    ...(others > 0 ? [`its group has ${others} more: they go together`] : []),
    ...(driver === 'vfio-pci' ? [`this lesson with ${address}; back by ${BIND} --restore ${address}`] : [`${BIND} ${address}`]),
    ...(virtualFunctions !== undefined && virtualFunctions.now === 0 ? [`${BIND} --vfs 2 ${address}`] : []),
    ...(physicalFunction === undefined ? [] : [`a virtual function of ${physicalFunction}`]),
  ];
}

function survey(): void {
  const groups = existsSync(GROUPS) ? readdirSync(GROUPS).length : 0;
  console.log(groups > 0 ? `IOMMU: ${groups} groups` : 'IOMMU: none. A NIC could write over any memory here, the kernel\'s too, so VFIO gives none away.\n  What mends it: VT-d or AMD-Vi in the firmware, intel_iommu=on on the kernel\'s line; a VM needs a virtual one (in a clone, npm run test:vm boots one).');
  console.log(existsSync('/dev/vfio/vfio') ? 'VFIO: there' : 'VFIO: not loaded (as root: modprobe vfio-pci)');
  const devices = listNetworkDevices();
  console.log(devices.length === 0 ? 'NICs on the PCI bus: none' : `\n${'NIC'.padEnd(13)} ${'driver'.padEnd(11)} ${'group'.padEnd(6)} ${'functions'.padEnd(10)} what can be done`);
  for (const device of devices) {
    const { address, driver = '-', group = '-', virtualFunctions: functions } = device;
    console.log(`${address.padEnd(13)} ${driver.padEnd(11)} ${group.padEnd(6)} ${(functions === undefined ? '-' : `${functions.now} of ${functions.most}`).padEnd(10)} ${whatNext(device).join('; ')}`);
  }
  console.log('\nA virtual function in three steps, where a NIC has some (82576: 7; most servers\' NICs: 63 and more):');
  console.log(`  ${BIND} --vfs 2 0000:04:00.0     it makes two, 0000:04:10.0 and 0000:04:10.2; the wire stays the kernel's\n  ${BIND} 0000:04:10.0             this one is a program's now\n  open(['vfio:0000:04:10.0'])           and what it may do (MAC address, VLANs) the physical function says`);
}

async function drive(address: string): Promise<void> {
  const host = open([`vfio:${address}`]);
  try {
    const port = host.ports[0]!;
    const { mbufs, pool } = host;
    const [rx, tx] = [port.rx[0]!, port.tx[0]!];
    console.log(`${port.name}: ${port.mac}, ${port.capabilities.mode}`);
    console.log(`the NIC may reach the buffers, ${pool.buffers.length >> 10} KiB from offset 0x${pool.buffers.offset.toString(16)} of the arena on, and its rings`);
    await poll(() => port.link?.read().up !== true, { seconds: 5 }); // a wire takes its time
    console.log(`the link is ${port.link?.read().up === false ? 'down' : 'up'}`);

    const burst = host.burst();
    pool.alloc(burst, 4);
    // EtherType 0x88b5 is for experiments (IEEE 802): nobody answers it.
    for (let i = 0; i < 4; i++) mbufs.copyIn(burst.handles[i]!, build.frame(build.ethernet({ source: port.mac!, destination: 'ff:ff:ff:ff:ff:ff', type: 0x88b5 }), new TextEncoder().encode(`hello ${i} from a program`.padEnd(46))));
    const sent = tx.txBurst(burst, 4);
    pool.free(burst, sent, 4);

    const idle = new Idle({ policy: 'interrupt', queues: [rx] });
    let shown = 0;
    await poll(() => {
      const got = rx.rxBurst(burst);
      for (let i = 0; i < got && shown < 8; i++, shown++) console.log(`  the NIC wrote to 0x${mbufs.data(burst.handles[i]!).toString(16)}: ${describe(mbufs, burst.handles[i]!)}`);
      pool.free(burst, 0, got);
      return got;
    }, { seconds: 3, idle });
    const { rxPackets, txPackets } = host.stats(port);
    console.log(`${txPackets} sent, ${rxPackets} received; slept ${idle.stats().sleeps} times, woken by an interrupt ${idle.stats().wakeups} times`);
  } finally {
    host.close();
  }
}

const address = process.argv[2];
if (address === undefined) survey();
else {
  try {
    await drive(address);
  } catch (error) {
    if (!(error instanceof PollmodeError)) throw error;
    console.log(error.message); // what is missing, and what mends it
  }
}
