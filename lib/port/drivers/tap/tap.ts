import { existsSync, readlinkSync } from 'node:fs';
import type { Memzone } from '../../../arena/directory.js';
import { binding, tryBinding } from '../../../binding.js';
import { MAX_BURST } from '../../../burst/burst.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { ipv4Bytes, macBytes } from '../../../kernel/address.js';
import { errnoName } from '../../../kernel/errno.js';
import { readLink, readLinkDrops, setLink, type Link, type LinkDrops } from '../../../kernel/link.js';
import { addAddress } from '../../../kernel/link_addresses.js';
import { currentNetns, withNetns, withNetnsPath } from '../../../kernel/netns.js';
import { HEADROOM } from '../../../mbuf/layout.js';
import type { Availability, Port, PortDriver, PortHost } from '../../port.js';
import { NO_ADDON } from '../../probe.js';
import type { QueueState } from '../../queue.js';
import { QueuePort, total } from '../../queue_port.js';
import { closeTap, openTap, TUN_DEVICE, type TapDevice } from './device.js';
import { TAP_BAD_FRAME, TAP_CHAIN_NOMBUF, TAP_TRUNCATED } from './layout.js';
import { TapRxQueue } from './rx.js';
import { TapTxQueue } from './tx.js';
import { reserveVectors } from './vectors.js';

export interface TapOptions {
  /** The interface's name; a %d in it becomes the first free number. Default tap%d. */
  readonly device?: string;
  /** Rx and tx queues; the kernel keeps a flow in one. Default 1. */
  readonly queues?: number;
  /** The interface's own MAC address, which is the kernel's end. Default: the kernel's choice. */
  readonly mac?: string;
  /** Bytes of IP packet. Default: as it is, 1500 for a new one. */
  readonly mtu?: number;
  /** IPv4 address and prefix length for the interface: "10.0.0.1/24". Default none. */
  readonly ip?: string;
  /** Sets the interface up. Default true. */
  readonly up?: boolean;
  /** Path of a network namespace to make it in. */
  readonly netns?: string;
}

/** An Ethernet header and a VLAN tag; and the one byte by which a frame that was cut is known. */
const OVERHEAD = 14 + 4 + 1;
const LARGEST_BUFFER = 4096;

/**
 * `tap:tap0`: an interface of the kernel's whose other end is this port (Documentation/networking/tuntap.rst): what the
 * kernel sends on it is received here, and what is sent here comes in there. The interface is made here and goes with
 * the port, however that ends; one that is there already (ip tuntap add) is used as it is, and stays.
 *
 * A packet costs one read(2) or write(2); a burst's are made in one native call.
 */
export const tapDriver: PortDriver<TapOptions> = {
  name: 'tap',
  summary: 'an interface of the kernel\'s that this program is the wire of',
  options: {
    device: { type: 'text', help: 'name of the interface (default tap%d, the first free number)' },
    queues: { type: 'count', help: 'rx and tx queues (default 1)', min: 1, max: 64 },
    mac: { type: 'text', help: 'MAC address of the interface' },
    mtu: { type: 'count', help: 'bytes of IP packet (default 1500)', min: 68, max: 9000 },
    ip: { type: 'text', help: 'IPv4 address for the interface, as 10.0.0.1/24' },
    up: { type: 'flag', help: 'set the interface up (default on)' },
    netns: { type: 'text', help: 'path of the network namespace to make it in' },
  },
  probe(): Availability {
    const addon = tryBinding();
    if (addon instanceof PollmodeError) return { usable: false, reason: NO_ADDON, mend: addon.message };
    return existsSync(TUN_DEVICE) ? { usable: true } : { usable: false, reason: `${TUN_DEVICE} is not there`, mend: 'Load the module (modprobe tun), or give the container this device' };
  },
  plan({ mtu = 1500, mac, ip, queues = 1 }) {
    if (mac !== undefined) macBytes(mac);
    if (ip !== undefined) parseAddress(ip);
    return { mbufs: MAX_BURST * queues, bufferSize: bufferFor(mtu), registered: false };
  },
  open: (options, host) => options.netns === undefined ? openHere(options, host) : withNetnsPath(options.netns, () => openHere(options, host)),
  attach: {
    rx: state => new TapRxQueue(state, burstFunctions(state.arena)),
    tx: state => new TapTxQueue(state, burstFunctions(state.arena)),
  },
};

/** One for a whole frame, where there are such large ones; jumbo frames come as chains of the usual ones. */
function bufferFor(mtu: number): number {
  const whole = HEADROOM + mtu + OVERHEAD;
  return whole <= LARGEST_BUFFER ? whole : 2048;
}

