/**
 * `node dist/bench/descriptors.js [--rounds N]`: cycles per packet of each ring driver's receive and send burst, without
 * the device: the bench fills the rings as a NIC or the kernel would, outside of what is measured. 60-byte frames, bursts
 * of 32. Where it says swapped, the device gives back each second buffer before the first. The rounds go round the drivers, so that whatever slows the machine slows all; a ratio is the median of the
 * rounds' ratios to AF_XDP's in the same round.
 */
import { Arena } from '../lib/arena/arena.js';
import { binding } from '../lib/binding.js';
import { Burst } from '../lib/burst/burst.js';
import { burstFunctions } from '../lib/burst/module.js';
import { Mempool } from '../lib/mbuf/mempool.js';
import { QueueState, type QueueFunction } from '../lib/port/queue.js';
import { FakeIntel, type IntelKind } from './micro_intel.js';
import { FakeVirtio } from './micro_virtio.js';
import { FakeXsk } from './micro_xsk.js';
import { OFFLOAD_CSUM, OFFLOAD_FINISH } from '../lib/virtqueue/layout.js';
import { benchOptions } from './options.js';

const values = benchOptions({
  what: 'Cycles per packet of each ring driver\'s receive and send burst, without the device: 60 bytes, bursts of 32.',
  against: 'our own AF_XDP rings, in the same round',
  options: { rounds: { value: 'N', default: '15', help: 'over all drivers; figures are medians' }, json: { help: 'the figures as JSON' } },
});
const BURST = 32;
/** Bursts between two looks at the clock: a ring has 256 places. */
const BURSTS = 4;
const LOOKS = 4000;

interface Driver {
  readonly name: string;
  readonly rx: number;
  readonly tx: number;
  readonly receive: QueueFunction;
  readonly send: QueueFunction;
  readonly device: FakeXsk | FakeIntel | FakeVirtio;
}

const arena = Arena.create();
const pool = Mempool.create(arena, 'pool', { count: 4096 });
const functions = burstFunctions(arena);
const bursts = Array.from({ length: BURSTS }, () => new Burst(arena, BURST));
const time = new Float64Array(2);
const { lcore } = arena;

const drivers: readonly Driver[] = ['AF_XDP', 'e1000e', 'igb', 'ixgbe', 'virtio split', 'virtio packed', 'with checksums', 'split, swapped', 'packed, swapped'].map((name, number) => {
  const states = (['rx', 'tx'] as const).map(direction => new QueueState({ arena, pool, number, device: 'bench' }, direction, 0)) as [QueueState, QueueState];
  const [rx, tx] = states.map(({ offset }) => offset) as [number, number];
  if (name === 'AF_XDP') {
    const device = new FakeXsk(pool, rx, tx);
    functions.xskFill(rx, lcore);
    return { name, rx, tx, receive: functions.xskRx, send: functions.xskTx, device };
  }
  if (/virtio|checksums|swapped/.test(name)) {
    const device = new FakeVirtio(pool, ...states, !name.includes('split'), { offloads: name === 'with checksums' ? OFFLOAD_CSUM | OFFLOAD_FINISH : 0, swaps: name.endsWith('swapped') });
    functions.virtioFill(rx, lcore);
    return { name, rx, tx, receive: functions.virtioRx, send: functions.virtioTx, device };
  }
  const device = new FakeIntel(pool, rx, tx, name as IntelKind);
  functions.intelFill(rx, lcore);
  return { name, rx, tx, receive: functions.intelRx, send: functions.intelTx, device };
});

/** Cycles, or nanoseconds where the CPU has no counter. */
function now(): number {
  binding().clock(time);
  return time[0]! === 0 ? time[1]! : time[0]!;
}

/** What it costs to ask. */
function asking(): number {
  let sum = 0;
  for (let i = 0; i < LOOKS; i++) {
    const start = now();
    sum += now() - start;
  }
  return sum / LOOKS;
}

function receiving({ rx, receive, device }: Driver): number {
  let sum = 0;
  for (let look = 0; look < LOOKS; look++) {
    device.receive(BURST * BURSTS);
    const start = now();
    for (let i = 0; i < BURSTS; i++) receive(rx, bursts[i]!.offset, BURST, lcore);
    sum += now() - start;
    for (const burst of bursts) functions.mbufFree(pool.offset, lcore, burst.offset, BURST);
  }
  return sum / LOOKS;
}

function sending({ tx, send, device }: Driver): number {
  let sum = 0;
  for (let look = 0; look < LOOKS; look++) {
    for (const burst of bursts) {
      functions.mbufAlloc(pool.offset, lcore, burst.offset, BURST);
      device.setLengths(burst, BURST);
    }
    const start = now();
    for (let i = 0; i < BURSTS; i++) send(tx, bursts[i]!.offset, BURST, lcore);
    sum += now() - start;
    device.send();
  }
  return sum / LOOKS;
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!;
const rounds = Array.from({ length: Number(values.rounds) + 1 }, () => {
  const cost = asking();
  return drivers.map(driver => ({ rx: (receiving(driver) - cost) / (BURST * BURSTS), tx: (sending(driver) - cost) / (BURST * BURSTS) }));
}).slice(1); // the first is for the compilers

const figures = drivers.map(({ name }, i) => ({
  name,
  rx: median(rounds.map(round => round[i]!.rx)), tx: median(rounds.map(round => round[i]!.tx)),
  rxRatio: median(rounds.map(round => round[i]!.rx / round[0]!.rx)), txRatio: median(rounds.map(round => round[i]!.tx / round[0]!.tx)),
}));
if (values.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
else {
  process.stdout.write('cycles per packet   receive   of AF_XDP\'s      send   of AF_XDP\'s\n');
  for (const { name, rx, tx, rxRatio, txRatio } of figures) {
    process.stdout.write(`${name.padEnd(17)} ${rx.toFixed(1).padStart(9)} ${rxRatio.toFixed(2).padStart(13)} ${tx.toFixed(1).padStart(9)} ${txRatio.toFixed(2).padStart(13)}\n`);
  }
}
