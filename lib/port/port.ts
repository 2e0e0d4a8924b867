/**
 * The port contract: the seam between packet programs and whatever carries packets.
 *
 * Who owns an mbuf, always:
 * - `rxBurst` fills the burst: the caller owns the first n;
 * - `txBurst` takes the first m: the port owns those, and the caller keeps the rest, to retry or free;
 * - `close` gives every mbuf that the port holds back to its pool.
 *
 * The data path never throws. After close both bursts return 0 and count `after_close`; from a thread that does not hold
 * the queue they return 0 and count `wrong_thread`.
 * Threads: a port belongs to the thread that opened it, and so do its queues until they are handed over (attach.ts); one
 * thread polls a queue.
 */
import type { Arena } from '../arena/arena.js';
import type { HugePages } from '../arena/backing.js';
import type { Burst } from '../burst/burst.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { PortFlowRules } from './flow_rules.js';
import type { QueueView } from './queue_view.js';

export interface RxQueue {
  /**
   * Receives up to `max` frames (default and at most: the burst's capacity) into the front of `burst`. Returns how many,
   * 0 when there is nothing; never waits. The caller owns the mbufs.
   */
  rxBurst(burst: Burst, max?: number): number;
  /** Nothing more will come (the end of a capture file). Absent for queues that go on for ever. */
  readonly finished?: boolean;
  /** What a thread can sleep on until something comes; undefined for queues that can only be polled. */
  readonly wake: WakeSource | undefined;
  /**
   * Packets on the event loop: `for await (const burst of queue.bursts({ signal }))`, the first `burst.count` handles
   * being the body's own. Sleeps in libuv while there is nothing, and keeps timers waiting for a millisecond at most.
   */
  bursts(options?: BurstsOptions): AsyncGenerator<Burst, void, undefined>;
  /** Calls back when there is something to receive, until the returned function is called. Throws EUNSUPPORTED where `wake` is undefined. */
  onReadable(callback: () => void): () => void;
}

export interface BurstsOptions {
  /** Ends the iteration when aborted. */
  readonly signal?: AbortSignal;
  /** Most packets of a burst, 1 to 512. Default 32. */
  readonly capacity?: number;
  /** How long packets may keep the event loop from its timers, in milliseconds. Default 1. */
  readonly turnMs?: number;
}

export interface WakeSource {
  /** A descriptor of this process that is readable while there is something to receive, or -1 while there is none (its interface is gone). The queue's own: not to be read or closed. */
  readonly fd: number;
  /** Changes when another file is behind the descriptor's number (its interface came back): an epoll on it must begin anew. Absent: that never happens. */
  readonly generation?: number;
  /** Before a sleep, where the device must be told that it shall wake. Returns false when there is something already. */
  arm?(): boolean;
}

export interface TxQueue {
  /**
   * Sends the first `count` of `burst`, in order. Returns how many the port took; the rest are still the caller's, and
   * can be taken later: a frame that could never be sent (too short, too long, a chain where there are none) is taken,
   * freed, and counted by a name that says why, so that whoever tries the rest again is not held up for ever. Never waits.
   */
  txBurst(burst: Burst, count: number): number;
}

export interface PortCapabilities {
  /** Largest IP packet in bytes: no Ethernet header, no FCS. */
  readonly mtu: number;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** Where a receive's time stamp comes from. */
  readonly timestamps: 'none' | 'software' | 'hardware' | 'file';
  /** Does the port send and receive without copying a frame in user space? The kernel's or a NIC's copies do not count. */
  readonly zeroCopy: boolean;
  /** TX_* of mbuf/layout.ts that it does; a frame that wants another is dropped and counted. Absent: none. */
  readonly txOffloads?: number;
  /** RX_* that it may set. Absent: none. */
  readonly rxOffloads?: number;
  /** TX_* that what it receives may still want done, by who sends it on (`Offloads`, or a port that does it). Absent: none. */
  readonly rxLeaves?: number;
  /** How it was in fact opened, for people: "native, copy, need-wakeup". */
  readonly mode: string;
}

