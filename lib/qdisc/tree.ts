/**
 * A tree of queueing disciplines in front of a send queue. It is a send queue itself, so a program, or another tree,
 * sends through it as through any other.
 *
 * **How it is run.** `txBurst` takes packets into the tree and then calls `service`, which moves what may go now into the
 * port. That alone is enough while packets keep coming. What waits for tokens or for room in the port goes with a later
 * `service`: call it once in each turn of the poll loop, whether there was anything to receive or not.
 *
 *     await poll(() => {
 *       const got = rx.rxBurst(burst);
 *       const taken = queue.txBurst(burst, got);      // all of them, but for another pool's: dropped ones are counted
 *       host.pool.free(burst, taken, got);
 *       return got + queue.service();
 *     });
 *
 * **Who owns what.** txBurst takes what a port's would: the packets are the tree's from then on, to be sent or dropped.
 * The tree runs in the program's own thread and its packets stay the program's in the pool's audit (`app`, lcore N), where
 * recovery finds them should that thread die: `free + app + … === total`, and `packets` of `app` are in the tree. What the
 * port took is the port's.
 *
 * **When the port is full**, what it did not take waits in front of the tree, goes first at the next `service`, and is
 * paid for already. Nothing is dropped for that; the tree's own limits are what drops.
 *
 * **When to come back.** `deadline` is the clock's time at which the next packet may go: Infinity with nothing to send,
 * the present when the port was full. A loop that sleeps must wake by then: `{ idle: { policy, queues, deadlines: [queue] } }`
 * sees to it.
 *
 * **A port has a queue too.** Behind a port that takes packets faster than it sends them, delay grows where no
 * discipline sees it: shape below the link's rate (tbf, htb), or give the port a short ring.
 *
 * Threads: as a port's queue, the thread that made it. For several lcores, one tree each, or rings into one.
 */
import { freshName } from '../arena/names.js';
import { Burst } from '../burst/burst.js';
import * as mbufLayout from '../mbuf/layout.js';
import type { Mempool } from '../mbuf/mempool.js';
import { POOL_FIRST, POOL_SPAN, POOL_STEP_MASK } from '../mbuf/pool_layout.js';
import type { PortStats, TxQueue } from '../port/port.js';
import { RSS_IPV4, RSS_IPV6, RSS_SCTP_IPV4, RSS_SCTP_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6 } from '../rss/layout.js';
import { Rss } from '../rss/rss.js';
import { prepare } from './build.js';
import { refuse, whole } from './checks.js';
import * as layout from './layout.js';
import { TreeMemory } from './memory.js';
import type { Qdisc } from './qdisc.js';
import type { QdiscReport, QdiscTreeReport } from './report.js';
import { show } from './show.js';
import type { QdiscSpec } from './spec.js';

const { LONGEST_PACKET } = layout;
const { HEADER_SHIFT, MBUF_HASH, MBUF_PKT_LEN } = mbufLayout;
const ALL_TYPES = RSS_IPV4 | RSS_TCP_IPV4 | RSS_UDP_IPV4 | RSS_SCTP_IPV4 | RSS_IPV6 | RSS_TCP_IPV6 | RSS_UDP_IPV6 | RSS_SCTP_IPV6;

export interface QdiscOptions {
  /** Of its memzone, unique in the arena. Default "qdisc/N". */
  readonly name?: string;
  /** The time in nanoseconds, never going back: a simulated clock for tests. Default: performance.now. Called once per txBurst and service. */
  readonly clock?: () => number;
  /** Most packets of the whole tree; what comes beyond is dropped (`tree_full`). Default: what its parts may hold, and no more than the pool has. */
  readonly packets?: number;
  /** Most packets offered to the port at once, 1 to 512. Default 32. */
  readonly burst?: number;
  /** The 40-byte key of the hash that tells flows apart. Default: random, so that nobody can make his flows meet another's. */
  readonly hashKey?: Uint8Array;
}

let made = 0;

