import {
  IF_TSRESOL, LINKTYPE_ETHERNET, MAX_SNAPLEN, NG_BYTE_ORDER, NG_ENHANCED_PACKET, NG_INTERFACE, NG_PACKET_FIXED, NG_SECTION, NG_TRAILER,
  PCAP_FILE_HEADER, PCAP_MAGIC_MICROSECONDS, PCAP_MAGIC_NANOSECONDS, PCAP_RECORD_HEADER, PCAP_VERSION_MAJOR, PCAP_VERSION_MINOR,
} from './pcap_layout.js';
import { Wide } from './pcap_time.js';

export interface CaptureWriterOptions {
  /** Unit of the times: nanoseconds, or microseconds. Default nanoseconds. */
  readonly nanoseconds?: boolean;
  /** Bytes of a frame that are written at most, as the header is to say; default: no limit. */
  readonly snapLength?: number;
  /** Default true. */
  readonly littleEndian?: boolean;
}

/** Writes a capture's headers into a buffer; frames and files are the caller's. Nothing here allocates per record. */
export interface CaptureWriter {
  /** For people: "pcapng, nanoseconds". */
  readonly format: string;
  /** Bytes of what a file starts with. */
  readonly headerBytes: number;
  /** Writes what a file starts with, at `to`. */
  header(to: number): void;
  /** Bytes of a record with a frame of so many captured bytes. */
  recordBytes(captured: number): number;
  /** Writes a record but for the frame's bytes, at `to`. Returns where those go. */
  record(to: number, captured: number, length: number, seconds: number, nanoseconds: number): number;
  /** Bytes of the record that stands at `at`. */
  recordAt(at: number): number;
}

/** Classic pcap (draft-ietf-opsawg-pcap): a header of 24 bytes, 16 before each frame. */
export class PcapWriter implements CaptureWriter {
  readonly format: string;
  readonly headerBytes = PCAP_FILE_HEADER;
  readonly #view: DataView;
  readonly #options: Required<CaptureWriterOptions>;
  /** Nanoseconds in a unit of the fraction. */
  readonly #unit: number;

