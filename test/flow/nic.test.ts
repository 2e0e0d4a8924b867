import fc from 'fast-check';
import t from 'tap';
import { testsOf } from '../../lib/flow/match.js';
import { NicOffload } from '../../lib/flow/nic.js';
import { disjoint } from '../../lib/flow/overlap.js';
import type { FlowAction, FlowRule } from '../../lib/flow/rule.js';
import { FlowTable } from '../../lib/flow/table.js';
import { XdpOffload } from '../../lib/flow/xdp.js';
import { RX_FDIR_ID } from '../../lib/mbuf/layout.js';
import { open, type Host } from '../../lib/port/host.js';
import type { RxQueue } from '../../lib/port/port.js';
import { closeBalanced, inLab, LONG, openAt } from '../port/drivers/af_xdp/helper.js';
import { needs } from '../kernel/rights.js';
import { ModelNic, ModelPort } from './nic_helper.js';
import { anyFrame, firstMatch, matches } from './rules_helper.js';

const fate = (...actions: FlowAction[]): fc.Arbitrary<FlowAction[]> => fc.constant(actions);
const fates: fc.Arbitrary<FlowAction[]> = fc.oneof(
  { weight: 5, arbitrary: fate({ do: 'drop' }) }, { weight: 3, arbitrary: fate({ do: 'queue', queue: 1 }) }, { weight: 3, arbitrary: fate({ do: 'queue', queue: 2 }) },
  fate({ do: 'count' }, { do: 'drop' }), fate({ do: 'mark', mark: 7 }), fate(), fate({ do: 'queue', queue: 0 }),
);
const lists: fc.Arbitrary<FlowRule[]> = fc.array(fc.tuple(matches, fates, fc.nat(3)), { maxLength: 10, size: 'max' })
  .map(list => list.map(([match, actions, priority], index) => ({ name: `rule ${index}`, priority, match, actions })));

t.test('property: rules that are called disjoint have no frame in common', async t => {
  let [disjointPairs, common] = [0, 0];
  fc.assert(fc.property(matches, matches, fc.array(anyFrame, { minLength: 20, maxLength: 40 }), (one, other, frames) => {
    const apart = disjoint(testsOf('one', one), testsOf('other', other));
    if (apart !== disjoint(testsOf('other', other), testsOf('one', one))) throw new Error('it depends on the order');
    if (apart) disjointPairs++;
    const both = frames.filter(frame => [one, other].every(match => firstMatch([{ name: 'it', priority: 0, match, actions: [] }], frame) !== undefined));
    if (apart && both.length > 0) throw new Error(`${JSON.stringify([one, other])}: ${Buffer.from(both[0]!).toString('hex')}`);
    common += both.length;
  }), { numRuns: LONG ? 5000 : 400 });
  t.ok(disjointPairs > 20 && common > 20, `${disjointPairs} pairs were disjoint, ${common} frames matched both of others`);
});

/** What came of frames: where each is, with its mark. */
interface Outcome { readonly kept: string[]; readonly queues: string[][]; readonly counts: unknown[] }

function outcome(host: Host, table: FlowTable, port: ModelPort, frames: readonly Uint8Array[]): Outcome {
  for (const frame of frames) port.inject(frame);
  const burst = host.burst(64);
  const drain = (rx: RxQueue): string[] => {
    const list: string[] = [];
    // Two that bring nothing: a queue of the table asks the NIC and its own ring in turn.
    for (let empty = 0; empty < 2;) {
      const got = rx.rxBurst(burst);
      list.push(...Array.from(burst.handles.subarray(0, got), handle => `${Buffer.from(host.mbufs.copyOut(handle)).toString('hex')} ${(host.mbufs.flags(handle) & RX_FDIR_ID) === 0 ? '-' : host.mbufs.mark(handle)}`));
      host.pool.free(burst, 0, got);
      empty = got === 0 ? empty + 1 : 0;
    }
    return list.sort();
  };
  const kept = drain(table.around(port.rx[0]!));
  const queues = [1, 2].map(queue => drain(table.queue(queue)));
  burst.close();
  return { kept, queues, counts: table.query().rules.map(({ name, packets, bytes }) => [name, packets, bytes]) };
}

