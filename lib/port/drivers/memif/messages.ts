/**
 * memif's control messages, version 2.0: 128 bytes each, in the host's byte order, whole in a SOCK_SEQPACKET message, with
 * at most one descriptor beside it. The facts are VPP's src/plugins/memif/memif.h and DPDK's drivers/net/memif/memif.h.
 */
import { fromCString, getU16, getU32, getU64, setCString, setU16, setU32, setU64 } from '../../../kernel/bytes.js';

export const MESSAGE_BYTES = 128;
export const MEMIF_VERSION = 0x0200;
/** Frames with Ethernet headers; the other modes (IP, punt) are nobody's here. */
export const MODE_ETHERNET = 0;
export const SECRET_BYTES = 24;
const NAME_BYTES = 32;
const REASON_BYTES = 96;
/** In ADD_RING: from client to server. */
const FLAG_CLIENT_TO_SERVER = 1;

/** What the server can do: said first, on every connection. */
export interface Hello {
  readonly kind: 'hello';
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Highest indices of regions and of rings from server to client and back, so one less than their numbers. */
  readonly maxRegion: number;
  readonly maxToClient: number;
  readonly maxToServer: number;
  readonly maxLog2Ring: number;
}

/** Which of the server's interfaces the client wants, and what it knows to get it. */
export interface Init {
  readonly kind: 'init';
  readonly version: number;
  readonly id: number;
  readonly mode: number;
  readonly secret: string;
  readonly name: string;
}

/** With the region's file. */
export interface AddRegion { readonly kind: 'addRegion'; readonly index: number; readonly bytes: bigint }

/** With the ring's eventfd. */
export interface AddRing {
  readonly kind: 'addRing';
  readonly toServer: boolean;
  /** Among those of its direction. */
  readonly index: number;
  readonly region: number;
  readonly offset: number;
  readonly log2Size: number;
  readonly privateHeader: number;
}

export interface Connect { readonly kind: 'connect' | 'connected'; readonly name: string }
export interface Disconnect { readonly kind: 'disconnect'; readonly code: number; readonly reason: string }
export type Message = { readonly kind: 'ack' } | Hello | Init | AddRegion | AddRing | Connect | Disconnect;

/** By their numbers. 0 is none. */
const KINDS: readonly Message['kind'][] = ['ack', 'hello', 'init', 'addRegion', 'addRing', 'connect', 'connected', 'disconnect'];

/** Is a descriptor beside it? */
export function hasDescriptor(kind: Message['kind']): boolean {
  return kind === 'addRegion' || kind === 'addRing';
}

export function writeMessage(message: Message): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_BYTES);
  setU16(bytes, 0, KINDS.indexOf(message.kind) + 1);
  switch (message.kind) {
    case 'ack': break;
    case 'hello':
      setCString(bytes, 2, NAME_BYTES, message.name);
      [message.minVersion, message.maxVersion, message.maxRegion, message.maxToClient, message.maxToServer].forEach((value, i) => setU16(bytes, 34 + i * 2, value));
      bytes[44] = message.maxLog2Ring;
      break;
    case 'init':
      setU16(bytes, 2, message.version);
      setU32(bytes, 4, message.id);
      bytes[8] = message.mode;
      bytes.set(new TextEncoder().encode(message.secret).subarray(0, SECRET_BYTES), 9);
      setCString(bytes, 33, NAME_BYTES, message.name);
      break;
    case 'addRegion':
      setU16(bytes, 2, message.index);
      setU64(bytes, 4, message.bytes);
      break;
    case 'addRing':
      [message.toServer ? FLAG_CLIENT_TO_SERVER : 0, message.index, message.region].forEach((value, i) => setU16(bytes, 2 + i * 2, value));
      setU32(bytes, 8, message.offset);
      bytes[12] = message.log2Size;
      setU16(bytes, 13, message.privateHeader);
      break;
    case 'connect':
    case 'connected': setCString(bytes, 2, NAME_BYTES, message.name); break;
    case 'disconnect':
      setU32(bytes, 2, message.code);
      setCString(bytes, 6, REASON_BYTES, message.reason);
      break;
  }
  return bytes;
}

/** Undefined for a kind that there is not. */
export function readMessage(bytes: Uint8Array): Message | undefined {
  const kind = KINDS[getU16(bytes, 0) - 1];
  switch (kind) {
    case 'ack': return { kind };
    case 'hello': return {
      kind, name: fromCString(bytes, 2, NAME_BYTES), minVersion: getU16(bytes, 34), maxVersion: getU16(bytes, 36), maxRegion: getU16(bytes, 38),
      maxToClient: getU16(bytes, 40), maxToServer: getU16(bytes, 42), maxLog2Ring: bytes[44]!,
    };
    case 'init': return { kind, version: getU16(bytes, 2), id: getU32(bytes, 4), mode: bytes[8]!, secret: fromCString(bytes, 9, SECRET_BYTES), name: fromCString(bytes, 33, NAME_BYTES) };
    case 'addRegion': return { kind, index: getU16(bytes, 2), bytes: getU64(bytes, 4) };
    case 'addRing': return {
      kind, toServer: (getU16(bytes, 2) & FLAG_CLIENT_TO_SERVER) !== 0, index: getU16(bytes, 4), region: getU16(bytes, 6), offset: getU32(bytes, 8),
      log2Size: bytes[12]!, privateHeader: getU16(bytes, 13),
    };
    case 'connect':
    case 'connected': return { kind, name: fromCString(bytes, 2, NAME_BYTES) };
    case 'disconnect': return { kind, code: getU32(bytes, 2), reason: fromCString(bytes, 6, REASON_BYTES) };
    case undefined: return undefined;
  }
}

/** As much of a text as a field of `bytes` holds with its NUL, in plain ASCII: names and reasons that are for people. */
export function fitted(text: string, bytes = NAME_BYTES): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, bytes - 1);
}

/** A reason to end a connection. */
export function farewell(reason: string): Disconnect {
  return { kind: 'disconnect', code: 0, reason: fitted(reason, REASON_BYTES) };
}
