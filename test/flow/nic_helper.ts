/** A NIC with filters, made of the second opinion on matches (rules_helper.ts): exact where it looks, and as careless as the contract lets it be. */
import type { Burst } from '../../lib/burst/burst.js';
import type { FlowMatch } from '../../lib/flow/rule.js';
import type { Host } from '../../lib/port/host.js';
import type { AddressPrefix, PortFlowEntry, PortFlowMatch, PortFlowRule, PortFlowRules } from '../../lib/port/flow_rules.js';
import type { Port, RxQueue } from '../../lib/port/port.js';
import { ReceiveQueue } from '../../lib/port/receive_queue.js';
import { firstMatch } from './rules_helper.js';

export class ModelNic implements PortFlowRules {
  readonly where = 'model';
  readonly sparesFragments: boolean;
  readonly rules: PortFlowRule[] = [];
  unruled: readonly number[] | undefined = [0];
  /** Rules that it takes at most; every how many packets it misses one; the latest rule wins instead of the first. */
  room = Infinity;
  missEach = 0;
  latestWins = false;
  added = 0;
  #seen = 0;

  constructor(sparesFragments = true) {
    this.sparesFragments = sparesFragments;
  }

  unruledQueues(): readonly number[] | undefined {
    return this.unruled;
  }

  add(rule: PortFlowRule): PortFlowEntry | string {
    if (this.rules.length >= this.room) return 'the model is full';
    this.rules.push(rule);
    this.added++;
    return { remove: () => { if (this.rules.includes(rule)) this.rules.splice(this.rules.indexOf(rule), 1); } };
  }

  /** What becomes of a frame; undefined: it goes on. */
  decide(frame: Uint8Array): number | 'drop' | undefined {
    if (this.missEach > 0 && ++this.#seen % this.missEach === 0) return undefined;
    const found = this.rules.filter(({ match }) => firstMatch([{ name: 'this', priority: 0, match: wordsOf(match), actions: [] }], frame) !== undefined);
    return (this.latestWins ? found.at(-1) : found[0])?.to;
  }
}

/** A port of three queues whose frames come from `inject`. */
export class ModelPort {
  readonly port: Port;
  readonly #host: Host;
  readonly #waiting: number[][] = [[], [], []];
  readonly #nic: ModelNic | undefined;

  constructor(host: Host, nic: ModelNic | undefined) {
    this.#host = host;
    this.#nic = nic;
    const rx = this.#waiting.map(list => new ListQueue(host, list));
    this.port = { name: 'model:', number: 0, rx, tx: [], ...(nic === undefined ? {} : { flowRules: nic }) } as unknown as Port;
  }

  get rx(): readonly RxQueue[] {
    return this.port.rx;
  }

  inject(frame: Uint8Array): void {
    const to = this.#nic?.decide(frame);
    if (to === 'drop') return;
    const burst = this.#host.burst(1);
    this.#host.pool.alloc(burst, 1);
    this.#host.mbufs.copyIn(burst.handles[0]!, frame);
    this.#waiting[to ?? 0]!.push(burst.handles[0]!);
    burst.close();
  }
}

class ListQueue extends ReceiveQueue {
  readonly #list: number[];

  constructor(host: Host, list: number[]) {
    super(host.arena);
    this.#list = list;
  }

  rxBurst(burst: Burst, max = burst.capacity): number {
    const some = this.#list.splice(0, Math.min(max, burst.capacity));
    some.forEach((handle, i) => { burst.handles[i] = handle; });
    return some.length;
  }
}

/** A NIC's match as a person would write it. */
function wordsOf(match: PortFlowMatch): FlowMatch {
  const mac = (bytes: Uint8Array): string => [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join(':');
  const prefix = ({ bytes, length }: AddressPrefix): string => {
    const text = bytes.length === 4 ? bytes.join('.') : Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16)).join(':');
    return `${text}/${length}`;
  };
  const { destinationMac, sourceMac, source, destination, ...same } = match;
  return {
    ...same, ...(destinationMac === undefined ? {} : { destinationMac: mac(destinationMac) }), ...(sourceMac === undefined ? {} : { sourceMac: mac(sourceMac) }),
    ...(source === undefined ? {} : { source: prefix(source) }), ...(destination === undefined ? {} : { destination: prefix(destination) }),
  };
}
