import { PollmodeError } from '../errors.js';

/** Where a capture's bytes come from: a file that can be read at any place, so that it can be skipped in and played again. */
export interface CaptureSource {
  /** Up to `length` bytes from `position` of the file into `into`, at `at`. Returns how many, 0 at the end; throws what the kernel said. */
  read(into: Uint8Array, at: number, length: number, position: number): number;
}

/** The smallest window that both readers can work with. */
export const SMALLEST_WINDOW = 64;

/**
 * A file of any size, seen through a buffer of fixed size: bytes [at, at + available) of `bytes` are the next ones. What
 * was consumed stays in place until the next `need` or `pass`, so a frame can be copied out after the cursor has moved on.
 */
export class CaptureWindow {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Next byte to consume. */
  at = 0;
  /** What `read` threw; the file ends there. */
  failure: unknown;
  readonly #source: CaptureSource;
  #end = 0;
  /** Place in the file of the byte behind the window's last. */
  #position = 0;

  constructor(source: CaptureSource, bytes: Uint8Array) {
    if (bytes.length < SMALLEST_WINDOW) throw new PollmodeError('EOPTION', `A capture's window of ${bytes.length} bytes: give ${SMALLEST_WINDOW} or more.`);
    this.#source = source;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes that are there without reading on. */
  get available(): number {
    return this.#end - this.at;
  }

  /** Whether the next `count` bytes are in the window, reading on where they are not. False where the file ends before, or they are more than it holds. */
  need(count: number): boolean {
    return this.#end - this.at >= count || this.#fill(count);
  }

  /** Consumes `count` bytes, of which what is not in the window is not read. False where the file ends before. */
  pass(count: number): boolean {
    const beyond = count - this.available;
    if (beyond <= 0) {
      this.at += count;
      return true;
    }
    // Up to the last of them, which is read: the only way to see that the file reaches so far.
    this.#seek(this.#position + beyond - 1);
    if (!this.need(1)) return false;
    this.at++;
    return true;
  }

  rewind(): void {
    this.#seek(0);
  }

  #seek(position: number): void {
    this.#position = position;
    this.at = this.#end = 0;
  }

  #fill(count: number): boolean {
    if (count > this.bytes.length || this.failure !== undefined) return false;
    this.bytes.copyWithin(0, this.at, this.#end);
    this.#end -= this.at;
    this.at = 0;
    while (this.#end < count) {
      const got = this.#read();
      if (got === 0) return false;
      this.#end += got;
      this.#position += got;
    }
    return true;
  }

  #read(): number {
    try {
      return this.#source.read(this.bytes, this.#end, this.bytes.length - this.#end, this.#position);
    } catch (cause) {
      this.failure = cause;
      return 0;
    }
  }
}
