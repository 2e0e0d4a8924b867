/** What the kernel says stands behind an arena, from /proc/self/maps (proc(5)). */
import { readFileSync } from 'node:fs';
import type { Arena } from '../../lib/arena/arena.js';
import { binding } from '../../lib/binding.js';

export interface Mapped {
  /** Offsets in the arena. */
  readonly start: number;
  readonly end: number;
  /** 'rw-s' or 'rw-p'. */
  readonly rights: string;
  /** The file, without the " (deleted)" of a memfd; empty for anonymous pages. */
  readonly file: string;
}

/** The mappings inside the arena, in order. Neighbours of the same kind may be one; a hole is where one does not begin at the end of the one before. */
export function mapsOf(arena: Arena): Mapped[] {
  const base = binding().address(arena.u8);
  return readFileSync('/proc/self/maps', 'utf8').trim().split('\n').flatMap(line => {
    const [, start, end, rights, file] = /^(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line)!;
    const at = (address: string): number => Math.min(Math.max(Number(BigInt(`0x${address}`) - base), 0), arena.size);
    const mapped = { start: at(start!), end: at(end!), rights: rights!, file: file!.replace(' (deleted)', '') };
    return mapped.end > mapped.start ? [mapped] : [];
  });
}

/** Every byte of the arena can be read and written, and lies in one mapping. */
export function hasNoHole(maps: readonly Mapped[], size: number): boolean {
  return maps[0]?.start === 0 && maps.at(-1)!.end === size && maps.every(({ rights, start }, i) => rights.startsWith('rw') && (i === 0 || start === maps[i - 1]!.end));
}
