import { PollmodeError } from '../../../errors.js';
import { readLink, type Link } from '../../../kernel/link.js';
import type { BpfMap } from '../../../kernel/bpf.js';
import { BPF_MAP_TYPE_XSKMAP } from '../../../kernel/constants.js';
import { enter, release, steer, type Steering, type SteeringOptions } from './program.js';

/** Where a port gets from what only the privileged can make: this process itself, a broker, or the device plugin of Kubernetes. */
export interface Source {
  readonly link: Link;
  /** A fresh AF_XDP socket, which becomes the port's; undefined: the port makes one. */
  readonly socket: number | undefined;
  /** Once the socket is bound: has the queue's frames steered to it. What it returns is released when the port closes. */
  steer(socket: number): Steering;
  /** When opening failed: lets go of everything but `socket`. */
  abandon(): void;
}

export interface Wanted extends SteeringOptions {
  readonly device: string;
  readonly queue: number;
}

/** With the rights of this process: a program of our own, joined, or the user's. `name` is the port's, for people. */
export function ownRights(name: string, wanted: Wanted): Source {
  const link = usableLink(name, wanted);
  let steering: ReturnType<typeof steer> | undefined;
  return {
    link,
    socket: undefined,
    steer(socket) {
      steering = steer(name, readLink(link.ifindex), wanted);
      enter(name, steering, wanted.queue, socket);
      return steering;
    },
    abandon: () => release(steering?.fds ?? []),
  };
}

/** The interface in the calling thread's namespace, when it is up and has the queue. */
export function usableLink(name: string, { device, queue }: Wanted): Link {
  const link = readLink(device);
  if (!link.up) throw new PollmodeError('EDOWN', `${name}: the interface is down: ip link set ${device} up.`);
  if (queue >= link.rxQueues) throw new PollmodeError('EOPTION', `${name}: ${device} has ${link.rxQueues} receive queue${link.rxQueues === 1 ? '' : 's'}, numbered from 0: choose one of them, or give it more (ethtool -L).`);
  return link;
}

/** Maps of other types, and BPF objects that are none, are told apart by more than the type: a program's types are numbers too. */
export function isXskMap({ type, keySize, valueSize, maxEntries }: BpfMap): boolean {
  return type === BPF_MAP_TYPE_XSKMAP && keySize === 4 && valueSize === 4 && maxEntries > 0;
}
