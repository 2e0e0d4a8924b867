import { PollmodeError } from '../errors.js';
import {
  ARENA_HEADER, DIRECTORY, DIRECTORY_ENTRIES, ENTRY_ALIGN, ENTRY_BACKING, ENTRY_FD, ENTRY_LENGTH, ENTRY_NAME, ENTRY_NAME_MAX,
  ENTRY_OFFSET, ENTRY_PID, ENTRY_SIZE, ENTRY_TYPE, HEADER_HEAP, HEADER_LOCK, ZONE_FREE,
} from './layout.js';

/** A named range of the arena. A plain record: it can be posted to another thread. */
export interface Memzone {
  readonly name: string;
  /** Bytes from the arena's start. */
  readonly offset: number;
  readonly length: number;
  /** ZONE_* */
  readonly type: number;
  /** BACKING_* */
  readonly backing: number;
  /** The memfd behind it, in process `pid`; -1 for none. */
  readonly fd: number;
  readonly pid: number;
  readonly align: number;
  /** Its number in the directory: what an owner word calls it by. */
  readonly index: number;
}

/**
 * Memzones: a table of named, aligned ranges at a fixed place, so that any thread or process finds them. The table is
 * also the allocator: the first gap between the zones that fits is taken. It is for set-up; a thousand zones are a
 * thousand steps.
 */
export class Directory {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #u32: Uint32Array;
  readonly #lcore: number;

  constructor(u8: Uint8Array, i32: Int32Array, lcore: number) {
    this.#u8 = u8;
    this.#i32 = i32;
    this.#u32 = new Uint32Array(u8.buffer);
    this.#lcore = lcore;
  }

