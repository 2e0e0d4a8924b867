import { PollmodeError } from '../../../errors.js';
import type { JournalEntry } from '../../../journal/journal.js';
import { readLink, readLinkOf, type Link } from '../../../kernel/link.js';
import type { BpfMap } from '../../../kernel/bpf.js';
import { BPF_MAP_TYPE_XSKMAP } from '../../../kernel/constants.js';
import { activeQueues, giveBackChannels, takeChannels } from './channels.js';
import { enter, release, steer, type Steering, type SteeringOptions } from './program.js';

/** Where a port gets from what only the privileged can make: this process itself, a broker, or the device plugin of Kubernetes. */
export interface Source {
  readonly link: Link;
  /** A fresh AF_XDP socket, which becomes the port's; undefined: the port makes its own. */
  readonly socket: number | undefined;
  /** What had to be changed for it: the port's to give back. */
  readonly channels?: JournalEntry | undefined;
  /**
   * Once the sockets are bound: has their queues' frames steered to them, from `Wanted.queue` on. What it returns is
   * released when the port closes. Others than ourselves steer one socket only.
   */
  steer(...sockets: readonly number[]): Steering;
  /** When opening failed: lets go of everything but `socket`. */
  abandon(): void;
}

export interface Wanted extends SteeringOptions {
  readonly device: string;
  /** The first queue. */
  readonly queue: number;
}

/** With the rights of this process: a program of our own, joined, or the user's. `name` is the port's, for people. */
export function ownRights(name: string, wanted: Wanted & { readonly queues: number; readonly channels?: number }): Source {
  const link = upLink(name, wanted);
  const channels = wanted.channels === undefined ? undefined : takeChannels(wanted.device, wanted.channels);
  let steering: ReturnType<typeof steer> | undefined;
  const source: Source = {
    link, channels,
    socket: undefined,
    steer(...sockets) {
      const ours = steer(name, readLink(link.ifindex), wanted);
      steering = ours;
      sockets.forEach((socket, index) => enter(name, ours, wanted.queue + index, socket));
      return ours;
    },
    abandon() {
      release(steering?.fds ?? []);
      if (channels !== undefined) giveBackChannels(channels);
    },
  };
  try {
    refuseMissingQueues(name, wanted, link);
    return source;
  } catch (cause) {
    source.abandon();
    throw cause;
  }
}

/** The interface in the calling thread's namespace, when it is up and has the queue. */
export function usableLink(name: string, wanted: Wanted): Link {
  const link = upLink(name, wanted);
  const active = activeQueues(wanted.device, link);
  if (wanted.queue >= active) throw new PollmodeError('EOPTION', `${name}: ${has(wanted.device, active)}: choose one of them, or give it more (ethtool -L ${wanted.device}).`);
  return link;
}

function upLink(name: string, { device }: Wanted): Link {
  const link = readLinkOf(name, device);
  if (!link.up) throw new PollmodeError('EDOWN', `${name}: the interface is down: ip link set ${device} up.`);
  return link;
}

function refuseMissingQueues(name: string, { device, queue, queues }: Wanted & { readonly queues: number }, link: Link): void {
  const active = activeQueues(device, link);
  if (queue + queues <= active) return;
  const mend = `give it more: channels=${queue + queues} here, or ethtool -L ${device}`;
  throw new PollmodeError('EOPTION', `${name}: ${has(device, active)}: ${queues === 1 ? 'choose one of them' : `ask for fewer (queues=) from a lower one on (queue=)`}, or ${mend}.`);
}

function has(device: string, active: number): string {
  return `${device} has ${active} receive queue${active === 1 ? '' : 's'}, numbered from 0`;
}

/** Maps of other types, and BPF objects that are none, are told apart by more than the type: a program's types are numbers too. */
export function isXskMap({ type, keySize, valueSize, maxEntries }: BpfMap): boolean {
  return type === BPF_MAP_TYPE_XSKMAP && keySize === 4 && valueSize === 4 && maxEntries > 0;
}
