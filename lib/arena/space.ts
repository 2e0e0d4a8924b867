/** Finding room in the arena: zones are ranges, and what lies between them is free. Offsets up to 2^32 are exact in a double. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Lowest offset where (offset + skew) is aligned and `length` bytes are free; -1 for none. */
export function firstGap(zones: readonly Range[], heap: number, end: number, length: number, align: number, skew: number): number {
  for (const gap of gaps(zones, heap, end)) {
    const at = alignUp(gap.offset, align, skew);
    if (at + length <= gap.offset + gap.length) return at;
  }
  return -1;
}

export function freeSpace(zones: readonly Range[], heap: number, end: number): { free: number; largest: number } {
  const lengths = gaps(zones, heap, end).map(({ length }) => length);
  return { free: lengths.reduce((sum, length) => sum + length, 0), largest: Math.max(0, ...lengths) };
}

export function alignUp(offset: number, align: number, skew: number): number {
  return Math.ceil((offset + skew) / align) * align - skew;
}

/** Neighbours that are both free are one gap, since only what is taken is written down. */
function gaps(zones: readonly Range[], heap: number, end: number): Range[] {
  const found: Range[] = [];
  let at = heap;
  for (const zone of [...zones].sort((a, b) => a.offset - b.offset)) {
    if (zone.offset > at) found.push({ offset: at, length: zone.offset - at });
    at = Math.max(at, zone.offset + zone.length);
  }
  if (end > at) found.push({ offset: at, length: end - at });
  return found;
}
