import { PollmodeError } from '../errors.js';
import {
  ARENA_HEADER, BACKING_HEAP, DIRECTORY, DIRECTORY_ENTRIES, ENTRY_ALIGN, ENTRY_BACKING, ENTRY_FD, ENTRY_LCORE, ENTRY_LENGTH, ENTRY_NAME,
  ENTRY_OFFSET, ENTRY_PID, ENTRY_SERIAL, ENTRY_SIZE, ENTRY_TYPE, HEADER_HEAP, HEADER_HIGH, HEADER_LOCK, HEADER_SERIAL, ZONE_BURST, ZONE_FREE,
  ZONE_PENDING,
} from './layout.js';
import { ArenaLock } from './lock.js';
import { decodeName, encodeName } from './names.js';
import { alignUp, firstGap, freeSpace } from './space.js';

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
  /** Its number in the directory: what an owner word calls it by. Used again after `release`. */
  readonly index: number;
  /** Which reservation of the arena it is; never used again. */
  readonly serial: number;
  /** Who reserved it. */
  readonly lcore: number;
}

export interface ZoneRequest {
  readonly name: string;
  readonly length: number;
  readonly align: number;
  readonly type: number;
  /** Length and alignment are rounded up to it. */
  readonly page: number;
  /** The base address modulo the alignment, where it is the address in memory that is to be aligned; else 0. */
  readonly skew: number;
}

/**
 * Memzones: a table of named, aligned ranges at a fixed place, so that any thread or process finds them. The table is
 * also the allocator: the first gap between the zones that fits is taken. It is for set-up; a thousand zones are a
 * thousand steps.
 *
 * Changes are made under one lock. An entry's type is written last and taken away first, in one store each, so the table
 * is whole at whatever moment its changer dies. Reading takes no lock.
 */
export class Directory {
  readonly #u8: Uint8Array;
  readonly #i32: Int32Array;
  readonly #lcore: number;
  readonly #lock: ArenaLock;

  constructor(u8: Uint8Array, i32: Int32Array, lcore: number) {
    this.#u8 = u8;
    this.#i32 = i32;
    this.#lcore = lcore;
    this.#lock = new ArenaLock(i32, HEADER_LOCK, lcore, 'The arena\'s directory');
  }

  /** Takes a range that nobody finds until `publish`. `clean` is where the part of it begins that was never used, and is zero. */
  reserve(request: ZoneRequest): { zone: Memzone; clean: number } {
    const { name, type, skew } = request;
    const encoded = encodeName(name);
    const { length, align } = checkedSize(request);
    return this.#lock.run(() => {
      const zones = this.#all();
      if (zones.some(zone => zone.name === name)) throw new PollmodeError('EEXISTS', `A memzone named "${name}" exists: choose another name, or release it first.`);
      const [heap, end] = [this.#header(HEADER_HEAP), this.#u8.length];
      const offset = firstGap(zones, heap, end, length, align, skew);
      if (offset < 0) {
        const { free, largest } = freeSpace(zones, heap, end);
        throw new PollmodeError('EARENAFULL', `No room for memzone "${name}" of ${length} bytes (${free} are free, ${largest} of them in one piece): make the arena larger (Arena.create({ size })) or release zones.`);
      }
      const index = this.#freeEntry(name);
      const clean = Math.min(Math.max(this.#header(HEADER_HIGH), offset), offset + length);
      this.#setHeader(HEADER_HIGH, Math.max(this.#header(HEADER_HIGH), offset + length));
      this.#write(index, encoded, { offset, length, type: type | ZONE_PENDING, align });
      return { zone: this.#read(index)!, clean };
    });
  }

  /** Everybody finds the zone from now on. `fd` is the memfd behind it, of this process; -1 for none. */
  publish(zone: Memzone, backing = BACKING_HEAP, fd = -1): Memzone {
    this.#set(zone.index, ENTRY_FD, fd);
    this.#set(zone.index, ENTRY_BACKING, backing);
    this.#set(zone.index, ENTRY_TYPE, zone.type & ~ZONE_PENDING);
    return this.#read(zone.index)!;
  }

  /** The file behind the zone is closed; nobody else can map it any more. */
  forgetFile(zone: Memzone): void {
    this.#set(zone.index, ENTRY_FD, -1);
  }

  lookup(name: string): Memzone | undefined {
    return this.list().find(zone => zone.name === name);
  }

  list(): Memzone[] {
    return this.#all().filter(({ type }) => (type & ZONE_PENDING) === 0);
  }

  /** What the directory says of the zone now. Throws ENOTFOUND when it was released. */
  current(zone: Memzone): Memzone {
    const now = this.#read(zone.index);
    if (now === undefined || now.serial !== zone.serial) {
      throw new PollmodeError('ENOTFOUND', `Memzone "${zone.name}" is not in the arena any more: it was released before.`);
    }
    return now;
  }

  release(zone: Memzone): void {
    this.#lock.run(() => {
      this.current(zone);
      this.#set(zone.index, ENTRY_TYPE, ZONE_FREE);
    });
  }

