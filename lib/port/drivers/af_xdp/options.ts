import { PollmodeError } from '../../../errors.js';

export interface AfXdpOptions {
  /** The interface's name. */
  readonly device: string;
  /** Its receive queue, the first where there are several. Default 0. */
  readonly queue?: number;
  /** How many queues, from the first on: as many rx and tx queues of the port. Default 1; more needs Linux 5.10. */
  readonly queues?: number;
  /** How many queues the interface shall have meanwhile (ethtool -L); put back at close. Default: as many as it has. */
  readonly channels?: number;
  /**
   * Where the XDP program runs. `auto`: native where the driver has it, else generic. On a veth `generic` took a sixth more
   * sk_buffs than `native` (measured on Linux 6.18), but only `native` takes what another XDP program redirects there:
   * without it the veth has no NAPI, and those frames are lost uncounted (veth_xdp_xmit in drivers/net/veth.c).
   */
  readonly mode?: 'auto' | 'native' | 'generic';
  /** `auto`: as the kernel chooses. `must` fails, with the reason, where the driver has none. Unproven: only its refusal has been seen so far. */
  readonly zeroCopy?: 'auto' | 'never' | 'must';
  /**
   * Frames in several buffers, which come as chains of mbufs (XDP_USE_SG, Linux 6.6): `auto` where the interface's MTU
   * needs them, and otherwise frames of one buffer only, as zero-copy of some drivers has it; `on` always, or refuses with
   * the reason. Without them a frame that is longer than a buffer is dropped by the kernel (kernel_rx_dropped), and the
   * port's MTU says so. Default auto.
   */
  readonly frags?: 'auto' | 'on' | 'off';
  /** Lets the kernel say when it wants a system call. Default true. */
  readonly needWakeup?: boolean;
  /** Entries of the rx and fill rings, and of the tx and completion rings, of each queue; powers of two. Default 2048. */
  readonly rxRing?: number;
  readonly txRing?: number;
  /** Packets that one sendto may send in copy mode, 32 to the tx ring's size, where the kernel lets itself be told (Linux 6.17). Default: the tx ring's size. */
  readonly txBudget?: number;
  /**
   * Microseconds for SO_BUSY_POLL, with SO_PREFER_BUSY_POLL: the queue's NAPI runs in our thread, inside the system calls
   * of our bursts, which are then made whenever there is nothing to receive (Linux 5.11; needs CAP_NET_ADMIN). How long
   * is for poll(2) only, where net.core.busy_poll has it spin too; a burst looks once. The counter busy_poll_napis says
   * for how many queues the kernel knows what to run: without the driver's help none, and then nothing is gained. Default: not.
   */
  readonly busyPoll?: number;
  /** Packets that one such look takes (SO_BUSY_POLL_BUDGET). Default 64. */
  readonly busyBudget?: number;
  /**
   * napi_defer_hard_irqs and gro_flush_timeout (nanoseconds) of the interface meanwhile; put back at close. With both,
   * interrupts stay off while somebody busy-polls: who does not gets frames by that timer at the latest. For all its queues
   * where sysfs shows it, else for the port's where the driver tells them apart (Linux 6.13). One port of an interface should ask.
   */
  readonly napiDefer?: number;
  readonly groFlush?: number;
  /** The pool in huge pages or not at all. */
  readonly huge?: boolean;
  /** An XDP program of your own: a pinned path or fd:N, with its XSKMAP. */
  readonly program?: string;
  readonly xskMap?: string;
  /** Path of a network namespace to open the interface in. */
  readonly netns?: string;
  /** Without rights: the Unix socket of a `pollmode broker` that has them. One queue; the port does not come back by itself when its interface is deleted. */
  readonly broker?: string;
  /** What to take from it: a socket (then no capability is needed, nor the interface's namespace), or the XSKMAP (then CAP_NET_RAW). Default socket. */
  readonly take?: 'socket' | 'map';
  /** The Unix socket of Kubernetes' AF_XDP device plugin, which gives the XSKMAP: /tmp/afxdp_dp/eth0/afxdp.sock. Needs CAP_NET_RAW. One queue, as with a broker. */
  readonly devicePlugin?: string;
}

/** With the defaults filled in. */
export type Settings = Required<Omit<AfXdpOptions, 'channels' | 'program' | 'xskMap' | 'netns' | 'txBudget' | 'busyPoll' | 'busyBudget' | 'napiDefer' | 'groFlush' | 'huge' | 'broker' | 'take' | 'devicePlugin'>> & AfXdpOptions;

export function settings(options: AfXdpOptions): Settings {
  return { queue: 0, queues: 1, mode: 'auto', zeroCopy: 'auto', frags: 'auto', needWakeup: true, rxRing: 2048, txRing: 2048, ...options };
}

/** Does another give what needs rights? */
export function isBorrowed({ broker, devicePlugin }: AfXdpOptions): boolean {
  return broker !== undefined || devicePlugin !== undefined;
}

/** A program comes from one place; who lends his lends one queue, and changes nothing for us. Throws EOPTION. */
export function checkSource(options: AfXdpOptions): void {
  const { broker, take, devicePlugin, program, xskMap, queues = 1, channels, napiDefer, groFlush } = options;
  const named = Object.entries({ broker, device_plugin: devicePlugin, 'program and xsk_map': program ?? xskMap }).filter(([, value]) => value !== undefined);
  if (named.length > 1) throw new PollmodeError('EOPTION', `af_xdp: the XDP program comes from one place, and ${named.map(([name]) => name).join(', ')} name several: leave all but one out.`);
  if (take !== undefined && broker === undefined) throw new PollmodeError('EOPTION', 'af_xdp: take= says what to take from a broker: name it too (broker=PATH).');
  if (!isBorrowed(options)) return;
  const [whose] = named[0]!;
  if (queues > 1) throw new PollmodeError('EOPTION', `af_xdp: with ${whose}= a port has one queue, not ${queues}: open a port for each (queue=), and leave queues= out.`);
  if (channels !== undefined) throw new PollmodeError('EOPTION', `af_xdp: with ${whose}= a port does not change the interface's channels: leave channels= out, and change them first (ethtool -L).`);
  if (napiDefer !== undefined || groFlush !== undefined) throw new PollmodeError('EOPTION', `af_xdp: with ${whose}= a port does not change when the interface's interrupts come: leave napi_defer= and gro_flush= out, and set them first (/sys/class/net/NAME/).`);
}

/** Throws EOPTION. */
export function checkBusyPoll({ busyPoll, busyBudget }: AfXdpOptions): void {
  if (busyBudget !== undefined && busyPoll === undefined) throw new PollmodeError('EOPTION', 'af_xdp: busy_budget= says how much a busy poll takes: ask for one too (busy_poll=20).');
}
