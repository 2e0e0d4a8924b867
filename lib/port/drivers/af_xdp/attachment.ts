/** What a port has on its interface: sockets, program, channel counts. Made when it is opened, and anew when a deleted interface is back. */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import type { JournalEntry } from '../../../journal/journal.js';
import { EBUSY, EINVAL, ENETDOWN, ENXIO, EOPNOTSUPP, kernelError } from '../../../kernel/errno.js';
import type { Link } from '../../../kernel/link.js';
import type { PortHost } from '../../port.js';
import { brokersRights } from './broker.js';
import { deferInterrupts } from './deferral.js';
import { pluginsRights } from './device_plugin.js';
import { fragsRefused, mostSegments, requireFragsOfDriver, wantsFrags } from './frags.js';
import type { Settings } from './options.js';
import type { Steering } from './program.js';
import { XskSocket } from './socket.js';
import { ownRights, type Source } from './source.js';
import { MSG_DONTWAIT, XDP_COPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG, XDP_ZEROCOPY } from './uapi.js';

export interface Attachment {
  readonly link: Link;
  /** One for each of the port's queues. */
  readonly sockets: readonly XskSocket[];
  readonly steering: Steering;
  /** Buffers of a frame at most. */
  readonly mostSegments: number;
  /** What had to be changed for it: how many queues there are, and when interrupts come. */
  readonly channels: JournalEntry | undefined;
  readonly deferral: readonly JournalEntry[];
}

export interface AttachSteps {
  /** Tells the rings' names in the arena from those of earlier sockets, which may be there still. */
  readonly serial: number;
  /** How often a queue that is taken is asked for again. */
  readonly tries: number;
  /** Runs when the sockets are there, before any is bound: the fill rings are filled first, so that no frame finds them empty. */
  readonly prepare: (sockets: readonly XskSocket[], link: Link) => void;
}

/** In the calling thread's network namespace. Each step undoes those before it when it fails. */
export function attachTo(options: Settings, host: PortHost, { serial, tries, prepare }: AttachSteps): Attachment {
  const source = sourceOf(options, host);
  let sockets: readonly XskSocket[] = [];
  try {
    const { link, channels } = source;
    sockets = openSockets(options, host, serial, source);
    prepare(sockets, link);
    const frags = bindFirst(options, link, sockets[0]!, host.pool.room, tries);
    sockets.slice(1).forEach((socket, index) => bind(options, link, socket, index + 1, tries, { sharing: sockets[0]! }));
    const steering = source.steer(...sockets.map(({ fd }) => fd));
    if (frags) requireFragsOfDriver(options, link, steering.attached);
    return { link, sockets, steering, mostSegments: frags ? mostSegments(link, sockets[0]!.zeroCopy) : 1, channels, deferral: deferInterrupts(options, link) };
  } catch (cause) {
    // Last of all the channels are given back, which the kernel refuses while their queues have sockets.
    for (const socket of sockets) socket.close();
    source.abandon();
    throw cause;
  }
}

/** Who makes what needs rights. */
function sourceOf(options: Settings, { device }: PortHost): Source {
  if (options.broker !== undefined) return brokersRights(device, options.broker, options.take ?? 'socket', options);
  if (options.devicePlugin !== undefined) return pluginsRights(device, options.devicePlugin, options);
  return ownRights(device, options);
}

/** Is there an interface behind it still? The kernel unbinds a socket when its interface goes (xsk_notifier in net/xdp/xsk.c). */
export function isBound({ sockets }: Attachment): boolean {
  return binding().recv(sockets[0]!.fd, null, MSG_DONTWAIT) !== -ENXIO;
}

/** The kernel's own is 8 (BUSY_POLL_BUDGET in net/busy_poll.h), and an interrupt's 64 (NAPI_POLL_WEIGHT). */
const DEFAULT_BUSY_BUDGET = 64;

