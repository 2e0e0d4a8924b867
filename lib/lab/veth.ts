/**
 * A lab: two network namespaces and a veth pair across them, for tests and measurements on real frames. Both
 * namespaces are held by this process's descriptors only, so the lab goes with the process, however it ends; no `ip`
 * program, no files, and nothing outside the lab is touched.
 *
 * Both links are up and silent: known MACs, static neighbours (no ARP), no IPv6. Needs CAP_SYS_ADMIN and
 * CAP_NET_ADMIN, as root or inside a user namespace.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { O_WRONLY } from '../kernel/constants.js';
import { setTxChecksum } from '../kernel/ethtool.js';
import { noIpv6Address, readLink, setLink, waitForCarrier } from '../kernel/link.js';
import { addAddress, addNeighbour } from '../kernel/link_addresses.js';
import { createVeth } from '../kernel/veth.js';
import { createNetns, withNetns } from '../kernel/netns.js';

export interface LabOptions {
  /** Receive and transmit queues of each end; 1 where absent. */
  queues?: number;
  /** The two interfaces' names; `veth0` and `veth1` where absent. */
  names?: readonly [string, string];
  /** Bytes of IP packet; 1500 where absent. */
  mtu?: number;
  /** False turns transmit checksum offload off at both ends, so that raw readers see whole checksums. */
  txChecksum?: boolean;
}

export interface LabEnd {
  /** Descriptor of the namespace: for `withNetns`. Good in every thread of the process until the lab is closed. */
  readonly netns: number;
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
  readonly ip: string;
}

export interface Lab {
  readonly a: LabEnd;
  readonly b: LabEnd;
  /** Lets go of both namespaces; the kernel takes them away when the last socket in them is closed. Twice is once. */
  close(): void;
}

interface Plan {
  name: string;
  mac: string;
  ip: string;
}

/** The same in every lab: no two of them can meet. 10.77.0.0/24, and locally administered MACs. */
function plans([a, b]: readonly [string, string]): readonly [Plan, Plan] {
  return [
    { name: a, mac: '02:00:00:00:00:0a', ip: '10.77.0.1' },
    { name: b, mac: '02:00:00:00:00:0b', ip: '10.77.0.2' },
  ];
}

/** Makes the lab. ERIGHTS without the rights; EOPTION for a bad name, MTU or number of queues. Leaves nothing behind when it fails. */
export function openLab(options: LabOptions = {}): Lab {
  const [a, b] = plans(options.names ?? ['veth0', 'veth1']);
  const held: number[] = [];
  const close = (): void => { for (const fd of held.splice(0)) binding().close(fd); };
  try {
    const netns = (): number => held[held.push(createNetns()) - 1]!;
    const [left, right] = [netns(), netns()];
    for (const fd of held) withNetns(fd, silenceIpv6);
    withNetns(left, () => createVeth({ a, b: { ...b, netns: right }, ...sizes(options) }));
    const lab: Lab = { a: raise(left, a, b, options), b: raise(right, b, a, options), close };
    for (const end of [lab.a, lab.b]) withNetns(end.netns, () => waitForCarrier(end.ifindex));
    return lab;
  } catch (error) {
    close();
    throw error;
  }
}

function sizes({ queues, mtu }: LabOptions): { queues?: number; mtu?: number } {
  return { ...(queues === undefined ? {} : { queues }), ...(mtu === undefined ? {} : { mtu }) };
}

/** Links that are made from now on in this thread's namespace have no IPv6. Where /proc/sys cannot be written, `noIpv6Address` does most of it. */
function silenceIpv6(): void {
  const b = binding();
  const fd = b.open('/proc/sys/net/ipv6/conf/default/disable_ipv6', O_WRONLY);
  if (fd < 0) return;
  b.write(fd, new TextEncoder().encode('1\n'));
  b.close(fd);
}

function raise(netns: number, mine: Plan, peer: Plan, { txChecksum }: LabOptions): LabEnd {
  return withNetns(netns, () => {
    const { ifindex, mac } = readLink(mine.name);
    unlessUnsupported(() => noIpv6Address(ifindex));
    if (txChecksum === false) setTxChecksum(mine.name, false);
    addAddress(ifindex, mine.ip, 24);
    setLink(ifindex, { up: true });
    addNeighbour(ifindex, peer.ip, peer.mac);
    return { netns, name: mine.name, ifindex, mac, ip: mine.ip };
  });
}

/** A kernel without IPv6 has no address to leave out. */
function unlessUnsupported(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof PollmodeError && error.code === 'EUNSUPPORTED')) throw error;
  }
}
