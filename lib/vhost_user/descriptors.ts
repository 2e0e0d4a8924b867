/** Descriptors that a stranger sent: what they are, before they are used. */
import { fstatSync, readlinkSync } from 'node:fs';
import { binding } from '../binding.js';

/** asm-generic/ioctls.h */
const FIONBIO = 0x5421;

/** An eventfd, and one that does not make its writer wait, unless its other owner changes that; anything else could. */
export function isEventfd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]' && binding().ioctl(fd, FIONBIO, Uint8Array.of(1, 0, 0, 0)) >= 0;
  } catch {
    return false;
  }
}

/** Another descriptor of the same file, whose close is the caller's. */
export function duplicate(fd: number): number {
  const made = binding().eventfd(0, 0);
  binding().replace(made, fd);
  return made;
}

/** A regular file that has this many bytes, and its block: pages of such a file are at least so large (2 MiB in hugetlbfs). Undefined for what is none, or is shorter. */
export function fileBlock(fd: number, bytes: number): number | undefined {
  try {
    const stat = fstatSync(fd);
    return stat.isFile() && stat.size >= bytes ? stat.blksize : undefined;
  } catch {
    return undefined;
  }
}
