import fc from 'fast-check';
import t from 'tap';
import { GREEN, Meter, METER_BYTES, RED, YELLOW, type Color, type MeterSpec } from '../../lib/qdisc/meter.js';
import { BurstMeter } from '../../lib/qdisc/burst_meter.js';
import { codeThrown } from '../kernel/rights.js';
import { QdiscBench, udp } from './bench_helper.js';

const US = 1000n;

/** RFC 2697 section 3 with whole tokens, in nanobytes so that nothing is rounded: CIR in bytes per second, time in nanoseconds. */
function srTcm(spec: { cir: bigint; cbs: bigint; ebs: bigint }): (now: bigint, bytes: bigint, before: Color) => Color {
  const UNIT = 1_000_000_000n;
  let [tc, te, last] = [spec.cbs * UNIT, spec.ebs * UNIT, 0n];
  return (now, bytes, before) => {
    // "Tc is incremented by one up to CBS, else Te is incremented by one up to EBS, else neither".
    for (let fresh = (now - last) * spec.cir; fresh > 0n;) {
      const room = tc < spec.cbs * UNIT ? spec.cbs * UNIT - tc : spec.ebs * UNIT - te;
      const add = fresh < room ? fresh : room;
      if (tc < spec.cbs * UNIT) tc += add;
      else if (te < spec.ebs * UNIT) te += add;
      else break;
      fresh -= add;
    }
    last = now;
    const size = bytes * UNIT;
    if (before === GREEN && tc - size >= 0n) {
      tc -= size;
      return GREEN;
    }
    if (before !== RED && te - size >= 0n) {
      te -= size;
      return YELLOW;
    }
    return RED;
  };
}

/** RFC 2698 section 3, likewise. */
function trTcm(spec: { cir: bigint; cbs: bigint; pir: bigint; pbs: bigint }): (now: bigint, bytes: bigint, before: Color) => Color {
  const UNIT = 1_000_000_000n;
  const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
  let [tp, tc, last] = [spec.pbs * UNIT, spec.cbs * UNIT, 0n];
  return (now, bytes, before) => {
    tp = least(spec.pbs * UNIT, tp + (now - last) * spec.pir);
    tc = least(spec.cbs * UNIT, tc + (now - last) * spec.cir);
    last = now;
    const size = bytes * UNIT;
    if (before === RED || tp - size < 0n) return RED;
    if (before === YELLOW || tc - size < 0n) {
      tp -= size;
      return YELLOW;
    }
    tp -= size;
    tc -= size;
    return GREEN;
  };
}

/** Whole bytes per microsecond and whole microseconds, so that the meter's doubles are exact too and every tie is a tie in both. */
const perMicrosecond = fc.integer({ min: 1, max: 50 });
const size = fc.integer({ min: 0, max: 6000 });
const specs = fc.oneof(
  fc.tuple(perMicrosecond, size, size).filter(([, cbs, ebs]) => cbs + ebs > 0).map(([cir, cbs, ebs]) => ({ kind: 'srtcm' as const, cir: cir * 8e6, cbs, ebs })),
  fc.tuple(perMicrosecond, perMicrosecond, size, size).map(([a, b, cbs, pbs]) => ({ kind: 'trtcm' as const, cir: Math.min(a, b) * 8e6, pir: Math.max(a, b) * 8e6, cbs: cbs + 1, pbs: pbs + 1 })),
);
const packets = fc.array(fc.record({
  gap: fc.oneof(fc.nat(20), fc.nat(2000)), bytes: fc.integer({ min: 1, max: 3000 }), before: fc.constantFrom(GREEN, GREEN, YELLOW, RED),
}), { minLength: 1, maxLength: 100, size: 'max' });

t.test('srTCM and trTCM give each packet the colour that the RFCs give it', async t => {
  const seen = [0, 0, 0];
  fc.assert(fc.property(specs, packets, (spec: MeterSpec, list) => {
    const f64 = new Float64Array(METER_BYTES / 8 + 1);
    const meter = new Meter({ f64 } as never, 0, spec);
    const big = (bits: number | string): bigint => BigInt(Number(bits) / 8);
    const model = spec.kind === 'srtcm'
      ? srTcm({ cir: big(spec.cir), cbs: BigInt(spec.cbs), ebs: BigInt(spec.ebs) })
      : trTcm({ cir: big(spec.cir), pir: big(spec.pir), cbs: BigInt(spec.cbs), pbs: BigInt(spec.pbs) });
    let now = 0n;
    const bytes = [0, 0, 0];
    for (const packet of list) {
      now += BigInt(packet.gap) * US;
      f64[METER_BYTES / 8] = Number(now);
      const color = meter.color(packet.bytes, METER_BYTES / 8, packet.before);
      const theirs = model(now, BigInt(packet.bytes), packet.before);
      if (color !== theirs) throw new Error(`at ${now} ns, ${packet.bytes} bytes: ${color}, by the RFC ${theirs}`);
      seen[color]!++;
      bytes[color]! += packet.bytes;
    }
    const { greenBytes, yellowBytes, redBytes } = meter.toJSON();
    if (JSON.stringify([greenBytes, yellowBytes, redBytes]) !== JSON.stringify(bytes)) throw new Error('the counters');
  }), { numRuns: process.env['POLLMODE_LONG'] === '1' ? 20000 : 1000 });
  t.ok(seen.every(count => count > 1000), `green, yellow, red: ${seen.join(', ')}`);
});