t.test('property: with a NIC in front the same comes of every frame, whatever it takes, misses, and prefers', async t => {
  const host = open(['null:']);
  let [pushed, spared] = [0, 0];
  fc.assert(fc.property(fc.array(lists, { minLength: 1, maxLength: 3 }), fc.array(anyFrame, { minLength: 10, maxLength: 40, size: 'max' }), fc.record({ room: fc.nat(8), missEach: fc.nat(3), latestWins: fc.boolean(), spares: fc.boolean() }), (versions, frames, how) => {
    const nic = Object.assign(new ModelNic(how.spares), { room: how.room, missEach: how.missEach, latestWins: how.latestWins });
    const [plain, filtered] = [new ModelPort(host, undefined), new ModelPort(host, nic)];
    const offload = NicOffload.create(filtered.port);
    const [software, table] = [new FlowTable(host.pool, { queues: 3 }), new FlowTable(host.pool, { queues: 3, offload })];
    try {
      for (const rules of versions) {
        for (const each of [software, table]) each.replace(rules);
        const [wanted, found] = [outcome(host, software, plain, frames), outcome(host, table, filtered, frames)];
        if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(found)}\nnot\n${JSON.stringify(wanted)}\nwith ${JSON.stringify(table.query().rules)}`);
        pushed += nic.rules.length;
      }
      spared += software.query().dropped - table.query().dropped;
    } finally {
      for (const each of [offload, software, table]) each.close();
    }
    if (nic.rules.length > 0) throw new Error('rules are left');
  }), { numRuns: LONG ? 3000 : 400 });
  t.ok(pushed > 20 && spared > 20, `${pushed} rules were in the NIC, which dropped ${spared} frames`);
  t.equal(host.pool.audit().app, 0);
  host.close();
});

const on = (name: string, match: FlowRule['match'], ...actions: FlowAction[]): FlowRule => ({ name, ...(match === undefined ? {} : { match }), actions });
const drop = { do: 'drop' } as const;
const queue = (number: number): FlowAction => ({ do: 'queue', queue: number });

t.test('query says what ran in the NIC, and why the others did not', async t => {
  const host = open(['null:']);
  const nic = new ModelNic(false);
  const model = new ModelPort(host, nic);
  const why = (rule: FlowRule, options: { firstFragments?: boolean } = {}): string | undefined => {
    const offload = NicOffload.create(model.port, options);
    const table = new FlowTable(host.pool, { queues: 5, rules: [rule], offload });
    const [{ ran, why: reason } = { ran: '' }] = table.query().rules;
    table.close();
    offload.close();
    return ran === 'model' ? undefined : reason;
  };
  t.equal(why(on('r', { etherType: 0x88f7 }, drop)), undefined);
  t.equal(why(on('r', { destination: '10.0.0.0/8', vlan: 5, sourceMac: '02:00:00:00:00:01' }, queue(2))), undefined);
  t.equal(why(on('r', { etherType: 0x800, protocol: 'icmp' }, drop)), undefined);
  t.equal(why(on('r', { source: '10.0.0.1', protocol: 'udp', destinationPort: [53, 53] }, drop), { firstFragments: true }), undefined);
  for (const [rule, reason] of [
    [on('r', { etherType: 0x88f7 }, { do: 'count' }, drop), /not count/], [on('r', { etherType: 0x88f7 }), /nothing else/], [on('r', { etherType: 0x88f7 }, { do: 'mark', mark: 1 }), /not mark/],
    [on('r', { etherType: 0x88f7 }, queue(0)), /queue 0 is where/], [on('r', { etherType: 0x88f7 }, queue(4)), /has no queue 4/], [on('r', undefined, drop), /not every packet/],
    [on('r', { vlan: 'none' }, drop), /no tag/], [on('r', { fragment: true }, drop), /fragments/], [on('r', { etherType: 0x8100 }, drop), /a tag's/],
    [on('r', { source: '10.0.0.1', protocol: 'udp', destinationPort: [53, 54] }, drop), /no range/], [on('r', { source: '10.0.0.1', protocol: 'udp', destinationPort: 53 }, drop), /first fragments/],
    [on('r', { source: '0.0.0.0/0' }, drop), /length 0/], [on('r', { protocol: 'tcp' }, drop), /IPv4 or IPv6/], [on('r', { source: '::1', protocol: 44 }, drop), /within IPv6/],
    [on('r', { source: '10.0.0.1', destinationPort: 53 }, drop), /name tcp/], [on('r', { source: '10.0.0.1', destination: '::1' }, drop), /two versions/], [on('r', { source: '10.0.0.1', etherType: 0x86dd }, drop), /no packet/],
  ] as const) t.match(why(rule), reason, JSON.stringify(rule));
  nic.unruled = [0, 1];
  t.match(why(on('r', { etherType: 0x88f7 }, queue(1))), /out of RSS/);
  nic.unruled = undefined;
  t.match(why(on('r', { etherType: 0x88f7 }, queue(2))), /out of RSS/);
  const bare = NicOffload.create(new ModelPort(host, undefined).port);
  const table = new FlowTable(host.pool, { rules: [on('r', { etherType: 1 }, drop)], offload: bare });
  t.match(table.query().rules, [{ ran: 'software', why: 'NIC: model: has no filters' }]);
  table.close();
  host.close();
});

t.test('an earlier rule that wants the same packets otherwise keeps a later one out; what stays the same is not touched', async t => {
  const host = open(['null:']);
  const nic = new ModelNic();
  const offload = NicOffload.create(new ModelPort(host, nic).port);
  const table = new FlowTable(host.pool, { queues: 3, offload });
  const ran = (...rules: FlowRule[]): string[] => {
    table.replace(rules);
    return table.query().rules.map(each => each.ran);
  };
  const [wide, narrow] = [on('wide', { source: '10.0.0.0/8' }, drop), on('narrow', { source: '10.1.0.0/16' }, queue(1))];
  t.same(ran(narrow, wide), ['model', 'software']);
  t.match(table.query().rules[1], { why: /"narrow", which is asked before/ });
  t.same(ran(wide, on('too', { source: '10.1.0.0/16' }, drop)), ['model', 'model'], 'of one fate they may overlap');
  t.same(ran(on('counted', { source: '10.2.0.0/16' }, { do: 'count' }, drop), wide), ['software', 'software'], 'who is counted is counted');
  t.same(ran(on('arp', { etherType: 0x806 }, queue(2)), on('six', { source: '2001:db8::/32' }, queue(1)), on('four', { destination: '10.0.0.0/8' }, drop)), ['model', 'model', 'model'], 'nothing is both');
  const { added } = nic;
  ran(on('four', { destination: '10.0.0.0/8' }, drop), on('arp', { etherType: 0x806 }, queue(2)));
  t.equal(nic.added, added, 'two stayed, and one went');
  t.equal(nic.rules.length, 2);
  t.same(ran(on('one', { etherType: 0x806 }, drop), on('two', { etherType: 0x806 }, drop)), ['model', 'model']);
  t.equal(nic.rules.length, 1, 'the same is asked for once');
  offload.close();
  table.close();
  host.close();
});

t.test('a NIC, then XDP, then software', needs('CAP_NET_ADMIN', 'CAP_BPF'), async t => {
  const host = open(['null:']);
  const [nic, xdp] = [NicOffload.create(new ModelPort(host, new ModelNic()).port), XdpOffload.create()];
  const table = new FlowTable(host.pool, { queues: 2, offload: [nic, xdp], rules: [
    on('nic', { etherType: 0x88f7 }, drop), on('xdp', { etherType: 0x806 }, { do: 'count' }, drop), on('software', { etherType: 0x800 }, { do: 'mark', mark: 1 }),
  ] });
  t.match(table.query().rules, [{ ran: 'model' }, { ran: 'xdp', why: /^model: .*not count$/ }, { ran: 'software', why: /^model: .*not mark; xdp: .*not mark$/ }]);
  for (const each of [table, nic, xdp]) each.close();
  host.close();
});

inLab('a veth has no filters: the kernel says so, and the same comes of the packets', { queues: 2 }, async (t, { a, b }) => {
  const [sender, receiver] = [openAt(a), openAt(b, 'channels=1')];
  const port = receiver.ports[0]!;
  const offload = NicOffload.create(port);
  t.same(port.flowRules!.unruledQueues(), [0]);
  const table = new FlowTable(receiver.pool, { offload, rules: [on('drop', { etherType: 0x88f7 }, drop)] });
  t.match(table.query().rules, [{ ran: 'software', why: 'ethtool n-tuple: the kernel\'s driver (veth) says EOPNOTSUPP' }]);
  const burst = sender.burst(8);
  for (const type of [0x88f7, 0x88f8, 0x88f7, 0x88f9]) {
    sender.pool.alloc(burst, 1);
    sender.mbufs.copyIn(burst.handles[0]!, Uint8Array.from([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, type >> 8, type & 255, ...new Array<number>(46).fill(0)]));
    while (sender.ports[0]!.tx[0]!.txBurst(burst, 1) === 0);
  }
  const into = receiver.burst(8);
  const rx = table.around(port.rx[0]!);
  const types: number[] = [];
  for (const until = performance.now() + 60_000; types.at(-1) !== 0x88f9 && performance.now() < until;) {
    const got = rx.rxBurst(into);
    types.push(...Array.from(into.handles.subarray(0, got), handle => (receiver.mbufs.copyOut(handle)[12]! << 8) | receiver.mbufs.copyOut(handle)[13]!));
    receiver.pool.free(into, 0, got);
    sender.ports[0]!.tx[0]!.txBurst(burst, 0);
  }
  t.same(types, [0x88f8, 0x88f9]);
  t.equal(table.query().dropped, 2);
  for (const each of [burst, into, table, offload]) each.close();
  closeBalanced(t, sender);
  closeBalanced(t, receiver);
  t.match(port.flowRules!.add({ match: { etherType: 1 }, to: 'drop' }), /closed/);
});
