import fc from 'fast-check';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { ARENA_HEADER, HEADER_HEAP, ZONE_OVERLAY } from '../../lib/arena/layout.js';
import { inChild } from '../native/child.js';
import { hasNoHole, mapsOf } from './maps_helper.js';
import { Party } from './party_helper.js';

const PAGE = 4096;

/** A file of whole pages, each filled with its number + 1; its name is gone already. */
function file(pages: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-'));
  const fd = openSync(join(folder, 'file'), 'w+');
  rmSync(folder, { recursive: true });
  for (let page = 0; page < pages; page++) writeSync(fd, Buffer.alloc(PAGE, page + 1));
  return fd;
}

function contents(fd: number): Buffer {
  return readFileSync(`/proc/self/fd/${fd}`);
}

for (const name of [undefined, `test-overlay-${process.pid}`]) {
  const kind = name === undefined ? 'a private arena' : 'a named arena';

  t.test(`a file over ${kind}: seen both ways, and plain zero pages without a hole after the release`, async t => {
    const arena = Arena.create({ size: MIN_ARENA, ...(name === undefined ? {} : { name }) });
    const fd = file(4);
    const before = arena.reserve('before', 100);
    arena.u8.fill(7, before.offset, before.offset + 100);
    const zone = arena.overlay('file', 2 * PAGE + 1, fd, { fdOffset: PAGE });
    t.match(zone, { length: 3 * PAGE, type: ZONE_OVERLAY, align: PAGE, pid: process.pid, fd: -1 });
    t.equal(zone.offset % PAGE, 0);
    t.equal(arena.u8[zone.offset], 2);
    t.equal(arena.u8[zone.offset + 3 * PAGE - 1], 4);
    arena.u8[zone.offset + 5] = 99;
    t.equal(contents(fd)[PAGE + 5], 99);
    t.ok(hasNoHole(mapsOf(arena), arena.size));
    t.match(mapsOf(arena).filter(({ start }) => start === zone.offset), [{ end: zone.offset + 3 * PAGE, rights: 'rw-s', file: /pollmode-.*\/file/ }]);

    arena.release(zone);
    t.ok(hasNoHole(mapsOf(arena), arena.size));
    t.notOk(mapsOf(arena).some(({ file }) => file.endsWith('/file')));
    t.ok(arena.u8.subarray(zone.offset, zone.offset + 3 * PAGE).every(byte => byte === 0), 'zeros');
    arena.u8[zone.offset] = 1;
    t.equal(contents(fd)[PAGE], 2, 'the file is out of reach');
    t.ok(arena.u8.subarray(before.offset, before.offset + 100).every(byte => byte === 7), 'and the neighbour was not touched');
    closeSync(fd);
    arena.close();
  });

  t.test(`overlays and plain zones in any order in ${kind}: never a hole, never another's bytes`, async t => {
    const arena = Arena.create({ size: MIN_ARENA, ...(name === undefined ? {} : { name }) });
    const fd = file(8);
    const steps = fc.array(fc.record({ overlay: fc.boolean(), pages: fc.integer({ min: 1, max: 8 }), odd: fc.nat(300), release: fc.option(fc.nat(20)) }), { maxLength: 25, size: 'max' });
    fc.assert(fc.property(steps, list => {
      const zones: { zone: ReturnType<Arena['reserve']>; mark: number }[] = [];
      for (const [i, { overlay, pages, odd, release }] of list.entries()) {
        const zone = overlay ? arena.overlay(`${i}`, pages * PAGE, fd) : arena.reserve(`${i}`, pages * 500 + odd);
        if (!overlay) arena.u8.fill(100 + i, zone.offset, zone.offset + zone.length);
        zones.push({ zone, mark: overlay ? 0 : 100 + i });
        if (release !== null) arena.release(zones.splice(release % zones.length, 1)[0]!.zone);
        for (const { zone, mark } of zones) {
          const bytes = arena.u8.subarray(zone.offset, zone.offset + zone.length);
          if (!bytes.every((byte, at) => byte === (mark === 0 ? Math.floor(at / PAGE) + 1 : mark))) throw new Error(`"${zone.name}" has other bytes`);
        }
        if (!hasNoHole(mapsOf(arena), arena.size)) throw new Error('a hole');
      }
      for (const { zone } of zones) arena.release(zone);
    }), { numRuns: 25 });
    t.notOk(mapsOf(arena).some(({ file }) => file.endsWith('/file')));
    closeSync(fd);
    arena.close();
  });
}

