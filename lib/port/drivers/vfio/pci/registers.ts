import type { Arena } from '../../../../arena/arena.js';
import { binding } from '../../../../binding.js';

/** A row of a datasheet's register summary. RC: reading it clears it. */
export type RegisterRow<Name extends string = string> = readonly [name: Name, offset: number, mode: 'RW' | 'RO' | 'WO' | 'RC', meaning: string];

/**
 * A device's registers, 32 bits each, through a BAR that is mapped over the arena. For set-up and control: a burst
 * function stores into the one register it needs by itself. A device that has gone reads as all ones. Where a model stands
 * in for the device it overrides `readAt`, `write` and `pause`: all access of a control path goes through these.
 */
export class Registers<Name extends string> {
  /** Offset of the BAR in the arena. */
  readonly base: number;
  readonly #u32: Uint32Array;
  readonly #offsets: ReadonlyMap<string, number>;

  constructor(arena: Arena, base: number, rows: readonly RegisterRow<Name>[]) {
    this.base = base;
    this.#u32 = arena.u32;
    this.#offsets = new Map(rows.map(([name, offset]) => [name, offset]));
  }

  /** Offset of a register in the arena; `further` bytes on for one of an array of them. */
  at(name: Name, further = 0): number {
    return this.base + this.#offsets.get(name)! + further;
  }

  /** Through an atomic load, so that no compiler takes an earlier value for it. */
  read(name: Name, further = 0): number {
    return this.readAt(this.at(name, further) - this.base);
  }

  /** The same by its offset in the BAR. */
  readAt(offset: number): number {
    return Atomics.load(this.#u32, (this.base + offset) >>> 2);
  }

  /** A plain store: an atomic one would read the register too. */
  write(name: Name, value: number, further = 0): void {
    this.#u32[this.at(name, further) >>> 2] = value;
  }

  set(name: Name, bits: number, further = 0): void {
    this.write(name, this.read(name, further) | bits, further);
  }

  clear(name: Name, bits: number, further = 0): void {
    this.write(name, this.read(name, further) & ~bits, further);
  }

  /** Waits until the register's `bits` are `wanted`, a millisecond at a time. Returns false after `milliseconds`. */
  waitFor(name: Name, bits: number, wanted: number, milliseconds: number, further = 0): boolean {
    for (let left = milliseconds; (this.read(name, further) & bits) >>> 0 !== wanted; left--) {
      if (left <= 0) return false;
      this.pause(1);
    }
    return true;
  }

  /** Blocks the thread, as set-up may. */
  pause(milliseconds: number): void {
    pause(milliseconds);
  }
}

/** Blocks the thread, as set-up may. */
export function pause(milliseconds: number): void {
  binding().poll(new Int32Array(), milliseconds);
}
