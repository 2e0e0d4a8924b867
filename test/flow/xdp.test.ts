import fc from 'fast-check';
import t from 'tap';
import type { FlowRule } from '../../lib/flow/rule.js';
import type { FlowReport } from '../../lib/flow/report.js';
import { FlowTable } from '../../lib/flow/table.js';
import { XdpOffload } from '../../lib/flow/xdp.js';
import { RX_FDIR_ID } from '../../lib/mbuf/layout.js';
import { withNetns } from '../../lib/kernel/netns.js';
import type { LabEnd } from '../../lib/lab/veth.js';
import { open, type Host } from '../../lib/port/host.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { closeBalanced, inLab, LONG, openAt } from '../port/drivers/af_xdp/helper.js';
import { anyFrame, ruleLists } from './rules_helper.js';

const rights = needs('CAP_NET_ADMIN', 'CAP_BPF');

t.test('property: an XDP program decides and counts as the software does, for any rules and any frame', rights, async t => {
  const host = open(['null:']);
  const offload = XdpOffload.create();
  const software = new FlowTable(host.pool, { queues: 3 });
  const pushed = new FlowTable(host.pool, { queues: 3, offload });
  const burst = host.burst(1);
  const tally = { drop: 0, pass: 0 };
  fc.assert(fc.property(ruleLists, fc.array(anyFrame, { minLength: 1, maxLength: 20, size: 'max' }), (rules, frames) => {
    for (const table of [software, pushed]) {
      table.replace([]);
      table.replace(rules);
    }
    const lengths = [0, 0];
    for (const frame of frames) {
      const stays = [software, pushed].map((table, each) => {
        const verdict = each === 1 ? offload.tryFrame(frame) : 'pass';
        tally[verdict]++;
        if (verdict === 'drop') return { stays: 0, mark: -1 };
        host.pool.alloc(burst, 1);
        host.mbufs.copyIn(burst.handles[0]!, frame);
        lengths[each]!++;
        const kept = table.process(burst, 1);
        const mark = kept > 0 && (host.mbufs.flags(burst.handles[0]!) & RX_FDIR_ID) !== 0 ? host.mbufs.mark(burst.handles[0]!) : -1;
        host.pool.free(burst, 0, kept);
        for (const queue of [1, 2]) host.pool.free(burst, 0, table.queue(queue).rxBurst(burst));
        return { stays: kept, mark };
      });
      if (JSON.stringify(stays[0]) !== JSON.stringify(stays[1])) throw new Error(`${JSON.stringify(stays)}: ${Buffer.from(frame).toString('hex')}`);
    }
    const counts = [software, pushed].map(table => table.query().rules.map(({ name, packets, bytes }) => [name, packets, bytes]));
    if (JSON.stringify(counts[0]) !== JSON.stringify(counts[1])) throw new Error(JSON.stringify(counts));
  }), { numRuns: LONG ? 2000 : 150 });
  t.ok(tally.drop > 20 && tally.pass > 200, `${tally.drop} dropped by XDP, ${tally.pass} went up`);
  for (const table of [software, pushed]) table.close();
  offload.close();
  offload.close();
  host.close();
});

t.test('query says what ran where, and why not', rights, async t => {
  const host = open(['null:']);
  const offload = XdpOffload.create();
  const table = new FlowTable(host.pool, { offload, rules: [
    { name: 'both', actions: [{ do: 'count' }, { do: 'drop' }], match: { protocol: 'tcp' } }, { name: 'mark', actions: [{ do: 'count' }, { do: 'mark', mark: 1 }], match: { protocol: 'udp' } }, { name: 'rest', actions: [] },
  ] });
  t.match(table.query().rules, [{ ran: 'xdp' }, { ran: 'software', why: /does not mark/ }, { ran: 'xdp' }]);
  t.equal(codeThrown(() => XdpOffload.create({ queues: 0 })), 'EOPTION');
  table.close();
  offload.close();
  host.close();
});

