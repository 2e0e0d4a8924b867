/**
 * Loads and stores of data that one thread writes while others read, which are made in the order in which they stand
 * here. x86 keeps loads in their order and stores in theirs (see publish.ts), so there they are plain; elsewhere they
 * are atomic. (A fence would do, but asc 0.28 makes one that its own validator refuses.)
 */

// @ts-ignore: decorator
@inline
export function loadInOrder(at: usize): u32 {
  return X86_STORE_ORDER ? load<u32>(at) : atomic.load<u32>(at);
}

// @ts-ignore: decorator
@inline
export function loadInOrder64(at: usize): u64 {
  return X86_STORE_ORDER ? load<u64>(at) : atomic.load<u64>(at);
}

// @ts-ignore: decorator
@inline
export function storeInOrder(at: usize, value: u32): void {
  if (X86_STORE_ORDER) store<u32>(at, value);
  else atomic.store<u32>(at, value);
}

/** A byte that publishes what was written before it. */
// @ts-ignore: decorator
@inline
export function publish8(at: usize, value: u32): void {
  if (X86_STORE_ORDER) {
    atomic.load<u8>(at);
    store<u8>(at, value as u8);
  } else atomic.store<u8>(at, value as u8);
}
