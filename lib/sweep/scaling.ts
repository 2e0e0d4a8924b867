/**
 * Queues × lcores × idle policy: one AF_XDP port on a link of its own, its queues shared out among lcores. A sender
 * thread first sends as fast as it can, then at a small rate: the one shows what more queues and lcores carry, the other
 * what a policy costs while little comes, and what it saves.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { PollmodeError } from '../errors.js';
import { withNetns } from '../kernel/netns.js';
import { openLab, type Lab } from '../lab/veth.js';
import { launch } from '../lcore/lcore.js';
import { releaseQueue } from '../port/attach.js';
import { open, type Host } from '../port/host.js';
import { DRAIN, IDLE, MEASURE, RECEIVED, SENT, WARM_UP, type RunOrder } from './control.js';
import type { Policy, ScalingCell } from './model.js';
import { answer, end } from './path.js';
import type { ScalingArgs, ScalingOutcome } from './scaling_lcore.js';
import { spread } from './statistics.js';
import type { SideData } from './worker.js';

export interface ScalingGrid {
  readonly queues: readonly number[];
  /** Those of more lcores than queues are left out: a queue has one lcore. */
  readonly lcores: readonly number[];
  readonly policies: readonly Policy[];
  readonly rounds: number;
  /** Of each of a cell's two runs. */
  readonly seconds: number;
  readonly warmUp: number;
  /** Packets per second, in all, that CPU time and latency are measured at. */
  readonly rate: number;
}

export interface ScalingSurroundings {
  /** More options of the port, as in a device string. */
  readonly xdp: string;
  /** Of the sender, and those that the lcores are pinned to in turn. */
  readonly senderCpu: number;
  readonly lcoreCpus: readonly number[];
  readonly signal?: AbortSignal;
  /** Told before each cell and round. */
  readonly progress?: (what: string) => void;
}

type Shape = Pick<ScalingCell, 'queues' | 'lcores' | 'policy'>;

const BURST = 32;
const FRAME = 64;

/** Every shape that there is a cell for. */
export function scalingShapes({ queues, lcores, policies }: ScalingGrid): Shape[] {
  return queues.flatMap(each => lcores.filter(count => count <= each).flatMap(count => policies.map(policy => ({ queues: each, lcores: count, policy }))));
}

/** Cells of which at least one round was measured. Throws what the kernel refuses, as a PollmodeError. Leaves nothing behind. */
export async function measureScaling(grid: ScalingGrid, around: ScalingSurroundings): Promise<ScalingCell[]> {
  const found: ScalingCell[] = [];
  for (const queues of grid.queues) {
    const shapes = scalingShapes({ ...grid, queues: [queues] });
    if (shapes.length === 0 || around.signal?.aborted === true) continue;
    const bench = await Bench.open(queues, around);
    try {
      found.push(...await measureShapes(bench, shapes, grid, around));
    } finally {
      await bench.close();
    }
  }
  return found;
}

interface Round { readonly rate: number; readonly cpu: number; readonly late: readonly number[] }

/** Whole rounds one after the other, as in the rest of a sweep. */
async function measureShapes(bench: Bench, shapes: readonly Shape[], grid: ScalingGrid, { signal, progress }: ScalingSurroundings): Promise<ScalingCell[]> {
  const rounds = shapes.map((): Round[] => []);
  for (let round = 0; round < grid.rounds; round++) {
    for (const [index, shape] of shapes.entries()) {
      if (signal?.aborted === true) continue;
      progress?.(`af_xdp, ${shape.queues} queues, ${shape.lcores} lcores, ${shape.policy}`);
      const full = await bench.run(shape, grid, undefined);
      const paced = await bench.run(shape, grid, grid.rate);
      rounds[index]!.push({ rate: full.packets, cpu: paced.cpu, late: paced.late });
    }
  }
  return shapes.flatMap((shape, index) => rounds[index]!.length === 0 ? [] : [cellOf(shape, rounds[index]!, grid.rate)]);
}

function cellOf(shape: Shape, rounds: readonly Round[], offered: number): ScalingCell {
  const timed = rounds.filter(({ late }) => late.length > 0);
  const percentile = (part: number): ScalingCell['p50'] => timed.length === 0 ? null : spread(timed.map(({ late }) => late[Math.min(late.length - 1, Math.floor(late.length * part))]!));
  return { ...shape, packetsPerSecond: spread(rounds.map(({ rate }) => rate)), offered, cpu: spread(rounds.map(({ cpu }) => cpu)), p50: percentile(0.5), p99: percentile(0.99) };
}

