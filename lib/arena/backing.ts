import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { Memzone } from './directory.js';
import { BACKING_HEAP, BACKING_HUGE, BACKING_MEMFD } from './layout.js';
import type { WasmMemory } from './webassembly.js';

export type HugePages = 'never' | 'try' | 'must';
export const HUGE_PAGE = 2 << 20;

// linux/memfd.h, asm-generic/mman-common.h
const MFD_HUGETLB_2MB = 0x4 | (21 << 26);
const MAP_SHARED = 0x1;
const MAP_POPULATE = 0x8000;
const MADV_HUGEPAGE = 14;

/** A memfd's name by which another process finds a named arena: see `attachProcess`. */
export function fileName(name: string): string {
  return `pollmode:${name}`;
}

/**
 * How far the arena's first byte is past a 2 MiB boundary: an offset is aligned in memory when (offset + skew) is a
 * multiple of 2 MiB, since V8 aligns a memory to its page of 4 KiB only.
 */
export function hugeSkew(u8: Uint8Array): number {
  return Number(binding().address(u8) % BigInt(HUGE_PAGE));
}

/** Puts one memfd behind the whole of a new memory. Returns its descriptor, which stays open as long as the process. */
export function shareWhole(memory: WasmMemory, name: string): number {
  if (!/^[\w.-]{1,64}$/.test(name)) {
    throw new PollmodeError('EOPTION', `"${name}" is no arena name: use 1 to 64 letters, digits, dots, dashes and underscores.`);
  }
  const fd = kernel('memfd_create', binding().memfd(fileName(name), memory.buffer.byteLength, 0));
  mapWhole(memory, fd);
  return fd;
}

export function mapWhole(memory: WasmMemory, fd: number): void {
  const u8 = new Uint8Array(memory.buffer);
  kernel('mmap', binding().overlay(u8, 0, u8.length, fd, 0, MAP_SHARED));
}

/** Puts what was asked for behind a zone that is reserved already. */
export function zoneFile(u8: Uint8Array, zone: Memzone, own: boolean, huge: HugePages): { backing: number; fd: number } {
  if (huge !== 'never') {
    const fd = hugeFile(u8, zone);
    if (fd >= 0) return { backing: BACKING_HUGE, fd };
    if (huge === 'must') {
      throw new PollmodeError('ESYSCALL', `No ${zone.length / HUGE_PAGE} free huge pages of 2 MiB for "${zone.name}": as root, echo ${zone.length / HUGE_PAGE} > /proc/sys/vm/nr_hugepages, or ask for hugePages: 'try'.`, { syscall: 'mmap', errno: -fd });
    }
  }
  if (own) {
    const fd = kernel('memfd_create', binding().memfd(`pollmode-zone:${zone.name}`, zone.length, 0));
    kernel('mmap', binding().overlay(u8, zone.offset, zone.length, fd, 0, MAP_SHARED));
    return { backing: BACKING_MEMFD, fd };
  }
  // Transparent huge pages are a wish: the kernel grants them when it can.
  binding().advise(u8, zone.offset, zone.length, MADV_HUGEPAGE);
  u8.fill(0, zone.offset, zone.offset + zone.length);
  return { backing: BACKING_HEAP, fd: -1 };
}

/** hugetlbfs pages, populated now so that a shortage shows here and not as a SIGBUS later; -errno when there are none. */
function hugeFile(u8: Uint8Array, zone: Memzone): number {
  const fd = binding().memfd(`pollmode-zone:${zone.name}`, zone.length, MFD_HUGETLB_2MB);
  if (fd < 0) return fd;
  const mapped = binding().overlay(u8, zone.offset, zone.length, fd, 0, MAP_SHARED | MAP_POPULATE);
  if (mapped >= 0) return fd;
  binding().close(fd);
  return mapped;
}

export function overlayFile(u8: Uint8Array, zone: Memzone, fd: number, fdOffset: number, flags: number, guardFlag: number): void {
  kernel('mmap', binding().overlay(u8, zone.offset, zone.length, fd, fdOffset, MAP_SHARED | flags));
  if (guardFlag !== 0) kernel('guard', binding().guard(u8, zone.offset, zone.length, guardFlag));
}

/** Plain pages again over a zone that had something else behind it, and its file closed; the arena's own file, where it has one. */
export function restorePages(u8: Uint8Array, zone: Memzone, fd: number, arenaFd: number): void {
  kernel('mmap', binding().restore(u8, zone.offset, zone.length));
  if (arenaFd >= 0) kernel('mmap', binding().overlay(u8, zone.offset, zone.length, arenaFd, zone.offset, MAP_SHARED));
  if (fd >= 0) binding().close(fd);
}

function kernel(syscall: string, result: number): number {
  if (result >= 0) return result;
  throw new PollmodeError('ESYSCALL', `${syscall} of the arena's memory was refused (errno ${-result}): check memory limits (ulimit -v, cgroup memory.max) and free memory.`, { syscall, errno: -result });
}
