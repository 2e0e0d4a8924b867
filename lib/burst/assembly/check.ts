/**
 * The checking build. `ASC_NO_ASSERT` is known when compiling, so that in the fast build each of these is nothing at
 * all, the imports included; asc makes the checking build from the same sources with assertions on.
 */

/** A test's hook: throws to kill the caller at a named point. */
// @ts-ignore: decorator
@external("pollmode", "fault")
declare function hookFault(point: u32): void;

/** Reports a misuse: a code of FAULT_*, the handle, and the owner word that was found. */
// @ts-ignore: decorator
@external("pollmode", "misuse")
declare function hookMisuse(code: u32, handle: u32, owner: u32): void;

/** A party dies here, if a test says so. */
// @ts-ignore: decorator
@inline
export function deathPoint(point: u32): void {
  if (!ASC_NO_ASSERT) hookFault(point);
}

// @ts-ignore: decorator
@inline
export function misuse(code: u32, handle: u32, owner: u32): void {
  if (!ASC_NO_ASSERT) hookMisuse(code, handle, owner);
}
