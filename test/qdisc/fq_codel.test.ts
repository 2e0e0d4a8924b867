import fc from 'fast-check';
import t from 'tap';
import type { Burst } from '../../lib/burst/burst.js';
import { open } from '../../lib/port/host.js';
import { QdiscQueue } from '../../lib/qdisc/tree.js';
import { QdiscBench, ipChecksum, udp } from './bench_helper.js';

const MS = 1e6;

/**
 * CoDel as RFC 8289 section 5.5 writes it, over one queue of arrival times and sizes, with the RFC's names: which packets
 * are dropped when the queue is asked for one at the given times.
 */
class RfcCodel {
  readonly queue: { id: number; time: number; bytes: number }[] = [];
  readonly dropped: number[] = [];
  #firstAboveTime = 0;
  #dropNext = 0;
  #count = 0;
  #lastCount = 0;
  #dropping = false;

  readonly target: number;
  readonly interval: number;
  readonly maxPacket: number;

  constructor(target: number, interval: number, maxPacket: number) {
    [this.target, this.interval, this.maxPacket] = [target, interval, maxPacket];
  }

  #doDequeue(now: number): { packet: { id: number; time: number; bytes: number } | undefined; okToDrop: boolean } {
    const packet = this.queue.shift();
    if (packet === undefined) {
      this.#firstAboveTime = 0;
      return { packet, okToDrop: false };
    }
    const sojournTime = now - packet.time;
    const bytes = this.queue.reduce((sum, each) => sum + each.bytes, 0);
    let okToDrop = false;
    if (sojournTime < this.target || bytes <= this.maxPacket) this.#firstAboveTime = 0;
    else if (this.#firstAboveTime === 0) this.#firstAboveTime = now + this.interval;
    else if (now >= this.#firstAboveTime) okToDrop = true;
    return { packet, okToDrop };
  }

  #controlLaw(time: number, count: number): number {
    return time + this.interval / Math.sqrt(count);
  }

  dequeue(now: number): number | undefined {
    let result = this.#doDequeue(now);
    if (this.#dropping) {
      if (!result.okToDrop) this.#dropping = false;
      while (now >= this.#dropNext && this.#dropping) {
        this.dropped.push(result.packet!.id);
        this.#count++;
        result = this.#doDequeue(now);
        if (!result.okToDrop) this.#dropping = false;
        else this.#dropNext = this.#controlLaw(this.#dropNext, this.#count);
      }
    } else if (result.okToDrop) {
      this.dropped.push(result.packet!.id);
      result = this.#doDequeue(now);
      this.#dropping = true;
      const delta = this.#count - this.#lastCount;
      this.#count = delta > 1 && now - this.#dropNext < 16 * this.interval ? delta : 1;
      this.#dropNext = this.#controlLaw(now, this.#count);
      this.#lastCount = this.#count;
    }
    return result.packet?.id;
  }
}

/** The queue of one flow, asked for one packet at a time: the port has room for so many. */
function race(arrivals: readonly { readonly at: number; readonly bytes: readonly number[] }[], pulls: readonly number[], target: number, interval: number): { ours: number[]; theirs: number[]; drops: number } {
  const bench = new QdiscBench({ kind: 'fq_codel', flows: 1, targetMs: target, intervalMs: interval, quantum: 100000, ecn: false }, { burst: 1, mbufs: 4096 });
  const model = new RfcCodel(target * MS, interval * MS, 1514);
  const theirs: number[] = [];
  const events = [...arrivals.map(each => ({ time: each.at, bytes: each.bytes })), ...pulls.map(time => ({ time, bytes: undefined }))].sort((a, b) => a.time - b.time);
  // The tree offers what it dequeued to the port: a port without room keeps one packet waiting there, so it always has room for exactly one.
  for (const { time, bytes } of events) {
    bench.now = time;
    if (bytes !== undefined) {
      bench.sink.room = 0;
      for (let from = 0; from < bytes.length; from += 64) hold(bench, bytes.slice(from, from + 64)).forEach((id, i) => model.queue.push({ id, time, bytes: bytes[from + i]! }));
      continue;
    }
    const [before, dropped] = [bench.sink.arrivals.length, model.dropped.length];
    const theirId = model.dequeue(time);
    if (theirId !== undefined) theirs.push(theirId);
    pull(bench);
    if (bench.sink.arrivals.length - before !== (theirId === undefined ? 0 : 1)) throw new Error(`at ${time}: we sent ${bench.sink.arrivals.length - before}, the RFC ${String(theirId)}`);
    if (bench.queue.toJSON().root.drops['codel'] !== model.dropped.length) throw new Error(`at ${time}: ${bench.queue.toJSON().root.drops['codel']} drops, the RFC has ${model.dropped.length} (${dropped} before)`);
  }
  const ours = bench.sink.arrivals.map(({ id }) => id);
  bench.check();
  bench.close();
  return { ours, theirs, drops: model.dropped.length };
}

