import { closeSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { hugeSkew, mapWhole, overlayFile, restorePages, shareWhole, zoneFile, HUGE_PAGE, type HugePages } from './backing.js';
import { Directory, type Memzone } from './directory.js';
import { openNamed, openOf } from './processes.js';
import { claimLcore, releaseLcore } from './lcores.js';
import {
  ARENA_HEADER, ARENA_MAGIC, ARENA_VERSION, BACKING_HEAP, BACKING_HUGE, BACKING_MEMFD, BACKING_OVERLAY, DIRECTORY, DIRECTORY_ENTRIES, ENTRY_SIZE, HEADER_HEAP,
  HEADER_MAGIC, HEADER_PAGES, HEADER_PID, HEADER_SIGBUS, HEADER_TABLE, HEADER_VERSION, MAX_PAGES, PAGE,
  WASM_PAGE, ZONE_OVERLAY, ZONE_RAW,
} from './layout.js';
import { wasm, type WasmMemory } from './webassembly.js';

export const MIN_ARENA = 16 << 20;
export const MAX_ARENA = MAX_PAGES * WASM_PAGE;
/**
 * 256 MiB: room for a hundred thousand buffers of 2 KiB, and every offset in it is below 2^31, a small integer in all
 * of V8's tiers. It is address space: a page costs memory from its first touch on.
 */
export const DEFAULT_ARENA = 256 << 20;

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
  /** The memfd behind a named arena, a number of this process; -1 for none. */
  readonly fd: number;
}

export interface ReserveOptions {
  /** Bytes, a power of two; default 64, a cache line. */
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
}

export interface OverlayOptions {
  /** A SIGBUS in it (a device that went, a file that was cut) then costs the page, not the process. See `lostPages`. */
  readonly guard?: boolean;
  /** Offset in the file or the device's mapping, a multiple of 4096. */
  readonly fdOffset?: number;
  /** Extra mmap flags (MAP_POPULATE). */
  readonly flags?: number;
}

/**
 * The one memory that everything shared lives in: a shared WebAssembly memory of fixed size, seen as typed arrays here,
 * as linear memory by the burst module, as an address by the addon. An address in it is a 32-bit offset, the same in
 * every thread.
 *
 * Threads: each thread has an `Arena` object of its own over the same memory, and with it one lcore id, which names
 * the thread in owner words, ring claims and mempool caches. Make one with `Arena.create` in the first thread and
 * `Arena.attach` in the others. Reserving is for set-up, never for the data path.
 */
export class Arena {
  readonly memory: WasmMemory;
  readonly buffer: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly u64: BigUint64Array;
  /** Offset of the mbuf header table. */
  readonly table: number;
  /** This thread's id in the arena, 0 to 63. */
  readonly lcore: number;
  readonly #directory: Directory;
  readonly #fd: number;
  /** Zones of another process that are mapped here. */
  readonly #mapped = new Set<number>();
  #closed = false;

  private constructor(memory: WasmMemory, fd = -1) {
    this.memory = memory;
    this.#fd = fd;
    this.buffer = memory.buffer;
    this.u8 = new Uint8Array(this.buffer);
    this.u16 = new Uint16Array(this.buffer);
    this.u32 = new Uint32Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
    this.f64 = new Float64Array(this.buffer);
    this.u64 = new BigUint64Array(this.buffer);
    if (this.header(HEADER_MAGIC) === 0) initialise(this.u32, this.buffer.byteLength);
    if (this.header(HEADER_MAGIC) !== ARENA_MAGIC || this.header(HEADER_VERSION) !== ARENA_VERSION) {
      throw new PollmodeError('EFORMAT', 'This memory is no pollmode arena of this version: attach to what Arena.share() gave, with the same release of pollmode in every thread.');
    }
    this.table = this.header(HEADER_TABLE);
    this.lcore = claimLcore(this.i32, process.pid, threadId);
    this.#directory = new Directory(this.u8, this.i32, this.lcore);
  }

  /** A new arena. Throws EOPTION for a size out of range, EARENAFULL when there is no address space for it. */
  static create(options: ArenaOptions = {}): Arena {
    const size = options.size ?? DEFAULT_ARENA;
    if (!Number.isInteger(size) || size < MIN_ARENA || size > MAX_ARENA) {
      throw new PollmodeError('EOPTION', `An arena has ${MIN_ARENA} to ${MAX_ARENA} bytes (16 MiB to just under 4 GiB), not ${String(size)}: choose a size in between.`);
    }
    const pages = Math.ceil(size / WASM_PAGE);
    try {
      const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
      const fd = options.name === undefined ? -1 : shareWhole(memory, options.name);
      return new Arena(memory, fd);
    } catch (cause) {
      if (cause instanceof PollmodeError) throw cause;
      throw new PollmodeError('EARENAFULL', `No address space for an arena of ${size} bytes: ask for a smaller one, or raise this process's limit (ulimit -v).`, { cause });
    }
  }

  /** The arena of another thread, from what its `share()` gave. */
  static attach(share: ArenaShare): Arena {
    return new Arena(share.memory, share.fd);
  }

  /**
   * The named arena of another process of this user, at the same offsets. Overlays of that process (its sockets' rings)
   * are not here; memzones, rings, pools and counters are. Throws ENOTFOUND, ERIGHTS, EFORMAT.
   */
  static attachProcess(name: string, options: { readonly pid?: number } = {}): Arena {
    const { fd, pages } = openNamed(name, options.pid);
    const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
    mapWhole(memory, fd);
    return new Arena(memory, fd);
  }

