/**
 * The classes of an HTB in the arena: their fields, the round-robin lists that they stand in, and the heap of those that
 * wait for tokens. htb.ts says what stands where and why.
 */
import type { TreeMemory } from './memory.js';

export const LEVELS = 8;
export const PRIORITIES = 8;

// Words of a class. Classes are numbered from 1; 0 is none.
export const H_PARENT = 0;
export const H_LEVEL = 1;
export const H_PRIORITY = 2;
export const H_QUANTUM = 3;
/** CAN_SEND, MAY_BORROW or CANT_SEND. */
export const H_MODE = 4;
/** A bit for each priority that something below it (or it itself, a leaf) wants to send at. */
export const H_ACTIVE = 5;
/** Bytes it may still send in its turn, by the level that it sends at; signed. */
export const H_DEFICIT = 8;
/** For each priority: next and previous in the list that it stands in, then the list of its own children. */
export const H_NEXT = 16;
export const H_PREVIOUS = 24;
export const H_FEED = 32;
/** f64, counted from the class's word / 2. */
export const H_TOKENS = 28;
export const H_CEIL_TOKENS = 29;
export const H_TIME = 30;
export const H_EVENT = 31;
export const H_RATE = 32;
export const H_CEIL = 33;
export const H_BURST = 34;
export const H_CEIL_BURST = 35;
/** Packets and bytes sent; packets sent with its own tokens, by a leaf below it too; packets that borrowed from above it. */
export const H_PACKETS = 36;
export const H_BYTES = 37;
export const H_LENT = 38;
export const H_BORROWED = 39;
const CLASS_WORDS = 80;

/**
 * A list: first of the round, next to serve, and who left while it was his turn. He has it again when he comes back: a
 * class comes and goes with its own tokens, and would never borrow if each time it went behind the others.
 */
const LIST_FIRST = 0;
const LIST_NEXT = 1;
const LIST_LEFT = 2;
export const LIST_WORDS = 3;

export class HtbClasses {
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly count: number;
  private readonly first: number;
  private readonly rows: number;
  private readonly masks: number;
  /** The heap, each from 1: events (f64), whose they are, and each class's place (0 for none). */
  private readonly events: number;
  private readonly numbers: number;
  private readonly places: number;
  private waiting = 0;

  static bytesOf(count: number): number {
    return 4 * (count * CLASS_WORDS + LEVELS * (PRIORITIES * LIST_WORDS + 1)) + 8 * (count + 1) + 16 * Math.ceil((count + 1) / 2);
  }

  constructor(memory: TreeMemory, count: number) {
    this.u32 = memory.u32;
    this.i32 = memory.i32;
    this.f64 = memory.f64;
    this.count = count;
    this.first = (memory.reserve(4 * count * CLASS_WORDS) >>> 2) - CLASS_WORDS;
    this.rows = memory.reserve(4 * LEVELS * PRIORITIES * LIST_WORDS) >>> 2;
    this.masks = memory.reserve(4 * LEVELS) >>> 2;
    this.events = memory.reserve(8 * (count + 1)) / 8;
    this.numbers = memory.reserve(8 * Math.ceil((count + 1) / 2)) >>> 2;
    this.places = memory.reserve(8 * Math.ceil((count + 1) / 2)) >>> 2;
  }

  /** A class's word. */
  at(number: number): number {
    return this.first + number * CLASS_WORDS;
  }

  /** The list of the classes that send at a level and priority with tokens of their own. */
  row(level: number, priority: number): number {
    return this.rows + (level * PRIORITIES + priority) * LIST_WORDS;
  }

  /** The highest priority that somebody stands at in a row of this level, -1 for none. */
  firstPriority(level: number): number {
    const mask = this.u32[this.masks + level]!;
    return 31 - Math.clz32(mask & -mask);
  }

  enterRow(level: number, number: number, priority: number): void {
    this.insert(this.row(level, priority), number, priority);
    this.u32[this.masks + level]! |= 1 << priority;
  }

  leaveRow(level: number, number: number, priority: number): void {
    const row = this.row(level, priority);
    this.remove(row, number, priority);
    if (this.nextOf(row) === 0) this.u32[this.masks + level]! &= ~(1 << priority);
  }

  /** The list of a class's children that borrow from it. */
  feed(number: number, priority: number): number {
    return this.at(number) + H_FEED + priority * LIST_WORDS;
  }

