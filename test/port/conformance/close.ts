import { readdirSync } from 'node:fs';
import type { Test } from 'tap';
import { emptyStats } from '../../../lib/port/port.js';
import { Bench } from './bench.js';
import { frames, totalBytes } from './frames.js';
import { SHORT, type Place, type Subject } from './subject.js';

export function closing(t: Test, subject: Subject, place: Place): void {
  t.test('close gives everything back, whatever was on its way; a second close does nothing', t => givesBack(t, subject, place));
  t.test('after close bursts return 0, count it, and move nothing', t => afterClose(t, subject, place));
  t.test('counts are exact, replace what stood there, and stay after close', t => counts(t, subject, place));
  t.test('the same device opens again and again, and leaves no descriptor and no zone', t => again(t, subject, place));
}

async function givesBack(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(50) });
  const burst = bench.burst(64);
  const held = bench.port.rx[0]!.rxBurst(burst, 7);
  const outgoing = bench.burst(40);
  const sent = bench.port.tx[0]!.txBurst(outgoing, bench.make(outgoing, frames(40)));
  bench.balanced(held + 40 - sent, 'in the middle of traffic');
  bench.port.close();
  bench.balanced(held + 40 - sent, 'after close');
  bench.port.close();
  bench.rig.host.close();
  bench.rig.host.close();
  bench.returned(held + 40 - sent, 'after everything is closed, twice');
  t.ok(bench.owned(burst, 0, held), 'what was received before is still the program\'s');
  bench.pool.free(burst, 0, held);
  bench.pool.free(outgoing, sent, 40);
  bench.returned(0, 'after the program freed its own');
}

async function afterClose(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place, { incoming: frames(50) });
  const burst = bench.burst(8);
  bench.make(burst, frames(8));
  const [rx, tx] = [bench.port.rx[0]!, bench.port.tx[0]!];
  bench.rig.host.close();
  const zones = bench.arena.zones();
  for (let i = 0; i < 3; i++) t.equal(tx.txBurst(burst, 8), 0);
  for (const max of [8, 0, NaN, undefined]) t.equal(rx.rxBurst(burst, max), 0);
  t.match(bench.stats().xstats, { rx_after_close: 4, tx_after_close: 3 });
  t.ok(bench.owned(burst, 0, 8), 'the mbufs are still the program\'s');
  t.same(bench.arena.zones(), zones);
  bench.pool.free(burst, 0, 8);
  bench.returned(0, 'afterwards');
}

async function counts(t: Test, subject: Subject, place: Place): Promise<void> {
  const incoming = frames(30, 80);
  const bench = await Bench.open(t, subject, place, { incoming });
  const got = await bench.receive(30, bench.burst(16));
  const burst = bench.burst(25);
  t.equal(await bench.send(burst, bench.make(burst, frames(25, 90))), 25);
  await bench.settle();
  const stats = bench.stats();
  t.match(stats, { rxPackets: 30, rxBytes: totalBytes(got), txPackets: 25, txBytes: 25 * 90, rxNoMbuf: 0, txRefused: 0 });
  for (const [name, value] of Object.entries(stats.xstats)) {
    if (!/^[a-z][a-zA-Z0-9_]*$/.test(name) || !Number.isSafeInteger(value) || value < 0) t.fail(`xstats ${name} is ${value}`);
  }
  const stale = { ...emptyStats(), rxPackets: 999, xstats: { no_such_counter: 5 } };
  bench.port.readStats(stale);
  t.same(stale, stats, 'reading counts nothing, and leaves nothing of what stood there');
  bench.rig.host.close();
  const { rx_unread_at_close: unread = 0, ...kept } = bench.stats().xstats;
  const { rx_unread_at_close: before = 0, ...xstats } = stats.xstats;
  t.same({ ...bench.stats(), xstats: kept }, { ...stats, xstats }, 'and they stay');
  t.equal(unread - before, subject.echoes ? 25 : 0, 'what was not received by then');
}

async function again(t: Test, subject: Subject, place: Place): Promise<void> {
  const bench = await Bench.open(t, subject, place);
  const burst = bench.burst(4);
  const turn = async (): Promise<void> => {
    await bench.reopen(frames(2));
    t.equal((await bench.receive(2, burst)).length, 2);
    t.equal(await bench.send(burst, bench.make(burst, frames(3))), 3);
  };
  await turn();
  bench.rig.host.close();
  const before = [zoneNames(bench), openFiles()];
  for (let i = 0; i < (SHORT ? 3 : 50); i++) await turn();
  bench.rig.host.close();
  t.same([zoneNames(bench), openFiles()], before);
  bench.returned(0, 'after all that');
}

export function zoneNames(bench: Bench): string[] {
  return bench.arena.zones().map(zone => zone.name).sort();
}

/** How many descriptors this process has. */
export function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
