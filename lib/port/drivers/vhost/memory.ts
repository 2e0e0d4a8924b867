/** A guest's memory: each region a file that the front-end sent, mapped and guarded, and a table that the burst functions translate with. */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { PollmodeError } from '../../../errors.js';
import { writeMemory, writeOutsideMemory } from '../../../virtqueue/device.js';
import { MEMORY_BYTES } from '../../../virtqueue/layout.js';
import { duplicate, fileBlock } from '../../../vhost_user/descriptors.js';
import type { MemoryRegion } from '../../../vhost_user/messages.js';
import { binding } from '../../../binding.js';
import type { PortHost } from '../../port.js';
import { placeBeside, placeInside, Room, type Piece, type RegionFile, type RegionPlace } from './places.js';

interface Mapped extends MemoryRegion {
  readonly file: RegionFile;
  place: RegionPlace;
}

/** Beyond a port's room: what whole pages take around a few regions of a file in huge ones. */
export const ROUNDING = 16 << 20;
/** Beside the arena, of one guest: the process has 128 TiB of addresses, and V8 wants some. */
const MOST_BESIDE = 2 ** 40;

/** What can be wrong with a region, for the front-end's log and ours. */
export class BadRegion extends Error {}

/** All of it is over the arena or, when that has no room for one region or the port has no more there, all of it is beside. */
export class GuestMemory {
  /** Offset of the table of what is over the arena, and of what is beside it. */
  readonly table: number;
  readonly outside: number;
  readonly #host: PortHost;
  readonly #zone: Memzone;
  readonly #room: Room;
  #regions: Mapped[] = [];
  #beside = false;

  /** @param room bytes of the arena that the guest may fill; other ports have theirs there */
  constructor(host: PortHost, room: number) {
    this.#host = host;
    this.#room = new Room(host, room + ROUNDING);
    this.#zone = host.arena.reserve(`port/${host.number}/vhost/memory`, 2 * MEMORY_BYTES, { align: 64 });
    this.table = this.#zone.offset;
    this.outside = this.table + MEMORY_BYTES;
  }

  get regions(): number {
    return this.#regions.length;
  }

  /** Is there no room for it in the arena? Frames are copied natively then, a burst in one call. */
  get beside(): boolean {
    return this.#beside;
  }

  /** Bytes of the guest's memory that are mapped. */
  get bytes(): number {
    return this.#regions.reduce((sum, { bytes }) => sum + Number(bytes), 0);
  }

  /** One more region; no burst may run. The descriptor stays the caller's. Throws BadRegion. */
  add(region: MemoryRegion, fd: number): void {
    for (const other of this.#regions) {
      if (overlap(region.guest, region.bytes, other.guest, other.bytes) || overlap(region.user, region.bytes, other.user, other.bytes)) throw new BadRegion('overlaps another one');
    }
    const file = fileOf(region, fd);
    const own = { ...file, fd: duplicate(fd) };
    try {
      this.#regions.push({ ...region, file: own, place: this.#place(own) });
    } catch (cause) {
      binding().close(own.fd);
      if (cause instanceof PollmodeError) throw new BadRegion(cause.message, { cause });
      throw cause;
    }
    this.#write();
  }

  /** Returns false when there is none like it. */
  remove({ guest, user, bytes }: MemoryRegion): boolean {
    const found = this.#regions.find(each => each.guest === guest && each.user === user && each.bytes === bytes);
    if (found === undefined) return false;
    this.#regions = this.#regions.filter(each => each !== found);
    this.#write();
    drop(found);
    return true;
  }

  clear(): void {
    const gone = this.#regions;
    this.#regions = [];
    this.#beside = false;
    this.#write();
    gone.forEach(drop);
  }

  close(): void {
    this.clear();
    this.#host.arena.release(this.#zone);
  }

  /** Bytes at an address of the front-end's process, over the arena; undefined when they are not all in one region, not aligned, or have no room. */
  window(user: bigint, bytes: number, align: number): Piece | undefined {
    const region = this.#regions.find(each => user >= each.user && user - each.user + BigInt(bytes) <= each.bytes);
    if (region === undefined) return undefined;
    try {
      const window = region.place.window(Number(user - region.user), bytes);
      if (window.offset % align === 0) return window;
      window.close();
      return undefined;
    } catch (cause) {
      if (cause instanceof PollmodeError) return undefined;
      throw cause;
    }
  }

  /** Memory for a ring's copies; undefined when there is no room. The caller closes it. */
  reserve(bytes: number): Piece | undefined {
    try {
      return this.#room.take(bytes, name => this.#host.arena.reserve(name('outside'), bytes, { align: 64 }));
    } catch (cause) {
      if (cause instanceof PollmodeError) return undefined;
      throw cause;
    }
  }

  #place(file: RegionFile): RegionPlace {
    if (this.#beside) return this.#placeBeside(file);
    try {
      return placeInside(this.#room, file);
    } catch (cause) {
      if (!(cause instanceof PollmodeError) || cause.code !== 'EARENAFULL') throw cause;
      return this.#goBeside(file);
    }
  }

  /** The first that has no room: those before it go too, for a chain of descriptors may be in several. */
  #goBeside(file: RegionFile): RegionPlace {
    const moved: RegionPlace[] = [];
    try {
      for (const each of this.#regions) moved.push(placeBeside(this.#room, each.file));
      moved.push(this.#placeBeside(file));
    } catch (cause) {
      for (const place of moved) place.close();
      throw cause;
    }
    this.#regions.forEach((region, i) => {
      region.place.close();
      region.place = moved[i]!;
    });
    this.#beside = true;
    return moved.at(-1)!;
  }

  #placeBeside(file: RegionFile): RegionPlace {
    if (this.bytes + file.bytes > MOST_BESIDE) throw new BadRegion(`is more than the ${MOST_BESIDE / 2 ** 40} TiB that a guest may have beside the arena`);
    return placeBeside(this.#room, file);
  }

  #write(): void {
    const all = this.#regions.map(({ guest, bytes, place }) => ({ start: guest, bytes: Number(bytes), offset: place.offset ?? 0, address: place.address }));
    writeMemory(this.#host.arena, this.table, this.#beside ? [] : all);
    writeOutsideMemory(this.#host.arena, this.outside, this.#beside ? all : []);
  }
}

function drop({ place, file }: Mapped): void {
  place.close();
  binding().close(file.fd);
}

/** Checked before anything is mapped. Throws BadRegion. */
function fileOf({ guest, user, bytes, fileOffset }: MemoryRegion, fd: number): RegionFile {
  if (bytes === 0n || [guest, user, fileOffset].some(at => at + bytes > 1n << 64n)) throw new BadRegion('has no bytes, or wraps around');
  if (fileOffset + bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new BadRegion('is larger than any file');
  const block = fileBlock(fd, Number(fileOffset + bytes));
  if (block === undefined) throw new BadRegion('is not all in its file');
  // A file in huge pages is mapped by whole ones.
  return { fd, offset: Number(fileOffset), bytes: Number(bytes), page: Math.max(block > 1 << 20 ? block : PAGE, PAGE) };
}

function overlap(a: bigint, aBytes: bigint, b: bigint, bBytes: bigint): boolean {
  return a < b + bBytes && b < a + aBytes;
}
