/** A client's memory in the arena: each region an overlay of the file that it sent, guarded, and a table that the burst functions find descriptors' bytes by. */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { PollmodeError } from '../../../errors.js';
import { fileBlock } from '../../../vhost_user/descriptors.js';
import type { PortHost } from '../../port.js';
import { MEMIF_REGION_SHIFT, MEMIF_TABLE, MEMIF_TABLE_BYTES, MOST_MEMIF_REGIONS } from './layout.js';

interface Mapped { readonly zone: Memzone; readonly bytes: number }

export class ClientRegions {
  /** Offset of the table. */
  readonly table: number;
  readonly #host: PortHost;
  readonly #zone: Memzone;
  #regions: Mapped[] = [];
  #made = 0;

  constructor(host: PortHost) {
    this.#host = host;
    this.#zone = host.arena.reserve(`port/${host.number}/memif/regions`, MEMIF_TABLE_BYTES, { align: 64 });
    this.table = this.#zone.offset;
  }

  /** Bytes of the client's memory that are mapped. */
  get bytes(): number {
    return this.#regions.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The next region; no burst may run. The descriptor stays the caller's. Returns what is wrong with it. */
  add(index: number, bytes: bigint, fd: number): string | undefined {
    if (index !== this.#regions.length || index >= MOST_MEMIF_REGIONS) return `Region ${index} is not the next, or more than ${MOST_MEMIF_REGIONS}`;
    if (bytes === 0n || bytes > 0xffffffffn) return 'A region has no bytes, or more than 4 GiB';
    const block = fileBlock(fd, Number(bytes));
    if (block === undefined) return 'A region is not all in its file';
    // A file in huge pages is mapped by whole ones.
    const align = Math.max(block > 1 << 20 ? block : PAGE, PAGE);
    const name = `port/${this.#host.number}/memif/region/${this.#made++}`;
    try {
      const zone = this.#host.arena.overlay(name, Math.ceil(Number(bytes) / align) * align, fd, { guard: true, align });
      this.#regions.push({ zone, bytes: Number(bytes) });
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      return cause.code === 'EARENAFULL' ? 'No room for a region (client_memory=)' : 'A region cannot be mapped';
    }
    this.#write();
    return undefined;
  }

  /** The arena's offset of `bytes` in a region; undefined when they are not all in it, or not at a multiple of 16. */
  translate(region: number, offset: number, bytes: number): number | undefined {
    const found = this.#regions[region];
    return found !== undefined && offset + bytes <= found.bytes && offset % 16 === 0 ? found.zone.offset + offset : undefined;
  }

  clear(): void {
    const gone = this.#regions;
    this.#regions = [];
    this.#write();
    for (const { zone } of gone) this.#host.arena.release(zone);
  }

  close(): void {
    this.clear();
    this.#host.arena.release(this.#zone);
  }

  #write(): void {
    const { u32 } = this.#host.arena;
    this.#regions.forEach(({ zone, bytes }, i) => {
      const entry = (this.table + MEMIF_TABLE + (i << MEMIF_REGION_SHIFT)) >>> 2;
      u32[entry] = zone.offset;
      u32[entry + 1] = bytes;
    });
    u32[this.table >>> 2] = this.#regions.length;
  }
}
