/** Several ways out: who gets the very mbuf, who a copy, and that each is freed once. */
import t from 'tap';
import type { Burst } from '../../lib/burst/burst.js';
import { open } from '../../lib/port/host.js';
import type { ActionList } from '../../lib/switch/actions.js';
import { Datapath } from '../../lib/switch/datapath.js';
import { TAG_KEEP, TAG_POP, TAG_PUSH } from '../../lib/switch/layout.js';
import { PortVlans } from '../../lib/switch/vlan.js';
import { frame } from './lab_helper.js';

t.test('ports that copy share one mbuf, others get their own, changed frames are copied once', t => {
  const host = open([], { mbufs: 64 });
  const datapath = new Datapath(host.pool, 8, () => 0);
  const burst = host.burst(32);
  const got: [number, number, string][] = [];
  const ports = [true, true, false, false].map((shares, i) => {
    const port = datapath.addPort({ name: `p${i}`, kind: 'device', bridge: 1, vlans: new PortVlans() });
    port.shares = shares;
    port.sink = { send: (line: Burst, count: number) => {
      for (let k = 0; k < count; k++) got.push([i, line.handles[k]!, Buffer.from(host.mbufs.copyOut(line.handles[k]!)).subarray(12, 18).toString('hex')]);
      host.pool.free(line, 0, count);
      return count;
    } };
    return port.number;
  });
  const list = (outputs: ActionList['outputs']): ActionList => ({ outputs, crossings: [], patches: [], storm: undefined, limiters: [], drop: undefined });
  const carry = (tag: number | undefined, outputs: ActionList['outputs']): [number, number, string][] => {
    got.length = 0;
    host.pool.alloc(burst, 1);
    const handle = burst.handles[0]!;
    host.mbufs.copyIn(handle, frame({ to: 2, from: 4, ...(tag === undefined ? {} : { tag }) }));
    datapath.carrier.carry(list(outputs), handle, 0);
    datapath.carrier.sendAll();
    t.equal(host.pool.audit().free, 64, 'all are free again');
    return got.map(([port, each, bytes]) => [port, each === handle ? 0 : each, bytes]);
  };
  const [a, b, c, d] = ports as [number, number, number, number];
  const keep = (port: number): ActionList['outputs'][number] => ({ port, tag: TAG_KEEP, snap: 0 });
  const shared = carry(undefined, [keep(a), keep(b)]);
  t.same(shared.map(([port, handle]) => [port, handle]), [[0, 0], [1, 0]], 'the same mbuf twice');
  const mixed = carry(undefined, [keep(a), keep(c), keep(b), keep(d)]);
  t.equal(mixed.filter(([, handle]) => handle === 0).length, 2);
  t.equal(new Set(mixed.map(([, handle]) => handle)).size, 3, 'each zero-copy port has one of its own');
  const alone = carry(undefined, [keep(c), keep(d)]);
  t.equal(alone.filter(([, handle]) => handle === 0).length, 1, 'the last of them gets the mbuf itself');
  const changed = carry(7, [{ port: a, tag: TAG_POP, snap: 0 }, { port: b, tag: TAG_POP, snap: 0 }, keep(c)]);
  t.same(changed.map(([port, , bytes]) => [port, bytes]), [[0, '88b55a5a5a5a'], [1, '88b55a5a5a5a'], [2, '8100000788b5']]);
  t.equal(changed[0]![1], changed[1]![1], 'one copy for both');
  t.equal(changed[2]![1], 0);
  const pushed = carry(undefined, [{ port: a, tag: TAG_PUSH | (9 << 16), snap: 0 }]);
  t.same(pushed, [[0, 0, '8100000988b5']], 'in place where nobody else has it');
  datapath.close();
  host.close();
  t.end();
});
