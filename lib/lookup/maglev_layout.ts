/**
 * A Maglev table in the arena: which backend a flow's hash leads to. Plain number constants: TypeScript and
 * AssemblyScript both read this file.
 *
 * Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Two tables stand
 * here: one in use, and one that the next set of backends is written to. A reader that finds `builds` changed when it is
 * done looks its hashes up again, so a call's answers are all of one set.
 */
export const MAGLEV_MAGIC = 0x56474d; // "MGV"
export const MAGLEV_KIND = 0;
/** u32: entries of a table, a prime. */
export const MAGLEV_SIZE = 4;
/** u32: offset of the table in use; 0 before the first build. */
export const MAGLEV_ACTIVE = 8;
/** u32: rises before a table is written to. */
export const MAGLEV_BUILDS = 12;
/** u32: the only lcore that may build, plus one; backends; entries that the last build changed. */
export const MAGLEV_WRITER = 16;
export const MAGLEV_BACKENDS = 20;
export const MAGLEV_CHANGED = 24;
/** u32 each: the first table, then the second. */
export const MAGLEV_TABLES = 64;

/** What a lookup says when there is no backend. */
export const MAGLEV_NONE = 0xffffffff;
/** How often a reader begins anew; its answers may then be of two sets. */
export const MAGLEV_RETRIES = 64;
