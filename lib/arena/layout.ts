/**
 * Where things stand in every arena. Plain number constants: the TypeScript and the AssemblyScript compiler both read
 * this file. Offsets and lengths are in bytes.
 *
 *     0x00000   64 KiB  never used: offset 0 is null, and it is the page that AssemblyScript calls its own
 *     0x10000    4 KiB  the header
 *     0x11000  128 KiB  the directory of memzones
 *     0x31000  size/32  the mbuf header table: 64 bytes for each 2048 bytes of arena
 *     then              the heap that memzones are reserved from
 */

/** The smallest page of every machine this runs on (x86-64; arm64 kernels with larger ones are refused by the mmap calls). */
export const PAGE = 4096;
export const WASM_PAGE = 65536;
/** 4 GiB less one page: with the last page too, a byte length would no longer fit in 32 bits. */
export const MAX_PAGES = 65535;
export const ARENA_HEADER = 0x10000;
export const ARENA_MAGIC = 0x414d4c50; // "PLMA"
export const ARENA_VERSION = 1;

// Fields of the header, from ARENA_HEADER.
export const HEADER_MAGIC = 0;
export const HEADER_VERSION = 4;
/** Size of the arena in WebAssembly pages of 64 KiB (a byte size of 2^32 - 65536 still fits in 32 bits; pages are clearer). */
export const HEADER_PAGES = 8;
/** Offset of the mbuf header table, and of the first byte after it, where the heap starts. */
export const HEADER_TABLE = 12;
export const HEADER_HEAP = 16;
/** Process that created the arena. */
export const HEADER_PID = 20;
/** Who is changing the directory: a lock word (arena/lock.ts). */
export const HEADER_LOCK = 24;
/** How many pages a SIGBUS made the guard replace, over all overlays. */
export const HEADER_SIGBUS = 28;
/** 0, or the lcore id + 1 of the one who asks all others to rest between two bursts (lcore/rest.ts). */
export const HEADER_PAUSE = 32;
/** How many reservations there have been: each one's serial number. */
export const HEADER_SERIAL = 36;
/** The first byte that was never reserved: from here on all is zero, and no page costs memory yet. */
export const HEADER_HIGH = 40;
/** Who is bringing back what dead lcores held: a lock word. */
export const HEADER_RECLAIM = 44;
/** 1 while a search for buffers that died on their way is owed, because somebody could not be brought to rest for it. */
export const HEADER_SEARCH = 48;

// The lcore table: one entry for each thread that is attached to the arena.
export const LCORE_MAX = 64;
export const LCORE_TABLE = 0x10000 + 1024;
export const LCORE_STRIDE = 32;
/** The process that holds the id; 0 for a free one. This word is the claim, so it is taken first and given up last. */
export const LCORE_PID = 0;
/** The kernel's number of the thread; 0 while the claim is being filled in, and where the kernel does not tell it. */
export const LCORE_TID = 4;
/** When the thread started, in clock ticks since boot: a number that was used again is not taken for the same thread. */
export const LCORE_STARTED = 8;
/** Node's own number of the thread, `threadId`, which the one who started the worker knows. */
export const LCORE_WORKER = 12;
/** What it is doing, one of REST_*: see lcore/rest.ts. */
export const LCORE_REST = 16;

/** Not said: a thread that polls by itself. Nobody can know when it is between two bursts. */
export const REST_UNKNOWN = 0;
/** It may be in the middle of a burst. */
export const REST_ACTIVE = 1;
/** It is between two bursts, and asks before it goes on. */
export const REST_RESTING = 2;
export type Rest = 0 | 1 | 2;

export const DIRECTORY = 0x11000;
export const DIRECTORY_ENTRIES = 1024;
export const ENTRY_SIZE = 128;

// Fields of a directory entry.
/** UTF-8, padded with NUL; at most 63 bytes. */
export const ENTRY_NAME = 0;
export const ENTRY_NAME_MAX = 63;
export const ENTRY_OFFSET = 64;
export const ENTRY_LENGTH = 68;
/** What stands in it: a `ZoneType`. 0 is a free entry; written last, so that a reader sees whole entries. */
export const ENTRY_TYPE = 72;
/** What is behind it: a `Backing`. */
export const ENTRY_BACKING = 76;
/** The memfd behind it, in process ENTRY_PID. */
export const ENTRY_FD = 80;
/** The process that mapped it: an overlay is valid there only. */
export const ENTRY_PID = 84;
export const ENTRY_ALIGN = 88;
/** Which reservation of the arena it is; written first, so that a reader notices when an entry changes under it. */
export const ENTRY_SERIAL = 92;
/** The lcore that reserved it. */
export const ENTRY_LCORE = 96;

export const ZONE_FREE = 0;
export const ZONE_RAW = 1;
export const ZONE_RING = 2;
export const ZONE_POOL = 3;
export const ZONE_BUFFERS = 4;
export const ZONE_QUEUE = 5;
export const ZONE_BURST = 6;
export const ZONE_OVERLAY = 7;
export const ZONE_RSS = 8;
export const ZONE_STEER = 9;
export const ZONE_RETA = 10;
export const ZONE_HASH = 20;
export const ZONE_LPM = 21;
export const ZONE_ACL = 22;
export const ZONE_MAGLEV = 23;
export const ZONE_QDISC = 24;
export const ZONE_FLOW = 25;
export const ZONE_SWITCH = 26;
export const ZONE_ADJACENCY = 27;
/** Added to the type while the memory behind the zone is being made: the range is taken, and nobody finds it yet. */
export const ZONE_PENDING = 0x100;

export const BACKING_HEAP = 0;
export const BACKING_MEMFD = 1;
export const BACKING_HUGE = 2;
export const BACKING_OVERLAY = 3;
