/** A guest's memory in the arena: each region an overlay of the file that the front-end sent, guarded, and a table that the burst functions translate with. */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { PollmodeError } from '../../../errors.js';
import { writeMemory } from '../../../virtqueue/device.js';
import { MEMORY_BYTES } from '../../../virtqueue/layout.js';
import { fileBlock } from '../../../vhost_user/descriptors.js';
import type { MemoryRegion } from '../../../vhost_user/messages.js';
import type { PortHost } from '../../port.js';

interface Mapped extends MemoryRegion {
  readonly zone: Memzone;
  /** Where its first byte is in the arena. */
  readonly offset: number;
}

/** Beyond a port's room: what whole pages take around a few regions of a file in huge ones. */
export const ROUNDING = 16 << 20;

/** What can be wrong with a region, for the front-end's log and ours. */
export class BadRegion extends Error {}

export class GuestMemory {
  /** Offset of the table. */
  readonly table: number;
  readonly #host: PortHost;
  readonly #zone: Memzone;
  readonly #room: number;
  #regions: Mapped[] = [];
  #made = 0;

  /** @param room bytes of the arena that the guest may fill; other ports have theirs there */
  constructor(host: PortHost, room: number) {
    this.#host = host;
    this.#room = room;
    this.#zone = host.arena.reserve(`port/${host.number}/vhost/memory`, MEMORY_BYTES, { align: 64 });
    this.table = this.#zone.offset;
  }

  get regions(): number {
    return this.#regions.length;
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
    this.#regions.push(this.#map(region, fd));
    this.#write();
  }

  /** Returns false when there is none like it. */
  remove({ guest, user, bytes }: MemoryRegion): boolean {
    const found = this.#regions.find(each => each.guest === guest && each.user === user && each.bytes === bytes);
    if (found === undefined) return false;
    this.#regions = this.#regions.filter(each => each !== found);
    this.#write();
    this.#host.arena.release(found.zone);
    return true;
  }

  clear(): void {
    const gone = this.#regions;
    this.#regions = [];
    this.#write();
    for (const { zone } of gone) this.#host.arena.release(zone);
  }

  close(): void {
    this.clear();
    this.#host.arena.release(this.#zone);
  }

  /** The arena's offset of `bytes` at an address of the front-end's process; undefined when they are not all in one region, or not aligned. */
  translate(user: bigint, bytes: number, align: number): number | undefined {
    const region = this.#regions.find(each => user >= each.user && user - each.user + BigInt(bytes) <= each.bytes);
    if (region === undefined) return undefined;
    const offset = region.offset + Number(user - region.user);
    return offset % align === 0 ? offset : undefined;
  }

  #map(region: MemoryRegion, fd: number): Mapped {
    const { guest, user, bytes, fileOffset } = region;
    if (bytes === 0n || [guest, user, fileOffset].some(at => at + bytes > 1n << 64n)) throw new BadRegion('has no bytes, or wraps around');
    if (fileOffset + bytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new BadRegion('is larger than any file');
    const block = fileBlock(fd, Number(fileOffset + bytes));
    if (block === undefined) throw new BadRegion('is not all in its file');
    // A file in huge pages is mapped by whole ones.
    const align = Math.max(block > 1 << 20 ? block : PAGE, PAGE);
    const start = Number(fileOffset) - Number(fileOffset) % align;
    const skip = Number(fileOffset) - start;
    const length = Math.ceil((skip + Number(bytes)) / align) * align;
    const taken = this.#regions.reduce((sum, each) => sum + each.zone.length, 0);
    if (taken + length > this.#room + ROUNDING) throw new BadRegion(`is more than the ${this.#room >> 20} MiB that guest_memory= leaves it`);
    const zone = this.#overlay(length, fd, start, align);
    return { ...region, zone, offset: zone.offset + skip };
  }

  #overlay(length: number, fd: number, fdOffset: number, align: number): Memzone {
    const name = `port/${this.#host.number}/vhost/guest/${this.#made++}`;
    try {
      return this.#host.arena.overlay(name, length, fd, { fdOffset, guard: true, align });
    } catch (cause) {
      if (cause instanceof PollmodeError) throw new BadRegion(cause.message, { cause });
      throw cause;
    }
  }

  #write(): void {
    writeMemory(this.#host.arena, this.table, this.#regions.map(({ guest, bytes, offset }) => ({ start: guest, bytes: Number(bytes), offset })));
  }
}

function overlap(a: bigint, aBytes: bigint, b: bigint, bBytes: bigint): boolean {
  return a < b + bBytes && b < a + aBytes;
}