/** Into the discipline, and nothing out of it: the tree does not serve meanwhile. */
function holding<T>(bench: QdiscBench, work: () => T): T {
  const tree = bench.queue as unknown as { serve?: () => number; memory: { flush(): void } };
  tree.serve = () => 0;
  const result = work();
  delete tree.serve;
  tree.memory.flush();
  return result;
}

function hold(bench: QdiscBench, bytes: readonly number[]): number[] {
  return holding(bench, () => bench.send(...bytes.map(each => ({ bytes: each }))));
}

/** One dequeue: the port takes one, and then the tree is not asked again. */
function pull(bench: QdiscBench): void {
  const { root, memory } = bench.queue as unknown as { root: { dequeue(): number }; memory: { takeEntry(entry: number): number; flush(): void } };
  const tree = bench.queue as unknown as { tick(): void; sent: number };
  tree.tick();
  const entry = root.dequeue();
  memory.flush();
  if (entry === 0) return;
  bench.burst.handles[0] = memory.takeEntry(entry);
  bench.sink.room = 1;
  tree.sent += bench.sink.txBurst(bench.burst, 1);
}

t.test('CoDel drops what RFC 8289\'s pseudocode drops: a queue that stands for seconds, twice', async t => {
  const arrivals = Array.from({ length: 2000 }, (_, i) => ({ at: (i < 1000 ? i : i + 1500) * MS, bytes: [1000, 1000] }));
  const pulls = Array.from({ length: 5500 }, (_, i) => i * 0.9 * MS + 1);
  const { ours, theirs, drops } = race(arrivals, pulls, 5, 100);
  t.same(ours, theirs);
  t.ok(drops > 30, `${drops} drops`);
});

t.test('the drops come nearer as the interval over the square root of their count', async t => {
  const bench = new QdiscBench({ kind: 'fq_codel', flows: 1, ecn: false, quantum: 100000 }, { mbufs: 4096 });
  hold(bench, new Array<number>(64).fill(1000));
  const times: number[] = [];
  for (let ms = 1; ms < 1000; ms++) {
    bench.now = ms * MS;
    hold(bench, [1000, 1000]);
    const before = bench.queue.toJSON().root.drops['codel']!;
    pull(bench);
    if (bench.queue.toJSON().root.drops['codel']! > before) times.push(ms);
  }
  // A packet of the first 64 is above the target from 5 ms on; one interval later the first drop.
  t.equal(times[0], 105);
  let next = 105;
  for (let i = 1; i < times.length; i++) {
    next += 100 / Math.sqrt(i);
    t.ok(Math.abs(times[i]! - next) <= 1, `drop ${i + 1} at ${times[i]} ms, by the control law at ${next.toFixed(2)}`);
  }
  t.ok(times.length > 20, `${times.length} drops`);
  bench.queue.flush();
  bench.close();
});

