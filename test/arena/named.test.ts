import { spawnSync } from 'node:child_process';
import { writeSync } from 'node:fs';
import t from 'tap';
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import { ARENA_HEADER, ARENA_MAGIC, HEADER_MAGIC, HEADER_TABLE } from '../../lib/arena/layout.js';
import { binding } from '../../lib/binding.js';
import { needs } from '../kernel/rights.js';
import { hasNoHole, mapsOf } from './maps_helper.js';
import { Party } from './party_helper.js';

const NAME = `test-named-${process.pid}`;

/** A program of util-linux, and what it needs to do its work. */
function needsProgram(program: string, ...rights: Parameters<typeof needs>): { skip: string | false } {
  const { skip } = needs(...rights);
  return { skip: skip || (spawnSync(program, ['--version']).status !== 0 && `needs ${program} (util-linux)`) };
}

const attach = ({ Arena, held }: import('./party_helper.js').Tools, name: string): number => {
  held.arena = Arena.attachProcess(name);
  return held.arena.lcore;
};
const read = ({ held }: import('./party_helper.js').Tools, zone: string): number[] => {
  const { offset, length } = held.arena.find(zone);
  return [offset, length, held.arena.u8[offset]!, held.arena.u8[offset + length - 1]!];
};

t.test('another process finds the arena by its name, with everything at the same offsets, both ways', async t => {
  const arena = Arena.create({ size: 4 * 2 ** 30 - 65536, name: NAME });
  arena.reserve('below', 2 ** 31);
  const plain = arena.reserve('plain', 5000);
  const own = arena.reserve('own', 5000, { file: 'own' });
  t.equal(own.length, 8192);
  t.ok(own.offset > 2 ** 31);
  const bytes = [[plain, 11], [own, 12]] as const;
  for (const [{ offset, length }, byte] of bytes) {
    arena.u8[offset] = byte;
    arena.u8[offset + length - 1] = byte + 100;
  }
  const party = new Party(t);
  t.equal(await party.run(attach, NAME), 1);
  for (const [{ name, offset, length }, byte] of bytes) t.same(await party.run(read, name), [offset, length, byte, byte + 100], name);
  const theirs = await party.run(({ held }) => {
    const zone = held.arena.reserve('theirs', 3000, { file: 'own' });
    held.arena.u8[zone.offset] = 77;
    held.arena.u8[held.arena.find('own').offset] = 78;
    return zone.offset;
  });
  t.equal(arena.find('theirs').offset, theirs);
  t.equal(arena.u8[theirs], 77);
  t.equal(arena.u8[own.offset], 78);
  t.throws(() => { arena.release(arena.find('theirs')); }, { code: 'ETHREAD', message: /release it there/ });
  await party.run(({ held }) => { held.arena.release(held.arena.find('theirs')); held.arena.close(); });
  t.equal(arena.lookup('theirs'), undefined);
  t.equal(arena.lcores().length, 1);
  arena.close();
});

t.test('a range that another process had a file in is the arena\'s own again after the release, in both', async t => {
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  const party = new Party(t);
  await party.run(attach, NAME);
  for (let round = 0; round < 3; round++) {
    const own = arena.reserve('own', 1 << 16, { file: 'own' });
    arena.u8[own.offset] = 1;
    t.equal((await party.run(read, 'own'))[2], 1);
    arena.release(own);
    // The same range, another kind of memory, and one that they make.
    const offset = await party.run(({ held }) => {
      const { offset } = held.arena.reserve('plain', 1 << 16, { align: 4096 });
      held.arena.u8[offset] = 2;
      return offset;
    });
    t.equal(offset, own.offset);
    t.equal(arena.u8[arena.find('plain').offset], 2);
    await party.run(({ held }) => { held.arena.release(held.arena.find('plain')); });
    const mine = arena.reserve('mine', 1 << 16, { align: 4096 });
    arena.u8[mine.offset] = 3;
    t.equal((await party.run(read, 'mine'))[2], 3, 'and one that we make');
    arena.release(mine);
  }
  arena.close();
});

