import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { deleteElement } from '../kernel/bpf.js';
import { cString, u32 } from '../kernel/bytes.js';
import { SOL_SOCKET, SO_BINDTODEVICE } from '../kernel/constants.js';
import { check } from '../kernel/errno.js';
import { readLink, type Link } from '../kernel/link.js';
import { enter, steer, type Steering } from '../port/drivers/af_xdp/program.js';
import type { Take } from '../port/drivers/af_xdp/protocol.js';
import { xdpSocket } from '../port/drivers/af_xdp/socket.js';

export interface LeaseOptions {
  readonly device: string;
  /** Those that may be leased; undefined: all that the interface has. */
  readonly queues?: readonly number[] | undefined;
  readonly mode: 'auto' | 'native' | 'generic';
  readonly give: Take | 'both';
}

/** A queue in the hands of one client. */
interface Lease {
  readonly holder: unknown;
  readonly take: Take;
  /** Our copy of the client's socket, until it is in the XSKMAP; -1 afterwards, and with `map`. */
  socket: number;
  entered: boolean;
}

/**
 * The interface's program and XSKMAP, and who has which of its queues. In the network namespace of the thread that makes
 * it: every socket is of that namespace. The program stands as long as this process does.
 */
export class Leases {
  readonly #options: LeaseOptions;
  readonly #ifindex: number;
  readonly #steering: ReturnType<typeof steer>;
  readonly #leases = new Map<number, Lease>();

  /** Throws ENOTFOUND, EDOWN, ERIGHTS, EBUSYQUEUE, EUNSUPPORTED, EOPTION. */
  constructor(options: LeaseOptions) {
    this.#options = options;
    const link = readLink(options.device);
    this.#ifindex = link.ifindex;
    const beyond = options.queues?.find(queue => queue >= link.rxQueues);
    if (beyond !== undefined) throw new PollmodeError('EOPTION', `${options.device} has ${link.rxQueues} receive queue${link.rxQueues === 1 ? '' : 's'}, numbered from 0, and no queue ${beyond}: choose of those (--queues).`);
    this.#steering = steer(options.device, link, { mode: options.mode });
  }

  /** Where the program runs. */
  get attached(): Steering['attached'] {
    return this.#steering.attached;
  }

  get map(): number {
    return this.#steering.map.fd;
  }

  /** Is the program where it was put? Not when the interface has gone, or somebody took the program away. */
  get standing(): boolean {
    try {
      return readLink(this.#ifindex).xdp.where !== 'none';
    } catch {
      return false;
    }
  }

  holderOf(queue: number): unknown {
    return this.#leases.get(queue)?.holder;
  }

  /** Leases a queue, and returns what to send: a descriptor that stays ours. Throws what the client is to be refused with. */
  open(holder: unknown, device: string, queue: number, take: Take): { link: Link; fd: number } {
    const { device: ours, queues, give } = this.#options;
    if (device !== ours) throw new PollmodeError('EOPTION', `this is the broker of ${ours}: ask the broker of that interface, or for ${ours}.`);
    if (give !== 'both' && give !== take) throw new PollmodeError('ERIGHTS', `this broker gives a ${give} only: use take=${give}, or start it with --give ${take}.`);
    const link = readLink(this.#ifindex);
    if (!link.up) throw new PollmodeError('EDOWN', `the interface is down: ip link set ${ours} up.`);
    if (queue >= Math.min(link.rxQueues, this.#steering.map.maxEntries) || queues?.includes(queue) === false) throw new PollmodeError('EOPTION', `queue ${queue} is none of those that this broker gives: choose one of ${queues?.join(', ') ?? `0 to ${this.#steering.map.maxEntries - 1}`}.`);
    if (this.#leases.has(queue)) throw new PollmodeError('EBUSYQUEUE', `queue ${queue} is another client's: end that program, or choose another queue.`);
    const socket = take === 'socket' ? tiedSocket(ours) : -1;
    this.#leases.set(queue, { holder, take, socket, entered: false });
    return { link, fd: take === 'socket' ? socket : this.map };
  }

  /** The queue's frames go to the client's socket from now on. `theirs` is what came beside the request; it stays the caller's. */
  enter(holder: unknown, queue: number, theirs: number | undefined): void {
    const lease = this.#leases.get(queue);
    if (lease === undefined || lease.holder !== holder || lease.entered) throw new PollmodeError('EFORMAT', `queue ${queue} was not opened, or is entered already: open it first.`);
    if (lease.take === 'socket' && theirs !== undefined) throw new PollmodeError('EFORMAT', 'the broker has the socket: send none.');
    const socket = lease.take === 'socket' ? lease.socket : theirs;
    if (socket !== undefined) enter(this.#options.device, this.#steering, queue, socket);
    lease.entered = true;
    // The kernel takes a socket out of the map when it is closed, and holding a copy here would keep it open.
    this.#letGo(lease);
  }

  /** All of a client's queues are free again, also where it kept its socket. */
  end(holder: unknown): void {
    for (const [queue, lease] of this.#leases) {
      if (lease.holder !== holder) continue;
      this.#letGo(lease);
      if (lease.entered) deleteElement(this.#steering.map, u32(queue));
      this.#leases.delete(queue);
    }
  }

  close(): void {
    for (const lease of this.#leases.values()) this.#letGo(lease);
    this.#leases.clear();
    for (const fd of [...this.#steering.fds].reverse()) binding().close(fd);
  }

  #letGo(lease: Lease): void {
    if (lease.socket >= 0) binding().close(lease.socket);
    lease.socket = -1;
  }
}

/**
 * An AF_XDP socket that can be bound to this interface only. bind(2) asks for no right, so whoever has a socket could
 * bind it to any interface of the namespace and send there; but it heeds SO_BINDTODEVICE (xsk_bind, Linux 6.6), which
 * only CAP_NET_RAW can change once it is set.
 */
function tiedSocket(device: string): number {
  const fd = xdpSocket();
  const refused = binding().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, cString(device));
  if (refused >= 0) return fd;
  binding().close(fd);
  return check(refused, 'setsockopt(SO_BINDTODEVICE)');
}
