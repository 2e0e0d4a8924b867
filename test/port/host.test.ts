import { readdirSync } from 'node:fs';
import t from 'tap';
import { Arena } from '../../lib/arena/arena.js';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import { drivers } from '../../lib/port/drivers.js';
import { open, type Host } from '../../lib/port/host.js';
import { refusal } from '../kernel/rights.js';
import { openFor } from './open_helper.js';

const native = { skip: tryBinding() instanceof PollmodeError && 'the native addon is not built' };

const names = (arena: Arena): string[] => arena.zones().map(zone => zone.name).sort();
const smallArena = (): Arena => Arena.create({ size: 32 << 20 });

t.test('the pool is for all the ports at once, and the program', t => {
  t.match(openFor(t, []).pool, { size: 4096, bufferSize: 2048 });
  t.match(openFor(t, ['null:']).pool, { size: 4096, bufferSize: 2048, room: 1792 });
  t.match(openFor(t, ['ring:a,size=256', 'null:', 'ring:b,tx=c,size=512']).pool, { size: 256 + 2 * 512 + 4096, bufferSize: 2048 });
  t.match(openFor(t, ['null:', 'null:size=1793']).pool, { size: 4096, bufferSize: 4096, room: 3840 }, 'one large port makes all buffers large');
  t.match(openFor(t, ['null:'], { mbufs: 100, bufferSize: 4096, cache: 10 }).pool, { size: 100, bufferSize: 4096 });
  t.end();
});

