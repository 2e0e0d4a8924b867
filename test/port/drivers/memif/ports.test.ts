/** Both ends as programs use them: several queues and ports on a socket, sleeping, coming and going, and memory that is cut off. */
import { ftruncateSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { binding } from '../../../../lib/binding.js';
import { attachRx, attachTx, releaseQueue } from '../../../../lib/port/attach.js';
import { open } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { QueueView } from '../../../../lib/port/queue_view.js';
import { MEMIF_NEXT, MEMIF_POSTED, MEMIF_SIDE } from '../../../../lib/port/drivers/memif/layout.js';
import { repairMemif } from '../../../../lib/port/drivers/memif/outstanding.js';
import { MBUF_OWNER } from '../../../../lib/mbuf/layout.js';
import { VQ_LOCK, VQ_TELL } from '../../../../lib/virtqueue/layout.js';
import { frame, frames } from '../../conformance/frames.js';
import { receiveBy, sendBy } from '../../conformance/wires.js';
import { CLIENTS, folder, opened, OPTIONS, SERVER, until } from './ends_helper.js';
import { Stranger } from './stranger_helper.js';

t.test('several queues, each with its own frames', async t => {
  for (const words of CLIENTS) {
    const path = folder(t);
    const { host, ports } = opened(t, `memif:${path}${SERVER},queues=4`, `memif:${path},queues=3,rsize=6${words}`);
    const [server, client] = ports as [Port, Port];
    t.same([server.rx.length, client.rx.length], [4, 3]);
    const burst = host.burst(8);
    for (let queue = 0; queue < 3; queue++) {
      for (const [from, to] of [[client, server], [server, client]] as const) {
        host.pool.alloc(burst, 1);
        host.mbufs.copyIn(burst.handles[0]!, frame(170 + queue, queue));
        t.equal(from.tx[queue]!.txBurst(burst, 1), 1);
        t.same(to.rx.map(rx => {
          const got = rx.rxBurst(burst);
          const lengths = Array.from(burst.handles.subarray(0, got), handle => host.mbufs.pktLen(handle));
          host.pool.free(burst, 0, got);
          return lengths;
        }), to.rx.map((_, i) => i === queue ? [170 + queue] : []), `queue ${queue}`);
      }
    }
    host.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
});

t.test('what a server has not is refused, in words that say what to do', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER},queues=2,id=3,secret=abc`);
  const refused = (words: string, code: string, message: RegExp): unknown => t.throws(() => open([`memif:${path}${words}`], OPTIONS), { code, message });
  refused(',queues=3', 'EUNSUPPORTED', /has 2 queues/);
  refused(',id=4', 'EUNSUPPORTED', /ID not found/);
  refused(',id=3', 'EUNSUPPORTED', /Secret required/);
  refused(',id=3,secret=abd', 'EUNSUPPORTED', /Incorrect secret/);
  t.throws(() => open([`memif:${path}nobody`], OPTIONS), { code: 'ENOTFOUND' });
  t.throws(() => open([`memif:${path}${SERVER},id=3`], OPTIONS), { code: 'EBUSYQUEUE', message: /another id/ });
  const { ports: clients } = opened(t, `memif:${path},id=3,secret=abc`);
  t.equal(clients[0]!.link!.read().up, true);
  refused(',id=3,secret=abc', 'EUNSUPPORTED', /Already connected/);
  t.match(host.stats(ports[0]!).xstats, { connections: 1, connections_refused: 5 });
});

t.test('several ports on one socket, by their ids; an abstract one too', async t => {
  for (const place of [folder(t), `pollmode-${process.pid}-${Date.now()},abstract=1`]) {
    const { host, ports } = opened(t, ...[1, 2].map(id => `memif:${place}${SERVER},id=${id},mac=02:00:00:00:00:0${id}`), ...[2, 1].map(id => `memif:${place},rsize=6,id=${id}`));
    t.same(ports.map(({ mac }) => mac), ['02:00:00:00:00:01', '02:00:00:00:00:02', undefined, undefined]);
    sendBy(host, ports[2]!, frames(5));
    t.same([receiveBy(host, ports[0]!).length, receiveBy(host, ports[1]!).length], [0, 5]);
    ports[1]!.close();
    sendBy(host, ports[3]!, frames(4));
    t.equal(receiveBy(host, ports[0]!).length, 4, 'and one goes on when the other is closed');
  }
});

t.test('either end sleeps on its descriptor, and is woken only when it wants to be', async t => {
  for (const words of CLIENTS) {
    const path = folder(t);
    const { host, ports } = opened(t, `memif:${path}${SERVER}`, `memif:${path},rsize=6${words}`);
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

t.test('a frame of a sender that did not see in time that it was to tell of it', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER}`, `memif:${path},rsize=6`);
  for (const [asleep, other] of [[0, 1], [1, 0]] as const) {
    const { wake } = ports[asleep]!.rx[0]!;
    t.equal(wake!.arm!(), true);
    const tx = new QueueView(host.arena, host.arena.find(`port/${ports[other]!.number}/tx/0`).offset, 'tx');
    const tell = tx.get(VQ_TELL);
    tx.set(VQ_TELL, 0xffffffff);
    sendBy(host, ports[other]!, frames(1));
    tx.set(VQ_TELL, tell);
    t.equal(await until(() => binding().poll(Int32Array.of(wake!.fd, 1), 0) > 0), true, 'is told of a little later');
    t.equal(receiveBy(host, ports[asleep]!).length, 1);
  }
});