export class QdiscQueue implements TxQueue {
  readonly name: string;
  private readonly memory: TreeMemory;
  private readonly root: Qdisc;
  private readonly rss: Rss | undefined;
  private readonly port: TxQueue;
  private readonly pool: Mempool;
  private readonly out: Burst;
  private readonly clock: () => number;
  private readonly u32: Uint32Array;
  private readonly table: number;
  private readonly first: number;
  private readonly span: number;
  private readonly stepMask: number;
  /** At the front of `out`: what the port did not take. */
  private waiting = 0;
  private open = true;
  private sent = 0;
  private portFull = 0;
  private flushed = 0;
  private treeFull = 0;
  private tooLong = 0;
  private afterClose = 0;
  private foreign = 0;
  #final: QdiscTreeReport | undefined;

  /** `port`: where packets go, a port's queue or another tree. Throws EOPTION for what will not do, EEXISTS, EARENAFULL. */
  constructor(pool: Mempool, port: TxQueue, spec: QdiscSpec, options: QdiscOptions = {}) {
    const plan = prepare(spec);
    const { arena } = pool;
    const { name = freshName(arena, () => `qdisc/${arena.lcore}.${made++}`), clock = systemClock, packets = Math.min(pool.size, plan.packets), burst = 32 } = options;
    whole('qdisc: packets', packets, 1, 2 ** 20);
    if (typeof clock !== 'function') refuse('qdisc: clock: give a function that returns nanoseconds.');
    this.name = name;
    this.pool = pool;
    this.port = port;
    this.clock = clock;
    const undo: (() => void)[] = [];
    try {
      this.out = new Burst(arena, burst);
      undo.push(() => this.out.close());
      this.memory = new TreeMemory(pool, name, packets, plan.bytes);
      undo.push(() => this.memory.close());
      this.rss = plan.hashes ? Rss.create(arena, `${name}/rss`, { key: options.hashKey ?? randomKey(), types: ALL_TYPES }) : undefined;
    } catch (cause) {
      for (const step of undo.reverse()) step();
      throw cause;
    }
    this.u32 = arena.u32;
    this.table = arena.table;
    const field = (at: number): number => arena.u32[(pool.offset + at) >>> 2]!;
    [this.first, this.span, this.stepMask] = [field(POOL_FIRST), field(POOL_SPAN), field(POOL_STEP_MASK)];
    this.tick();
    this.root = plan.make(this.memory, '0');
  }

  /**
   * Takes the first `count` of `burst` into the tree, and sends what may go; 0 is `service`. Returns how many it took: all,
   * unless an mbuf of another pool stands among them, which stops it there. After close it takes none.
   */
  txBurst(burst: Burst, count: number): number {
    const most = burst.bounded(count);
    if (!this.open) {
      this.afterClose += most;
      return 0;
    }
    this.tick();
    const mine = this.countMine(burst, most);
    if (this.rss !== undefined && mine > 0) this.rss.hashBurst(burst, mine);
    for (let i = 0; i < mine; i++) this.admit(burst.handles[i]!);
    this.serve();
    return mine;
  }

  /** Moves into the port what may go now. Returns how many packets that were. */
  service(): number {
    if (!this.open) return 0;
    this.tick();
    return this.serve();
  }

  /**
   * The clock's time, in nanoseconds, at which `service` has something to do again: Infinity when nothing waits, the time
   * of the last call when the port was full.
   */
  get deadline(): number {
    if (!this.open) return Infinity;
    return this.waiting > 0 ? this.memory.f64[this.memory.now]! : this.memory.f64[this.memory.wait]!;
  }

  /** Milliseconds from now until the deadline, 0 at least: what an idle policy asks. */
  get sleepMs(): number {
    const { deadline } = this;
    return deadline === Infinity ? Infinity : Math.max(0, (deadline - this.clock()) / 1e6);
  }

  /** Packets held now. */
  get packets(): number {
    return this.open ? this.memory.packets + this.waiting : 0;
  }

