/** A guest whose memory has no room in the arena is served all the same: its frames are copied natively, and only its rings are mapped over the arena. */
import { ftruncateSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { open, type Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { openFiles } from '../../conformance/close.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_HOST_TSO4 } from '../../../../lib/virtqueue/features.js';
import { writeTable, u64 } from '../../../../lib/vhost_user/messages.js';
import { concat } from '../../../../lib/kernel/bytes.js';
import * as build from '../../../../lib/wire/build.js';
import { copyWhole, frame, frames } from '../../conformance/frames.js';
import { ask, FEATURES, handshake, message, stage, Stranger } from './stranger.js';
import { bounce, machine, run, skip, testpmd } from '../testpmd_helper.js';

const ARENA = 64 << 20;
/** Of the guest: more than an arena of 64 MiB has room for. */
const GUEST_BUFFERS = 65_536;

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
  t.equal(host.arena.zones().length, zones, 'nothing is left');
  host.close();
  t.end();
});

t.test('a guest that grows beyond its room while its rings run goes beside the arena, and its TCP packets are cut as before', t => {
  const it = stage();
  const large = binding().memfd('large', 32 << 20, 0);
  const stranger = new Stranger(it.path);
  const features = FEATURES | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4;
  for (const said of handshake(it.files, features).slice(0, 20)) ask(it, stranger, said);
  t.equal(xstats(it.host, it.port)['guest_memory_beside'], 0);
  const region = { guest: 1n << 32n, user: 0x7e0000000000n, bytes: 32n << 20n, fileOffset: 0n };
  ask(it, stranger, message('ADD_MEM_REG', concat([u64(0n), writeTable([region]).subarray(8)]), [large], 9));
  t.equal(xstats(it.host, it.port)['guest_memory_beside'], 33 << 20);
  t.equal(it.port.link!.read().up, true, 'the rings run');
  const payload = Uint8Array.from({ length: 60_000 }, (_, i) => i * 7 >>> 3);
  const packet = build.frame(build.ethernet(), build.ipv4({ source: '192.0.2.1', destination: '192.0.2.2' }), build.tcp({ sourcePort: 1, destinationPort: 2 }), payload);
  // struct virtio_net_hdr: NEEDS_CSUM, TCPV4, and of its headers, a segment, and where the checksum is.
  const header = Buffer.from(Uint16Array.of(0x0101, 54, 1400, 34, 16, 0).buffer);
  writeSync(large, Buffer.concat([header, packet]), 0, undefined, 4096);
  const descriptor = Buffer.alloc(16);
  descriptor.writeBigUInt64LE(region.guest + 4096n);
  descriptor.writeUInt32LE(12 + packet.length, 8);
  writeSync(it.files.memory, descriptor, 0, 16, 16384);
  writeSync(it.files.memory, Uint8Array.of(0, 0, 1, 0, 0, 0), 0, 6, 16384 + 4096);
  const burst = it.host.burst(64);
  const got = it.port.rx[0]!.rxBurst(burst);
  const pieces = Array.from(burst.handles.subarray(0, got), handle => copyWhole(it.host.mbufs, handle).subarray(54));
  it.host.pool.free(burst, 0, got);
  t.equal(got, Math.ceil(60_000 / 1400));
  t.ok(Buffer.concat(pieces).equals(payload), 'every byte of it');
  t.equal(xstats(it.host, it.port)['rx_pieces'], got);
  stranger.close();
  it.port.control.service();
  binding().close(large);
  it.close();
  t.end();
});

t.test('a guest may have a TiB beside the arena, and no more', t => {
  const it = stage();
  const file = binding().memfd('sparse', 2 ** 40, 0);
  const stranger = new Stranger(it.path);
  ask(it, stranger, message('SET_PROTOCOL_FEATURES', u64(0x9009n)));
  const add = (i: number, bytes: bigint): Uint8Array | undefined => ask(it, stranger, message('ADD_MEM_REG', concat([u64(0n), writeTable([{ guest: BigInt(i) << 44n, user: BigInt(i) << 44n, bytes, fileOffset: 0n }]).subarray(8)]), [file], 9));
  t.equal(add(1, 1n << 39n)?.[0], 0);
  t.equal(add(2, (1n << 39n) + 4096n)?.[0], 1, 'refused');
  t.equal(add(3, 1n << 39n)?.[0], 0);
  t.equal(xstats(it.host, it.port)['guest_memory_beside'], 2 ** 40);
  stranger.close();
  it.port.control.service();
  binding().close(file);
  it.close();
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
  for (const [at, length] of [[8190, 3], [8193, 1], [-1, 1], [-1, 8194], [Number(-address), 1], [0, 60_000]] as const) {
    list(at, 4096, length);
    t.same([0, 1].map(out => binding().copyList(bytes, 8, 1, out)), [-22, -22], `${length} bytes at ${at}, of 8192 that are shared`);
  }
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

t.test('DPDK\'s virtio_user with 160 MiB', { skip }, async t => {
  for (const packed of [0, 1]) {
    const path = join(machine.folder, `m${packed}`);
    const host = small(`vhost:${path}`);
    t.teardown(() => host.close());
    await run(t, testpmd(`m${packed}`, `net_virtio_user0,path=${path},queues=1,queue_size=256,packed_vq=${packed}`, 1, 160), async () => {
      await bounce(t, host, host.ports[0]!);
      t.ok(xstats(host, host.ports[0]!)['guest_memory_beside']! >= 160 << 20, 'beside the arena');
    });
  }
});