  reserve(name: string, length: number, align: number, type: number, backing: number, skew = 0): Memzone {
    const encoded = encodeName(name);
    if (!Number.isInteger(length) || length <= 0) throw new PollmodeError('EOPTION', `Memzone "${name}" of ${length} bytes: a length is a whole number above 0.`);
    if ((align & (align - 1)) !== 0 || align <= 0) throw new PollmodeError('EOPTION', `Memzone "${name}" aligned to ${align}: an alignment is a power of two.`);
    return this.#locked(() => {
      const zones = this.list();
      if (zones.some(zone => zone.name === name)) throw new PollmodeError('EEXISTS', `A memzone named "${name}" exists: choose another name, or release it first.`);
      const offset = firstGap(zones, this.#heap(), this.#u8.length, length, align, skew);
      if (offset < 0) throw new PollmodeError('EARENAFULL', `No room for memzone "${name}" of ${length} bytes (${free(zones, this.#heap(), this.#u8.length)} are free, not all in one piece): make the arena larger (Arena.create({ size })) or release zones.`);
      const index = this.#freeEntry(name);
      this.#write(index, encoded, { offset, length, type, backing, align });
      return this.#read(index)!;
    });
  }

  lookup(name: string): Memzone | undefined {
    return this.list().find(zone => zone.name === name);
  }

  list(): Memzone[] {
    const zones: Memzone[] = [];
    for (let index = 0; index < DIRECTORY_ENTRIES; index++) {
      const zone = this.#read(index);
      if (zone !== undefined) zones.push(zone);
    }
    return zones;
  }

  /** Says that a memfd of this process now stands behind the zone. */
  setBacking(zone: Memzone, backing: number, fd: number): Memzone {
    const at = this.#at(zone.index);
    this.#u32[(at + ENTRY_FD) >> 2] = fd >>> 0;
    this.#u32[(at + ENTRY_PID) >> 2] = process.pid;
    Atomics.store(this.#i32, (at + ENTRY_BACKING) >> 2, backing);
    return this.#read(zone.index)!;
  }

  /** What the directory says of the zone now. Throws ENOTFOUND when it was released. */
  current(zone: Memzone): Memzone {
    const now = this.#read(zone.index);
    if (now === undefined || now.name !== zone.name || now.offset !== zone.offset) {
      throw new PollmodeError('ENOTFOUND', `Memzone "${zone.name}" is not in the arena any more: it was released before.`);
    }
    return now;
  }

  release(zone: Memzone): void {
    this.#locked(() => {
      this.current(zone);
      Atomics.store(this.#i32, (this.#at(zone.index) + ENTRY_TYPE) >> 2, ZONE_FREE);
    });
  }

  #heap(): number {
    return this.#u32[(ARENA_HEADER + HEADER_HEAP) >> 2]!;
  }

  #at(index: number): number {
    return DIRECTORY + index * ENTRY_SIZE;
  }

  #freeEntry(name: string): number {
    for (let index = 0; index < DIRECTORY_ENTRIES; index++) {
      if (Atomics.load(this.#i32, (this.#at(index) + ENTRY_TYPE) >> 2) === ZONE_FREE) return index;
    }
    throw new PollmodeError('EARENAFULL', `No entry for memzone "${name}": an arena has ${DIRECTORY_ENTRIES}; release some.`);
  }

  #write(index: number, name: Uint8Array, zone: { offset: number; length: number; type: number; backing: number; align: number }): void {
    const at = this.#at(index);
    this.#u8.fill(0, at, at + ENTRY_SIZE);
    this.#u8.set(name, at + ENTRY_NAME);
    this.#u32[(at + ENTRY_OFFSET) >> 2] = zone.offset;
    this.#u32[(at + ENTRY_LENGTH) >> 2] = zone.length;
    this.#u32[(at + ENTRY_BACKING) >> 2] = zone.backing;
    this.#u32[(at + ENTRY_FD) >> 2] = 0xffffffff;
    this.#u32[(at + ENTRY_PID) >> 2] = process.pid;
    this.#u32[(at + ENTRY_ALIGN) >> 2] = zone.align;
    Atomics.store(this.#i32, (at + ENTRY_TYPE) >> 2, zone.type);
  }

  #read(index: number): Memzone | undefined {
    const at = this.#at(index);
    const type = Atomics.load(this.#i32, (at + ENTRY_TYPE) >> 2);
    if (type === ZONE_FREE) return undefined;
    const field = (offset: number): number => this.#u32[(at + offset) >> 2]!;
    return {
      name: decodeName(this.#u8, at + ENTRY_NAME),
      offset: field(ENTRY_OFFSET), length: field(ENTRY_LENGTH), type, backing: field(ENTRY_BACKING),
      fd: field(ENTRY_FD) | 0, pid: field(ENTRY_PID), align: field(ENTRY_ALIGN), index,
    };
  }

  /** One at a time, over all threads and processes. The lock names its holder; set-up is short, so a second is for ever. */
  #locked<T>(change: () => T): T {
    const lock = (ARENA_HEADER + HEADER_LOCK) >> 2;
    const deadline = Date.now() + 1000;
    while (Atomics.compareExchange(this.#i32, lock, 0, this.#lcore + 1) !== 0) {
      if (Date.now() > deadline) {
        throw new PollmodeError('EBUSYQUEUE', `The arena's directory is held by lcore ${Atomics.load(this.#i32, lock) - 1}: if that thread died, reclaim its lcore first.`);
      }
    }
    try {
      return change();
    } finally {
      Atomics.store(this.#i32, lock, 0);
    }
  }
}

/** Lowest offset where (offset + skew) is aligned and `length` bytes are free; -1 for none. `skew` is the base address modulo the alignment. */
function firstGap(zones: readonly Memzone[], heap: number, end: number, length: number, align: number, skew: number): number {
  const sorted = [...zones].sort((a, b) => a.offset - b.offset);
  let at = alignUp(heap, align, skew);
  for (const zone of sorted) {
    if (at + length <= zone.offset) return at;
    at = Math.max(at, alignUp(zone.offset + zone.length, align, skew));
  }
  return at + length <= end ? at : -1;
}

function alignUp(offset: number, align: number, skew: number): number {
  return Math.ceil((offset + skew) / align) * align - skew;
}

function free(zones: readonly Memzone[], heap: number, end: number): number {
  return zones.reduce((left, zone) => left - zone.length, end - heap);
}

function encodeName(name: string): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  if (encoded.length === 0 || encoded.length > ENTRY_NAME_MAX || name.includes('\0')) {
    throw new PollmodeError('EOPTION', `"${name}" is no memzone name: 1 to ${ENTRY_NAME_MAX} bytes of UTF-8 without NUL.`);
  }
  return encoded;
}

function decodeName(u8: Uint8Array, at: number): string {
  // TextDecoder refuses shared memory, so the bytes are copied out first.
  const bytes = u8.slice(at, at + ENTRY_NAME_MAX);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