interface Outcome { readonly kept: readonly string[]; readonly queues: readonly (readonly string[])[]; readonly rules: readonly unknown[]; readonly dropped: number }

/** The last frame of each round: no rule of the lists is asked about it. */
const END = Uint8Array.from([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5, ...new Array<number>(46).fill(0)]);
const PASS_END: FlowRule = { name: 'end', priority: 0, match: { etherType: 0x88b5 }, actions: [] };

/** Sends frames from one end to the other, where a table stands behind the port, and says what came of it. */
function outcome(sender: Host, receiver: Host, table: FlowTable, frames: readonly Uint8Array[]): Outcome {
  const burst = sender.burst(64);
  const tx = sender.ports[0]!.tx[0]!;
  for (const frame of [...frames, END]) {
    sender.pool.alloc(burst, 1);
    sender.mbufs.copyIn(burst.handles[0]!, frame);
    while (tx.txBurst(burst, 1) === 0);
  }
  const into = receiver.burst(64);
  const words = (count: number): string[] => {
    const list = Array.from(into.handles.subarray(0, count), handle => `${Buffer.from(receiver.mbufs.copyOut(handle)).toString('hex')} ${(receiver.mbufs.flags(handle) & RX_FDIR_ID) === 0 ? '-' : receiver.mbufs.mark(handle)}`);
    receiver.pool.free(into, 0, count);
    return list;
  };
  const rx = table.around(receiver.ports[0]!.rx[0]!);
  const kept: string[] = [];
  const end = `${Buffer.from(END).toString('hex')} -`;
  for (const until = performance.now() + 60_000; kept.at(-1) !== end && performance.now() < until;) {
    kept.push(...words(rx.rxBurst(into)));
    tx.txBurst(burst, 0);
  }
  const queues = [1, 2].map(queue => words(table.queue(queue).rxBurst(into)));
  const { rules, dropped }: FlowReport = table.query();
  burst.close();
  into.close();
  return { kept, queues, dropped, rules: rules.map(({ name, packets, bytes }) => [name, packets, bytes]) };
}

inLab('the same packets over a veth, in software and pushed down: the same comes of them', {}, async (t, { a, b }) => {
  const cases = fc.sample(fc.tuple(ruleLists, fc.array(anyFrame, { minLength: 20, maxLength: 50 })), { numRuns: LONG ? 60 : 12, seed: 6 });
  const run = (offloaded: boolean): { outcomes: Outcome[]; spared: number } => {
    const offload = offloaded ? XdpOffload.create() : undefined;
    const [sender, receiver] = [openAt(a), openWith(b, offload)];
    const table = new FlowTable(receiver.pool, { queues: 3, ...(offload === undefined ? {} : { offload }) });
    let spared = 0;
    const outcomes = cases.map(([rules, frames]) => {
      table.replace([]);
      const before = table.query().dropped;
      table.replace([PASS_END, ...rules.map(rule => ({ ...rule, priority: rule.priority! + 1 }))]);
      const found = outcome(sender, receiver, table, frames);
      spared += found.dropped - before;
      return { ...found, dropped: 0 };
    });
    if (offloaded) t.ok(table.query().rules.some(({ ran }) => ran === 'xdp'), 'some rules were pushed down');
    table.close();
    closeBalanced(t, sender);
    closeBalanced(t, receiver);
    offload?.close();
    return { outcomes, spared };
  };
  const [software, pushed] = [run(false), run(true)];
  cases.forEach((_, i) => t.same(pushed.outcomes[i], software.outcomes[i], `case ${i}: ${software.outcomes[i]!.kept.length} stayed`));
  t.ok(pushed.spared < software.spared, `${software.spared} drops in software; with XDP in front ${pushed.spared}`);
});

function openWith(end: LabEnd, offload: XdpOffload | undefined): Host {
  return offload === undefined ? openAt(end) : withNetns(end.netns, () => open([{ driver: 'af_xdp', device: end.name, ...offload.options }]));
}
