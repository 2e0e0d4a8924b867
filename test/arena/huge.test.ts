import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { Arena, MAX_ARENA } from '../../lib/arena/arena.js';
import { HUGE_PAGE } from '../../lib/arena/backing.js';
import { BACKING_HEAP, BACKING_HUGE } from '../../lib/arena/layout.js';
import { binding } from '../../lib/binding.js';
import { hasNoHole, mapsOf } from './maps_helper.js';
import { Party } from './party_helper.js';

/** Free and not promised to anybody. */
function freeHugePages(): number {
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  return field('Hugepagesize') === 2048 ? field('HugePages_Free') - field('HugePages_Rsvd') : 0;
}

/** Root makes some where there are none, and takes them away again. */
function makeSome(): void {
  if (freeHugePages() >= 4) return;
  try {
    const before = readFileSync(SETTING, 'utf8');
    writeFileSync(SETTING, String(Number(before) + 8));
    t.teardown(() => { writeFileSync(SETTING, before); });
  } catch {
    // not ours to set
  }
}

const SETTING = '/proc/sys/vm/nr_hugepages';
makeSome();
const HAS = freeHugePages() >= 4;
const needsPages = { skip: !HAS && 'needs 4 free huge pages of 2 MiB: as root, echo 16 > /proc/sys/vm/nr_hugepages' };
const TOO_MANY = (freeHugePages() + 64) * HUGE_PAGE;

t.test('huge pages that must be had: aligned in memory, zero, and given back', needsPages, async t => {
  const arena = Arena.create({ size: 64 << 20 });
  arena.reserve('before', 100);
  const zone = arena.reserve('huge', HUGE_PAGE + 1, { hugePages: 'must' });
  t.match(zone, { length: 2 * HUGE_PAGE, backing: BACKING_HUGE });
  t.equal((binding().address(arena.u8) + BigInt(zone.offset)) % BigInt(HUGE_PAGE), 0n);
  t.match(mapsOf(arena).filter(({ file }) => file.includes('huge')), [{ start: zone.offset, end: zone.offset + 2 * HUGE_PAGE, rights: 'rw-s', file: '/memfd:pollmode-zone:huge' }]);
  const bytes = Buffer.from(arena.buffer, zone.offset, zone.length);
  t.ok(bytes.equals(Buffer.alloc(zone.length)));
  bytes.fill(1);
  arena.release(zone);
  t.ok(bytes.equals(Buffer.alloc(zone.length)), 'plain zeros again');
  t.notOk(mapsOf(arena).some(({ file }) => file.includes('huge')));
  t.ok(hasNoHole(mapsOf(arena), arena.size));
  t.throws(() => binding().close(zone.fd) >= 0 || (() => { throw new Error('closed'); })(), /closed/, 'its file is closed');
  arena.close();
});

t.test('an alignment above 2 MiB is one in memory', needsPages, async t => {
  const arena = Arena.create({ size: 64 << 20 });
  const zone = arena.reserve('huge', HUGE_PAGE, { hugePages: 'must', align: 8 << 20 });
  t.equal((binding().address(arena.u8) + BigInt(zone.offset)) % BigInt(8 << 20), 0n);
  arena.release(zone);
  arena.close();
});

t.test('more huge pages than there are: refused with the mend', { skip: TOO_MANY > 3.5 * 2 ** 30 && 'needs fewer free huge pages than fit into an arena' }, async t => {
  const arena = Arena.create({ size: MAX_ARENA });
  t.throws(() => arena.reserve('huge', TOO_MANY, { hugePages: 'must' }), { code: 'ESYSCALL', syscall: 'mmap', message: /echo \d+ > \/proc\/sys\/vm\/nr_hugepages/ });
  t.same(arena.zones(), []);
  t.ok(hasNoHole(mapsOf(arena), arena.size));
  t.notOk(mapsOf(arena).some(({ file }) => file !== ''));
  arena.close();
});

t.test('try takes huge pages where there are some, and plain ones where not', async t => {
  const arena = Arena.create({ size: 64 << 20 });
  const zone = arena.reserve('huge', HUGE_PAGE, { hugePages: 'try' });
  t.ok(HAS ? zone.backing === BACKING_HUGE : zone.backing === BACKING_HEAP || zone.backing === BACKING_HUGE);
  t.equal(arena.u8[zone.offset + HUGE_PAGE - 1], 0);
  arena.u8[zone.offset] = 1;
  arena.release(zone);
  arena.close();
});

t.test('huge pages of a named arena in another process: mapped where its memory begins alike, refused by name where not', needsPages, async t => {
  const name = `test-huge-${process.pid}`;
  const arena = Arena.create({ size: 64 << 20, name });
  const zone = arena.reserve('huge', HUGE_PAGE, { hugePages: 'must' });
  arena.u8[zone.offset] = 42;
  const party = new Party(t);
  const found = await party.run(({ Arena, binding, held }, name) => {
    held.arena = Arena.attachProcess(name);
    const { offset } = held.arena.zones()[0]!;
    const alike = (binding().address(held.arena.u8) + BigInt(offset)) % BigInt(2 << 20) === 0n;
    try {
      return { alike, byte: held.arena.u8[held.arena.find('huge').offset] };
    } catch (error) {
      return { alike, code: (error as { code: string }).code, message: (error as Error).message };
    }
  }, name);
  if (found.alike) t.same(found, { alike: true, byte: 42 });
  else t.match(found, { alike: false, code: 'EUNSUPPORTED', message: /hugePages: 'never'/ });
  arena.release(zone);
  arena.close();
});
