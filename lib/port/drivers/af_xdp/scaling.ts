/** Receive-side scaling of the NIC under an AF_XDP port, as far as Linux's driver lets it be read and set (ethtool -x and -X). */
import { PollmodeError } from '../../../errors.js';
import { changeNicRss } from '../../../journal/changes.js';
import type { JournalEntry } from '../../../journal/journal.js';
import { HeldNetns } from '../../../kernel/netns.js';
import { SCTP_V4_FLOW, SCTP_V6_FLOW, TCP_V4_FLOW, TCP_V6_FLOW, UDP_V4_FLOW, UDP_V6_FLOW } from '../../../kernel/ntuple.js';
import { IPV4_FLOW, IPV6_FLOW, readHashFields, readNicRss, RXH_ADDRESSES, RXH_PORTS, setNicRss } from '../../../kernel/rss.js';
import {
  RSS_IPV4, RSS_IPV6, RSS_SCTP_IPV4, RSS_SCTP_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6,
} from '../../../rss/layout.js';
import type { PortRss } from '../../port.js';
import type { Settings } from './options.js';

type Change = Parameters<PortRss['set']>[0];

/** Each type of ours, the kernel's word for its packets, and what of them must be hashed for it. */
const TYPES = [
  [RSS_IPV4, IPV4_FLOW, RXH_ADDRESSES], [RSS_IPV6, IPV6_FLOW, RXH_ADDRESSES],
  [RSS_TCP_IPV4, TCP_V4_FLOW, RXH_ADDRESSES | RXH_PORTS], [RSS_TCP_IPV6, TCP_V6_FLOW, RXH_ADDRESSES | RXH_PORTS],
  [RSS_UDP_IPV4, UDP_V4_FLOW, RXH_ADDRESSES | RXH_PORTS], [RSS_UDP_IPV6, UDP_V6_FLOW, RXH_ADDRESSES | RXH_PORTS],
  [RSS_SCTP_IPV4, SCTP_V4_FLOW, RXH_ADDRESSES | RXH_PORTS], [RSS_SCTP_IPV6, SCTP_V6_FLOW, RXH_ADDRESSES | RXH_PORTS],
] as const;

/**
 * Everything is read when it is asked for, since others may change it too. The first change is written into the journal
 * before it is made, and `close` puts back what was there. Queue numbers are the interface's, so it is for ports that
 * begin with queue 0; a table may name queues that the port has not, whose packets go to the kernel.
 */
export class NicScaling implements PortRss {
  readonly #device: string;
  readonly #netns = new HeldNetns();
  /** What a program has set so far: an interface that was deleted and is back gets it again. */
  #wanted: Change = {};
  #entry: JournalEntry | undefined;

  private constructor(device: string) {
    this.#device = device;
  }

  /** In the interface's namespace. Undefined where there is none: the driver has no RSS, or hashes by something else than Toeplitz. */
  static of({ device, queue }: Settings): NicScaling | undefined {
    if (queue !== 0) return undefined;
    try {
      const { reta, key, hashFunction } = readNicRss(device);
      return reta.length > 0 && key.length >= 40 && hashFunction === 'toeplitz' ? new NicScaling(device) : undefined;
    } catch (cause) {
      if (cause instanceof PollmodeError) return undefined;
      throw cause;
    }
  }

  get types(): number {
    return this.#netns.within(() => TYPES.reduce((sum, [type, flow, fields]) => sum | ((readHashFields(this.#device, flow) & fields) === fields ? type : 0), 0));
  }

  /** What it hashes is not changed from here: ethtool -N does that. */
  get canHash(): number {
    return this.types;
  }

  get key(): Uint8Array {
    return this.#netns.within(() => readNicRss(this.#device).key);
  }

  get reta(): readonly number[] {
    return this.#netns.within(() => readNicRss(this.#device).reta);
  }

  /** Throws EOPTION, ERIGHTS, EUNSUPPORTED (other types; a driver that cannot), ENOTFOUND while the interface is gone. */
  set(change: Change): void {
    const { types, ...rest } = change;
    if (types !== undefined && types !== this.types) throw new PollmodeError('EUNSUPPORTED', `af_xdp:${this.#device}: which packets are hashed by what is not changed by the port: say it to the driver (ethtool -N ${this.#device} rx-flow-hash udp4 sdfn), and leave types out.`);
    this.#netns.within(() => this.#apply(rest));
    this.#wanted = { ...this.#wanted, ...rest };
  }

  #apply(change: Change): void {
    if (this.#entry === undefined) this.#entry = changeNicRss(this.#device, change);
    else setNicRss(this.#device, change);
  }

  /** On the interface that is there now instead of one that is gone: in its namespace. What it refuses, it does not have. */
  renew(): void {
    this.#entry?.undo();
    this.#entry = undefined;
    if (Object.keys(this.#wanted).length === 0) return;
    try {
      this.#apply(this.#wanted);
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
    }
  }

  /** Puts back what was there. What the kernel refuses stays in the journal. */
  close(): void {
    this.#entry?.undo();
    this.#entry = undefined;
    this.#netns.close();
  }
}
