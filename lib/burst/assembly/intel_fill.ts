/** Empty buffers for Intel's NICs. The twin is burst/intel_fill.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import { HANDLE_SHIFT, HEADROOM, MBUF_OWNER } from '../../mbuf/layout';
import {
  INTEL_DESCRIPTOR_SHIFT, INTEL_HEAD, INTEL_IOVA_HIGH, INTEL_MASK, INTEL_NEXT, INTEL_RING, INTEL_SCRATCH, INTEL_SCRATCH_COUNT, INTEL_SIDE,
} from '../../port/drivers/vfio/intel/layout';
import { QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_POOL, QUEUE_TABLE } from '../../port/layout';
import { copyHandles } from './copy';
import { publish } from './intel_ring';
import { count64 } from './memory_ports';
import { takeFree } from './mempool';
import { headerOf } from './owner';

/** Gives the device empty buffers, up to one less than the ring has: with a tail at its head it has none. Returns how many it has. */
export function intelFill(queue: usize, lcore: u32): u32 {
  const pool: usize = load<u32>(queue, QUEUE_POOL);
  const aim = load<u32>(queue, INTEL_MASK);
  const head = load<u32>(queue, INTEL_HEAD);
  let next = load<u32>(queue, INTEL_NEXT);
  let chunk: u32 = INTEL_SCRATCH_COUNT;
  while (next - head < aim && chunk > 0) {
    const want = min(aim - (next - head), chunk);
    if (takeFree(pool, lcore, queue + INTEL_SCRATCH, want) == 0) {
      // The pool's last few: smaller and smaller.
      chunk = want >> 1;
      continue;
    }
    giveBuffers(queue, next, want, aim);
    next += want;
  }
  if (next - head < aim) count64(queue + QUEUE_NOMBUF, 1);
  publish(queue, next, aim);
  return next - head;
}

function giveBuffers(queue: usize, next: u32, count: u32, mask: u32): void {
  const first = min(count, mask + 1 - (next & mask));
  giveRun(queue, next & mask, queue + INTEL_SCRATCH, first);
  if (first < count) giveRun(queue, 0, queue + INTEL_SCRATCH + ((first as usize) << 2), count - first);
}

/** Buffers to descriptors that stand side by side, from number `index` on. */
// @ts-ignore: decorator
@inline
function giveRun(queue: usize, index: u32, vector: usize, count: u32): void {
  const table: usize = load<u32>(queue, QUEUE_TABLE);
  const mine = load<u32>(queue, QUEUE_OWNER);
  const high = load<u32>(queue, INTEL_IOVA_HIGH);
  const highs = i32x4.splat(high);
  const zero = i32x4.splat(0);
  const end = vector + ((count as usize) << 2);
  let at = (load<u32>(queue, INTEL_RING) as usize) + ((index as usize) << INTEL_DESCRIPTOR_SHIFT);
  copyHandles((load<u32>(queue, INTEL_SIDE) as usize) + ((index as usize) << 2), vector, count);
  for (; vector + 16 <= end; vector += 16) {
    const lows = i32x4.add(i32x4.shl(v128.load(vector), HANDLE_SHIFT), i32x4.splat(HEADROOM));
    const front = v128.shuffle<u32>(lows, highs, 0, 4, 1, 5);
    const behind = v128.shuffle<u32>(lows, highs, 2, 6, 3, 7);
    // The other half is 0, DD too.
    v128.store(at, v128.shuffle<u64>(front, zero, 0, 2));
    v128.store(at, v128.shuffle<u64>(front, zero, 1, 3), 16);
    v128.store(at, v128.shuffle<u64>(behind, zero, 0, 2), 32);
    v128.store(at, v128.shuffle<u64>(behind, zero, 1, 3), 48);
    store<u32>(headerOf(table, load<u32>(vector)), mine, MBUF_OWNER);
    store<u32>(headerOf(table, load<u32>(vector, 4)), mine, MBUF_OWNER);
    store<u32>(headerOf(table, load<u32>(vector, 8)), mine, MBUF_OWNER);
    store<u32>(headerOf(table, load<u32>(vector, 12)), mine, MBUF_OWNER);
    at += 4 << INTEL_DESCRIPTOR_SHIFT;
  }
  for (; vector < end; vector += 4) {
    const handle = load<u32>(vector);
    store<u32>(headerOf(table, handle), mine, MBUF_OWNER);
    store<u64>(at, (high as u64) << 32 | (((handle << HANDLE_SHIFT) + HEADROOM) as u64));
    store<u64>(at, 0, 8);
    at += 1 << INTEL_DESCRIPTOR_SHIFT;
  }
}
