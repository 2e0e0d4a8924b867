import { PollmodeError } from '../errors.js';
import {
  EPB_FCS_MASK, EPB_FCS_SHIFT, EPB_FLAGS, LINKTYPE_ETHERNET, NG_BYTE_ORDER, NG_ENHANCED_PACKET, NG_INTERFACE, NG_INTERFACE_FIXED,
  NG_PACKET, NG_PACKET_FIXED, NG_SECTION, NG_SECTION_FIXED, NG_SIMPLE_FIXED, NG_SIMPLE_PACKET, NG_SMALLEST_BLOCK, NG_TRAILER, OPTION_END,
} from './pcap_layout.js';
import {
  CapturedFrame, READ_CORRUPT_BLOCK, READ_CORRUPT_FILE, READ_FAILED, READ_NOT_ETHERNET, READ_OTHER, READ_PACKET, READ_TOO_LONG,
  READ_TRUNCATED, endOf, notEthernet, type CaptureReader,
} from './pcap_reader.js';
import { InterfaceOptions, type CaptureInterface } from './pcapng_interface.js';
import type { CaptureWindow } from './pcap_window.js';

/** A file with more interfaces than an obsolete packet block can number is not believed; each costs memory. */
const MAX_INTERFACES = 65536;

/**
 * pcapng (draft-ietf-opsawg-pcapng): sections of either byte order, each with interfaces of its own; frames from
 * enhanced, simple and obsolete packet blocks; all other blocks are passed over.
 *
 * A block counts when its length stands at both of its ends. One with sound ends and wrong contents is passed over
 * and told of; after wrong ends nothing more can be read.
 */
export class PcapngReader implements CaptureReader {
  readonly frame = new CapturedFrame();
  readonly #window: CaptureWindow;
  readonly #maxLength: number;
  readonly #interfaces: CaptureInterface[] = [];
  #littleEndian = true;
  /** False in a section of another version, whose blocks mean who knows what. */
  #understood = false;
  #ended = 0;

