import type { Arena } from '../arena/arena.js';
import { QUEUE_FD, QUEUE_OWNER } from './layout.js';

export type Direction = 'rx' | 'tx';

/** The memzone of a queue's state: by it another thread finds the queue. */
export function queueZone(port: number, direction: Direction, queue: number): string {
  return `port/${port}/${direction}/${queue}`;
}

/** The state of one queue in the arena, as any thread sees it. */
export class QueueView {
  readonly arena: Arena;
  readonly offset: number;
  readonly direction: Direction;

  constructor(arena: Arena, offset: number, direction: Direction) {
    this.arena = arena;
    this.offset = offset;
    this.direction = direction;
  }

  /** The owner word of mbufs that the port holds by this queue. */
  get owner(): number {
    return this.get(QUEUE_OWNER);
  }

  /** The descriptor that system calls for this queue are made on, or -1. */
  get fd(): number {
    return this.get(QUEUE_FD) | 0;
  }

  set(field: number, value: number): void {
    this.arena.u32[(this.offset + field) >>> 2] = value;
  }

  get(field: number): number {
    return this.arena.u32[(this.offset + field) >>> 2]!;
  }

  counter(field: number): number {
    return Number(this.arena.u64[(this.offset + field) / 8]!);
  }

  /** For drivers that count in TypeScript: two u32, so that no BigInt is made. */
  add(field: number, by: number): void {
    const at = (this.offset + field) >>> 2;
    const low = this.arena.u32[at]! + by;
    this.arena.u32[at] = low;
    if (low > 0xffffffff) this.arena.u32[at + 1]!++;
  }
}
