import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { open } from '../../../lib/port/host.js';
import { Order, joined, linesOf, pattern, readCapture, writeCapture, type Seen } from '../../wire/pcap_helper.js';
import { Folder, SMALL, framesOf, openFor, receiveAll, someFrames } from './pcap_helper.js';

/** What a descriptor is of; that of the reading itself is gone by then. */
function linkOf(descriptor: string): string {
  try {
    return readlinkSync(descriptor);
  } catch {
    return '';
  }
}

for (const name of ['in.pcap', 'in.pcapng']) {
  t.test(`${name}: its frames come once, in order, with their times`, async (t) => {
    const folder = new Folder(t);
    const frames = someFrames(1000);
    const host = openFor(t, [`pcap:${folder.capture(name, frames)}`]);
    const [port] = host.ports;
    t.match(port, { capabilities: { rxQueues: 1, txQueues: 0, timestamps: 'file', zeroCopy: false, mode: new RegExp(`^reads ${name.slice(3)}`) }, finished: false });
    t.same(linesOf(receiveAll(host, port!, host.burst(32))), linesOf(frames));
    t.match(host.stats(port!), { rxPackets: 1000, rxBytes: frames.reduce((sum, frame) => sum + frame.length, 0), rxNoMbuf: 0, xstats: { rx_passes: 1, rx_truncated_file: 0 } });
    t.match(host.pool.audit(), { free: 64, app: 0, stray: 0, twice: 0 });
  });
}

t.test('a file that is larger than the window', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(3000);
  const path = folder.capture('in.pcapng', frames);
  t.ok(statSync(path).size > 2_000_000);
  const host = openFor(t, [`pcap:${path},loop=2`]);
  t.same(linesOf(receiveAll(host, host.ports[0]!, host.burst(52))), linesOf([...frames, ...frames]));
});

t.test('a dry pool costs no frame', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(100);
  const host = openFor(t, [`pcap:${folder.capture('in.pcap', frames)}`]);
  const port = host.ports[0]!;
  const [held, burst] = [host.burst(61), host.burst(32)];
  t.equal(host.pool.alloc(held, 61), 61);
  t.equal(port.rx[0]!.rxBurst(burst), 2, 'as many as there are mbufs, in halves');
  const seen = framesOf(host, burst, 2);
  const one = host.burst(1);
  t.equal(host.pool.alloc(one, 1), 1);
  const other = host.burst(32);
  t.equal(port.rx[0]!.rxBurst(other), 0);
  t.equal(host.stats(port).rxNoMbuf, 32);
  t.equal(port.finished, false);
  host.pool.free(held, 0, 61);
  host.pool.free(burst, 0, 2);
  host.pool.free(one, 0, 1);
  t.same(linesOf([...seen, ...receiveAll(host, port, burst)]), linesOf(frames));
  t.match(host.pool.audit(), { free: 64, stray: 0, twice: 0 });
});

t.test('max, and calls that ask for nothing', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(10);
  const host = openFor(t, [`pcap:${folder.capture('in.pcap', frames)}`]);
  const rx = host.ports[0]!.rx[0]!;
  const burst = host.burst(8);
  t.same([0, -1, 0.5].map(max => rx.rxBurst(burst, max)), [0, 0, 0]);
  t.same([3, 2.9, 100, 100].map(max => {
    const got = rx.rxBurst(burst, max);
    host.pool.free(burst, 0, got);
    return got;
  }), [3, 2, 5, 0]);
  t.match(host.pool.audit(), { free: 64, twice: 0 });
});

t.test('loop', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(5);
  const path = folder.capture('in.pcapng', frames);
  const host = openFor(t, [`pcap:${path},loop=3`, `pcap:${path},loop=0`]);
  const burst = host.burst(32);
  t.same(receiveAll(host, host.ports[0]!, burst), [...frames, ...frames, ...frames]);
  for (let call = 0; call < 100; call++) {
    if (host.ports[1]!.rx[0]!.rxBurst(burst) !== 32) t.fail('an endless file gives full bursts');
    host.pool.free(burst, 0, 32);
  }
  t.match([host.ports[1]!.finished, host.stats(host.ports[1]!)], [false, { rxPackets: 3200, xstats: { rx_passes: 3200 / 5 - 1 } }]);
});

t.test('a file without frames does not loop for ever, a truncated one plays again', async (t) => {
  const folder = new Folder(t);
  const path = folder.file('cut.pcap', writeCapture('pcap', someFrames(3)).subarray(0, -1));
  const host = openFor(t, [`pcap:${folder.capture('none.pcap', [])},loop=0`, `pcap:${path},loop=4`]);
  const burst = host.burst(32);
  t.same(receiveAll(host, host.ports[0]!, burst), []);
  t.equal(receiveAll(host, host.ports[1]!, burst).length, 8);
  t.match(host.stats(host.ports[1]!).xstats, { rx_truncated_file: 4, rx_passes: 4 });
});

