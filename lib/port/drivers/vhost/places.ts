/**
 * Where a region of a guest's memory is in this process: over the arena, where burst functions reach it, or beside the
 * arena, when there is no room, and then only windows of it, the rings, are over the arena.
 */
import type { Memzone } from '../../../arena/directory.js';
import { ARENA_HEADER, HEADER_SIGBUS, PAGE } from '../../../arena/layout.js';
import { binding } from '../../../binding.js';
import { check } from '../../../kernel/errno.js';
import type { PortHost } from '../../port.js';

/** A piece of memory over the arena, for as long as a ring is in it. */
export interface Window { readonly offset: number; close(): void }

/** A region's file, its first byte in it, and what whole pages of it are. */
export interface RegionFile { readonly fd: number; readonly offset: number; readonly bytes: number; readonly page: number }

export interface RegionPlace {
  /** Offset of its first byte in the arena; undefined: beside it. */
  readonly offset: number | undefined;
  /** Address of its first byte beside the arena; 0n: over it. */
  readonly address: bigint;
  /** `bytes` of it from byte `at` on. Throws EARENAFULL, ESYSCALL. */
  window(at: number, bytes: number): Window;
  close(): void;
}

let made = 0;

/** Throws EARENAFULL, ESYSCALL. The descriptor stays the caller's, who keeps it open. */
export function placeInside(host: PortHost, file: RegionFile): RegionPlace {
  const { zone, skip } = overlay(host, 'guest', file, 0, file.bytes);
  const offset = zone.offset + skip;
  return { offset, address: 0n, window: at => ({ offset: offset + at, close: () => undefined }), close: () => host.arena.release(zone) };
}

/** Likewise. */
export function placeBeside(host: PortHost, file: RegionFile): RegionPlace {
  const { start, skip, length } = pages(file, 0, file.bytes);
  const mapped = binding().mapBeside(host.arena.u8, file.fd, start, length, ARENA_HEADER + HEADER_SIGBUS);
  if (typeof mapped === 'number') check(mapped, 'mmap', 'The guest\'s memory cannot be mapped: it says why.');
  const address = mapped as bigint;
  return {
    offset: undefined, address: address + BigInt(skip),
    window(at, bytes) {
      const window = overlay(host, 'window', file, at, bytes);
      return { offset: window.zone.offset + window.skip, close: () => host.arena.release(window.zone) };
    },
    close: () => { binding().unmapBeside(address); },
  };
}

function overlay(host: PortHost, what: string, file: RegionFile, at: number, bytes: number): { zone: Memzone; skip: number } {
  const { start, skip, length } = pages(file, at, bytes);
  return { zone: host.arena.overlay(`port/${host.number}/vhost/${what}/${made++}`, length, file.fd, { fdOffset: start, guard: true, align: file.page }), skip };
}

/** The whole pages around bytes of a region: where they begin in the file, and how far into them the bytes do. */
function pages({ offset, page }: RegionFile, at: number, bytes: number): { start: number; skip: number; length: number } {
  const align = Math.max(page, PAGE);
  const first = offset + at;
  const start = first - first % align;
  return { start, skip: first - start, length: Math.ceil((first - start + bytes) / align) * align };
}
