/** Copies of handle vectors and frames: short, so a loop of 16-byte moves beats a call of memory.copy. */

/** A burst of 32, what nearly everyone uses, goes without a loop: V8 looks at the stack's end in every turn of one. */
// @ts-ignore: decorator
@inline
export function copyHandles(to: usize, from: usize, count: u32): void {
  if (count == 32) {
    copy64(to, from);
    v128.store(to, v128.load(from, 64), 64);
    v128.store(to, v128.load(from, 80), 80);
    v128.store(to, v128.load(from, 96), 96);
    v128.store(to, v128.load(from, 112), 112);
  } else copySome(to, from, count);
}

/** The last one first. */
// @ts-ignore: decorator
@inline
export function copyReversed(to: usize, from: usize, count: u32): void {
  if (count == 32) {
    reverse64(to, from + 64);
    reverse64(to + 64, from);
  } else reverseSome(to, from, count);
}

function reverseSome(to: usize, from: usize, count: u32): void {
  let at = from + ((count as usize) << 2);
  while (at >= from + 16) {
    at -= 16;
    reverse16(to, at);
    to += 16;
  }
  while (at > from) {
    at -= 4;
    store<u32>(to, load<u32>(at));
    to += 4;
  }
}

// @ts-ignore: decorator
@inline
function reverse64(to: usize, from: usize): void {
  reverse16(to, from + 48);
  reverse16(to + 16, from + 32);
  reverse16(to + 32, from + 16);
  reverse16(to + 48, from);
}

// @ts-ignore: decorator
@inline
function reverse16(to: usize, from: usize): void {
  const four = v128.load(from);
  v128.store(to, v128.shuffle<i32>(four, four, 3, 2, 1, 0));
}

export function copySome(to: usize, from: usize, count: u32): void {
  const end = from + ((count as usize) << 2);
  while (from + 64 <= end) {
    copy64(to, from);
    from += 64;
    to += 64;
  }
  while (from + 16 <= end) {
    v128.store(to, v128.load(from));
    from += 16;
    to += 16;
  }
  while (from < end) {
    store<u32>(to, load<u32>(from));
    from += 4;
    to += 4;
  }
}

// @ts-ignore: decorator
@inline
function copy64(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
}

/**
 * Copies a frame: exactly `length` bytes, at any alignment. The last ones are moved once more where the length is no
 * multiple of 16, so nothing beside the frame is read or written. The short ones go without a loop.
 */
// @ts-ignore: decorator
@inline
export function copyFrame(to: usize, from: usize, length: u32): void {
  if (length - 32 > 32) {
    copyBytes(to, from, length);
    return;
  }
  const a = v128.load(from);
  const b = v128.load(from, 16);
  const c = v128.load(from + (length as usize) - 32);
  const d = v128.load(from + (length as usize) - 32, 16);
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to + (length as usize) - 32, c);
  v128.store(to + (length as usize) - 32, d, 16);
}

function copyBytes(to: usize, from: usize, length: u32): void {
  if (length < 16) {
    for (let i: u32 = 0; i < length; i++) store<u8>(to + (i as usize), load<u8>(from + (i as usize)));
    return;
  }
  const lastFrom = from + (length as usize) - 16;
  const lastTo = to + (length as usize) - 16;
  while (from + 64 <= lastFrom) {
    copy64(to, from);
    from += 64;
    to += 64;
  }
  while (from < lastFrom) {
    v128.store(to, v128.load(from));
    from += 16;
    to += 16;
  }
  v128.store(lastTo, v128.load(lastFrom));
}
