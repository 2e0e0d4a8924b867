import { readFileSync } from 'node:fs';
import t from 'tap';
import { HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../../../lib/mbuf/layout.js';
import type { Host } from '../../../lib/port/host.js';
import { pattern, readCapture } from '../../wire/pcap_helper.js';
import { Folder, openFor, someFrames } from './pcap_helper.js';

t.test('what is sent is written, with the mbuf\'s time or the present one', async (t) => {
  const folder = new Folder(t);
  const frames = someFrames(40);
  const path = folder.capture('in.pcap', frames);
  for (const [out, options, times] of [['a.pcap', '', 1], ['b.pcapng', '', 1], ['c.pcap', ',resolution=us', 1000], ['d', ',format=pcapng,resolution=us', 1000]] as const) {
    const host = openFor(t, [`pcap:${path},tx=${folder.file(out)}${options}`]);
    const port = host.ports[0]!;
    const burst = host.burst(32);
    for (let got = port.rx[0]!.rxBurst(burst); got > 0; got = port.rx[0]!.rxBurst(burst)) t.equal(port.tx[0]!.txBurst(burst, got), got);
    t.match(host.pool.audit(), { free: 64 }, 'sent is freed');
    host.pool.alloc(burst, 1);
    host.mbufs.copyIn(burst.handles[0]!, pattern(60));
    const before = Date.now();
    t.equal(port.tx[0]!.txBurst(burst, 1), 1);
    t.match(host.stats(port), { txPackets: 41, txBytes: frames.reduce((sum, each) => sum + each.length, 60), txRefused: 0 });
    port.close();
    const written = folder.read(out);
    t.same(written.slice(0, 40), frames.map(each => ({ ...each, time: [each.time![0], each.time![1] - each.time![1] % times] })), `${out}${options}`);
    t.ok(Math.abs(written[40]!.time![0] * 1000 - before) < 100_000, 'the present');
    t.match(readCapture(readFileSync(folder.file(out))).format, out.endsWith('.pcap') ? /^pcap,/ : /^pcapng/);
  }
});

t.test('snaplen, and chains', async (t) => {
  const folder = new Folder(t);
  const host = openFor(t, [`pcap:,tx=${folder.file('a.pcap')},snaplen=100`, `pcap:,tx=${folder.file('b.pcap')}`]);
  const burst = host.burst(3);
  for (const port of host.ports) {
    host.pool.alloc(burst, 3);
    const [first, second, third] = burst.handles as unknown as [number, number, number];
    host.mbufs.copyIn(first, pattern(90));
    host.mbufs.copyIn(second, pattern(20, 90));
    host.mbufs.copyIn(third, pattern(30, 110));
    chain(host, first, second, third);
    t.equal(port.tx[0]!.txBurst(burst, 1), 1);
    t.match(host.pool.audit(), { free: 64 });
  }
  host.close();
  t.match(folder.read('a.pcap'), [{ bytes: pattern(100), length: 140 }]);
  t.match(folder.read('b.pcap'), [{ bytes: pattern(140), length: 140 }]);
});

t.test('mbufs that cannot be written are refused and counted', async (t) => {
  const folder = new Folder(t);
  const host = openFor(t, [`pcap:,tx=${folder.file('a.pcap')}`]);
  const port = host.ports[0]!;
  const burst = host.burst(2);
  host.pool.alloc(burst, 2);
  const [good, bad] = burst.handles as unknown as [number, number];
  const { u16, u32 } = host.mbufs;
  const wrongs: (() => void)[] = [
    () => { u32[(host.mbufs.header(bad) + MBUF_PKT_LEN) >>> 2] = 61; },
    () => { u32[(host.mbufs.header(bad) + MBUF_PKT_LEN) >>> 2] = 0xffffffff; },
    () => { u16[(host.mbufs.header(bad) + MBUF_DATA_OFF) >>> 1] = 2000; },
    () => { u16[(host.mbufs.header(bad) + MBUF_NB_SEGS) >>> 1] = 0; },
    () => { u16[(host.mbufs.header(bad) + MBUF_NB_SEGS) >>> 1] = 2; u32[(host.mbufs.header(bad) + MBUF_PKT_LEN) >>> 2] = 100; },
    () => { burst.handles[1] = 0; },
    () => { burst.handles[1] = 0xffffffff; },
    () => { burst.handles[1] = 0x00ffffff; },
  ];
  for (const wrong of wrongs) {
    burst.handles[0] = good;
    burst.handles[1] = bad;
    host.mbufs.copyIn(good, pattern(60));
    host.mbufs.copyIn(bad, pattern(60));
    wrong();
    t.equal(port.tx[0]!.txBurst(burst, 2), 1, String(wrong));
    host.pool.alloc(burst, 1);
    t.equal(burst.handles[0], good, 'the good one came back');
    resetHeader(host, bad);
  }
  t.match(host.stats(port), { txPackets: wrongs.length, txRefused: wrongs.length, xstats: { tx_bad_frame: wrongs.length } });
  burst.handles[1] = bad;
  host.pool.free(burst, 0, 2);
  t.match(host.pool.audit(), { free: 64, stray: 0, twice: 0 });
  host.close();
  t.equal(folder.read('a.pcap').length, wrongs.length);
});

t.test('a full disk: refused when the buffer is full, told of at close, nothing lost untold', async (t) => {
  const host = openFor(t, ['pcap:,tx=/dev/full']);
  const port = host.ports[0]!;
  const burst = host.burst(32);
  host.pool.alloc(burst, 32);
  for (const handle of burst.handles) host.mbufs.copyIn(handle, pattern(1000));
  let kept = 32;
  let taken = 0;
  for (let call = 0; call < 1000 && kept === 32; call++) {
    const sent = port.tx[0]!.txBurst(burst, 32);
    taken += sent;
    kept = 32 - sent;
    host.pool.alloc(burst, sent);
    for (const handle of burst.handles.subarray(0, sent)) host.mbufs.copyIn(handle, pattern(1000));
    if (sent > 0 && kept > 0) break;
    kept = 32;
  }
  t.ok(taken > 100, `${taken} went into the buffer`);
  t.equal(port.tx[0]!.txBurst(burst, 32), 0);
  const { txPackets, txRefused, xstats } = host.stats(port);
  t.match([txPackets, txRefused, xstats['tx_write_ENOSPC']], [taken, 64 - taken % 32, 2]);
  t.match(host.pool.audit(), { app: 32, free: 32, tx: 0 }, 'what was refused is the program\'s');
  host.pool.free(burst, 0, 32);
  port.close();
  t.match(host.stats(port), { txPackets: taken, xstats: { tx_not_written: taken, tx_write_ENOSPC: 3 } });
});

/** Makes one packet of three mbufs. */
function chain({ mbufs }: Host, ...handles: number[]): void {
  const header = (handle: number): number => (mbufs.table + (handle << HEADER_SHIFT)) >>> 0;
  const [first] = handles as [number];
  handles.forEach((handle, i) => { mbufs.u32[(header(handle) + MBUF_NEXT) >>> 2] = handles[i + 1] ?? 0; });
  mbufs.u16[(header(first) + MBUF_NB_SEGS) >>> 1] = handles.length;
  mbufs.u32[(header(first) + MBUF_PKT_LEN) >>> 2] = handles.reduce((sum, handle) => sum + mbufs.u16[(header(handle) + MBUF_DATA_LEN) >>> 1]!, 0);
}

/** An empty frame again. */
function resetHeader({ mbufs }: Host, handle: number): void {
  const header = mbufs.header(handle);
  mbufs.u16[(header + MBUF_DATA_OFF) >>> 1] = 256;
  mbufs.u16[(header + MBUF_NB_SEGS) >>> 1] = 1;
  mbufs.u16[(header + MBUF_DATA_LEN) >>> 1] = 0;
  mbufs.u32[(header + MBUF_PKT_LEN) >>> 2] = 0;
}
