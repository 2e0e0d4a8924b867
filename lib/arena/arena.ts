import { threadId } from 'node:worker_threads';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { Directory, type Memzone } from './directory.js';
import { claimLcore, releaseLcore } from './lcores.js';
import {
  ARENA_HEADER, ARENA_MAGIC, ARENA_VERSION, BACKING_HEAP, DIRECTORY, DIRECTORY_ENTRIES, ENTRY_SIZE, HEADER_FD, HEADER_HEAP,
  HEADER_MAGIC, HEADER_PAGES, HEADER_PID, HEADER_SIGBUS, HEADER_TABLE, HEADER_VERSION, ZONE_RAW,
} from './layout.js';

export const WASM_PAGE = 65536;
export const MIN_ARENA = 16 << 20;
/** 4 GiB less one page: with the last page too, a byte length would no longer fit in 32 bits. */
export const MAX_ARENA = 65535 * WASM_PAGE;
/**
 * 256 MiB: room for a hundred thousand buffers of 2 KiB, and every offset in it is below 2^31, a small integer in all
 * of V8's tiers. It is address space: a page costs memory from its first touch on.
 */
export const DEFAULT_ARENA = 256 << 20;

export interface ArenaOptions {
  /** Bytes, 16 MiB to 4 GiB - 64 KiB, rounded up to 64 KiB. Default 256 MiB. Fixed for life: growable memory is several times slower. */
  readonly size?: number;
}

/** What a worker thread is handed (`workerData` or `postMessage`) so that it can attach. */
export interface ArenaShare {
  readonly memory: WebAssembly.Memory;
}

export interface ReserveOptions {
  /** Bytes, a power of two; default 64, a cache line. */
  readonly align?: number;
  /** What it holds, one of the ZONE_* of the layout; for whoever looks in. */
  readonly type?: number;
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
  readonly memory: WebAssembly.Memory;
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
  #closed = false;

  private constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    // Node's types know only the unshared buffer; `shared: true` makes it a SharedArrayBuffer.
    this.buffer = memory.buffer as unknown as SharedArrayBuffer;
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
      return new Arena(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }));
    } catch (cause) {
      if (cause instanceof PollmodeError) throw cause;
      throw new PollmodeError('EARENAFULL', `No address space for an arena of ${size} bytes: ask for a smaller one, or raise this process's limit (ulimit -v).`, { cause });
    }
  }

  /** The arena of another thread, from what its `share()` gave. */
  static attach(share: ArenaShare): Arena {
    return new Arena(share.memory);
  }

  share(): ArenaShare {
    return { memory: this.memory };
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
   * Throws EEXISTS, EARENAFULL (it says how much is free), EOPTION.
   */
  reserve(name: string, length: number, options: ReserveOptions = {}): Memzone {
    const zone = this.#directory.reserve(name, length, options.align ?? 64, options.type ?? ZONE_RAW, BACKING_HEAP);
    this.u8.fill(0, zone.offset, zone.offset + zone.length);
    return zone;
  }

  /** The zone of that name, or undefined. */
  lookup(name: string): Memzone | undefined {
    return this.#directory.lookup(name);
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
    this.#directory.release(zone);
  }

  /** Gives this thread's lcore id back. The memory itself goes when the last thread lets go of it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    releaseLcore(this.i32, this.lcore);
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
  set(HEADER_FD, 0xffffffff);
  set(HEADER_MAGIC, ARENA_MAGIC);
}

/** Does this platform have the addon, and so overlays, huge pages and attaching across processes? */
export function hasNative(): boolean {
  return !(tryBinding() instanceof PollmodeError);
}
