import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { setTimeout as wait } from 'node:timers/promises';
import { PollmodeError } from '../errors.js';
import type { SyscallCounter } from '../kernel/syscall_counter.js';
import { openLab, type Lab, type LabEnd } from '../lab/veth.js';
import { DRAIN, IDLE, MEASURE, WARM_UP, type MemoryShare, type RunOrder, type RunOutcome } from './control.js';
import type { FrameEnds } from './frame.js';
import type { PathPlan } from './plans.js';
import type { SideData, SideMessage } from './worker.js';

/** Where no lab gives addresses: frames in memory have some too, and UDP over loopback has these. */
const LOOPBACK: FrameEnds = { from: { mac: '02:00:00:00:00:0a', ip: '127.0.0.1' }, to: { mac: '02:00:00:00:00:0b', ip: '127.0.0.1' } };
/** For a thread to close its endpoint in, in milliseconds. */
const CLOSE_MS = 500;

/** One run of a cell. */
export interface RunResult {
  readonly sender: RunOutcome;
  readonly receiver: RunOutcome;
}

interface Side {
  readonly worker: Worker;
  readonly mode: string;
  readonly share: MemoryShare | undefined;
}

/** A path that is open, or the sentence why it is not. */
export type OpenedPath = Path | string;

/** A path that is ready to run: its own lab, a sender and a receiver thread. Everything goes with `close`, or with the process. */
export class Path {
  readonly name: string;
  readonly mode: string;
  readonly plan: PathPlan;
  readonly #lab: Lab | undefined;
  readonly #sender: Worker;
  readonly #receiver: Worker;
  readonly #phase: Int32Array<SharedArrayBuffer>;

  private constructor(plan: PathPlan, lab: Lab | undefined, sender: Side, receiver: Side, phase: Int32Array<SharedArrayBuffer>) {
    this.name = plan.name;
    this.plan = plan;
    this.mode = sender.mode;
    this.#lab = lab;
    this.#sender = sender.worker;
    this.#receiver = receiver.worker;
    this.#phase = phase;
  }

  /** Throws what the endpoints refuse, as a PollmodeError, and leaves nothing behind then. */
  static async open(plan: PathPlan, [senderCpu, receiverCpu]: readonly [number, number], calls: SyscallCounter | undefined): Promise<Path> {
    const lab = plan.between === 'lab' ? openLab() : undefined;
    const workers: Worker[] = [];
    const phase = new Int32Array(new SharedArrayBuffer(4));
    const common = { ends: lab === undefined ? LOOPBACK : { from: lab.a, to: lab.b }, phase, sharesCpu: senderCpu === receiverCpu, ...(calls === undefined ? {} : { calls: calls.map }) };
    const start = async (data: SideData): Promise<Side> => {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
      workers.push(worker);
      return ready(worker, calls);
    };
    try {
      const receiver = await start({ ...common, endpoint: plan.receiver, sends: false, cpu: receiverCpu, ...linkOf(lab?.b) });
      const share = plan.between === 'memory' && receiver.share !== undefined ? { share: receiver.share } : {};
      const sender = await start({ ...common, endpoint: plan.sender, sends: true, cpu: senderCpu, ...linkOf(lab?.a), ...share });
      return new Path(plan, lab, sender, receiver, phase);
    } catch (cause) {
      await Promise.all(workers.map(worker => worker.terminate()));
      lab?.close();
      throw cause;
    }
  }

  /** Runs one cell once. Times in seconds. */
  async run(order: RunOrder, warmUp: number, seconds: number): Promise<RunResult> {
    const workers = [this.#receiver, this.#sender];
    this.#enter(IDLE);
    const armed = workers.map(worker => answer(worker, 'armed'));
    for (const worker of workers) worker.postMessage(order);
    await Promise.all(armed);
    const outcomes = workers.map(worker => answer(worker, 'done'));
    this.#enter(WARM_UP);
    await wait(warmUp * 1000);
    this.#enter(MEASURE);
    await wait(seconds * 1000);
    this.#enter(DRAIN);
    const [receiver, sender] = await Promise.all(outcomes);
    return { sender: sender!.outcome, receiver: receiver!.outcome };
  }

  async close(): Promise<void> {
    this.#enter(DRAIN);
    // The sender first: of a memory path, the receiver has the pool.
    for (const worker of [this.#sender, this.#receiver]) await end(worker);
    this.#lab?.close();
  }

  #enter(phase: number): void {
    Atomics.store(this.#phase, 0, phase);
    Atomics.notify(this.#phase, 0);
  }
}

/** Has a side close what it has, and ends it. */
export async function end(worker: Worker): Promise<void> {
  const gone = once(worker, 'exit');
  worker.postMessage('close');
  await Promise.race([gone, wait(CLOSE_MS)]);
  await worker.terminate();
}

function linkOf(end: LabEnd | undefined): Pick<SideData, 'link'> {
  return end === undefined ? {} : { link: { netns: end.netns, ifindex: end.ifindex, name: end.name } };
}

async function ready(worker: Worker, calls: SyscallCounter | undefined): Promise<Side> {
  const { tid, mode, share } = await answer(worker, 'ready');
  calls?.watch(tid);
  return { worker, mode, share };
}

/** The thread's next message, which has to be of that kind. Throws its refusal, and for a thread that ended. */
export async function answer<Kind extends SideMessage['kind']>(worker: Worker, kind: Kind): Promise<SideMessage & { kind: Kind }> {
  const gone = new AbortController();
  const ended = (): void => gone.abort();
  worker.once('exit', ended);
  try {
    const [message] = await once(worker, 'message', { signal: gone.signal }) as [SideMessage];
    if (message.kind === 'refused') throw new PollmodeError('EUNSUPPORTED', message.message);
    if (message.kind === kind) return message as SideMessage & { kind: Kind };
  } catch (cause) {
    if (!gone.signal.aborted) throw cause;
  } finally {
    worker.off('exit', ended);
  }
  throw new PollmodeError('EUNSUPPORTED', 'A measuring thread ended before it had answered: run the sweep again.');
}
