/** Reads captures from arrays, and builds them by hand. */
import { createHash } from 'node:crypto';
import { openCapture } from '../../lib/wire/pcap_open.js';
import { READ_END, READ_OTHER, READ_PACKET } from '../../lib/wire/pcap_reader.js';
import { CaptureWindow, type CaptureSource } from '../../lib/wire/pcap_window.js';
import { PcapWriter, PcapngWriter, type CaptureWriterOptions } from '../../lib/wire/pcap_writer.js';

export interface Seen {
  readonly bytes: Uint8Array;
  /** On the wire. */
  readonly length: number;
  /** Seconds and nanoseconds, or undefined. */
  readonly time: readonly [number, number] | undefined;
}

export interface Capture {
  readonly format: string;
  readonly frames: Seen[];
  /** What steps came to other than frames and blocks without one. */
  readonly odd: number[];
  readonly end: number;
}

export interface ReadOptions {
  readonly window?: number;
  /** Most bytes that one read brings. */
  readonly chunk?: number;
  readonly maxLength?: number;
}

/** A source that brings as much as it likes, as a file system may. */
export function sourceOf(file: Uint8Array, chunk = Infinity): CaptureSource {
  return {
    read(into, at, length, position) {
      const part = file.subarray(position, position + Math.min(length, chunk));
      into.set(part, at);
      return part.length;
    },
  };
}

/** Reads a whole capture. Throws what opening throws, and an Error when the reader does not come to an end. */
export function readCapture(file: Uint8Array, { window = 4096, chunk = Infinity, maxLength = window }: ReadOptions = {}): Capture {
  const through = new CaptureWindow(sourceOf(file, chunk), new Uint8Array(window));
  const reader = openCapture(through, 'a.pcap', maxLength);
  const frames: Seen[] = [];
  const odd: number[] = [];
  for (let steps = 0; steps <= file.length; steps++) {
    const result = reader.step();
    if (result >= READ_END) {
      if (reader.step() !== result) throw new Error('an end that is none');
      return { format: reader.format, frames, odd, end: result };
    }
    if (result === READ_PACKET) frames.push(copyFrame(reader.frame, through, maxLength));
    else if (result !== READ_OTHER) odd.push(result);
  }
  throw new Error('more steps than bytes');
}

function copyFrame({ at, captured, length, time }: { at: number; captured: number; length: number; time: { known: boolean; seconds: number; nanoseconds: number } }, { bytes }: CaptureWindow, maxLength: number): Seen {
  if (!(captured >= 0 && captured <= maxLength && captured <= length && at >= 0 && at + captured <= bytes.length)) throw new Error(`a frame of ${captured} bytes at ${at}`);
  if (!(time.nanoseconds >= 0 && time.nanoseconds < 1e9 && time.seconds >= 0 && time.seconds < 2 ** 32)) throw new Error('a time that is none');
  return { bytes: bytes.slice(at, at + captured), length, time: time.known ? [time.seconds, time.nanoseconds] : undefined };
}

/** A capture by our own writers. */
export function writeCapture(format: 'pcap' | 'pcapng', frames: readonly Seen[], options: CaptureWriterOptions = {}): Uint8Array {
  const bytes = new Uint8Array(200 + frames.reduce((sum, frame) => sum + frame.bytes.length + 64, 0)).fill(0xee);
  const writer = new (format === 'pcap' ? PcapWriter : PcapngWriter)(new DataView(bytes.buffer), options);
  writer.header(0);
  let end = writer.headerBytes;
  for (const { bytes: frame, length, time } of frames) {
    const [seconds, nanoseconds] = time ?? [0, 0];
    bytes.set(frame, writer.record(end, frame.length, length, seconds, nanoseconds));
    if (writer.recordAt(end) !== writer.recordBytes(frame.length)) throw new Error('a record says another length than it has');
    end += writer.recordBytes(frame.length);
  }
  return bytes.slice(0, end);
}

/** Bytes from hexadecimal, spaces left out: for files by hand. */
export function hex(...text: string[]): Uint8Array {
  return Uint8Array.from(Buffer.from(text.join('').replace(/\s/g, ''), 'hex'));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** Numbers of 16 and 32 bits in one byte order, for blocks by hand. */
export class Order {
  readonly littleEndian: boolean;

  constructor(littleEndian: boolean) {
    this.littleEndian = littleEndian;
  }

  u16(...values: number[]): Uint8Array {
    const bytes = new Uint8Array(values.length * 2);
    values.forEach((value, i) => new DataView(bytes.buffer).setUint16(i * 2, value, this.littleEndian));
    return bytes;
  }

  u32(...values: number[]): Uint8Array {
    const bytes = new Uint8Array(values.length * 4);
    values.forEach((value, i) => new DataView(bytes.buffer).setUint32(i * 4, value, this.littleEndian));
    return bytes;
  }

  /** A block: type, length, body padded to 4, length. */
  block(type: number, ...body: Uint8Array[]): Uint8Array {
    const inner = padded(joined(...body));
    const total = this.u32(inner.length + 12);
    return joined(this.u32(type), total, inner, total);
  }

  option(code: number, value: Uint8Array): Uint8Array {
    return joined(this.u16(code, value.length), padded(value));
  }

  section(...options: Uint8Array[]): Uint8Array {
    return this.block(0x0a0d0d0a, this.u32(0x1a2b3c4d), this.u16(1, 0), this.u32(0xffffffff, 0xffffffff), ...options);
  }

  interface(linkType: number, snapLength: number, ...options: Uint8Array[]): Uint8Array {
    return this.block(1, this.u16(linkType, 0), this.u32(snapLength), ...options);
  }

  enhanced(from: number, time: readonly [high: number, low: number], frame: Uint8Array, length = frame.length, ...options: Uint8Array[]): Uint8Array {
    return this.block(6, this.u32(from, ...time, frame.length, length), padded(frame), ...options);
  }
}

export function padded(bytes: Uint8Array): Uint8Array {
  return joined(bytes, new Uint8Array(-bytes.length & 3));
}

/** Bytes from..from+length-1, so that a byte out of place is seen. */
export function pattern(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (from + i) & 0xff);
}

/** One line for each frame, which many of are compared faster than arrays: time, bytes there, bytes on the wire, MD5. */
export function linesOf(frames: readonly Seen[]): string[] {
  return frames.map(({ time, bytes, length }) => `${time === undefined ? '' : `${time[0]}.${String(time[1]).padStart(9, '0')}`} ${bytes.length} ${length} ${createHash('md5').update(bytes).digest('hex')}`);
}
