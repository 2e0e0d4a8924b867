import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, Qdisc } from './qdisc.js';
import type { PfifoSpec } from './spec.js';

const { FIFO_BYTES, FIFO_PACKETS, FIFO_SIZE, ENTRY_LENGTH } = layout;
const CAUSES = ['flushed', 'limit'] as const;
const LIMIT = 1;

/** First in, first out, with a limit in packets and, if asked, in bytes (Linux's pfifo and bfifo): what comes when it is full is dropped. */
export class Pfifo extends Qdisc {
  readonly kind = 'pfifo';
  readonly shapes = false;
  readonly children = [];
  private readonly fifo: number;
  private readonly limit: number;
  private readonly bytes: number;

  static bytesOf(): number {
    return commonBytes(CAUSES) + FIFO_SIZE;
  }

  constructor(memory: TreeMemory, name: string, { limit, bytes }: Required<PfifoSpec>) {
    super(memory, name, CAUSES);
    this.fifo = memory.reserve(FIFO_SIZE) >>> 2;
    this.limit = limit;
    this.bytes = bytes;
  }

  protected get bare(): boolean {
    return this.u32[this.fifo + FIFO_PACKETS] === 0;
  }

  protected get own(): { packets: number; bytes: number } {
    return { packets: this.u32[this.fifo + FIFO_PACKETS]!, bytes: this.f64[(this.fifo >>> 1) + FIFO_BYTES]! };
  }

  protected push(entry: number): boolean {
    const { u32, f64, fifo } = this;
    if (u32[fifo + FIFO_PACKETS]! >= this.limit || f64[(fifo >>> 1) + FIFO_BYTES]! + u32[entry + ENTRY_LENGTH]! > this.bytes) return this.dropFor(entry, LIMIT);
    this.memory.append(fifo, entry);
    return true;
  }

  protected pull(): number {
    return this.memory.shift(this.fifo);
  }

  protected purge(): void {
    for (let entry = this.memory.shift(this.fifo); entry !== 0; entry = this.memory.shift(this.fifo)) this.dropFor(entry, 0);
  }

  protected override state(): Record<string, number> {
    return { limit: this.limit, ...(this.bytes === Infinity ? {} : { limitBytes: this.bytes }) };
  }
}