t.test('what cannot be mapped leaves plain pages, no zone and no descriptor', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const fd = file(1);
  const heap = arena.u32[(ARENA_HEADER + HEADER_HEAP) >>> 2]!;
  t.throws(() => arena.overlay('x', PAGE, 9999), { code: 'ESYSCALL', syscall: 'mmap', errno: 9 });
  t.throws(() => arena.overlay('x', PAGE, fd, { fdOffset: 100 }), { code: 'ESYSCALL', errno: 22 });
  t.same(arena.zones(), []);
  const guards = Array.from({ length: 520 }, (_, i) => i);
  t.throws(() => { for (const i of guards) arena.overlay(`guarded ${i}`, PAGE, fd, { guard: true }); }, { code: 'ESYSCALL', syscall: 'guard', errno: 28 });
  t.equal(arena.zones().length, 512);
  t.equal(mapsOf(arena).filter(({ file }) => file.endsWith('/file')).reduce((sum, { start, end }) => sum + end - start, 0), 512 * PAGE, 'the one that could not be guarded is not mapped');
  for (const zone of arena.zones()) arena.release(zone);
  t.ok(arena.overlay('one more', PAGE, fd, { guard: true }), 'guards went with their zones');
  t.equal(arena.find('one more').offset, heap);
  arena.release(arena.find('one more'));
  closeSync(fd);
  arena.close();
});

t.test('a file that is cut under a guarded overlay costs the pages, is counted, and the process lives', async t => {
  const arena = Arena.create({ size: MIN_ARENA });
  const fd = file(4);
  const zone = arena.overlay('file', 4 * PAGE, fd, { guard: true });
  const worker = new Party(t, { kind: 'thread' });
  await worker.run(({ Arena, held }, share) => { held.arena = Arena.attach(share); }, arena.share());
  ftruncateSync(fd, PAGE);
  t.equal(arena.u8[zone.offset], 1, 'what is left of it');
  t.equal(arena.lostPages, 0);
  t.equal(arena.u8[zone.offset + PAGE], 0);
  t.equal(arena.lostPages, 1);
  arena.u32[(zone.offset + 2 * PAGE) >>> 2] = 5;
  t.equal(arena.u32[(zone.offset + 2 * PAGE) >>> 2], 5, 'a page of its own stands there now');
  t.equal(arena.lostPages, 2);
  t.equal(await worker.run(({ held }, at) => held.arena.u8[at], zone.offset + 3 * PAGE), 0);
  t.equal(arena.lostPages, 3, 'in whichever thread it happens');
  t.ok(hasNoHole(mapsOf(arena), arena.size));
  arena.release(zone);
  t.ok(arena.u8.subarray(zone.offset, zone.offset + 4 * PAGE).every(byte => byte === 0));
  closeSync(fd);
  arena.close();
});

t.test('a SIGBUS in an overlay without a guard kills the process, also beside one that has it', async t => {
  const ended = inChild(`
    const { Arena } = await import(LIB + 'arena/arena.js');
    const { openSync, ftruncateSync, rmSync, mkdtempSync } = await import('node:fs');
    const folder = mkdtempSync(process.env.FOLDER);
    const fd = openSync(folder + '/file', 'w+');
    rmSync(folder, { recursive: true });
    ftruncateSync(fd, 8192);
    const arena = Arena.create({ size: 16 << 20 });
    const guarded = arena.overlay('guarded', 4096, fd, { guard: true });
    const bare = arena.overlay('bare', 4096, fd, { fdOffset: 4096 });
    ftruncateSync(fd, 0);
    arena.u8[guarded.offset] = 1;
    process.stdout.write('lost ' + arena.lostPages + '\\n');
    arena.u8[bare.offset] = 1;
    process.stdout.write('not reached');`, [], { FOLDER: join(tmpdir(), 'pollmode-') });
  t.equal(ended.stdout, 'lost 1\n');
  t.ok(ended.signal === 'SIGBUS' || ended.stderr.includes('BUS'), `died of SIGBUS: ${ended.signal}`);
});
