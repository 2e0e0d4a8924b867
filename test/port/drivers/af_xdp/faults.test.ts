/** What happens to a port whose interface, neighbour or thread goes away under it. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import type { Test } from 'tap';
import { launch, type QueueName } from '../../../../lib/lcore/lcore.js';
import { deleteLink, readLink, setLink, waitForCarrier } from '../../../../lib/kernel/link.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import type { Lab, LabEnd } from '../../../../lib/lab/veth.js';
import { releaseQueue } from '../../../../lib/port/attach.js';
import type { Host } from '../../../../lib/port/host.js';
import { codeThrown } from '../../../kernel/rights.js';
import { startChild } from '../../../native/child.js';
import type { ForwardArgs } from '../../../lcore/forward_worker.js';
import { frame, RawSocket, receiveSome, sendAll, statsOf } from '../kernel_helper.js';
import { attached, closeBalanced, difference, inLab, linkCounts, LONG, openAt, pause, randomFrames, sameFrames, until } from './helper.js';

const change = (end: LabEnd, what: Parameters<typeof setLink>[1]): void => withNetns(end.netns, () => setLink(end.ifindex, what));

/** Offers frames once; what is refused is freed. Returns how many were taken. */
function offer(host: Host, frames: readonly Uint8Array[]): number {
  const burst = host.burst(512);
  host.pool.alloc(burst, frames.length);
  frames.forEach((bytes, i) => { host.mbufs.copyIn(burst.handles[i]!, bytes); });
  const taken = host.ports[0]!.tx[0]!.txBurst(burst, frames.length);
  host.pool.free(burst, taken, frames.length);
  burst.close();
  return taken;
}

function nudge(host: Host): void {
  const burst = host.burst(1);
  host.ports[0]!.tx[0]!.txBurst(burst, 0);
  burst.close();
}

async function collect(raw: RawSocket, count: number, meanwhile: () => void = () => undefined): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  await until(() => {
    meanwhile();
    found.push(...raw.receive());
    return found.length >= count;
  });
  return found;
}