t.test('what is wrong is in a counter that says why', async (t) => {
  const folder = new Folder(t);
  const order = new Order(true);
  const frame = pattern(60);
  const path = folder.file('odd.pcapng', joined(order.section(), order.interface(1, 0), order.interface(113, 0), order.interface(1, 0, order.option(9, Uint8Array.of(0))),
    order.enhanced(0, [0, 1], frame), order.enhanced(0, [0, 1], pattern(1793)), order.enhanced(1, [0, 1], frame), order.enhanced(0, [0, 1], frame, 100),
    order.enhanced(2, [9, 9], frame), order.enhanced(9, [0, 1], frame), order.block(3, order.u32(60), frame), order.u32(6, 4, 4)));
  const host = openFor(t, [`pcap:${path}`]);
  const port = host.ports[0]!;
  t.same(receiveAll(host, port, host.burst(32)).map(each => each.time), [[0, 1000], [0, 1000], undefined, undefined]);
  t.match(host.stats(port), { rxPackets: 4, rxBytes: 240, xstats: {
    rx_too_long: 1, rx_not_ethernet: 1, rx_snapped: 1, rx_corrupt_block: 1, rx_truncated_file: 0, rx_corrupt_file: 1, rx_time_out_of_range: 1,
  } });
  const wide = openFor(t, [`pcap:${path},max_frame=1793`]);
  t.equal(receiveAll(wide, wide.ports[0]!, wide.burst(32)).length, 5, 'larger frames for who asks for them');
});

t.test('for await ends with the file', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(70);
  const host = openFor(t, [`pcap:${folder.capture('in.pcapng', frames)}`]);
  const seen: Seen[] = [];
  for await (const burst of host.ports[0]!.rx[0]!.bursts()) {
    seen.push(...framesOf(host, burst, burst.count));
    host.pool.free(burst, 0, burst.count);
  }
  t.same(linesOf(seen), linesOf(frames));
});

t.test('many blocks without a frame do not hold up the caller', async (t) => {
  const folder = new Folder(t);
  const order = new Order(true);
  const path = folder.file('blocks.pcapng', joined(order.section(), order.interface(1, 0), ...new Array<Uint8Array>(5000).fill(order.block(4)), order.enhanced(0, [0, 1], pattern(60))));
  const host = openFor(t, [`pcap:${path}`]);
  const burst = host.burst(32);
  let calls = 0;
  while (host.ports[0]!.rx[0]!.rxBurst(burst) === 0) calls++;
  t.equal(calls, 4, 'a call looks at 1024 of them');
  host.pool.free(burst, 0, 1);
});

t.test('close twice, use after close, and what was open goes', async (t) => {
  const folder = new Folder(t);
  const path = folder.capture('in.pcap', someFrames(10));
  const descriptors = (): string[] => readdirSync('/proc/self/fd').map(fd => linkOf(`/proc/self/fd/${fd}`)).filter(file => file.startsWith(folder.path));
  const arena = openFor(t, [], SMALL);
  const zones = arena.arena.zones().length;
  const port = arena.add(`pcap:${path},tx=${folder.file('out.pcap')}`);
  t.equal(descriptors().length, 2, 'both files are open');
  const burst = arena.burst(4);
  const got = port.rx[0]!.rxBurst(burst);
  t.equal(port.tx[0]!.txBurst(burst, got), 4);
  port.close();
  port.close();
  t.equal(port.finished, true);
  t.same([port.rx[0]!.rxBurst(burst), port.tx[0]!.txBurst(burst, 1), port.tx[0]!.txBurst(burst, 1)], [0, 0, 0]);
  t.match(arena.stats(port), { rxPackets: 4, txPackets: 4, xstats: { rx_after_close: 1, tx_after_close: 2 } });
  t.equal(folder.read('out.pcap').length, 4);
  burst.close();
  t.equal(arena.arena.zones().length, zones, 'zones');
  t.same(descriptors(), [], 'descriptors');
});