  /** Drops all that is held (`flushed`). Returns how many that were. */
  flush(): number {
    if (!this.open) return 0;
    const held = this.packets;
    this.pool.free(this.out, 0, this.waiting);
    this.flushed += this.waiting;
    this.waiting = 0;
    this.root.flush();
    this.memory.flush();
    this.memory.f64[this.memory.wait] = Infinity;
    return held;
  }

  /** Drops all that is held and gives the memory back; the port stays open. A second time nothing happens. */
  close(): void {
    if (!this.open) return;
    this.flush();
    this.#final = this.toJSON();
    this.open = false;
    this.rss?.close();
    this.memory.close();
    this.out.close();
  }

  toJSON(): QdiscTreeReport {
    if (this.#final !== undefined) return { ...this.#final, drops: { ...this.#final.drops, after_close: this.afterClose } };
    return {
      name: this.name, heldPackets: this.packets, sentPackets: this.sent, portFull: this.portFull,
      drops: { flushed: this.flushed, tree_full: this.treeFull, too_long: this.tooLong, after_close: this.afterClose }, foreign: this.foreign, root: this.root.toJSON(),
    };
  }

  /** The tree for a person, one line for each discipline and class. */
  show(): string {
    return show(this.toJSON());
  }

  /** Adds its counters to a port's: qdisc_held, qdisc_sent, and qdisc_dropped_CAUSE over the whole tree. */
  readStats(into: Pick<PortStats, 'xstats'>): void {
    const report = this.toJSON();
    const { xstats } = into;
    const add = (name: string, count: number): void => { xstats[name] = (xstats[name] ?? 0) + count; };
    const addDrops = (drops: Readonly<Record<string, number>>): void => { for (const [cause, count] of Object.entries(drops)) add(`qdisc_dropped_${cause}`, count); };
    const visit = ({ drops, children }: QdiscReport): void => {
      addDrops(drops);
      children.forEach(visit);
    };
    add('qdisc_held', report.heldPackets);
    add('qdisc_sent', report.sentPackets);
    add('qdisc_port_full', report.portFull);
    add('qdisc_foreign', report.foreign);
    addDrops(report.drops);
    visit(report.root);
  }

  private tick(): void {
    this.memory.f64[this.memory.now] = this.clock();
  }

  /** How many of the first `count` are this pool's, up to the first that is not. */
  private countMine({ handles }: Burst, count: number): number {
    const { first, span, stepMask } = this;
    for (let i = 0; i < count; i++) {
      const distance = (handles[i]! - first) >>> 0;
      if (distance >= span || (distance & stepMask) !== 0) {
        this.foreign++;
        return i;
      }
    }
    return count;
  }

  private admit(handle: number): void {
    const header = (this.table + (handle << HEADER_SHIFT)) >>> 2;
    const length = this.u32[header + MBUF_PKT_LEN / 4]!;
    if (length > LONGEST_PACKET) {
      this.tooLong++;
      this.memory.dropHandle(handle);
      return;
    }
    const entry = this.memory.makeEntry(handle, length, this.u32[header + MBUF_HASH / 4]!);
    if (entry !== 0) {
      this.root.enqueue(entry);
      return;
    }
    this.treeFull++;
    this.memory.dropHandle(handle);
  }

  private serve(): number {
    const { memory, root, out, port } = this;
    let sent = 0;
    memory.f64[memory.wait] = Infinity;
    for (let count = this.waiting; ; count = 0) {
      while (count < out.capacity) {
        const entry = root.dequeue();
        if (entry === 0) break;
        out.handles[count++] = memory.takeEntry(entry);
      }
      this.waiting = count;
      // Also nothing: a port may have something to finish (what was sent comes back, the kernel wants another kick).
      const taken = port.txBurst(out, count);
      if (count === 0) break;
      sent += taken;
      this.waiting = taken < count ? out.keep(taken, count) : 0;
      if (this.waiting === 0) continue;
      this.portFull++;
      break;
    }
    memory.flush();
    this.sent += sent;
    return sent;
  }
}

/** Monotonic, from the process's start. */
function systemClock(): number {
  return performance.now() * 1e6;
}

function randomKey(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(40));
}
