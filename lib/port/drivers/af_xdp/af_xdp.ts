import { ZONE_OVERLAY } from '../../../arena/layout.js';
import { binding, tryBinding } from '../../../binding.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { kernelError } from '../../../kernel/errno.js';
import { readLink, type Link } from '../../../kernel/link.js';
import { withNetnsPath } from '../../../kernel/netns.js';
import { MAX_PORT_QUEUE, QUEUE_LCORE } from '../../layout.js';
import type { Availability, Port, PortDriver, PortHost } from '../../port.js';
import type { QueueView } from '../../queue_view.js';
import { repair } from './closing.js';
import { XSK_DESCRIPTORS, XSK_RING_A } from './layout.js';
import { XskPort } from './port.js';
import { enter, release, steer, type Steering } from './program.js';
import { XskRxQueue, XskTxQueue } from './queues.js';
import { XskSocket } from './socket.js';
import { AF_XDP, SOCK_RAW, XDP_COPY, XDP_USE_NEED_WAKEUP, XDP_ZEROCOPY } from './uapi.js';

export interface AfXdpOptions {
  /** The interface's name. */
  readonly device: string;
  /** Its receive queue. Default 0. */
  readonly queue?: number;
  /** Where the XDP program runs. `auto`: native where the driver has it, else generic. */
  readonly mode?: 'auto' | 'native' | 'generic';
  /** `auto`: as the kernel chooses. `must` fails, with the reason, where the driver has none. */
  readonly zeroCopy?: 'auto' | 'never' | 'must';
  /** Lets the kernel say when it wants a system call. Default true. */
  readonly needWakeup?: boolean;
  /** Entries of the rx and fill rings, and of the tx and completion rings; powers of two. Default 2048. */
  readonly rxRing?: number;
  readonly txRing?: number;
  /** Packets that one sendto may send in copy mode, 32 to the tx ring's size, where the kernel lets itself be told (Linux 6.17). Default: the tx ring's size. */
  readonly txBudget?: number;
  /** The pool in huge pages or not at all. */
  readonly huge?: boolean;
  /** An XDP program of your own: a pinned path or fd:N, with its XSKMAP. */
  readonly program?: string;
  readonly xskMap?: string;
  /** Path of a network namespace to open the interface in. */
  readonly netns?: string;
}

type Settings = Required<Omit<AfXdpOptions, 'program' | 'xskMap' | 'netns' | 'txBudget' | 'huge'>> & AfXdpOptions;

/**
 * `af_xdp:eth0`: frames straight from the driver's XDP hook, past the kernel's network stack
 * (Documentation/networking/af_xdp.rst). The pool's buffers are the UMEM; the kernel's four rings are mapped over the
 * arena and walked by the burst module. A system call is made only where a ring's need-wakeup flag asks for it.
 */
export const afXdpDriver: PortDriver<AfXdpOptions> = {
  name: 'af_xdp',
  summary: 'an interface\'s frames past the kernel\'s network stack (AF_XDP)',
  rights: ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF'],
  options: {
    device: { type: 'text', help: 'name of the interface', required: true },
    queue: { type: 'count', help: 'its receive queue (default 0)', min: 0, max: MAX_PORT_QUEUE },
    mode: { type: 'choice', help: 'where the XDP program runs (default auto)', choices: ['auto', 'native', 'generic'] },
    zeroCopy: { type: 'choice', help: 'frames without a copy by the kernel (default auto)', choices: ['auto', 'never', 'must'] },
    needWakeup: { type: 'flag', help: 'system calls only when the kernel asks for one (default on)' },
    rxRing: { type: 'count', help: 'entries of the rx and fill rings, a power of two (default 2048)', min: 64, max: 32768 },
    txRing: { type: 'count', help: 'entries of the tx and completion rings, a power of two (default 2048)', min: 64, max: 32768 },
    txBudget: { type: 'count', help: 'packets that one sendto may send in copy mode (default: the tx ring)', min: 32, max: 32768 },
    huge: { type: 'flag', help: 'the pool in huge pages or not at all' },
    program: { type: 'text', help: 'your own XDP program: pinned path or fd:N' },
    xskMap: { type: 'text', help: 'the XSKMAP that it redirects to: pinned path or fd:N' },
    netns: { type: 'text', help: 'path of the network namespace that the interface is in' },
  },
  probe(): Availability {
    const addon = tryBinding();
    if (addon instanceof PollmodeError) return { usable: false, reason: 'the native addon is not there', mend: addon.message };
    const fd = addon.socket(AF_XDP, SOCK_RAW, 0);
    if (fd >= 0) addon.close(fd);
    // Missing rights are for `open` to name: they are the process's, not the machine's.
    return fd === -EAFNOSUPPORT ? { usable: false, reason: 'this kernel has no AF_XDP', mend: 'Use a kernel with CONFIG_XDP_SOCKETS (Linux 5.4 or newer)' } : { usable: true };
  },
  plan(options) {
    const { rxRing, txRing, txBudget = 32, mode, zeroCopy } = settings(options);
    for (const size of [rxRing, txRing]) {
      if ((size & (size - 1)) !== 0) throw new PollmodeError('EOPTION', `af_xdp: a ring of ${size} entries: choose a power of two.`);
    }
    if (txBudget > txRing) throw new PollmodeError('EOPTION', `af_xdp: tx_budget=${txBudget} is more than the tx ring's ${txRing} entries: choose less, or a longer ring (tx_ring=).`);
    if (mode === 'generic' && zeroCopy === 'must') throw new PollmodeError('EOPTION', 'af_xdp: a generic XDP program runs behind the copy that zero-copy is without: leave zero_copy=must or mode=generic out.');
    return { mbufs: rxRing + txRing, bufferSize: 2048, registered: true, ...(options.huge === true ? { hugePages: 'must' as const } : {}) };
  },
  open: (options, host) => options.netns === undefined ? openHere(settings(options), host) : withNetnsPath(options.netns, () => openHere(settings(options), host)),
  attach: {
    rx: state => new XskRxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    tx: state => new XskTxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    repair,
  },
};

