/** Frames through every mode, held against the kernel's own view of them: contents, order, and counters to the last one. */
import type { Test } from 'tap';
import type { Lab } from '../../../../lib/lab/veth.js';
import { Chains } from '../../../../lib/mbuf/chains.js';
import type { Host } from '../../../../lib/port/host.js';
import { frame, RawSocket, receiveSome, sendAll, statsOf } from '../kernel_helper.js';
import { attached, closeBalanced, difference, inLab, linkCounts, LONG, openAt, randomFrames, sameFrames, totalBytes, until } from './helper.js';

/** A veth's queue to the kernel holds some hundred frames: no more at once. */
const AT_ONCE = 100;
const ROUNDS = LONG ? 100 : 8;

for (const mode of ['native', 'generic', 'auto'] as const) {
  for (const needWakeup of [true, false]) {
    for (const zeroCopy of ['auto', 'never'] as const) {
      inLab(`mode=${mode}, need_wakeup=${needWakeup ? 1 : 0}, zero_copy=${zeroCopy}: against a raw socket`, {}, (t, lab) => againstRaw(t, lab, mode, needWakeup, zeroCopy));
    }
  }
}

async function againstRaw(t: Test, lab: Lab, mode: 'native' | 'generic' | 'auto', needWakeup: boolean, zeroCopy: string): Promise<void> {
  const host = openAt(lab.a, `mode=${mode},need_wakeup=${needWakeup ? 'on' : 'off'},zero_copy=${zeroCopy}`);
  const [port, raw] = [host.ports[0]!, new RawSocket(lab.b)];
  const where = mode === 'auto' ? 'native' : mode;
  t.match(port.capabilities.mode, new RegExp(`^${where}, copy, ${needWakeup ? '' : 'no '}need-wakeup, tx budget \\d+$`));
  t.equal(attached(lab.a), where, 'the kernel says so too');
  const before = [linkCounts(lab.a), linkCounts(lab.b)] as const;
  let [sent, sentBytes, came, cameBytes] = [0, 0, 0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const [out, back] = [randomFrames(lab.a, lab.b, AT_ONCE), randomFrames(lab.b, lab.a, AT_ONCE)];
    sendAll(host, port, out);
    sameFrames(t, await allOf(raw, out.length), out, `round ${round}, sent`);
    for (const each of back) raw.send(each);
    sameFrames(t, receiveSome(host, port, back.length).map(({ bytes }) => bytes), back, `round ${round}, received`);
    [sent, sentBytes, came, cameBytes] = [sent + out.length, sentBytes + totalBytes(out), came + back.length, cameBytes + totalBytes(back)];
  }
  t.match(statsOf(port), { txPackets: sent, txBytes: sentBytes, rxPackets: came, rxBytes: cameBytes, rxNoMbuf: 0, txRefused: 0 });
  const [a, b] = [difference(linkCounts(lab.a), before[0]), difference(linkCounts(lab.b), before[1])];
  t.match(a, { txPackets: sent, txBytes: sentBytes, rxPackets: came, rxDropped: 0, txDropped: 0 }, 'the interface counts the same');
  t.match(b, { rxPackets: sent, txPackets: came, rxDropped: 0, txDropped: 0 }, 'and its peer');
  // veth counts what a native program took without its Ethernet header, on both sides.
  const counted = cameBytes - (where === 'native' ? 14 * came : 0);
  t.same([a.rxBytes, b.txBytes], [counted, counted]);
  t.ok(Object.entries(statsOf(port).xstats).filter(([name, count]) => count > 0 && !['kernel_tx_ring_empty_descs', 'tx_wakeups'].includes(name)).length === 0, 'no frame was lost, no call refused');
  raw.close();
  closeBalanced(t, host);
}

async function allOf(raw: RawSocket, count: number): Promise<Uint8Array[]> {
  const found = raw.receive();
  await until(() => {
    found.push(...raw.receive());
    return found.length >= count;
  });
  return found;
}

inLab('two AF_XDP ports, one at each end', {}, async (t, lab) => {
  const [left, right] = [openAt(lab.a), openAt(lab.b, 'mode=generic')];
  for (let round = 0; round < ROUNDS; round++) {
    const [out, back] = [randomFrames(lab.a, lab.b, AT_ONCE), randomFrames(lab.b, lab.a, AT_ONCE)];
    sendAll(left, left.ports[0]!, out);
    sendAll(right, right.ports[0]!, back);
    sameFrames(t, bytesOf(right, out.length), out, 'to the right');
    sameFrames(t, bytesOf(left, back.length), back, 'to the left');
  }
  closeBalanced(t, left);
  closeBalanced(t, right);
});

function bytesOf(host: Host, count: number): Uint8Array[] {
  return receiveSome(host, host.ports[0]!, count).map(({ bytes }) => bytes);
}

inLab('frames below Ethernet\'s 60 bytes are neither padded nor cut on a veth', {}, async (t, lab) => {
  const host = openAt(lab.a);
  const raw = new RawSocket(lab.b);
  const frames = Array.from({ length: 60 - 14 }, (_, i) => frame(lab.a, lab.b, i, 14 + i));
  sendAll(host, host.ports[0]!, frames);
  sameFrames(t, await allOf(raw, frames.length), frames, 'sent');
  const back = frames.map((_, i) => frame(lab.b, lab.a, i, 14 + i));
  for (const each of back) t.equal(raw.send(each), each.length);
  sameFrames(t, bytesOf(host, back.length), back, 'received');
  raw.close();
  closeBalanced(t, host);
});

