/** What is in the frames of `null:`: whatever the buffer held, or a frame that was asked for. The rest is the conformance suite's. */
import fc from 'fast-check';
import t from 'tap';
import { layout } from '../../../lib/index.js';
import { open } from '../../../lib/port/host.js';
import { Checksums } from '../../../lib/wire/checksums.js';
import { describe } from '../../../lib/wire/describe.js';

const { RX_IP_CKSUM_GOOD, RX_L4_CKSUM_GOOD } = layout;
const STAIN = 0xa5;
/** All of a buffer, headroom and what is behind the frame. */
const BUFFER = 2048;

for (const build of ['fast', 'portable', 'checking', 'twin']) t.test(`property, ${build}: each frame is the one that was asked for, and no byte beside it is touched`, async t => {
  process.env['POLLMODE_BURST'] = build;
  fc.assert(fc.property(fc.constantFrom('udp' as const, 'udp6' as const), fc.integer({ min: 62, max: BUFFER - 256 }), fc.integer({ min: 1, max: 33 }), (frame, size, count) => {
    const host = open([`null:frame=${frame},size=${size}`], { mbufs: 64, arenaOptions: { size: 16 << 20 } });
    const { pool, mbufs, arena } = host;
    const burst = host.burst(64);
    const sums = new Checksums(arena);
    arena.u8.fill(STAIN, pool.buffers.offset, pool.buffers.offset + pool.size * BUFFER);
    const got = host.ports[0]!.rx[0]!.rxBurst(burst, count);
    if (got !== count) throw new Error(`${got} of ${count}`);
    if (sums.check(burst, got) !== 0) throw new Error('a checksum is wrong');
    const first = mbufs.copyOut(burst.handles[0]!);
    for (const handle of burst.handles.subarray(0, got)) {
      const whole = arena.u8.subarray(handle * BUFFER, (handle + 1) * BUFFER);
      if (Buffer.compare(whole.subarray(256, 256 + size), first) !== 0 || first.length !== size) throw new Error('not all alike');
      if (![...whole.subarray(0, 256), ...whole.subarray(256 + size)].every(byte => byte === STAIN)) throw new Error('a byte beside the frame was written');
      const wanted = frame === 'udp' ? RX_IP_CKSUM_GOOD | RX_L4_CKSUM_GOOD : RX_L4_CKSUM_GOOD;
      if ((mbufs.flags(handle) & wanted) !== wanted) throw new Error('a checksum was not there to be looked at');
    }
    if (!first.subarray(frame === 'udp' ? 42 : 62).every((byte, i) => byte === i % 256)) throw new Error('the payload counts up');
    pool.free(burst, 0, got);
    burst.close();
    host.close();
  }), { numRuns: 15 });
  delete process.env['POLLMODE_BURST'];
  t.pass();
});

t.test('what stands in them, to a person; two ports of their own; nothing is left in the arena', async t => {
  const host = open(['null:frame=udp', 'null:frame=udp6,size=100,queues=2', 'null:']);
  const burst = host.burst(1);
  const before = host.arena.zones().length;
  const seen = host.ports.flatMap(port => port.rx).map(rx => {
    rx.rxBurst(burst);
    const text = describe(host.mbufs, burst.handles[0]!);
    host.pool.free(burst, 0, 1);
    return text;
  });
  t.match(seen[0], /IPv4 198\.18\.0\.2 > 198\.19\.0\.2, UDP 49184 > 7, 18 bytes/);
  t.match(seen[1], /IPv6 2001:2::2 > 2001:2:0:1::2, UDP 49184 > 7, 38 bytes/);
  t.equal(seen[2], seen[1]);
  t.same(host.ports.map(({ capabilities }) => capabilities.mode), ['frames of 60 bytes, udp', 'frames of 100 bytes, udp6', 'frames of 60 bytes']);
  host.ports[0]!.close();
  t.equal(host.arena.zones().length, before - 3, 'two queues and the frame');
  burst.close();
  host.close();
});