t.test('overlays are not in the other process, but their ranges are taken there', async t => {
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  const fd = binding().memfd('overlay', 4096, 0);
  const zone = arena.overlay('overlay', 4096, fd);
  arena.u8[zone.offset] = 5;
  const party = new Party(t);
  await party.run(attach, NAME);
  t.equal((await party.run(read, 'overlay'))[2], 0);
  t.not(await party.run(({ held }) => held.arena.reserve('x', 4096, { align: 4096 }).offset), zone.offset);
  arena.release(zone);
  binding().close(fd);
  arena.close();
});

t.test('several named arenas at once; the same name twice is ambiguous until a pid says which', async t => {
  const [left, right] = ['left', 'right'].map(side => Arena.create({ size: MIN_ARENA, name: `${NAME}-${side}` })) as [Arena, Arena];
  left.reserve('of left', 64);
  right.reserve('of right', 64);
  const party = new Party(t);
  const zones = ({ Arena }: import('./party_helper.js').Tools, name: string): string[] => {
    const arena = Arena.attachProcess(name);
    const names = arena.zones().map(zone => zone.name);
    arena.close();
    return names;
  };
  t.same(await party.run(zones, `${NAME}-left`), ['of left']);
  t.same(await party.run(zones, `${NAME}-right`), ['of right']);
  const twin = new Party(t);
  await twin.run(({ Arena, held }, name) => { held.arena = Arena.create({ name, size: 16 << 20 }); }, `${NAME}-left`);
  await t.rejects(party.run(zones, `${NAME}-left`), { code: 'ENOTFOUND', message: /2 arenas .* say which with pid/ });
  t.same(await party.run(({ Arena }, { name, pid }) => Arena.attachProcess(name, { pid }).zones().length, { name: `${NAME}-left`, pid: twin.pid }), 0);
  left.close();
  right.close();
});

t.test('names that are not there, that will not do, and a closed arena', async t => {
  t.throws(() => Arena.attachProcess('nobody-has-this'), { code: 'ENOTFOUND', message: /start it first/ });
  for (const name of ['', 'a b', 'a/b', '../x', 'x'.repeat(65), 'é', 'a\0', 7] as string[]) {
    if (name !== (7 as unknown)) t.throws(() => Arena.create({ name, size: MIN_ARENA }), { code: 'EOPTION' }, name);
    t.throws(() => Arena.attachProcess(name), { code: 'ENOTFOUND' }, name);
  }
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  const party = new Party(t);
  await party.run(attach, NAME);
  await t.rejects(party.run(attach, NAME), { code: 'EEXISTS', message: /share\(\) and Arena.attach/ });
  await party.kill();
  arena.close();
  const late = new Party(t);
  await t.rejects(late.run(attach, NAME), { code: 'ENOTFOUND' }, 'its file went with it');
});

t.test('memory that only has the name of an arena is EFORMAT', async t => {
  const header = new Uint32Array(16);
  const cases: [string, number, number][] = [
    ['empty', 0, 0], ['zeros', MIN_ARENA, 0], ['shorter than its header', 4096, 0], ['the magic number alone', MIN_ARENA, ARENA_MAGIC],
    ['no multiple of a page', MIN_ARENA + 4096, ARENA_MAGIC],
  ];
  for (const [what, size, magic] of cases) {
    const fd = binding().memfd(`pollmode:${NAME}`, size, 0);
    header.fill(0);
    header[HEADER_MAGIC >> 2] = magic;
    if (size > ARENA_HEADER) writeSync(fd, header, 0, 64, ARENA_HEADER);
    const party = new Party(t);
    await t.rejects(party.run(attach, NAME), { code: 'EFORMAT' }, what);
    t.same(await party.run(async ({}, part) => {
      const { readdirSync, readlinkSync } = await import('node:fs');
      return readdirSync('/proc/self/fd').filter(fd => { try { return readlinkSync(`/proc/self/fd/${fd}`).includes(part); } catch { return false; } });
    }, NAME), [], 'and nothing stays open');
    await party.kill();
    binding().close(fd);
  }
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  arena.u32[(ARENA_HEADER + HEADER_TABLE) >>> 2] = 0xfffff000;
  await t.rejects(new Party(t).run(attach, NAME), { code: 'EFORMAT' }, 'a table that would point outside');
  arena.close();
});

