import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { setTimeout as wait } from 'node:timers/promises';
import { PollmodeError } from '../errors.js';
import type { SyscallCounter } from '../kernel/syscall_counter.js';
import { openLab, type Lab, type LabEnd } from '../lab/veth.js';
import { DRAIN, IDLE, MEASURE, STOP, WARM_UP, type RunOrder, type RunOutcome } from './control.js';
import type { FrameEnds } from './frame.js';
import type { SideData, SideMessage } from './worker.js';

/** Milliseconds for packets that are under way when the sender stops. */
const DRAIN_MS = 20;

export interface PathPlan {
  readonly name: string;
  readonly endpoint: SideData['endpoint'];
  readonly senderCpu: number;
  readonly receiverCpu: number;
}

/** One run of a cell: both sides, and the system calls that each thread made in the measured part. */
export interface RunResult {
  readonly sender: RunOutcome;
  readonly receiver: RunOutcome;
  readonly senderCalls: number | undefined;
  readonly receiverCalls: number | undefined;
}

interface Side {
  readonly worker: Worker;
  readonly tid: number;
  readonly mode: string;
}

/** A path that is ready to run: its own lab, a sender and a receiver thread. Everything goes with `close`, or with the process. */
export class Path {
  readonly name: string;
  readonly mode: string;
  readonly #lab: Lab;
  readonly #sender: Side;
  readonly #receiver: Side;
  readonly #phase: Int32Array<SharedArrayBuffer>;
  readonly #calls: SyscallCounter | undefined;

  private constructor(name: string, lab: Lab, sides: readonly [Side, Side], phase: Int32Array<SharedArrayBuffer>, calls: SyscallCounter | undefined) {
    this.name = name;
    this.#lab = lab;
    [this.#sender, this.#receiver] = sides;
    this.mode = this.#sender.mode;
    this.#phase = phase;
    this.#calls = calls;
    for (const side of sides) calls?.watch(side.tid);
  }

  /** Throws what the endpoints refuse, as a PollmodeError. */
  static async open(plan: PathPlan, calls: SyscallCounter | undefined): Promise<Path> {
    const lab = openLab();
    const workers: Worker[] = [];
    try {
      const phase = new Int32Array(new SharedArrayBuffer(4));
      const ends: FrameEnds = { from: lab.a, to: lab.b };
      const start = async (end: LabEnd, sends: boolean, cpu: number): Promise<Side> => {
        const data: SideData = { endpoint: plan.endpoint, sends, cpu, netns: end.netns, ifindex: end.ifindex, ends, phase };
        const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: withDevice(data, end) });
        workers.push(worker);
        return ready(worker);
      };
      const receiver = await start(lab.b, false, plan.receiverCpu);
      const sender = await start(lab.a, true, plan.senderCpu);
      return new Path(plan.name, lab, [sender, receiver], phase, calls);
    } catch (cause) {
      await Promise.all(workers.map(worker => worker.terminate()));
      lab.close();
      throw cause;
    }
  }

  /** Runs one cell once. Times in seconds. */
  async run(order: RunOrder, warmUp: number, seconds: number): Promise<RunResult> {
    const outcomes = [this.#sender, this.#receiver].map(side => done(side.worker));
    this.#enter(IDLE);
    for (const side of [this.#receiver, this.#sender]) side.worker.postMessage(order);
    this.#enter(WARM_UP);
    await wait(warmUp * 1000);
    const before = this.#readCalls();
    this.#enter(MEASURE);
    await wait(seconds * 1000);
    const after = this.#readCalls();
    this.#enter(DRAIN);
    await wait(DRAIN_MS);
    this.#enter(STOP);
    const [sender, receiver] = await Promise.all(outcomes) as [RunOutcome, RunOutcome];
    return { sender, receiver, senderCalls: less(after[0], before[0]), receiverCalls: less(after[1], before[1]) };
  }

  async close(): Promise<void> {
    this.#enter(STOP);
    const workers = [this.#sender.worker, this.#receiver.worker];
    await Promise.all(workers.map(async worker => {
      worker.postMessage('close');
      await Promise.race([once(worker, 'exit'), wait(500)]);
      await worker.terminate();
    }));
    this.#lab.close();
  }

  #enter(phase: number): void {
    Atomics.store(this.#phase, 0, phase);
    Atomics.notify(this.#phase, 0);
  }

  #readCalls(): [number | undefined, number | undefined] {
    return [this.#calls?.read(this.#sender.tid), this.#calls?.read(this.#receiver.tid)];
  }
}

/** The ports of a lab have the name of its interface in their device string. */
function withDevice(data: SideData, end: LabEnd): SideData {
  if (data.endpoint.kind !== 'port') return data;
  return { ...data, endpoint: { kind: 'port', device: data.endpoint.device.replace('%', end.name) } };
}

async function ready(worker: Worker): Promise<Side> {
  const message = await next(worker);
  if (message.kind === 'ready') return { worker, tid: message.tid, mode: message.mode };
  throw new PollmodeError('EUNSUPPORTED', message.kind === 'refused' ? message.message : 'The measuring thread answered out of turn: run the sweep again.');
}

async function done(worker: Worker): Promise<RunOutcome> {
  const message = await next(worker);
  if (message.kind === 'done') return message.outcome;
  throw new PollmodeError('EUNSUPPORTED', 'A measuring thread did not finish its run: run the sweep again.');
}

async function next(worker: Worker): Promise<SideMessage> {
  const [message] = await once(worker, 'message') as [SideMessage];
  return message;
}

function less(after: number | undefined, before: number | undefined): number | undefined {
  return after === undefined || before === undefined ? undefined : after - before;
}