  /** What an lcore leaves that is nobody else's: its burst vectors, and what it was about to make when it died. */
  leftBy(lcore: number): Memzone[] {
    return this.#all().filter(zone => zone.lcore === lcore && (zone.type === ZONE_BURST || (zone.type & ZONE_PENDING) !== 0));
  }

  #all(): Memzone[] {
    const zones: Memzone[] = [];
    for (let index = 0; index < DIRECTORY_ENTRIES; index++) {
      const zone = this.#read(index);
      if (zone !== undefined) zones.push(zone);
    }
    return zones;
  }

  #freeEntry(name: string): number {
    for (let index = 0; index < DIRECTORY_ENTRIES; index++) {
      if (this.#field(index, ENTRY_TYPE) === ZONE_FREE) return index;
    }
    throw new PollmodeError('EARENAFULL', `No entry for memzone "${name}": an arena has ${DIRECTORY_ENTRIES}; release some.`);
  }

  #write(index: number, name: Uint8Array, zone: { offset: number; length: number; type: number; align: number }): void {
    const serial = this.#header(HEADER_SERIAL) + 1;
    this.#setHeader(HEADER_SERIAL, serial);
    this.#set(index, ENTRY_SERIAL, serial);
    const at = DIRECTORY + index * ENTRY_SIZE + ENTRY_NAME;
    this.#u8.fill(0, at, at + ENTRY_OFFSET - ENTRY_NAME);
    this.#u8.set(name, at);
    const fields = [
      [ENTRY_OFFSET, zone.offset], [ENTRY_LENGTH, zone.length], [ENTRY_BACKING, BACKING_HEAP], [ENTRY_FD, -1], [ENTRY_PID, process.pid],
      [ENTRY_ALIGN, zone.align], [ENTRY_LCORE, this.#lcore],
    ] as const;
    for (const [field, value] of fields) this.#set(index, field, value);
    this.#set(index, ENTRY_TYPE, zone.type);
  }

  /** The entry as it was at one moment: another may be released, and its place reserved again, while it is read. */
  #read(index: number): Memzone | undefined {
    const field = (offset: number): number => this.#field(index, offset) >>> 0;
    for (;;) {
      const [serial, type] = [field(ENTRY_SERIAL), field(ENTRY_TYPE)];
      if (type === ZONE_FREE) return undefined;
      const zone: Memzone = {
        name: decodeName(this.#u8, DIRECTORY + index * ENTRY_SIZE + ENTRY_NAME),
        offset: field(ENTRY_OFFSET), length: field(ENTRY_LENGTH), type, backing: field(ENTRY_BACKING), fd: field(ENTRY_FD) | 0,
        pid: field(ENTRY_PID), align: field(ENTRY_ALIGN), index, serial, lcore: field(ENTRY_LCORE),
      };
      // The exchange changes nothing: unlike a load, it keeps the reads above from being made after it.
      if (Atomics.add(this.#i32, this.#at(index, ENTRY_SERIAL), 0) >>> 0 === serial && field(ENTRY_TYPE) === type) return zone;
    }
  }

  #at(index: number, field: number): number {
    return (DIRECTORY + index * ENTRY_SIZE + field) >> 2;
  }

  #field(index: number, field: number): number {
    return Atomics.load(this.#i32, this.#at(index, field));
  }

  #set(index: number, field: number, value: number): void {
    Atomics.store(this.#i32, this.#at(index, field), value);
  }

  #header(field: number): number {
    return Atomics.load(this.#i32, (ARENA_HEADER + field) >> 2) >>> 0;
  }

  #setHeader(field: number, value: number): void {
    Atomics.store(this.#i32, (ARENA_HEADER + field) >> 2, value);
  }
}

function checkedSize({ name, length, align, page }: ZoneRequest): { length: number; align: number } {
  if (!Number.isInteger(length) || length <= 0) throw new PollmodeError('EOPTION', `Memzone "${name}" of ${String(length)} bytes: a length is a whole number above 0.`);
  if (!Number.isInteger(align) || align < 1 || align > 2 ** 31 || (align & (align - 1)) !== 0) throw new PollmodeError('EOPTION', `Memzone "${name}" aligned to ${String(align)}: an alignment is a power of two up to 2^31.`);
  return { length: alignUp(length, page, 0), align: Math.max(align, page) };
}
