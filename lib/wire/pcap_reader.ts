import { PollmodeError } from '../errors.js';
import {
  LINKTYPE_ETHERNET, MAX_SNAPLEN, PCAP_FCS_PRESENT, PCAP_FCS_SHIFT, PCAP_FILE_HEADER, PCAP_LINK_RESERVED, PCAP_LINK_TYPE_MASK,
  PCAP_MAGIC_MICROSECONDS, PCAP_MAGIC_NANOSECONDS, PCAP_RECORD_HEADER, PCAP_VERSION_MAJOR, PCAP_VERSION_MINOR, linkTypeName,
} from './pcap_layout.js';
import { CaptureTime } from './pcap_time.js';
import type { CaptureWindow } from './pcap_window.js';

/** What one step of a reader came to. Those from READ_END on are ends: every later step says the same. */
export const READ_PACKET = 1;
/** A block that holds no frame. */
export const READ_OTHER = 2;
/** A frame that is no Ethernet frame. */
export const READ_NOT_ETHERNET = 3;
/** A frame, or its block, that is larger than the reader may deliver. */
export const READ_TOO_LONG = 4;
/** A block with sound ends and wrong contents; the next one can be read. */
export const READ_CORRUPT_BLOCK = 5;
/** The file's end, behind a whole record. */
export const READ_END = 16;
/** The file's end, within a record. */
export const READ_TRUNCATED = 17;
/** Lengths that cannot be: where the next record starts is not known. */
export const READ_CORRUPT_FILE = 18;
/** The kernel refused to read on: the window's `failure` says why. */
export const READ_FAILED = 19;

/** A frame, in the window until the next step. */
export class CapturedFrame {
  /** Its first byte in the window's `bytes`. */
  at = 0;
  /** Bytes that are there, without FCS. */
  captured = 0;
  /** Bytes that it had on the wire, without FCS; more than `captured` when it was cut. */
  length = 0;
  readonly time = new CaptureTime();

  /** Sets both lengths. A trailing FCS, where the file says that there is one, is left out of them. */
  setLengths(captured: number, original: number, fcs: number): void {
    this.length = Math.max(captured, original) - fcs;
    if (this.length < 0) this.length = 0;
    this.captured = captured < this.length ? captured : this.length;
  }
}

/** Reads one capture, record by record, without allocating. It never throws after it was made. */
export interface CaptureReader {
  /** For people: "pcap, microseconds". */
  readonly format: string;
  /** What the last step found, when that was READ_PACKET. */
  readonly frame: CapturedFrame;
  step(): number;
  /** Back to the first record. */
  rewind(): void;
}

/** Where a read came to an end, from what the window has left. */
export function endOf(window: CaptureWindow): number {
  if (window.failure !== undefined) return READ_FAILED;
  return window.available === 0 ? READ_END : READ_TRUNCATED;
}

/** Classic pcap (draft-ietf-opsawg-pcap). */
export class PcapReader implements CaptureReader {
  readonly format: string;
  readonly frame = new CapturedFrame();
  readonly #window: CaptureWindow;
  readonly #maxLength: number;
  readonly #littleEndian: boolean;
  /** Nanoseconds in a unit of the fraction. */
  readonly #unit: number;
  readonly #fcs: number;
  #ended = 0;

  /**
   * Reads the file header, which starts with one of the two magic numbers.
   * Throws EFORMAT when the rest of it is not to be used. `maxLength`: the longest frame to deliver.
   */
  constructor(window: CaptureWindow, name: string, maxLength: number) {
    if (!window.need(PCAP_FILE_HEADER)) throw new PollmodeError('EFORMAT', `${name} ends within its file header: capture it again.`);
    const { view, at } = window;
    const first = view.getUint32(at, true);
    this.#littleEndian = first === PCAP_MAGIC_MICROSECONDS || first === PCAP_MAGIC_NANOSECONDS;
    const nanoseconds = view.getUint32(at, this.#littleEndian) === PCAP_MAGIC_NANOSECONDS;
    const link = view.getUint32(at + 20, this.#littleEndian);
    checkVersion(name, view.getUint16(at + 4, this.#littleEndian), view.getUint16(at + 6, this.#littleEndian));
    checkLink(name, link);
    this.#unit = nanoseconds ? 1 : 1000;
    this.#fcs = (link & PCAP_FCS_PRESENT) === 0 ? 0 : (link >>> PCAP_FCS_SHIFT) * 2;
    this.#window = window;
    this.#maxLength = maxLength;
    this.format = `pcap, ${nanoseconds ? 'nanoseconds' : 'microseconds'}${this.#littleEndian ? '' : ', big-endian'}`;
    window.at += PCAP_FILE_HEADER;
  }

  step(): number {
    if (this.#ended !== 0) return this.#ended;
    const window = this.#window;
    if (!window.need(PCAP_RECORD_HEADER)) return this.#end(endOf(window));
    const { view, at } = window;
    const captured = view.getUint32(at + 8, this.#littleEndian);
    if (captured > MAX_SNAPLEN) return this.#end(READ_CORRUPT_FILE);
    this.frame.setLengths(captured, view.getUint32(at + 12, this.#littleEndian), this.#fcs);
    const whole = PCAP_RECORD_HEADER + captured;
    if (this.frame.captured > this.#maxLength || whole > window.bytes.length) return window.pass(whole) ? READ_TOO_LONG : this.#cut();
    this.frame.time.set(view.getUint32(at, this.#littleEndian), view.getUint32(at + 4, this.#littleEndian) * this.#unit);
    if (!window.need(whole)) return this.#cut();
    this.frame.at = window.at + PCAP_RECORD_HEADER;
    window.at += whole;
    return READ_PACKET;
  }

  rewind(): void {
    this.#window.rewind();
    // A file that was cut short meanwhile ends with the next step.
    this.#window.pass(PCAP_FILE_HEADER);
    this.#ended = 0;
  }

  #cut(): number {
    return this.#end(this.#window.failure === undefined ? READ_TRUNCATED : READ_FAILED);
  }

  #end(result: number): number {
    this.#ended = result;
    return result;
  }
}

/** Before 2.4 the two lengths stood in the other order, or in either (libpcap 0.4 to 0.8 tell how); nobody writes that now. */
function checkVersion(name: string, major: number, minor: number): void {
  if (major === PCAP_VERSION_MAJOR && minor === PCAP_VERSION_MINOR) return;
  throw new PollmodeError('EFORMAT', `${name} is pcap version ${major}.${minor}, and only 2.4 is read: rewrite it with editcap -F pcap.`);
}

function checkLink(name: string, link: number): void {
  const type = link & PCAP_LINK_TYPE_MASK;
  if ((link & PCAP_LINK_RESERVED) !== 0) throw new PollmodeError('EFORMAT', `${name} has reserved bits set in its link type (0x${link.toString(16)}): capture it again.`);
  if (type !== LINKTYPE_ETHERNET) throw notEthernet(name, type);
}

export function notEthernet(name: string, type: number): PollmodeError {
  return new PollmodeError('EFORMAT', `${name} holds frames of link type ${linkTypeName(type)}, and a port carries Ethernet: capture on an Ethernet interface.`);
}
