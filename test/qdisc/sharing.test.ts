/** DRR and HTB: who gets how much. */
import fc from 'fast-check';
import t from 'tap';
import type { HtbClassSpec, QdiscSpec } from '../../lib/qdisc/spec.js';
import { QdiscBench } from './bench_helper.js';

const MS = 1e6;
const SECOND = 1e9;

/** Bytes by mark from one time on. */
function shares(bench: QdiscBench, from: number, marks: number): number[] {
  const bytes = new Array<number>(marks).fill(0);
  for (const { time, mark, bytes: each } of bench.sink.arrivals) if (time >= from && mark >= 0) bytes[mark]! += each;
  return bytes;
}

/** Keeps these classes busy for so long: each has `depth` packets waiting at any time. */
function saturate(bench: QdiscBench, marks: readonly number[], sizes: (mark: number) => number, until: number, depth = 20): void {
  const waiting = new Map(marks.map(mark => [mark, 0]));
  let seen = bench.sink.arrivals.length;
  while (bench.now < until) {
    for (const { mark } of bench.sink.arrivals.slice(seen)) if (waiting.has(mark)) waiting.set(mark, waiting.get(mark)! - 1);
    seen = bench.sink.arrivals.length;
    for (const [mark, count] of waiting) {
      if (count >= depth) continue;
      waiting.set(mark, count + bench.send(...Array.from({ length: depth - count }, () => ({ bytes: sizes(mark), mark }))).length);
    }
    bench.runTo(Math.min(until, Math.max(bench.now + 1, Math.min(bench.queue.deadline, bench.now + 5 * MS))));
  }
}

t.test('DRR shares in bytes, by quantum, whatever the packets\' sizes', async t => {
  fc.assert(fc.property(fc.array(fc.record({ quantum: fc.integer({ min: 300, max: 4000 }), least: fc.integer({ min: 60, max: 1500 }), spread: fc.nat(14) }), { minLength: 2, maxLength: 5 }), classes => {
    const bench = new QdiscBench({ kind: 'tbf', rate: '100mbit', burst: 2000, child: { kind: 'drr', classes } }, { mbufs: 1024 });
    let turn = 0;
    saturate(bench, classes.map((_, i) => i), mark => Math.min(1514, classes[mark]!.least + (turn++ % (classes[mark]!.spread + 1))), SECOND / 4);
    const bytes = shares(bench, 0, classes.length);
    const sum = classes.reduce((total, { quantum }) => total + quantum, 0);
    // A class is never further from its share than a quantum and a packet, each way.
    classes.forEach(({ quantum }, mark) => {
      const due = bytes.reduce((a, b) => a + b) * quantum / sum;
      if (Math.abs(bytes[mark]! - due) > 3 * (quantum + 1514)) throw new Error(`class ${mark} had ${bytes[mark]} of ${due.toFixed(0)}`);
    });
    bench.queue.flush();
    bench.close();
  }), { numRuns: 15 });
  t.pass();
});

t.test('DRR: a class that waits in a shaper does not hold the others up', async t => {
  const bench = new QdiscBench({ kind: 'drr', classes: [{ child: { kind: 'tbf', rate: '1mbit', burst: 1514 } }, {}] });
  bench.send({ bytes: 1000, mark: 0 }, { bytes: 1000, mark: 0 }, { bytes: 1000, mark: 1 }, { bytes: 1000, mark: 1 }, { bytes: 60, mark: 9 });
  t.same(bench.sink.arrivals.map(({ mark }) => mark), [0, 1, 1]);
  t.equal(bench.queue.toJSON().root.drops['unclassified'], 1);
  bench.runTo(100 * MS);
  t.equal(bench.sink.arrivals.length, 4);
  bench.close();
});

const within = (value: number, wanted: number, part: number): boolean => Math.abs(value - wanted) <= wanted * part;

function htb(classes: readonly HtbClassSpec[]): QdiscSpec {
  return { kind: 'htb', classes };
}

