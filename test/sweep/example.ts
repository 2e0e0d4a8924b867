/**
 * A MADE-UP sweep result for tests and for looking at the report. No figure in it was measured: the shapes are those
 * that such paths usually have, the numbers are drawn from a seeded generator.
 */
import { spread } from '../../lib/sweep/statistics.js';
import type { Spread } from '../../lib/sweep/statistics.js';
import { sweepResult } from '../../lib/sweep/results.js';
import type { Direction, LatencyCell, SweepCell, SweepHeader, SweepResult } from '../../lib/sweep/results.js';

const BURSTS = [1, 4, 8, 16, 32, 64, 128, 256];
const FRAMES = [64, 512, 1518];
const DIRECTIONS: readonly Direction[] = ['send', 'receive'];
const ROUNDS = 5;

/** Costs in ns: per packet, per call, per byte; how many packets a call carries at most; user share of the cost. */
interface Shape { path: string; packet: number; call: number; byte: number; perCall: number; user: number; latency: number }
const SHAPES: readonly Shape[] = [
  { path: 'af_xdp', packet: 480, call: 900, byte: 0.12, perCall: 32, user: 0.06, latency: 9000 },
  { path: 'af_packet ring', packet: 820, call: 1100, byte: 0.2, perCall: 256, user: 0.08, latency: 14000 },
  { path: 'raw socket', packet: 1300, call: 650, byte: 0.22, perCall: 1, user: 0.16, latency: 17000 },
  { path: 'memory ring', packet: 24, call: 90, byte: 0, perCall: 512, user: 1, latency: 700 },
  { path: 'dgram', packet: 4200, call: 2600, byte: 0.3, perCall: 1, user: 0.45, latency: 61000 },
];

/** `scale` multiplies every rate, for a second file to compare with. */
export function exampleResult(scale = 1, cpu = 'Example CPU @ 2.50GHz (made up)'): SweepResult {
  const random = generator(7);
  const cells = SHAPES.flatMap((shape) => DIRECTIONS.flatMap((direction) => FRAMES.flatMap((frame) =>
    BURSTS.map((burst) => cell(shape, direction, frame, burst, scale, random)))));
  const latency = SHAPES.flatMap((shape) => FRAMES.flatMap((frame) => BURSTS.map((burst) => latencyCell(shape, frame, burst, random))));
  return sweepResult(exampleHeader(cpu), cells, latency);
}

export function exampleHeader(cpu: string): SweepHeader {
  return {
    kernel: '6.18.0-example', cpu, cores: 2, node: '20.20.2', pollmode: '0.1.0', link: 'veth pair between two network namespaces',
    mode: 'native, copy', needWakeup: true, senderCpu: 0, receiverCpu: 1, date: '2026-01-31T12:00:00.000Z',
    secondsPerCell: 0.5, warmupSeconds: 0.1, rounds: ROUNDS, takenByOthers: 0.01, notes: ['These figures are made up; they show what the report looks like.'],
  };
}

function cell(shape: Shape, direction: Direction, frame: number, burst: number, scale: number, random: () => number): SweepCell {
  const key = { path: shape.path, burst, frame, direction };
  if (shape.path === 'af_packet ring' && frame === 1518 && burst >= 128) return { ...key, status: 'missing', reason: 'The transmit ring holds no 128 frames of 1518 bytes: give it more blocks.' };
  const calls = 1 / Math.min(burst, shape.perCall);
  const ns = (shape.packet + shape.call * calls + shape.byte * frame) * (direction === 'receive' ? 1.45 : 1) / scale;
  const sent = Math.round(ROUNDS * 0.5e9 / ns);
  const lostPackets = direction === 'receive' ? Math.round(sent * 0.012 * random()) : 0;
  return {
    ...key, status: 'measured',
    packetsPerSecond: rounds(1e9 / ns, 0.05, random), sent, received: sent - lostPackets,
    loss: lostPackets === 0 ? [] : [{ name: 'rx_ring_full', packets: Math.floor(lostPackets * 0.9) }],
    userNs: rounds(ns * shape.user, 0.06, random), systemNs: rounds(ns * (1 - shape.user), 0.06, random),
    syscalls: rounds(shape.path === 'af_xdp' && direction === 'receive' ? 0 : calls, 0.01, random),
  };
}

function latencyCell(shape: Shape, frame: number, burst: number, random: () => number): LatencyCell {
  const typical = shape.latency + burst * shape.packet * 0.4 + frame;
  return {
    path: shape.path, burst, frame, kind: 'round-trip', offered: 50_000, samples: ROUNDS * 25_000, sent: ROUNDS * 32_000, returned: ROUNDS * 32_000,
    p50: rounds(typical, 0.04, random), p99: rounds(typical * 2.2, 0.15, random), p999: rounds(typical * 7, 0.4, random),
  };
}

function rounds(value: number, noise: number, random: () => number): Spread {
  return spread(Array.from({ length: ROUNDS }, () => value * (1 + noise * (random() - 0.5))));
}

/** A small linear congruential generator (Numerical Recipes), so that two runs make the same file. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
