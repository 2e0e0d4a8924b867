/** The memory that packets live in: larger buffers, huge pages, offsets above 2 GiB, one pool under two ports, a dry pool. */
import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import { BACKING_HEAP, BACKING_HUGE } from '../../../../lib/arena/layout.js';
import { Chains } from '../../../../lib/mbuf/chains.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { openLab, type Lab } from '../../../../lib/lab/veth.js';
import type { Host } from '../../../../lib/port/host.js';
import type { Port } from '../../../../lib/port/port.js';
import { codeThrown } from '../../../kernel/rights.js';
import { frame, RawSocket, receiveSome, sendAll, statsOf } from '../kernel_helper.js';
import { closeBalanced, inLab, LONG, openAt, randomFrames, rights, sameFrames, until } from './helper.js';

const HUGE_PAGES = '/proc/sys/vm/nr_hugepages';
/** Of 2 MiB: enough for 4096 buffers of 2048 bytes. */
const WANTED = 8;

/** Both ways between a port and a raw socket at the other end. */
async function exchange(t: Test, lab: Lab, host: Host, longest: number, rounds = 5): Promise<void> {
  const raw = new RawSocket(lab.b);
  for (let round = 0; round < rounds; round++) {
    const [out, back] = [randomFrames(lab.a, lab.b, 60, 60, longest), randomFrames(lab.b, lab.a, 60, 60, longest)];
    sendAll(host, host.ports[0]!, out);
    const found: Uint8Array[] = [];
    await until(() => found.push(...raw.receive()) >= out.length);
    sameFrames(t, found, out, `round ${round}, sent`);
    for (const each of back) raw.send(each);
    sameFrames(t, receiveSome(host, host.ports[0]!, back.length).map(({ bytes }) => bytes), back, `round ${round}, received`);
  }
  raw.close();
}

for (const mode of ['native', 'generic']) {
  inLab(`buffers of 4096 bytes, ${mode}: frames up to the link's 3014`, { mtu: 3000 }, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode}`, { bufferSize: 4096 });
    t.equal(host.ports[0]!.capabilities.mtu, 3000);
    await exchange(t, lab, host, 3014);
    closeBalanced(t, host);
  });
}

inLab('a pool above 2 GiB', {}, async (t, lab) => {
  const arena = Arena.create({ size: 3 * 2 ** 30 });
  // A file with a hole: not a page of it is ever touched.
  const below = arena.reserve('below', 2 ** 31, { file: 'own' });
  const pool = Mempool.create(arena, 'high', { count: 1024 });
  t.ok(pool.buffers.offset >= 2 ** 31, `the pool stands at ${pool.buffers.offset}`);
  const host = openAt(lab.a, 'rx_ring=256,tx_ring=256', { arena, pool });
  await exchange(t, lab, host, 1514);
  closeBalanced(t, host);
  arena.release(below);
  arena.close();
});

inLab('huge=1: the pool in huge pages, or not at all', {}, async (t, lab) => {
  const before = readFileSync(HUGE_PAGES, 'utf8').trim();
  try {
    writeFileSync(HUGE_PAGES, String(Number(before) + WANTED));
    const host = openAt(lab.a, 'huge=1,rx_ring=128,tx_ring=64', { mbufs: 1500 });
    t.equal(host.pool.buffers.backing, BACKING_HUGE);
    t.ok(host.pool.buffers.length > 1500 * 2048, 'the zone is longer than its buffers');
    await exchange(t, lab, host, 1514);
    const beyond = host.burst(1);
    beyond.handles[0] = (host.pool.buffers.offset + 1500 * 2048) >>> 11;
    t.equal(host.ports[0]!.tx[0]!.txBurst(beyond, 1), 0, 'what is behind the last buffer is not the UMEM\'s');
    t.equal(statsOf(host.ports[0]!).xstats['tx_not_in_umem'], 1);
    closeBalanced(t, host);
    const plain = openAt(lab.a, '', { hugePages: 'never' });
    t.equal(plain.pool.buffers.backing, BACKING_HEAP);
    t.equal(codeThrown(() => withNetns(lab.a.netns, () => plain.add('af_xdp:veth0,huge=1'))), 'EPOOL', 'a port that is opened later needs a pool that has them');
    closeBalanced(t, plain);
    const free = Number(/HugePages_Free:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))![1]);
    t.equal(codeThrown(() => openAt(lab.a, 'huge=1', { mbufs: (free + 4) * 1024 })), 'ESYSCALL', 'more than there are free');
  } finally {
    writeFileSync(HUGE_PAGES, before);
  }
});

for (const [name, both] of [['both ends of one link', false], ['two interfaces', true]] as const) {
  t.test(`two ports over one pool, ${name}: what one receives the other sends, without a copy`, rights, async t => {
    const [first, second] = [openLab(), openLab()];
    const host = openAt(first.a, 'rx_ring=256,tx_ring=256', { mbufs: 4096 });
    const far = both ? second.a : first.b;
    withNetns(far.netns, () => host.add(`af_xdp:${far.name},mode=generic,rx_ring=256,tx_ring=256`));
    const [a, b] = host.ports as [Port, Port];
    if (both) await forwardBetween(t, host, [a, b], [first, second]);
    else await bounce(t, host, a, b, first);
    closeBalanced(t, host);
    for (const lab of [first, second]) lab.close();
  });
}

/** Raw socket → a → b → raw socket, and back; each frame in the buffer that it came in. */
async function forwardBetween(t: Test, host: Host, [a, b]: readonly [Port, Port], labs: readonly [Lab, Lab]): Promise<void> {
  const raws = labs.map(lab => new RawSocket(lab.b)) as [RawSocket, RawSocket];
  const burst = host.burst(32);
  const move = (from: Port, to: Port): number => {
    const got = from.rx[0]!.rxBurst(burst);
    const sent = got === 0 ? to.tx[0]!.txBurst(burst, 0) : to.tx[0]!.txBurst(burst, got);
    if (sent < got) host.pool.free(burst, sent, got);
    return sent;
  };
  for (let round = 0; round < (LONG ? 100 : 10); round++) {
    for (const [from, to, lab, into, outOf] of [[a, b, labs[0], raws[0], raws[1]], [b, a, labs[1], raws[1], raws[0]]] as const) {
      const frames = randomFrames(lab.b, lab.a, 100);
      for (const each of frames) into.send(each);
      const found: Uint8Array[] = [];
      await until(() => {
        move(from, to);
        found.push(...outOf.receive());
        return found.length >= frames.length;
      });
      sameFrames(t, found, frames, `round ${round}, ${from.name} to ${to.name}`);
    }
  }
  for (const raw of raws) raw.close();
}

/** a sends to b, b sends the same buffers back: they are received in others, since each port fills its own. */
async function bounce(t: Test, host: Host, a: Port, b: Port, lab: Lab): Promise<void> {
  const burst = host.burst(32);
  for (let round = 0; round < (LONG ? 100 : 10); round++) {
    const frames = randomFrames(lab.a, lab.b, 60);
    sendAll(host, a, frames);
    let bounced = 0;
    await until(() => {
      const got = b.rx[0]!.rxBurst(burst);
      bounced += b.tx[0]!.txBurst(burst, got);
      return bounced === frames.length;
    });
    sameFrames(t, receiveSome(host, a, frames.length).map(({ bytes }) => bytes), frames, `round ${round}, there and back`);
  }
}

for (const mode of ['native', 'generic']) {
  inLab(`a pool that runs dry under traffic, ${mode}: the fill ring starves, it is counted, and it recovers`, {}, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode},rx_ring=128,tx_ring=64`, { mbufs: 192, cache: 0 });
    const [port, raw] = [host.ports[0]!, new RawSocket(lab.b)];
    const hoard = host.burst(256);
    let held = 0;
    const burst = host.burst(16);
    // The program keeps what it receives until there is nothing left to receive into.
    const all = Array.from({ length: 400 }, (_, i) => frame(lab.b, lab.a, i, 100));
    for (const [i, each] of all.entries()) {
      raw.send(each);
      if (i % 8 !== 7) continue;
      await until(() => host.pool.audit().rx === 0 || receivesSome());
    }
    function receivesSome(): boolean {
      const got = port.rx[0]!.rxBurst(burst);
      hoard.handles.set(burst.handles.subarray(0, got), held);
      held += got;
      return got > 0 || statsOf(port).xstats['kernel_rx_fill_ring_empty_descs']! > 0;
    }
    const starved = statsOf(port);
    t.equal(held, 192, 'the program has every mbuf');
    t.equal(host.pool.audit().app, 192);
    t.ok(starved.rxNoMbuf > 0, `${starved.rxNoMbuf} receives found the pool dry`);
    t.ok(starved.xstats['kernel_rx_fill_ring_empty_descs']! > 0, 'and the kernel the fill ring empty');
    host.pool.free(hoard, 0, held);
    t.equal(port.rx[0]!.rxBurst(burst), 0);
    const after = randomFrames(lab.b, lab.a, 100);
    for (const each of after) raw.send(each);
    sameFrames(t, receiveSome(host, port, after.length).map(({ bytes }) => bytes), after, 'afterwards');
    raw.close();
    closeBalanced(t, host);
  });
}

