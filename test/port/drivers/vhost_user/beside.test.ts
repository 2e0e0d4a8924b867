/** A guest whose memory has no room in the arena is served all the same: its frames are copied natively, and only its rings are mapped over the arena. */
import { ftruncateSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Machine } from '../../../../bench/peers/machine.js';
import { dpdkLacks } from '../../../../bench/peers/dpdk.js';
import { binding } from '../../../../lib/binding.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { openFiles } from '../../conformance/close.js';
import { frame, frames } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { bounce, run, testpmd } from './testpmd.js';

const ARENA = 64 << 20;
/** Of the guest: more than an arena of 64 MiB has room for. */
const GUEST_BUFFERS = 65_536;
const machine = new Machine();
process.once('exit', () => machine.giveBack());

function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-beside-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return join(made, 's');
}

const small = (device: string): Host => open([device], { mbufs: 1024, arenaOptions: { size: ARENA } });
const large = (device: string): Host => open([device], { mbufs: GUEST_BUFFERS, arenaOptions: { size: 256 << 20 } });
const xstats = (host: Host, port: Port): Record<string, number> => host.stats(port).xstats;

for (const packed of [0, 1]) {
  const rings = packed === 1 ? 'packed' : 'split';
  t.test(`${rings} rings: frames of all lengths both ways, ${GUEST_BUFFERS * 2048 / 2 ** 20} MiB of a guest's and an arena of ${ARENA / 2 ** 20} MiB`, t => {
    const path = folder(t);
    const files = openFiles();
    const host = small(`vhost:${path},mtu=9000`);
    const guest = large(`virtio_user:${path},mtu=9000,packed=${packed}`);
    const [back, front] = [host.ports[0]!, guest.ports[0]!];
    t.ok(xstats(host, back)['guest_memory_beside']! > ARENA, `${xstats(host, back)['guest_memory_beside']} bytes are beside the arena`);
    const sent = [14, 60, 61, 1514, 1700].map((length, i) => frame(length, i)).concat(frames(40));
    sendBy(guest, front, sent);
    t.same(receiveBy(host, back).map(bytes => Buffer.from(bytes)), sent.map(bytes => Buffer.from(bytes)), 'from the guest');
    sendBy(host, back, sent);
    t.same(receiveBy(guest, front).map(bytes => Buffer.from(bytes)), sent.map(bytes => Buffer.from(bytes)), 'to the guest');
    for (const [name, count] of Object.entries(xstats(host, back))) if (/bad|small|errors/.test(name)) t.equal(count, 0, name);
    guest.close();
    t.equal(guest.pool.audit().free, guest.pool.size, 'the guest has every buffer');
    host.ports[0]!.rx[0]!.rxBurst(host.burst(1));
    t.equal(host.pool.audit().free, host.pool.size, 'and so have we');
    host.close();
    t.equal(openFiles(), files, 'no descriptor is left');
    t.end();
  });

  t.test(`${rings} rings: one native call for a burst`, t => {
    const path = folder(t);
    const host = small(`vhost:${path}`);
    const guest = large(`virtio_user:${path},packed=${packed}`);
    const [back, front] = [host.ports[0]!, guest.ports[0]!];
    const [into, out] = [host.burst(32), guest.burst(32)];
    const fill = (of: Host, burst: typeof into): void => {
      of.pool.alloc(burst, 32);
      for (const handle of burst.handles) of.mbufs.copyIn(handle, frame(60, handle));
    };
    const calls = (work: () => void): number => {
      const before = binding().calls();
      work();
      return binding().calls() - before - 1;
    };
    for (const first of [true, false]) {
      fill(guest, out);
      t.equal(front.tx[0]!.txBurst(out, 32), 32);
      const received = calls(() => t.equal(back.rx[0]!.rxBurst(into), 32));
      const sent = calls(() => t.equal(back.tx[0]!.txBurst(into, 32), 32));
      // At the first one the guest is told once.
      if (!first) t.same([received, sent], [1, 1]);
      t.equal(front.rx[0]!.rxBurst(out), 32);
      guest.pool.free(out, 0, 32);
    }
    guest.close();
    host.close();
    t.end();
  });
}

