import type { Arena } from '../../../arena/arena.js';
import type { Memzone } from '../../../arena/directory.js';
import { binding, type Binding } from '../../../binding.js';
import { MAX_BURST } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { HEADER_SHIFT } from '../../../mbuf/layout.js';
import { QUEUE_FD, QUEUE_POOL, QUEUE_ROOM } from '../../layout.js';
import type { QueueState } from '../../queue.js';
import type { QueueView } from '../../queue_view.js';
import { TAP_SPILL, TAP_SPILL_BYTES, TAP_VECTORS } from './layout.js';

const VECTOR_BYTES = MAX_BURST * 12;

/** What both directions have: the queue's vectors in the arena, and the counts of what the kernel refused. */
export class TapVectors {
  /** Refusals by errno. */
  readonly refusals = new Map<number, number>();
  readonly state: QueueView;
  readonly functions: BurstFunctions;
  readonly binding: Binding;
  readonly arena: Arena;
  readonly fd: number;
  readonly pool: number;
  /** (offset, length) of each packet, for the native call. */
  readonly pairs: Uint32Array;
  /** Offset of the second vector in the arena, and the vector. */
  readonly at: number;
  readonly second: Uint32Array;

  constructor(state: QueueView, functions: BurstFunctions) {
    const vectors = state.get(TAP_VECTORS);
    this.state = state;
    this.functions = functions;
    this.binding = binding();
    this.arena = state.arena;
    this.fd = state.fd;
    this.pool = state.get(QUEUE_POOL);
    this.pairs = new Uint32Array(this.arena.buffer, vectors, 2 * MAX_BURST);
    this.at = vectors + 8 * MAX_BURST;
    this.second = new Uint32Array(this.arena.buffer, this.at, MAX_BURST);
  }

  refused(errno: number): void {
    this.refusals.set(errno, (this.refusals.get(errno) ?? 0) + 1);
  }

  header(handle: number): number {
    return (this.arena.table + (handle << HEADER_SHIFT)) >>> 0;
  }
}

/** Reserves a queue's vectors and tells its state of them. `longest`: bytes of a frame at most, and one by which it is known that none was cut. */
export function reserveVectors(state: QueueState, name: string, fd: number, longest: number): Memzone {
  const spill = state.direction === 'rx' ? Math.max(0, longest - state.get(QUEUE_ROOM)) : 0;
  const zone = state.arena.reserve(name, VECTOR_BYTES + spill);
  state.set(TAP_SPILL, zone.offset + VECTOR_BYTES);
  state.set(TAP_SPILL_BYTES, spill);
  state.set(TAP_VECTORS, zone.offset);
  state.set(QUEUE_FD, fd);
  return zone;
}
