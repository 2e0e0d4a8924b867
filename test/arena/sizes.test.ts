import t from 'tap';
import { Arena, DEFAULT_ARENA, MAX_ARENA, MIN_ARENA } from '../../lib/arena/arena.js';
import { ARENA_HEADER, HEADER_HEAP, HEADER_VERSION } from '../../lib/arena/layout.js';
import { wasm, type WasmMemory } from '../../lib/arena/webassembly.js';
import { Burst } from '../../lib/burst/burst.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { Ring } from '../../lib/ring/ring.js';

const BUILDS = ['fast', 'checking', 'twin'] as const;

for (const size of [MIN_ARENA, MIN_ARENA + 1, DEFAULT_ARENA, 2 ** 31, 2 ** 31 + 65536, 3 * 2 ** 30, MAX_ARENA - 65535, MAX_ARENA]) {
  t.test(`an arena of ${size} bytes: the first and the last byte of its heap`, async t => {
    const arena = Arena.create({ size });
    t.equal(arena.size, Math.ceil(size / 65536) * 65536);
    const heap = arena.u32[(ARENA_HEADER + HEADER_HEAP) >>> 2]!;
    const all = arena.reserve('all', arena.size - heap - 4096);
    const last = arena.reserve('last', 4096, { align: 4096 });
    t.equal(all.offset, heap);
    t.equal(last.offset + last.length, arena.size, 'to the last byte');
    t.throws(() => arena.reserve('more', 1), { code: 'EARENAFULL', message: /\(0 are free, 0 of them in one piece\)/ });
    arena.u8[last.offset + 4095] = 0x5a;
    arena.u32[(last.offset + 4088) >>> 2] = 0xdeadbeef;
    t.equal(arena.u8.at(-1), 0x5a);
    t.equal(arena.u32[(arena.size - 8) >>> 2], 0xdeadbeef);
    t.same(arena.find('last'), last, 'an offset above 2^31 comes back from the directory as it went in');
    arena.release(last);
    arena.release(all);
    arena.close();
  });
}

for (const size of [0, -1, MIN_ARENA - 1, MAX_ARENA + 1, 2 ** 32, 2 ** 53, 1.5 * 2 ** 24 + 0.5, NaN, Infinity, '64m', {}, 64n] as unknown as number[]) {
  t.test(`an arena of ${String(size)} bytes is refused`, async t => {
    t.throws(() => Arena.create({ size }), { name: 'PollmodeError', code: 'EOPTION', message: /choose a size in between/ });
  });
}

for (const build of BUILDS) {
  t.test(`above 2 GiB, the ${build} burst functions, the rings, the pools and the accessors`, async t => {
    process.env['POLLMODE_BURST'] = build;
    t.teardown(() => { delete process.env['POLLMODE_BURST']; });
    const arena = Arena.create({ size: MAX_ARENA });
    arena.reserve('below', 2 ** 31);
    const pool = Mempool.create(arena, 'pool', { count: 256, bufferSize: 4096 });
    t.ok(pool.buffers.offset > 2 ** 31 && pool.offset > 2 ** 31);
    const burst = new Burst(arena, 256);
    t.ok(burst.offset > 2 ** 31);
    t.equal(pool.alloc(burst, 64), 64);
    for (const handle of burst.handles.subarray(0, 64)) {
      t.ok(handle * 2048 >= pool.buffers.offset && handle * 2048 < pool.buffers.offset + pool.buffers.length);
      t.equal(pool.mbufs.data(handle), handle * 2048 + 256);
      t.ok(pool.mbufs.copyIn(handle, new TextEncoder().encode(`frame ${handle}`)));
      t.equal(new TextDecoder().decode(pool.mbufs.copyOut(handle)), `frame ${handle}`);
      t.equal(pool.mbufs.prepend(handle, 14), handle * 2048 + 242);
      t.equal(pool.mbufs.poolOf(handle), pool.offset);
      t.equal(pool.mbufs.owner(handle), 0x01000000);
    }
    const ring = Ring.create(arena, 'ring', { size: 64, holds: 'mbufs' });
    t.equal(ring.enqueueBulk(burst, 64), 64);
    t.equal(pool.audit().owners.get('ring ring'), 64);
    t.equal(pool.alloc(burst, 192), 192);
    t.equal(pool.alloc(burst, 1), 0, 'dry');
    pool.free(burst, 0, 192);
    t.equal(ring.dequeueBulk(burst, 64), 64);
    pool.free(burst, 0, 64);
    t.match(pool.audit(), { free: 256, total: 256, twice: 0, stray: 0 });
    t.match(pool.stats(), { dry: 1, foreign: 0, stray: 0 });
    pool.close();
    ring.close();
    arena.close();
  });
}

t.test('what is no arena is not attached to', async t => {
  const shared = (pages: number): WasmMemory => new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  t.throws(() => Arena.attach({ memory: shared(512), fd: -1, inode: 0 }), { code: 'EFORMAT' }, 'zeros');
  t.throws(() => Arena.attach({ memory: shared(1), fd: -1, inode: 0 }), { code: 'EFORMAT' }, 'too small for a header');
  t.throws(() => Arena.attach({} as never), { code: 'EFORMAT' });
  const arena = Arena.create({ size: MIN_ARENA });
  for (const field of [0, HEADER_VERSION, 8, 12, HEADER_HEAP]) {
    const kept = arena.u32[(ARENA_HEADER + field) >>> 2]!;
    arena.u32[(ARENA_HEADER + field) >>> 2] = kept + 1;
    t.throws(() => Arena.attach(arena.share()), { code: 'EFORMAT', message: /same release/ }, `field ${field}`);
    arena.u32[(ARENA_HEADER + field) >>> 2] = kept;
  }
  const second = Arena.attach(arena.share());
  t.not(second.lcore, arena.lcore);
  second.close();
  arena.close();
});
