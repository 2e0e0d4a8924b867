/**
 * The hostile other end: a thread that writes descriptors, flags and both indices of memif rings while their bursts run, as
 * fast as it can. Half of what it makes is nearly right, or nothing would be looked at twice.
 */
import { workerData } from 'node:worker_threads';
import { MEMIF_DESC_NEXT, MEMIF_NEXT, RING_DESCS, RING_FLAGS } from '../../../../lib/port/drivers/memif/layout.js';
import { xorshift } from '../../../xorshift.js';

export interface Prey {
  readonly buffer: SharedArrayBuffer;
  readonly size: number;
  /** Of each queue: its state, its ring, and where its other end's index is. */
  readonly queues: readonly { readonly state: number; readonly ring: number; readonly theirs: number; readonly lead: number }[];
  /** Bytes of region 0, and how many regions there are. */
  readonly regionBytes: number;
  /** i32: [stop, count of written descriptors]. */
  readonly control: SharedArrayBuffer;
  readonly seed: number;
}

const prey = workerData as Prey;
const u16 = new Uint16Array(prey.buffer);
const u32 = new Uint32Array(prey.buffer);
const control = new Int32Array(prey.control);
const random = xorshift(prey.seed);

const LENGTHS = [0, 1, 13, 14, 60, 1500, 1792, 1793, 2048, 0x7fffffff, 0xffffffff];

function offset(): number {
  switch (random(6)) {
    case 0: return random(2 ** 32);
    case 1: return prey.regionBytes - random(64);
    case 2: return 0xffffffff - random(64);
    default: return random(prey.regionBytes);
  }
}

function descriptor({ ring }: Prey['queues'][number]): void {
  const at = ring + RING_DESCS + random(prey.size) * 16;
  u16[at >>> 1] = random(8) === 0 ? random(65536) : random(4) === 0 ? MEMIF_DESC_NEXT : 0;
  u16[(at >>> 1) + 1] = random(8) === 0 ? random(65536) : random(2);
  u32[(at >>> 2) + 1] = random(3) === 0 ? LENGTHS[random(LENGTHS.length)]! : random(1600);
  u32[(at >>> 2) + 2] = offset();
  control[1]!++;
}

while (Atomics.load(control, 0) === 0) {
  for (let i = 0; i < 256; i++) {
    const queue = prey.queues[random(prey.queues.length)]!;
    descriptor(queue);
    const next = u32[(queue.state + MEMIF_NEXT) >>> 2]!;
    if (random(2) === 0) Atomics.store(u16, queue.theirs >>> 1, random(32) === 0 ? random(65536) : (next - queue.lead + random(prey.size + 1)) & 0xffff);
    if (random(64) === 0) u16[(queue.ring + RING_FLAGS) >>> 1] = random(2);
  }
}
