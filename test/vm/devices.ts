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

/** A NIC that can be pulled out: QEMU's name of it, and the line that plugs it in. */
export interface Pluggable extends Wire {
  readonly id: string;
  readonly plug: string;
}

/** A line on the guest's second port that starts so is a command for QEMU's monitor. */
export const MONITOR_MARK = 'qemu-monitor: ';

/** An 82574L behind a port of its own, as in a slot, where it can be pulled out. */
export const e1000e: Wire = { nic: '0000:01:00.0', mac: '52:54:00:00:01:01', peerMac: '52:54:00:00:01:02' };
/** A second one, for two ports at once. */
export const e1000eToo: Wire = { nic: '0000:02:00.0', mac: '52:54:00:00:04:01', peerMac: '52:54:00:00:04:02' };
/** An 82576, with virtual functions. */
export const igb: Wire = { nic: '0000:04:00.0', mac: '52:54:00:00:03:01', peerMac: '52:54:00:00:03:02' };
/** A pair of Linux's own virtio-net, for AF_XDP in zero-copy: it needs a device that DMAs for itself (`iommu_platform`). No PCI address of ours. */
export const linuxPair = { mac: '52:54:00:00:06:01', peerMac: '52:54:00:00:06:02' } as const;
/** Virtio-net for a driver of ours, with split rings and with packed ones, each behind a port of its own. */
export const virtioSplit = virtio({ nic: '0000:05:00.0', mac: '52:54:00:00:07:01', peerMac: '52:54:00:00:07:02' }, 'id=virtio0,bus=slot4,netdev=v0a');
export const virtioPacked = virtio({ nic: '0000:06:00.0', mac: '52:54:00:00:08:01', peerMac: '52:54:00:00:08:02' }, 'id=virtio1,bus=slot5,netdev=v1a,packed=on');
/** Two NICs behind a bridge to conventional PCI, which cannot tell them apart: one IOMMU group. The second is Linux's. */
export const grouped: readonly [string, string] = ['0000:03:01.0', '0000:03:02.0'];

/** A virtio-net with four queues and RSS: the one kind of NIC here that has it. Taps and a bridge join it to Linux's own, in the machine's network namespace. */
export const multiQueue = { nic: '0000:00:0b.0', mac: '52:54:00:00:05:01', peerMac: '52:54:00:00:05:02', queues: 4 } as const;

/** The host's side of it: a shell's words, run in a network namespace that goes with QEMU. */
export const network = [
  '(sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1 || true)',
  'ip link add br0 type bridge forward_delay 0 mcast_snooping 0',
  'ip tuntap add mq0 mode tap multi_queue vnet_hdr',
  'ip tuntap add mq1 mode tap vnet_hdr',
  'for link in mq0 mq1; do ip link set $link txqueuelen 1000 master br0 up; done',
  'ip link set br0 up',
].join(' && ');

/** QEMU's arguments. */
export function devices(): string[] {
  return [
    ...wire('e0', 1), ...wire('e1', 2), ...wire('x', 3), ...wire('e2', 4), ...wire('v0', 5), ...wire('v1', 6),
    '-netdev', `tap,id=mq0,ifname=mq0,script=no,downscript=no,vhost=off,queues=${multiQueue.queues}`, '-netdev', 'tap,id=mq1,ifname=mq1,script=no,downscript=no,vhost=off',
    // Two vectors for each queue, one for changes of the configuration and one for the control queue.
    '-device', `virtio-net-pci,netdev=mq0,mac=${multiQueue.mac},mq=on,rss=on,hash=on,vectors=${2 * multiQueue.queues + 2},addr=0xb,disable-legacy=on,iommu_platform=on,romfile=`,
    // Linux's end sends with checksums left to do and segments to cut, and receives neither: what it sees of us is what a wire would carry.
    '-device', `virtio-net-pci,netdev=mq1,mac=${multiQueue.peerMac},addr=0xc,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot1,chassis=1,slot=1,addr=0x5',
    '-device', `e1000e,id=e1000e0,bus=slot1,netdev=e0a,mac=${e1000e.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e0b,mac=${e1000e.peerMac},addr=0x6,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot3,chassis=3,slot=3,addr=0x7',
    '-device', `e1000e,id=e1000e1,bus=slot3,netdev=e1a,mac=${e1000eToo.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e1b,mac=${e1000eToo.peerMac},addr=0xa,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', `virtio-net-pci,netdev=xa,mac=${linuxPair.mac},addr=0xd,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', `virtio-net-pci,netdev=xb,mac=${linuxPair.peerMac},addr=0xe,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot2,chassis=2,slot=2,addr=0x9',
    '-device', `igb,id=igb0,bus=slot2,netdev=e2a,mac=${igb.mac},romfile=`,
    '-device', `virtio-net-pci,netdev=e2b,mac=${igb.peerMac},addr=0xf,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot4,chassis=4,slot=4,addr=0x10',
    '-device', virtioSplit.plug,
    '-device', `virtio-net-pci,netdev=v0b,mac=${virtioSplit.peerMac},addr=0x13,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-root-port,id=slot5,chassis=5,slot=5,addr=0x11',
    '-device', virtioPacked.plug,
    '-device', `virtio-net-pci,netdev=v1b,mac=${virtioPacked.peerMac},addr=0x12,disable-legacy=on,iommu_platform=on,romfile=`,
    '-device', 'pcie-pci-bridge,id=bridge,addr=0x8',
    '-device', 'e1000,bus=bridge,addr=0x1,mac=52:54:00:00:02:01,romfile=',
    '-device', 'virtio-net-pci,bus=bridge,addr=0x2,mac=52:54:00:00:02:02,disable-legacy=on,iommu_platform=on,romfile=',
  ];
}

function virtio(wire: Wire, options: string): Pluggable {
  return { ...wire, id: /^id=(\w+)/.exec(options)![1]!, plug: `virtio-net-pci,${options},mac=${wire.mac},disable-legacy=on,iommu_platform=on,romfile=` };
}

function wire(name: string, hub: number): string[] {
  return ['a', 'b'].flatMap(end => ['-netdev', `hubport,id=${name}${end},hubid=${hub}`]);
}
