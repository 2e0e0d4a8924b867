/** Both ends as programs use them: several queues, sleeping, coming and going, and memory that is cut off. */
import { ftruncateSync, mkdtempSync, openSync, rmSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { getU64 } from '../../../../lib/kernel/bytes.js';
import { SOCK_NONBLOCK, SOCK_STREAM } from '../../../../lib/kernel/constants.js';
import { Door } from '../../../../lib/kernel/door.js';
import { unixAddress, unixSocket } from '../../../../lib/kernel/unix.js';
import { Chains } from '../../../../lib/mbuf/chains.js';
import { open } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { QueueView } from '../../../../lib/port/queue_view.js';
import { repairVirtqueue } from '../../../../lib/port/virtqueue_attach.js';
import { VQ_LOCK } from '../../../../lib/virtqueue/layout.js';
import type { VhostPort } from '../../../../lib/port/drivers/vhost/vhost.js';
import { VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_VERSION_1 } from '../../../../lib/virtqueue/features.js';
import { Channel } from '../../../../lib/vhost_user/channel.js';
import { u64, writeAddress, writeTable, writeVring } from '../../../../lib/vhost_user/messages.js';
import { frame, frames } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { OPTIONS, opened, until } from '../ends_helper.js';

function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-vhost-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return join(made, 's');
}

t.test('several pairs of queues, each with its own frames', async t => {
  for (const packed of [0, 1]) {
    const path = folder(t);
    const { host, ports } = opened(t, `vhost:${path},guest_memory=16,queues=4`, `virtio_user:${path},queues=3,queue_size=64,packed=${packed}`);
    const [back, front] = ports as [Port, Port];
    t.same([back.rx.length, front.rx.length], [4, 3]);
    const burst = host.burst(8);
    for (let queue = 0; queue < 3; queue++) {
      for (const [from, to] of [[front, back], [back, front]] as const) {
        host.pool.alloc(burst, 1);
        host.mbufs.copyIn(burst.handles[0]!, frame(70 + queue, queue));
        t.equal(from.tx[queue]!.txBurst(burst, 1), 1);
        t.same(to.rx.map(rx => {
          const got = rx.rxBurst(burst);
          const lengths = Array.from(burst.handles.subarray(0, got), handle => host.mbufs.pktLen(handle));
          host.pool.free(burst, 0, got);
          return lengths;
        }), to.rx.map((_, i) => i === queue ? [70 + queue] : []), `queue ${queue}`);
      }
    }
    host.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
});

t.test('jumbo frames, of 9000 bytes of IP, both ways: in one buffer of the guest\'s, in several, in chains', async t => {
  for (const [packed, mergeable] of [[0, 1], [1, 1], [0, 0], [1, 0]]) {
    const path = folder(t);
    const { host, ports } = opened(t, `vhost:${path},guest_memory=16,mtu=9000,mergeable=${mergeable}`, `virtio_user:${path},mtu=9000,queue_size=128,packed=${packed}`);
    const [back, front] = ports as [Port, Port];
    t.same([back.capabilities.mtu, front.capabilities.mtu], [9000, 9000]);
    const chains = new Chains(host.pool);
    const burst = host.burst(4);
    // Ours puts a frame for the guest into buffers of the guest's alone: without mergeable ones what does not fit is counted.
    for (const [from, to, arrives] of [[front, back, true], [back, front, mergeable === 1]] as const) {
      const sent = [9014, 1514, 9018, 60].map((length, i) => frame(length, i));
      host.pool.alloc(burst, 4);
      sent.forEach((bytes, i) => t.ok(chains.copyIn(burst.handles[i]!, bytes)));
      t.equal(from.tx[0]!.txBurst(burst, 4), 4);
      const got = to.rx[0]!.rxBurst(burst);
      t.same(Array.from(burst.handles.subarray(0, got), handle => chains.copyOut(handle)), arrives ? sent : [sent[1], sent[3]]);
      host.pool.free(burst, 0, got);
      t.equal(host.stats(from).xstats['tx_buffer_too_small'] ?? 0, arrives ? 0 : 2);
    }
    chains.close();
    host.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
});

t.test('more queues than the back-end has are refused', async t => {
  const path = folder(t);
  opened(t, `vhost:${path},guest_memory=16,queues=2`);
  t.throws(() => open([`virtio_user:${path},queues=3`], OPTIONS), { code: 'EUNSUPPORTED', message: /has 2 pairs/ });
  t.throws(() => open([`virtio_user:${path}nobody`], OPTIONS), { code: 'ENOTFOUND' });
});

t.test('either end sleeps on its descriptor, and is woken only when it wants to be', async t => {
  for (const packed of [0, 1]) {
    const path = folder(t);
    const { host, ports } = opened(t, `vhost:${path},guest_memory=16`, `virtio_user:${path},queue_size=64,packed=${packed}`);
    for (const [asleep, other] of [[0, 1], [1, 0]] as const) {
      const wake = ports[asleep]!.rx[0]!.wake!;
      const ready = (): boolean => binding().poll(Int32Array.of(wake.fd, 1), 0) > 0;
      sendBy(host, ports[other]!, frames(3));
      t.equal(wake.arm!(), false, 'there is something already');
      t.equal(receiveBy(host, ports[asleep]!).length, 3);
      sendBy(host, ports[other]!, frames(1));
      receiveBy(host, ports[asleep]!);
      t.equal(wake.arm!(), true);
      t.equal(ready(), false, 'nothing came');
      sendBy(host, ports[other]!, frames(2));
      t.equal(ready(), true, 'woken');
      const ending = new AbortController();
      let got = 0;
      const loop = (async () => {
        for await (const burst of ports[asleep]!.rx[0]!.bursts({ signal: ending.signal })) {
          got += burst.count;
          host.pool.free(burst, 0, burst.count);
        }
      })();
      for (let i = 0; i < 5; i++) {
        await sleep(10);
        sendBy(host, ports[other]!, frames(4));
      }
      t.equal(await until(() => got === 22), true, `on the event loop: ${got}`);
      ending.abort();
      await loop;
    }
    host.close();
  }
});

t.test('a queue whose lcore died in a burst is polled by another', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `vhost:${path},guest_memory=16`, `virtio_user:${path},queue_size=64`);
  const zone = host.arena.find(`port/${ports[0]!.number}/rx/0`);
  sendBy(host, ports[1]!, frames(3));
  host.arena.u32[(zone.offset + VQ_LOCK) >>> 2] = 9;
  t.equal(receiveBy(host, ports[0]!).length, 0, 'somebody is in it');
  repairVirtqueue(new QueueView(host.arena, zone.offset, 'rx'));
  t.equal(receiveBy(host, ports[0]!).length, 3);
});