t.test('a client whose memory finds no room', async t => {
  const path = folder(t);
  const host = open([`memif:${path}${SERVER}`], { mbufs: 512, arenaOptions: { size: 24 << 20 } });
  t.throws(() => open([`memif:${path},zero_copy=0,rsize=12,bsize=4096`], { mbufs: 512, arenaOptions: { size: 64 << 20 } }), { code: 'EUNSUPPORTED', message: /No room for a region/ });
  const client = open([`memif:${path},zero_copy=0,rsize=5`], { mbufs: 512 });
  sendBy(client, client.ports[0]!, frames(4));
  t.equal(receiveBy(host, host.ports[0]!).length, 4);
  client.close();
  host.close();
});

t.test('a server that sleeps is woken by its next client too', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER}`);
  const ending = new AbortController();
  let got = 0;
  const loop = (async () => {
    for await (const burst of ports[0]!.rx[0]!.bursts({ signal: ending.signal })) {
      got += burst.count;
      host.pool.free(burst, 0, burst.count);
    }
  })();
  for (let i = 1; i <= 3; i++) {
    const client = open([`memif:${path},rsize=6`], OPTIONS);
    sendBy(client, client.ports[0]!, frames(3));
    t.equal(await until(() => got === 3 * i), true, `client ${i}`);
    client.close();
    await sleep(20);
  }
  ending.abort();
  await loop;
});

t.test('a queue whose lcore died in a burst is polled by another, and what it had in hand is found', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER}`, `memif:${path},rsize=6`);
  const zone = host.arena.find(`port/${ports[0]!.number}/rx/0`);
  sendBy(host, ports[1]!, frames(3));
  host.arena.u32[(zone.offset + VQ_LOCK) >>> 2] = 9;
  t.equal(receiveBy(host, ports[0]!).length, 0, 'somebody is in it');
  repairMemif(new QueueView(host.arena, zone.offset, 'rx'));
  t.equal(receiveBy(host, ports[0]!).length, 3);
  // Died in a fill of the client's: an mbuf was noted, and not handed over.
  const rx = new QueueView(host.arena, host.arena.find(`port/${ports[1]!.number}/rx/0`).offset, 'rx');
  sendBy(host, ports[0]!, frames(3));
  t.equal(receiveBy(host, ports[1]!).length, 3);
  t.ok(((rx.get(MEMIF_POSTED) - rx.get(MEMIF_NEXT)) & 0xffff) < 64);
  const burst = host.burst(1);
  host.pool.alloc(burst, 1);
  const [handle] = burst.handles;
  host.arena.u32[(host.arena.table + handle! * 64 + MBUF_OWNER) >>> 2] = rx.owner;
  host.arena.u32[(rx.get(MEMIF_SIDE) >>> 2) + (rx.get(MEMIF_POSTED) & 63)] = handle!;
  const before = host.pool.available;
  repairMemif(rx);
  t.equal(host.pool.available, before + 1);
  host.close();
  t.equal(host.pool.audit().free, host.pool.size);
});

