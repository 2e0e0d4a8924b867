/** An lcore that dies in the middle of an AF_XDP burst: forced deaths at every point over rings in plain memory, and real ones on a veth. */
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { ZONE_OVERLAY } from '../../../../lib/arena/layout.js';
import { lcoreHolder } from '../../../../lib/arena/lcores.js';
import { Burst } from '../../../../lib/burst/burst.js';
import type { BurstFunctions } from '../../../../lib/burst/functions.js';
import { burstFunctions, instantiate, type BurstBuild } from '../../../../lib/burst/module.js';
import { recoverLcore } from '../../../../lib/lcore/recover.js';
import { handles } from '../../../../lib/mbuf/audit.js';
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_NB_SEGS, MBUF_OWNER, MBUF_PKT_LEN } from '../../../../lib/mbuf/layout.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import {
  XDP_PKT_CONTD, XSK_AIM, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_FLAGS, XSK_HELD, XSK_LONGEST, XSK_MASK, XSK_MOST_SEGMENTS, XSK_PRODUCER, XSK_RING_A, XSK_RING_B,
  XSK_SEEN, XSK_UMEM, XSK_UMEM_BYTES,
} from '../../../../lib/port/drivers/af_xdp/layout.js';
import { takeBack } from '../../../../lib/port/drivers/af_xdp/rings.js';
import { QUEUE_LCORE } from '../../../../lib/port/layout.js';
import { QueueState } from '../../../../lib/port/queue.js';
import { inLab, LONG } from './helper.js';
import { balanced, bounceAll, bouncer, openEnds, send } from './pair_helper.js';

class Death extends Error {}

/** One of the kernel's rings, in plain memory; the model is the other side. */
class FakeRing {
  readonly arena: Arena;
  readonly zone;
  readonly entry: number;
  readonly size: number;

  constructor(arena: Arena, name: string, entry: number, size: number, start: number) {
    this.arena = arena;
    this.entry = entry;
    this.size = size;
    this.zone = arena.reserve(name, 256 + entry * size, { type: ZONE_OVERLAY }); // as a socket's rings
    this.producer = this.consumer = start;
  }

  get producer(): number { return this.arena.u32[this.zone.offset >>> 2]!; }
  set producer(value: number) { this.arena.u32[this.zone.offset >>> 2] = value; }
  get consumer(): number { return this.arena.u32[(this.zone.offset + 64) >>> 2]!; }
  set consumer(value: number) { this.arena.u32[(this.zone.offset + 64) >>> 2] = value; }
  get length(): number { return (this.producer - this.consumer) >>> 0; }

  describe(state: QueueState, at: number, start: number): void {
    const { offset } = this.zone;
    for (const [field, value] of [[XSK_PRODUCER, offset], [XSK_CONSUMER, offset + 64], [XSK_FLAGS, offset + 128], [XSK_DESCRIPTORS, offset + 256], [XSK_MASK, this.size - 1], [XSK_SEEN, start]] as const) state.set(at + field, value);
  }

  word(index: number): number {
    return (this.zone.offset + 256 + ((index & (this.size - 1)) >>> 0) * this.entry) >>> 2;
  }

  put(...words: number[]): void {
    this.arena.u32.set(words, this.word(this.producer));
    this.producer = this.producer + 1;
  }

  take(): number {
    const address = this.arena.u32[this.word(this.consumer)]!;
    this.consumer = this.consumer + 1;
    return address;
  }

  /** Addresses between the two indices. */
  addresses(): number[] {
    return Array.from({ length: this.length }, (_, i) => this.arena.u32[this.word(this.consumer + i)]!);
  }
}

interface Shape { readonly mbufs: number; readonly ring: number; readonly start: number; readonly cache: number; readonly txSegments: number }
interface Command { readonly kind: 'rx' | 'free' | 'send' | 'fill' | 'deliver' | 'transmit' | 'complete' | 'die'; readonly count: number; readonly pick: number }

/** A queue of each direction, a program that uses them as one lcore after another, and the kernel's part. */
class World {
  readonly arena: Arena;
  readonly build: BurstBuild;
  readonly pool: Mempool;
  readonly rx: QueueState;
  readonly tx: QueueState;
  readonly rings: Record<'rx' | 'fill' | 'tx' | 'completion', FakeRing>;
  /** Empty buffers that the kernel took from the fill ring, and frames that it took from the TX ring. */
  readonly empty: number[] = [];
  readonly flying: number[] = [];
  app: number[] = [];
  lcore!: Arena;
  functions!: BurstFunctions;
  vector!: Burst;
  /** Checking points to go until the lcore dies; Infinity for a long life. */
  left = Infinity;
  doing: Command['kind'] = 'rx';

