import fc from 'fast-check';
import t from 'tap';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { open } from '../../lib/port/host.js';
import { emptyStats } from '../../lib/port/port.js';
import { LONGEST_PACKET } from '../../lib/qdisc/layout.js';
import type { HtbClassSpec, QdiscSpec } from '../../lib/qdisc/spec.js';
import { MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import { QdiscQueue } from '../../lib/qdisc/tree.js';
import { codeThrown } from '../kernel/rights.js';
import { QdiscBench, udp, type Send } from './bench_helper.js';

const MS = 1e6;

t.test('a pfifo keeps order, drops what comes when it is full, and says so', async t => {
  const bench = new QdiscBench({ kind: 'pfifo', limit: 3, bytes: 400 });
  bench.sink.room = 0;
  const ids = bench.send(...[100, 100, 100, 100].map(bytes => ({ bytes })));
  // Three offered to the port wait outside of the pfifo.
  t.equal(bench.queue.packets, 3);
  t.equal(bench.queue.toJSON().root.drops['limit'], 1, 'the fourth came to a full queue');
  bench.check();
  t.equal(bench.queue.deadline, bench.now, 'the port was full: come back at once');
  bench.send({ bytes: 399 }, { bytes: 2 }, { bytes: 1 });
  t.equal(bench.queue.toJSON().root.drops['limit'], 2, 'and 2 bytes beside 399');
  bench.sink.room = 2;
  t.equal(bench.queue.service(), 2);
  bench.sink.room = Infinity;
  t.equal(bench.queue.service(), 3);
  t.same(bench.sink.arrivals.map(({ id }) => id), [...ids.slice(0, 3), 5, 7]);
  t.equal(bench.queue.deadline, Infinity);
  t.equal(bench.queue.service(), 0);
  bench.close();
  t.equal(bench.queue.packets, 0);
});

t.test('what is not taken, and what is taken and cannot be sent', async t => {
  const bench = new QdiscBench({ kind: 'pfifo' }, { packets: 2 });
  const other = Mempool.create(bench.arena, 'other', { count: 32, hugePages: 'never' });
  const { burst, pool, queue } = bench;
  pool.alloc(burst, 2);
  const stranger = other.burst(1);
  other.alloc(stranger, 1);
  burst.handles[2] = burst.handles[1]!;
  burst.handles[1] = stranger.handles[0]!;
  t.equal(queue.txBurst(burst, 3), 1, 'it stops at another pool\'s mbuf');
  bench.sent += 1;
  t.equal(queue.toJSON().foreign, 1);
  burst.handles[0] = 0xffffffff;
  t.equal(queue.txBurst(burst, 3), 0, 'or at what is none at all');
  t.equal(queue.toJSON().foreign, 2);
  burst.handles[0] = burst.handles[2]!;
  other.free(stranger, 0, 1);
  pool.mbufs.u32[(pool.mbufs.header(burst.handles[0]!) + MBUF_PKT_LEN) >>> 2] = LONGEST_PACKET + 1;
  t.equal(queue.txBurst(burst, 1), 1);
  t.equal(queue.toJSON().drops.too_long, 1, 'a length that no packet has');
  bench.sink.room = 0;
  bench.sent += 1;
  bench.send({ bytes: 60 }, { bytes: 60 }, { bytes: 60 });
  t.equal(queue.toJSON().drops.tree_full, 1);
  bench.sink.room = 1;
  const turns = bench.sink.turns;
  t.equal(queue.txBurst(burst, 0), 0, 'nothing more; but what waits goes');
  t.equal(queue.packets, 1);
  bench.sink.room = 1;
  t.equal(queue.txBurst(burst, NaN), 0);
  t.equal(queue.packets, 0);
  t.equal(bench.sink.turns, turns + 1, 'when all has gone, the port has its turn all the same');
  bench.sink.room = 0;
  bench.send({ bytes: 60 }, { bytes: 60 });
  t.equal(queue.flush(), 2);
  queue.close();
  queue.close();
  t.equal(pool.alloc(burst, 2), 2);
  t.equal(queue.txBurst(burst, 2), 0, 'after close it takes nothing');
  t.equal(queue.toJSON().drops.after_close, 2);
  t.equal(queue.service(), 0);
  t.equal(queue.flush(), 0);
  t.equal(queue.deadline, Infinity);
  t.equal(queue.sleepMs, Infinity);
  pool.free(burst, 0, 2);
  t.equal(pool.audit().free, pool.size);
  bench.arena.close();
});

t.test('prio: the first band that has something goes first', async t => {
  const bench = new QdiscBench({ kind: 'prio', bands: [{ kind: 'pfifo' }, { kind: 'tbf', rate: 8e6, burst: 1000 }, { kind: 'pfifo' }] });
  bench.sink.room = 0;
  bench.send({ bytes: 64, mark: 2 }); // waits in front of the port
  bench.send({ bytes: 1000, mark: 1 }, { bytes: 1000, mark: 1 }, { bytes: 64 }, { bytes: 64, mark: 0 });
  bench.sink.room = Infinity;
  bench.queue.service();
  t.same(bench.sink.arrivals.map(({ id }) => id), [1, 5, 2, 4], 'the second of the shaped band waits, and does not hold up the last band');
  t.equal(bench.queue.deadline, 1 * MS, '1000 bytes at a byte per microsecond');
  bench.runTo(MS);
  t.same(bench.sink.arrivals.at(-1), { id: 3, time: MS, bytes: 1000, mark: 1 });
  bench.close();
});

t.test('tbf: the rate, the burst, the peak, and what is larger than a bucket', async t => {
  const bench = new QdiscBench({ kind: 'tbf', rate: '8mbit', burst: 3000, peak: '80mbit', peakBurst: 1500, overhead: 24 });
  bench.send(...Array.from({ length: 10 }, () => ({ bytes: 976 })), { bytes: 1477 });
  t.equal(bench.queue.toJSON().root.drops['over_burst'], 1, '1477 + 24 are over 1500');
  bench.runTo(1e9);
  const times = bench.sink.arrivals.map(({ time }) => time);
  t.equal(times.length, 10);
  t.equal(times[1], 50_000, 'the peak: of a bucket of 1500 at 10 bytes per microsecond, 500 more bytes for the second 1000');
  t.equal(times[2], 150_000);
  t.equal(times[3], 1000 * 1000, '4000 bytes: 3000 that were there, 1000 at one per microsecond');
  t.same(times.slice(4).map((time, i) => time - times[3 + i]!), Array.from({ length: 6 }, () => 1e6));
  bench.close();
});

t.test('absurd numbers are refused, with a code and before anything is reserved', async t => {
  const bench = new QdiscBench({ kind: 'pfifo' });
  const zones = bench.arena.zones().length;
  const bad: unknown[] = [
    undefined, null, 'pfifo', {}, { kind: 'sfq' }, { kind: 'pfifo', limit: 0 }, { kind: 'pfifo', limit: -1 }, { kind: 'pfifo', limit: 1.5 }, { kind: 'pfifo', bytes: NaN },
    { kind: 'prio' }, { kind: 'prio', bands: [] }, { kind: 'prio', bands: [{ kind: 'pfifo' }], default: 1 }, { kind: 'prio', bands: [{ kind: 'pfifo' }], classify: 'colour' },
    ...[-1, 0, NaN, Infinity, 7, 1e14, '10 mbit', '-1mbit', '1e3mbit', 'mbit', '99999999999999gbit', {}, null].map(rate => ({ kind: 'tbf', rate })),
    { kind: 'tbf', rate: 1e6, burst: 0 }, { kind: 'tbf', rate: 1e6, burst: -5 }, { kind: 'tbf', rate: 1e6, peak: 1e5 }, { kind: 'tbf', rate: 1e6, overhead: -1 }, { kind: 'tbf', rate: 1e6, child: { kind: 'pfifo', limit: 0 } },
    { kind: 'drr', classes: [] }, { kind: 'drr', classes: [{ quantum: 0 }] }, { kind: 'drr', classes: [{ quantum: -1514 }] }, { kind: 'drr', classes: [{}], default: 2 },
    { kind: 'fq_codel', flows: 0 }, { kind: 'fq_codel', quantum: 1 }, { kind: 'fq_codel', targetMs: -5 }, { kind: 'fq_codel', targetMs: 200 }, { kind: 'fq_codel', intervalMs: Infinity }, { kind: 'fq_codel', limit: 2 ** 21 },
    { kind: 'police', meter: { kind: 'srtcm', cir: 1e6, cbs: 0, ebs: 0 } }, { kind: 'police', meter: { kind: 'srtcm', cir: -1, cbs: 1, ebs: 1 } }, { kind: 'police', meter: { kind: 'trtcm', cir: 2e6, pir: 1e6, cbs: 1, pbs: 1 } },
    { kind: 'police', meter: { kind: 'trtcm', cir: 1e6, pir: 1e6, cbs: 0, pbs: 1 } },
    { kind: 'htb', classes: [] }, { kind: 'htb', classes: [{ name: '', rate: 1e6 }] }, { kind: 'htb', classes: [{ name: 'a', rate: 1e6 }, { name: 'a', rate: 1e6 }] }, { kind: 'htb', classes: [{ name: 'a', rate: 1e6, ceil: 1e5 }] },
    { kind: 'htb', classes: [{ name: 'a', rate: 0 }] }, { kind: 'htb', classes: [{ name: 'a', rate: 1e6, priority: 8 }] }, { kind: 'htb', classes: [{ name: 'a', rate: 1e6, classes: [] }] },
    { kind: 'htb', classes: [{ name: 'a', rate: 1e6 }], default: 'b' }, { kind: 'htb', classes: [{ name: 'a', rate: 1e6, child: { kind: 'tbf', rate: 1e6 } }] },
    { kind: 'htb', classes: [{ name: 'a', rate: 1e6, child: { kind: 'pfifo' }, classes: [{ name: 'b', rate: 1e6 }] }] }, { kind: 'htb', classes: [nested(9)] }, deep(20),
  ];
  for (const spec of bad) t.equal(codeThrown(() => new QdiscQueue(bench.pool, bench.sink, spec as QdiscSpec)), 'EOPTION', JSON.stringify(spec)?.slice(0, 100) ?? 'undefined');
  const around = (options: object): string => codeThrown(() => new QdiscQueue(bench.pool, bench.sink, { kind: 'fq_codel' }, options));
  t.equal(around({ packets: 0 }), 'EOPTION');
  t.equal(around({ burst: 0 }), 'EOPTION');
  t.equal(around({ clock: 5 }), 'EOPTION');
  t.equal(around({ hashKey: new Uint8Array(3) }), 'EOPTION');
  t.equal(around({ name: bench.queue.name }), 'EEXISTS');
  t.equal(bench.arena.zones().length, zones, 'nothing is left of them');
  bench.close();
});

function nested(depth: number): HtbClassSpec {
  return { name: `level ${depth}`, rate: 1e6, ...(depth > 0 ? { classes: [nested(depth - 1)] } : {}) };
}

function deep(levels: number): QdiscSpec {
  return levels === 0 ? { kind: 'pfifo' } : { kind: 'prio', bands: [deep(levels - 1)] };
}

/** Trees of all kinds, small limits, slow rates; HTB leaves that do not shape. */
const { tree } = fc.letrec<{ tree: QdiscSpec; plain: QdiscSpec; leaf: QdiscSpec }>(tie => ({
  leaf: fc.oneof(
    fc.record({ kind: fc.constant('pfifo' as const), limit: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('fq_codel' as const), flows: fc.integer({ min: 1, max: 8 }), limit: fc.integer({ min: 1, max: 40 }), quantum: fc.integer({ min: 64, max: 2000 }), targetMs: fc.constant(1), intervalMs: fc.constant(5) }),
  ),
  plain: fc.oneof({ maxDepth: 2 }, tie('leaf'),
    fc.record({ kind: fc.constant('prio' as const), bands: fc.array(tie('plain'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('drr' as const), classes: fc.array(fc.record({ quantum: fc.integer({ min: 64, max: 3000 }), child: tie('plain') }), { minLength: 1, maxLength: 3 }), default: fc.constant(0) }),
    fc.record({ kind: fc.constant('police' as const), meter: fc.record({ kind: fc.constant('srtcm' as const), cir: fc.integer({ min: 1e5, max: 1e7 }), cbs: fc.integer({ min: 1, max: 5000 }), ebs: fc.nat(5000) }), child: tie('leaf') }),
  ) as fc.Arbitrary<QdiscSpec>,
  tree: fc.oneof({ maxDepth: 3 }, tie('plain'),
    fc.record({ kind: fc.constant('tbf' as const), rate: fc.integer({ min: 1e5, max: 1e8 }), burst: fc.integer({ min: 1000, max: 5000 }), child: tie('tree') }),
    fc.record({ kind: fc.constant('prio' as const), bands: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('drr' as const), classes: fc.array(fc.record({ child: tie('tree') }), { minLength: 1, maxLength: 3 }) }),
    fc.tuple(fc.array(fc.tuple(fc.integer({ min: 1e5, max: 1e7 }), fc.integer({ min: 1, max: 10 }), fc.nat(7), tie('plain')), { minLength: 1, maxLength: 4 }), fc.boolean(), fc.integer({ min: 1e5, max: 1e7 })).map(([leaves, parent, rate]) => {
      const classes = leaves.map(([each, factor, priority, child], index) => ({ name: `leaf ${index}`, rate: each, ceil: each * factor, priority, child, burst: 2000, ceilBurst: 2000 }));
      return { kind: 'htb' as const, default: 'leaf 0', classes: parent ? [{ name: 'parent', rate, ceil: 2 * rate, classes }] : classes };
    }),
  ) as fc.Arbitrary<QdiscSpec>,
}));

const sends: fc.Arbitrary<Send> = fc.record({ bytes: fc.integer({ min: 60, max: 1500 }), mark: fc.nat(4), flow: fc.nat(10), ecn: fc.nat(3) });
const steps = fc.array(fc.oneof(
  { weight: 5, arbitrary: fc.array(sends, { minLength: 1, maxLength: 20 }).map(packets => ({ do: 'send' as const, packets })) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 20 * MS }).map(by => ({ do: 'wait' as const, by })) },
  { weight: 1, arbitrary: fc.nat(40).map(room => ({ do: 'room' as const, room })) },
  { weight: 1, arbitrary: fc.constant({ do: 'open' as const }) },
  fc.constant({ do: 'flush' as const }),
), { minLength: 1, maxLength: 30 });

t.test('whatever the tree and the traffic: in = out + dropped + held everywhere, each flow of a class in order, all of it goes in the end', async t => {
  const tally = { sent: 0, went: 0 };
  fc.assert(fc.property(tree, steps, (spec, list) => {
    const bench = new QdiscBench(spec, { mbufs: 512 });
    const flowOf = new Map<number, string>();
    for (const step of list) {
      if (step.do === 'send') bench.send(...step.packets).forEach((id, i) => flowOf.set(id, `${step.packets[i]!.mark}/${step.packets[i]!.flow}`));
      else if (step.do === 'room') bench.sink.room = step.room;
      else if (step.do === 'open') bench.sink.room = Infinity;
      else if (step.do === 'flush') bench.queue.flush();
      else {
        bench.now += step.by;
        bench.queue.service();
      }
      bench.check();
    }
    bench.sink.room = Infinity;
    bench.queue.service();
    bench.runTo(bench.now + 3600e9);
    bench.check();
    if (bench.queue.packets !== 0) throw new Error(`${bench.queue.packets} never went:\n${bench.queue.show()}`);
    const last = new Map<string, number>();
    for (const { id } of bench.sink.arrivals) {
      const flow = flowOf.get(id)!;
      if (id < (last.get(flow) ?? 0)) throw new Error(`flow ${flow}: ${id} came after ${last.get(flow)}`);
      last.set(flow, id);
    }
    tally.sent += bench.sent;
    tally.went += bench.sink.arrivals.length;
    bench.close();
  }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 3000 : 150 });
  t.ok(tally.went > tally.sent / 10, `${tally.sent} packets, of which ${tally.went} went`);
});

t.test('it shows itself: text, JSON, xstats, and what it did after close', async t => {
  const bench = new QdiscBench({
    kind: 'htb', default: 'rest',
    classes: [{ name: 'line', rate: '10mbit', classes: [{ name: 'voice', rate: '1mbit', ceil: '10mbit', child: { kind: 'pfifo', limit: 1 } }, { name: 'rest', rate: '9mbit', child: { kind: 'fq_codel' } }] }],
  });
  bench.sink.room = 0;
  bench.send({ bytes: 100, mark: 0 }, { bytes: 100, mark: 0 }, { bytes: 200, mark: 1, flow: 1 });
  const text = bench.queue.show();
  for (const part of ['htb 0: in 3', 'class "voice" under "line": rate 1 Mbit/s, ceil 10 Mbit/s', 'pfifo 0.voice', 'dropped 1 limit', 'fq_codel 0.rest', 'flows 1024']) t.ok(text.includes(part), `${part}\n${text}`);
  t.same(JSON.parse(JSON.stringify(bench.queue)), JSON.parse(JSON.stringify(bench.queue.toJSON())));
  const stats = emptyStats();
  bench.queue.readStats(stats);
  t.match(stats.xstats, { qdisc_held: 2, qdisc_sent: 0, qdisc_dropped_limit: 1, qdisc_port_full: 1, qdisc_dropped_codel: 0 });
  bench.sink.room = Infinity;
  bench.queue.service();
  bench.close();
  t.equal(bench.queue.toJSON().sentPackets, 2);
  t.ok(bench.queue.show().includes('sent 2'));
});

t.test('in front of real ports, and one that is closed under it', async t => {
  const host = open(['ring:a', 'null:', 'pcap:,tx=/dev/null'], { mbufs: 1024 });
  const burst = host.burst(32);
  for (const port of host.ports) {
    const queue = new QdiscQueue(host.pool, port.tx[0]!, { kind: 'drr', classes: [{}, {}], classify: 'hash' });
    host.pool.alloc(burst, 32);
    for (let i = 0; i < 32; i++) host.mbufs.copyIn(burst.handles[i]!, udp(i, 100));
    t.equal(queue.txBurst(burst, 32), 32);
    t.equal(host.stats(port).txPackets, 32, port.name);
    port.close();
    host.pool.alloc(burst, 32);
    for (let i = 0; i < 32; i++) host.mbufs.copyIn(burst.handles[i]!, udp(i, 100));
    t.equal(queue.txBurst(burst, 32), 32);
    t.equal(queue.packets, 32, 'a closed port takes nothing: they wait');
    t.equal(queue.service(), 0);
    queue.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
  host.close();
});

t.test('a tree in front of a tree', async t => {
  const host = open(['null:'], { mbufs: 512 });
  const inner = new QdiscQueue(host.pool, host.ports[0]!.tx[0]!, { kind: 'pfifo', limit: 8 });
  const outer = new QdiscQueue(host.pool, inner, { kind: 'prio', bands: [{ kind: 'pfifo' }, { kind: 'pfifo' }] });
  const burst = host.burst(32);
  host.pool.alloc(burst, 32);
  t.equal(outer.txBurst(burst, 32), 32);
  t.match(inner.toJSON(), { sentPackets: 8, root: { drops: { limit: 24 } } }, 'it takes what a queue takes, and drops by its own limit');
  outer.close();
  inner.close();
  t.equal(host.pool.audit().free, host.pool.size);
  host.close();
});