inLab('frames longer than a buffer, where only one was asked for: dropped by the kernel, counted by its name', { mtu: 3000 }, async (t, lab) => {
  const host = openAt(lab.a, 'mode=generic,frags=off');
  const raw = new RawSocket(lab.b);
  const { room } = host.pool;
  const lengths = [room - 1, room, room + 1, 3014];
  for (const [i, length] of lengths.entries()) raw.send(frame(lab.b, lab.a, i, length));
  const found = bytesOf(host, 2);
  t.same(found.map(each => each.length), [room - 1, room], 'what fits is received whole');
  t.ok(await until(() => statsOf(host.ports[0]!).xstats['kernel_rx_dropped'] === 2), 'what does not is in kernel_rx_dropped');
  raw.close();
  closeBalanced(t, host);
});

for (const needWakeup of ['on', 'off']) {
  inLab(`many more frames than the rings hold, in a ring of 64, need_wakeup=${needWakeup}`, {}, async (t, lab) => {
    const host = openAt(lab.a, `rx_ring=64,tx_ring=64,need_wakeup=${needWakeup}`);
    const raw = new RawSocket(lab.b);
    for (let round = 0; round < 40; round++) {
      const [out, back] = [randomFrames(lab.a, lab.b, 50), randomFrames(lab.b, lab.a, 30)];
      sendAll(host, host.ports[0]!, out);
      sameFrames(t, await allOf(raw, out.length), out, 'sent');
      for (const each of back) raw.send(each);
      sameFrames(t, bytesOf(host, back.length), back, 'received');
    }
    t.match(statsOf(host.ports[0]!), { txPackets: 2000, rxPackets: 1200, rxNoMbuf: 0 });
    raw.close();
    closeBalanced(t, host);
  });
}

for (const budget of [32, 256]) {
  inLab(`a burst of 200 goes in one call of ours, with a budget of ${budget} packets in the kernel's`, {}, async (t, lab) => {
    const host = openAt(lab.a, `tx_budget=${budget}`);
    const raw = new RawSocket(lab.b);
    const out = randomFrames(lab.a, lab.b, 200, 60, 60);
    const burst = host.burst(256);
    host.pool.alloc(burst, out.length);
    out.forEach((bytes, i) => { host.mbufs.copyIn(burst.handles[i]!, bytes); });
    t.equal(host.ports[0]!.tx[0]!.txBurst(burst, out.length), out.length);
    const given = Number(/tx budget (\d+)/.exec(host.ports[0]!.capabilities.mode)![1]);
    t.ok(given === budget || given === 32, `the kernel gave ${given}`);
    sameFrames(t, await allOf(raw, out.length), out, 'sent');
    t.match(statsOf(host.ports[0]!).xstats, { tx_wakeups: Math.ceil(out.length / given), tx_ring_full: 0 });
    raw.close();
    closeBalanced(t, host);
  });
}

inLab('a call without packets makes no system call when nothing waits in the ring', {}, async (t, lab) => {
  const host = openAt(lab.a);
  sendAll(host, host.ports[0]!, randomFrames(lab.a, lab.b, 10));
  const burst = host.burst(1);
  const { xstats } = statsOf(host.ports[0]!);
  let calls = 0;
  await until(() => {
    host.ports[0]!.tx[0]!.txBurst(burst, 0);
    return ++calls >= 100 && host.pool.audit().tx === 0;
  });
  t.equal(statsOf(host.ports[0]!).xstats['tx_wakeups'], xstats['tx_wakeups']);
  t.equal(host.pool.audit().tx, 0, 'and yet all are back');
  closeBalanced(t, host);
});

for (const mode of ['native', 'generic']) {
  inLab(`jumbo frames that another holds too are sent as copies, ${mode}`, { mtu: 9000 }, async (t, lab) => {
    const host = openAt(lab.a, `mode=${mode}`);
    const [port, raw, chains, burst] = [host.ports[0]!, new RawSocket(lab.b), new Chains(host.pool), host.burst(1)];
    const bytes = frame(lab.a, lab.b, 1, 9014);
    t.equal(host.pool.alloc(burst, 1), 1);
    const handle = burst.handles[0]!;
    t.ok(chains.copyIn(handle, bytes));
    chains.clone(handle);
    t.equal(port.tx[0]!.txBurst(burst, 1), 1);
    sameFrames(t, await allOf(raw, 1), [bytes], 'it went out whole');
    t.match(statsOf(port), { txPackets: 1, txBytes: 9014, xstats: { tx_copied: 1, tx_bad_frame: 0, kernel_tx_invalid_descs: 0 } });
    t.same(Buffer.from(chains.copyOut(handle)), Buffer.from(bytes), 'the other holder has it as it was');
    burst.handles[0] = handle;
    t.equal(port.tx[0]!.txBurst(burst, 1), 1, 'and sends it himself');
    sameFrames(t, await allOf(raw, 1), [bytes], 'without a copy');
    t.match(statsOf(port), { txPackets: 2, xstats: { tx_copied: 1 } });
    chains.close();
    raw.close();
    closeBalanced(t, host);
  });
}
