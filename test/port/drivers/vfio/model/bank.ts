/**
 * The registers as plain memory: the words that a driver reads and writes, and a shadow of what the hardware holds. A
 * difference between the two is a write of the driver's. The device may be stepped in another thread than the driver's,
 * so that a word is only replaced where it still is what was seen (compare and exchange).
 */
import { REGISTERS, offsets, type Register } from './registers.js';

/** Registers stand in the first 128 KiB of BAR 0 (section 8.1); the rest of it is flash. */
const WORDS = 0x20000 / 4;

/** A register of a table, by its index in it. */
export interface Place {
  readonly register: Register;
  readonly n: number;
}

/** What the hardware makes of a write; returns what the register holds then. */
export type OnWrite = (n: number, value: number, before: number) => number;

export class Bank {
  private readonly cells: Int32Array;
  private readonly shadow = new Int32Array(WORDS);
  /** The bytes of both. */
  private readonly cellBytes: Buffer;
  private readonly shadowBytes = Buffer.from(this.shadow.buffer);
  private readonly places: (Place | undefined)[] = new Array<Place | undefined>(WORDS).fill(undefined);
  /** The other place of an aliased register, in both directions; -1 for none. And which of the two is the 82599's own. */
  private readonly twin = new Int32Array(WORDS).fill(-1);
  private readonly own = Int32Array.from({ length: WORDS }, (_, word) => word);
  private readonly handlers = new Map<string, OnWrite>();

  constructor(memory: SharedArrayBuffer, bar: number) {
    this.cells = new Int32Array(memory, bar, WORDS);
    this.cellBytes = Buffer.from(memory, bar, WORDS * 4);
    for (const register of REGISTERS) this.addPlaces(register);
  }

  private addPlaces(register: Register): void {
    offsets(register.name).forEach((offset, n) => this.addPlace({ register, n }, offset / 4));
    const [base, stride, count] = register.alias ?? [0, 0, 0];
    for (let n = 0; n < count; n++) this.addAlias(words(register.name)[n]!, (base + stride * n) / 4);
  }

  private addPlace(place: Place, word: number): void {
    const taken = this.places[word];
    if (taken !== undefined) throw new Error(`${place.register.name}[${place.n}] and ${taken.register.name}[${taken.n}] are at one place.`);
    this.places[word] = place;
  }

  private addAlias(own: number, alias: number): void {
    this.addPlace(this.places[own]!, alias);
    this.twin[own] = alias;
    this.twin[alias] = own;
    this.own[alias] = own;
  }

  /** Who acts on a write to a register; without one it holds what was written. */
  on(name: string, handler: OnWrite): void {
    this.handlers.set(name, handler);
  }

  handler(name: string): OnWrite | undefined {
    return this.handlers.get(name);
  }

  place(word: number): Place | undefined {
    return this.places[word];
  }

  ownWord(word: number): number {
    return this.own[word]!;
  }

  /** What the hardware holds, unsigned. */
  get(word: number): number {
    return this.shadow[word]! >>> 0;
  }

  /** A change by the hardware. Where the driver has written meanwhile, its write stays to be seen. */
  set(word: number, value: number): void {
    this.exchange(word, value);
    if (this.twin[word]! >= 0) this.exchange(this.twin[word]!, value);
  }

  private exchange(word: number, value: number): void {
    Atomics.compareExchange(this.cells, word, this.shadow[word]!, value | 0);
    this.shadow[word] = value;
  }

  /** Takes a write that was seen: the word shows `value` from here on, unless the driver has written again. */
  settle(word: number, seen: number, value: number): void {
    this.shadow[word] = seen;
    this.set(this.own[word]!, value);
    if (this.own[word] !== word) this.exchange(word, value);
  }

  /** What stands in memory, unsigned. */
  peek(word: number): number {
    return Atomics.load(this.cells, word) >>> 0;
  }

  poke(word: number, value: number): void {
    Atomics.store(this.cells, word, value | 0);
  }

  /** The words that the driver has changed. */
  changed(): number[] {
    const list: number[] = [];
    if (this.cellBytes.equals(this.shadowBytes)) return list; // nearly always, and every access asks
    for (let word = 0; word < WORDS; word++) {
      if (this.cells[word] !== this.shadow[word]) list.push(word);
    }
    return list;
  }

  /** All to what a reset leaves; `memories` too, which only a power-up changes, with what nobody can know. */
  reset(memories: boolean, keep: (name: string) => boolean): void {
    for (const { name, initial } of REGISTERS) {
      if (keep(name) || (initial === 'X' && !memories)) continue;
      words(name).forEach((word, n) => this.force(word, initial === 'X' ? unknown(n) : initial));
    }
  }

  /** Whatever the driver wrote meanwhile. */
  force(word: number, value: number): void {
    for (const one of [word, this.twin[word]!]) {
      if (one < 0) continue;
      this.poke(one, value);
      this.shadow[one] = value;
    }
  }
}

/** The words of all registers of a name, by index. */
export function words(name: string): Int32Array {
  return Int32Array.from(offsets(name), offset => offset / 4);
}

export function word(name: string): number {
  return words(name)[0]!;
}

/** What stands in a memory that nobody has initialised: other than 0, so that zeroing it is seen. */
export function unknown(n: number): number {
  return (0x5a17c0de ^ Math.imul(n + 1, 0x9e3779b1)) | 0x00100000;
}