/** The kernel's rings and the socket are the opening process's; its threads share them. */
function ofThisProcess(state: QueueView): QueueView {
  const ring = state.get(XSK_RING_A + XSK_DESCRIPTORS);
  const zone = state.arena.zones().find(({ type, offset, length }) => type === ZONE_OVERLAY && ring - offset >= 0 && ring - offset < length);
  if (zone?.pid === process.pid) return state;
  Atomics.store(state.arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0);
  throw new PollmodeError('EUNSUPPORTED', 'An AF_XDP queue is polled in the process that opened it: hand its packets to another through a ring.');
}

function settings(options: AfXdpOptions): Settings {
  return { queue: 0, mode: 'auto', zeroCopy: 'auto', needWakeup: true, rxRing: 2048, txRing: 2048, ...options };
}

/** In the calling thread's network namespace. Each step undoes those before it when it fails. */
function openHere(options: Settings, host: PortHost): Port {
  const link = usableLink(options, host);
  const socket = new XskSocket(host.arena, host.pool, `port/${host.number}/xsk`, { rx: options.rxRing, tx: options.txRing });
  let steering: Steering | undefined;
  let port: XskPort | undefined;
  try {
    const txBudget = socket.raiseTxBudget(options.txBudget ?? options.txRing);
    // The fill ring is filled before bind, so that no frame finds it empty.
    port = new XskPort(host, socket, burstFunctions(host.arena), link, txBudget);
    bind(options, link, socket);
    steering = steer(host.device, readLink(link.ifindex), options);
    enter(host.device, steering, options.queue, socket.fd);
    port.opened(steering, { zeroCopy: socket.zeroCopy, needWakeup: options.needWakeup });
    return port;
  } catch (cause) {
    if (port !== undefined) port.close();
    else socket.close();
    if (steering !== undefined) release(steering.fds);
    throw cause;
  }
}

function usableLink({ device, queue }: Settings, host: PortHost): Link {
  const link = readLink(device);
  if (!link.up) throw new PollmodeError('EDOWN', `${host.device}: the interface is down: ip link set ${device} up.`);
  if (queue >= link.rxQueues) throw new PollmodeError('EOPTION', `${host.device}: ${device} has ${link.rxQueues} receive queue${link.rxQueues === 1 ? '' : 's'}, numbered from 0: choose one of them, or give it more (ethtool -L).`);
  return link;
}

const EAFNOSUPPORT = 97;
const EINVAL = 22;
const EBUSY = 16;
const EOPNOTSUPP = 95;
const ENETDOWN = 100;

/** How long a queue that is taken may be on its way to being free. */
const REBIND_TRIES = 100;
const REBIND_PAUSE_MS = 5;

function bind(options: Settings, link: Link, socket: XskSocket): void {
  // Behind a generic program there is nothing but copies.
  const copy = options.mode === 'generic' ? XDP_COPY : { auto: 0, never: XDP_COPY, must: XDP_ZEROCOPY }[options.zeroCopy];
  const flags = copy | (options.needWakeup ? XDP_USE_NEED_WAKEUP : 0);
  let result = socket.bind(link.ifindex, options.queue, flags);
  // The kernel lets go of a queue some time after close(2), in a work item (xp_release_deferred in net/xdp/xsk_buff_pool.c).
  for (let tries = 0; result === -EBUSY && tries < REBIND_TRIES; tries++) {
    binding().poll(new Int32Array(), REBIND_PAUSE_MS);
    result = socket.bind(link.ifindex, options.queue, flags);
  }
  if (result === 0) return;
  const refuse = (code: 'EBUSYQUEUE' | 'EUNSUPPORTED' | 'EDOWN' | 'EOPTION', why: string): never => {
    throw new PollmodeError(code, `af_xdp:${options.device}: ${why}`, { syscall: 'bind', errno: -result });
  };
  if (result === -EBUSY) refuse('EBUSYQUEUE', `queue ${options.queue} has an AF_XDP socket already: end its program, or choose another queue.`);
  if (result === -ENETDOWN) refuse('EDOWN', `the interface is down: ip link set ${options.device} up.`);
  if (result === -EOPNOTSUPP && options.zeroCopy === 'must') refuse('EUNSUPPORTED', `the driver${link.kind === '' ? '' : ` (${link.kind})`} has no zero-copy AF_XDP: leave zero_copy=must out, and the kernel copies each frame once.`);
  if (result === -EINVAL) refuse('EOPTION', `queue ${options.queue} cannot be bound${options.zeroCopy === 'must' ? ' with zero-copy' : ''}: the interface may have fewer active queues (ethtool -l ${options.device}).`);
  throw kernelError(-result, 'bind');
}

