/** Several queues of one device in one port. */
import type { Test } from 'tap';
import { parseAttributes } from '../../../../lib/kernel/attributes.js';
import { getU32, setU32 } from '../../../../lib/kernel/bytes.js';
import { NLM_F_DUMP } from '../../../../lib/kernel/constants.js';
import { readChannels, setChannels } from '../../../../lib/kernel/ethtool.js';
import { netlinkRequest } from '../../../../lib/kernel/netlink.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import type { LabEnd } from '../../../../lib/lab/veth.js';
import type { PortEvent } from '../../../../lib/port/port.js';
import { codeThrown } from '../../../kernel/rights.js';
import { statsOf } from '../kernel_helper.js';
import { attached, closeBalanced, inLab, openAt, until } from './helper.js';
import { balanced, openEnds, receive, send } from './pair_helper.js';

interface Umem { readonly id: number; readonly refs: number }

/** The UMEM of each AF_XDP socket of a namespace (linux/xdp_diag.h); undefined where the kernel does not tell. */
function umems(end: LabEnd): Umem[] | undefined {
  const request = new Uint8Array(20); // struct xdp_diag_req
  request[0] = 44;
  setU32(request, 8, 4); // XDP_SHOW_UMEM
  try {
    return withNetns(end.netns, () => netlinkRequest(4, 20, NLM_F_DUMP, request, 'list AF_XDP sockets')).map(({ payload }) => {
      const umem = parseAttributes(payload.subarray(16)).get(5)!;
      return { id: getU32(umem, 8), refs: getU32(umem, 36) };
    });
  } catch {
    return undefined;
  }
}

/** @param arrives the queue that what a queue sends comes to: the same one, unless the XDP hook is not told of it */
async function queueByQueue(t: Test, ends: ReturnType<typeof openEnds>, lab: Parameters<typeof send>[1], arrives = (queue: number): number => queue): Promise<void> {
  for (const [from, to] of [[ends.b, ends.a], [ends.a, ends.b]] as const) {
    for (const queue of from.tx.keys()) {
      t.equal(send(ends, lab, from, queue, 1000 * queue, 100), 100);
      const found: number[] = [];
      await until(() => {
        found.push(...receive(ends, to, arrives(queue)));
        return found.length >= 100;
      });
      t.same(found, Array.from({ length: 100 }, (_, i) => 1000 * queue + i), `queue ${queue}: what it sends comes to queue ${arrives(queue)} of the other end, in order`);
    }
    t.same(to.rx.map((_, queue) => receive(ends, to, queue).length), to.rx.map(() => 0), 'and no other');
  }
}

for (const mode of ['native', 'generic']) {
  inLab(`four queues, ${mode}: each is a queue of the device, all share one UMEM`, { queues: 4 }, async (t, lab) => {
    const ends = openEnds(lab, 4, { mode });
    t.match(ends.a.capabilities, { rxQueues: 4, txQueues: 4 });
    const there = umems(lab.a);
    if (there === undefined) t.comment('this kernel has no xdp_diag: the sharing is not seen from outside');
    else {
      t.equal(there.length, 4);
      t.equal(new Set(there.map(({ id }) => id)).size, 1, 'one registration for the device');
      t.not(umems(lab.b)![0]!.id, there[0]!.id, 'another device has its own');
    }
    // From a veth the generic hook has the sender's queue, counted from 0, and reads it as a receive queue counted from 1 (netif_get_rxqueue in net/core/dev.c).
    const arrives = (queue: number): number => mode === 'native' ? queue : Math.max(0, queue - 1);
    await queueByQueue(t, ends, lab, arrives);
    const { rxPackets, txPackets, xstats } = statsOf(ends.a);
    t.same([rxPackets, txPackets], [400, 400]);
    for (let queue = 0; queue < 4; queue++) t.match(xstats, { [`rx_q${queue}_packets`]: 100 * [0, 1, 2, 3].filter(from => arrives(from) === queue).length, [`tx_q${queue}_bytes`]: 6000 });
    balanced(t, ends, 'every mbuf is accounted for');
    closeBalanced(t, ends.host);
  });
}

