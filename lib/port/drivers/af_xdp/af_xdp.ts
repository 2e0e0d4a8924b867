import { ZONE_OVERLAY } from '../../../arena/layout.js';
import { tryBinding } from '../../../binding.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { EAFNOSUPPORT } from '../../../kernel/errno.js';
import { withNetnsPath } from '../../../kernel/netns.js';
import { MAX_PORT_QUEUE, QUEUE_LCORE } from '../../layout.js';
import type { Availability, PortDriver } from '../../port.js';
import { NO_ADDON } from '../../probe.js';
import type { QueueView } from '../../queue_view.js';
import { XSK_DESCRIPTORS, XSK_RING_A } from './layout.js';
import { checkBusyPoll, checkSource, settings, type AfXdpOptions } from './options.js';
import { openPort } from './port.js';
import { XskRxQueue, XskTxQueue } from './queues.js';
import { repair } from './repair.js';
import { AF_XDP, SOCK_RAW } from './uapi.js';

export type { AfXdpOptions } from './options.js';

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
    queue: { type: 'count', help: 'its receive queue, the first of several (default 0)', min: 0, max: MAX_PORT_QUEUE },
    queues: { type: 'count', help: 'how many queues, from the first on (default 1)', min: 1, max: MAX_PORT_QUEUE + 1 },
    channels: { type: 'count', help: 'queues that the interface shall have meanwhile (ethtool -L)', min: 1, max: MAX_PORT_QUEUE + 1 },
    mode: { type: 'choice', help: 'where the XDP program runs (default auto)', choices: ['auto', 'native', 'generic'] },
    zeroCopy: { type: 'choice', help: 'frames without a copy by the kernel (default auto)', choices: ['auto', 'never', 'must'] },
    frags: { type: 'choice', help: 'frames in several buffers (default auto: where the MTU needs them)', choices: ['auto', 'on', 'off'] },
    needWakeup: { type: 'flag', help: 'system calls only when the kernel asks for one (default on)' },
    rxRing: { type: 'count', help: 'entries of the rx and fill rings, a power of two (default 2048)', min: 64, max: 32768 },
    txRing: { type: 'count', help: 'entries of the tx and completion rings, a power of two (default 2048)', min: 64, max: 32768 },
    txBudget: { type: 'count', help: 'packets that one sendto may send in copy mode (default: the tx ring)', min: 32, max: 32768 },
    busyPoll: { type: 'count', help: 'µs for SO_BUSY_POLL: bursts run the NAPI themselves, and the interrupt seldom does', min: 1, max: 1_000_000 },
    busyBudget: { type: 'count', help: 'packets that one busy poll takes (default 64)', min: 1, max: 65535 },
    napiDefer: { type: 'count', help: 'the interface\'s napi_defer_hard_irqs meanwhile', min: 0, max: 0x7fffffff },
    groFlush: { type: 'count', help: 'its gro_flush_timeout meanwhile, in ns', min: 0, max: 10_000_000_000 },
    huge: { type: 'flag', help: 'the pool in huge pages or not at all' },
    program: { type: 'text', help: 'your own XDP program: pinned path or fd:N' },
    xskMap: { type: 'text', help: 'the XSKMAP that it redirects to: pinned path or fd:N' },
    netns: { type: 'text', help: 'path of the network namespace that the interface is in' },
    broker: { type: 'text', help: 'without rights: the Unix socket of a pollmode broker' },
    take: { type: 'choice', help: 'what to take from it (default socket)', choices: ['socket', 'map'] },
    devicePlugin: { type: 'text', help: 'the Unix socket of Kubernetes\' AF_XDP device plugin' },
  },
  probe(): Availability {
    const addon = tryBinding();
    if (addon instanceof PollmodeError) return { usable: false, reason: NO_ADDON, mend: addon.message };
    const fd = addon.socket(AF_XDP, SOCK_RAW, 0);
    if (fd >= 0) addon.close(fd);
    // Missing rights are for `open` to name: they are the process's, not the machine's.
    return fd === -EAFNOSUPPORT ? { usable: false, reason: 'this kernel has no AF_XDP', mend: 'Use a kernel with CONFIG_XDP_SOCKETS (Linux 5.4 or newer)' } : { usable: true };
  },
  plan(options) {
    const { queues, rxRing, txRing, txBudget = 32, mode, zeroCopy } = settings(options);
    for (const size of [rxRing, txRing]) {
      if ((size & (size - 1)) !== 0) throw new PollmodeError('EOPTION', `af_xdp: a ring of ${size} entries: choose a power of two.`);
    }
    if (txBudget > txRing) throw new PollmodeError('EOPTION', `af_xdp: tx_budget=${txBudget} is more than the tx ring's ${txRing} entries: choose less, or a longer ring (tx_ring=).`);
    if (mode === 'generic' && zeroCopy === 'must') throw new PollmodeError('EOPTION', 'af_xdp: a generic XDP program runs behind the copy that zero-copy is without: leave zero_copy=must or mode=generic out.');
    checkSource(options);
    checkBusyPoll(options);
    return { mbufs: queues * (rxRing + txRing), bufferSize: 2048, registered: true, ...(options.huge === true ? { hugePages: 'must' as const } : {}) };
  },
  open: (options, host) => options.netns === undefined ? openPort(settings(options), host) : withNetnsPath(options.netns, () => openPort(settings(options), host)),
  attach: {
    rx: state => new XskRxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    tx: state => new XskTxQueue(ofThisProcess(state), burstFunctions(state.arena)),
    // From another process the rings are not to be seen: what is half done is put in order when the port is closed.
    repair: state => { if (isOfThisProcess(state)) repair(state, burstFunctions(state.arena)); },
  },
};

/** The kernel's rings and the socket are the opening process's; its threads share them. */
function ofThisProcess(state: QueueView): QueueView {
  if (isOfThisProcess(state)) return state;
  Atomics.store(state.arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0);
  throw new PollmodeError('EUNSUPPORTED', 'An AF_XDP queue is polled in the process that opened it: hand its packets to another through a ring.');
}

function isOfThisProcess(state: QueueView): boolean {
  const ring = state.get(XSK_RING_A + XSK_DESCRIPTORS);
  const zone = state.arena.zones().find(({ type, offset, length }) => type === ZONE_OVERLAY && ring - offset >= 0 && ring - offset < length);
  return zone?.pid === process.pid;
}