/** tc-htb(8) and the user guide: "the minimum of what it asks for and what is assigned to it"; the rest is divided among those who want it. */
t.test('HTB: each has its rate, and what is over goes by quantum', async t => {
  const bench = new QdiscBench(htb([{
    name: 'line', rate: '10mbit', classes: [
      { name: 'a', rate: '2mbit', ceil: '10mbit', quantum: 3000 }, { name: 'b', rate: '4mbit', ceil: '10mbit', quantum: 1500 }, { name: 'c', rate: '4mbit', ceil: '10mbit' },
    ],
  }]), { mbufs: 1024 });
  saturate(bench, [0, 1], () => 1000, 2 * SECOND);
  // c is idle: its 4 Mbit/s go 2 to 1 to a and b.
  const rates = shares(bench, SECOND, 3).map(bytes => bytes * 8 / 1e6);
  t.ok(within(rates[0]! + rates[1]!, 10, 0.01), `the line is full: ${rates.map(rate => rate.toFixed(2)).join(', ')} Mbit/s`);
  t.ok(within(rates[0]!, 2 + 4 * 2 / 3, 0.03) && within(rates[1]!, 4 + 4 / 3, 0.03), rates.join());
  bench.queue.flush();
  bench.now += SECOND;
  const start = bench.now;
  saturate(bench, [0, 1, 2], () => 1000, start + 2 * SECOND);
  const all = shares(bench, start + SECOND, 3).map(bytes => bytes * 8 / 1e6);
  t.ok(within(all[0]!, 2, 0.02) && within(all[1]!, 4, 0.02) && within(all[2]!, 4, 0.02), `all want more: ${all.join()}`);
  bench.queue.flush();
  bench.close();
});

t.test('HTB: the ceil is the end of borrowing, also through a hierarchy', async t => {
  const bench = new QdiscBench(htb([{
    name: 'line', rate: '20mbit', classes: [
      { name: 'x', rate: '10mbit', ceil: '12mbit', classes: [{ name: 'x1', rate: '5mbit', ceil: '20mbit' }, { name: 'x2', rate: '5mbit', ceil: '7mbit' }] },
      { name: 'y', rate: '10mbit', ceil: '20mbit' },
    ],
  }]), { mbufs: 1024 });
  const run = (marks: readonly number[]): number[] => {
    const start = bench.now;
    saturate(bench, marks, () => 1200, start + 2 * SECOND);
    const result = shares(bench, start + SECOND, 3).map(bytes => bytes * 8 / 1e6);
    bench.queue.flush();
    bench.now += SECOND;
    return result;
  };
  const alone = run([0]);
  t.ok(within(alone[0]!, 12, 0.01), `x1 alone has its parent's ceil: ${alone.join()}`);
  const second = run([1]);
  t.ok(within(second[1]!, 7, 0.01), `x2 alone its own: ${second.join()}`);
  const three = run([0, 1, 2]);
  t.ok(within(three[2]!, 10, 0.02) && within(three[0]! + three[1]!, 10, 0.02), `all three: ${three.join()}`);
  const yAlone = run([2]);
  t.ok(within(yAlone[2]!, 20, 0.01), `y alone: ${yAlone.join()}`);
  t.match(bench.queue.toJSON().root, { classes: [{ name: 'line' }, { name: 'x', borrowed: Number }, {}, {}, {}] });
  bench.close();
});

t.test('HTB: priority decides who borrows first, and takes nobody\'s own rate', async t => {
  const bench = new QdiscBench(htb([{
    name: 'line', rate: '10mbit', classes: [{ name: 'low', rate: '2mbit', ceil: '10mbit', priority: 5 }, { name: 'high', rate: '2mbit', ceil: '10mbit', priority: 0 }],
  }]), { mbufs: 1024 });
  saturate(bench, [0, 1], () => 1000, 2 * SECOND);
  const [low, high] = shares(bench, SECOND, 2).map(bytes => bytes * 8 / 1e6);
  t.ok(within(low!, 2, 0.02) && within(high!, 8, 0.02), `low ${low}, high ${high} Mbit/s`);
  bench.queue.flush();
  bench.close();
});

