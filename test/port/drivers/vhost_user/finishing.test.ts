/** What a vhost port's queues do with packets that want something nobody does: nothing is lost, nothing overtakes, no mbuf stays behind. The ring is a stand-in here; the burst functions have their own tests. */
import fc from 'fast-check';
import t from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { Burst } from '../../../../lib/burst/burst.js';
import { Chains } from '../../../../lib/mbuf/chains.js';
import { MBUF_OL_FLAGS, MBUF_TSO_SEGSZ, TX_OFFLOADS, TX_TCP_CKSUM, TX_TCP_SEG } from '../../../../lib/mbuf/layout.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { FinishingReceiver, FinishingSender } from '../../../../lib/port/drivers/vhost/finishing.js';
import { QUEUE_BYTES_TOTAL, QUEUE_POOL } from '../../../../lib/port/layout.js';
import { QueueView } from '../../../../lib/port/queue_view.js';
import { VQ_FINISHED, VQ_PIECES, VQ_UNFINISHABLE, VQ_UNFINISHED } from '../../../../lib/virtqueue/layout.js';
import * as build from '../../../../lib/wire/build.js';

const arena = Arena.create({ size: 64 << 20 });
const pool = Mempool.create(arena, 'pool', { count: 1024, cache: 0 });
const chains = new Chains(pool);
const single = pool.burst(1);
const everything = pool.audit().free;
let queues = 0;

/** A packet by its number: its payload begins with it. `segments` 0: it wants nothing; 1: a checksum; more: to be cut. Segments of 0 bytes cannot be. */
interface Made { readonly segments: number; readonly bad: boolean }
const made: fc.Arbitrary<Made> = fc.record({ segments: fc.constantFrom(0, 0, 1, 2, 5, 20), bad: fc.nat(9).map(draw => draw === 0) });

function make({ segments, bad }: Made, number: number): number {
  if (pool.alloc(single, 1) === 0) throw new Error('the pool is dry');
  const handle = single.handles[0]!;
  const payload = new Uint8Array(100 * Math.max(1, segments)).fill(number);
  chains.copyIn(handle, build.frame(build.ethernet(), build.ipv4({ source: '192.0.2.1', destination: '192.0.2.2' }), build.tcp({ sourcePort: 1, destinationPort: 2 }), payload));
  const header = pool.mbufs.header(handle);
  pool.mbufs.u32[(header + MBUF_OL_FLAGS) >>> 2] = segments === 0 ? 0 : TX_TCP_CKSUM | (segments > 1 ? TX_TCP_SEG : 0);
  pool.mbufs.u16[(header + MBUF_TSO_SEGSZ) >>> 1] = bad && segments > 1 ? 0 : 100;
  return handle;
}

/** Numbers as they come out, one for each segment. */
const expected = (packets: readonly Made[]): number[] => packets.flatMap(({ segments, bad }, i) => Array.from({ length: bad && segments > 1 ? 1 : Math.max(1, segments) }, () => i & 0xff));

const numberOf = (handle: number): number => {
  const bytes = chains.copyOut(handle);
  return bytes[bytes.length - 1]!;
};

function state(): QueueView {
  const zone = arena.reserve(`test/queue/${queues++}`, QUEUE_BYTES_TOTAL, { align: 64 });
  const view = new QueueView(arena, zone.offset, 'rx');
  view.set(QUEUE_POOL, pool.offset);
  return view;
}

function release(view: QueueView): void {
  arena.release(arena.zones().find(({ offset }) => offset === view.offset)!);
}

function checkOut(handle: number): number {
  if ((pool.mbufs.flags(handle) & TX_OFFLOADS) !== 0) throw new Error('it wants something still');
  const number = numberOf(handle);
  single.handles[0] = handle;
  pool.free(single, 0, 1);
  return number;
}

