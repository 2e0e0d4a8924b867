import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import type { Burst } from '../../lib/burst/burst.js';
import type { FlowRule } from '../../lib/flow/rule.js';
import { MOST_RULES } from '../../lib/flow/compile.js';
import { FlowTable, type FlowTableOptions } from '../../lib/flow/table.js';
import { Chains } from '../../lib/mbuf/chains.js';
import { RX_FDIR_ID } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import type { TxQueue } from '../../lib/port/port.js';
import { codeThrown } from '../kernel/rights.js';
import { ipChecksum, udp } from '../qdisc/bench_helper.js';
import { anyFrame, firstMatch, ruleLists } from './rules_helper.js';

class Bench {
  readonly arena = Arena.create({ size: MIN_ARENA });
  readonly pool = Mempool.create(this.arena, 'pool', { count: 512, hugePages: 'never' });
  readonly burst = this.pool.burst(64);
  readonly chains = new Chains(this.pool);
  readonly out: { port: string; bytes: Uint8Array }[] = [];
  readonly table: FlowTable;
  room = Infinity;

  constructor(rules: readonly FlowRule[], options: FlowTableOptions = {}) {
    const port = (name: string): TxQueue => ({
      txBurst: (burst: Burst, count: number): number => {
        const taken = Math.min(count, this.room);
        for (let i = 0; i < taken; i++) this.out.push({ port: name, bytes: this.chains.copyOut(burst.handles[i]!) });
        this.pool.free(burst, 0, taken);
        return taken;
      },
    });
    this.table = new FlowTable(this.pool, { ports: { a: port('a'), b: port('b') }, queues: 3, queueSize: 64, rules, ...options });
  }

  /** Runs frames through as one burst. Returns what stayed, in bytes and marks (-1 for none), and frees it. */
  run(...frames: readonly Uint8Array[]): { bytes: Uint8Array; mark: number }[] {
    this.pool.alloc(this.burst, frames.length);
    frames.forEach((frame, i) => this.pool.mbufs.copyIn(this.burst.handles[i]!, frame));
    return this.take(this.table.process(this.burst, frames.length));
  }

  /** What is in a queue. */
  queue(number: number): { bytes: Uint8Array; mark: number }[] {
    return this.take(this.table.queue(number).rxBurst(this.burst));
  }

  take(count: number): { bytes: Uint8Array; mark: number }[] {
    const { mbufs } = this.pool;
    const seen = Array.from(this.burst.handles.subarray(0, count), handle => ({ bytes: mbufs.copyOut(handle), mark: (mbufs.flags(handle) & RX_FDIR_ID) === 0 ? -1 : mbufs.mark(handle) }));
    this.pool.free(this.burst, 0, count);
    return seen;
  }

  close(): void {
    this.table.close();
    const { free, total } = this.pool.audit();
    if (free !== total) throw new Error(`${total - free} mbufs are not back`);
    this.arena.close();
  }
}

const to = (port: number): Uint8Array => {
  const frame = udp(1, 60);
  frame[37] = port;
  return frame;
};
const on = (name: string, destinationPort: number, ...actions: FlowRule['actions']): FlowRule => ({ name, match: { protocol: 'udp', destinationPort }, actions });

