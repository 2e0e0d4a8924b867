import type { HugePages } from './backing.js';
import type { WasmMemory } from './webassembly.js';

export interface ArenaOptions {
  /** Bytes, 16 MiB to 4 GiB - 64 KiB, rounded up to 64 KiB. Default 256 MiB. Fixed for life: growable memory is several times slower. */
  readonly size?: number;
  /**
   * Makes it one that another process of this user can attach to by this name (`attachProcess`): its memory is then a
   * memfd, which goes with the last process that holds it. Default: private to this process.
   */
  readonly name?: string;
}

/** What a worker thread is handed (`workerData` or `postMessage`) so that it can attach. */
export interface ArenaShare {
  readonly memory: WasmMemory;
  /** The memfd behind a named arena, a number of this process that is good while the sharing arena is open; -1 for none. */
  readonly fd: number;
  /** Its inode number, by which a number that means another file by now is found out. */
  readonly inode: number;
}

export interface ReserveOptions {
  /** Bytes, a power of two; default 64, a cache line. Of the offset; with huge pages, of the address in memory. */
  readonly align?: number;
  /** What it holds, one of the ZONE_* of the layout; for whoever looks in. */
  readonly type?: number;
  /**
   * `own` gives the zone a memfd of its own, so that it alone can be shared with a device, a guest or a peer.
   * Default `arena`: whatever is behind the rest of the arena.
   */
  readonly file?: 'own' | 'arena';
  /** 2 MiB pages: `must` throws when there are none, `try` goes on without. Default `never`. */
  readonly hugePages?: HugePages;
  /** Touches each page now, so that no first use waits for the kernel. Default false: memory costs nothing until it is used. */
  readonly touch?: boolean;
}

export interface OverlayOptions {
  /** A SIGBUS in it (a device that went, a file that was cut) then costs the page, not the process. See `lostPages`. */
  readonly guard?: boolean;
  /** Offset in the file or the device's mapping, a multiple of 4096. */
  readonly fdOffset?: number;
  /** Bytes that the file is mapped by and aligned to in memory: 2 MiB for one in huge pages. Default 4096. */
  readonly align?: number;
  /** Extra mmap flags (MAP_POPULATE). */
  readonly flags?: number;
}
