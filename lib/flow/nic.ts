/**
 * Rules pushed down into the NIC of a port (`port.flowRules`): Linux's n-tuple filters under af_xdp, the filters of a NIC
 * that we drive ourselves. A packet that such a rule drops costs nobody anything; one that it leads to a queue is on the
 * port's queue of that number, and comes out of `flow.queue(...)` without the table's having looked at it.
 *
 *     const nic = NicOffload.create(port);
 *     const flow = new FlowTable(host.pool, { queues: port.rx.length, rules, offload: nic });     // or [nic, xdp]
 *     const rx = flow.around(port.rx[0]), voice = flow.queue(1);
 *
 * What goes down: rules whose only action is `drop` or `queue`, whose match a NIC has words for, and which no packet
 * matches that an earlier rule would decide otherwise. The others, and those that the NIC or the kernel refuses, run in
 * what comes behind; `query` says why. Every rule is there, too: a packet that a NIC cannot read and lets by meets them
 * in XDP or software. So the result is the same either way. What was on its way when rules are replaced went by the old ones.
 *
 * Queue n of the table is the port's `rx[n]` if nothing but rules leads there: leave it out of RSS before the offload is
 * made (ethtool -X eth0 equal 1, or port.rss.set), and poll it by `flow.queue(n)` alone.
 */
import type { Port, RxQueue } from '../port/port.js';
import type { PortFlowEntry, PortFlowRule, PortFlowRules } from '../port/flow_rules.js';
import { DROP, QUEUE } from './actions.js';
import type { CompiledRule, FlowOffload } from './compile.js';
import { nicMatchOf } from './nic_match.js';
import { disjoint } from './overlap.js';

export interface NicOffloadOptions {
  /**
   * Rules that name ports go down even to a NIC of which it is not known whether it takes a datagram's first fragment,
   * which has ports, by them: software does not. Default false.
   */
  readonly firstFragments?: boolean;
}

const NOTHING = { packets: 0, bytes: 0 };

export class NicOffload implements FlowOffload {
  readonly where: string;
  readonly #port: Port;
  readonly #nic: PortFlowRules | undefined;
  readonly #firstFragments: boolean;
  /** Queues that only rules lead to. */
  readonly #queues: readonly number[];
  /** What the NIC has, by what it was asked for; and of each slot which. */
  readonly #entries = new Map<string, PortFlowEntry>();
  readonly #slots = new Map<number, PortFlowEntry>();

  /** For the thread that opened the port. A port without `flowRules` refuses every rule, and says so. */
  static create(port: Port, options: NicOffloadOptions = {}): NicOffload {
    return new NicOffload(port, options);
  }

  private constructor(port: Port, { firstFragments = false }: NicOffloadOptions) {
    this.#port = port;
    this.#nic = port.flowRules;
    this.#firstFragments = firstFragments || this.#nic?.sparesFragments === true;
    this.where = this.#nic?.where ?? 'NIC';
    const unruled = this.#nic?.unruledQueues();
    this.#queues = unruled === undefined ? [] : port.rx.map((_, queue) => queue).filter(queue => queue > 0 && !unruled.includes(queue));
  }

  install(rules: readonly CompiledRule[]): readonly (true | string)[] {
    const wanted = rules.map(rule => this.#wanted(rule));
    const keys = wanted.map(rule => typeof rule === 'string' ? '' : keyOf(rule));
    this.#keep(new Set(keys));
    this.#slots.clear();
    const used = new Map<string, PortFlowEntry>();
    const verdicts: (true | string)[] = [];
    rules.forEach((rule, index) => {
      const asked = wanted[index]!;
      const before = (): CompiledRule | undefined => rules.slice(0, index).find((each, at) => !disjoint(rule.tests, each.tests) && !(verdicts[at] === true && sameFate(wanted[at]!, asked)));
      const verdict = typeof asked === 'string' ? asked : this.#takeBehind(before(), asked, keys[index]!);
      if (typeof verdict !== 'string') {
        used.set(keys[index]!, verdict);
        this.#slots.set(rule.slot, verdict);
      }
      verdicts.push(typeof verdict === 'string' ? verdict : true);
    });
    this.#keep(new Set(used.keys()));
    return verdicts;
  }

  still(slot: number): true | string {
    return this.#slots.get(slot)?.lost ?? true;
  }

  queue(queue: number): RxQueue | undefined {
    return this.#queues.includes(queue) ? this.#port.rx[queue] : undefined;
  }

  /** No counting rule goes down. */
  read(): { packets: number; bytes: number } {
    return NOTHING;
  }

  reset(): void {
    // as `read`
  }

  /** Takes the rules away again; so does closing the port. Twice is once. */
  close(): void {
    this.#slots.clear();
    this.#keep(new Set());
  }

  /** `before`: a rule that may want the same packets for something else. */
  #takeBehind(before: CompiledRule | undefined, rule: PortFlowRule, key: string): PortFlowEntry | string {
    if (before !== undefined) return `packets of rule "${before.rule.name}", which is asked before, may match it too`;
    const there = this.#entries.get(key);
    if (there !== undefined) return there;
    const entry = this.#nic!.add(rule);
    if (typeof entry !== 'string') this.#entries.set(key, entry);
    return entry;
  }

  #keep(keys: ReadonlySet<string>): void {
    for (const [key, entry] of this.#entries) {
      if (keys.has(key) && entry.lost === undefined) continue;
      this.#entries.delete(key);
      entry.remove();
    }
  }

  /** What to ask the NIC for, or why it is not asked. */
  #wanted({ rule, steps }: CompiledRule): PortFlowRule | string {
    if (this.#nic === undefined) return `${this.#port.name} has no filters`;
    const [step] = steps;
    if (step === undefined || steps.length > 1 || (step.code !== DROP && step.code !== QUEUE)) {
      const other = rule.actions.find(({ do: action }) => action !== 'drop' && action !== 'queue');
      return `a NIC's filter drops a packet or picks its queue, and does ${other === undefined ? 'nothing else' : `not ${other.do}`}`;
    }
    if (step.code === QUEUE && !this.#queues.includes(step.number)) return this.#whyNoQueue(step.number);
    const match = nicMatchOf(rule.match ?? {});
    if (typeof match === 'string') return match;
    if (!this.#firstFragments && (match.sourcePort !== undefined || match.destinationPort !== undefined)) {
      return 'it names ports, and it is not known whether the NIC would take first fragments by them (firstFragments: true, where none come)';
    }
    return { match, to: step.code === DROP ? 'drop' : step.number };
  }

  #whyNoQueue(queue: number): string {
    if (queue === 0) return 'queue 0 is where packets are without a filter';
    if (queue >= this.#port.rx.length) return `${this.#port.name} has no queue ${queue}`;
    return `more than rules may lead to queue ${queue} of ${this.#port.name}: leave it out of RSS, before the offload is made`;
  }
}

function keyOf({ match, to }: PortFlowRule): string {
  return JSON.stringify([to, match], (_, value: unknown) => value instanceof Uint8Array ? [...value] : value);
}

function sameFate(one: PortFlowRule | string, other: PortFlowRule | string): boolean {
  return typeof one !== 'string' && typeof other !== 'string' && one.to === other.to;
}