t.test('a front-end comes and goes, and the next one is served', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `vhost:${path},guest_memory=16`);
  const events: string[] = [];
  ports[0]!.onEvent!(({ kind }) => { events.push(kind); });
  for (let i = 0; i < 3; i++) {
    const guest = open([`virtio_user:${path},queue_size=64,packed=${i % 2}`], OPTIONS);
    sendBy(guest, guest.ports[0]!, frames(5));
    sendBy(host, ports[0]!, frames(4));
    t.same([receiveBy(host, ports[0]!).length, receiveBy(guest, guest.ports[0]!).length], [5, 4]);
    guest.close();
    t.equal(guest.pool.audit().free, guest.pool.size);
    const burst = host.burst(1);
    host.pool.alloc(burst, 1);
    host.mbufs.copyIn(burst.handles[0]!, frame(60, 1));
    t.equal(ports[0]!.tx[0]!.txBurst(burst, 1), 0, 'nobody is there');
    host.pool.free(burst, 0, 1);
    burst.close();
  }
  t.same(events, ['up', 'down', 'up', 'down', 'up', 'down']);
  t.match(host.stats(ports[0]!).xstats, { connections: 3, disconnections: 3, protocol_errors: 0 });
});

t.test('a back-end comes and goes, and the port goes on with the next', async t => {
  const path = folder(t);
  let back = open([`vhost:${path},guest_memory=16`], OPTIONS);
  const { host, ports } = opened(t, `virtio_user:${path},queue_size=64`);
  for (let i = 0; i < 3; i++) {
    sendBy(host, ports[0]!, frames(6));
    t.equal(receiveBy(back, back.ports[0]!).length, 6);
    sendBy(host, ports[0]!, frames(7)); // nobody takes these any more
    back.close();
    t.equal(await until(() => !ports[0]!.link!.read().up), true, 'it is noticed');
    t.equal(host.pool.audit().free, host.pool.size, 'and every buffer is back');
    back = open([`vhost:${path},guest_memory=16`], OPTIONS);
    t.equal(await until(() => ports[0]!.link!.read().up), true, 'and it is back');
  }
  back.close();
  t.match(host.stats(ports[0]!).xstats, { tx_lost: 21 });
});

