/**
 * Flow rules at work (DPDK's rte_flow): a table of them goes over each burst that is received, in software on any port.
 * What a port can do itself is pushed down (`offload`, see nic.ts and xdp.ts), with the same result; `query` says what ran where.
 *
 *     const flow = new FlowTable(host.pool, { queues: 2, ports: { out: other.tx[0] }, rules: [
 *       { name: 'no telnet', match: { protocol: 'tcp', destinationPort: 23 }, actions: [{ do: 'count' }, { do: 'drop' }] },
 *       { name: 'voice', match: { destination: '10.1.0.0/16', protocol: 'udp' }, actions: [{ do: 'mark', mark: 0 }, { do: 'queue', queue: 1 }] },
 *     ] });
 *     const rx = flow.around(port.rx[0]);        // a receive queue like any other: rule by rule, what stays is yours
 *     const voice = flow.queue(1);
 *
 * A packet costs in proportion to the rules that are asked before one matches.
 * Threads: one thread runs a table, the one that made it; a queue of it may be polled by another (a ring is between them).
 * When the table's lcore dies, what waits in its queues goes back to the pool, and its memory to the arena.
 */
import type { Memzone } from '../arena/directory.js';
import { ZONE_FLOW } from '../arena/layout.js';
import { freshName } from '../arena/names.js';
import { MAX_BURST, type Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import { Chains } from '../mbuf/chains.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { RxQueue, TxQueue } from '../port/port.js';
import { Ring } from '../ring/ring.js';
import { Rss } from '../rss/rss.js';
import { COUNT, DROP, MARK, MIRROR, QUEUE, REDIRECT, REWRITE, RSS, type Step } from './actions.js';
import { compileRules, MOST_RULES, USUAL_PRIORITY, type CompiledRule, type FlowOffload } from './compile.js';
import { FieldReader } from './fields.js';
import { FIELDS } from './layout.js';
import type { FieldTest } from './match.js';
import { Outlet } from './outlet.js';
import { FlowQueue, FlowRxQueue } from './queues.js';
import type { FlowReport, FlowRuleReport } from './report.js';
import { rewrite } from './rewrite.js';
import type { FlowRule } from './rule.js';

const COUNTERS = Math.ceil(FIELDS / 2);
let made = 0;

export interface FlowTableOptions {
  readonly rules?: readonly FlowRule[];
  /** Queues of the table, 1 to 64; 0 is what `process` leaves in the burst. Default 1. */
  readonly queues?: number;
  /** Packets that may wait in each of the others, a power of two. Default 1024. */
  readonly queueSize?: number;
  /** What mirror and redirect may name. */
  readonly ports?: Readonly<Record<string, TxQueue>>;
  /** What runs rules before the packets come here, for the one port whose packets do. Of several the first is the first to see a packet: a NIC, then XDP. */
  readonly offload?: FlowOffload | readonly FlowOffload[];
}

/**
 * Rules over the bursts of any port. `around` makes a receive queue that applies them, `process` applies them to a burst
 * that the caller has; `queue` gives the table's own queues, `query` its counters. What a rule drops, queues, redirects
 * or mirrors is the table's, what it leaves in the burst stays the caller's. One thread runs a table.
 * `close` frees what waits in its queues; an offload is its maker's to close.
 */
export class FlowTable {
  readonly queues: number;
  readonly #zone: Memzone;
  readonly #rings: Ring[] = [];
  readonly #offloads: readonly FlowOffload[];
  readonly #portNames: readonly string[];
  /** Of each rule, by its name: what each offload said. */
  readonly #verdicts = new Map<string, readonly (true | string)[]>();
  private readonly pool: Mempool;
  private readonly mbufs: Mbufs;
  private readonly u32: Uint32Array;
  private readonly f64: Float64Array;
  private readonly reader: FieldReader;
  private readonly fields: number;
  private readonly counters: number;
  private readonly rss: Rss;
  private readonly toQueues: Outlet[] = [];
  private readonly toPorts: Outlet[] = [];
  private readonly one: Burst;
  private readonly chains: Chains;
  private readonly drops: Outlet;
  private rules: readonly CompiledRule[] = [];
  /** Slots whose counting is done by the offload. */
  private readonly elsewhere = new Uint8Array(MOST_RULES);
  private hashes = false;
  private dropped = 0;
  private notMirrored = 0;
  private open = true;

  /** Throws EOPTION, EEXISTS, EARENAFULL, and what the offload throws. */
  constructor(pool: Mempool, options: FlowTableOptions = {}) {
    const { rules = [], queues = 1, queueSize = 1024, ports = {}, offload = [] } = options;
    if (!(Number.isInteger(queues) && queues >= 1 && queues <= 64)) throw new PollmodeError('EOPTION', `A flow table has 1 to 64 queues, not ${String(queues)}: choose a number in between.`);
    const { arena } = pool;
    const name = freshName(arena, () => `flow/${arena.lcore}.${made++}`);
    this.pool = pool;
    this.queues = queues;
    this.mbufs = pool.mbufs;
    [this.u32, this.f64] = [arena.u32, arena.f64];
    this.#offloads = [offload].flat();
    this.#portNames = Object.keys(ports);
    const undo: (() => void)[] = [];
    try {
      this.#zone = arena.reserve(name, (COUNTERS + 2 * MOST_RULES) * 8, { type: ZONE_FLOW });
      undo.push(() => arena.release(this.#zone));
      this.rss = Rss.create(arena, `${name}/rss`, { types: 255 });
      undo.push(() => this.rss.close());
      const outlet = (of: string, take: (burst: Burst, count: number) => number): Outlet => {
        const each = new Outlet(pool, of, take);
        undo.push(() => each.close());
        return each;
      };
      this.one = pool.burst(1);
      undo.push(() => this.one.close());
      this.chains = new Chains(pool);
      undo.push(() => this.chains.close());
      this.drops = outlet('drop', () => 0);
      for (let queue = 1; queue < queues; queue++) {
        const ring = Ring.create(arena, `${name}/queue/${queue}`, { size: queueSize, singleProducer: true, singleConsumer: true, holds: 'mbufs' });
        undo.push(() => ring.close());
        this.#rings.push(ring);
        this.toQueues.push(outlet(`queue ${queue}`, (burst, count) => ring.enqueueBurst(burst, count)));
      }
      for (const [port, tx] of Object.entries(ports)) this.toPorts.push(outlet(port, (burst, count) => tx.txBurst(burst, count)));
      this.fields = this.#zone.offset >>> 2;
      this.counters = this.#zone.offset / 8 + COUNTERS;
      this.reader = new FieldReader(arena.u8, arena.u32, this.fields);
      this.replace(rules);
    } catch (cause) {
      for (const step of undo.reverse()) step();
      throw cause;
    }
  }

  /** These rules instead of those before; one that keeps its name keeps its counts. Between two bursts. Throws EOPTION: then all is as it was. */
  replace(rules: readonly FlowRule[]): void {
    const compiled = compileRules(rules, this.rules, { queues: this.queues, ports: this.#portNames });
    // From the table towards the wire: what can throw does so before a NIC, which cannot, has changed.
    const verdicts = [...this.#offloads].reverse().map(offload => offload.install(compiled)).reverse();
    // What went, once nothing counts there any more; a slot that is free counts nothing yet.
    const names = new Set(compiled.map(({ rule }) => rule.name));
    for (const { rule, slot } of this.rules) if (!names.has(rule.name)) this.#forget(slot);
    this.rules = compiled;
    this.hashes = compiled.some(({ steps }) => steps.some(({ code }) => code === RSS));
    this.#verdicts.clear();
    this.elsewhere.fill(0);
    compiled.forEach(({ rule, slot }, index) => {
      const said = verdicts.map(each => each[index]!);
      this.#verdicts.set(rule.name, said);
      this.elsewhere[slot] = said.includes(true) ? 1 : 0;
    });
  }

  /** The rules over the first `count` of a burst. What stays, in order and in front, is the caller's still; the rest is gone. Returns how many stay. */
  process(burst: Burst, count: number): number {
    const most = burst.bounded(count);
    if (!this.open || most === 0) return most;
    if (this.hashes) this.rss.hashBurst(burst, most);
    const { handles } = burst;
    let kept = 0;
    for (let i = 0; i < most; i++) {
      const handle = handles[i]!;
      if (this.stays(handle)) handles[kept++] = handle;
    }
    for (let queue = 0; queue < this.toQueues.length; queue++) this.toQueues[queue]!.deliver();
    for (let port = 0; port < this.toPorts.length; port++) this.toPorts[port]!.deliver();
    this.drops.deliver();
    return kept;
  }

  /** A receive queue whose packets have gone through the rules. */
  around(rx: RxQueue): RxQueue {
    return new FlowRxQueue(this.pool.arena, rx, this);
  }

  /** What rules sent to a queue of the table, 1 and up, here or in an offload. Throws EOPTION. */
  queue(queue: number): RxQueue {
    const ring = this.#rings[queue - 1];
    if (ring === undefined) throw new PollmodeError('EOPTION', `This flow table has queues 1 to ${this.queues - 1} beside the burst itself, and no ${String(queue)}.`);
    return new FlowQueue(this.pool.arena, ring, this.#offloads.map(offload => offload.queue?.(queue)).find(each => each !== undefined));
  }

  /** What each rule counted, and where it ran. */
  query(): FlowReport {
    const sum = (list: readonly Outlet[]): number => list.reduce((total, { refused }) => total + refused, 0);
    return { rules: this.rules.map(rule => this.#report(rule)), dropped: this.dropped, queueFull: sum(this.toQueues), portRefused: sum(this.toPorts), notMirrored: this.notMirrored };
  }

  toJSON(): FlowReport {
    return this.query();
  }

  /** Frees what waits in its queues, and gives its memory back. The offload is its maker's to close. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    const burst = this.pool.burst(MAX_BURST);
    for (const ring of this.#rings) {
      for (let got = ring.dequeueBurst(burst); got > 0; got = ring.dequeueBurst(burst)) this.pool.free(burst, 0, got);
      ring.close();
    }
    burst.close();
    for (const outlet of [...this.toQueues, ...this.toPorts, this.drops]) outlet.close();
    this.one.close();
    this.chains.close();
    this.rss.close();
    this.pool.arena.release(this.#zone);
  }

  #forget(slot: number): void {
    this.f64.fill(0, this.counters + 2 * slot, this.counters + 2 * slot + 2);
    for (const offload of this.#offloads) offload.reset(slot);
  }

  #report({ rule, slot }: CompiledRule): FlowRuleReport {
    const { name, priority = USUAL_PRIORITY, actions } = rule;
    const said = this.#verdicts.get(name)!.map((verdict, index) => verdict === true ? this.#offloads[index]!.still?.(slot) ?? true : verdict);
    const taken = said.indexOf(true);
    const refusals = taken < 0 ? said : said.slice(0, taken);
    const counts = this.#offloads.map(offload => offload.read(slot));
    const sum = (field: 'packets' | 'bytes', own: number): number => counts.reduce((total, each) => total + each[field], this.f64[this.counters + 2 * slot + own]!);
    return {
      name, priority, actions: actions.map(action => action.do), ran: this.#offloads[taken]?.where ?? 'software',
      ...(refusals.length === 0 ? {} : { why: refusals.map((why, index) => `${this.#offloads[index]!.where}: ${String(why)}`).join('; ') }),
      packets: sum('packets', 0), bytes: sum('bytes', 1),
    };
  }

  /** Does the packet stay in the burst? */
  private stays(handle: number): boolean {
    const { mbufs } = this;
    if (!this.reader.read(mbufs.data(handle), mbufs.dataLen(handle))) return true;
    for (let index = 0; index < this.rules.length; index++) {
      const rule = this.rules[index]!;
      if (this.matches(rule.tests)) return this.act(rule, handle);
    }
    return true;
  }

  private matches(tests: readonly FieldTest[]): boolean {
    const { u32, fields } = this;
    for (let index = 0; index < tests.length; index++) {
      const test = tests[index]!;
      const value = (u32[fields + test.field]! & test.mask) >>> 0;
      if (value < test.from || value > test.to) return false;
    }
    return true;
  }

  private act({ steps, slot }: CompiledRule, handle: number): boolean {
    for (let index = 0; index < steps.length; index++) {
      const step = steps[index]!;
      switch (step.code) {
        case COUNT: this.tally(slot, handle); break;
        case MARK: this.mbufs.setMark(handle, step.number); break;
        case REWRITE: rewrite(this.mbufs, handle, step); break;
        case MIRROR: this.mirror(handle, step.number); break;
        default: return this.decide(step, handle);
      }
    }
    return true;
  }

  private decide(step: Step, handle: number): boolean {
    if (step.code === QUEUE) return this.toQueue(step.number, handle);
    if (step.code === RSS) return this.toQueue(step.queues[this.mbufs.hash(handle) % step.queues.length]!, handle);
    if (step.code === DROP) {
      this.dropped++;
      this.drops.add(handle);
    } else if (step.code === REDIRECT) this.toPorts[step.number]!.add(handle);
    return false;
  }

  private toQueue(queue: number, handle: number): boolean {
    if (queue === 0) return true;
    this.toQueues[queue - 1]!.add(handle);
    return false;
  }

  private tally(slot: number, handle: number): void {
    if (this.elsewhere[slot] === 1) return;
    this.f64[this.counters + 2 * slot]!++;
    this.f64[this.counters + 2 * slot + 1]! += this.mbufs.pktLen(handle);
  }

  private mirror(handle: number, port: number): void {
    const { one } = this;
    if (this.pool.alloc(one, 1) === 0) {
      this.notMirrored++;
      return;
    }
    const copy = one.handles[0]!;
    if (this.copied(handle, copy)) {
      this.toPorts[port]!.add(copy);
      return;
    }
    this.notMirrored++;
    this.pool.free(one, 0, 1);
  }

  /** Every segment's bytes behind the others'. False, and a part of them there, when the pool has no room for all. */
  private copied(handle: number, copy: number): boolean {
    const { mbufs, chains } = this;
    let segment = handle;
    for (let left = mbufs.segments(handle); left > 0 && segment !== 0; left--, segment = chains.next(segment)) {
      if (!chains.append(copy, mbufs.data(segment), mbufs.dataLen(segment))) return false;
    }
    return true;
  }
}