t.test('property: the same as the RFC for any arrivals and departures', async t => {
  const tally = { drops: 0, packets: 0 };
  const gaps = (most: number, maxLength: number): fc.Arbitrary<number[]> => fc.array(fc.integer({ min: 0, max: most }), { minLength: 5, maxLength, size: 'max' });
  fc.assert(fc.property(gaps(20, 200), gaps(8, 400), fc.array(fc.array(fc.integer({ min: 60, max: 1514 }), { minLength: 1, maxLength: 12, size: 'max' }), { minLength: 200, maxLength: 200, size: 'max' }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 8, max: 40 }), (inGaps, outGaps, sizes, target, interval) => {
    const times = (list: readonly number[], shift: number): number[] => {
      let sum = 0;
      return list.map(gap => (sum += gap) * MS + shift);
    };
    const { ours, theirs, drops } = race(times(inGaps, 0).map((at, i) => ({ at, bytes: sizes[i % sizes.length]! })), times(outGaps, 1), target, interval);
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) throw new Error(`${ours.join()}\n${theirs.join()}`);
    tally.drops += drops;
    tally.packets += theirs.length;
  }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 2000 : 60 });
  t.ok(tally.drops > 50, `${tally.drops} drops beside ${tally.packets} packets`);
});

t.test('a sparse flow stays within 5 ms beside a saturating one', async t => {
  // 10 Mbit/s; a packet of 1514 bytes takes 1.2 ms. 600 packets a second of the fat flow's arrive each 100 ms, all at once; it is a third too much.
  const bench = new QdiscBench({ kind: 'tbf', rate: '10mbit', burst: 3028, child: { kind: 'fq_codel', limit: 1000 } }, { mbufs: 4096 });
  const sent = new Map<number, number>();
  for (let ms = 0; ms < 5000; ms += 2) {
    bench.runTo(ms * MS);
    if (ms % 100 === 0) for (let i = 0; i < 2; i++) bench.send(...Array.from({ length: 60 }, () => ({ bytes: 1514, flow: 1 })));
    if (ms % 20 === 0) bench.send({ bytes: 200, flow: 2, mark: 7 }).forEach(id => sent.set(id, ms * MS));
  }
  bench.runTo(6e9);
  const delays = bench.sink.arrivals.filter(({ mark }) => mark === 7).map(({ id, time }) => (time - sent.get(id)!) / MS);
  t.equal(delays.length, sent.size, 'none of it is dropped');
  t.ok(Math.max(...delays) < 5, `longest ${Math.max(...delays).toFixed(2)} ms`);
  const fat = bench.sink.arrivals.filter(({ mark }) => mark !== 7).length;
  t.ok(fat > 3500, `the saturating flow still fills the line: ${fat} packets`);
  t.ok(bench.queue.toJSON().root.children[0]!.drops['codel']! > 50);
  bench.close();
});

t.test('in a pfifo of the same size it would wait for hundreds of milliseconds', async t => {
  const bench = new QdiscBench({ kind: 'tbf', rate: '10mbit', burst: 3028, child: { kind: 'pfifo', limit: 1000 } }, { mbufs: 4096 });
  for (let i = 0; i < 5; i++) bench.send(...Array.from({ length: 60 }, () => ({ bytes: 1514, flow: 1 })));
  bench.send({ bytes: 200, flow: 2, mark: 7 });
  bench.runTo(6e9);
  t.ok(bench.sink.arrivals.find(({ mark }) => mark === 7)!.time > 300 * MS, 'so the test above tells the two apart');
  bench.close();
});

t.test('over the limit the fattest flow loses from its front, in batches', async t => {
  const bench = new QdiscBench({ kind: 'fq_codel', limit: 100 }, { mbufs: 1024 });
  const of = (count: number, bytes: number, flow: number): { bytes: number; flow: number }[] => Array.from({ length: count }, () => ({ bytes, flow }));
  const fat = holding(bench, () => {
    bench.send(...of(10, 100, 2));
    return [...bench.send(...of(60, 1000, 1)), ...bench.send(...of(31, 1000, 1))];
  });
  t.equal(bench.queue.toJSON().root.drops['overlimit'], 45, 'half of its 91');
  bench.check();
  bench.queue.service();
  const ids = bench.sink.arrivals.map(({ id }) => id);
  t.same(ids.filter(id => id > 10), fat.slice(45), 'the newest of it are left');
  t.equal(ids.filter(id => id <= 10).length, 10, 'the thin flow lost nothing');
  bench.close();
});