t.test('another user\'s arena is not seen, by root either', needsProgram('setpriv', 'CAP_SETUID', 'CAP_SETGID'), async t => {
  const user = new Party(t, { prefix: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] });
  await user.run(({ Arena, held }, name) => { held.arena = Arena.create({ size: 16 << 20, name }); }, `${NAME}-nobody`);
  t.throws(() => Arena.attachProcess(`${NAME}-nobody`), { code: 'ENOTFOUND' });
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  await t.rejects(user.run(attach, NAME), { code: 'ENOTFOUND' });
  t.equal(await user.run(({ held }) => held.arena.lcores().length), 1);
  arena.close();
});

t.test('another PID namespace\'s arena is refused: lcores there have other numbers', needsProgram('unshare', 'CAP_SYS_ADMIN'), async t => {
  const inside = new Party(t, { prefix: ['unshare', '--pid', '--fork', '--kill-child'] });
  await inside.run(({ Arena, held }, name) => { held.arena = Arena.create({ size: 16 << 20, name }); }, `${NAME}-inside`);
  t.throws(() => Arena.attachProcess(`${NAME}-inside`), { code: 'EUNSUPPORTED', message: /PID namespace/ });
});

t.test('kill -9 of the creator: the other process has it all still, its lcore is found dead, and a third can attach', async t => {
  const creator = new Party(t);
  await creator.run(({ Arena, Ring, Burst, held }, name) => {
    held.arena = Arena.create({ size: 16 << 20, name });
    held.zone = held.arena.reserve('own', 4096, { file: 'own' });
    held.arena.reserve('never looked up', 4096, { file: 'own' });
    held.arena.u8[held.zone.offset] = 9;
    held.ring = Ring.create(held.arena, 'ring', { size: 64 });
    held.burst = new Burst(held.arena, 32);
    held.burst.handles.set([1, 2, 3]);
    held.ring.enqueueBulk(held.burst, 3);
  }, NAME);
  const survivor = new Party(t);
  t.equal(await survivor.run(attach, NAME), 1);
  t.equal((await survivor.run(read, 'own'))[2], 9);
  await creator.kill();
  t.equal((await survivor.run(read, 'own'))[2], 9);
  t.same(await survivor.run(({ Ring, Burst, held }) => {
    held.ring = Ring.find(held.arena, 'ring');
    held.burst = new Burst(held.arena, 32);
    const got = held.ring.dequeueBurst(held.burst);
    held.arena.reserve('new', 1 << 20);
    return [...held.burst.handles.subarray(0, got)];
  }), [1, 2, 3]);
  await t.rejects(survivor.run(read, 'never looked up'), { code: 'ERIGHTS' }, 'what it never mapped went with the creator');
  t.same(await survivor.run(({ held }) => held.arena.deadLcores()), [0]);
  await survivor.run(({ held }) => { held.arena.freeLcore(0); held.arena.release(held.arena.zones().find(({ name }) => name === 'own')!); });
  const third = new Party(t);
  t.equal(await third.run(attach, NAME), 0);
  t.same(await third.run(({ held }) => held.arena.zones().map(({ name }) => name).filter(name => !name.startsWith('burst/'))), ['never looked up', 'ring', 'new']);
});

t.test('a worker attaches to a named arena, and releases what the main thread put there', async t => {
  const arena = Arena.create({ size: MIN_ARENA, name: NAME });
  const own = arena.reserve('own', 4096, { file: 'own' });
  arena.u8[own.offset] = 1;
  const worker = new Party(t, { kind: 'thread' });
  const share = arena.share();
  t.equal(await worker.run(({ Arena, held }, share) => {
    held.arena = Arena.attach(share);
    const zone = held.arena.find('own');
    const was = held.arena.u8[zone.offset];
    held.arena.release(zone);
    held.arena.u8[held.arena.reserve('next', 4096, { align: 4096 }).offset] = 3;
    return was;
  }, share), 1);
  t.equal(arena.find('next').offset, own.offset);
  t.equal(arena.u8[own.offset], 3);
  const party = new Party(t);
  await party.run(attach, NAME);
  t.equal((await party.run(read, 'next'))[2], 3, 'it is the arena\'s file that stands there');
  arena.close();
  t.throws(() => Arena.attach(share), { code: 'ECLOSED' }, 'a share is good while its arena is open');
  await worker.run(({ held }) => { held.arena.close(); });
  t.ok(hasNoHole(mapsOf(arena), arena.size));
  t.ok(mapsOf(arena).every(({ file }) => file === `/memfd:pollmode:${NAME}`), 'one file behind all of it');
});
