import type { Channels } from '../kernel/ethtool.js';
import type { XdpFeatures } from '../kernel/features.js';
import type { Link } from '../kernel/link.js';
import { defaultRoutes } from '../kernel/routes.js';
import type { Files } from './files.js';
import { granted, type Machine } from './machine.js';

/** A network interface, as the kernel's netlink, ethtool and sysfs describe it. */
export interface Interface {
  readonly name: string;
  readonly ifindex: number;
  /** "veth", "bridge", ...; empty for a plain NIC. */
  readonly kind: string;
  readonly up: boolean;
  readonly operstate: string;
  /** Bytes of IP packet: no Ethernet header, no FCS. */
  readonly mtu: number;
  readonly mac: string;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** The kernel's driver; absent where nothing names one. */
  readonly driver?: string;
  /** "0000:01:00.0", "virtio2"; absent for software devices. */
  readonly bus?: string;
  readonly numaNode?: number;
  readonly channels?: Channels;
  /** Absent where the kernel does not say. */
  readonly xdp?: Omit<XdpFeatures, 'ifindex'>;
  /** Receive queues that an AF_XDP socket has already. */
  readonly xskQueues: readonly number[];
  /** Frames that the machine is reached by go through it. */
  readonly defaultRoute: boolean;
  /** The device string to open it with. */
  readonly device: string;
}

/** Every interface of the calling thread's network namespace. */
export function interfacesOf(machine: Machine): Interface[] {
  const { network, files } = machine;
  const links = network?.links() ?? sysfsLinks(files);
  const features = network === undefined ? undefined : granted(() => network.xdp());
  const routed = defaultRoutes(path => files.text(path));
  return links.map(link => {
    const { name, ifindex, kind, up, operstate, mtu, mac, rxQueues, txQueues } = link;
    const xdp = features?.find(each => each.ifindex === ifindex);
    const channels = network === undefined ? undefined : granted(() => network.channels(name));
    const queues = network === undefined ? [] : granted(() => network.queues(ifindex)) ?? [];
    return {
      name, ifindex, kind, up, operstate, mtu, mac, rxQueues, txQueues,
      ...hardware(machine, link),
      ...(channels === undefined ? {} : { channels }),
      ...(xdp === undefined ? {} : { xdp: withoutIfindex(xdp) }),
      xskQueues: queues.filter(each => each.xsk && each.direction === 'rx').map(each => each.queue),
      defaultRoute: routed.has(name),
      device: deviceFor(machine, link, xdp),
    };
  });
}

function withoutIfindex({ ifindex: _, ...rest }: XdpFeatures): Omit<XdpFeatures, 'ifindex'> {
  return rest;
}

const PCI = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

function hardware({ files, network }: Machine, { name, ifindex }: Link): Pick<Interface, 'driver' | 'bus' | 'numaNode'> {
  const info = network === undefined ? undefined : granted(() => network.driver(name));
  const folder = `/sys/class/net/${name}`;
  // sysfs shows the namespace that it was mounted for, which may not be the thread's.
  const same = files.number(`${folder}/ifindex`) === ifindex;
  const path = same ? files.real(`${folder}/device`) : undefined;
  const driver = info?.driver || (path === undefined ? undefined : files.target(`${path}/driver`));
  const bus = info?.bus || path?.split('/').filter(part => PCI.test(part)).at(-1) || path?.split('/').at(-1);
  const node = path === undefined ? undefined : files.number(`${path}/numa_node`) ?? files.number(`${path}/../numa_node`);
  return {
    ...(driver === undefined ? {} : { driver }),
    ...(bus === undefined ? {} : { bus }),
    ...(node === undefined || node < 0 ? {} : { numaNode: node }),
  };
}

/** Without the addon: what sysfs tells of each. */
function sysfsLinks(files: Files): Link[] {
  return files.list('/sys/class/net').flatMap(name => {
    const folder = `/sys/class/net/${name}`;
    const ifindex = files.number(`${folder}/ifindex`);
    if (ifindex === undefined) return []; // bonding_masters and other files
    const flags = Number(files.text(`${folder}/flags`) ?? 0);
    const queues = files.list(`${folder}/queues`);
    return [{
      ifindex, name, flags, kind: '', up: (flags & 1) === 1,
      mtu: files.number(`${folder}/mtu`) ?? 0,
      operstate: (files.text(`${folder}/operstate`) ?? 'unknown') as Link['operstate'],
      mac: files.text(`${folder}/address`) ?? '',
      rxQueues: queues.filter(queue => queue.startsWith('rx-')).length,
      txQueues: queues.filter(queue => queue.startsWith('tx-')).length,
      xdp: { where: 'none', programId: 0 }, // sysfs does not tell
    }];
  });
}

/** The fastest way in that this release has a driver for. */
function deviceFor(machine: Machine, { name, kind }: Link, xdp: XdpFeatures | undefined): string {
  const has = (driver: string): boolean => machine.drivers.some(each => each.name === driver);
  const written = name.replace(/[\\,]/g, '\\$&'); // as in a device string
  if (xdp === undefined || xdp.xdp.includes('basic')) return `af_xdp:${written}`;
  if (kind === 'tun' && has('tap')) return `tap:${written}`;
  return has('af_packet') ? `af_packet:${written}` : `af_xdp:${written},mode=generic`;
}