  /**
   * Reads up to the first frame, and goes back. Throws EFORMAT where the file does not start with a section that can be
   * read, or where no interface before the first frame is Ethernet. `maxLength`: the longest frame to deliver.
   */
  constructor(window: CaptureWindow, name: string, maxLength: number) {
    this.#window = window;
    this.#maxLength = maxLength;
    if (this.step() !== READ_OTHER) throw new PollmodeError('EFORMAT', `${name} starts as pcapng does, but its section header block is no sound one: capture it again.`);
    if (!this.#understood) throw new PollmodeError('EFORMAT', `${name} is pcapng of a version that is not 1.0: rewrite it with editcap -F pcapng.`);
    let result = READ_OTHER;
    while (result === READ_OTHER) result = this.step();
    const types = this.#interfaces.map(each => each.linkType);
    if (types.length > 0 && !types.includes(LINKTYPE_ETHERNET)) throw notEthernet(name, types[0]!);
    this.rewind();
  }

  get format(): string {
    return `pcapng${this.#littleEndian ? '' : ', big-endian'}`;
  }

  step(): number {
    if (this.#ended !== 0) return this.#ended;
    const window = this.#window;
    if (!window.need(8)) return this.#end(endOf(window));
    const type = this.#u32(0);
    if (type === NG_SECTION) return this.#section();
    const total = this.#u32(4);
    if (total < NG_SMALLEST_BLOCK) return this.#end(READ_CORRUPT_FILE);
    switch (type) {
      case NG_INTERFACE: return this.#interface(total);
      case NG_ENHANCED_PACKET:
      case NG_PACKET: return this.#packet(type, total);
      case NG_SIMPLE_PACKET: return this.#simplePacket(total);
      default: return this.#pass(total, READ_OTHER);
    }
  }

  rewind(): void {
    this.#window.rewind();
    this.#interfaces.length = 0;
    this.#ended = 0;
  }

  /** Section 4.1. The byte order is known from here on, for this block's own length too. */
  #section(): number {
    const window = this.#window;
    if (!window.need(NG_SECTION_FIXED)) return this.#cut();
    this.#littleEndian = window.view.getUint32(window.at + 8, true) === NG_BYTE_ORDER;
    if (this.#u32(8) !== NG_BYTE_ORDER) return this.#end(READ_CORRUPT_FILE);
    const total = this.#u32(4);
    if (total < NG_SECTION_FIXED + NG_TRAILER) return this.#end(READ_CORRUPT_FILE);
    // Minor version 2 was written by some, and is 0 (section 4.1).
    this.#understood = this.#u16(12) === 1 && (this.#u16(14) === 0 || this.#u16(14) === 2);
    this.#interfaces.length = 0;
    return this.#pass(total, READ_OTHER);
  }

  /** Section 4.2. Interfaces are numbered in the order in which they come. */
  #interface(total: number): number {
    const window = this.#window;
    if (!this.#understood) return this.#pass(total, READ_OTHER);
    if (total < NG_INTERFACE_FIXED + NG_TRAILER || this.#interfaces.length === MAX_INTERFACES) return this.#end(READ_CORRUPT_FILE);
    if (!window.need(NG_INTERFACE_FIXED)) return this.#cut();
    const linkType = this.#u16(8);
    const snapLength = this.#u32(12);
    window.at += NG_INTERFACE_FIXED;
    const options = new InterfaceOptions(window, this.#littleEndian);
    const left = options.read(padded(total) - NG_INTERFACE_FIXED - NG_TRAILER);
    if (left < 0) return this.#cut();
    this.#interfaces.push({ linkType, snapLength: snapLength === 0 ? Infinity : snapLength, fcs: options.fcs, scale: options.scale() });
    return window.pass(left) ? this.#trailer(total, READ_OTHER) : this.#cut();
  }

  /** Section 4.3, and appendix A for the obsolete block, which differs in the width of the interface's number. */
  #packet(type: number, total: number): number {
    if (total < NG_PACKET_FIXED + NG_TRAILER) return this.#pass(total, READ_CORRUPT_BLOCK);
    if (!this.#window.need(NG_PACKET_FIXED)) return this.#cut();
    const from = this.#interfaces[type === NG_PACKET ? this.#u16(8) : this.#u32(8)];
    if (from === undefined) return this.#pass(total, READ_CORRUPT_BLOCK);
    this.frame.time.setWide(this.#u32(12), this.#u32(16), from.scale);
    return this.#deliver(total, NG_PACKET_FIXED, from, this.#u32(20), this.#u32(24));
  }

  /** Section 4.4: interface 0, no time, and as many bytes as the interface's snapshot length lets through. */
  #simplePacket(total: number): number {
    const from = this.#interfaces[0];
    if (total < NG_SIMPLE_FIXED + NG_TRAILER || from === undefined) return this.#pass(total, READ_CORRUPT_BLOCK);
    if (!this.#window.need(NG_SIMPLE_FIXED)) return this.#cut();
    const original = this.#u32(8);
    this.frame.time.clear();
    return this.#deliver(total, NG_SIMPLE_FIXED, from, Math.min(original, from.snapLength), original);
  }

  #deliver(total: number, fixed: number, from: CaptureInterface, captured: number, original: number): number {
    const { frame } = this;
    const window = this.#window;
    if (captured > total - fixed - NG_TRAILER) return this.#pass(total, READ_CORRUPT_BLOCK);
    if (from.linkType !== LINKTYPE_ETHERNET) return this.#pass(total, READ_NOT_ETHERNET);
    if (padded(total) > window.bytes.length) return this.#pass(total, READ_TOO_LONG);
    if (!window.need(padded(total))) return this.#cut();
    const options = window.at + fixed + padded(captured);
    const fcs = fixed === NG_PACKET_FIXED ? this.#fcsOf(options, window.at + padded(total) - NG_TRAILER) : 0;
    frame.setLengths(captured, original, fcs === 0 ? from.fcs : fcs);
    frame.at = window.at + fixed;
    return this.#pass(total, frame.captured > this.#maxLength ? READ_TOO_LONG : READ_PACKET);
  }

  /** epb_flags' FCS length, in octets, from options in the window that end at `end`; 0 where they do not say. */
  #fcsOf(options: number, end: number): number {
    const { view } = this.#window;
    for (let at = options; at + 4 <= end;) {
      const code = view.getUint16(at, this.#littleEndian);
      const length = view.getUint16(at + 2, this.#littleEndian);
      if (code === OPTION_END || at + 4 + length > end) return 0;
      if (code === EPB_FLAGS && length === 4) return (view.getUint32(at + 4, this.#littleEndian) >>> EPB_FCS_SHIFT) & EPB_FCS_MASK;
      at += 4 + padded(length);
    }
    return 0;
  }

  /** Consumes a whole block. `result` is what it comes to, when it is a sound one. */
  #pass(total: number, result: number): number {
    return this.#window.pass(padded(total) - NG_TRAILER) ? this.#trailer(total, result) : this.#cut();
  }

  #trailer(total: number, result: number): number {
    if (!this.#window.need(NG_TRAILER)) return this.#cut();
    if (this.#u32(0) !== total) return this.#end(READ_CORRUPT_FILE);
    this.#window.at += NG_TRAILER;
    return result;
  }

  #cut(): number {
    return this.#end(this.#window.failure === undefined ? READ_TRUNCATED : READ_FAILED);
  }

  #end(result: number): number {
    this.#ended = result;
    return result;
  }

  #u16(offset: number): number {
    return this.#window.view.getUint16(this.#window.at + offset, this.#littleEndian);
  }

  #u32(offset: number): number {
    return this.#window.view.getUint32(this.#window.at + offset, this.#littleEndian);
  }
}

/** Blocks and options end at a multiple of 4. A total length must be one (section 3.1); some writers left the padding out of it. */
function padded(length: number): number {
  return length + (-length & 3);
}