  share(): ArenaShare {
    return { memory: this.memory, fd: this.#fd };
  }

  get size(): number {
    return this.buffer.byteLength;
  }

  /** How many pages a SIGBUS took away from under an overlay, over the arena's life. */
  get lostPages(): number {
    return Atomics.load(this.i32, (ARENA_HEADER + HEADER_SIGBUS) >> 2);
  }

  /**
   * Reserves `length` bytes under `name` (1 to 63 bytes of UTF-8, unique). Zeroed.
   * Throws EEXISTS, EARENAFULL (it says how much is free), EOPTION; EADDON for a file or huge pages without the addon;
   * ESYSCALL when huge pages must be had and are not there.
   */
  reserve(name: string, length: number, options: ReserveOptions = {}): Memzone {
    const huge = options.hugePages ?? 'never';
    const own = options.file === 'own';
    const page = huge !== 'never' ? HUGE_PAGE : own ? PAGE : 1;
    const align = Math.max(options.align ?? 64, page);
    const whole = Math.ceil(length / page) * page;
    const zone = this.#directory.reserve(name, whole, align, options.type ?? ZONE_RAW, BACKING_HEAP, page === HUGE_PAGE ? hugeSkew(this.u8) : 0);
    if (page === 1) {
      this.u8.fill(0, zone.offset, zone.offset + zone.length);
      return zone;
    }
    return this.#undoing(zone, () => {
      const { backing, fd } = zoneFile(this.u8, zone, own, huge);
      return this.#directory.setBacking(zone, backing, fd);
    });
  }

  /**
   * Maps a file, a socket's rings or a device's registers over a fresh range of the arena. It is this process's only.
   * `release` puts plain pages back in one step, so that no hole is ever left. Throws as `reserve`, and ESYSCALL.
   */
  overlay(name: string, length: number, fd: number, options: OverlayOptions = {}): Memzone {
    const whole = Math.ceil(length / PAGE) * PAGE;
    const zone = this.#directory.reserve(name, whole, PAGE, ZONE_OVERLAY, BACKING_HEAP);
    return this.#undoing(zone, () => {
      overlayFile(this.u8, zone, fd, options.fdOffset ?? 0, options.flags ?? 0, options.guard === true ? ARENA_HEADER + HEADER_SIGBUS : 0);
      return this.#directory.setBacking(zone, BACKING_OVERLAY, -1);
    });
  }

  /** The zone of that name, or undefined. */
  lookup(name: string): Memzone | undefined {
    const zone = this.#directory.lookup(name);
    if (zone !== undefined) this.#map(zone);
    return zone;
  }

  /** As `lookup`, but throws ENOTFOUND. */
  find(name: string): Memzone {
    const zone = this.lookup(name);
    if (zone === undefined) throw new PollmodeError('ENOTFOUND', `No memzone named "${name}" in this arena: check the name (arena.zones() lists them).`);
    return zone;
  }

  zones(): Memzone[] {
    return this.#directory.list();
  }

  /** Gives a zone back. Nothing may use it any more; whoever reserved it knows. */
  release(zone: Memzone): void {
    const { backing, fd } = this.#directory.current(zone);
    if (backing !== BACKING_HEAP) restorePages(this.u8, zone, backing === BACKING_OVERLAY ? -1 : fd, this.#fd);
    this.#directory.release(zone);
  }

  /** Gives this thread's lcore id back. The memory itself goes when the last thread lets go of it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    releaseLcore(this.i32, this.lcore);
  }

  /** A zone with a memfd of its own in another process is mapped here when it is first looked up. */
  #map(zone: Memzone): void {
    const file = zone.backing === BACKING_MEMFD || zone.backing === BACKING_HUGE;
    if (!file || zone.pid === process.pid || this.#mapped.has(zone.index)) return;
    const fd = openOf(zone.pid, `/proc/${zone.pid}/fd/${zone.fd}`);
    overlayFile(this.u8, zone, fd, 0, 0, 0);
    closeSync(fd);
    this.#mapped.add(zone.index);
  }

  /** A reservation that is half made is given back. */
  #undoing(zone: Memzone, finish: () => Memzone): Memzone {
    try {
      return finish();
    } catch (cause) {
      this.#directory.release(zone);
      throw cause;
    }
  }

  private header(field: number): number {
    return this.u32[(ARENA_HEADER + field) >> 2]!;
  }
}

/** Only the creator runs this, before anyone else can have the memory. */
function initialise(u32: Uint32Array, size: number): void {
  const table = DIRECTORY + DIRECTORY_ENTRIES * ENTRY_SIZE;
  const set = (field: number, value: number): void => { u32[(ARENA_HEADER + field) >> 2] = value; };
  set(HEADER_VERSION, ARENA_VERSION);
  set(HEADER_PAGES, size / WASM_PAGE);
  set(HEADER_TABLE, table);
  set(HEADER_HEAP, Math.ceil((table + size / 32) / 4096) * 4096);
  set(HEADER_PID, process.pid);
  set(HEADER_MAGIC, ARENA_MAGIC);
}

/** Does this platform have the addon, and so overlays, huge pages and attaching across processes? */
export function hasNative(): boolean {
  return !(tryBinding() instanceof PollmodeError);
}
