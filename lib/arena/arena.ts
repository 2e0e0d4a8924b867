import { closeSync, fstatSync } from 'node:fs';
import { PollmodeError } from '../errors.js';
import { HUGE_PAGE, baseSkew, closeZoneFile, guardRange, mapFile, mapWhole, reopen, shareWhole } from './backing.js';
import { Directory, type Memzone } from './directory.js';
import { MAX_ARENA, MIN_ARENA, checkHeader, writeHeader } from './header.js';
import {
  ARENA_HEADER, BACKING_HEAP, BACKING_OVERLAY, HEADER_RECLAIM, HEADER_SIGBUS, HEADER_TABLE, PAGE, WASM_PAGE, ZONE_BURST, ZONE_OVERLAY, ZONE_RAW, type Rest,
} from './layout.js';
import { claimLcore, lcoreHolder, lcores, releaseLcore, type LcoreHolder } from './lcores.js';
import { ArenaLock } from './lock.js';
import { Mapping } from './mapping.js';
import type { ArenaOptions, ArenaShare, OverlayOptions, ReserveOptions } from './options.js';
import { openNamed } from './processes.js';
import { newMemory, type WasmMemory } from './webassembly.js';

export { MAX_ARENA, MIN_ARENA } from './header.js';
export type { ArenaOptions, ArenaShare, OverlayOptions, ReserveOptions } from './options.js';
/**
 * 256 MiB: room for a hundred thousand buffers of 2 KiB, and every offset in it is below 2^31, a small integer in all
 * of V8's tiers. It is address space: a page costs memory from its first touch on.
 */
export const DEFAULT_ARENA = 256 << 20;

