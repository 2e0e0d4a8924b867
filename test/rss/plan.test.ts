import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { planQueues, type PlanLcore, type PlanPort } from '../../lib/rss/plan.js';
import { open, planPorts } from '../../lib/index.js';
import type { Port, PortRss } from '../../lib/port/port.js';
import { hashFlowBy, Rss } from '../../lib/rss/rss.js';
import type { Flow } from '../../lib/rss/tuple.js';
import { codeThrown } from '../kernel/rights.js';
import { flows } from './frames_helper.js';

const ports = fc.array(fc.record({ rxQueues: fc.integer({ min: 1, max: 16 }), node: fc.constantFrom(-1, 0, 1) }), { minLength: 1, maxLength: 6 })
  .map(list => list.map((port, i): PlanPort => ({ name: `p${i}`, ...port })));
const lcores = fc.array(fc.constantFrom(-1, 0, 1), { minLength: 1, maxLength: 12 }).map(list => list.map((node, cpu): PlanLcore => ({ name: `l${cpu}`, cpu, node })));

t.test('every queue has one lcore, near where there is one, and the work is spread', async t => {
  fc.assert(fc.property(ports, lcores, (someports, some) => {
    const plan = planQueues(someports, some);
    const names = plan.assignments.map(({ port, queue }) => `${port.name}/${queue}`);
    const wanted = someports.flatMap(port => Array.from({ length: port.rxQueues }, (_, queue) => `${port.name}/${queue}`));
    if (names.join() !== wanted.join()) throw new Error(names.join());
    for (const { port, lcore, crosses } of plan.assignments) {
      const apart = port.node! >= 0 && lcore.node! >= 0 && port.node !== lcore.node;
      if (crosses !== apart) throw new Error('crosses is wrong');
      if (apart && some.some(each => each.node! < 0 || each.node === port.node)) throw new Error('a near one was passed over');
    }
  }));
  fc.assert(fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 16 }), (rxQueues, count) => {
    const all = Array.from({ length: count }, (_, cpu) => ({ name: `l${cpu}`, cpu }));
    const plan = planQueues([{ name: 'p', rxQueues }], all);
    const counts = all.map(lcore => plan.queuesOf(lcore).length);
    if (Math.max(...counts) - Math.min(...counts) > 1) throw new Error(counts.join());
  }));
  t.pass('for any ports and lcores');
});

t.test('which lcore sees this flow?', async t => {
  const rss = Rss.create(Arena.create({ size: MIN_ARENA }), 'rss');
  const reta = Array.from({ length: 128 }, (_, i) => 3 - (i % 4));
  const four = [0, 1, 2, 3].map(cpu => ({ name: `l${cpu}`, cpu }));
  const plan = planQueues([{ name: 'eth0', rxQueues: 4, reta, rss }, { name: 'eth1', rxQueues: 3, rss }, { name: 'dumb', rxQueues: 1 }], four);
  const flow = { source: '66.9.149.187', destination: '161.142.100.80', protocol: 'tcp', sourcePort: 2794, destinationPort: 1766 } as const;
  t.match(plan.whereIs('eth0', flow), { hash: 0x51ccc178, bucket: 0x78, queue: 3, lcore: { name: 'l3' } }, 'by the published hash');
  const sighting = plan.whereIs('eth1', flow);
  t.equal(sighting.queue, 0x78 % 3);
  t.equal(sighting.lcore, plan.assignments.find(each => each.port.name === 'eth1' && each.queue === sighting.queue)!.lcore);
  t.equal(codeThrown(() => plan.whereIs('dumb', flow)), 'EOPTION');
  t.equal(codeThrown(() => plan.whereIs('eth9', flow)), 'ENOTFOUND');
  t.equal(String(plan).split('\n').length, 9);
  t.match(String(plan), /^port +queue +lcore +CPU/);
});

t.test('what is no plan', async t => {
  t.equal(codeThrown(() => planQueues([], [])), 'EOPTION');
  for (const port of [{ rxQueues: 0 }, { rxQueues: 1.5 }, { rxQueues: 2, reta: [0, 2] }, { rxQueues: 2, reta: [] }]) {
    t.equal(codeThrown(() => planQueues([{ name: 'p', ...port }], [{ name: 'l', cpu: 0 }])), 'EOPTION');
  }
  t.match(String(planQueues([{ name: 'p', rxQueues: 1, node: 1 }], [{ name: 'l', cpu: 0, node: 0 }])), /crosses nodes/);
});

t.test('the hash that a plan makes by itself is the one of the arena', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  fc.assert(fc.property(flows, fc.uint8Array({ minLength: 40, maxLength: 64 }), fc.nat(255), (flow: Flow, key, types) => {
    const rss = Rss.create(arena, 'rss', { key, types });
    if (rss.hashFlow(flow) !== hashFlowBy(key, types, flow)) throw new Error('they differ');
    rss.close();
  }));
  t.equal(hashFlowBy(Rss.create(arena, 'default').key, 255, { source: '66.9.149.187', destination: '161.142.100.80', protocol: 'tcp', sourcePort: 2794, destinationPort: 1766 }), 0x51ccc178, 'and the published one');
  arena.close();
});

t.test('open ports and CPUs: names, numbers as launch takes them, and the table of who has one', async t => {
  const host = open(['ring:a', 'null:', 'ring:b']);
  const plan = planPorts(host.ports, [0, 1]);
  t.same(plan.assignments.map(({ port, lcore }) => `${port.name} ${lcore.name}`), ['ring:a cpu0', 'null: cpu1', 'ring:b cpu0']);
  t.same(plan.lcores.map(({ lcore, queues }) => [lcore.cpu, queues.map(({ port, direction, queue }) => `${port} ${direction} ${queue}`)]), [[0, ['0 rx 0', '2 rx 0']], [1, ['1 rx 0']]]);
  t.equal(codeThrown(() => plan.whereIs('null:', { source: '10.0.0.1', destination: '10.0.0.2' })), 'EOPTION', 'a memory port hashes nothing');
  // A NIC's part is played here; in the VM lab (test/vm/guest/rss.test.ts) a real driver's NIC has it.
  const rss = { key: new Uint8Array(40).fill(0x6d), types: 255, reta: [0, 0, 0, 0] };
  const withRss = (change: Partial<PortRss>): Port => Object.defineProperty(Object.create(host.ports[0]!) as Port, 'rss', { value: { ...rss, ...change } });
  t.equal(planPorts([withRss({})], [7]).whereIs('ring:a', { source: '10.0.0.1', destination: '10.0.0.2' }).lcore.cpu, 7);
  t.throws(() => planPorts([withRss({ reta: [0, 1] })], [7]).whereIs('ring:a', { source: '10.0.0.1', destination: '10.0.0.2' }), { code: 'EOPTION', message: /open all queues that its table names/ }, 'of flows that come to queues of others nothing is said');
  host.close();
});
