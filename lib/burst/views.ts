/**
 * The arena as the twins see it: one view for each width they use. `Arena` has these members too.
 *
 * An offset in the arena goes up to 2^32 - 65536, which is a heap number or a negative one to JavaScript's bit operators;
 * so an offset becomes an index by `>>>`, never by `>>` or `|`: `(ring + RING_SIZE) >>> 2` is right for either.
 */
export interface ArenaViews {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
}

export function viewsOf(buffer: ArrayBufferLike): ArenaViews {
  return { u8: new Uint8Array(buffer), u16: new Uint16Array(buffer), u32: new Uint32Array(buffer), u64: new BigUint64Array(buffer) };
}

/**
 * Adds to a u64 counter of one writer, as two halves: a BigInt would be born per burst, and a reader in another thread
 * is told that counters are read at some moment of the call.
 */
export function count64(u32: Uint32Array, at: number, by: number): void {
  const low = u32[at >>> 2] + by;
  u32[at >>> 2] = low;
  if (low > 0xffffffff) u32[(at + 4) >>> 2]++;
}

/** Adds to a u64 counter that any lcore may write. A BigInt is born, but seldom: these count what should not happen. */
export function countShared(u64: BigUint64Array, at: number, by: number): void {
  Atomics.add(u64, at / 8, BigInt(by));
}
