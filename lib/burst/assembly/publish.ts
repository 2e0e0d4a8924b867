/**
 * The store that publishes: who sees it sees all that this thread wrote before (a release).
 *
 * WebAssembly's atomic stores are sequentially consistent, which x86 does by an exchange that waits until every earlier
 * store has left the core: about as much as the rest of a burst of 32 through a ring. Nothing here needs the order of
 * a store and a later load that it buys; and x86 keeps stores in their order by itself (Intel SDM volume 3A, "Memory
 * Ordering in P6 and More Recent Processor Families"; AMD APM volume 2, 7.2). So the build for x86-64 stores plainly, behind an atomic load: that costs
 * nothing there where this core has the line, and no compiler moves a store across it. arm64's release store is cheap, and needed.
 */

// @ts-ignore: decorator
@inline
export function publish(at: usize, value: u32): void {
  if (X86_STORE_ORDER) {
    atomic.load<u32>(at);
    store<u32>(at, value);
  } else atomic.store<u32>(at, value);
}

/** The same for an index with its claim. */
// @ts-ignore: decorator
@inline
export function publish64(at: usize, value: u64): void {
  if (X86_STORE_ORDER) {
    atomic.load<u64>(at);
    store<u64>(at, value);
  } else atomic.store<u64>(at, value);
}

/** The same for a virtqueue's index. */
// @ts-ignore: decorator
@inline
export function publish16(at: usize, value: u32): void {
  if (X86_STORE_ORDER) {
    atomic.load<u16>(at);
    store<u16>(at, value as u16);
  } else atomic.store<u16>(at, value as u16);
}