/** A recovery may have to wait for other lcores to come to rest. */
const RECOVERY_MS = 10_000;

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
  readonly #mapping: Mapping;
  readonly #reclaiming: ArenaLock;
  readonly #fd: number;
  #closed = false;

  private constructor(memory: WasmMemory, fd: number, rest?: Rest) {
    this.memory = memory;
    this.#fd = fd;
    this.buffer = memory.buffer;
    this.u8 = new Uint8Array(this.buffer);
    this.u16 = new Uint16Array(this.buffer);
    this.u32 = new Uint32Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
    this.f64 = new Float64Array(this.buffer);
    this.u64 = new BigUint64Array(this.buffer);
    checkHeader(this.u32.subarray(ARENA_HEADER >> 2), this.buffer.byteLength, 'This memory');
    this.table = this.u32[(ARENA_HEADER + HEADER_TABLE) >> 2]!;
    this.lcore = claimLcore(this.i32, rest);
    this.#directory = new Directory(this.u8, this.i32, this.lcore);
    this.#mapping = new Mapping(this.u8, fd);
    this.#reclaiming = new ArenaLock(this.i32, HEADER_RECLAIM, this.lcore, 'The recovery of dead lcores', RECOVERY_MS);
  }

  /** A new arena. Throws EOPTION for a size or name that will not do, EARENAFULL when there is no address space for it. */
  static create(options: ArenaOptions = {}): Arena {
    const size = options.size ?? DEFAULT_ARENA;
    if (!Number.isInteger(size) || size < MIN_ARENA || size > MAX_ARENA) {
      throw new PollmodeError('EOPTION', `An arena has ${MIN_ARENA} to ${MAX_ARENA} bytes (16 MiB to just under 4 GiB), not ${String(size)}: choose a size in between.`);
    }
    const memory = newMemory(Math.ceil(size / WASM_PAGE));
    const fd = options.name === undefined ? -1 : shareWhole(memory, options.name);
    return closingOnError(fd, () => {
      writeHeader(new Uint32Array(memory.buffer, ARENA_HEADER), memory.buffer.byteLength);
      return new Arena(memory, fd);
    });
  }

  /**
   * The arena of another thread of this process, from what its `share()` gave. Throws EFORMAT, ECLOSED; EARENAFULL for
   * want of an lcore id. @param rest for a thread that says when it rests (lcore/rest.ts): what it is doing now
   */
  static attach(share: ArenaShare, rest?: Rest): Arena {
    if (!(share.memory?.buffer instanceof SharedArrayBuffer)) {
      throw new PollmodeError('EFORMAT', 'This is no shared memory: attach to what Arena.share() gave.');
    }
    const fd = share.fd < 0 ? -1 : reopen(share.fd, share.inode);
    return closingOnError(fd, () => new Arena(share.memory, fd, rest));
  }

  /**
   * The named arena of another process of this user, at the same offsets. Overlays of that process (its sockets' rings)
   * are not here; memzones, rings, pools and counters are. Once in a process: its other threads use `share` and
   * `attach`. Throws ENOTFOUND, ERIGHTS, EFORMAT, EEXISTS, EUNSUPPORTED (another container's), EARENAFULL.
   */
  static attachProcess(name: string, options: { readonly pid?: number } = {}): Arena {
    const { fd, pages } = openNamed(name, options.pid);
    const arena = closingOnError(fd, () => {
      const memory = newMemory(pages);
      mapWhole(memory, fd);
      return new Arena(memory, fd);
    });
    if (!arena.#isLastOfProcess()) {
      arena.close();
      throw new PollmodeError('EEXISTS', `This process has arena "${name}" already: hand it to its other threads with share() and Arena.attach.`);
    }
    return arena;
  }

  share(): ArenaShare {
    this.#refuseClosed();
    return { memory: this.memory, fd: this.#fd, inode: this.#fd < 0 ? 0 : fstatSync(this.#fd).ino };
  }

  get size(): number {
    return this.buffer.byteLength;
  }

  /** Can other processes attach to it? */
  get named(): boolean {
    return this.#fd >= 0;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** How many pages a SIGBUS took away from under an overlay, over the arena's life. */
  get lostPages(): number {
    return Atomics.load(this.i32, (ARENA_HEADER + HEADER_SIGBUS) >> 2);
  }

  /**
   * Reserves `length` bytes under `name` (1 to 63 bytes of UTF-8, unique). Zeroed; found by others when it is ready.
   * Throws EEXISTS, EARENAFULL (it says how much is free), EOPTION; EADDON for a file or huge pages without the addon;
   * ESYSCALL when huge pages must be had and are not there.
   */
  reserve(name: string, length: number, options: ReserveOptions = {}): Memzone {
    this.#refuseClosed();
    const { hugePages = 'never', align = 64, type = ZONE_RAW, touch = false } = options;
    const huge = hugePages !== 'never';
    const own = options.file === 'own';
    const page = huge ? HUGE_PAGE : own ? PAGE : 1;
    const skew = huge ? baseSkew(this.u8, Math.max(align, HUGE_PAGE)) : 0;
    const { zone, clean } = this.#directory.reserve({ name, length, align, type, page, skew });
    return this.#finish(zone, () => this.#mapping.make(zone, clean, { own, hugePages, touch }));
  }

  /**
   * Maps a file, a socket's rings or a device's registers over a fresh range of the arena. It is this process's only.
   * `release` puts plain pages back in one step, so that no hole is ever left. Throws as `reserve`, and ESYSCALL.
   */
  overlay(name: string, length: number, fd: number, options: OverlayOptions = {}): Memzone {
    this.#refuseClosed();
    const align = options.align ?? PAGE;
    const skew = align > PAGE ? baseSkew(this.u8, align) : 0;
    const { zone } = this.#directory.reserve({ name, length, align, type: ZONE_OVERLAY, page: align, skew });
    return this.#finish(zone, () => {
      mapFile(this.u8, zone, fd, options.fdOffset ?? 0, options.flags ?? 0);
      if (options.guard === true) guardRange(this.u8, zone, ARENA_HEADER + HEADER_SIGBUS);
      return { backing: BACKING_OVERLAY, fd: -1 };
    });
  }

  /** The zone of that name, or undefined. One of another process is mapped here then: ERIGHTS, ENOTFOUND or EUNSUPPORTED when it cannot be. */
  lookup(name: string): Memzone | undefined {
    this.#refuseClosed();
    const zone = this.#directory.lookup(name);
    if (zone !== undefined) this.#mapping.follow(zone);
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

  /**
   * Gives a zone back. Nothing may use it any more; whoever reserved it knows. Throws ENOTFOUND when it was released
   * before, ETHREAD when it has a file or an overlay of another process that lives.
   */
  release(zone: Memzone): void {
    this.#refuseClosed();
    const now = this.#directory.current(zone);
    if (now.backing !== BACKING_HEAP) this.#mapping.unmake(now);
    this.#directory.release(now);
    if (now.fd >= 0 && now.pid === process.pid) closeZoneFile(now.fd);
  }

  /** Who is attached, and who was until it died. */
  lcores(): LcoreHolder[] {
    return lcores(this.i32);
  }

  /**
   * The lcores whose thread or process is gone without a `close` (for a terminated worker: a moment after its exit
   * event). What they held is theirs until `recoverDead` (lcore/recover.ts) brings it back and frees their ids.
   */
  deadLcores(): number[] {
    return this.lcores().filter(({ life }) => life === 'dead').map(({ lcore }) => lcore);
  }

  /**
   * Frees the id of an lcore that died, with its burst vectors and what it was about to reserve. Reclaim what it held
   * first: afterwards another thread has its name. Throws ETHREAD when that lcore lives, unless the caller is `certain`
   * that it does not (it saw the worker's exit, which the kernel may tell a moment later).
   */
  freeLcore(lcore: number, certain = false): void {
    this.#refuseClosed();
    const holder = lcoreHolder(this.i32, lcore);
    if (holder === undefined) return;
    if (holder.life === 'alive' && !certain) throw new PollmodeError('ETHREAD', `Lcore ${lcore} lives (process ${holder.pid}, thread ${holder.tid}): only a dead one can be freed.`);
    this.#giveUp(lcore);
  }

  /** Runs `work` while nobody else brings back what the dead held. Throws EBUSYQUEUE when somebody does, for long. */
  reclaiming<T>(work: () => T): T {
    this.#refuseClosed();
    return this.#reclaiming.run(work);
  }

  /**
   * Gives this thread's lcore id and burst vectors back; nothing that was made of the arena in this thread may be used
   * any more. The memory itself goes when the last thread lets go of it; a named arena's, when it is closed there too.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#giveUp(this.lcore);
      if (this.#isLastOfProcess()) this.#closeFiles();
    } finally {
      if (this.#fd >= 0) closeSync(this.#fd);
    }
  }

  /** Publishes a zone once the memory behind it is made; one that cannot be made is given back. */
  #finish(zone: Memzone, make: () => { backing: number; fd: number }): Memzone {
    try {
      const { backing, fd } = make();
      return this.#directory.publish(zone, backing, fd);
    } catch (cause) {
      this.#mapping.abandon(zone);
      this.#directory.release(zone);
      throw cause;
    }
  }

  #giveUp(lcore: number): void {
    try {
      for (const zone of this.#directory.leftBy(lcore)) {
        if (zone.pid === process.pid && zone.type !== ZONE_BURST) this.#mapping.abandon(zone);
        this.#directory.release(zone);
      }
    } finally {
      releaseLcore(this.i32, lcore);
    }
  }

  /** What zones of this process have behind them stays mapped where it is; nobody else can map it any more. */
  #closeFiles(): void {
    for (const zone of this.zones()) {
      if (zone.fd < 0 || zone.pid !== process.pid) continue;
      this.#directory.forgetFile(zone);
      closeZoneFile(zone.fd);
    }
  }

  /** Is no other thread of this process attached? */
  #isLastOfProcess(): boolean {
    return !this.lcores().some(({ lcore, pid, life }) => (lcore !== this.lcore || this.#closed) && pid === process.pid && life !== 'dead');
  }

  #refuseClosed(): void {
    if (this.#closed) throw new PollmodeError('ECLOSED', 'This arena is closed in this thread: create or attach to one anew.');
  }
}

function closingOnError<T>(fd: number, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (fd >= 0) closeSync(fd);
    throw cause;
  }
}
