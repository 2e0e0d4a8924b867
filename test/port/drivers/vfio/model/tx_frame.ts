/** From descriptors to a frame (sections 7.2.3.2, 7.2.5 and 7.4.2): what the fields ask for, and whether they may. */
import { frameCheck, onesSum, parse, pseudoSum } from './packet.js';

/** Bits of a descriptor's third word: DCMD of the advanced format, CMD of the legacy one (IC is legacy's only). */
export const Command = { EOP: 1 << 24, IFCS: 1 << 25, IC: 1 << 26, RS: 1 << 27, DEXT: 1 << 29, VLE: 1 << 30, TSE: 1 << 31 } as const;
const IXSM = 1 << 8, TXSM = 1 << 9;
const TXPADEN = 1 << 10;
/** Section 7.2.1.1. */
export const MOST_BUFFERS = 40;
/** Section 7.2.3.2.2: a descriptor's buffer has 15.5 KB at most; so has a packet (section 1.3). */
const LONGEST = 15872;

export interface Piece {
  readonly index: number;
  readonly words: Uint32Array;
}

/** A context of section 7.2.3.2.3. */
export interface Context {
  readonly macLength: number;
  readonly ipLength: number;
  readonly vlan: number;
  readonly ipv4: boolean;
  /** TUCMD.L4T: 0 UDP, 1 TCP, 2 SCTP. */
  readonly l4: number;
}

export function isLegacy(words: Uint32Array): boolean {
  return (words[2]! & Command.DEXT) === 0;
}

export function isContext(words: Uint32Array): boolean {
  return !isLegacy(words) && ((words[2]! >>> 20) & 0xf) === 2;
}

export function readContext(words: Uint32Array, violate: (sentence: string) => void): Context {
  const macLength = (words[0]! >>> 9) & 0x7f, ipLength = words[0]! & 0x1ff, l4 = (words[2]! >>> 11) & 3;
  if (l4 === 3) violate('A context descriptor has TUCMD.L4T 3, which is reserved (7.2.3.2.3).');
  if ((words[3]! & 0x60) !== 0) violate('A context descriptor has an IDX above 1 (7.2.3.2.3).');
  return { macLength, ipLength, vlan: words[0]! >>> 16, ipv4: ((words[2]! >>> 10) & 1) !== 0, l4 };
}

/** What is wrong with a packet's data descriptors. */
export function dataViolations(queue: number, pieces: readonly Piece[], hlreg0: number): string[] {
  const first = pieces[0]!.words;
  const total = pieces.reduce((sum, { words }) => sum + (words[2]! & 0xffff), 0);
  const legacy = isLegacy(first);
  const rules: readonly (readonly [boolean, string])[] = [
    [pieces.some(({ words }) => isLegacy(words) !== legacy), 'mixes the legacy and the advanced format (7.2.3.2)'],
    [!legacy && pieces.some(({ words }) => ((words[2]! >>> 20) & 0xf) !== 3), 'has a DTYP that is neither 2 nor 3 (7.2.3.2.4)'],
    [!legacy && pieces.some(({ words }) => (words[2]! & 0xffff) === 0), 'has an empty buffer (7.2.3.2.4)'],
    [!legacy && pieces.some(({ words }) => (words[2]! & 0x14030000) !== 0 || (words[3]! & 0x386e) !== 0), 'has reserved bits set (7.2.3.2.4)'],
    [!legacy && (first[2]! & Command.TSE) === 0 && first[3]! >>> 14 !== total, 'has a PAYLEN that is not the sum of its buffers (7.2.3.2.4)'],
    [!legacy && (first[2]! & Command.TSE) !== 0, 'asks for TCP segmentation, which this model has not (7.2.4)'],
    [pieces.some(({ words }) => (words[2]! & 0xffff) > LONGEST) || total > LONGEST, 'is longer than 15.5 KB (7.2.3.2.2)'],
    [pieces.slice(0, -1).some(({ words }) => (words[2]! & Command.RS) !== 0), 'has RS without EOP (8.2.3.9.10)'],
    [(first[2]! & Command.IFCS) === 0 && needsFcs(first, total, hlreg0), 'needs IFCS, for what is changed in it, and has it not (7.2.3.2.2)'],
  ];
  return rules.filter(([broken]) => broken).map(([, what]) => `A packet of transmit queue ${queue} ${what}.`);
}

function needsFcs(first: Uint32Array, total: number, hlreg0: number): boolean {
  const padded = total < 60 && (hlreg0 & TXPADEN) !== 0;
  const offload = isLegacy(first) ? (first[2]! & Command.IC) !== 0 : (first[3]! & (IXSM | TXSM)) !== 0;
  return padded || offload || (first[2]! & (Command.VLE | Command.TSE)) !== 0;
}

export interface Finishing {
  readonly contexts: readonly (Context | undefined)[];
  /** DMATXCTL.VT. */
  readonly tagType: number;
  readonly hlreg0: number;
  readonly violate: (sentence: string) => void;
}

