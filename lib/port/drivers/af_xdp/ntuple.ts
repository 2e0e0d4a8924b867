/** The NIC's filters under an AF_XDP port, as far as Linux's driver has them: ethtool's n-tuple rules. */
import { PollmodeError } from '../../../errors.js';
import { changeFeature, changeNtuple } from '../../../journal/changes.js';
import type { JournalEntry } from '../../../journal/journal.js';
import { errnoName } from '../../../kernel/errno.js';
import { driverInfo, readChannels, readFeatures } from '../../../kernel/ethtool.js';
import { HeldNetns } from '../../../kernel/netns.js';
import { readNicRss } from '../../../kernel/rss.js';
import type { PortFlowEntry, PortFlowRule, PortFlowRules } from '../../flow_rules.js';
import { specOf } from './ntuple_spec.js';

/** The kernel's switch for such rules (NETIF_F_NTUPLE). */
const FEATURE = 'rx-ntuple-filter';
/** NETIF_F_HW_VLAN_CTAG_RX: the NIC takes tags out, and an XDP program and who is behind it do not see them. */
const TAGS_OUT = 'rx-vlan-hw-parse';

/** A rule that a port has, and its line in the journal while the interface has it. */
interface Held {
  readonly rule: PortFlowRule;
  entry: JournalEntry | undefined;
  lost?: string | undefined;
}

export class NtupleRules implements PortFlowRules {
  readonly where = 'ethtool n-tuple';
  /** It is the driver's, and linux/ethtool.h says nothing of it. */
  readonly sparesFragments = false;
  readonly #device: string;
  readonly #firstQueue: number;
  readonly #netns = new HeldNetns();
  readonly #held = new Set<Held>();
  #feature: JournalEntry | undefined;
  #closed = false;

  /** In the interface's namespace. `firstQueue`: the port's queue 0 is this one of the interface. */
  constructor(device: string, firstQueue: number) {
    this.#device = device;
    this.#firstQueue = firstQueue;
  }

  unruledQueues(): readonly number[] | undefined {
    try {
      return this.#netns.within(() => {
        const { rx, combined } = readChannels(this.#device);
        const led = rx + combined === 1 ? [0] : readNicRss(this.#device).reta;
        return [...new Set(led)].map(queue => queue - this.#firstQueue).sort((a, b) => a - b);
      });
    } catch {
      return undefined;
    }
  }

  add(rule: PortFlowRule): PortFlowEntry | string {
    const entry = this.#insert(rule);
    if (typeof entry === 'string') return entry;
    const held: Held = { rule, entry };
    this.#held.add(held);
    return {
      get lost() { return held.lost; },
      remove: () => {
        if (this.#held.delete(held)) held.entry?.undo();
      },
    };
  }

  /** On the interface that is there now instead of one that is gone: in its namespace. */
  renew(): void {
    this.#undo();
    for (const held of this.#held) {
      const entry = this.#insert(held.rule);
      [held.entry, held.lost] = typeof entry === 'string' ? [undefined, entry] : [entry, undefined];
    }
  }

  /** Takes all rules away, and puts the kernel's switch back. What the kernel refuses stays in the journal. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#undo();
    this.#held.clear();
    this.#netns.close();
  }

  #undo(): void {
    for (const held of [...this.#held].reverse()) held.entry?.undo();
    this.#feature?.undo();
    this.#feature = undefined;
  }

  #insert(rule: PortFlowRule): JournalEntry | string {
    if (this.#closed) return 'the port is closed';
    const spec = specOf(rule, this.#firstQueue);
    if (typeof spec === 'string') return spec;
    try {
      return this.#netns.within(() => this.#prepare(rule) ?? changeNtuple(this.#device, spec));
    } catch (cause) {
      return this.#said(cause);
    }
  }

  /** Why not; undefined when rules can be tried. */
  #prepare({ match }: PortFlowRule): string | undefined {
    const features = readFeatures(this.#device);
    if (match.vlan !== undefined && features.get(TAGS_OUT)?.active === true) return `the NIC takes VLAN tags out of what it receives, so that only it would see them: ethtool -K ${this.#device} rxvlan off`;
    const ntuple = features.get(FEATURE);
    if (ntuple?.available === true && !ntuple.active) this.#feature ??= changeFeature(this.#device, FEATURE, true);
    return undefined;
  }

  #said(cause: unknown): string {
    if (!(cause instanceof PollmodeError)) throw cause;
    if (cause.errno === undefined) return cause.message;
    return `the kernel's driver${this.#driver()} says ${errnoName(cause.errno)}`;
  }

  #driver(): string {
    try {
      return ` (${this.#netns.within(() => driverInfo(this.#device).driver)})`;
    } catch {
      return '';
    }
  }
}
