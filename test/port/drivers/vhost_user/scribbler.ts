/**
 * The hostile other side: a thread that writes descriptors, tables, rings and indices while the queues' bursts run, as
 * fast as it can. Half of what it makes is nearly right, or nothing would be looked at twice.
 */
import { workerData } from 'node:worker_threads';
import { DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_USED, DESC_WRITE, VQ_NEXT_AVAIL } from '../../../../lib/virtqueue/layout.js';
import { xorshift } from '../../../xorshift.js';

export interface Prey {
  readonly buffer: SharedArrayBuffer;
  readonly packed: boolean;
  readonly size: number;
  /** Of each queue: its state, its rings, and whether the device writes into its buffers. */
  readonly queues: readonly { readonly state: number; readonly desc: number; readonly avail: number; readonly used: number; readonly writable: boolean }[];
  /** The guest's memory: offset, bytes, and the address of its first byte. */
  readonly memory: { readonly at: number; readonly bytes: number; readonly start: bigint };
  /** i32: [stop, count of written descriptors]. */
  readonly control: SharedArrayBuffer;
  readonly seed: number;
}

const prey = workerData as Prey;
const u16 = new Uint16Array(prey.buffer);
const u32 = new Uint32Array(prey.buffer);
const control = new Int32Array(prey.control);
const random = xorshift(prey.seed);

const LENGTHS = [0, 1, 12, 26, 72, 1500, 2048, 0x7fffffff, 0xffffffff];

function address(): [low: number, high: number] {
  const { at, bytes, start } = prey.memory;
  const high = Number(start >> 32n);
  switch (random(8)) {
    case 0: return [random(2 ** 32), high];
    case 1: return [random(2 ** 32), random(4)];
    case 2: return [(at + bytes - random(64)) >>> 0, high];
    case 3: return [0xffffffff - random(64), 0xffffffff];
    case 4: return [(at - random(64)) >>> 0, high];
    default: return [(at + random(bytes)) >>> 0, high];
  }
}

function descriptor(at: number, kind: number, next: number): void {
  const [low, high] = address();
  const length = random(3) === 0 ? LENGTHS[random(LENGTHS.length)]! : random(1600);
  u32[at >>> 2] = low;
  u32[(at >>> 2) + 1] = high;
  u32[(at >>> 2) + 2] = random(16) === 0 ? length & ~15 : length;
  u16[(at >>> 1) + 6] = prey.packed ? random(prey.size) : kind;
  u16[(at >>> 1) + 7] = prey.packed ? kind : next;
  control[1]!++;
}

const kindOf = (writable: boolean): number => (random(8) === 0 ? random(8) : (writable ? DESC_WRITE : 0) | (random(4) === 0 ? DESC_NEXT : 0) | (random(12) === 0 ? DESC_INDIRECT : 0));

function split({ state: queue, desc, avail, writable }: Prey['queues'][number]): void {
  const index = random(prey.size);
  descriptor(desc + index * 16, kindOf(writable), random(16) === 0 ? random(65536) : random(prey.size));
  u16[((avail + 4) >>> 1) + random(prey.size)] = random(16) === 0 ? random(65536) : index;
  const next = u32[(queue + VQ_NEXT_AVAIL) >>> 2]!;
  if (random(2) === 0) Atomics.store(u16, (avail + 2) >>> 1, random(32) === 0 ? random(65536) : (next + random(prey.size + 1)) & 0xffff);
}

function packed({ state: queue, desc, writable }: Prey['queues'][number]): void {
  const next = u32[(queue + VQ_NEXT_AVAIL) >>> 2]!;
  const index = random(4) === 0 ? random(prey.size) : ((next & 0x7fff) + random(8)) % prey.size;
  const turn = random(8) === 0 ? random(4) << 7 : (next & 0x8000) !== 0 ? DESC_AVAIL : DESC_USED;
  descriptor(desc + index * 16, kindOf(writable) | turn, 0);
}

while (Atomics.load(control, 0) === 0) {
  for (let i = 0; i < 256; i++) {
    const queue = prey.queues[random(prey.queues.length)]!;
    if (prey.packed) packed(queue);
    else split(queue);
    // A table in the guest's memory, where an indirect descriptor may point.
    if (random(4) === 0) descriptor(prey.memory.at + (random(prey.memory.bytes - 16) & ~15), kindOf(queue.writable) & ~DESC_INDIRECT, random(8));
  }
}
