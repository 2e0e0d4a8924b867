/** What a client shares, and what it keeps: the region of its rings, with buffers of their own unless the pool is shared, and private notes. */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { PollmodeError } from '../../../errors.js';
import { SCRATCH_BYTES } from '../../../virtqueue/layout.js';
import type { PortHost } from '../../port.js';
import type { MemifSettings } from './options.js';
import type { OwnBuffers } from './ring.js';
import { ringBytes } from './ring.js';

/** A region and its file. */
export interface SharedRegion { readonly bytes: number; readonly fd: number }

export class ClientMemory {
  readonly #settings: MemifSettings;
  readonly #host: PortHost;
  readonly #shared: Memzone;
  readonly #own: Memzone;

  /** Throws EPOOL for a pool that cannot be shared, EARENAFULL. */
  constructor(settings: MemifSettings, host: PortHost) {
    this.#settings = settings;
    this.#host = host;
    const { arena, number } = host;
    const { buffers } = host.pool;
    if (settings.zeroCopy && (buffers.fd < 0 || buffers.pid !== process.pid)) {
      throw new PollmodeError('EPOOL', `${host.device} shares its pool with the server, and "${host.pool.name}" is in no file of this process's own: open the port together with its pool, make that with { file: 'own' }, or take zero_copy=0.`);
    }
    const lines = 2 * settings.queues;
    const bytes = lines * (this.#ringBytes + this.#bufferBytes);
    this.#shared = arena.reserve(`port/${number}/memif/rings`, Math.ceil(bytes / PAGE) * PAGE, { align: PAGE, file: 'own', touch: true });
    try {
      this.#own = arena.reserve(`port/${number}/memif/own`, lines * this.#ownBytes, { align: 64 });
    } catch (cause) {
      arena.release(this.#shared);
      throw cause;
    }
  }

  /** As the server is told of them: the rings, then the pool. */
  get regions(): SharedRegion[] {
    const zones = this.#settings.zeroCopy ? [this.#shared, this.#host.pool.buffers] : [this.#shared];
    return zones.map(({ length, fd }) => ({ bytes: length, fd }));
  }

  /** Offset in region 0 of a line's ring. */
  ringPlace(line: number): number {
    return line * this.#ringBytes;
  }

  ring(line: number): number {
    return this.#shared.offset + this.ringPlace(line);
  }

  buffers(line: number): OwnBuffers {
    const first = this.#shared.offset + 2 * this.#settings.queues * this.#ringBytes;
    return { buffers: first + line * this.#bufferBytes, bytes: this.#settings.bsize, origin: this.#shared.offset };
  }

  /** Offsets of a line's private memory. */
  scratch(line: number): number {
    return this.#own.offset + line * this.#ownBytes;
  }

  side(line: number): number {
    return this.#settings.zeroCopy ? this.scratch(line) + SCRATCH_BYTES : 0;
  }

  close(): void {
    for (const zone of [this.#shared, this.#own]) this.#host.arena.release(zone);
  }

  get #ringBytes(): number {
    return Math.ceil(ringBytes(this.#settings.rsize) / 128) * 128;
  }

  get #bufferBytes(): number {
    return this.#settings.zeroCopy ? 0 : this.#settings.bsize << this.#settings.rsize;
  }

  get #ownBytes(): number {
    return SCRATCH_BYTES + Math.ceil((this.#settings.zeroCopy ? 4 << this.#settings.rsize : 0) / 64) * 64;
  }
}
