/** The thread of one side of a path: pinned, in its namespace, with one endpoint; runs what the conductor orders. */
import { parentPort, workerData } from 'node:worker_threads';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { BpfMap } from '../kernel/bpf.js';
import { CLONE_NEWNET } from '../kernel/constants.js';
import { check } from '../kernel/errno.js';
import { DRAIN, IDLE, MEASURE, RECEIVED, SENT, type Endpoint, type MemoryShare, type RunOrder, type RunOutcome } from './control.js';
import { openEndpoint, type EndpointPlan } from './endpoints/open.js';
import type { FrameEnds } from './frame.js';
import { linkDrops } from './link_drops.js';
import { RoundTripTimer } from './round_trips.js';
import { between, pin, readBegin, readEnd, threadNumber } from './thread.js';

/** What a worker is started with. */
export interface SideData {
  readonly endpoint: EndpointPlan;
  readonly sends: boolean;
  readonly cpu: number;
  /** The other side has the same CPU: a turn without work gives it up. */
  readonly sharesCpu: boolean;
  /** Absent for paths that need no interface. */
  readonly link?: { readonly netns: number; readonly ifindex: number; readonly name: string };
  readonly ends: FrameEnds;
  /** Of a memory path, for the side that attaches. */
  readonly share?: MemoryShare;
  /** One i32: the phase. */
  readonly phase: Int32Array<SharedArrayBuffer>;
  /** The map of the system call counter. */
  readonly calls?: BpfMap;
}

/** What it answers: `armed` and then `done` to each order. */
export type SideMessage =
  | { readonly kind: 'ready'; readonly tid: number; readonly mode: string; readonly pinned: boolean; readonly share?: MemoryShare }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'armed' }
  | { readonly kind: 'done'; readonly outcome: RunOutcome };

/** A drain is over when nothing moved for so long, or in the end anyhow: on a sender, what is queued goes out by then. */
const QUIET_MS = { sender: 3, receiver: 20 };
const DRAIN_MS_MAX = 1000;
/** A rest of a side that shares its CPU, in milliseconds. */
const REST_MS = 0.05;

const data = workerData as SideData;
const { phase } = data;
const port = parentPort!;
const trips = new RoundTripTimer();
const resting = new Int32Array(new SharedArrayBuffer(4));

try {
  const pinned = pin(data.cpu);
  if (data.link !== undefined) check(binding().setns(data.link.netns, CLONE_NEWNET), 'setns');
  const endpoint = await openEndpoint(data.endpoint, data, trips.time);
  port.on('message', (order: RunOrder | 'close') => {
    if (order !== 'close') return void run(endpoint, order);
    endpoint.close();
    port.close();
  });
  const { mode, share } = endpoint;
  answer({ kind: 'ready', tid: threadNumber(), mode, pinned, ...(share === undefined ? {} : { share }) });
} catch (cause) {
  if (!(cause instanceof PollmodeError)) throw cause;
  answer({ kind: 'refused', message: cause.message });
}

async function run(endpoint: Endpoint, order: RunOrder): Promise<void> {
  trips.reset();
  endpoint.start(order);
  const before = totals(endpoint);
  answer({ kind: 'armed' });
  Atomics.wait(phase, 0, IDLE, 5000);
  let packets = await turns(endpoint, () => endpoint.turn(), () => Atomics.load(phase, 0) < MEASURE);
  trips.begin();
  const from = readBegin(packets, data.calls);
  packets += await turns(endpoint, () => endpoint.turn(), () => Atomics.load(phase, 0) < DRAIN);
  const measured = between(from, readEnd(packets, data.calls));
  trips.end();
  packets += await (data.sends ? endSending(endpoint) : endReceiving(endpoint));
  const sent = order.rate !== undefined && data.sends ? { latency: trips.read() } : {};
  answer({ kind: 'done', outcome: { packets, measured, counters: difference(totals(endpoint), before), ...sent } });
}

/** What is queued goes out. Round trips are under way until the other side has nothing more to send back. */
async function endSending(endpoint: Endpoint): Promise<number> {
  const sent = await turns(endpoint, () => endpoint.drain(), quiet(QUIET_MS.sender));
  Atomics.store(phase, 0, SENT);
  await turns(endpoint, () => endpoint.drain(), () => Atomics.load(phase, 0) < RECEIVED);
  await turns(endpoint, () => endpoint.drain(), quiet(QUIET_MS.sender));
  return sent;
}

/** What the sender sent until it stopped, and what is under way then. */
async function endReceiving(endpoint: Endpoint): Promise<number> {
  const before = await turns(endpoint, () => endpoint.drain(), () => Atomics.load(phase, 0) < SENT);
  const after = await turns(endpoint, () => endpoint.drain(), quiet(QUIET_MS.receiver));
  Atomics.store(phase, 0, RECEIVED);
  return before + after;
}

/** Turns for as long as there should be more; one at least, for a thread that had no CPU while its part lasted. Endpoints of the event loop wait for its next turn in between. */
function turns(endpoint: Endpoint, turn: () => number, more: (last: number) => boolean): number | Promise<number> {
  if (endpoint.eventLoop === true) return eventTurns(turn, more);
  let packets = 0;
  let last: number;
  do packets += last = worked(turn()); while (more(last));
  return packets;
}

async function eventTurns(turn: () => number, more: (last: number) => boolean): Promise<number> {
  let packets = 0;
  let last: number;
  do {
    packets += last = worked(turn());
    await nextTurn();
  } while (more(last));
  return packets;
}

function worked(packets: number): number {
  if (packets === 0 && data.sharesCpu) Atomics.wait(resting, 0, 0, REST_MS);
  return packets;
}

/** Until nothing has moved and nothing came back for so long, and the turn after that found nothing either: the thread may have been away. */
function quiet(milliseconds: number): (last: number) => boolean {
  const end = performance.now() + DRAIN_MS_MAX;
  let since = performance.now();
  let before = since;
  let { returned } = trips;
  return last => {
    const now = performance.now();
    if (last > 0 || trips.returned > returned) since = now;
    ({ returned } = trips);
    const over = before - since >= milliseconds;
    before = now;
    return now < end && !over;
  };
}

function totals(endpoint: Endpoint): Record<string, number> {
  return { ...endpoint.counters(), ...(data.link === undefined ? {} : linkDrops(data.link.name, data.sends)) };
}

function difference(now: Record<string, number>, then: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (then[name] ?? 0)]));
}

function answer(message: SideMessage): void {
  port.postMessage(message);
}