t.test('HTB: a class without a parent borrows from nobody; a default; what is unclassified', async t => {
  const bench = new QdiscBench({ kind: 'htb', default: 'b', classes: [{ name: 'a', rate: '1mbit', ceil: '5mbit', burst: 1000, ceilBurst: 1000 }, { name: 'b', rate: '2mbit' }] }, { mbufs: 1024 });
  saturate(bench, [0, 5], () => 1000, 2 * SECOND);
  const rates = shares(bench, SECOND, 6).map(bytes => bytes * 8 / 1e6);
  t.ok(within(rates[0]!, 1, 0.02) && within(rates[5]!, 2, 0.02), rates.join());
  bench.queue.flush();
  bench.close();
  const strict = new QdiscBench({ kind: 'htb', classes: [{ name: 'a', rate: '1mbit' }] });
  strict.send({ bytes: 100 }, { bytes: 100, mark: 1 });
  t.equal(strict.queue.toJSON().root.drops['unclassified'], 2);
  strict.close();
});

/** Against a reckoning from tc-htb(8): by priority alone, no class may exceed its ceil, and rates that fit are had. */
t.test('property: no class beyond its ceil or its parent\'s, none of the busy ones below its rate, the line full when it can be', async t => {
  const leaf = fc.record({ rate: fc.integer({ min: 1, max: 5 }), factor: fc.integer({ min: 1, max: 4 }), priority: fc.nat(7), bytes: fc.integer({ min: 200, max: 1500 }), busy: fc.boolean() });
  fc.assert(fc.property(fc.array(leaf, { minLength: 1, maxLength: 6 }), fc.nat(5), (leaves, extra) => {
    const sum = leaves.reduce((total, { rate }) => total + rate, 0);
    const line = sum + extra;
    const bench = new QdiscBench(htb([{
      name: 'line', rate: line * 1e6, classes: leaves.map(({ rate, factor, priority }, i) => ({ name: `leaf ${i}`, rate: rate * 1e6, ceil: rate * factor * 1e6, priority })),
    }]), { mbufs: 1024 });
    const busy = leaves.flatMap((each, i) => (each.busy ? [i] : []));
    saturate(bench, busy, mark => leaves[mark]!.bytes, 3 * SECOND);
    const rates = shares(bench, SECOND, leaves.length).map(bytes => bytes * 8 / 2e6);
    const can = busy.reduce((total, i) => total + leaves[i]!.rate * leaves[i]!.factor, 0);
    const found = rates.reduce((a, b) => a + b, 0);
    if (busy.length > 0 && !within(found, Math.min(can, line), 0.02)) throw new Error(`${found} Mbit/s in all, of ${Math.min(can, line)}`);
    for (const i of busy) {
      const { rate, factor } = leaves[i]!;
      if (rates[i]! > rate * factor * 1.02) throw new Error(`leaf ${i}: ${rates[i]} beyond its ceil of ${rate * factor}`);
      if (rates[i]! < rate * 0.97) throw new Error(`leaf ${i}: ${rates[i]} below its rate of ${rate}`);
    }
    bench.queue.flush();
    bench.close();
  }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 200 : 12 });
  t.pass();
});

t.test('a thousand classes, each at its rate', async t => {
  const classes = Array.from({ length: 1000 }, (_, i) => ({ name: `c${i}`, rate: '100kbit', ceil: '200kbit' }));
  const bench = new QdiscBench(htb([{ name: 'line', rate: '100mbit', classes }]), { mbufs: 4096 });
  saturate(bench, Array.from({ length: 1000 }, (_, i) => i), () => 500, SECOND, 2);
  const bytes = shares(bench, SECOND / 2, 1000);
  const rates = bytes.map(each => each * 8 * 2 / 1e3);
  t.ok(Math.min(...rates) > 80 && Math.max(...rates) < 120, `${Math.min(...rates)} to ${Math.max(...rates)} kbit/s in half a second (a packet is 8)`);
  bench.queue.flush();
  bench.close();
});
