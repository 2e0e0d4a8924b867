import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { ACL_NONE, ACL_RULES_MAX } from '../../lib/lookup/acl_layout.js';
import type { AclRule, Range } from '../../lib/lookup/acl_rules.js';
import { Acl, type Tuple } from '../../lib/lookup/acl.js';
import { Vector } from '../../lib/lookup/vector.js';
import { codeThrown } from '../kernel/rights.js';

const BUILDS = ['fast', 'portable', 'checking', 'twin'] as const;
const MAX = { source: 0xffffffff, destination: 0xffffffff, sourcePort: 0xffff, destinationPort: 0xffff, protocol: 0xff };
const FIELDS = Object.keys(MAX) as (keyof Tuple)[];

/** Few values near one another and at the ends, so that rules overlap and packets stand at their edges. */
function values(max: number): fc.Arbitrary<number> {
  return fc.oneof(fc.nat(3), fc.nat(3).map(less => max - less), fc.nat(max), fc.nat(3).map(more => Math.min(max, 0x0a000000 + more)), fc.nat(3).map(more => Math.min(max, 0x0a00ffff + more)));
}

function ranges(max: number): fc.Arbitrary<Range | undefined> {
  return fc.option(fc.tuple(values(max), values(max)).map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]), { nil: undefined, freq: 2 });
}

const rules: fc.Arbitrary<AclRule> = fc.record({
  priority: fc.integer({ min: -3, max: 3 }), value: fc.nat(0xfffffffe),
  ...Object.fromEntries(FIELDS.map(field => [field, ranges(MAX[field])])),
}).map(rule => Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)) as unknown as AclRule);
const tuples: fc.Arbitrary<Tuple> = fc.record(Object.fromEntries(FIELDS.map(field => [field, values(MAX[field])])) as Record<keyof Tuple, fc.Arbitrary<number>>);

/** All rules, tried in the order of their priority. */
function model(list: readonly AclRule[], tuple: Tuple): number {
  const allowed = list.filter(rule => FIELDS.every(field => {
    const [first, last] = (rule[field] ?? [0, MAX[field]]) as Range;
    return tuple[field] >= first && tuple[field] <= last;
  }));
  const best = Math.max(...allowed.map(({ priority }) => priority));
  return allowed.find(({ priority }) => priority === best)?.value ?? ACL_NONE;
}

t.test('any rules, any packet: every build finds what trying all rules finds, and changes nothing', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const functions = BUILDS.map(build => instantiate(arena.memory, build));
  const acl = Acl.create(arena, 'acl');
  const [vector, found] = [acl.tuples(20), new Vector(arena, 20)];
  let [hits, misses] = [0, 0];
  fc.assert(fc.property(fc.oneof(fc.array(rules, { maxLength: 12 }), fc.array(rules, { minLength: 120, maxLength: 300 })), fc.array(tuples, { minLength: 1, maxLength: 20 }), (list, packets) => {
    acl.build(list);
    packets.forEach((packet, i) => Acl.setTuple(vector, i, packet));
    const wanted = packets.map(packet => model(list, packet));
    const table = arena.find(`acl/${(acl.toJSON() as { builds: number }).builds}`);
    const before = Buffer.from(arena.u8.slice(table.offset, table.offset + table.length));
    for (const { aclClassify } of functions) {
      const count = aclClassify(acl.offset, vector.offset, found.offset, packets.length);
      if (count !== wanted.filter(value => value !== ACL_NONE).length) throw new Error(`${count} matches`);
      if (wanted.join() !== found.u32.subarray(0, packets.length).join()) throw new Error(`found ${found.u32.join()}, wanted ${wanted.join()}`);
    }
    if (!before.equals(arena.u8.subarray(table.offset, table.offset + table.length))) throw new Error('the table changed');
    hits += wanted.filter(value => value !== ACL_NONE).length;
    misses += wanted.filter(value => value === ACL_NONE).length;
  }), { numRuns: 150 });
  t.ok(hits > 200 && misses > 20, `${hits} packets matched a rule, ${misses} none`);
});

