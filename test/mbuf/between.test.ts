/**
 * Lcores that hand packets on through a ring and die: between two calls, and in each place inside one where a death can
 * be told from another. What the dead held comes back, what lies in the ring stays there, and what the living took is
 * theirs; also where a recovery looks while a living one is in the middle of a call and cannot be asked to rest.
 */
import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { Burst } from '../../lib/burst/burst.js';
import { DEATH_AFTER_CLAIM, DEATH_AFTER_PUBLISH, DEATH_BEFORE_PUBLISH } from '../../lib/burst/codes.js';
import type { BurstFunctions } from '../../lib/burst/functions.js';
import { instantiate, type BurstBuild } from '../../lib/burst/module.js';
import { MBUF_NB_SEGS, MBUF_NEXT } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { reclaimHeld, reclaimStray } from '../../lib/mbuf/reclaim.js';
import { Ring } from '../../lib/ring/ring.js';

const LCORES = 3;
const MBUFS = 96;
const RING = 16;
const POINTS = [DEATH_AFTER_CLAIM, DEATH_BEFORE_PUBLISH, DEATH_AFTER_PUBLISH];

interface Plan { readonly build: BurstBuild; readonly dies: boolean; readonly stamps: boolean }
const PLANS: readonly Plan[] = [
  { build: 'fast', dies: false, stamps: false }, { build: 'portable', dies: false, stamps: false },
  { build: 'twin', dies: true, stamps: false }, { build: 'twin', dies: true, stamps: true }, { build: 'checking', dies: true, stamps: true },
];

interface Command {
  readonly do: 'alloc' | 'chain' | 'free' | 'put' | 'take' | 'die'; readonly lcore: number; readonly count: number;
  /** The caller dies here, or else those who died before are recovered here; 0 for neither. */
  readonly death: number; readonly recovery: number;
}

const commands: fc.Arbitrary<Command[]> = fc.array(fc.record({
  do: fc.constantFrom('alloc', 'alloc', 'chain', 'free', 'put', 'put', 'take', 'take', 'die'), lcore: fc.nat(LCORES - 1), count: fc.integer({ min: 1, max: 20 }),
  death: fc.constantFrom(0, 0, 0, ...POINTS), recovery: fc.constantFrom(0, ...POINTS),
}), { minLength: 5, maxLength: 60, size: 'max' });

class Death extends Error {}

type Packet = readonly number[];

class World {
  readonly arena = Arena.create({ size: MIN_ARENA });
  readonly pool = Mempool.create(this.arena, 'pool', { count: MBUFS, cache: 8 });
  readonly ring: Ring;
  readonly burst = new Burst(this.arena, 128);
  /** Each lcore's program's packets, and the ring's. */
  readonly held: Packet[][] = Array.from({ length: LCORES }, () => []);
  readonly between: Packet[] = [];
  /** Died and not recovered. */
  readonly dead = new Set<number>();
  strays = 0;
  readonly tally = { deaths: 0, inCalls: 0, inOthers: 0, back: 0 };
  readonly #ids: readonly number[];
  readonly #functions: BurstFunctions;
  #now: Command = { do: 'die', lcore: 0, count: 0, death: 0, recovery: 0 };

  readonly plan: Plan;
  readonly single: boolean;

  constructor(plan: Plan, single: boolean, start: number) {
    this.plan = plan;
    this.single = single;
    this.ring = Ring.create(this.arena, 'ring', { size: RING, holds: 'mbufs', singleProducer: single, singleConsumer: single });
    for (const side of [128, 256]) this.arena.u32[(this.ring.offset + side) >>> 2] = start;
    // Lcores are numbers to the burst functions; two of one thread are as good as two threads.
    this.#ids = Array.from({ length: LCORES }, () => Arena.attach(this.arena.share()).lcore);
    this.#functions = instantiate(this.arena.memory, plan.build, {
      ...(plan.dies ? { fault: (point: number) => this.#at(point) } : {}),
      ...(plan.stamps ? { misuse: (...told: number[]) => { throw new Error(`misuse ${told.join(' ')}`); } } : {}),
    });
  }

  apply(command: Command): void {
    const { lcore } = command;
    if (this.dead.has(lcore)) return this.recoverAll(); // and a new thread gets its number
    this.#now = command;
    this[command.do](lcore, command.count);
  }

  alloc(lcore: number, count: number): void {
    const got = this.#functions.mbufAlloc(this.pool.offset, this.#ids[lcore], this.burst.offset, count);
    for (const handle of this.burst.handles.subarray(0, got)) this.held[lcore].push([handle]);
  }

  /** Makes one packet of the lcore's first two or three. */
  chain(lcore: number, count: number): void {
    const parts = this.held[lcore].splice(0, 2 + count % 2);
    const whole = parts.flat();
    whole.slice(1).forEach((handle, i) => { this.arena.u32[(this.pool.mbufs.header(whole[i]) + MBUF_NEXT) >>> 2] = handle; });
    for (const handle of whole) this.arena.u16[(this.pool.mbufs.header(handle) + MBUF_NB_SEGS) >>> 1] = 1;
    if (whole.length > 0) this.arena.u16[(this.pool.mbufs.header(whole[0]) + MBUF_NB_SEGS) >>> 1] = whole.length;
    if (whole.length > 0) this.held[lcore].push(whole);
  }

  free(lcore: number, count: number): void {
    const packets = this.held[lcore].splice(0, count);
    this.#write(packets);
    this.#functions.mbufFree(this.pool.offset, this.#ids[lcore], this.burst.offset, packets.length);
  }