t.test('refusals at open are typed, and leave nothing', async (t) => {
  const folder = new Folder(t);
  const good = folder.capture('in.pcap', someFrames(3));
  const bytes = readFileSync(good);
  spawnSync('mkfifo', [folder.file('fifo')]);
  const cases: [string[], string, RegExp][] = [
    [[`pcap:${folder.file('none.pcap')}`], 'ENOTFOUND', /none\.pcap.*open said ENOENT.*name a capture file/],
    [[`pcap:,tx=${folder.file('none/out.pcap')}`], 'ENOTFOUND', /name a file/],
    [[`pcap:${folder.path}`], 'EOPTION', /is a directory/],
    [[`pcap:,tx=${folder.path}`], 'EOPTION', /is a directory/],
    [[`pcap:${folder.file('fifo')}`], 'EUNSUPPORTED', /no regular file/],
    [['pcap:/dev/zero'], 'EUNSUPPORTED', /no regular file/],
    [[`pcap:${folder.file('text', pattern(100, 65))}`], 'EFORMAT', /no capture/],
    [[`pcap:${folder.file('empty', new Uint8Array(0))}`], 'EFORMAT', /is empty/],
    [['pcap:'], 'EOPTION', /no file/],
    [[`pcap:${good},rate=5,pace`], 'EOPTION', /choose one/],
    [[`pcap:,tx=${folder.file('x')},loop=2`], 'EOPTION', /loop without/],
    [[`pcap:${good},snaplen=2`], 'EOPTION', /snaplen without/],
    [[`pcap:${good},loop=-1`], 'EDEVICE', /loop/],
    [[`pcap:${good},tx=${good}`], 'EBUSYQUEUE', /is read by a port already/],
    [[`pcap:${good}`, `pcap:,tx=${good}`], 'EBUSYQUEUE', /is read by a port already/],
    [[`pcap:,tx=${folder.file('y')}`, `pcap:,tx=${folder.file('y')}`], 'EBUSYQUEUE', /is written by a port already/],
    [[`pcap:,tx=${folder.file('y')}`, `pcap:${folder.file('y')}`], 'EBUSYQUEUE', /is written by a port already/],
  ];
  const host = openFor(t, []);
  const zones = host.arena.zones().length;
  for (const [requests, code, message] of cases) {
    t.throws(() => requests.forEach(request => host.add(request)), { code, message }, requests.join(' '));
    for (const port of host.ports) port.close();
  }
  t.equal(host.arena.zones().length, zones);
  t.same(readFileSync(good), bytes, 'the file that was read is whole');
  t.throws(() => open([{ driver: 'pcap', device: 'a\0b' }], SMALL), { code: 'EOPTION' });
});

t.test('a file that this user may not read', async (t) => {
  const folder = new Folder(t);
  const path = folder.capture('in.pcap', []);
  spawnSync('chmod', ['000', path]);
  spawnSync('chmod', ['755', folder.path]);
  const root = process.geteuid!() === 0;
  if (root) process.seteuid!(65534);
  try {
    t.throws(() => open([`pcap:${path}`], SMALL), { code: 'ERIGHTS', syscall: 'open', errno: 13 });
    t.throws(() => open([`pcap:,tx=${path}`], SMALL), { code: 'ERIGHTS' });
  } finally {
    if (root) process.seteuid!(0);
  }
});

t.test('a file that is cut while it is read ends, counted', async (t) => {
  const folder = new Folder(t);
  const path = folder.capture('in.pcap', someFrames(2000));
  const host = openFor(t, [`pcap:${path}`]);
  const burst = host.burst(1);
  host.ports[0]!.rx[0]!.rxBurst(burst);
  host.pool.free(burst, 0, 1);
  writeFileSync(path, new Uint8Array(600_000));
  receiveAll(host, host.ports[0]!, host.burst(32));
  const { xstats } = host.stats(host.ports[0]!);
  t.equal(xstats['rx_truncated_file']! + xstats['rx_corrupt_file']!, 1);
});

t.test('jumbo frames come as chains, and go back into a file the same', async (t) => {
  const folder = new Folder(t);
  const frames = [60, 9014, 1792, 1793, 65557, 9022, 61].map((length, i): Seen => ({ bytes: pattern(length, i), length, time: [i, 0] }));
  const path = folder.capture('in.pcap', frames);
  const host = openFor(t, [`pcap:${path},max_frame=65557,tx=${folder.file('out.pcap')}`], { mbufs: 64 });
  const [port, burst] = [host.ports[0]!, host.burst(4)];
  t.equal(port.capabilities.mtu, 65543);
  const segments: number[] = [];
  for (let calls = 0; calls < 50 && port.finished !== true; calls++) {
    const got = port.rx[0]!.rxBurst(burst);
    for (const handle of burst.handles.subarray(0, got)) segments.push(host.mbufs.segments(handle));
    t.equal(port.tx[0]!.txBurst(burst, got), got);
  }
  t.same(segments, [1, 6, 1, 2, 37, 6, 1]);
  const [{ free }, stats] = [host.pool.audit(), host.stats(port)];
  t.equal(free, 64);
  t.match(stats, { rxPackets: 7, txPackets: 7, rxBytes: stats.txBytes });
  port.close();
  t.same(linesOf(readCapture(readFileSync(folder.file('out.pcap')), { window: 1 << 17 }).frames), linesOf(frames));

  const dry = openFor(t, [`pcap:${path},max_frame=9022`], { mbufs: 64 });
  const all = dry.burst(64);
  dry.pool.alloc(all, 60);
  const few = dry.burst(4);
  t.equal(dry.ports[0]!.rx[0]!.rxBurst(few), 1, 'what the pool has no mbufs for stays in the file');
  t.equal(dry.stats(dry.ports[0]!).rxNoMbuf, 1);
  dry.pool.free(all, 0, 60);
  dry.pool.free(few, 0, 1);
  t.equal(dry.ports[0]!.rx[0]!.rxBurst(few), 4);
  t.equal(dry.mbufs.pktLen(few.handles[0]!), 9014);
  t.equal(dry.stats(dry.ports[0]!).xstats['rx_too_long'], 1, 'the one of 65557 bytes');
  dry.pool.free(few, 0, 4);
});