  constructor(arena: Arena, build: BurstBuild, { mbufs, ring, start, cache, txSegments }: Shape) {
    this.arena = arena;
    this.build = build;
    this.pool = Mempool.create(arena, 'pool', { count: mbufs, bufferSize: 2048, hugePages: 'never', cache });
    const host = { arena, pool: this.pool, number: 0, device: 'af_xdp:model' };
    this.rx = new QueueState(host, 'rx', 0);
    this.tx = new QueueState(host, 'tx', 0);
    const make = (name: string, entry: number): FakeRing => new FakeRing(arena, name, entry, ring, start);
    this.rings = { rx: make('ring/rx', 16), fill: make('ring/fill', 8), tx: make('ring/tx', 16), completion: make('ring/completion', 8) };
    this.rings.rx.describe(this.rx, XSK_RING_A, start);
    this.rings.fill.describe(this.rx, XSK_RING_B, start);
    this.rings.tx.describe(this.tx, XSK_RING_A, start);
    this.rings.completion.describe(this.tx, XSK_RING_B, start);
    for (const state of [this.rx, this.tx]) {
      state.set(XSK_UMEM, this.pool.buffers.offset);
      state.set(XSK_UMEM_BYTES, mbufs * 2048);
      state.set(XSK_BUFFER_MASK, 2047);
      state.set(QUEUE_LCORE, 0);
    }
    this.rx.set(XSK_AIM, ring);
    this.tx.set(XSK_LONGEST, 1518);
    this.rx.set(XSK_MOST_SEGMENTS, 5);
    this.tx.set(XSK_MOST_SEGMENTS, txSegments);
    this.born();
  }

  /** The next lcore takes the queues. */
  born(): void {
    this.lcore = Arena.attach(this.arena.share());
    this.functions = instantiate(this.arena.memory, this.build, { fault: point => this.fault(point) });
    this.vector = new Burst(this.lcore, 64);
    for (const state of [this.rx, this.tx]) state.set(QUEUE_LCORE, this.lcore.lcore + 1);
    this.left = Infinity;
  }

  fault(point: number): void {
    if (--this.left > 0) return;
    points.add(`${this.doing} ${point}`);
    this.left = Infinity;
    throw new Death();
  }

  do({ kind, count, pick }: Command): void {
    const { rings, functions, vector, lcore: { lcore } } = this;
    this.doing = kind;
    switch (kind) {
      case 'rx': this.app.push(...this.read(functions.xskRx(this.rx.offset, vector.offset, Math.min(count, 64), lcore))); return;
      case 'free': functions.mbufFree(this.pool.offset, lcore, vector.offset, this.write(this.app.splice(0, count))); return;
      case 'send': this.send(count); return;
      case 'fill': for (let i = 0; i < count && rings.fill.length > 0; i++) this.empty.push(rings.fill.take()); return;
      case 'deliver': for (let i = 0; i < count && this.empty.length >= 3 && rings.rx.length + 3 <= rings.rx.size; i++) this.deliver((pick + i) % 4 === 0 ? 3 : 1, pick); return;
      case 'transmit': for (let i = 0; i < count && rings.tx.length > 0; i++) this.flying.push(rings.tx.take() & ~2047); return;
      case 'complete': for (let i = 0; i < count && this.flying.length > 0 && rings.completion.length < rings.completion.size; i++) rings.completion.put(this.flying.splice(pick % this.flying.length, 1)[0]!, 0); return;
      case 'die': this.left = 1 + (pick >>> 1) % (pick % 2 === 0 ? 6 : 60);
    }
  }

  /** A frame in so many buffers. */
  deliver(pieces: number, pick: number): void {
    for (let i = 1; i <= pieces; i++) this.rings.rx.put(this.empty.splice(pick % this.empty.length, 1)[0]! + 256, 0, 60, i < pieces ? XDP_PKT_CONTD : 0);
  }

  segments(handle: number): number {
    return this.arena.u16[(((this.arena.table + (handle << HEADER_SHIFT)) >>> 0) + MBUF_NB_SEGS) >>> 1]!;
  }

  /** What was received goes out, or new frames do; what is refused stays the program's. */
  send(count: number): void {
    const { functions, vector, lcore: { lcore } } = this;
    if (this.app.length === 0 && functions.mbufAlloc(this.pool.offset, lcore, vector.offset, Math.min(count, 8)) > 0) this.app.push(...this.read(Math.min(count, 8)));
    const list = this.app.slice(0, Math.min(count, 64));
    for (const handle of list) {
      if (this.segments(handle) > 1) continue;
      const header = (this.arena.table + (handle << HEADER_SHIFT)) >>> 0;
      this.arena.u16[(header + MBUF_DATA_LEN) >>> 1] = 60;
      this.arena.u32[(header + MBUF_PKT_LEN) >>> 2] = 60;
    }
    this.app.splice(0, functions.xskTx(this.tx.offset, vector.offset, this.write(list), lcore));
  }

  /** The lcore is dead; its successor takes over. */
  dies(): void {
    const { lcore } = this.lcore;
    const recovery = recoverLcore(this.arena, lcore, lcoreHolder(this.arena.i32, lcore)!.tid);
    expect(recovery.queues.length, 2);
    this.app = [];
    this.check();
    this.born();
  }