t.test('a client comes and goes, and the next one is served', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER}`);
  const events: string[] = [];
  ports[0]!.onEvent!(({ kind }) => { events.push(kind); });
  for (const words of CLIENTS) {
    const client = open([`memif:${path},rsize=6${words}`], OPTIONS);
    sendBy(client, client.ports[0]!, frames(5));
    sendBy(host, ports[0]!, frames(4));
    t.same([receiveBy(host, ports[0]!).length, receiveBy(client, client.ports[0]!).length], [5, 4]);
    client.close();
    t.equal(client.pool.audit().free, client.pool.size);
    const burst = host.burst(1);
    host.pool.alloc(burst, 1);
    host.mbufs.copyIn(burst.handles[0]!, frame(60, 1));
    t.equal(ports[0]!.tx[0]!.txBurst(burst, 1), 0, 'nobody is there');
    host.pool.free(burst, 0, 1);
    burst.close();
  }
  t.same(events, ['up', 'down', 'up', 'down', 'up', 'down']);
  t.match(host.stats(ports[0]!).xstats, { connections: 3, disconnections: 3, protocol_errors: 0, client_memory: 0 });
});

t.test('a server comes and goes, and the client goes on with the next', async t => {
  for (const words of CLIENTS) {
    const path = folder(t);
    let server = open([`memif:${path}${SERVER}`], OPTIONS);
    const { host, ports } = opened(t, `memif:${path},rsize=6${words}`);
    for (let i = 0; i < 3; i++) {
      sendBy(host, ports[0]!, frames(6));
      t.equal(receiveBy(server, server.ports[0]!).length, 6);
      sendBy(host, ports[0]!, frames(7)); // nobody takes these any more
      server.close();
      t.equal(await until(() => !ports[0]!.link!.read().up), true, 'it is noticed');
      t.equal(host.pool.audit().free, host.pool.size, 'and every mbuf is back');
      server = open([`memif:${path}${SERVER}`], OPTIONS);
      t.equal(await until(() => ports[0]!.link!.read().up), true, 'and it is back');
    }
    server.close();
    t.match(host.stats(ports[0]!).xstats, words === '' ? { tx_lost: 21 } : { disconnections: 3 });
  }
});

t.test('a queue in other hands: let go, and taken by its name', async t => {
  for (const words of CLIENTS) {
    const path = folder(t);
    const { host, ports } = opened(t, `memif:${path}${SERVER}`, `memif:${path},rsize=6${words}`);
    for (const [from, to] of [[0, 1], [1, 0]] as const) {
      releaseQueue(host.arena, ports[to]!.number, 'rx', 0);
      releaseQueue(host.arena, ports[from]!.number, 'tx', 0);
      const [rx, tx] = [attachRx(host.arena, ports[to]!.number, 0), attachTx(host.arena, ports[from]!.number, 0)];
      const burst = host.burst(8);
      const made = host.pool.alloc(burst, 5);
      for (const handle of burst.handles.subarray(0, made)) host.mbufs.append(handle, 99);
      t.equal(tx.txBurst(burst, made), 5);
      const got = rx.rxBurst(burst);
      t.same(Array.from(burst.handles.subarray(0, got), handle => host.mbufs.pktLen(handle)), [99, 99, 99, 99, 99]);
      host.pool.free(burst, 0, got);
      burst.close();
    }
    host.close();
    t.equal(host.pool.audit().free, host.pool.size);
  }
});

t.test('frames of 9000 bytes, over as many buffers as they need', async t => {
  for (const words of ['', ',zero_copy=0', ',zero_copy=0,bsize=200']) {
    const path = folder(t);
    const { host, ports } = opened(t, `memif:${path}${SERVER},mtu=9000`, `memif:${path},rsize=8,mtu=9000${words}`);
    t.same(ports.map(({ capabilities }) => capabilities.mtu), [9000, 9000], 'and they say so');
    for (const [from, to] of [[0, 1], [1, 0]] as const) {
      const parts = Array.from({ length: 6 }, (_, i) => frame(1500, i));
      const burst = host.burst(8);
      host.pool.alloc(burst, 6);
      parts.forEach((part, i) => host.mbufs.copyIn(burst.handles[i]!, part));
      const { mbufs } = host;
      for (let i = 0; i < 6; i++) {
        const header = mbufs.header(burst.handles[i]!);
        mbufs.u16[(header + 4) >>> 1] = i === 0 ? 6 : 1;
        mbufs.u32[(header + 16) >>> 2] = i === 0 ? 9000 : 1500;
        mbufs.u32[(header + 28) >>> 2] = i < 5 ? burst.handles[i + 1]! : 0;
      }
      t.equal(ports[from]!.tx[0]!.txBurst(burst, 1), 1);
      const got = receiveBy(host, ports[to]!);
      t.same(got.map(bytes => Buffer.from(bytes).equals(Buffer.concat(parts))), [true]);
    }
  }
});

t.test('memory that is cut off after it was mapped costs frames, not the process', async t => {
  const path = folder(t);
  const { host, ports } = opened(t, `memif:${path}${SERVER}`);
  const [port] = ports as [Port];
  const stranger = new Stranger(path);
  await stranger.connect();
  const burst = host.burst(4);
  t.equal(await until(() => port.link!.read().up), true);
  ftruncateSync(stranger.memory, 0);
  t.equal(port.rx[0]!.rxBurst(burst), 0);
  host.pool.alloc(burst, 4);
  for (const handle of burst.handles) host.mbufs.copyIn(handle, frame(60, 1));
  const taken = port.tx[0]!.txBurst(burst, 4);
  host.pool.free(burst, taken, 4);
  t.ok(host.arena.lostPages > 0, `${host.arena.lostPages} pages were lost`);
  stranger.close();
  t.equal(await until(() => !port.link!.read().up), true);
  const client = open([`memif:${path},rsize=6`], OPTIONS);
  sendBy(client, client.ports[0]!, frames(5));
  t.equal(receiveBy(host, port).length, 5, 'and the next client is served');
  client.close();
});