/** Counts of packets and bytes (frames without FCS) since the port was opened. */
export interface PortStats {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
  /** Receives that found no mbuf in the pool, in packets where the port can tell. */
  rxNoMbuf: number;
  /** Packets that a txBurst was offered and did not take; each try counts. */
  txRefused: number;
  /** Everything else, by name; every dropped packet is in one whose name says why. DPDK's word. */
  xstats: Record<string, number>;
}

export interface Port {
  /** The device string's name for it, unique in its host: "af_xdp:veth0". */
  readonly name: string;
  /** Its number in the host: what mbufs say of where they came in. */
  readonly number: number;
  readonly capabilities: PortCapabilities;
  readonly rx: readonly RxQueue[];
  readonly tx: readonly TxQueue[];
  readStats(into: PortStats): void;
  /** Stops, gives every mbuf back, releases everything. A second call does nothing. */
  close(): void;
  /** Has the source come to its end (a capture file)? Absent for ports that go on for ever. */
  readonly finished?: boolean;
  /** Tells of what happens to the device under the port, in the port's thread, until the returned function is called. Absent: the port does not look. */
  onEvent?(listener: (event: PortEvent) => void): () => void;
  /** Its MAC address, where it has one: "02:00:00:00:00:01". */
  readonly mac?: string;

  /** Rules that its NIC carries out: what lib/flow pushes down. Absent: there is none, or it has none. */
  readonly flowRules?: PortFlowRules | undefined;

  /** Which queue a packet comes to: of a NIC that the port drives itself, or whose driver lets be asked (af_xdp, from queue 0 on). Absent: there is none. Only for the thread that opened it. */
  readonly rss?: PortRss | undefined;

  // What a port has that drives a NIC itself; absent elsewhere. Only for the thread that opened it.
  /** Takes frames for any address, or only those for its own, for all, and for the groups that were chosen. */
  promiscuous?(on: boolean): void;
  /** Takes frames for these multicast addresses, instead of those chosen before. A NIC may let others through too. Throws EOPTION. */
  multicast?(groups: readonly string[]): void;
  /** Takes tagged frames of these VLANs alone, and untagged ones; undefined: of every VLAN, as at first. Throws EOPTION, EUNSUPPORTED. */
  vlanFilter?(ids: readonly number[] | undefined): void;
  readonly link?: PortLink;
  /** Of a physical function: what its virtual ones may do. */
  readonly virtualFunctions?: VirtualFunctions;
  /** A descriptor that is readable when the system wants the device back (unplugged, unbound): close the port, it waits for that. */
  readonly removal?: number;
}

/**
 * A NIC's receive-side scaling. `Rss` with the same key and types makes the NIC's hash, so `reta[hash % reta.length]` is the
 * queue, and a RetaGuard changes the table under traffic: `apply: reta => port.rss.set({ reta })`.
 */
export interface PortRss {
  /** RSS_* of rss/layout.ts that are hashed; the others come to queue 0. */
  readonly types: number;
  /** RSS_* that the NIC can hash. */
  readonly canHash: number;
  readonly key: Uint8Array;
  /** The queue of each bucket. */
  readonly reta: readonly number[];
  /** Changes what is given. Packets that are on their way may still be hashed, or put, as before. Throws EOPTION; of Linux's interfaces what the kernel says, and EUNSUPPORTED for types, which its driver is told (ethtool -N). */
  set(change: { readonly key?: Uint8Array; readonly reta?: readonly number[]; readonly types?: number }): void;
}

/** What a physical function's port does for its virtual ones: only it can reach what they share. For the thread that opened the port. */
export interface VirtualFunctions {
  /** How many there were when the port was opened. */
  readonly count: number;
  /**
   * What a function gets. `mac`: its address, from its next reset on. `vlan`: all that it sends is put into this VLAN, and
   * it receives nothing else (0: as it likes). `trust`: it may take another address, and frames for any address. Throws EOPTION.
   */
  set(index: number, change: { readonly mac?: string; readonly vlan?: number; readonly trust?: boolean }): void;
  read(index: number): VirtualFunctionState;
  /** Reads the mailbox and answers; the port does so itself every few milliseconds. Returns how many messages there were. */
  serve(): number;
}