/** A link of so many queues, a sender thread at one end and the port at the other. */
class Bench {
  readonly #lab: Lab;
  readonly #host: Host;
  readonly #sender: Worker;
  readonly #phase: Int32Array<SharedArrayBuffer>;
  readonly #cpus: readonly number[];

  private constructor(lab: Lab, host: Host, sender: Worker, phase: Int32Array<SharedArrayBuffer>, cpus: readonly number[]) {
    this.#lab = lab;
    this.#host = host;
    this.#sender = sender;
    this.#phase = phase;
    this.#cpus = cpus;
  }

  static async open(queues: number, { xdp, senderCpu, lcoreCpus }: ScalingSurroundings): Promise<Bench> {
    const lab = openLab({ queues });
    const options = `queues=${queues}${xdp === '' ? '' : `,${xdp}`}`;
    let host: Host | undefined;
    let sender: Worker | undefined;
    try {
      host = withNetns(lab.b.netns, () => open([`af_xdp:${lab.b.name},${options}`]));
      const port = host.ports[0]!.number;
      for (let queue = 0; queue < queues; queue++) releaseQueue(host.arena, port, 'rx', queue);
      const phase = new Int32Array(new SharedArrayBuffer(4));
      const data: SideData = {
        endpoint: { kind: 'port', device: `af_xdp:%,${options}` }, sends: true, cpu: senderCpu, sharesCpu: false,
        link: { netns: lab.a.netns, ifindex: lab.a.ifindex, name: lab.a.name }, ends: { from: lab.a, to: lab.b }, phase,
      };
      sender = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
      await answer(sender, 'ready');
      return new Bench(lab, host, sender, phase, lcoreCpus);
    } catch (cause) {
      if (sender !== undefined) await end(sender);
      host?.close();
      lab.close();
      throw cause;
    }
  }

  /** At `rate` packets per second, or as fast as it goes. Returns packets per second, CPUs' worth of time, and latencies in rising order. */
  async run({ queues, lcores, policy }: Shape, { warmUp, seconds }: ScalingGrid, rate: number | undefined): Promise<{ packets: number; cpu: number; late: number[] }> {
    this.#enter(IDLE);
    const port = this.#host.ports[0]!.number;
    const running = await Promise.all(Array.from({ length: lcores }, (_, lcore) => {
      const mine = Array.from({ length: queues }, (_, queue) => queue).filter(queue => queue % lcores === lcore);
      const args: ScalingArgs = { port, queues: mine, policy, burst: BURST, timed: rate !== undefined, phase: this.#phase };
      return launch(this.#host, { module: new URL('./scaling_lcore.js', import.meta.url), cpu: this.#cpus[lcore % this.#cpus.length]!, args });
    }));
    const armed = answer(this.#sender, 'armed');
    this.#sender.postMessage({ burst: rate === undefined ? BURST : 1, frame: FRAME, ...(rate === undefined ? {} : { rate }) } satisfies RunOrder);
    await armed;
    const done = answer(this.#sender, 'done');
    for (const [phase, time] of [[WARM_UP, warmUp], [MEASURE, seconds]] as const) {
      this.#enter(phase);
      await wait(time * 1000);
    }
    this.#enter(DRAIN);
    while (Atomics.load(this.#phase, 0) < SENT) await wait(1);
    const outcomes = await Promise.all(running.map(each => each.join() as Promise<ScalingOutcome>));
    this.#enter(RECEIVED);
    await done;
    return together(outcomes);
  }

  async close(): Promise<void> {
    this.#enter(RECEIVED);
    await end(this.#sender);
    this.#host.close();
    this.#lab.close();
  }

  #enter(phase: number): void {
    Atomics.store(this.#phase, 0, phase);
    Atomics.notify(this.#phase, 0);
  }
}

function together(outcomes: readonly ScalingOutcome[]): { packets: number; cpu: number; late: number[] } {
  const sum = (of: (outcome: ScalingOutcome) => number): number => outcomes.reduce((total, each) => total + of(each), 0);
  return {
    packets: sum(({ measured }) => measured.packets / measured.seconds),
    cpu: sum(({ measured: { userSeconds = NaN, systemSeconds = NaN, seconds } }) => (userSeconds + systemSeconds) / seconds),
    late: outcomes.flatMap(({ late }) => [...late]).sort((a, b) => a - b),
  };
}

/** One sentence of why it could not be measured; what is no refusal goes on. */
export function scalingRefusal(cause: unknown): string {
  if (cause instanceof PollmodeError) return `Queues, lcores and idle policies were not measured: ${cause.message}`;
  throw cause;
}