/** The first registers the UMEM, for all; it may be another's making. */
function openSockets({ queues, rxRing, txRing, txBudget, busyPoll, busyBudget }: Settings, host: PortHost, serial: number, source: Source): XskSocket[] {
  const sockets: XskSocket[] = [];
  try {
    for (let index = 0; index < queues; index++) {
      const name = `port/${host.number}/xsk/${index}.${serial}`;
      const socket = new XskSocket(host.arena, host.pool, name, { rx: rxRing, tx: txRing }, index === 0 ? source.socket : undefined, index === 0);
      sockets.push(socket);
      socket.raiseTxBudget(txBudget ?? txRing);
      if (busyPoll !== undefined) socket.busyPoll(busyPoll, busyBudget ?? DEFAULT_BUSY_BUDGET);
    }
    return sockets;
  } catch (cause) {
    for (const socket of sockets) socket.close();
    throw cause;
  }
}

/** How long a queue that is taken may be on its way to being free. */
export const REBIND_TRIES = 100;
const REBIND_PAUSE_MS = 5;

/** Mode and flags are the first socket's. With frames in several buffers where they are wanted and to be had; returns whether. */
function bindFirst(options: Settings, link: Link, socket: XskSocket, room: number, tries: number): boolean {
  const wanted = wantsFrags(options, link, room);
  const refused = tryBind(options, link, socket, 0, tries, { frags: wanted });
  if (refused === 0) return wanted;
  // Another reason is found again without them.
  if (!wanted || (refused !== EINVAL && refused !== EOPNOTSUPP)) throw refusal(options, link, 0, refused);
  bind(options, link, socket, 0, tries, {});
  if (options.frags === 'on') throw fragsRefused(options, link, refused);
  return false;
}

interface Binding {
  readonly frags?: boolean;
  /** Whose registration of the UMEM it shares. */
  readonly sharing?: XskSocket;
}

function bind(options: Settings, link: Link, socket: XskSocket, index: number, tries: number, how: Binding): void {
  const errno = tryBind(options, link, socket, index, tries, how);
  if (errno !== 0) throw refusal(options, link, index, errno);
}

/** Returns 0, or the errno. */
function tryBind(options: Settings, link: Link, socket: XskSocket, index: number, tries: number, { frags = false, sharing }: Binding): number {
  // Behind a generic program there is nothing but copies.
  const generic = options.mode === 'generic' || (link.xdp.where === 'generic' && options.zeroCopy !== 'must');
  const copy = generic ? XDP_COPY : { auto: 0, never: XDP_COPY, must: XDP_ZEROCOPY }[options.zeroCopy];
  const flags = copy | (options.needWakeup ? XDP_USE_NEED_WAKEUP : 0) | (frags ? XDP_USE_SG : 0);
  const attempt = (): number => socket.bind(link.ifindex, options.queue + index, flags, sharing);
  let result = attempt();
  // The kernel lets go of a queue some time after close(2), in a work item (xp_release_deferred in net/xdp/xsk_buff_pool.c).
  for (let tried = 0; result === -EBUSY && tried < tries; tried++) {
    binding().poll(new Int32Array(), REBIND_PAUSE_MS);
    result = attempt();
  }
  return -result;
}

function refusal(options: Settings, link: Link, index: number, errno: number): PollmodeError {
  const { device, zeroCopy } = options;
  const queue = options.queue + index;
  const refuse = (code: 'EBUSYQUEUE' | 'EUNSUPPORTED' | 'EDOWN' | 'EOPTION', why: string): PollmodeError => new PollmodeError(code, `af_xdp:${device}: ${why}`, { syscall: 'bind', errno });
  if (errno === EBUSY) return refuse('EBUSYQUEUE', `queue ${queue} has an AF_XDP socket already: end its program (or close it, where it is open here already), or choose another queue.`);
  if (errno === ENETDOWN) return refuse('EDOWN', `the interface is down: ip link set ${device} up.`);
  if (errno === EOPNOTSUPP && zeroCopy === 'must') return refuse('EUNSUPPORTED', `the driver${link.kind === '' ? '' : ` (${link.kind})`} has no zero-copy AF_XDP: leave zero_copy=must out, and the kernel copies each frame once.`);
  if (errno === EINVAL) return refuse('EOPTION', `queue ${queue} cannot be bound${zeroCopy === 'must' ? ' with zero-copy' : ''}: the interface may have fewer active queues (ethtool -l ${device})${index > 0 ? ', or this kernel shares no UMEM between queues (Linux 5.10): open a port for each' : ''}.`);
  return kernelError(errno, 'bind');
}