export interface VirtualFunctionState {
  readonly mac: string;
  readonly vlan: number;
  readonly trust: boolean;
  /** Has it said hello since its last reset? */
  readonly ready: boolean;
  /** VLANs that it has asked for. */
  readonly vlans: readonly number[];
  /** Messages of it, and how many were refused. */
  readonly messages: number;
  readonly refused: number;
}

export interface LinkState {
  readonly up: boolean;
  /** Megabits per second, 0 while it is down. */
  readonly mbps: number;
  readonly fullDuplex: boolean;
}

export interface PortLink {
  read(): LinkState;
  /** Readable once the link has changed, after `arm`. */
  readonly wake: WakeSource;
}

/**
 * `down`, `up`: the interface; what is sent meanwhile waits. `gone`: it was deleted, or the port cannot go back to it yet, and
 * why; bursts return 0. `back`: there is one of that name again and the port is on it. `channels`: its number of queues was changed.
 */
export interface PortEvent {
  readonly kind: 'down' | 'up' | 'gone' | 'back' | 'channels';
  /** For people. */
  readonly text: string;
}

/** Whether a driver can be used here; where not, why, and what mends it. */
export type Availability =
  | { readonly usable: true }
  | { readonly usable: false; readonly reason: string; readonly mend: string };

/** What a port needs of the pool that its packets live in. */
export interface MemoryDemand {
  /** mbufs that the port may hold at once. */
  readonly mbufs: number;
  /** Smallest buffer, in bytes with headroom. */
  readonly bufferSize: number;
  /** Registered with the kernel or a device: wants the buffers in one page-aligned zone, in huge pages where they can be had. */
  readonly registered: boolean;
  /** Registered as huge pages or not at all. */
  readonly hugePages?: HugePages;
  /** Bytes of others' memory that it may map over the arena: room there, which costs nothing else. */
  readonly overlays?: number;
  /** Shares the buffers with a foreign peer: they must be in a file of their own. */
  readonly ownFile?: boolean;
}

/** What a driver is given to open a port with. */
export interface PortHost {
  readonly arena: Arena;
  readonly pool: Mempool;
  readonly number: number;
  /** The device string as it was written, to be the port's name. */
  readonly device: string;
}

export interface PortDriver<Options extends object = object> {
  /** The word before the colon. */
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  readonly options: OptionTable<Options>;
  /** Capabilities that opening one usually takes ("CAP_NET_RAW"); `pollmode doctor` says which of them are missing. */
  readonly rights?: readonly string[];
  /** Usable here? Never throws, never alters anything. */
  probe(): Availability;
  /** Pure: what memory it will want. Throws EOPTION for options that cannot be together. */
  plan(options: Options): MemoryDemand;
  open(options: Options, host: PortHost): Port;
  /** How another thread polls a queue, from the queue's state alone. Absent: only the thread that opened the port can. */
  readonly attach?: QueueAttacher;
}

/** Makes the calling thread's queue objects over queues that another thread opened. */
export interface QueueAttacher {
  rx(state: QueueView): RxQueue;
  tx(state: QueueView): TxQueue;
  /**
   * Puts a queue in order whose lcore died in the middle of a burst: state that was half written is completed or undone,
   * and mbufs that carry the queue's owner word and are nowhere go back. Absent: there is nothing that can be half done.
   */
  repair?(state: QueueView): void;
}

/** How each option is written and read. `device` is what stands directly behind the colon. */
export type OptionTable<Options> = { readonly [Key in keyof Options]-?: OptionSpec };

export interface OptionSpec {
  readonly type: 'text' | 'flag' | 'count' | 'size' | 'choice';
  readonly help: string;
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly required?: boolean;
}

export function emptyStats(): PortStats {
  return { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0, rxNoMbuf: 0, txRefused: 0, xstats: {} };
}
