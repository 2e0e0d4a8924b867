/**
 * The NICs of the lab's machine. Read by both sides: the host makes them, the guest's tests look them up. A device is
 * known by its MAC address before a driver of ours has it, and by its PCI address afterwards.
 *
 * Each of a pair is one end of a wire (a hub with two ports): the first is the test's, the other one Linux's own.
 */
export interface Wire {
  /** The test's NIC: its PCI address and MAC address. */
  readonly nic: string;
  readonly mac: string;
  /** Linux's NIC at the other end. */
  readonly peerMac: string;
}

/** A line on the guest's second port that starts so is a command for QEMU's monitor. */
export const MONITOR_MARK = 'qemu-monitor: ';

/** An 82574L behind a port of its own, as in a slot, where it can be pulled out. */
export const e1000e: Wire = { nic: '0000:01:00.0', mac: '52:54:00:00:01:01', peerMac: '52:54:00:00:01:02' };
/** A second one, for two ports at once. */
export const e1000eToo: Wire = { nic: '0000:02:00.0', mac: '52:54:00:00:04:01', peerMac: '52:54:00:00:04:02' };
/** An 82576, with virtual functions. */
export const igb: Wire = { nic: '0000:04:00.0', mac: '52:54:00:00:03:01', peerMac: '52:54:00:00:03:02' };
/** Two NICs behind a bridge to conventional PCI, which cannot tell them apart: one IOMMU group. The second is Linux's. */
export const grouped: readonly [string, string] = ['0000:03:01.0', '0000:03:02.0'];

/** QEMU's arguments. */
export function devices(): string[] {
  return [
    ...wire('e0', 1), ...wire('e1', 2), ...wire('e2', 3),
    '-device', 'pcie-root-port,id=slot1,chassis=1,slot=1,addr=0x5',
    '-device', `e1000e,id=e1000e0,bus=slot1,netdev=e0a,mac=${e1000e.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e0b,mac=${e1000e.peerMac},addr=0x6,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot3,chassis=3,slot=3,addr=0x7',
    '-device', `e1000e,id=e1000e1,bus=slot3,netdev=e1a,mac=${e1000eToo.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e1b,mac=${e1000eToo.peerMac},addr=0xa,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot2,chassis=2,slot=2,addr=0x9',
    '-device', `igb,id=igb0,bus=slot2,netdev=e2a,mac=${igb.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e2b,mac=${igb.peerMac},addr=0xb,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-pci-bridge,id=bridge,addr=0x8',
    '-device', 'e1000,bus=bridge,addr=0x1,mac=52:54:00:00:02:01,romfile=',
    '-device', 'virtio-net-pci,bus=bridge,addr=0x2,mac=52:54:00:00:02:02,disable-legacy=on,iommu_platform=on,romfile=',
  ];
}

function wire(name: string, hub: number): string[] {
  return ['a', 'b'].flatMap(end => ['-netdev', `hubport,id=${name}${end},hubid=${hub}`]);
}