/** "10.0.0.1/24". Throws EOPTION. */
function parseAddress(text: string): { ip: string; prefix: number } {
  const [ip = '', length = ''] = text.split('/');
  ipv4Bytes(ip);
  const prefix = /^\d{1,2}$/.test(length) ? Number(length) : 33;
  if (prefix > 32) throw new PollmodeError('EOPTION', `"${text}" has no prefix length: write the address as 10.0.0.1/24.`);
  return { ip, prefix };
}

/** In the calling thread's network namespace. Closing the descriptors undoes it all. */
function openHere(options: TapOptions, host: PortHost): Port {
  const device = openTap(options.device ?? 'tap%d', options.queues ?? 1);
  try {
    return port(host, device, setUp(device, options));
  } catch (cause) {
    closeTap(device.fds);
    throw cause;
  }
}

/** Changes what was asked for and is not so already: an interface that root made for this user can be used without rights. */
function setUp({ name }: TapDevice, { mac, mtu, ip, up = true }: TapOptions): Link {
  const link = readLink(name);
  if (mac !== undefined && mac.toLowerCase() !== link.mac) setLink(link.ifindex, { mac });
  if (mtu !== undefined && mtu !== link.mtu) setLink(link.ifindex, { mtu });
  if (ip !== undefined) {
    const address = parseAddress(ip);
    addAddress(link.ifindex, address.ip, address.prefix);
  }
  if (up && !link.up) setLink(link.ifindex, { up: true });
  return readLink(name);
}

function port(host: PortHost, { name, fds }: TapDevice, link: Link): Port {
  const functions = burstFunctions(host.arena);
  const zones: Memzone[] = [];
  const receivers: TapRxQueue[] = [];
  const senders: TapTxQueue[] = [];
  const vectors = (state: QueueState, queue: number): void => { zones.push(reserveVectors(state, `port/${host.number}/tap/${state.direction}/${queue}`, fds[queue]!, link.mtu + OVERHEAD)); };
  const releaseZones = (): void => { for (const zone of zones) host.arena.release(zone); };
  const drops = new Drops(link.ifindex);
  try {
    return new QueuePort(host, {
      mac: link.mac,
      capabilities: {
        mtu: link.mtu, rxQueues: fds.length, txQueues: fds.length, timestamps: 'none', zeroCopy: true,
        mode: `${name}, one system call per packet`,
      },
      rx(state, queue) {
        vectors(state, queue);
        receivers.push(new TapRxQueue(state, functions));
        return receivers[queue]!;
      },
      tx(state, queue) {
        vectors(state, queue);
        senders.push(new TapTxQueue(state, functions));
        return senders[queue]!;
      },
      xstats(into, rx, tx) {
        into['rx_truncated'] = total(rx, TAP_TRUNCATED);
        into['rx_chain_no_mbuf'] = total(rx, TAP_CHAIN_NOMBUF);
        into['tx_bad_frame'] = total(tx, TAP_BAD_FRAME);
        drops.read(into);
        for (const queue of receivers) addRefusals(into, 'rx_read', queue.refusals);
        for (const queue of senders) addRefusals(into, 'tx_write', queue.refusals);
      },
      release() {
        closeTap(fds);
        drops.close();
        releaseZones();
      },
    });
  } catch (cause) {
    drops.close();
    releaseZones();
    throw cause;
  }
}

function addRefusals(into: Record<string, number>, what: string, refusals: ReadonlyMap<number, number>): void {
  for (const [errno, count] of refusals) into[`${what}_${errnoName(errno)}`] = (into[`${what}_${errnoName(errno)}`] ?? 0) + count;
}

/**
 * What the kernel dropped between the interface and this port, since the port was opened. Its "sent" is our "received":
 * frames for which the interface's queue was full, because they were not read in time. Kept when the interface is gone.
 */
class Drops {
  readonly #ifindex: number;
  readonly #netns: number;
  readonly #netnsName = netnsName();
  readonly #before: LinkDrops;
  #last: LinkDrops;

  constructor(ifindex: number) {
    this.#ifindex = ifindex;
    this.#before = this.#last = readLinkDrops(ifindex);
    this.#netns = currentNetns();
  }

  read(into: Record<string, number>): void {
    try {
      // Going there needs rights, and is not needed by a thread that is there already.
      this.#last = netnsName() === this.#netnsName ? readLinkDrops(this.#ifindex) : withNetns(this.#netns, () => readLinkDrops(this.#ifindex));
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
    }
    into['kernel_rx_dropped'] = this.#last.tx - this.#before.tx;
    into['kernel_tx_dropped'] = this.#last.rx - this.#before.rx;
  }

  close(): void {
    binding().close(this.#netns);
  }
}

/** "net:[4026531840]": which namespace the calling thread is in. */
function netnsName(): string {
  return readlinkSync('/proc/thread-self/ns/net');
}
