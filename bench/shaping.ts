/**
 * How near do the shapers come to the rate that they are asked for? A saturated tree on the real clock, in front of a null
 * port, and of AF_XDP on a veth pair of this process's own, where the frames are counted as they arrive at the other end.
 * Beside each rate stands how far the bursts went: the most bytes of any millisecond, against the rate's.
 *
 *   node dist/bench/shaping.js [--rates 1,10,100,1000] [--seconds 2] [--size 1514] [--json]
 */
import { binding } from '../lib/binding.js';
import { PollmodeError } from '../lib/errors.js';
import { withNetns } from '../lib/kernel/netns.js';
import { openLab } from '../lib/lab/veth.js';
import { poll } from '../lib/lcore/poll.js';
import { open, type Host } from '../lib/port/host.js';
import type { TxQueue } from '../lib/port/port.js';
import type { QdiscSpec } from '../lib/qdisc/spec.js';
import { QdiscQueue } from '../lib/qdisc/tree.js';
import { benchOptions } from './options.js';
import { pin } from './ours/common.js';

const values = benchOptions({
  what: 'Bits per second that come out of a shaper, by shaper, rate and port, and how far the bursts go.',
  against: 'the rate that was asked for',
  needs: 'root for AF_XDP\'s half, on a veth pair of its own',
  options: {
    rates: { value: 'LIST', default: '1,10,100,1000', help: 'Mbit/s' }, seconds: { value: 'S', default: '2', help: 'of each' }, size: { value: 'N', default: '1514', help: 'bytes of a frame' }, json: { help: 'the figures as JSON' },
  },
});
const SECONDS = Number(values.seconds);
const SIZE = Number(values.size);
/** Packets that the tree always has to choose from. */
const BACKLOG = 256;

interface Row { readonly port: string; readonly shaper: string; readonly mbps: number; readonly found: number; readonly off: number; readonly burstMs: number }

/** Counts frames where they arrive: after a first tenth of the time, from one arrival to another, the first one's bytes left out. */
class Meter {
  #first = 0;
  #last = 0;
  #bytes = 0;
  #slot = 0;
  #slotBytes = 0;
  #most = 0;
  readonly #start = performance.now() + SECONDS * 100;

  note(bytes: number): void {
    const now = performance.now();
    if (now < this.#start) return;
    if (this.#first === 0) this.#first = now;
    else this.#bytes += bytes;
    this.#last = now;
    if (Math.floor(now) !== this.#slot) [this.#slot, this.#slotBytes] = [Math.floor(now), 0];
    this.#slotBytes += bytes;
    if (this.#slotBytes > this.#most) this.#most = this.#slotBytes;
  }

  row(port: string, shaper: string, mbps: number): Row {
    const found = this.#bytes * 8 / 1e3 / (this.#last - this.#first);
    return { port, shaper, mbps, found, off: found / mbps - 1, burstMs: this.#most * 8 / 1e3 / mbps };
  }
}

const SHAPERS: Readonly<Record<string, (mbps: number) => QdiscSpec>> = {
  tbf: mbps => ({ kind: 'tbf', rate: mbps * 1e6 }),
  htb: mbps => ({ kind: 'htb', default: 'half', classes: [{ name: 'line', rate: mbps * 1e6, classes: [{ name: 'half', rate: mbps * 0.5e6, ceil: mbps * 1e6 }, { name: 'idle', rate: mbps * 0.5e6 }] }] }),
};

async function run(host: Host, tx: TxQueue, spec: QdiscSpec, also: () => void): Promise<void> {
  const queue = new QdiscQueue(host.pool, tx, spec);
  const burst = host.burst(64);
  const { mbufs, pool } = host;
  await poll(() => {
    if (queue.packets < BACKLOG && pool.alloc(burst, 64) > 0) {
      for (let i = 0; i < 64; i++) mbufs.append(burst.handles[i]!, SIZE);
      queue.txBurst(burst, 64);
    } else queue.service();
    also();
  }, { seconds: SECONDS });
  queue.close();
  burst.close();
}

async function overNull(shaper: string, mbps: number): Promise<Row> {
  const host = open(['null:']);
  const meter = new Meter();
  const { tx: [port] } = host.ports[0]!;
  const counted: TxQueue = {
    txBurst(burst, count) {
      const taken = port!.txBurst(burst, count);
      if (taken > 0) meter.note(taken * SIZE);
      return taken;
    },
  };
  await run(host, counted, SHAPERS[shaper]!(mbps), () => undefined);
  host.close();
  return meter.row('null', shaper, mbps);
}

async function overVeth(shaper: string, mbps: number): Promise<Row> {
  const lab = openLab();
  const [from, to] = [lab.a, lab.b].map(end => withNetns(end.netns, () => open([`af_xdp:${end.name}`]))) as [Host, Host];
  const burst = to.burst(64);
  const meter = new Meter();
  await run(from, from.ports[0]!.tx[0]!, SHAPERS[shaper]!(mbps), () => {
    const got = to.ports[0]!.rx[0]!.rxBurst(burst);
    if (got === 0) return;
    meter.note(got * SIZE);
    to.pool.free(burst, 0, got);
  });
  from.close();
  to.close();
  lab.close();
  return meter.row('veth', shaper, mbps);
}

function mayVeth(): boolean {
  try {
    openLab().close();
    return true;
  } catch (error) {
    if (!(error instanceof PollmodeError)) throw error;
    process.stderr.write(`without the veth rows: ${error.message}\n`);
    return false;
  }
}

pin(binding().affinity()[0] ?? 0);
const rows: Row[] = [];
for (const over of mayVeth() ? [overNull, overVeth] : [overNull]) {
  for (const shaper of Object.keys(SHAPERS)) for (const mbps of values.rates.split(',').map(Number)) rows.push(await over(shaper, mbps));
}
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else {
  process.stdout.write(`port  shaper  asked Mbit/s  found Mbit/s      off  most of 1 ms\n`);
  for (const { port, shaper, mbps, found, off, burstMs } of rows) {
    process.stdout.write(`${port.padEnd(4)}  ${shaper.padEnd(6)}  ${String(mbps).padStart(12)}  ${found.toFixed(4).padStart(12)}  ${(off * 100).toFixed(3).padStart(6)}%  ${burstMs.toFixed(1).padStart(9)} ms\n`);
  }
}