t.test('memory that is cut off after it was mapped costs frames, not the process', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `vhost:${path},guest_memory=16`);
  const port = ports[0] as VhostPort;
  const file = `${path}.memory`;
  const bytes = 1 << 20;
  const fd = openSync(file, 'w+');
  ftruncateSync(fd, bytes);
  const socket = unixSocket(SOCK_STREAM | SOCK_NONBLOCK);
  t.equal(binding().connect(socket, unixAddress(path)), 0);
  const channel = new Channel(socket, 'front-end');
  const events = [0, 1, 2, 3].map(() => binding().eventfd(0, 0x800));
  channel.send('SET_FEATURES', 0, u64(VIRTIO_F_VERSION_1 | VHOST_USER_F_PROTOCOL_FEATURES));
  channel.send('SET_MEM_TABLE', 0, writeTable([{ guest: 0n, user: 0x1000_0000n, bytes: BigInt(bytes), fileOffset: 0n }]), [fd]);
  for (const index of [0, 1]) {
    const at = 0x1000_0000n + BigInt(index * 65536);
    channel.send('SET_VRING_NUM', 0, writeVring({ index, value: 64 }));
    channel.send('SET_VRING_ADDR', 0, writeAddress({ index, flags: 0, desc: at, avail: at + 4096n, used: at + 8192n }));
    channel.send('SET_VRING_KICK', 0, u64(BigInt(index)), [events[index * 2]!]);
    channel.send('SET_VRING_CALL', 0, u64(BigInt(index)), [events[index * 2 + 1]!]);
    channel.send('SET_VRING_ENABLE', 0, writeVring({ index, value: 1 }));
  }
  port.control.service();
  t.equal(port.link.read().up, true);
  ftruncateSync(fd, 0);
  const burst = host.burst(4);
  t.equal(port.rx[0]!.rxBurst(burst), 0);
  host.pool.alloc(burst, 4);
  for (const handle of burst.handles) host.mbufs.copyIn(handle, frame(60, 1));
  t.equal(port.tx[0]!.txBurst(burst, 4), 0);
  host.pool.free(burst, 0, 4);
  t.ok(host.arena.lostPages > 0, `${host.arena.lostPages} pages were lost`);
  channel.close();
  for (const each of events) binding().close(each);
  closeSync(fd);
  port.control.service();
  const guest = open([`virtio_user:${path},queue_size=64`], OPTIONS);
  sendBy(guest, guest.ports[0]!, frames(5));
  t.equal(receiveBy(host, port).length, 5, 'and the next guest is served');
  guest.close();
});

t.test('as a client it connects to a front-end that listens, and again when that has gone', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `vhost:${path},client=1,guest_memory=16`);
  const { control } = ports[0] as VhostPort;
  for (let i = 1; i <= 3; i++) {
    const door = new Door(path, [process.geteuid!()], SOCK_STREAM);
    let fd: number | undefined;
    t.equal(await until(() => (fd ??= door.accept()) !== undefined), true, 'it knocks');
    const channel = new Channel(fd!, 'front-end');
    channel.send('GET_FEATURES', 0, new Uint8Array());
    control.service();
    const received = channel.receive();
    t.ok(typeof received === 'object' && 'message' in received && (getU64(received.message.payload, 0) & VIRTIO_F_VERSION_1) !== 0n, 'and answers');
    channel.close();
    door.close();
    t.equal(await until(() => !control.connected), true);
    t.match(host.stats(ports[0]!).xstats, { connections: i, disconnections: i, protocol_errors: 0 });
  }
});
