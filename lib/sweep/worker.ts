/** The thread of one side of a path: pinned, in its namespace, with one endpoint; runs what the conductor orders. */
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Histogram } from 'hdr-histogram-js';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { CLONE_NEWNET } from '../kernel/constants.js';
import { check } from '../kernel/errno.js';
import { between, DRAIN, MEASURE, read, STOP, WARM_UP, type Endpoint, type Reading, type RunOrder, type RunOutcome } from './control.js';
import { DgramEndpoint } from './endpoints/dgram.js';
import { PortEndpoint } from './endpoints/port.js';
import { RawSocketEndpoint } from './endpoints/raw_socket.js';
import type { FrameEnds } from './frame.js';

/** What a worker is started with. */
export interface SideData {
  readonly endpoint: { readonly kind: 'port'; readonly device: string } | { readonly kind: 'raw socket' } | { readonly kind: 'dgram' };
  readonly sends: boolean;
  readonly cpu: number;
  readonly netns: number;
  readonly ifindex: number;
  readonly ends: FrameEnds;
  /** One i32: the phase. */
  readonly phase: Int32Array<SharedArrayBuffer>;
}

/** What it answers. */
export type SideMessage =
  | { readonly kind: 'ready'; readonly tid: number; readonly mode: string; readonly pinned: boolean }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'done'; readonly outcome: RunOutcome };

const hdr = createRequire(import.meta.url)('hdr-histogram-js') as typeof import('hdr-histogram-js');
const data = workerData as SideData;
const { phase } = data;
const histogram: Histogram = hdr.build({ lowestDiscernibleValue: 1, highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: 3 });
const port = parentPort!;

try {
  const pinned = binding().setAffinity(data.cpu) >= 0;
  check(binding().setns(data.netns, CLONE_NEWNET), 'setns');
  const endpoint = await openEndpoint();
  port.on('message', (order: RunOrder | 'close') => {
    if (order !== 'close') return void run(endpoint, order);
    endpoint.close();
    port.close();
  });
  answer({ kind: 'ready', tid: binding().gettid(), mode: endpoint.mode, pinned });
} catch (cause) {
  if (!(cause instanceof PollmodeError)) throw cause;
  answer({ kind: 'refused', message: cause.message });
}

async function openEndpoint(): Promise<Endpoint & { readonly mode: string }> {
  const { endpoint, ends, sends, ifindex } = data;
  if (endpoint.kind === 'port') return new PortEndpoint(endpoint.device, ends, sends, time);
  if (endpoint.kind === 'raw socket') return new RawSocketEndpoint(ifindex, ends, sends, time);
  return DgramEndpoint.open(ends, sends, time);
}

function time(nanoseconds: number): void {
  if (nanoseconds >= 0 && nanoseconds < 10_000_000_000) histogram.recordValue(Math.round(nanoseconds));
}

async function run(endpoint: Endpoint, order: RunOrder): Promise<void> {
  histogram.reset();
  endpoint.start(order);
  const before = endpoint.counters();
  let packets = 0;
  const advance = (until: number): Promise<void> | void => {
    if (endpoint.eventLoop === true) return eventually(until);
    while (Atomics.load(phase, 0) < until) packets += endpoint.turn();
  };
  const eventually = async (until: number): Promise<void> => {
    while (Atomics.load(phase, 0) < until) {
      packets += endpoint.turn();
      await nextTurn();
    }
  };
  Atomics.wait(phase, 0, WARM_UP - 1, 5000);
  await advance(MEASURE);
  histogram.reset();
  const from: Reading = read(packets);
  await advance(DRAIN);
  const measured = between(from, read(packets));
  if (!data.sends) await advance(STOP);
  // Sends that libuv still has are over within a turn or two.
  if (data.sends && endpoint.eventLoop === true) for (let i = 0; i < 100; i++) await nextTurn();
  if (data.sends && endpoint.eventLoop === true) packets += endpoint.turn();
  answer({ kind: 'done', outcome: { packets, measured, counters: difference(endpoint.counters(), before), ...latency(order) } });
}

function latency(order: RunOrder): Pick<RunOutcome, 'latency'> {
  if (order.rate === undefined || data.sends || histogram.totalCount === 0) return {};
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile);
  return { latency: { p50: at(50), p99: at(99), p999: at(99.9), samples: histogram.totalCount } };
}

function difference(now: Record<string, number>, then: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (then[name] ?? 0)]));
}

function answer(message: SideMessage): void {
  port.postMessage(message);
}