  /** What the kernel has is the queues', to the last mbuf, and nothing else is; the counts agree. */
  check(): void {
    const { rings } = this;
    const sets = { rx: [...rings.fill.addresses(), ...this.empty, ...rings.rx.addresses()], tx: [...rings.tx.addresses(), ...this.flying, ...rings.completion.addresses()] };
    for (const state of [this.rx, this.tx]) {
      const wanted = sets[state.direction].map(address => (this.pool.buffers.offset + (address & ~2047)) >>> HANDLE_SHIFT).sort((a, b) => a - b);
      const owned = [...handles(this.arena, this.pool.offset)].filter(handle => this.arena.u32[((this.arena.table + (handle << HEADER_SHIFT)) >>> 0) + MBUF_OWNER >>> 2] === state.owner);
      expect(owned, wanted);
      expect(state.get(XSK_HELD), wanted.length);
    }
    const { total, free, app, rx, tx, stray, twice } = this.pool.audit();
    expect([app, stray, twice, free + app + rx + tx], [this.app.reduce((sum, handle) => sum + this.segments(handle), 0), 0, 0, total]);
  }

  read(count: number): number[] {
    return [...this.vector.handles.subarray(0, count)];
  }

  write(list: readonly number[]): number {
    const some = list.slice(0, 64);
    this.app.unshift(...list.slice(64));
    this.vector.handles.set(some);
    return some.length;
  }

  close(): void {
    recoverLcore(this.arena, this.lcore.lcore, lcoreHolder(this.arena.i32, this.lcore.lcore)!.tid);
    for (const ring of Object.values(this.rings)) this.arena.release(ring.zone);
    for (const state of [this.rx, this.tx]) {
      takeBack(state, burstFunctions(this.arena));
      state.close();
    }
    this.pool.close();
  }
}

/** Where lcores died: `send 3`. */
const points = new Set<string>();

function expect(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`found ${a}, wanted ${b}`);
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  mbufs: fc.constantFrom(64, 200, 600), ring: fc.constantFrom(64, 128), start: fc.constantFrom(0, 0x7fffffe0, 0xffffffe0), cache: fc.constantFrom(0, 8),
  txSegments: fc.constantFrom(2, 5), // with 2, chains of three are copied
});
const commands: fc.Arbitrary<Command[]> = fc.array(fc.record({
  kind: fc.constantFrom('rx', 'rx', 'free', 'send', 'send', 'fill', 'deliver', 'transmit', 'complete', 'die', 'die'),
  count: fc.integer({ min: 1, max: 80 }), pick: fc.nat(),
}), { minLength: 10, maxLength: 80 });

for (const build of ['checking', 'twin'] as const) {
  t.test(`${build}: wherever an lcore dies, the kernel keeps what it has heard of and the rest comes back`, async t => {
    let arena = Arena.create({ size: 16 << 20 });
    let deaths = 0;
    points.clear();
    fc.assert(fc.property(shapes, commands, (shape, list) => {
      const world = new World(arena, build, shape);
      try {
        for (const command of list) {
          try {
            world.do(command);
          } catch (cause) {
            if (!(cause instanceof Death)) throw cause;
            world.dies();
            deaths++;
          }
        }
        world.left = Infinity;
        world.check();
        world.close();
      } catch (cause) {
        arena = Arena.create({ size: 16 << 20 }); // the next run starts clean
        throw cause;
      }
    }), { numRuns: LONG ? 3000 : 300 });
    t.ok(deaths > 100, `${deaths} deaths`);
    // Which points a random list comes by is chance: nearly all of them, in each run of the test.
    const places = ['rx', 'send'].flatMap(kind => [1, 2, 3, 4].map(point => `${kind} ${point}`)).filter(place => points.has(place));
    t.ok(places.length >= 6, `at ${places.join(', ')}`);
    arena.close();
  });
}

inLab('lcores are ended at random while they bounce; others take their queues, and the traffic goes on', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const lcores = [await bouncer(ends, 0, true), await bouncer(ends, 1, true)];
  const kills = LONG ? 200 : 10;
  let held = 0;
  for (let kill = 0; kill < kills; kill++) {
    const queue = kill % 2;
    t.ok(await bounceAll(ends, lab, 64) >= 64, `round ${kill}: frames come back on both queues`);
    for (let i = 0; i < 20; i++) send(ends, lab, ends.b, queue, i * 16, 16); // so that it has work
    if (kill % 4 > 1) await sleep(Math.random() * 3);
    const recovery = await lcores[queue]!.terminate();
    t.equal(recovery.queues.length, 2, 'its queues are free');
    held += recovery.held;
    balanced(t, ends, 'nothing is lost');
    lcores[queue] = await bouncer(ends, queue);
  }
  t.ok(await bounceAll(ends, lab, 64) >= 64, 'afterwards too');
  for (const lcore of lcores) await lcore.stop();
  const stats = ends.host.stats(ends.a);
  t.match(stats.xstats, { tx_bad_completion: 0, rx_bad_descriptor: 0, kernel_rx_invalid_descs: 0, kernel_tx_invalid_descs: 0 });
  t.comment(`${kills} lcores ended, ${held} mbufs were their programs'`);
  for (const port of ends.host.ports) port.close();
  t.equal(ends.host.pool.audit().free, ends.host.pool.size, 'every mbuf is back');
  ends.host.close();
});
