import fc from 'fast-check';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import type { Memzone } from '../../lib/arena/directory.js';
import { ARENA_HEADER, HEADER_HEAP, ZONE_RAW } from '../../lib/arena/layout.js';
import { PollmodeError } from '../../lib/errors.js';
import { Party } from './party_helper.js';

const ZEROS = Buffer.alloc(MIN_ARENA);

type Command =
  | { readonly do: 'reserve'; readonly name: number; readonly length: number; readonly align: number; readonly file: 'own' | 'arena' }
  | { readonly do: 'release'; readonly which: number };

const commands: fc.Arbitrary<Command[]> = fc.array(fc.oneof(
  { weight: 3, arbitrary: fc.record({
    do: fc.constant('reserve' as const), name: fc.nat(20),
    length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 6 << 20 })),
    align: fc.integer({ min: 0, max: 16 }).map(power => 2 ** power), file: fc.constantFrom('arena' as const, 'arena' as const, 'arena' as const, 'own' as const),
  }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat(100) }) },
), { minLength: 1, maxLength: 60, size: 'max' });

t.test('reserve and release against a model: no overlap, aligned, unique, zeroed, first fit', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const heap = arena.u32[(ARENA_HEADER + HEADER_HEAP) >>> 2]!;
  const tally = { reserved: 0, full: 0, taken: 0 };
  fc.assert(fc.property(commands, list => {
    for (const zone of arena.zones()) arena.release(zone);
    const model = new Map<string, Memzone>();
    for (const command of list) {
      if (command.do === 'release') {
        const zone = [...model.values()][command.which % Math.max(model.size, 1)];
        if (zone === undefined) continue;
        arena.release(zone);
        model.delete(zone.name);
      } else {
        tally[reserveBeside(arena, heap, model, command)]++;
      }
      const listed = arena.zones().sort((a, b) => a.offset - b.offset);
      const wanted = [...model.values()].sort((a, b) => a.offset - b.offset);
      if (JSON.stringify(listed) !== JSON.stringify(wanted)) throw new Error('the directory and the model differ');
    }
  }), { numRuns: 30 });
  t.ok(Object.values(tally).every(count => count > 0), `reserved ${tally.reserved}, full ${tally.full}, name taken ${tally.taken}`);
  for (const zone of arena.zones()) arena.release(zone);
  t.equal(arena.reserve('all', arena.size - heap).offset, heap, 'all of it is one piece again');
  arena.close();
});

/** Reserves in the arena and in the model, and throws where they do not agree. */
function reserveBeside(arena: Arena, heap: number, model: Map<string, Memzone>, { name, length, align, file }: Command & { do: 'reserve' }): 'reserved' | 'full' | 'taken' {
  const page = file === 'own' ? 4096 : 1;
  const whole = Math.ceil(length / page) * page;
  const wanted = model.has(`zone ${name}`) ? 'taken' : lowest([...model.values()], heap, arena.size, whole, Math.max(align, page));
  try {
    const zone = arena.reserve(`zone ${name}`, length, { align, file });
    if (zone.offset !== wanted || zone.length !== whole) throw new Error(`at ${zone.offset} with ${zone.length} bytes, wanted at ${String(wanted)}`);
    const bytes = Buffer.from(arena.buffer, zone.offset, zone.length);
    if (!bytes.equals(ZEROS.subarray(0, zone.length))) throw new Error(`"${zone.name}" is not zeroed`);
    bytes.fill(0xa5);
    model.set(zone.name, zone);
    return 'reserved';
  } catch (error) {
    if (!(error instanceof PollmodeError) || error.code !== (wanted === 'taken' ? 'EEXISTS' : 'EARENAFULL') || typeof wanted === 'number') throw error;
    return wanted === 'taken' ? 'taken' : 'full';
  }
}

/** The slow and obvious way: tries every place where something ends. */
function lowest(zones: readonly Memzone[], heap: number, end: number, length: number, align: number): number | 'full' {
  const starts = [heap, ...zones.map(zone => zone.offset + zone.length)].map(at => Math.ceil(at / align) * align).sort((a, b) => a - b);
  const fits = (at: number): boolean => at + length <= end && zones.every(zone => at + length <= zone.offset || at >= zone.offset + zone.length);
  return starts.find(fits) ?? 'full';
}

t.test('a full arena says how much is free, and in how large pieces', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const heap = arena.u32[(ARENA_HEADER + HEADER_HEAP) >>> 2]!;
  const quarter = (arena.size - heap) / 4;
  const zones = [0, 1, 2, 3].map(i => arena.reserve(`quarter ${i}`, quarter));
  arena.release(zones[0]!);
  arena.release(zones[2]!);
  t.throws(() => arena.reserve('half', 2 * quarter), { code: 'EARENAFULL', message: new RegExp(`of ${2 * quarter} bytes \\(${2 * quarter} are free, ${quarter} of them in one piece\\)`) });
  arena.release(zones[1]!);
  t.equal(arena.reserve('three', 3 * quarter).offset, zones[0]!.offset, 'neighbours that are free are one piece');
  arena.close();
});