t.test('ECN-capable packets are marked instead, their checksum with them', async t => {
  const bench = new QdiscBench({ kind: 'fq_codel', flows: 1 }, { mbufs: 2048 });
  const marked: number[] = [];
  let wrong = 0;
  bench.looked = handle => {
    const at = bench.pool.mbufs.data(handle);
    const header = bench.arena.u8.slice(at + 14, at + 34);
    if (ipChecksum(header) !== ((header[10]! << 8) | header[11]!)) wrong++;
    marked.push(header[1]! & 3);
  };
  for (let i = 0; i < 20; i++) holding(bench, () => bench.send(...Array.from({ length: 60 }, (_, each) => ({ bytes: 1000, flow: 1, ecn: 0x10 | each % 4 }))));
  for (let ms = 0; ms < 600; ms++) {
    bench.now = ms * MS;
    pull(bench);
  }
  const { drops, state } = bench.queue.toJSON().root;
  t.ok(Number(state['marked']) > 5, `${String(state['marked'])} marked`);
  t.ok(drops['codel']! > 0, `${drops['codel']} that were not capable were dropped`);
  t.equal(wrong, 0);
  t.ok(marked.filter(bits => bits === 3).length > marked.filter(bits => bits === 0).length, 'more CE than there were');
  bench.queue.flush();
  bench.close();
});

t.test('property: the incremental checksum of a mark is the whole one', async t => {
  const bench = new QdiscBench({ kind: 'fq_codel', flows: 1 });
  const { markCongestion } = await import('../../lib/qdisc/ip.js');
  bench.pool.alloc(bench.burst, 1);
  const handle = bench.burst.handles[0]!;
  bench.pool.mbufs.append(handle, 60);
  fc.assert(fc.property(fc.nat(0xffff), fc.nat(255), fc.nat(0xffff), (flow, tos, noise) => {
    const frame = udp(flow, 60, tos);
    [frame[18], frame[19]] = [noise >> 8, noise & 255];
    const before = ipChecksum(frame.subarray(14, 34));
    [frame[24], frame[25]] = [before >> 8, before & 255];
    const at = bench.pool.mbufs.data(handle);
    bench.arena.u8.set(frame, at);
    const capable = markCongestion(bench.pool.mbufs, handle);
    const header = bench.arena.u8.slice(at + 14, at + 34);
    if (capable !== ((tos & 3) !== 0)) throw new Error('capable?');
    if ((header[1]! & 3) !== ((tos & 3) === 0 ? 0 : 3) || header[1]! >> 2 !== tos >> 2) throw new Error(`tos ${tos} became ${header[1]}`);
    const found = (header[10]! << 8) | header[11]!;
    // 0 and 0xffff are the same number in one's complement.
    if (ipChecksum(header) % 0xffff !== found % 0xffff) throw new Error(`checksum ${found}, not ${ipChecksum(header)}`);
  }));
  bench.pool.free(bench.burst, 0, 1);
  bench.close();
  t.pass();
});

t.test('a packet that others hold too is dropped and not marked: what they have stays as it is', async t => {
  const host = open([], { mbufs: 256 });
  let [now, room] = [0, 0];
  const port = { txBurst(burst: Burst, count: number): number {
    const taken = Math.min(count, room);
    host.pool.free(burst, 0, taken);
    room -= taken;
    return taken;
  } };
  const queue = new QdiscQueue(host.pool, port, { kind: 'fq_codel', flows: 1 }, { clock: () => now, burst: 1 });
  const burst = host.burst(60);
  host.pool.alloc(burst, 60);
  const held = Array.from(burst.handles);
  const frame = new Uint8Array(1000);
  frame.set(udp(1, 1000, 2));
  for (const handle of held) {
    host.mbufs.copyIn(handle, frame);
    host.mbufs.hold(handle);
  }
  queue.txBurst(burst, 60);
  for (let ms = 0; ms < 600; ms++) {
    [now, room] = [ms * MS, ms % 10 === 0 ? 1 : 0];
    queue.service();
  }
  const { drops, state } = queue.toJSON().root;
  t.ok(drops['codel']! > 3 && state['marked'] === 0, `${drops['codel']} dropped, ${String(state['marked'])} marked`);
  t.same(held.filter(handle => host.mbufs.u8[host.mbufs.data(handle) + 15] !== 2), []);
  queue.close();
  burst.handles.set(held);
  host.pool.free(burst, 0, 60);
  t.equal(host.pool.audit().free, 256);
  host.close();
});