t.test('each action, in software', async t => {
  const bench = new Bench([
    on('drop', 1, { do: 'count' }, { do: 'drop' }), on('mark', 2, { do: 'mark', mark: 0xfffffffe }, { do: 'count' }), on('queue', 3, { do: 'mark', mark: 5 }, { do: 'queue', queue: 2 }),
    on('queue 0', 4, { do: 'queue', queue: 0 }), on('rss', 5, { do: 'rss', queues: [1, 2] }),
    on('rewrite', 6, { do: 'rewrite', destinationMac: '02:aa:bb:cc:dd:ee', sourceMac: '02:11:22:33:44:55', dscp: 46 }),
    on('mirror', 7, { do: 'mirror', to: 'a' }, { do: 'rewrite', dscp: 1 }, { do: 'mirror', to: 'b' }), on('redirect', 8, { do: 'redirect', to: 'b' }), on('nothing', 9),
  ]);
  const kept = bench.run(...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(to));
  t.same(kept.map(({ bytes, mark }) => [bytes[37], mark]), [[2, 0xfffffffe], [4, -1], [6, -1], [7, -1], [9, -1], [10, -1]], 'what stays is in order, and marked');
  const second = bench.queue(2);
  t.same(second.filter(({ bytes }) => bytes[37] === 3).map(({ mark }) => mark), [5]);
  t.equal(bench.queue(1).length + second.length, 2, 'and the one of rss in one of its queues');
  const rewritten = kept.find(({ bytes }) => bytes[37] === 6)!.bytes;
  t.equal(Buffer.from(rewritten.subarray(0, 12)).toString('hex'), '02aabbccddee021122334455');
  t.equal(rewritten[15], 46 << 2);
  t.equal((rewritten[24]! << 8) | rewritten[25]!, ipChecksum(rewritten.subarray(14, 34)));
  t.same(bench.out.map(({ port, bytes }) => [port, bytes[37], bytes[15]! >> 2]).sort(), [['a', 7, 0], ['b', 7, 1], ['b', 8, 0]], 'a copy is as the packet was at that moment');
  t.match(bench.table.query(), { dropped: 1, queueFull: 0, portRefused: 0, notMirrored: 0 });
  t.match(bench.table.query().rules.find(({ name }) => name === 'drop'), { packets: 1, bytes: 54, ran: 'software', actions: ['count', 'drop'] });
  t.same(JSON.parse(JSON.stringify(bench.table)), JSON.parse(JSON.stringify(bench.table.query())));
  bench.close();
  bench.table.close();
});

t.test('a jumbo frame is mirrored whole, into as many mbufs as it takes, or not at all', async t => {
  const bench = new Bench([on('mirror', 3, { do: 'mirror', to: 'a' })]);
  const { chains, pool, burst } = bench;
  const jumbo = Uint8Array.from({ length: 9014 }, (_, i) => i < 54 ? to(3)[i]! : i);
  pool.alloc(burst, 1);
  t.ok(chains.copyIn(burst.handles[0]!, jumbo));
  t.equal(bench.table.process(burst, 1), 1);
  t.same(bench.out.map(({ port, bytes }) => [port, Buffer.from(bytes).equals(jumbo)]), [['a', true]]);
  t.same(chains.copyOut(burst.handles[0]!), jumbo, 'which itself stays as it was');
  // Two mbufs are not enough for a copy, and come back.
  const rest = pool.burst(512);
  const held = pool.audit().free;
  pool.alloc(rest, held);
  pool.free(rest, held - 2, held);
  t.equal(bench.table.process(burst, 1), 1);
  t.match(bench.table.query(), { notMirrored: 1 });
  t.equal(pool.audit().free, 2);
  pool.free(rest, 0, held - 2);
  pool.free(burst, 0, 1);
  bench.close();
});

t.test('what a port or a queue does not take is freed and counted', async t => {
  const bench = new Bench([on('redirect', 1, { do: 'redirect', to: 'a' }), on('queue', 2, { do: 'queue', queue: 1 }), on('mirror', 3, { do: 'mirror', to: 'a' })]);
  bench.room = 5;
  bench.run(...Array.from({ length: 8 }, () => to(1)));
  t.equal(bench.table.query().portRefused, 3);
  for (let i = 0; i < 2; i++) bench.run(...Array.from({ length: 40 }, () => to(2)));
  t.equal(bench.table.query().queueFull, 16);
  const rest = bench.pool.burst(512);
  let held = 0;
  while (bench.pool.alloc(rest, 1) === 1) held++;
  t.ok(held > 0);
  bench.table.queue(1).rxBurst(bench.burst, 1);
  bench.pool.mbufs.copyIn(bench.burst.handles[0]!, new Uint8Array(0));
  bench.arena.u8.set(to(3), bench.pool.mbufs.data(bench.burst.handles[0]!));
  t.equal(bench.table.process(bench.burst, 1), 1);
  t.equal(bench.table.query().notMirrored, 1, 'the pool is dry');
  bench.pool.free(bench.burst, 0, 1);
  bench.table.close();
  t.equal(bench.pool.audit().app, held, 'what waited in the queue is back');
  bench.arena.close();
});

