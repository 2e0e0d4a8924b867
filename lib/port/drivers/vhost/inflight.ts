/**
 * In-flight memory: what of each ring has been used, in memory that the front-end keeps for us when we die. Buffers are
 * used in the order they come, in one burst, so none is ever marked as in flight: a split ring says all by its used
 * index, and of a packed one the place is written down, before and after each burst (struct QueueRegionPacked).
 */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { check } from '../../../kernel/errno.js';
import type { RingFormat } from '../../../virtqueue/features.js';
import { INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP, INFLIGHT_USED, INFLIGHT_WRAP } from '../../../virtqueue/layout.js';
import { fileBlock } from '../../../vhost_user/descriptors.js';
import type { Inflight } from '../../../vhost_user/messages.js';
import type { PortHost } from '../../port.js';

/** Of both kinds of region: u16 version and u16 number of descriptors. */
const REGION_VERSION = 8;
const REGION_DESCS = 10;
const VERSION = 1;
const MOST_DESCS = 32768;

/** Where a packed ring was before its last burst and after it, as indices with wrap counters. */
export interface Resume { readonly before: number; readonly after: number }

export class Inflights {
  readonly #host: PortHost;
  readonly #most: number;
  #zone: Memzone | undefined;
  /** Offset of the first region, and bytes and number of all. */
  #first = 0;
  #stride = 0;
  #queues = 0;
  #packed = false;
  #size = 0;
  #fd = -1;
  #made = 0;

  /** @param most rings that there are: memory for more would be of no use, and room of other ports */
  constructor(host: PortHost, most: number) {
    this.#host = host;
    this.#most = most;
  }

  /** New memory for so many queues; no burst may run. The descriptor stays ours, until the next. Throws EARENAFULL, EOPTION, ESYSCALL. */
  make({ queues, queueSize }: Inflight, format: RingFormat): { description: Inflight; fd: number } {
    if (!this.#fits(queues, queueSize)) throw new PollmodeError('EOPTION', `In-flight memory for ${queues} queues of ${queueSize} descriptors was asked for: ask for 1 to ${this.#most}, of 1 to ${MOST_DESCS}.`);
    const bytes = Math.ceil(queues * strideOf(format.packed, queueSize) / PAGE) * PAGE;
    const description = { bytes: BigInt(bytes), fileOffset: 0n, queues, queueSize };
    const fd = check(binding().memfd('pollmode-inflight', bytes, 0), 'memfd_create');
    try {
      if (!this.set(description, fd, format)) throw new PollmodeError('EOPTION', `In-flight memory for ${queues} queues of ${queueSize} descriptors cannot be had: ask for fewer.`);
    } catch (cause) {
      binding().close(fd);
      throw cause;
    }
    this.#fd = fd;
    return { description, fd };
  }

  /** Takes memory of the front-end's. No burst may run; the descriptor stays the caller's. Returns false for memory that is not as it is said to be. */
  set({ bytes, fileOffset, queues, queueSize }: Inflight, fd: number, format: RingFormat): boolean {
    this.clear();
    const stride = strideOf(format.packed, queueSize);
    if (!this.#fits(queues, queueSize) || BigInt(queues * stride) > bytes || fileOffset > 1n << 40n || fileOffset % 8n !== 0n) return false;
    // However much there is of it: what is used.
    const end = Number(fileOffset) + queues * stride;
    const block = fileBlock(fd, end);
    if (block === undefined) return false;
    const align = Math.max(PAGE, block > 1 << 20 ? block : PAGE);
    const start = Number(fileOffset) - Number(fileOffset) % align;
    const length = Math.ceil((end - start) / align) * align;
    this.#zone = this.#host.arena.overlay(`port/${this.#host.number}/vhost/inflight/${this.#made++}`, length, fd, { fdOffset: start, guard: true, align });
    this.#first = this.#zone.offset + Number(fileOffset) - start;
    [this.#stride, this.#queues, this.#packed, this.#size] = [stride, queues, format.packed, queueSize];
    return true;
  }

  #fits(queues: number, queueSize: number): boolean {
    return queues > 0 && queues <= this.#most && queueSize > 0 && queueSize <= MOST_DESCS;
  }

  /** Offset of a queue's region; 0 for none. */
  at(index: number): number {
    return this.#zone !== undefined && index < this.#queues ? this.#first + index * this.#stride : 0;
  }

  /** Where a packed ring goes on, from a back-end before this one. Undefined for a region that nobody has used. */
  resume(index: number): Resume | undefined {
    const region = this.at(index);
    if (region === 0) return undefined;
    const { u8, u16 } = this.#host.arena;
    const used = u16[(region + REGION_VERSION) >>> 1] === VERSION && u16[(region + REGION_DESCS) >>> 1] === this.#size;
    if (!used || !this.#packed) return undefined;
    const place = (field: number, wrap: number): number => (u16[(region + field) >>> 1]! & 0x7fff) | (u8[region + wrap] === 0 ? 0 : 0x8000);
    return { before: place(INFLIGHT_OLD_USED, INFLIGHT_OLD_WRAP), after: place(INFLIGHT_USED, INFLIGHT_WRAP) };
  }

  /** The queue runs, and says in its region where it is: from now on a back-end after this one goes on there. */
  begin(index: number): void {
    const region = this.at(index);
    if (region === 0) return;
    const { u16 } = this.#host.arena;
    u16[(region + REGION_DESCS) >>> 1] = this.#size;
    u16[(region + REGION_VERSION) >>> 1] = VERSION;
  }

  clear(): void {
    if (this.#zone !== undefined) this.#host.arena.release(this.#zone);
    if (this.#fd >= 0) binding().close(this.#fd);
    this.#zone = undefined;
    this.#fd = -1;
  }
}

/** Bytes of a queue's region, at lines of its own. */
function strideOf(packed: boolean, size: number): number {
  return Math.ceil((packed ? 32 + size * 32 : 16 + size * 16) / 64) * 64;
}