t.test('a full directory says so', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  let count = 0;
  t.throws(() => { for (;; count++) arena.reserve(`zone ${count}`, 1); }, { code: 'EARENAFULL', message: /an arena has 1024/ });
  t.equal(count, 1024);
  arena.release(arena.find('zone 500'));
  t.equal(arena.reserve('again', 1).index, 500);
  arena.close();
});

t.test('names, lengths and alignments that will not do', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const names = ['', 'x'.repeat(64), 'é'.repeat(32), 'a\0b', '\0', '\ud800', 'a\udfffb', 5, null, undefined, Symbol.iterator, {}, ['x']] as unknown as string[];
  for (const name of names) t.throws(() => arena.reserve(name, 64), { name: 'PollmodeError', code: 'EOPTION' }, String(name));
  for (const length of [0, -1, 0.5, 64.5, NaN, Infinity, -Infinity, '64', null] as unknown as number[]) {
    t.throws(() => arena.reserve('x', length), { name: 'PollmodeError', code: 'EOPTION' }, String(length));
    t.throws(() => arena.reserve('x', length, { file: 'own' }), { name: 'PollmodeError', code: 'EOPTION' }, `${String(length)} in a file`);
    t.throws(() => arena.overlay('x', length, 0), { name: 'PollmodeError', code: 'EOPTION' }, `${String(length)} as an overlay`);
  }
  for (const align of [0, -64, 3, 65, 64.5, NaN, Infinity, 2 ** 32, 2 ** 32 + 64, 2 ** 40, '64'] as unknown as number[]) {
    t.throws(() => arena.reserve('x', 64, { align }), { name: 'PollmodeError', code: 'EOPTION' }, String(align));
  }
  for (const length of [2 ** 32, 2 ** 53, arena.size]) t.throws(() => arena.reserve('x', length), { code: 'EARENAFULL' });
  t.same(arena.zones(), []);
  const good = ['x'.repeat(63), 'é'.repeat(31), '\ufeffmark', 'mark', 'a b\n\t', '../../etc', '__proto__', '😀', ' ', '%s%n'];
  for (const [i, name] of good.entries()) arena.reserve(name, i + 1);
  for (const [i, name] of good.entries()) {
    t.equal(arena.find(name).length, i + 1, name);
    t.throws(() => arena.reserve(name, 1), { code: 'EEXISTS' });
  }
  t.equal(arena.lookup('nothing'), undefined);
  t.throws(() => arena.find('nothing'), { code: 'ENOTFOUND' });
  arena.close();
});

t.test('a zone is released once, and one that took its place is left alone', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const first = arena.reserve('same', 4096);
  arena.release(first);
  t.throws(() => { arena.release(first); }, { code: 'ENOTFOUND' });
  const second = arena.reserve('same', 4096);
  t.equal(second.offset, first.offset);
  t.equal(second.index, first.index);
  t.throws(() => { arena.release(first); }, { code: 'ENOTFOUND' });
  t.same(arena.find('same'), second);
  arena.close();
});

t.test('memory that was never used costs nothing: a zone of 3 GiB', async t => {
  const arena = Arena.create({ size: 4 * 2 ** 30 - 65536 });
  const before = process.memoryUsage.rss();
  const large = arena.reserve('large', 3 * 2 ** 30);
  t.ok(process.memoryUsage.rss() - before < 256 << 20);
  t.equal(arena.u8[large.offset + large.length - 1], 0);
  arena.close();
});

t.test('several threads reserve and release at once while one looks: every zone is whole, and none overlap', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const flag = arena.reserve('flag', 64, { type: ZONE_RAW });
  const threads = [0, 1, 2].map(() => new Party(t, { kind: 'thread' }));
  const working = threads.map((thread, number) => thread.run(({ Arena }, { share, number, flag, times }) => {
    const mine = Arena.attach(share);
    Atomics.add(mine.i32, flag >> 2, 1);
    for (let i = 0; i < times; i++) {
      // Each name tells its zone's length.
      const length = 1 + (i * 7919 + number * 104729) % 5000;
      const zone = mine.reserve(`${number} ${length}`, length);
      mine.u8.fill(number + 1, zone.offset, zone.offset + length);
      if (mine.u8.subarray(zone.offset, zone.offset + length).some(byte => byte !== number + 1)) throw new Error('somebody else wrote here');
      mine.release(zone);
    }
    mine.close();
    Atomics.sub(mine.i32, flag >> 2, 1);
  }, { share: arena.share(), number, flag: flag.offset, times: 400 }));
  let [looks, seen] = [0, 0];
  const done = Promise.all(working).then(() => true);
  while (await Promise.race([done, new Promise(resolve => { setImmediate(resolve, false); })]) !== true) {
    const zones = arena.zones().filter(({ name }) => name !== 'flag').sort((a, b) => a.offset - b.offset);
    for (const { name, length } of zones) if (Number(name.split(' ')[1]) !== length) t.fail(`"${name}" has ${length} bytes`);
    looks++;
    seen += zones.length;
  }
  t.ok(looks > 10 && seen > 10, `${looks} looks saw ${seen} zones`);
  t.equal(Atomics.load(arena.i32, flag.offset >> 2), 0);
  t.same(arena.zones().map(({ name }) => name), ['flag']);
  t.equal(arena.lcores().length, 1);
  arena.close();
});