t.test('guests come and go, large ones and small ones', t => {
  const path = folder(t);
  const host = small(`vhost:${path}`);
  const zones = host.arena.zones().length;
  for (let i = 0; i < 4; i++) {
    const guest = i % 2 === 0 ? large(`virtio_user:${path}`) : open([`virtio_user:${path}`], { mbufs: 1024, arenaOptions: { size: ARENA } });
    t.equal(xstats(host, host.ports[0]!)['guest_memory_beside']! > 0, i % 2 === 0);
    sendBy(guest, guest.ports[0]!, frames(7));
    t.equal(receiveBy(host, host.ports[0]!).length, 7);
    guest.close();
  }
  t.equal(host.arena.zones().length, zones + 2, 'two rings keep their room for copies, and nothing else is left');
  host.close();
  t.end();
});

t.test('the native call copies what is in the arena, and nothing else', t => {
  const bytes = new Uint8Array(new SharedArrayBuffer(1 << 16));
  const words = new BigUint64Array(bytes.buffer);
  const memory = binding().memfd('beside', 8192, 0);
  const address = binding().mapBeside(bytes, memory, 0, 8192, 128) as bigint;
  const list = (at: number, offset: number, length: number): void => { words.set([address + BigInt(at), BigInt(offset) | (BigInt(length) << 32n)], 1); };
  bytes.set([1, 2, 3], 4096);
  list(5, 4096, 3);
  t.equal(binding().copyList(bytes, 8, 1, 1), 0);
  list(4, 5000, 5);
  t.equal(binding().copyList(bytes, 8, 1, 0), 0);
  t.same([...bytes.subarray(5000, 5005)], [0, 1, 2, 3, 0]);
  list(0, 0xfffe, 3);
  t.equal(binding().copyList(bytes, 8, 1, 0), -22, 'a piece beyond the end');
  t.equal(binding().copyList(bytes, 65536 - 16, 2, 0), -22, 'a list beyond the end');
  t.equal(binding().unmapBeside(address + 4096n), -22, 'what was not mapped so');
  t.equal(binding().unmapBeside(address), 0);
  t.equal(binding().unmapBeside(address), -22, 'twice');
  binding().close(memory);
  t.end();
});

t.test('a file that is cut off costs frames, not the process', t => {
  const bytes = new Uint8Array(new SharedArrayBuffer(1 << 16));
  const path = folder(t);
  const file = binding().open(path, 0o102 /* O_RDWR | O_CREAT */);
  ftruncateSync(file, 8192);
  const address = binding().mapBeside(bytes, file, 0, 8192, 128) as bigint;
  ftruncateSync(file, 0);
  new BigUint64Array(bytes.buffer).set([address, BigInt(4096) | (64n << 32n)], 1);
  bytes.fill(7, 4096, 4160);
  t.equal(binding().copyList(bytes, 8, 1, 0), 0);
  t.same([bytes[4096], new Uint32Array(bytes.buffer)[32]], [0, 1], 'the page is another one, and counted');
  binding().unmapBeside(address);
  binding().close(file);
  t.end();
});

t.test('DPDK\'s virtio_user with 160 MiB', { skip: dpdkLacks(machine) ?? false }, async t => {
  for (const packed of [0, 1]) {
    const path = join(machine.folder, `m${packed}`);
    const host = small(`vhost:${path}`);
    t.teardown(() => host.close());
    await run(t, testpmd(machine, `m${packed}`, `net_virtio_user0,path=${path},queues=1,queue_size=256,packed_vq=${packed}`, 160), async () => {
      await bounce(t, host, host.ports[0]!);
      t.ok(xstats(host, host.ports[0]!)['guest_memory_beside']! >= 160 << 20, 'beside the arena');
    });
  }
});