/** The frame without FCS as it goes out; undefined if none does. */
export function finish(first: Uint32Array, data: Uint8Array, how: Finishing): Uint8Array | undefined {
  if (!isLegacy(first) && (first[2]! & Command.TSE) !== 0) return undefined;
  if (data.length < 14 || data.length > LONGEST) return undefined;
  if ((first[2]! & Command.IFCS) === 0) return withOwnFcs(data, how);
  const summed = isLegacy(first) ? legacySum(first, data) : advancedSum(first, data, how);
  const tagged = (first[2]! & Command.VLE) === 0 ? summed : insertTag(first, summed, how);
  if (tagged.length >= 60 || (how.hlreg0 & TXPADEN) === 0) return tagged;
  const padded = new Uint8Array(60);
  padded.set(tagged);
  return padded;
}

/** Without IFCS the last four bytes are the FCS, and a peer drops a frame whose FCS is wrong. */
function withOwnFcs(data: Uint8Array, { violate }: Finishing): Uint8Array | undefined {
  const frame = data.subarray(0, -4);
  const given = new DataView(data.buffer, data.byteOffset).getUint32(data.length - 4, true);
  if (given === frameCheck(frame)) return frame.slice();
  violate('A frame is sent without IFCS and without a valid FCS of its own (7.2.3.2.2).');
  return undefined;
}

/** Section 7.2.3.2.2: IC, from CSS to the end, at CSO. */
function legacySum(first: Uint32Array, data: Uint8Array): Uint8Array {
  if ((first[2]! & Command.IC) === 0) return data;
  const view = new DataView(data.buffer);
  const start = (first[3]! >>> 8) & 0xff, to = (first[2]! >>> 16) & 0xff;
  if (start < data.length && to + 2 <= data.length) view.setUint16(to, ~onesSum(view, start, data.length) & 0xffff);
  return data;
}

function contextOf(first: Uint32Array, { contexts, violate }: Finishing): Context | undefined {
  const context = contexts[(first[3]! >>> 4) & 1];
  if (context === undefined) violate('An offload is asked for, and the context that IDX names was never given (7.2.3.2.3, 7.2.3.2.4).');
  return context;
}

/** Section 7.2.5. */
function advancedSum(first: Uint32Array, data: Uint8Array, how: Finishing): Uint8Array {
  if ((first[3]! & (IXSM | TXSM)) === 0) return data;
  const context = contextOf(first, how);
  if (context === undefined || !fits(context, data, how)) return data;
  if ((first[3]! & TXSM) !== 0) insertL4(context, data, how);
  if ((first[3]! & IXSM) !== 0) insertIp(context, data, how);
  return data;
}

function fits({ macLength, ipLength }: Context, data: Uint8Array, { violate }: Finishing): boolean {
  const good = macLength >= 14 && ipLength >= 20 && macLength + ipLength <= data.length;
  if (!good) violate('A context has header lengths that the packet has not (7.2.3.2.3).');
  return good;
}

function insertIp({ macLength, ipLength, ipv4 }: Context, data: Uint8Array, { violate }: Finishing): void {
  const view = new DataView(data.buffer);
  if (!ipv4) return violate('IXSM is set and the context says IPv6 (7.2.3.2.3).');
  if (view.getUint16(macLength + 10) !== 0) violate('IXSM is set and the header\'s checksum field is not 0 (7.2.5).');
  view.setUint16(macLength + 10, ~onesSum(view, macLength, macLength + ipLength) & 0xffff);
}

/** The field holds the pseudo header's sum, from software; the sum goes over all that follows the IP header. */
function insertL4({ macLength, ipLength, l4 }: Context, data: Uint8Array, { violate }: Finishing): void {
  const view = new DataView(data.buffer);
  const start = macLength + ipLength;
  const at = start + (l4 === 1 ? 16 : 6);
  if (l4 > 1) return violate('TXSM is asked for SCTP, which this model has not (7.2.5).');
  if (at + 2 > data.length) return violate('TXSM is set and the packet has no such header (7.2.5).');
  const packet = parse(data, macLength === 18 ? view.getUint16(12) : 0);
  if (packet.l4 === (l4 === 1 ? 6 : 17) && packet.l4At === start && view.getUint16(at) !== pseudoSum(packet)) {
    violate('TXSM is set and the checksum field has not the pseudo header\'s sum (7.2.5).');
  }
  const sum = ~onesSum(view, start, data.length) & 0xffff;
  view.setUint16(at, sum === 0 && l4 === 0 ? 0xffff : sum);
}

/** VLE: the tag of the context, or of the legacy descriptor itself. */
function insertTag(first: Uint32Array, frame: Uint8Array, how: Finishing): Uint8Array {
  const tag = isLegacy(first) ? first[3]! >>> 16 : contextOf(first, how)?.vlan;
  if (tag === undefined) return frame;
  return Uint8Array.from([...frame.subarray(0, 12), how.tagType >> 8, how.tagType & 0xff, tag >> 8, tag & 0xff, ...frame.subarray(12)]);
}
