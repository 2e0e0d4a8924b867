import { fstatSync, ftruncateSync, writeSync } from 'node:fs';
import type { Burst } from '../../../burst/burst.js';
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PKT_LEN,
  MBUF_POOL, MBUF_TIMESTAMP, RX_TIMESTAMP,
} from '../../../mbuf/layout.js';
import type { Mempool } from '../../../mbuf/mempool.js';
import { MAX_SNAPLEN } from '../../../wire/pcap_layout.js';
import type { CaptureWriter } from '../../../wire/pcap_writer.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../layout.js';
import type { PortHost } from '../../port.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueState } from '../../queue.js';
import { PCAP_BAD_FRAME, PCAP_NOT_WRITTEN } from './layout.js';

/** What is in the buffer reaches the file at least so often, in milliseconds, while the event loop turns. */
const FLUSH_EVERY = 1000;

export interface Recording {
  readonly fd: number;
  readonly writer: CaptureWriter;
  /** The buffer, and where it starts in the arena. */
  readonly bytes: Uint8Array;
  readonly window: number;
  /** Bytes of a frame that are written at most. */
  readonly snapLength: number;
}

/**
 * Writes frames to a capture: each is copied into a buffer and its mbuf freed at once; the buffer goes to the file when
 * it is full, every second, and at close. While the file takes nothing (a full disk), frames are refused as soon as the
 * buffer is full, and each call tries again.
 */
export class PcapTxQueue extends PortTxQueue {
  /** Writes that the kernel refused, by errno's name. */
  readonly failures = new Map<string, number>();
  readonly #state: QueueState;
  readonly #pool: Mempool;
  readonly #to: Recording;
  readonly #timer: NodeJS.Timeout;
  /** Bytes in the buffer. */
  #length: number;
  /** How many of them are in the file already. */
  #written = 0;
  /** How many are the file's header, and no record. */
  #header: number;
  #seconds = 0;
  #nanoseconds = 0;
  #open = true;

  constructor(state: QueueState, host: PortHost, to: Recording) {
    super(state);
    this.#state = state;
    this.#pool = host.pool;
    this.#to = to;
    to.writer.header(0);
    this.#length = this.#header = to.writer.headerBytes;
    this.#timer = setInterval(() => this.#flush(), FLUSH_EVERY);
    this.#timer.unref();
  }

  txBurst(burst: Burst, count: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(count);
    if (!(most > 0)) return 0;
    this.#readClock();
    let sent = 0;
    while (sent < most && this.#write(burst.handles[sent]!)) sent++;
    this.#state.add(QUEUE_PACKETS, sent);
    this.#state.add(QUEUE_NOMBUF, most - sent);
    this.#pool.free(burst, 0, sent);
    return sent;
  }

  /** Writes out what is left. What the file would not take is counted, and a record that is there in part is taken off it. */
  override close(): void {
    super.close();
    if (!this.#open) return;
    this.#open = false;
    clearInterval(this.#timer);
    if (!this.#flush()) this.#abandon();
  }

  /** Returns whether the frame is in the buffer now. */
  #write(handle: number): boolean {
    const { u32, table } = this.#state.arena;
    const header = (table + (handle << HEADER_SHIFT)) >>> 0;
    const length = u32[(header + MBUF_PKT_LEN) >>> 2]!;
    const { writer, snapLength, bytes } = this.#to;
    if (u32[(header + MBUF_POOL) >>> 2] !== this.#pool.offset || !(length <= MAX_SNAPLEN)) return this.#refuse();
    const captured = length < snapLength ? length : snapLength;
    const whole = writer.recordBytes(captured);
    if (this.#length + whole > bytes.length && !this.#flush()) return false;
    const timed = (u32[(header + MBUF_OL_FLAGS) >>> 2]! & RX_TIMESTAMP) !== 0;
    const at = writer.record(this.#length, captured, length,
      timed ? u32[(header + MBUF_TIMESTAMP) >>> 2]! : this.#seconds, timed ? u32[(header + MBUF_TIMESTAMP + 4) >>> 2]! : this.#nanoseconds);
    if (!this.#copy(handle, this.#to.window + at, captured)) return this.#refuse();
    this.#length += whole;
    this.#state.add(QUEUE_BYTES, length);
    return true;
  }

  /** Copies the first `left` bytes of a packet, segment by segment. Returns whether its segments have so many, within their buffers. */
  #copy(handle: number, to: number, left: number): boolean {
    const { u8, u16, u32, table } = this.#state.arena;
    let header = (table + (handle << HEADER_SHIFT)) >>> 0;
    for (let segments = u16[(header + MBUF_NB_SEGS) >>> 1]!; segments > 0; segments--) {
      const offset = u16[(header + MBUF_DATA_OFF) >>> 1]!;
      const length = u16[(header + MBUF_DATA_LEN) >>> 1]!;
      if (u32[(header + MBUF_POOL) >>> 2] !== this.#pool.offset || offset + length > u32[(header + MBUF_BUF_LEN) >>> 2]!) return false;
      const part = length < left ? length : left;
      const from = ((handle << HANDLE_SHIFT) >>> 0) + offset;
      u8.copyWithin(to, from, from + part);
      left -= part;
      if (left === 0) return true;
      to += part;
      handle = u32[(header + MBUF_NEXT) >>> 2]!;
      header = (table + (handle << HEADER_SHIFT)) >>> 0;
    }
    return false;
  }

  #refuse(): boolean {
    this.#state.add(PCAP_BAD_FRAME, 1);
    return false;
  }

  /** This process's clock, once a burst: for frames that bring no time. */
  #readClock(): void {
    const now = performance.timeOrigin + performance.now();
    this.#seconds = Math.floor(now / 1000);
    this.#nanoseconds = Math.floor((now - this.#seconds * 1000) * 1e6);
  }

  /** Returns whether everything is in the file. A full disk may take a part of a record: the rest goes with the next try. */
  #flush(): boolean {
    const { fd, bytes } = this.#to;
    try {
      while (this.#written < this.#length) this.#written += writeSync(fd, bytes, this.#written, this.#length - this.#written);
    } catch (cause) {
      const code = String((cause as NodeJS.ErrnoException).code);
      this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
      return false;
    }
    this.#length = this.#written = this.#header = 0;
    return true;
  }

  /** Counts the records that are not in the file, and takes the one off that is there in part. */
  #abandon(): void {
    const { writer, fd } = this.#to;
    let whole = this.#written < this.#header ? 0 : this.#header;
    let lost = 0;
    for (let at = this.#header; at < this.#length;) {
      at += writer.recordAt(at);
      if (at <= this.#written) whole = at;
      else lost++;
    }
    this.#state.add(PCAP_NOT_WRITTEN, lost);
    cutBy(fd, this.#written - whole);
  }
}

function cutBy(fd: number, bytes: number): void {
  const status = fstatSync(fd);
  if (bytes > 0 && status.isFile()) ftruncateSync(fd, status.size - bytes);
}