inLab('a frame goes from device to device as the mbuf that it is', { queues: 2 }, async (t, lab) => {
  const ends = openEnds(lab, 2);
  const burst = ends.host.burst(1);
  send(ends, lab, ends.b, 1, 7, 1);
  await until(() => ends.a.rx[1]!.rxBurst(burst) === 1);
  const handle = burst.handles[0]!;
  t.equal(ends.b.tx[0]!.txBurst(burst, 1), 1, 'received on one device, sent on the other');
  await until(() => ends.a.rx[0]!.rxBurst(burst) === 1);
  t.equal(ends.host.mbufs.copyOut(burst.handles[0]!).length, 60);
  ends.b.tx[0]!.txBurst(burst, 0);
  t.not(burst.handles[0], handle, 'the kernel copied it into another buffer, veth being no zero-copy driver');
  ends.host.pool.free(burst, 0, 1);
  burst.close();
  closeBalanced(t, ends.host);
});

inLab('two ports on two halves of a device come and go without each other', { queues: 4 }, async (t, lab) => {
  const first = openAt(lab.a, 'queue=0,queues=2');
  const second = openAt(lab.a, 'queue=2,queues=2');
  t.equal(codeThrown(() => openAt(lab.a, 'queue=1,queues=2')), 'EBUSYQUEUE', 'a queue has one port');
  closeBalanced(t, first);
  t.equal(attached(lab.a), 'native', 'the program stays for the other');
  const again = openAt(lab.a, 'queue=0,queues=2');
  closeBalanced(t, second);
  closeBalanced(t, again);
});

inLab('more queues than there are, and channels', { queues: 4 }, async (t, lab) => {
  const channels = (): [number, number] => withNetns(lab.a.netns, () => { const { rx, tx } = readChannels(lab.a.name); return [rx, tx]; });
  t.equal(codeThrown(() => openAt(lab.a, 'queues=5')), 'EOPTION');
  t.equal(codeThrown(() => openAt(lab.a, 'queues=4,queue=1')), 'EOPTION');
  t.equal(codeThrown(() => openAt(lab.a, 'channels=5')), 'EOPTION', 'a veth has as many as it was made with');
  withNetns(lab.b.netns, () => setChannels(lab.b.name, { rx: 2, tx: 2 }));
  withNetns(lab.a.netns, () => setChannels(lab.a.name, { rx: 2, tx: 2 }));
  t.throws(() => openAt(lab.a, 'queues=3'), { code: 'EOPTION', message: /has 2 receive queues.*channels=3/ });
  const host = openAt(lab.a, 'queues=3,channels=3,mode=generic');
  t.same(channels(), [3, 3]);
  closeBalanced(t, host);
  t.same(channels(), [2, 2], 'as before');
  t.equal(codeThrown(() => openAt(lab.a, 'queues=4,channels=3')), 'EOPTION');
  t.same(channels(), [2, 2], 'after a failure too');
});

inLab('channels changed by somebody else under a port', { queues: 4 }, async (t, lab) => {
  for (const end of [lab.b, lab.a]) withNetns(end.netns, () => setChannels(end.name, { rx: 3, tx: 3 }));
  const ends = openEnds(lab, 2);
  const events: PortEvent[] = [];
  ends.a.onEvent!(event => events.push(event));
  t.not(codeThrown(() => withNetns(lab.a.netns, () => setChannels(lab.a.name, { rx: 1, tx: 1 }))), 'none', 'the kernel keeps queues that have a socket');
  withNetns(lab.a.netns, () => setChannels(lab.a.name, { rx: 4 }));
  t.ok(await until(() => events.some(({ kind }) => kind === 'channels')), 'it is told');
  t.equal(statsOf(ends.a).xstats['channel_changes'], 1);
  await queueByQueue(t, ends, lab);
  closeBalanced(t, ends.host);
});