  nextOf(list: number): number {
    return this.u32[list + LIST_NEXT]!;
  }

  /** Behind all others of the round. */
  insert(list: number, number: number, priority: number): void {
    const { u32 } = this;
    const at = this.at(number);
    const first = u32[list + LIST_FIRST]!;
    if (u32[list + LIST_LEFT] === number) u32[list + LIST_NEXT] = number;
    if (first === 0) {
      u32[list + LIST_FIRST] = u32[list + LIST_NEXT] = number;
      u32[at + H_NEXT + priority] = u32[at + H_PREVIOUS + priority] = number;
      return;
    }
    const last = u32[this.at(first) + H_PREVIOUS + priority]!;
    u32[at + H_NEXT + priority] = first;
    u32[at + H_PREVIOUS + priority] = last;
    u32[this.at(last) + H_NEXT + priority] = number;
    u32[this.at(first) + H_PREVIOUS + priority] = number;
  }

  remove(list: number, number: number, priority: number): void {
    const { u32 } = this;
    const next = u32[this.at(number) + H_NEXT + priority]!;
    const previous = u32[this.at(number) + H_PREVIOUS + priority]!;
    if (u32[list + LIST_NEXT] === number) u32[list + LIST_LEFT] = number;
    if (next === number) {
      u32[list + LIST_FIRST] = u32[list + LIST_NEXT] = 0;
      return;
    }
    u32[this.at(previous) + H_NEXT + priority] = next;
    u32[this.at(next) + H_PREVIOUS + priority] = previous;
    if (u32[list + LIST_FIRST] === number) u32[list + LIST_FIRST] = next;
    if (u32[list + LIST_NEXT] === number) u32[list + LIST_NEXT] = next;
  }

  /** The one behind `number` is served next. Returns whether a round of the list is over. */
  advance(list: number, number: number, priority: number): boolean {
    const { u32 } = this;
    const next = u32[this.at(number) + H_NEXT + priority]!;
    u32[list + LIST_NEXT] = next;
    u32[list + LIST_LEFT] = 0;
    return next === u32[list + LIST_FIRST];
  }

  /** The class whose event comes first, 0 for none. */
  get soonest(): number {
    return this.waiting === 0 ? 0 : this.u32[this.numbers + 1]!;
  }

  /** Index in f64 of the first event of all. */
  get soonestEvent(): number {
    return this.events + 1;
  }

  /**
   * Puts a class into the heap by the event in H_EVENT, or moves it to where that belongs now. Events, numbers and places
   * stand in three vectors of their own: a walk through the heap of a thousand classes stays out of their records.
   */
  wait(number: number): void {
    let place = this.u32[this.places + number]!;
    if (place === 0) place = ++this.waiting;
    const event = (this.at(number) >>> 1) + H_EVENT;
    this.put(this.down(this.up(place, event), event), number, event);
  }

  stopWaiting(number: number): void {
    const { u32 } = this;
    const place = u32[this.places + number]!;
    if (place === 0) return;
    u32[this.places + number] = 0;
    const last = u32[this.numbers + this.waiting]!;
    const event = this.events + this.waiting--;
    if (last !== number) this.put(this.down(this.up(place, event), event), last, event);
  }

  /** Moves the hole at `place` up to where what has f64[event] may stand. Returns where that is. */
  private up(place: number, event: number): number {
    const { f64, events } = this;
    while (place > 1 && f64[events + (place >>> 1)]! > f64[event]!) {
      this.move(place >>> 1, place);
      place >>>= 1;
    }
    return place;
  }

  private down(place: number, event: number): number {
    const { f64, events } = this;
    for (let child = 2 * place; child <= this.waiting; child = 2 * place) {
      if (child < this.waiting && f64[events + child + 1]! < f64[events + child]!) child++;
      if (f64[events + child]! >= f64[event]!) break;
      this.move(child, place);
      place = child;
    }
    return place;
  }

  private move(from: number, to: number): void {
    this.put(to, this.u32[this.numbers + from]!, this.events + from);
  }

  private put(place: number, number: number, event: number): void {
    this.f64[this.events + place] = this.f64[event]!;
    this.u32[this.numbers + place] = number;
    this.u32[this.places + number] = place;
  }
}
