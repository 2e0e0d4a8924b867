/** The kernel's side for ports that talk to it: raw and UDP sockets in a lab's namespaces, and frames to exchange. */
import { binding } from '../../../lib/binding.js';
import { parseAttributes } from '../../../lib/kernel/attributes.js';
import { getU32, setI32, setU16, u32 } from '../../../lib/kernel/bytes.js';
import { AF_INET, AF_PACKET, ETH_P_ALL, MSG_DONTWAIT, NETLINK_ROUTE, O_RDONLY, O_WRONLY, POLLIN, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, SO_RCVBUF } from '../../../lib/kernel/constants.js';
import { ipv4Bytes, macBytes } from '../../../lib/kernel/address.js';
import { check } from '../../../lib/kernel/errno.js';
import { netlinkRequest } from '../../../lib/kernel/netlink.js';
import { createNetns, withNetns } from '../../../lib/kernel/netns.js';
import type { LabEnd } from '../../../lib/lab/veth.js';
import { emptyStats, type Port, type PortStats } from '../../../lib/port/port.js';
import { copyWhole } from '../conformance/frames.js';
import type { Host } from '../../../lib/port/host.js';

/** Of no protocol that the kernel has: IEEE 802 local experimental. */
export const ETHERTYPE = 0x88b5;

/** A frame of our own: addresses, type, a number, and bytes that follow from it. */
export function frame(from: LabEnd, to: LabEnd, number: number, length: number): Uint8Array {
  const bytes = Uint8Array.from({ length: Math.max(length, 18) }, (_, i) => number * 31 + i * 7);
  bytes.set([...macBytes(to.mac), ...macBytes(from.mac), ETHERTYPE >> 8, ETHERTYPE & 0xff]);
  if (length >= 18) new DataView(bytes.buffer).setUint32(14, number);
  return bytes.subarray(0, length);
}

export function bytesOf(frames: readonly { readonly bytes: Uint8Array }[]): Uint8Array[] {
  return frames.map(({ bytes }) => bytes);
}

/** A frame with a VLAN tag in it. */
export function tagged(bytes: Uint8Array, tpid: number, tci: number): Uint8Array {
  return Uint8Array.of(...bytes.subarray(0, 12), tpid >> 8, tpid & 0xff, tci >> 8, tci & 0xff, ...bytes.subarray(12));
}