t.test('a port that the pool fails is refused by name, with the mend', t => {
  t.match(refusal(() => open(['null:', 'null:size=3000'], { bufferSize: 2048 })), /^EPOOL null:size=3000 needs buffers of 3256 bytes and the pool's have 2048: ask for \{ bufferSize: 4096 \}/);
  const host = openFor(t, ['null:'], { mbufs: 512 });
  const before = names(host.arena);
  t.match(refusal(() => host.add('null:size=3000')), /^EPOOL null:size=3000 needs buffers/);
  t.match(refusal(() => host.add('ring:a,size=1024')), /^EPOOL ring:a,size=1024 may hold 1024 mbufs and the pool has 512 free: .*\{ mbufs \}/);
  const burst = host.burst(300);
  host.pool.alloc(burst, 300);
  t.match(refusal(() => host.add('ring:a,size=256')), /the pool has 212 free/, 'what the program holds is not free');
  host.pool.free(burst, 0, 300);
  burst.close();
  t.same(names(host.arena), before, 'nothing is left of them');
  t.equal(host.add('ring:a,size=256').name, 'ring:a,size=256');
  t.same(host.ports.map(port => port.name), ['null:', 'ring:a,size=256']);
  host.close();
  t.match(refusal(() => host.add('null:')), /^ECLOSED .*open\(\[\.\.\.\]\)/);
  t.end();
});

t.test('huge pages that a port must have are had, or refused by name', native, t => {
  t.match(refusal(() => open(['null:', 'af_xdp:nosuch0,huge=1'], { hugePages: 'never' })), /^EPOOL af_xdp:nosuch0,huge=1 needs its packets in huge pages/);
  t.match(refusal(() => openFor(t, ['null:']).add('af_xdp:nosuch0,huge=1')), /^EPOOL af_xdp:nosuch0,huge=1/);
  t.match(refusal(() => open(['af_xdp:nosuch0,huge=1'])), /^(ESYSCALL No \d+ free huge pages|ENOTFOUND|ERIGHTS)/, 'no small ones instead');
  t.end();
});

t.test('a packet of one port is sent on any other as it is', t => {
  const host = openFor(t, ['null:size=3000', 'ring:a']);
  const [source, ring] = host.ports as [Host['ports'][0], Host['ports'][0]];
  const burst = host.burst(4);
  t.equal(source.rx[0]!.rxBurst(burst), 4);
  const handles = [...burst.handles];
  t.equal(ring.tx[0]!.txBurst(burst, 4), 4);
  t.equal(host.pool.audit().owners.get('ring ring/a'), 4);
  burst.handles.fill(0);
  t.equal(ring.rx[0]!.rxBurst(burst), 4);
  t.same([...burst.handles], handles, 'the same mbufs');
  t.same(handles.map(handle => [host.mbufs.pktLen(handle), host.mbufs.port(handle)]), Array(4).fill([3000, source.number]));
  t.equal(source.tx[0]!.txBurst(burst, 4), 4);
  t.match(host.stats(source), { rxPackets: 4, rxBytes: 12000, txPackets: 4, txBytes: 12000 });
  t.equal(host.pool.audit().free, host.pool.size);
  t.end();
});

t.test('an arena or a pool of another is used and left', t => {
  const arena = smallArena();
  const empty = names(arena);
  const one = open(['null:', 'ring:a'], { arena });
  const two = open(['null:'], { arena });
  t.equal(new Set([...one.ports, ...two.ports].map(port => port.number)).size, 3, 'port numbers are the arena\'s');
  t.not(one.pool.name, two.pool.name);
  two.close();
  t.equal(two.ports[0]!.number, open(['null:'], { arena, pool: one.pool }).ports[0]!.number, 'a number that is free again is given again');
  one.close();
  one.close();
  t.same(names(arena).filter(name => !name.startsWith('port/2/')), empty, 'its own pool is gone');
  const pool = Mempool.create(arena, 'mine', { count: 64 });
  const three = open(['null:'], { pool });
  t.equal(three.arena, arena);
  three.close();
  t.equal(pool.audit().free, 64);
  pool.close();
  arena.close();
  t.end();
});

t.test('what the program still holds when the host closes stays counted in its pool', t => {
  const arena = smallArena();
  const host = open(['null:'], { arena });
  const burst = host.burst(8);
  host.ports[0]!.rx[0]!.rxBurst(burst);
  host.close();
  t.match(host.pool.audit(), { app: 8, free: host.pool.size - 8 });
  host.pool.free(burst, 0, 8);
  host.pool.close();
  burst.close();
  t.same(names(arena), []);
  arena.close();
  t.end();
});

t.test('open and close leave no descriptor, with huge pages too where there are some', native, t => {
  const files = (): number => readdirSync('/proc/self/fd').length;
  const once = (hugePages: 'try' | 'never'): void => open(['null:', 'ring:a'], { hugePages, mbufs: 1024 }).close();
  once('try');
  const before = files();
  for (let i = 0; i < 20; i++) once(i % 2 === 0 ? 'try' : 'never');
  t.equal(files(), before);
  t.end();
});

t.test('requests that are none', t => {
  t.match(refusal(() => open('null:' as unknown as string[])), /^EOPTION open takes a list of ports/);
  for (const request of [null, undefined, 5, true, 5n, Symbol('null:'), () => 'null:']) t.match(refusal(() => open([request as unknown as string])), /^EDEVICE .*'null:'/, typeof request);
  for (const request of [{}, { driver: 5 }, { driver: '' }, { driver: 'constructor' }, [], 'nonesuch:', { driver: 'null:' }]) {
    t.match(refusal(() => open([request as unknown as string])), new RegExp(`^EDEVICE No driver is named .*there are ${drivers.map(driver => driver.name).join(', ')}`));
  }
  t.match(refusal(() => open([{ driver: 'null', size: 'large' }])), /^EOPTION null: the option "size" is "large" — give a number/);
  t.match(refusal(() => open(['null:', { driver: 'ring' }])), /^EOPTION ring needs the option "device"/);
  t.end();
});

t.test('pools that cannot be', t => {
  for (const mbufs of [0, -1, 31, 1.5, NaN, Infinity, 2 ** 20 + 1, 1e300]) t.match(refusal(() => open(['null:'], { mbufs })), /^EOPTION .*32 to 1048576 mbufs/, `${mbufs} mbufs`);
  for (const bufferSize of [0, 1024, 2047, 3000, 8192, NaN]) t.match(refusal(() => open(['null:size=14'], { bufferSize })), /^E(OPTION|POOL) /, `buffers of ${bufferSize}`);
  for (const cache of [-1, 513, 0.5, NaN, 2000]) t.match(refusal(() => open(['null:'], { cache })), /^EOPTION .*a cache has/, `a cache of ${cache}`);
  t.match(refusal(() => open(['null:'], { mbufs: 2 ** 20, bufferSize: 4096 })), /^EARENAFULL .* are free/, 'more than any arena holds');
  t.match(refusal(() => open(['null:'], { arenaOptions: { size: 16 << 20 }, mbufs: 100000 })), /^EARENAFULL /);
  t.match(refusal(() => open(['null:'], { arenaOptions: { size: 5 } })), /^EOPTION An arena has/);
  t.end();
});

t.test('a burst and how many of it a call is about', t => {
  const host = openFor(t, []);
  for (const capacity of [0, 513, 1.5, NaN, -1, '8' as unknown as number]) t.match(refusal(() => host.burst(capacity)), /^EOPTION A burst holds 1 to 512/);
  const burst = host.burst(8);
  for (const [asked, is] of [[0, 0], [-1, 0], [NaN, 0], [0.9, 0], [1, 1], [7.9, 7], [8, 8], [9, 8], [Infinity, 8], [-Infinity, 0], [2 ** 32 + 1, 8]] as const) {
    t.equal(burst.bounded(asked), is, `${asked} is ${is}`);
  }
  t.end();
});
