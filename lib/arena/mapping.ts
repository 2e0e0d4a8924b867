import { closeSync } from 'node:fs';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { HUGE_PAGE, baseSkew, makeFile, mapFile, openZoneFile, restorePages, type HugePages } from './backing.js';
import type { Memzone } from './directory.js';
import { BACKING_HEAP, BACKING_HUGE, BACKING_MEMFD, PAGE } from './layout.js';
import { isGone } from './threads.js';

/** asm-generic/mman-common.h, Linux 5.14. */
const MADV_POPULATE_WRITE = 23;

export interface BackingRequest {
  readonly own: boolean;
  readonly hugePages: HugePages;
  readonly touch: boolean;
}

/**
 * What stands behind the arena's pages in this process, kept equal to what the directory says. Where the arena is a file
 * that other processes have too, a page may still show the file of a zone that its process has released since: such
 * pages are put right when a zone is reserved over them, or first looked up.
 */
export class Mapping {
  readonly #u8: Uint8Array;
  /** The arena's own file; -1 for memory that is this process's alone. */
  readonly #fd: number;
  /** Serial numbers of the zones of other processes that are as they should be here, by index. */
  readonly #followed = new Map<number, number>();

  constructor(u8: Uint8Array, fd: number) {
    this.#u8 = u8;
    this.#fd = fd;
  }

  /** Zeroed memory of the wanted kind behind a new zone, whose part from `clean` on was never used. */
  make(zone: Memzone, clean: number, { own, hugePages, touch }: BackingRequest): { backing: number; fd: number } {
    this.#followed.delete(zone.index);
    this.#mapArena(zone);
    if (own || hugePages !== 'never') return makeFile(this.#u8, zone, own, hugePages);
    this.#u8.fill(0, zone.offset, clean);
    if (touch) this.#populate(Math.max(clean, zone.offset), zone.offset + zone.length);
    return { backing: BACKING_HEAP, fd: -1 };
  }

  /** Gets the pages now, all in one call: a fault for each costs several times as much. Before Linux 5.14, or without the addon, by writing. */
  #populate(from: number, to: number): void {
    const start = Math.ceil(from / PAGE) * PAGE;
    const end = Math.floor(to / PAGE) * PAGE;
    const addon = tryBinding();
    if (end > start && !(addon instanceof PollmodeError) && addon.advise(this.#u8, start, end - start, MADV_POPULATE_WRITE) >= 0) return;
    this.#u8.fill(0, from, to);
  }

  /** Maps what another process put behind a zone. Throws ERIGHTS, ENOTFOUND, EUNSUPPORTED. */
  follow(zone: Memzone): void {
    if (zone.pid === process.pid || this.#followed.get(zone.index) === zone.serial) return;
    if (zone.backing === BACKING_HUGE) this.#refuseSkew(zone);
    if (zone.backing === BACKING_HUGE || zone.backing === BACKING_MEMFD) {
      const fd = openZoneFile(zone);
      try {
        mapFile(this.#u8, zone, fd, 0, 0);
      } finally {
        closeSync(fd);
      }
    } else {
      this.#mapArena(zone);
    }
    this.#followed.set(zone.index, zone.serial);
  }

  /** Plain pages over a zone that has others, before it is released. Throws ETHREAD while it is another living process's. */
  unmake(zone: Memzone): void {
    if (zone.pid !== process.pid && !isGone(zone.pid)) {
      throw new PollmodeError('ETHREAD', `Memzone "${zone.name}" was mapped by process ${zone.pid}: release it there.`);
    }
    restorePages(this.#u8, zone, this.#fd);
  }

  /** Plain pages over a zone that was not finished, whatever came of it. */
  abandon(zone: Memzone): void {
    const whole = zone.offset % PAGE === 0 && zone.length % PAGE === 0;
    if (whole && !(tryBinding() instanceof PollmodeError)) restorePages(this.#u8, zone, this.#fd);
  }

  /** The arena's file behind all pages that the zone touches: for most of them it is there already, and nothing changes. */
  #mapArena({ offset, length }: Memzone): void {
    if (this.#fd < 0) return;
    const start = Math.floor(offset / PAGE) * PAGE;
    mapFile(this.#u8, { offset: start, length: Math.ceil((offset + length) / PAGE) * PAGE - start }, this.#fd, start, 0);
  }

  /** V8 puts a memory at any page of 4 KiB, so what begins a huge page there seldom does so here. */
  #refuseSkew(zone: Memzone): void {
    if ((zone.offset + baseSkew(this.#u8, HUGE_PAGE)) % HUGE_PAGE === 0) return;
    throw new PollmodeError('EUNSUPPORTED', `The huge pages of memzone "${zone.name}" cannot be mapped at the same offset in this process: reserve what several processes share with hugePages: 'never'.`);
  }
}