  put(lcore: number, count: number): void {
    const packets = this.held[lcore].slice(0, Math.min(count, RING - this.between.length));
    if (packets.length === 0) return;
    this.#write(packets);
    const { ringEnqueueSp, ringEnqueueMp } = this.#functions;
    const went = this.#call(lcore, () => (this.single ? ringEnqueueSp : ringEnqueueMp)(this.ring.offset, this.burst.offset, packets.length, 1, this.#ids[lcore]));
    if (went) this.between.push(...this.held[lcore].splice(0, packets.length));
    else if (this.plan.stamps && this.#now.death === DEATH_BEFORE_PUBLISH) this.#stray(lcore, packets.length);
  }

  /** Stamped with the ring's word, and in no ring: the first of each packet. */
  #stray(lcore: number, count: number): void {
    this.strays += count;
    this.held[lcore].unshift(...this.held[lcore].splice(0, count).map(([, ...others]) => others));
  }

  take(lcore: number, count: number): void {
    const packets = this.between.slice(0, count);
    if (packets.length === 0) return;
    const { ringDequeueSc, ringDequeueMc } = this.#functions;
    const came = this.#call(lcore, () => (this.single ? ringDequeueSc : ringDequeueMc)(this.ring.offset, this.burst.offset, packets.length, 1, this.#ids[lcore]));
    if (came) this.held[lcore].push(...this.between.splice(0, packets.length));
  }

  die(lcore: number): void {
    this.dead.add(lcore);
    this.tally.deaths++;
    this.#functions.ringRecover(this.ring.offset, this.#ids[lcore]);
  }

  /** Returns whether it was published. Who dies inside is dead, and its claim voided, as every recovery begins with. */
  #call(lcore: number, call: () => number): boolean {
    try {
      if (call() === 0) throw new Error('nothing moved');
      return true;
    } catch (cause) {
      if (!(cause instanceof Death)) throw cause;
      this.tally.inCalls++;
      this.die(lcore);
      return this.#now.death === DEATH_AFTER_PUBLISH;
    }
  }

  /** In the middle of a call. */
  #at(point: number): void {
    if (this.#now.do !== 'put' && this.#now.do !== 'take') return; // the pool's own ring
    if (point === this.#now.death) throw new Death();
    if (point !== this.#now.recovery || this.dead.size === 0) return;
    this.tally.inOthers++;
    this.#recoverHeld();
  }

  #recoverHeld(): void {
    for (const lcore of this.dead) {
      const wanted = this.held[lcore].flat().length;
      const got = reclaimHeld(this.arena, this.pool.offset, this.#ids[lcore]);
      if (got !== wanted) throw new Error(`${got} came back of the ${wanted} that lcore ${this.#ids[lcore]} held`);
      this.tally.back += got;
      this.held[lcore].length = 0;
      this.dead.delete(lcore);
    }
  }

  /** Between two calls. */
  recoverAll(): void {
    this.#recoverHeld();
    const strays = reclaimStray(this.arena, this.pool.offset);
    if (strays !== this.strays) throw new Error(`${strays} strays, wanted ${this.strays}`);
    this.strays = 0;
  }

  /** Each mbuf where the model has it. */
  check(): void {
    const { owners, app, ring, free, twice } = this.pool.audit();
    const count = (packets: readonly Packet[]): number => packets.flat().length;
    const wanted = { ring: count(this.between) + this.strays, app: this.held.reduce((sum, packets) => sum + count(packets), 0) };
    if (ring !== wanted.ring || app !== wanted.app || twice !== 0 || free !== MBUFS - wanted.app - wanted.ring) {
      throw new Error(`in the ring ${ring}, wanted ${wanted.ring}; with programs ${app}, wanted ${wanted.app}; ${free} free, ${twice} twice`);
    }
    this.#ids.forEach((id, lcore) => {
      const has = owners.get(`lcore ${id}`) ?? 0;
      if (!this.dead.has(lcore) && has !== count(this.held[lcore])) throw new Error(`lcore ${id} has ${has}, wanted ${count(this.held[lcore])}`);
    });
  }

  end(): void {
    this.recoverAll();
    for (let lcore = 0; lcore < LCORES; lcore++) {
      for (const which of ['take', 'free'] as const) this.apply({ do: which, lcore, count: RING + MBUFS, death: 0, recovery: 0 });
    }
    const { free, twice, stray } = this.pool.audit();
    if (free !== MBUFS || twice !== 0 || stray !== 0) throw new Error(`at the end ${free} free, ${twice} twice, ${stray} stray`);
    this.arena.close();
  }

  #write(packets: readonly Packet[]): void {
    packets.forEach(([first], i) => { this.burst.handles[i] = first; });
  }
}

for (const plan of PLANS) {
  t.test(`${plan.build}${plan.stamps ? ', with checks' : ''}: whatever dies, and wherever, each mbuf has one owner`, async t => {
    const tally = { deaths: 0, inCalls: 0, inOthers: 0, back: 0 };
    fc.assert(fc.property(fc.boolean(), fc.constantFrom(0, 0x7ffffff8, 0xfffffff8), commands, (single, start, list) => {
      const world = new World(plan, single, start);
      for (const command of list) {
        world.apply(command);
        world.check();
      }
      world.end();
      for (const name of ['deaths', 'inCalls', 'inOthers', 'back'] as const) tally[name] += world.tally[name];
    }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 3000 : 150 });
    t.ok(tally.deaths > 50 && tally.back > 100, `${tally.deaths} died, ${tally.back} mbufs came back`);
    if (plan.dies) t.ok(tally.inCalls > 50 && tally.inOthers > 5, `${tally.inCalls} of them inside a call; ${tally.inOthers} recoveries were inside another's`);
  });
}
