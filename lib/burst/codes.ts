/** Numbers that pass between the burst module and its caller. Read by the TypeScript and the AssemblyScript compiler. */

// Where a test can make a party die (checking build only).
/** Between the claim of a ring's side and the first slot. */
export const DEATH_AFTER_CLAIM = 1;
/** After the last slot, before the index is published. */
export const DEATH_BEFORE_PUBLISH = 2;
/** After an mbuf has changed hands, in the middle of a burst. */
export const DEATH_MID_BURST = 3;
/** The index is published, and what follows from it is not written yet. */
export const DEATH_AFTER_PUBLISH = 4;

// What the checking build reports.
/** Freed while it was in its pool already. */
export const MISUSE_DOUBLE_FREE = 1;
/** Freed, sent or enqueued while a port or a ring held it. */
export const MISUSE_NOT_OWNED = 2;
/** No mbuf of this pool. */
export const MISUSE_FOREIGN = 3;