for (const mode of ['native', 'generic']) {
  inLab(`mbufs that several hold are in flight on two ports of one pool at once, ${mode}`, {}, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode}`);
    withNetns(lab.b.netns, () => host.add(`af_xdp:${lab.b.name},mode=${mode}`));
    const [left, right] = [host.ports[0]!, host.ports[1]!];
    const [chains, burst] = [new Chains(host.pool), host.burst(32)];
    const frames = Array.from({ length: 8 }, (_, i) => frame(lab.a, lab.b, i, 60 + i * 200));
    t.equal(host.pool.alloc(burst, frames.length), frames.length);
    const handles = [...burst.handles.subarray(0, frames.length)];
    handles.forEach((handle, i) => {
      host.mbufs.copyIn(handle, frames[i]!);
      chains.clone(handle);
    });
    for (const port of [left, right]) {
      burst.handles.set(handles);
      t.equal(port.tx[0]!.txBurst(burst, handles.length), handles.length);
    }
    sameFrames(t, receiveSome(host, right, frames.length).map(({ bytes }) => bytes), frames, 'from the left port');
    sameFrames(t, receiveSome(host, left, frames.length).map(({ bytes }) => bytes), frames, 'from the right port');
    t.ok(await until(() => {
      for (const port of [left, right]) port.tx[0]!.txBurst(burst, 0);
      return host.pool.audit().tx === 0;
    }), 'all that was sent is back');
    t.match(statsOf(left), { txPackets: frames.length, xstats: { tx_bad_completion: 0, tx_copied: frames.length } }, 'the first sent copies, as the other was to have them still');
    t.match(statsOf(right), { txPackets: frames.length, xstats: { tx_bad_completion: 0, tx_copied: 0 } }, 'the last holder sent the mbufs themselves');
    chains.close();
    closeBalanced(t, host);
  });
}