/** A UDP datagram in IPv4 as the kernel takes it; UDP checksum 0, which says that there is none (RFC 768). */
export function udpFrame(from: LabEnd, to: LabEnd, ports: readonly [number, number], payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(42 + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set([...macBytes(to.mac), ...macBytes(from.mac), 0x08, 0x00, 0x45]);
  view.setUint16(16, 28 + payload.length);
  view.setUint8(22, 64);
  view.setUint8(23, 17);
  bytes.set([...ipv4Bytes(from.ip), ...ipv4Bytes(to.ip)], 26);
  view.setUint16(24, checksum(view, 14, 20));
  view.setUint16(34, ports[0]);
  view.setUint16(36, ports[1]);
  view.setUint16(38, 8 + payload.length);
  bytes.set(payload, 42);
  return bytes;
}

/** RFC 1071. */
export function checksum(view: DataView, at: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A raw socket for everything on one end. */
export class RawSocket {
  readonly fd: number;

  constructor(end: { readonly netns: number; readonly ifindex: number }) {
    this.fd = withNetns(end.netns, () => {
      const fd = check(binding().socket(AF_PACKET, SOCK_RAW, 0), 'socket');
      binding().setsockopt(fd, SOL_SOCKET, SO_RCVBUF, u32(8 << 20));
      binding().setsockopt(fd, 263, 23, u32(1)); // PACKET_IGNORE_OUTGOING
      const address = new Uint8Array(20); // struct sockaddr_ll
      setU16(address, 0, AF_PACKET);
      address[3] = ETH_P_ALL;
      setI32(address, 4, end.ifindex);
      check(binding().bind(fd, address), 'bind');
      return fd;
    });
  }

  send(bytes: Uint8Array): number {
    return binding().send(this.fd, bytes, 0);
  }

  /** Frames of our type that have come; waits until there are `count`, or twenty seconds have passed: the kernel hands them over in its own time. */
  receive(count = 0): Uint8Array[] {
    const found: Uint8Array[] = [];
    const into = new Uint8Array(65536);
    const deadline = performance.now() + 20_000;
    for (;;) {
      for (let got = binding().recv(this.fd, into, MSG_DONTWAIT); got >= 0; got = binding().recv(this.fd, into, MSG_DONTWAIT)) {
        if (into[12] === ETHERTYPE >> 8 && into[13] === (ETHERTYPE & 0xff)) found.push(into.slice(0, got));
      }
      if (found.length >= count || performance.now() > deadline) return found;
      binding().poll(Int32Array.of(this.fd, POLLIN), 100);
    }
  }

  close(): void {
    binding().close(this.fd);
  }
}

/** A UDP socket of the kernel's stack, bound to an address of a namespace. */
export class UdpSocket {
  readonly fd: number;

  constructor(netns: number, ip: string, port: number) {
    this.fd = withNetns(netns, () => {
      const fd = check(binding().socket(AF_INET, SOCK_DGRAM, 0), 'socket');
      check(binding().bind(fd, sockaddrIn(ip, port)), 'bind');
      return fd;
    });
  }

  sendTo(ip: string, port: number, payload: Uint8Array): number {
    return binding().send(this.fd, payload, 0, sockaddrIn(ip, port));
  }

  /** The next datagram, for which twenty seconds are waited. */
  receive(): Uint8Array | undefined {
    const into = new Uint8Array(65536);
    binding().poll(Int32Array.of(this.fd, POLLIN), 20_000);
    const got = binding().recv(this.fd, into, MSG_DONTWAIT);
    return got < 0 ? undefined : into.slice(0, got);
  }

  close(): void {
    binding().close(this.fd);
  }
}

function sockaddrIn(ip: string, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  setU16(bytes, 0, AF_INET);
  new DataView(bytes.buffer).setUint16(2, port);
  bytes.set(ipv4Bytes(ip), 4);
  return bytes;
}

/** Sends frames through a queue, all of them: what is refused is tried again, and fails the test when it never goes. */
export function sendAll(host: Host, port: Port, frames: readonly Uint8Array[], queue = 0): void {
  const burst = host.burst(32);
  let refused = 0;
  for (let done = 0; done < frames.length;) {
    const batch = frames.slice(done, done + burst.capacity);
    if (host.pool.alloc(burst, batch.length) === 0) throw new Error('the pool is dry');
    batch.forEach((bytes, i) => { if (!host.mbufs.copyIn(burst.handles[i]!, bytes)) throw new Error('the frame does not fit'); });
    const taken = port.tx[queue]!.txBurst(burst, batch.length);
    if (taken < batch.length) host.pool.free(burst, taken, batch.length);
    if (taken === 0 && ++refused > 10_000) throw new Error(`refused for ever: ${JSON.stringify(statsOf(port))}`);
    done += taken;
  }
  burst.close();
}

export interface Received {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly vlanTci: number;
  readonly hash: number;
  readonly seconds: number;
  readonly queue: number;
}

/** Whoever has the CPU for a moment only has not asked so often. */
const OFTEN = 5000;

/** Receives until `count` frames that `wanted` lets through have come, or nothing has for a second in which this thread asked often. All are freed. */
export function receiveSome(host: Host, port: Port, count: number, wanted: (bytes: Uint8Array) => boolean = isOurs): Received[] {
  const burst = host.burst(32);
  const found: Received[] = [];
  let idleSince = performance.now();
  let asked = 0;
  for (; found.length < count && (asked < OFTEN || performance.now() - idleSince < 1000); asked++) {
    for (let queue = 0; queue < port.rx.length; queue++) {
      const got = port.rx[queue]!.rxBurst(burst);
      if (got > 0) [idleSince, asked] = [performance.now(), 0];
      for (let i = 0; i < got; i++) {
        const handle = burst.handles[i]!;
        const { mbufs } = host;
        const bytes = copyWhole(mbufs, handle);
        if (wanted(bytes)) found.push({ bytes, flags: mbufs.flags(handle), vlanTci: mbufs.vlanTci(handle), hash: mbufs.hash(handle), seconds: mbufs.timestampSeconds(handle), queue });
      }
      if (got > 0) host.pool.free(burst, 0, got);
    }
  }
  burst.close();
  return found;
}

export function isOurs(bytes: Uint8Array): boolean {
  const type = bytes[12]! << 8 | bytes[13]!;
  return type === ETHERTYPE || type === 0x8100 || type === 0x88a8;
}

export function isUdp(bytes: Uint8Array): boolean {
  return bytes[12] === 0x08 && bytes[13] === 0 && bytes[23] === 17;
}

export function statsOf(port: Port): PortStats {
  const stats = emptyStats();
  port.readStats(stats);
  return stats;
}

/** A namespace in which no interface speaks of itself: no IPv6. Where there is none, there is nothing to write. */
export function quietNetns(): number {
  const netns = createNetns();
  withNetns(netns, () => {
    const fd = binding().open('/proc/sys/net/ipv6/conf/default/disable_ipv6', O_WRONLY);
    if (fd < 0) return;
    binding().write(fd, new TextEncoder().encode('1\n'));
    binding().close(fd);
  });
  return netns;
}

/** How many hold the link in promiscuous mode (IFLA_PROMISCUITY; its flags tell only of the administrator's own wish). */
export function promiscuity(end: LabEnd): number {
  return withNetns(end.netns, () => {
    const request = new Uint8Array(16); // struct ifinfomsg
    setI32(request, 4, end.ifindex);
    const [answer] = netlinkRequest(NETLINK_ROUTE, 18, 0, request, 'read link');
    return getU32(parseAttributes(answer!.payload.subarray(16)).get(30)!, 0);
  });
}

/** Packet sockets that there are in a namespace (proc(5), /proc/net/packet), without its heading. */
export function packetSockets(netns: number): number {
  return withNetns(netns, () => {
    const fd = check(binding().open('/proc/thread-self/net/packet', O_RDONLY), 'open');
    const text = new Uint8Array(65536);
    const length = check(binding().read(fd, text), 'read');
    binding().close(fd);
    return new TextDecoder().decode(text.subarray(0, length)).trim().split('\n').length - 1;
  });
}
