/** The other ends: another port, or the kernel's own raw socket on an interface. */
import { setTimeout as sleep } from 'node:timers/promises';
import { binding } from '../../../lib/binding.js';
import { setI32, setU16, u32 } from '../../../lib/kernel/bytes.js';
import { AF_PACKET, ETH_P_ALL, MSG_DONTWAIT, SOCK_RAW, SOL_PACKET, SOL_SOCKET, SO_RCVBUFFORCE, SO_SNDBUFFORCE } from '../../../lib/kernel/constants.js';
import { check } from '../../../lib/kernel/errno.js';
import { withNetns } from '../../../lib/kernel/netns.js';
import { openLab } from '../../../lib/lab/veth.js';
import { Chains } from '../../../lib/mbuf/chains.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { copyWhole } from './frames.js';
import type { Place, Rig } from './subject.js';

/** Sends frames by a port of the host, and returns when all have gone. */
export function sendBy(host: Host, port: Port, frames: readonly Uint8Array[]): void {
  const burst = host.burst(1);
  const chains = new Chains(host.pool);
  for (const bytes of frames) {
    if (host.pool.alloc(burst, 1) === 0 || !chains.copyIn(burst.handles[0]!, bytes)) throw new Error('the other end has no mbuf for a frame');
    if (port.tx[0]!.txBurst(burst, 1) === 0) throw new Error(`${port.name} refused a frame of ${bytes.length} bytes`);
  }
  chains.close();
  burst.close();
}

/** What a port of the host has received. */
export function receiveBy(host: Host, port: Port): Uint8Array[] {
  const list: Uint8Array[] = [];
  const burst = host.burst(32);
  for (let got = port.rx[0]!.rxBurst(burst); got > 0; got = port.rx[0]!.rxBurst(burst)) {
    for (const handle of burst.handles.subarray(0, got)) list.push(copyWhole(host.mbufs, handle));
    host.pool.free(burst, 0, got);
  }
  burst.close();
  return list;
}

const PACKET_IGNORE_OUTGOING = 23;
/** A queue of an interface holds a few hundred frames until the kernel has a moment: no more at once. */
const AT_ONCE = 32;

/** A raw socket on one interface, for every protocol: the kernel's own view of the frames. */
export class RawWire {
  readonly #fd: number;

  /** In the calling thread's network namespace. */
  constructor(ifindex: number) {
    const protocol = (ETH_P_ALL & 0xff) << 8 | ETH_P_ALL >> 8;
    this.#fd = check(binding().socket(AF_PACKET, SOCK_RAW, 0), 'socket');
    check(binding().setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, u32(8 << 20)), 'setsockopt(SO_RCVBUFFORCE)');
    // A link that holds back instead of dropping (a virtual machine's) must not make `send` wait for who receives.
    check(binding().setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, u32(8 << 20)), 'setsockopt(SO_SNDBUFFORCE)');
    check(binding().setsockopt(this.#fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, u32(1)), 'setsockopt(PACKET_IGNORE_OUTGOING)');
    const address = new Uint8Array(20); // struct sockaddr_ll
    setU16(address, 0, AF_PACKET);
    setU16(address, 2, protocol);
    setI32(address, 4, ifindex);
    check(binding().bind(this.#fd, address), 'bind');
  }

  async send(frames: readonly Uint8Array[]): Promise<void> {
    for (let i = 0; i < frames.length; i++) {
      check(binding().send(this.#fd, frames[i]!, 0), 'send');
      if (i % AT_ONCE === AT_ONCE - 1) await sleep(1);
    }
  }

  receive(): Uint8Array[] {
    const list: Uint8Array[] = [];
    const into = new Uint8Array(65536);
    for (let length = 0; (length = binding().recv(this.#fd, into, MSG_DONTWAIT)) > 0;) list.push(into.slice(0, length));
    return list;
  }

  close(): void {
    binding().close(this.#fd);
  }
}

/** A host with one port, and a raw socket that its frames come from and go to. */
export async function rigWithWire(host: Host, wire: RawWire, incoming: readonly Uint8Array[] = []): Promise<Rig> {
  await wire.send(incoming);
  return {
    host,
    port: host.ports[0]!,
    arrive: frames => wire.send(frames),
    departed: () => wire.receive(),
    close() {
      host.close();
      wire.close();
    },
  };
}

/** A veth pair: the port at one end, a raw socket at the other. */
export function vethPlace(device: string, mtu: number): Place {
  const lab = openLab({ mtu, txChecksum: false });
  const within = <T>(work: () => T): T => withNetns(lab.a.netns, work);
  return {
    device,
    within,
    open({ options, incoming }) {
      const wire = withNetns(lab.b.netns, () => new RawWire(lab.b.ifindex));
      return rigWithWire(within(() => open([device], options)), wire, incoming);
    },
    close: () => lab.close(),
  };
}
