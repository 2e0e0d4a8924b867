import { closeSync, fstatSync, openSync, readlinkSync } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { Memzone } from './directory.js';
import { BACKING_HEAP, BACKING_HUGE, BACKING_MEMFD } from './layout.js';
import { fileName, openOf } from './processes.js';
import type { Range } from './space.js';
import type { WasmMemory } from './webassembly.js';

export type HugePages = 'never' | 'try' | 'must';
export const HUGE_PAGE = 2 << 20;

// linux/memfd.h, asm-generic/mman-common.h
const MFD_HUGETLB_2MB = 0x4 | (21 << 26);
const MAP_SHARED = 0x1;
const MAP_POPULATE = 0x8000;
const MADV_HUGEPAGE = 14;

/** How the name of a zone's own memfd begins. */
const ZONE_FILE = 'pollmode-zone:';

/**
 * How far the arena's first byte is past a multiple of `align`: an offset is aligned in memory when (offset + skew) is
 * one, since V8 aligns a memory to its page of 4 KiB only.
 */
export function baseSkew(u8: Uint8Array, align: number): number {
  return Number(binding().address(u8) % BigInt(align));
}

/**
 * Puts one memfd behind the whole of a new memory. Returns its descriptor, which the arena has to close. Descriptors of
 * arenas are opened and closed by node:fs, which closes those of a worker that ends without a `close`.
 */
export function shareWhole(memory: WasmMemory, name: string): number {
  if (!/^[\w.-]{1,64}$/.test(name)) {
    throw new PollmodeError('EOPTION', `"${String(name).slice(0, 100)}" is no arena name: use 1 to 64 letters, digits, dots, dashes and underscores.`);
  }
  const fd = kernel('memfd_create', binding().memfd(fileName(name), memory.buffer.byteLength, 0));
  try {
    mapWhole(memory, fd);
    return openSync(`/proc/self/fd/${fd}`, 'r+');
  } finally {
    binding().close(fd);
  }
}

export function mapWhole(memory: WasmMemory, fd: number): void {
  const u8 = new Uint8Array(memory.buffer);
  mapFile(u8, { offset: 0, length: u8.length }, fd, 0, 0);
}

/** A descriptor of one's own for the file that another thread of this process has open. */
export function reopen(fd: number, inode: number): number {
  let own = -1;
  try {
    own = openSync(`/proc/self/fd/${fd}`, 'r+');
    if (fstatSync(own).ino === inode) return own;
  } catch {
    // the number means nothing any more
  }
  if (own >= 0) closeSync(own);
  throw new PollmodeError('ECLOSED', 'The arena was closed by the thread that shared it: keep it open there until this thread has attached.');
}

/** Makes the file that was asked for and maps it over a zone that is reserved. `never` and not `own` is no question for here. */
export function makeFile(u8: Uint8Array, zone: Memzone, own: boolean, huge: HugePages): { backing: number; fd: number } {
  if (huge !== 'never') {
    const fd = zoneFile(u8, zone, MFD_HUGETLB_2MB, MAP_POPULATE);
    if (fd >= 0) return { backing: BACKING_HUGE, fd };
    if (huge === 'must') {
      const pages = zone.length / HUGE_PAGE;
      throw new PollmodeError('ESYSCALL', `No ${pages} free huge pages of 2 MiB for "${zone.name}": as root, echo ${pages} > /proc/sys/vm/nr_hugepages, or ask for hugePages: 'try'.`, { syscall: 'mmap', errno: -fd });
    }
  }
  if (own) return { backing: BACKING_MEMFD, fd: kernel('memfd_create or mmap', zoneFile(u8, zone, 0, 0)) };
  // Transparent huge pages are a wish: the kernel grants them when it can, at the first touch.
  binding().advise(u8, zone.offset, zone.length, MADV_HUGEPAGE);
  u8.fill(0, zone.offset, zone.offset + zone.length);
  return { backing: BACKING_HEAP, fd: -1 };
}

/** hugetlbfs pages are populated now, so that a shortage shows here and not as a SIGBUS later. Returns the descriptor or -errno. */
function zoneFile(u8: Uint8Array, zone: Memzone, memfdFlags: number, mapFlags: number): number {
  const fd = binding().memfd(`${ZONE_FILE}${zone.name}`, zone.length, memfdFlags);
  if (fd < 0) return fd;
  const mapped = binding().overlay(u8, zone.offset, zone.length, fd, 0, MAP_SHARED | mapFlags);
  if (mapped >= 0) return fd;
  closeZoneFile(fd);
  return mapped;
}

/** A zone's file outlives the worker that made it, so node:fs has no part in it. */
export function closeZoneFile(fd: number): void {
  binding().close(fd);
}

/** The file that another process put behind a zone, opened through /proc. Throws ERIGHTS, ENOTFOUND. */
export function openZoneFile(zone: Memzone): number {
  const path = `/proc/${zone.pid}/fd/${zone.fd}`;
  const fd = openOf(zone.pid, path);
  const isIt = readlinkSync(`/proc/self/fd/${fd}`).startsWith(`/memfd:${ZONE_FILE}`) && fstatSync(fd).size === zone.length;
  if (isIt) return fd;
  closeSync(fd);
  throw new PollmodeError('ENOTFOUND', `The file behind memzone "${zone.name}" is not there any more: process ${zone.pid} closed it; look the zone up while that process has the arena open.`);
}

export function mapFile(u8: Uint8Array, { offset, length }: Range, fd: number, fdOffset: number, flags: number): void {
  kernel('mmap', binding().overlay(u8, offset, length, fd, fdOffset, MAP_SHARED | flags));
}

export function guardRange(u8: Uint8Array, { offset, length }: Range, flag: number): void {
  kernel('guard', binding().guard(u8, offset, length, flag));
}

/** Plain pages again over whole pages that had something else behind them; the arena's own file, where it has one. */
export function restorePages(u8: Uint8Array, { offset, length }: Range, arenaFd: number): void {
  kernel('mmap', binding().restore(u8, offset, length));
  if (arenaFd >= 0) mapFile(u8, { offset, length }, arenaFd, offset, 0);
}

function kernel(syscall: string, result: number): number {
  if (result >= 0) return result;
  throw new PollmodeError('ESYSCALL', `${syscall} of the arena's memory was refused (errno ${-result}): check memory limits (ulimit -v, cgroup memory.max) and free memory.`, { syscall, errno: -result });
}
