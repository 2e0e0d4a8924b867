import fc from 'fast-check';
import t from 'tap';
import { Arena, MAX_ARENA, MIN_ARENA } from '../../lib/arena/arena.js';
import { MBUF_DATA_LEN, MBUF_HASH, MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_TIMESTAMP, MBUF_VLAN_TCI } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';

const POOLS = [
  { bufferSize: 2048, high: false }, { bufferSize: 4096, high: false }, { bufferSize: 2048, high: true }, { bufferSize: 4096, high: true },
];

function poolOf({ bufferSize, high }: { bufferSize: number; high: boolean }): Mempool {
  const arena = Arena.create({ size: high ? MAX_ARENA : MIN_ARENA });
  if (high) arena.reserve('below', 2 ** 31);
  return Mempool.create(arena, 'pool', { count: 32, bufferSize });
}

/** Lengths that fit, that just do not, and that are none. */
const lengths = fc.oneof(
  { weight: 6, arbitrary: fc.nat(300) }, { weight: 2, arbitrary: fc.nat(4200) }, { weight: 1, arbitrary: fc.constantFrom(-1, 0.5, 1.5, NaN, Infinity, 65536, 2 ** 32, 2 ** 32 + 1, -(2 ** 31)) },
);
const operations = fc.array(fc.record({ do: fc.constantFrom('prepend' as const, 'adjust' as const, 'append' as const, 'trim' as const), length: lengths }), { minLength: 1, maxLength: 40, size: 'max' });

for (const options of POOLS) {
  t.test(`prepend, adjust, append and trim against a plain array: buffers of ${options.bufferSize}${options.high ? ' above 2 GiB' : ''}`, async t => {
    const pool = poolOf(options);
    const { mbufs, arena } = pool;
    const burst = pool.burst(1);
    const tally = { done: 0, refused: 0 };
    let fill = 0;
    fc.assert(fc.property(operations, list => {
      if (pool.alloc(burst, 1) !== 1) throw new Error('dry');
      const handle = burst.handles[0]!;
      let [front, frame] = [256, [] as number[]];
      for (const { do: call, length } of list) {
        const whole = Number.isInteger(length) && length >= 0;
        const room = { prepend: front, adjust: frame.length, append: options.bufferSize - front - frame.length, trim: frame.length }[call];
        const wanted = whole && length <= room;
        const at = mbufs[call](handle, length);
        if ((at !== 0 && at !== false) !== wanted) throw new Error(`${call} of ${length} with room for ${room} gave ${String(at)}`);
        tally[wanted ? 'done' : 'refused']++;
        const fresh = wanted && (call === 'prepend' || call === 'append') ? Array.from({ length }, () => fill++ & 0xff) : [];
        if (wanted) {
          if (call === 'prepend') [front, frame] = [front - length, [...fresh, ...frame]];
          if (call === 'append') frame = [...frame, ...fresh];
          if (call === 'adjust') [front, frame] = [front + length, frame.slice(length)];
          if (call === 'trim') frame = frame.slice(0, frame.length - length);
          if (call !== 'trim') arena.u8.set(fresh, at as number);
        }
        const start = handle * 2048 + front;
        if (call !== 'trim' && wanted && at !== (call === 'append' ? start + frame.length - length : start)) throw new Error(`${call} gave ${String(at)}`);
        const found = [mbufs.data(handle), mbufs.headroom(handle), mbufs.dataLen(handle), mbufs.pktLen(handle), mbufs.tailroom(handle), ...mbufs.copyOut(handle)];
        const expected = [start, front, frame.length, frame.length, options.bufferSize - front - frame.length, ...frame];
        if (String(found) !== String(expected)) throw new Error(`after ${call} of ${length}: ${found.slice(0, 5).join()}, wanted ${expected.slice(0, 5).join()}`);
      }
      pool.free(burst, 0, 1);
    }), { numRuns: 150 });
    t.ok(tally.done > 500 && tally.refused > 300, `${tally.done} done, ${tally.refused} refused`);
    t.match(pool.audit(), { free: 32, twice: 0 });
    pool.close();
    arena.close();
  });

  t.test(`a fresh mbuf's fields, and each accessor its own: buffers of ${options.bufferSize}${options.high ? ' above 2 GiB' : ''}`, async t => {
    const pool = poolOf(options);
    const { mbufs, arena } = pool;
    const burst = pool.burst(2);
    pool.alloc(burst, 2);
    const [handle, neighbour] = burst.handles as unknown as [number, number];
    const fields = (of: number): number[] => [
      mbufs.dataLen(of), mbufs.pktLen(of), mbufs.port(of), mbufs.flags(of), mbufs.hash(of), mbufs.packetType(of), mbufs.vlanTci(of), mbufs.timestampSeconds(of),
      mbufs.timestampNanoseconds(of), mbufs.refcnt(of), mbufs.segments(of), mbufs.owner(of), mbufs.poolOf(of), mbufs.headroom(of), mbufs.tailroom(of), mbufs.user(of, 0), mbufs.user(of, 1),
    ];
    const fresh = [0, 0, 0xffff, 0, 0, 0, 0, 0, 0, 1, 1, 0x01000000 + arena.lcore, pool.offset, 256, options.bufferSize - 256, 0, 0];
    t.same(fields(handle), fresh);
    const header = mbufs.header(handle);
    const values = [[MBUF_OL_FLAGS, 0xfffffff0], [MBUF_PACKET_TYPE, 0x80000001], [MBUF_HASH, 0xdeadbeef], [MBUF_TIMESTAMP, 0xfffffffe], [MBUF_TIMESTAMP + 4, 999_999_999]] as const;
    for (const [field, value] of values) arena.u32[(header + field) >>> 2] = value;
    arena.u16[(header + MBUF_VLAN_TCI) >>> 1] = 0xfffe;
    arena.u16[(header + MBUF_DATA_LEN) >>> 1] = 60;
    mbufs.setUser(handle, 0, 0xffffffff);
    mbufs.setUser(handle, 1, 7);
    t.same([mbufs.flags(handle), mbufs.packetType(handle), mbufs.hash(handle), mbufs.timestampSeconds(handle), mbufs.timestampNanoseconds(handle)], values.map(([, value]) => value));
    t.same([mbufs.vlanTci(handle), mbufs.dataLen(handle), mbufs.user(handle, 0), mbufs.user(handle, 1)], [0xfffe, 60, 0xffffffff, 7]);
    t.same(fields(neighbour), fresh, 'the neighbour has its own');
    t.equal(mbufs.copyIn(neighbour, new Uint8Array(pool.room + 1)), false);
    t.equal(mbufs.copyIn(neighbour, new Uint8Array(pool.room).fill(3)), true);
    t.equal(mbufs.tailroom(neighbour), 0);
    pool.free(burst, 0, 2);
    pool.close();
    arena.close();
  });
}

t.test('a chain\'s first segment is not grown or cut behind', async t => {
  const pool = poolOf({ bufferSize: 2048, high: false });
  const { mbufs } = pool;
  const burst = pool.burst(1);
  pool.alloc(burst, 1);
  const [handle] = burst.handles as unknown as [number];
  mbufs.append(handle, 10);
  mbufs.u16[(mbufs.header(handle) + 4) >>> 1] = 2;
  t.equal(mbufs.append(handle, 1), 0);
  t.equal(mbufs.trim(handle, 1), false);
  t.not(mbufs.adjust(handle, 1), 0);
  pool.arena.close();
});