t.test('a clock that goes back stands still', async t => {
  const f64 = new Float64Array(METER_BYTES / 8 + 1);
  const meter = new Meter({ f64 } as never, 0, { kind: 'srtcm', cir: 8e9, cbs: 100, ebs: 0 });
  const at = (time: number): Color => {
    f64[METER_BYTES / 8] = time;
    return meter.color(100, METER_BYTES / 8);
  };
  t.same([at(1000), at(0), at(1000), at(1099), at(1100)], [GREEN, RED, RED, RED, GREEN]);
});

t.test('a police drops by colour, and counts IP bytes: no Ethernet header, no padding', async t => {
  // 46 bytes of IP in the smallest frame.
  const bench = new QdiscBench({ kind: 'police', dropYellow: true, meter: { kind: 'trtcm', cir: 8e6, pir: 16e6, cbs: 46, pbs: 92 } });
  bench.send(...Array.from({ length: 4 }, () => ({ bytes: 60, flow: 1 })));
  t.match(bench.queue.toJSON().root, { drops: { red: 2, yellow: 1 }, outPackets: 1, state: { green: 1, greenBytes: 46, yellowBytes: 46 } });
  bench.now = 46_000;
  bench.send({ bytes: 60, flow: 1 });
  t.equal(bench.sink.arrivals.length, 2);
  bench.close();
  const padded = new QdiscBench({ kind: 'police', meter: { kind: 'srtcm', cir: 8, cbs: 80, ebs: 0 } });
  const frame = new Uint8Array(60);
  frame.set([0x08, 0x00, 0x45, 0, 0, 40], 12);
  padded.send({ bytes: 60, frame }, { bytes: 60, frame }, { bytes: 60, frame });
  t.match(padded.queue.toJSON().root, { outPackets: 2, drops: { red: 1 } });
  padded.send({ bytes: 60, frame: new Uint8Array(60) });
  t.match(padded.queue.toJSON().root.state, { redBytes: 100 }, 'what is no IP counts whole');
  padded.close();
});

t.test('a burst at once: blind and aware', async t => {
  const bench = new QdiscBench({ kind: 'pfifo' });
  const { pool, burst } = bench;
  const clock = (): number => bench.now;
  pool.alloc(burst, 4);
  for (let i = 0; i < 4; i++) pool.mbufs.copyIn(burst.handles[i]!, udp(1, 54)); // 40 bytes of IP
  const blind = new BurstMeter(pool, 'blind', { kind: 'srtcm', cir: '8mbit', cbs: 80, ebs: 40 }, { clock });
  const colors = new Uint8Array(4).fill(RED);
  t.equal(blind.color(burst, 4, colors), 2);
  t.same([...colors], [GREEN, GREEN, YELLOW, RED], 'what was in the vector is no matter');
  bench.now = 40_000;
  t.equal(blind.color(burst, 1, colors), 0);
  const aware = new BurstMeter(pool, 'aware', { kind: 'trtcm', cir: '8mbit', pir: '8mbit', cbs: 1000, pbs: 1000 }, { clock, colorAware: true });
  colors.set([GREEN, YELLOW, RED, 9]);
  t.equal(aware.color(burst, 4, colors), 3);
  t.same([...colors], [GREEN, YELLOW, RED, RED], 'a colour that is none is red');
  t.equal(aware.color(burst, 4, new Uint8Array(2)), 0, 'no more than the vector has');
  t.match(aware.toJSON(), { kind: 'trtcm', green: 3, yellow: 1, red: 2, redBytes: 80 });
  t.equal(codeThrown(() => new BurstMeter(pool, 'aware', { kind: 'srtcm', cir: 1e6, cbs: 1, ebs: 1 })), 'EEXISTS');
  t.equal(codeThrown(() => new BurstMeter(pool, 'absurd', { kind: 'srtcm', cir: -5, cbs: 1, ebs: 1 })), 'EOPTION');
  t.equal(bench.arena.lookup('absurd'), undefined);
  for (const meter of [blind, aware, aware]) meter.close();
  t.equal(aware.color(burst, 4, colors), 0);
  t.match(aware.toJSON(), { green: 3 });
  pool.free(burst, 0, 4);
  bench.close();
});