  constructor(view: DataView, options: CaptureWriterOptions = {}) {
    this.#view = view;
    this.#options = complete(options);
    this.#unit = this.#options.nanoseconds ? 1 : 1000;
    this.format = describe('pcap', this.#options);
  }

  header(to: number): void {
    const { nanoseconds, snapLength, littleEndian } = this.#options;
    const view = this.#view;
    view.setUint32(to, nanoseconds ? PCAP_MAGIC_NANOSECONDS : PCAP_MAGIC_MICROSECONDS, littleEndian);
    view.setUint16(to + 4, PCAP_VERSION_MAJOR, littleEndian);
    view.setUint16(to + 6, PCAP_VERSION_MINOR, littleEndian);
    view.setUint32(to + 8, 0, littleEndian);
    view.setUint32(to + 12, 0, littleEndian);
    view.setUint32(to + 16, snapLength, littleEndian);
    view.setUint32(to + 20, LINKTYPE_ETHERNET, littleEndian);
  }

  recordBytes(captured: number): number {
    return PCAP_RECORD_HEADER + captured;
  }

  record(to: number, captured: number, length: number, seconds: number, nanoseconds: number): number {
    const { littleEndian } = this.#options;
    const view = this.#view;
    view.setUint32(to, seconds, littleEndian);
    view.setUint32(to + 4, Math.floor(nanoseconds / this.#unit), littleEndian);
    view.setUint32(to + 8, captured, littleEndian);
    view.setUint32(to + 12, length, littleEndian);
    return to + PCAP_RECORD_HEADER;
  }

  recordAt(at: number): number {
    return PCAP_RECORD_HEADER + this.#view.getUint32(at + 8, this.#options.littleEndian);
  }
}

const SECTION_BYTES = 28;
const INTERFACE_BYTES = 32;

/** pcapng (draft-ietf-opsawg-pcapng): one section, one Ethernet interface, an enhanced packet block for each frame. */
export class PcapngWriter implements CaptureWriter {
  readonly format: string;
  readonly headerBytes = SECTION_BYTES + INTERFACE_BYTES;
  readonly #view: DataView;
  readonly #options: Required<CaptureWriterOptions>;
  readonly #unit: number;
  readonly #time = new Wide();

  constructor(view: DataView, options: CaptureWriterOptions = {}) {
    this.#view = view;
    this.#options = complete(options);
    this.#unit = this.#options.nanoseconds ? 1 : 1000;
    this.format = describe('pcapng', this.#options);
  }

  header(to: number): void {
    const { littleEndian } = this.#options;
    const view = this.#view;
    this.#frameBlock(to, NG_SECTION, SECTION_BYTES);
    view.setUint32(to + 8, NG_BYTE_ORDER, littleEndian);
    view.setUint16(to + 12, 1, littleEndian);
    view.setUint16(to + 14, 0, littleEndian);
    // Section length not given: -1.
    view.setUint32(to + 16, 0xffffffff, littleEndian);
    view.setUint32(to + 20, 0xffffffff, littleEndian);
    this.#interface(to + SECTION_BYTES);
  }

  recordBytes(captured: number): number {
    return NG_PACKET_FIXED + captured + (-captured & 3) + NG_TRAILER;
  }

  record(to: number, captured: number, length: number, seconds: number, nanoseconds: number): number {
    const { littleEndian } = this.#options;
    const view = this.#view;
    const total = this.recordBytes(captured);
    // The padding, before the frame is copied over all but that.
    view.setUint32(to + total - 8, 0, littleEndian);
    this.#frameBlock(to, NG_ENHANCED_PACKET, total);
    this.#time.join(seconds, 1e9 / this.#unit, Math.floor(nanoseconds / this.#unit));
    view.setUint32(to + 8, 0, littleEndian); // interface 0
    view.setUint32(to + 12, this.#time.high, littleEndian);
    view.setUint32(to + 16, this.#time.low, littleEndian);
    view.setUint32(to + 20, captured, littleEndian);
    view.setUint32(to + 24, length, littleEndian);
    return to + NG_PACKET_FIXED;
  }

  recordAt(at: number): number {
    return this.#view.getUint32(at + 4, this.#options.littleEndian);
  }

  #interface(to: number): void {
    const { nanoseconds, snapLength, littleEndian } = this.#options;
    const view = this.#view;
    this.#frameBlock(to, NG_INTERFACE, INTERFACE_BYTES);
    view.setUint16(to + 8, LINKTYPE_ETHERNET, littleEndian);
    view.setUint16(to + 10, 0, littleEndian);
    view.setUint32(to + 12, snapLength, littleEndian);
    view.setUint16(to + 16, IF_TSRESOL, littleEndian);
    view.setUint16(to + 18, 1, littleEndian);
    view.setUint32(to + 20, 0, littleEndian);
    view.setUint8(to + 20, nanoseconds ? 9 : 6);
    view.setUint32(to + 24, 0, littleEndian); // end of options
  }

  /** Type, and the length at both ends. */
  #frameBlock(to: number, type: number, total: number): void {
    const { littleEndian } = this.#options;
    this.#view.setUint32(to, type, littleEndian);
    this.#view.setUint32(to + 4, total, littleEndian);
    this.#view.setUint32(to + total - NG_TRAILER, total, littleEndian);
  }
}

function complete({ nanoseconds = true, snapLength = MAX_SNAPLEN, littleEndian = true }: CaptureWriterOptions): Required<CaptureWriterOptions> {
  return { nanoseconds, snapLength, littleEndian };
}

function describe(name: string, { nanoseconds, littleEndian }: Required<CaptureWriterOptions>): string {
  return `${name}, ${nanoseconds ? 'nanoseconds' : 'microseconds'}${littleEndian ? '' : ', big-endian'}`;
}
