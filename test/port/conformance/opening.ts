import type { Test } from 'tap';
import { Arena } from '../../../lib/arena/arena.js';
import { DIRECTORY_ENTRIES } from '../../../lib/arena/layout.js';
import { PollmodeError } from '../../../lib/errors.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import { readOptions } from '../../../lib/port/device.js';
import { drivers } from '../../../lib/port/drivers.js';
import { open } from '../../../lib/port/host.js';
import type { PortDriver } from '../../../lib/port/port.js';
import { codeThrown } from '../../kernel/rights.js';
import { Bench } from './bench.js';
import { openFiles, zoneNames } from './close.js';
import { frames } from './frames.js';
import { SHORT, type Place, type Subject } from './subject.js';

export function opening(t: Test, subject: Subject, place: Place): void {
  t.test('the port says what it is', t => capabilities(t, subject, place));
  t.test('probe looks and touches nothing; plan computes and looks at nothing', t => pureParts(t, subject, place));
  t.test('a bad device is refused with its code, and leaves nothing', t => refused(t, subject, place));
  t.test('of several ports one fails: none is left', t => oneFails(t, subject, place));
  if (!SHORT) t.test('an arena that fills up in the middle of opening', t => fullArena(t, subject, place));
  t.test('two hosts in one process do not meet', t => twoHosts(t, subject, place));
}

export function driverOf(subject: Subject): PortDriver {
  return drivers.find(driver => driver.name === subject.driver)!;
}

async function capabilities(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const { port } = bench;
  t.equal(port.name, place.device);
  t.ok(port.number >= 0 && bench.rig.host.ports.filter(other => other.number === port.number).length === 1, 'its number is its own');
  t.same([port.rx.length, port.tx.length], [port.capabilities.rxQueues, port.capabilities.txQueues]);
  t.ok(port.capabilities.mtu >= 46 && port.capabilities.mtu <= 65_535, `MTU ${port.capabilities.mtu}`);
  t.match(port.capabilities.mode, /^[\x20-\x7e]+$/);
  if (port.mac !== undefined) t.match(port.mac, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
}

async function pureParts(t: Test, subject: Subject, place: Place): Promise<void> {
  const driver = driverOf(subject);
  const bench = await Bench.open(t, subject, place);
  const state = (): unknown => [zoneNames(bench), openFiles(), bench.pool.stats(), bench.stats()];
  const before = state();
  for (let i = 0; i < 3; i++) t.same(driver.probe(), { usable: true });
  const options = Object.freeze(readOptions(driver, place.device));
  const demand = driver.plan(options);
  t.same(driver.plan(options), demand, 'the same again');
  t.ok(Number.isSafeInteger(demand.mbufs) && demand.mbufs >= 0 && demand.bufferSize > 0 && demand.bufferSize <= 4096);
  t.same(state(), before);
}

async function refused(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  bench.rig.close();
  const before = [zoneNames(bench), openFiles()];
  for (const [device, code] of subject.refused) {
    try {
      place.within(() => open([device], { arena: bench.arena, pool: bench.pool })).close();
      t.fail(`${device} opens`);
    } catch (error) {
      t.ok(error instanceof PollmodeError && error.code === code, `${device}: ${String(error)}`);
      t.match((error as Error).message, /[:;,] ?\S.*\.$/, 'a sentence that ends with what to do');
    }
    t.same([zoneNames(bench), openFiles()], before);
    bench.returned(0, `after ${device}`);
  }
}

async function oneFails(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  bench.rig.close();
  const before = [zoneNames(bench), openFiles()];
  // The last asks for a ring's name that is too long: it fails in open, when the others are there.
  const requests = ['null:', place.device, `ring:${'x'.repeat(70)},size=2`];
  t.equal(codeThrown(() => place.within(() => open(requests, { arena: bench.arena, pool: bench.pool }))), 'EOPTION');
  t.same([zoneNames(bench), openFiles()], before);
  bench.returned(0, 'after the refusal');
  t.equal(codeThrown(() => place.within(() => open(requests, { arena: bench.arena }))), 'EOPTION', 'also with a pool of its own');
  t.same([zoneNames(bench), openFiles()], before);
  await bench.reopen(frames(1));
  t.equal((await bench.receive(1, bench.burst(1))).length, 1, 'and the device still opens');
}

/** One directory entry more each time: so each of the reservations that opening makes is the one that fails, once. */
async function fullArena(t: Test, subject: Subject, place: Place): Promise<void> {
  const arena = Arena.create({ size: 32 << 20 });
  const pool = Mempool.create(arena, 'pool', { count: 1024, ...subject.pool });
  const used = arena.zones().length;
  const fillers = Array.from({ length: DIRECTORY_ENTRIES - used }, (_, i) => arena.reserve(`filler/${i}`, 64));
  const files = openFiles();
  const attempt = (): string => codeThrown(() => place.within(() => open([place.device], { arena, pool })).close());
  let failures = 0;
  for (let code = attempt(); code !== 'none'; code = attempt(), failures++) {
    if (code !== 'EARENAFULL') t.fail(`with ${failures} free entries: ${code}`);
    const { free, total } = pool.audit();
    if (arena.zones().length !== DIRECTORY_ENTRIES - failures || openFiles() !== files || free !== total) t.fail(`with ${failures} free entries something is left: ${arena.zones().filter(zone => !zone.name.startsWith('filler')).map(zone => zone.name).join(' ')}`);
    const filler = fillers.pop();
    if (filler === undefined || failures > 64) break;
    arena.release(filler);
  }
  t.ok(failures >= 2, `it opens with ${failures} free entries`);
  t.equal(arena.zones().length, DIRECTORY_ENTRIES - failures, 'and closing releases them all');
  arena.close();
}

async function twoHosts(t: Test, subject: Subject, place: Place): Promise<void> {
  const elsewhere = subject.place();
  t.teardown(() => elsewhere.close());
  const benches = [
    await Bench.open(t, subject, place, { incoming: frames(5, 60, 1) }),
    await Bench.open(t, subject, elsewhere, { incoming: frames(5, 60, 2) }),
  ];
  for (const [i, bench] of benches.entries()) {
    const got = await bench.receive(5, bench.burst(5));
    if (subject.carries) t.same(got, frames(5, 60, i + 1));
  }
  for (const [i, bench] of benches.entries()) {
    const burst = bench.burst(5);
    t.equal(await bench.send(burst, bench.make(burst, frames(5, 70, i + 1))), 5);
    if (subject.carries) t.same(await bench.departed(5), frames(5, 70, i + 1));
  }
  benches[0]!.rig.close();
  benches[1]!.balanced(0, 'in the other, when one is closed');
}
