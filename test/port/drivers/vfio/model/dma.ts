/** Reads and writes of the device's in the host's memory, through an IOMMU: page by page, since neighbours in device addresses need not be neighbours in memory. */
const PAGE = 4096;

export type Translate = (iova: number) => number | undefined;

export class Dma {
  private readonly bytes: Uint8Array;
  private readonly words: Int32Array;
  private readonly translate: Translate;
  /** Accesses that the IOMMU refused. */
  faults = 0;

  constructor(memory: SharedArrayBuffer, translate: Translate) {
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.translate = translate;
  }

  /** A copy; undefined after a fault. */
  read(iova: number, length: number): Uint8Array | undefined {
    const copy = new Uint8Array(length);
    const whole = this.pages(iova, length, (at, done, size) => copy.set(this.bytes.subarray(at, at + size), done));
    return whole ? copy : undefined;
  }

  /** Whether all of it arrived. What stands before the page that faulted has been written, as by posted writes. */
  write(iova: number, bytes: Uint8Array): boolean {
    return this.pages(iova, bytes.length, (at, done, size) => this.bytes.set(bytes.subarray(done, done + size), at));
  }

  /** The four words of a descriptor; undefined after a fault. */
  readDescriptor(iova: number): Uint32Array | undefined {
    const at = this.locate(iova, 16);
    return at === undefined ? undefined : Uint32Array.from({ length: 4 }, (_, i) => Atomics.load(this.words, at / 4 + i) >>> 0);
  }

  /** Some words of a descriptor, in order; the one that says that it is done has to be the last. */
  writeWords(iova: number, values: readonly (readonly [word: number, value: number])[]): boolean {
    const at = this.locate(iova, 16);
    if (at === undefined) return false;
    for (const [word, value] of values) Atomics.store(this.words, at / 4 + word, value | 0);
    return true;
  }

  private pages(iova: number, length: number, work: (at: number, done: number, size: number) => void): boolean {
    for (let done = 0, size = 0; done < length; done += size) {
      size = Math.min(length - done, PAGE - ((iova + done) % PAGE));
      const at = this.locate(iova + done, size, 1);
      if (at === undefined) return false;
      work(at, done, size);
    }
    return true;
  }

  /** Where a piece of one page stands in memory. */
  private locate(iova: number, size: number, align = 4): number | undefined {
    const at = Number.isSafeInteger(iova) ? this.translate(iova) : undefined;
    if (at !== undefined && at >= 0 && at + size <= this.bytes.length && at % align === 0) return at;
    this.faults++;
    return undefined;
  }
}
