import t from 'tap';
import { RatePace, RecordedPace } from '../../../lib/port/drivers/pcap/pace.js';
import { CaptureTime } from '../../../lib/wire/pcap_time.js';
import { Folder, openFor, receiveAll, someFrames } from './pcap_helper.js';

/** A clock that goes when it is told to. */
let now = 0;
const clock = (): number => now;

function at(seconds: number, nanoseconds: number): CaptureTime {
  const time = new CaptureTime();
  time.set(seconds, nanoseconds);
  return time;
}

t.test('rate: frame n is due at n / rate from the first call on', async (t) => {
  now = 5000;
  const pace = new RatePace(100);
  const slow = new RatePace(100, clock);
  pace.tick();
  t.equal(pace.due(), true, 'the real clock will do too');
  const take = (): number => {
    let taken = 0;
    for (slow.tick(); slow.due(); taken++) slow.took();
    return taken;
  };
  t.equal(take(), 1, 'the first at once');
  t.equal(take(), 0);
  now += 9.99;
  t.equal(take(), 0);
  now += 0.01;
  t.equal(take(), 1);
  slow.restart();
  now += 1000;
  t.equal(take(), 100, 'what was not asked for in time is due still');
});

t.test('pace: the recorded gaps, from the first frame on', async (t) => {
  now = 77;
  const pace = new RecordedPace(clock);
  const due = (time: CaptureTime): boolean => {
    pace.tick();
    return pace.due(time);
  };
  t.equal(due(at(1000, 999_000_000)), true);
  t.equal(due(at(1001, 1_000_000)), false, '2 ms later');
  now += 1.5;
  t.equal(due(at(1001, 1_000_000)), false);
  t.equal(due(at(999, 0)), true, 'backwards');
  t.equal(due(new CaptureTime()), true, 'without a time');
  now += 0.5;
  t.equal(due(at(1001, 1_000_000)), true);
  pace.restart();
  t.equal(due(at(5000, 0)), true, 'another pass starts anew');
  t.equal(due(at(5000, 1)), false);
});

t.test('a port with a pace hands out every frame, in order, and one that is not due stays', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(50).map((frame, i) => ({ ...frame, time: [1_700_000_000, i * 200_000] as const }));
  const path = folder.capture('in.pcapng', frames);
  const host = openFor(t, [`pcap:${path},pace=1`, `pcap:${path},rate=5000,loop=2`, `pcap:${path},rate=1`]);
  const burst = host.burst(32);
  t.same(receiveAll(host, host.ports[0]!, burst, Infinity), frames);
  t.same(receiveAll(host, host.ports[1]!, burst, Infinity), [...frames, ...frames]);
  t.equal(host.ports[2]!.rx[0]!.rxBurst(burst), 1, 'one a second');
  t.equal(host.ports[2]!.finished, false);
  host.pool.free(burst, 0, 1);
  t.match(host.pool.audit(), { free: 64 });
});