for (const mode of ['native', 'generic']) {
  inLab(`taken down and up again under traffic, ${mode}: what the port took is sent afterwards`, {}, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode},tx_ring=128`);
    const [port, raw, nothing] = [host.ports[0]!, new RawSocket(lab.b), host.burst(1)];
    for (let round = 0; round < (LONG ? 50 : 3); round++) {
      const before = statsOf(port);
      change(lab.a, { up: false });
      const waiting = randomFrames(lab.a, lab.b, 100);
      t.equal(offer(host, waiting), 100, 'the ring still takes them');
      t.equal(offer(host, randomFrames(lab.a, lab.b, 100)), 28, 'until it is full');
      t.equal(port.rx[0]!.rxBurst(nothing), 0);
      const { xstats } = statsOf(port);
      t.ok(xstats['tx_wakeup_ENETDOWN']! > (before.xstats['tx_wakeup_ENETDOWN'] ?? 0), 'the kernel\'s refusals are counted');
      t.ok(xstats['tx_ring_full']! > before.xstats['tx_ring_full']!);
      t.equal(host.pool.audit().tx, 128, 'and the port has the rest');
      change(lab.a, { up: true });
      withNetns(lab.a.netns, () => waitForCarrier(lab.a.ifindex));
      withNetns(lab.b.netns, () => waitForCarrier(lab.b.ifindex));
      sameFrames(t, (await collect(raw, 128, () => nudge(host))).slice(0, 100), waiting, `round ${round}, sent when it was up again`);
      const back = randomFrames(lab.b, lab.a, 100);
      for (const each of back) raw.send(each);
      sameFrames(t, receiveSome(host, port, back.length).map(({ bytes }) => bytes), back, `round ${round}, received afterwards`);
      t.equal(attached(lab.a), mode, 'the program is still there');
    }
    raw.close();
    closeBalanced(t, host);
  });

  inLab(`the neighbour's end down, ${mode}: the kernel drops, counts, and the port goes on`, {}, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode}`);
    const [port, raw] = [host.ports[0]!, new RawSocket(lab.b)];
    change(lab.b, { up: false });
    const before = linkCounts(lab.a);
    let taken = 0;
    for (let i = 0; i < 20; i++) taken += offer(host, randomFrames(lab.a, lab.b, 30));
    t.equal(taken, 600);
    await until(() => { nudge(host); return host.pool.audit().tx === 0; });
    t.equal(host.pool.audit().tx, 0, 'each is completed');
    const dropped = difference(linkCounts(lab.a), before).txDropped;
    const busy = statsOf(port).xstats['tx_wakeup_EBUSY'] ?? 0;
    t.equal(dropped, 600, `the interface counts them as dropped; ${busy} calls said so too`);
    change(lab.b, { up: true });
    withNetns(lab.a.netns, () => waitForCarrier(lab.a.ifindex));
    const after = randomFrames(lab.a, lab.b, 50);
    sendAll(host, port, after);
    sameFrames(t, await collect(raw, after.length), after, 'afterwards');
    raw.close();
    closeBalanced(t, host);
  });

  inLab(`deleted under traffic, ${mode}: the port says so, and closes`, {}, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode},tx_ring=64`);
    const [port, raw] = [host.ports[0]!, new RawSocket(lab.b)];
    sendAll(host, port, randomFrames(lab.a, lab.b, 30));
    for (const each of randomFrames(lab.b, lab.a, 40)) raw.send(each);
    // Some are received before the interface goes, some lie in the ring then.
    const first = receiveSome(host, port, 1).length;
    withNetns(lab.b.netns, () => deleteLink(lab.b.ifindex));
    const later = receiveSome(host, port, 100).length;
    t.ok(first + later >= 1 && first + later <= 40, `${first + later} of 40 were received`);
    let taken = 0;
    for (let i = 0; i < 5; i++) taken += offer(host, randomFrames(lab.a, lab.b, 30));
    t.equal(taken, 64, 'the ring is filled once more, and that is all');
    t.ok(statsOf(port).xstats['tx_wakeup_ENXIO']! > 0, 'the refusals are counted');
    raw.close();
    closeBalanced(t, host);
    t.match(statsOf(port).xstats, { tx_unsent_at_close: 64, tx_uncompleted_at_close: 0 });
    t.equal(codeThrown(() => openAt(lab.a)), 'ENOTFOUND');
  });
}

inLab('the MTU is changed under a port', { mtu: 1500 }, async (t, lab) => {
  const host = openAt(lab.a, 'mode=native');
  const [port, raw] = [host.ports[0]!, new RawSocket(lab.b)];
  const both = (mtu: number): void => { for (const end of [lab.a, lab.b]) change(end, { mtu }); };
  both(9000);
  t.equal(port.capabilities.mtu, 1500, 'the port was opened for frames of one buffer');
  both(600);
  const before = linkCounts(lab.a);
  const small = randomFrames(lab.a, lab.b, 50, 60, 614);
  const large = randomFrames(lab.a, lab.b, 10, 700, 1500);
  sendAll(host, port, [...large, ...small]);
  sameFrames(t, await collect(raw, small.length, () => nudge(host)), small, 'what fits goes through');
  t.equal(difference(linkCounts(lab.a), before).txDropped, large.length, 'what does not is dropped by the interface, in its counter');
  both(1500);
  sendAll(host, port, large);
  sameFrames(t, await collect(raw, large.length, () => nudge(host)), large, 'at the old MTU all of it');
  raw.close();
  closeBalanced(t, host);
});

inLab('frames that lie in the ring at close are counted, and their buffers come back', {}, async (t, lab) => {
  const host = openAt(lab.a);
  const raw = new RawSocket(lab.b);
  const before = linkCounts(lab.a);
  for (const each of randomFrames(lab.b, lab.a, 100)) raw.send(each);
  await until(() => difference(linkCounts(lab.a), before).rxPackets === 100);
  const burst = host.burst(7);
  t.equal(host.ports[0]!.rx[0]!.rxBurst(burst), 7);
  raw.close();
  closeBalanced(t, host, 7);
  t.equal(statsOf(host.ports[0]!).xstats['rx_unread_at_close'], 93);
});

inLab('what still waits in the ring is sent at close', {}, async (t, lab) => {
  const host = openAt(lab.a);
  const raw = new RawSocket(lab.b);
  change(lab.a, { up: false });
  const frames = randomFrames(lab.a, lab.b, 200);
  t.equal(offer(host, frames), 200);
  change(lab.a, { up: true });
  withNetns(lab.a.netns, () => waitForCarrier(lab.a.ifindex));
  withNetns(lab.b.netns, () => waitForCarrier(lab.b.ifindex));
  t.equal(host.pool.audit().tx, 200, 'nobody has asked the kernel since');
  closeBalanced(t, host);
  sameFrames(t, await collect(raw, frames.length), frames, 'all the same');
  t.match(statsOf(host.ports[0]!).xstats, { tx_unsent_at_close: 0, tx_uncompleted_at_close: 0 });
  raw.close();
});

/** A process that sends numbered frames from one end as fast as it can. */
async function flood(from: LabEnd, to: LabEnd): Promise<ChildProcess> {
  const bytes = [...frame(from, to, 1, 200)].join();
  const child = startChild(`
    const { binding } = await import(LIB + 'binding.js');
    const { withNetnsPath } = await import(LIB + 'kernel/netns.js');
    const fd = withNetnsPath('/proc/${process.pid}/fd/${from.netns}', () => {
      const fd = binding().socket(17, 3, 0);
      const address = new Uint8Array(20);
      new DataView(address.buffer).setUint16(0, 17, true);
      new DataView(address.buffer).setInt32(4, ${from.ifindex}, true);
      binding().bind(fd, address);
      return fd;
    });
    const bytes = Uint8Array.of(${bytes});
    console.log('flooding');
    const turn = () => { for (let i = 0; i < 200; i++) binding().send(fd, bytes, 0x40); setImmediate(turn); };
    turn();`);
  await once(child.stdout!, 'data');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

inLab('closed and opened again and again while frames pour in: nothing is written to a buffer after close', {}, async (t, lab) => {
  const sender = await flood(lab.b, lab.a);
  for (let round = 0; round < (LONG ? 100 : 8); round++) {
    const host = openAt(lab.a, `mode=${round % 2 === 0 ? 'native' : 'generic'},rx_ring=256`, { mbufs: 2048 });
    const port = host.ports[0]!;
    t.ok(receiveSome(host, port, 1000).length >= 1000, 'frames come');
    port.close();
    const { buffers, size, bufferSize } = host.pool;
    const words = host.arena.u32.subarray(buffers.offset >>> 2, (buffers.offset + size * bufferSize) >>> 2);
    words.fill(0x5a5a5a5a);
    pause(30);
    t.equal(words.findIndex(word => word !== 0x5a5a5a5a), -1, `round ${round}`);
    closeBalanced(t, host);
  }
  await end(sender);
});

const forwardModule = new URL('../../../lcore/forward_worker.js', import.meta.url);

/** An lcore that sends back what comes in, and its queues. */
function loop(host: Host, queues: readonly QueueName[]): ReturnType<typeof launch> {
  const { number } = host.ports[0]!;
  return launch(host, { module: forwardModule, args: { from: number, to: number, then: 'forward' } satisfies ForwardArgs, queues });
}

inLab('polled by another thread, which is ended in the middle of bursts', {}, async (t: Test, lab: Lab) => {
  const host = openAt(lab.a, 'rx_ring=512,tx_ring=512', { mbufs: 8192 });
  const port = host.ports[0]!;
  const sender = await flood(lab.b, lab.a);
  for (const direction of ['rx', 'tx'] as const) releaseQueue(host.arena, port.number, direction, 0);
  const kills = LONG ? 100 : 8;
  for (let kill = 0; kill < kills; kill++) {
    const victim = await loop(host, []);
    const before = statsOf(port).txPackets;
    t.ok(await until(() => statsOf(port).txPackets > before + 500), `lcore ${kill} forwards`);
    await sleep(Math.random() * 5);
    const recovery = await victim.terminate();
    t.equal(recovery.queues.length, 2, 'its queues are free for the next');
    const { total, free, app, rx, tx, stray, twice } = host.pool.audit();
    t.equal(free + app + rx + tx + stray, total);
    t.same({ app, stray, twice }, { app: 0, stray: 0, twice: 0 }, 'nothing is lost');
  }
  t.match(statsOf(port).xstats, { tx_bad_completion: 0, rx_bad_descriptor: 0, kernel_rx_invalid_descs: 0, kernel_tx_invalid_descs: 0 });
  await end(sender);
  closeBalanced(t, host);
  t.equal(withNetns(lab.a.netns, () => readLink(lab.a.ifindex).xdp.where), 'none');
});