t.test('received: the program sees packets that want nothing, in order', async t => {
  let most = 0;
  fc.assert(fc.property(fc.array(made, { maxLength: 25 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 4, maxLength: 4 }), (packets, counts) => {
    const view = state();
    const burst = new Burst(arena, 40);
    let next = 0;
    const receiver = new FinishingReceiver(view, {
      call(into: Burst, count: number): number {
        const got = Math.min(count, packets.length - next, 7);
        let flagged = 0;
        for (let i = 0; i < got; i++) {
          if (packets[next]!.segments > 0) flagged++;
          into.handles[i] = make(packets[next]!, next++ & 0xff);
        }
        view.set(VQ_UNFINISHED, flagged);
        return got;
      },
    });
    const seen: number[] = [];
    for (let i = 0; next < packets.length || receiver.hasMore; i++) {
      const count = counts[i % 4]!;
      const got = receiver.call(burst, count);
      if (got > count) throw new Error('more than were asked for');
      for (let k = 0; k < got; k++) seen.push(checkOut(burst.handles[k]!));
      if (i > 1000) throw new Error('no end');
    }
    const wanted = expected(packets);
    if (seen.join() !== wanted.join()) throw new Error(`${seen.join()} and not ${wanted.join()}`);
    most = Math.max(most, view.counter(VQ_PIECES) - view.counter(VQ_FINISHED));
    // What waits at a close is the pool's again.
    if (packets.length > 0) {
      next = 0;
      for (let k = receiver.call(burst, 1); k > 0; k--) checkOut(burst.handles[k - 1]!);
    }
    receiver.close();
    burst.close();
    release(view);
    if (pool.audit().free !== everything) throw new Error(`${pool.audit().free} free of ${everything}`);
  }), { numRuns: 300 });
  t.ok(most > 20, `up to ${most} more than came`);
});

t.test('sent: the guest gets packets that want nothing, in order; what it has no room for waits', async t => {
  let waited = 0;
  fc.assert(fc.property(fc.array(made, { minLength: 1, maxLength: 25 }), fc.array(fc.nat(12), { minLength: 5, maxLength: 5 }).filter(rooms => rooms.some(room => room > 0)), (packets, rooms) => {
    const view = state();
    const burst = new Burst(arena, 32);
    const seen: number[] = [];
    let [round, room] = [0, 0];
    const callFrom = (from: Burst, start: number, count: number): number => {
      view.set(VQ_UNFINISHED, 0);
      let taken = 0;
      for (; taken < count && room > 0; taken++, room--) {
        if ((pool.mbufs.flags(from.handles[start + taken]!) & TX_OFFLOADS) !== 0) {
          view.set(VQ_UNFINISHED, 1);
          break;
        }
        seen.push(checkOut(from.handles[start + taken]!));
      }
      return taken;
    };
    const sender = new FinishingSender(view, { callFrom });
    packets.forEach((packet, i) => { burst.handles[i] = make(packet, i & 0xff); });
    let left = packets.length;
    for (; left > 0 || seen.length < expected(packets).length; round++) {
      room = rooms[round % 5]!;
      left = burst.keep(sender.call(burst, left), left);
      if (left === 0 && seen.length < expected(packets).length) waited++;
      if (round > 1000) throw new Error('no end');
    }
    if (seen.join() !== expected(packets).join()) throw new Error(`${seen.join()} and not ${expected(packets).join()}`);
    // What waits at a close is the pool's again.
    burst.handles[0] = make({ segments: 20, bad: false }, 1);
    room = 5;
    if (sender.call(burst, 1) !== 1) throw new Error('not taken');
    sender.close();
    burst.close();
    release(view);
    if (pool.audit().free !== everything) throw new Error(`${pool.audit().free} free of ${everything}`);
    if (view.counter(VQ_UNFINISHABLE) !== 0) throw new Error('something was dropped');
  }), { numRuns: 300 });
  t.ok(waited > 20, `${waited} times the last packets waited`);
});