t.test('thousands of rules, and the first of thousands that match', async t => {
  const arena = Arena.create({ size: 128 << 20 });
  const acl = Acl.create(arena, 'acl');
  const list: AclRule[] = Array.from({ length: 4000 }, (_, i) => ({ priority: i, value: i, source: [i * 1000, i * 1000 + 1500], destinationPort: [i % 100, 65535] }));
  acl.build(list);
  const [vector, found] = [acl.tuples(1), new Vector(arena, 1)];
  for (const source of [0, 999, 1000, 1500, 1501, 2_000_500, 3_999_000, 4_000_500, 4_000_501]) {
    for (const destinationPort of [0, 50, 99, 100]) {
      const packet = { source, destination: 1, sourcePort: 1, destinationPort, protocol: 6 };
      Acl.setTuple(vector, 0, packet);
      acl.classifyBulk(vector, found, 1);
      t.equal(found.u32[0], model(list, packet), `${source} ${destinationPort}`);
    }
  }
  acl.build(Array.from({ length: ACL_RULES_MAX }, (_, i) => ({ priority: -i, value: i })));
  acl.classifyBulk(vector, found, 1);
  t.equal(found.u32[0], 0, 'all match, the first wins');
  t.match(acl.toJSON(), { rules: ACL_RULES_MAX, duplicates: ACL_RULES_MAX - 1, classes: { source: 1 } });
});

t.test('as a person writes it', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const acl = Acl.create(arena, 'acl');
  const [vector, found] = [acl.tuples(3), new Vector(arena, 3)];
  const ssh = { source: 0x0a010203, destination: 0xc0a80101, sourcePort: 40000, destinationPort: 22, protocol: 6 };
  Acl.setTuple(vector, 0, ssh);
  Acl.setTuple(vector, 1, { ...ssh, source: 0x0b000000 });
  Acl.setTuple(vector, 2, { ...ssh, protocol: 17 });
  t.equal(acl.classifyBulk(vector, found, 3), 0, 'no rules yet');
  acl.build([{ priority: 1, value: 0, source: '10.0.0.0/8', destination: '192.168.1.1', destinationPort: 22, protocol: 6 }, { priority: 0, value: 1, protocol: 6 }]);
  t.equal(acl.classifyBulk(vector, found, 3), 2);
  t.same(Array.from(found.u32), [0, 1, ACL_NONE]);
  const other = Arena.attach(arena.share());
  t.equal(Acl.find(other, 'acl').count, 2);
  t.equal(codeThrown(() => Acl.find(other, 'acl').build([])), 'ETHREAD');
  other.close();
  const zones = arena.zones().length;
  for (let turn = 0; turn < 5; turn++) acl.build([{ priority: 0, value: turn }]);
  t.equal(arena.zones().length, zones + 1, 'the table in use and the one before');
  acl.classifyBulk(vector, found, 3);
  t.same(Array.from(found.u32), [4, 4, 4]);
  acl.close();
  t.equal(codeThrown(() => Acl.find(arena, 'acl')), 'ENOTFOUND');
});

t.test('what a builder had begun that died is in nobody\'s way', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const acl = Acl.create(arena, 'acl');
  arena.reserve('acl/1', 64); // whose it is says only its name
  acl.build([{ priority: 0, value: 7 }]);
  t.equal(acl.count, 1);
  acl.close();
  t.equal(arena.zones().filter(({ name }) => name.startsWith('acl')).length, 0);
});

t.test('bad rules leave those that there were', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const acl = Acl.create(arena, 'acl');
  acl.build([{ priority: 0, value: 7 }]);
  const good = { priority: 0, value: 1 };
  for (const bad of [{ priority: NaN }, { value: -1 }, { value: ACL_NONE }, { source: '10.0.0.1/8' }, { source: '10.0.0.0/33' }, { source: '10.0.0.0/8/8' }, { source: '::1' }, { source: 'host' }, { source: [2, 1] as Range }, { destinationPort: 65536 }, { sourcePort: [0, 1.5] as Range }, { protocol: -1 }]) {
    t.equal(codeThrown(() => acl.build([good, { ...good, ...bad }])), 'EOPTION', JSON.stringify(bad));
  }
  t.throws(() => acl.build([{ ...good, source: '10.0.0.129/25' }]), { message: /source 10\.0\.0\.129\/25 has bits behind its length: write 10\.0\.0\.128\/25, or 10\.0\.0\.129\/32/ });
  t.equal(codeThrown(() => acl.build(new Array<AclRule>(ACL_RULES_MAX + 1).fill(good))), 'ETABLEFULL');
  t.equal(codeThrown(() => acl.build(Array.from({ length: 8000 }, (_, i) => ({ ...good, source: [i, i * 3] as Range, destination: [i, i * 3] as Range })))), 'EARENAFULL');
  const [vector, found] = [acl.tuples(1), new Vector(arena, 1)];
  t.equal(acl.classifyBulk(vector, found, 1), 1);
  t.equal(found.u32[0], 7);
});
