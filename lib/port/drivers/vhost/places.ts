/**
 * Where a region of a guest's memory is in this process: over the arena, where burst functions reach it, or beside the
 * arena, when there is no room, and then only windows of it, the rings, are over the arena.
 */
import type { Memzone } from '../../../arena/directory.js';
import { ARENA_HEADER, HEADER_SIGBUS, PAGE } from '../../../arena/layout.js';
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { check } from '../../../kernel/errno.js';
import type { PortHost } from '../../port.js';

/** A piece of the arena, for as long as somebody works in it. */
export interface Piece { readonly offset: number; close(): void }

/** A region's file, its first byte in it, and what whole pages of it are. */
export interface RegionFile { readonly fd: number; readonly offset: number; readonly bytes: number; readonly page: number }

export interface RegionPlace {
  /** Offset of its first byte in the arena; undefined: beside it. */
  readonly offset: number | undefined;
  /** Address of its first byte beside the arena; 0n: over it. */
  readonly address: bigint;
  /** `bytes` of it from byte `at` on. Throws EARENAFULL, ESYSCALL. */
  window(at: number, bytes: number): Piece;
  close(): void;
}

let made = 0;

/** What of the arena one port's guest may fill, with its memory, windows and copies: other ports have theirs there. */
export class Room {
  readonly host: PortHost;
  readonly #bytes: number;
  #taken = 0;

  constructor(host: PortHost, bytes: number) {
    this.host = host;
    this.#bytes = bytes;
  }

  /** Throws EARENAFULL, and what `make` throws. */
  take(bytes: number, make: (name: (what: string) => string) => Memzone): Piece {
    if (this.#taken + bytes > this.#bytes) {
      throw new PollmodeError('EARENAFULL', `The guest has ${this.#taken} bytes of the arena and wants ${bytes} more, of ${this.#bytes} that its port may fill: give it more with guest_memory=.`);
    }
    const zone = make(what => `port/${this.host.number}/vhost/${what}/${made++}`);
    this.#taken += bytes;
    return {
      offset: zone.offset,
      close: () => {
        this.host.arena.release(zone);
        this.#taken -= bytes;
      },
    };
  }
}

/** Throws EARENAFULL, ESYSCALL. The descriptor stays the caller's, who keeps it open. */
export function placeInside(room: Room, file: RegionFile): RegionPlace {
  const { offset, close } = overlay(room, 'guest', file, 0, file.bytes);
  return { offset, address: 0n, window: at => ({ offset: offset + at, close: () => undefined }), close };
}

/** Likewise; `room` is for its windows. */
export function placeBeside(room: Room, file: RegionFile): RegionPlace {
  const { start, skip, length } = pages(file, 0, file.bytes);
  const mapped = binding().mapBeside(room.host.arena.u8, file.fd, start, length, ARENA_HEADER + HEADER_SIGBUS);
  if (typeof mapped === 'number') check(mapped, 'mmap', 'The guest\'s memory cannot be mapped: it says why.');
  const address = mapped as bigint;
  return {
    offset: undefined, address: address + BigInt(skip),
    window: (at, bytes) => overlay(room, 'window', file, at, bytes),
    close: () => { binding().unmapBeside(address); },
  };
}

/** Bytes of a file over the arena, in whole pages. */
function overlay(room: Room, what: string, file: RegionFile, at: number, bytes: number): Piece {
  const { start, skip, length } = pages(file, at, bytes);
  const { offset, close } = room.take(length, name => room.host.arena.overlay(name(what), length, file.fd, { fdOffset: start, guard: true, align: file.page }));
  return { offset: offset + skip, close };
}

/** The whole pages around bytes of a region: where they begin in the file, and how far into them the bytes do. */
function pages({ offset, page }: RegionFile, at: number, bytes: number): { start: number; skip: number; length: number } {
  const align = Math.max(page, PAGE);
  const first = offset + at;
  const start = first - first % align;
  return { start, skip: first - start, length: Math.ceil((first - start + bytes) / align) * align };
}