t.test('rules can be replaced: who keeps his name keeps his counts, and a refusal leaves all as it was', async t => {
  const count = (name: string, port: number, priority: number): FlowRule => ({ ...on(name, port, { do: 'count' }, { do: 'drop' }), priority });
  const bench = new Bench([count('one', 1, 1), count('two', 2, 2)]);
  bench.run(to(1), to(2), to(2));
  t.equal(codeThrown(() => bench.table.replace([count('one', 1, 1), count('one', 2, 1)])), 'EOPTION');
  bench.run(to(2));
  bench.table.replace([count('two', 2, 0), count('three', 1, 0)]);
  t.same(bench.table.query().rules.map(({ name, packets }) => [name, packets]), [['two', 3], ['three', 0]]);
  bench.table.replace([count('one', 1, 1)]);
  t.same(bench.table.query().rules.map(({ packets }) => packets), [0], 'who went and came back begins anew');
  for (let i = 0; i < 5; i++) bench.table.replace(Array.from({ length: MOST_RULES }, (_, rule) => count(`rule ${i} ${rule}`, rule, rule)));
  bench.run(to(255));
  t.match(bench.table.query().rules[255], { packets: 1 });
  bench.close();
});

t.test('wrong rules are refused by name', async t => {
  const bench = new Bench([]);
  const rule = (match: object, ...actions: object[]): unknown => [{ name: 'r', match, actions }];
  const bad: unknown[] = [
    [{ name: '', actions: [] }], [{ name: 'r', actions: [], priority: -1 }], [{ name: 'r', actions: [], priority: 1.5 }], [{ name: 'r' }],
    rule({ port: 5 }), rule({ destinationMac: '02:00' }), rule({ etherType: 0x10000 }), rule({ vlan: 4096 }), rule({ source: '10.0.0.0/33' }), rule({ source: '10.0.0.0/-1' }), rule({ source: 'here' }), rule({ source: '::/129' }), rule({ source: '10.0.0.0/8/8' }), rule({ source: '10.0.0.1/8' }), rule({ destination: '2001:db8::1/127' }),
    rule({ protocol: 256 }), rule({ protocol: 'tpc' }), rule({ sourcePort: 65536 }), rule({ sourcePort: [5, 4] }), rule({ destinationPort: -1 }),
    rule({}, { do: 'fly' }), rule({}, { do: 'drop' }, { do: 'count' }), rule({}, { do: 'queue', queue: 3 }), rule({}, { do: 'rss', queues: [] }), rule({}, { do: 'rss', queues: [0, 9] }), rule({}, { do: 'mark', mark: -1 }),
    rule({}, { do: 'redirect', to: 'c' }), rule({}, { do: 'mirror', to: 'c' }), rule({}, { do: 'rewrite' }), rule({}, { do: 'rewrite', dscp: 64 }), rule({}, { do: 'rewrite', sourceMac: 'x' }), rule({}, { do: 'queue', queue: 1 }, { do: 'drop' }),
    Array.from({ length: MOST_RULES + 1 }, (_, i) => ({ name: `r${i}`, actions: [] })),
  ];
  for (const rules of bad) t.equal(codeThrown(() => bench.table.replace(rules as FlowRule[])), 'EOPTION', JSON.stringify(rules).slice(0, 90));
  t.throws(() => bench.table.replace(rule({ source: '10.0.0.1/8' }) as FlowRule[]), { message: 'Flow rule "r": 10.0.0.1/8 has bits behind its length: write 10.0.0.0/8, or 10.0.0.1/32 for the one address.' });
  t.equal(codeThrown(() => new FlowTable(bench.pool, { queues: 65 })), 'EOPTION');
  t.equal(codeThrown(() => bench.table.queue(3)), 'EOPTION');
  bench.close();
});

t.test('property: the first rule that matches, by a second opinion', async t => {
  let matched = 0;
  fc.assert(fc.property(ruleLists, fc.array(anyFrame, { minLength: 1, maxLength: 30, size: 'max' }), (rules, list) => {
    const counting = rules.map(rule => ({ ...rule, actions: [{ do: 'count' as const }, { do: 'drop' as const }] }));
    const bench = new Bench(counting);
    const kept = bench.run(...list).map(({ bytes }) => Buffer.from(bytes).toString('hex'));
    const opinions = list.map(frame => firstMatch(counting, frame));
    const stay = list.filter((_, i) => opinions[i] === undefined).map(frame => Buffer.from(frame).toString('hex'));
    if (JSON.stringify(kept) !== JSON.stringify(stay)) throw new Error(`kept ${kept.join()}\nshould ${stay.join()}`);
    for (const { name, packets } of bench.table.query().rules) {
      const due = opinions.filter(each => each === name).length;
      if (packets !== due) throw new Error(`${name} counted ${packets}, not ${due}`);
      matched += due;
    }
    bench.close();
  }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 2000 : 150 });
  t.ok(matched > 100, `${matched} packets matched a rule`);
});
