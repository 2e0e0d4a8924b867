/**
 * vhost-user's messages: QEMU's docs/interop/vhost-user.rst. A header of three u32 (request, flags, bytes of payload) in
 * the host's byte order, then the payload; descriptors stand beside it (SCM_RIGHTS).
 */
import { getU16, getU32, getU64, setU16, setU32, setU64 } from '../kernel/bytes.js';

export const HEADER_BYTES = 12;
export const FLAG_VERSION = 1;
export const FLAG_REPLY = 4;
export const FLAG_NEED_REPLY = 8;
/** More regions are in no SET_MEM_TABLE. */
export const TABLE_REGIONS = 8;
/** In the payload of SET_VRING_KICK, CALL and ERR: no descriptor comes. */
export const VRING_NO_FD = 0x100;

// Protocol features
export const PROTOCOL_F_MQ = 1n << 0n;
export const PROTOCOL_F_REPLY_ACK = 1n << 3n;
export const PROTOCOL_F_INFLIGHT_SHMFD = 1n << 12n;
export const PROTOCOL_F_CONFIGURE_MEM_SLOTS = 1n << 15n;

const REQUESTS = {
  GET_FEATURES: 1, SET_FEATURES: 2, SET_OWNER: 3, RESET_OWNER: 4, SET_MEM_TABLE: 5, SET_VRING_NUM: 8, SET_VRING_ADDR: 9, SET_VRING_BASE: 10,
  GET_VRING_BASE: 11, SET_VRING_KICK: 12, SET_VRING_CALL: 13, SET_VRING_ERR: 14, GET_PROTOCOL_FEATURES: 15, SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17, SET_VRING_ENABLE: 18, SEND_RARP: 19, GET_INFLIGHT_FD: 31, SET_INFLIGHT_FD: 32, GET_MAX_MEM_SLOTS: 36, ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
} as const;

export type RequestName = keyof typeof REQUESTS;

/** How a request looks. A payload of several sizes has its least one here, and `each` for what follows it. */
export interface RequestShape {
  readonly id: number;
  readonly payload: number;
  readonly each?: { readonly bytes: number; readonly most: number };
  /** Descriptors beside it: at least and at most. */
  readonly fds: readonly [least: number, most: number];
  /** It is answered with a payload of its own. */
  readonly replies: boolean;
}

const NONE = [0, 0] as const;
const REGION_BYTES = 32;

function shape(name: RequestName, payload: number, fds: readonly [number, number] = NONE, replies = false): RequestShape {
  return { id: REQUESTS[name], payload, fds, replies };
}

export const SHAPES: Readonly<Record<RequestName, RequestShape>> = {
  GET_FEATURES: shape('GET_FEATURES', 0, NONE, true),
  SET_FEATURES: shape('SET_FEATURES', 8),
  SET_OWNER: shape('SET_OWNER', 0),
  RESET_OWNER: shape('RESET_OWNER', 0),
  SET_MEM_TABLE: { ...shape('SET_MEM_TABLE', 8, [0, TABLE_REGIONS]), each: { bytes: REGION_BYTES, most: TABLE_REGIONS } },
  SET_VRING_NUM: shape('SET_VRING_NUM', 8),
  SET_VRING_ADDR: shape('SET_VRING_ADDR', 40),
  SET_VRING_BASE: shape('SET_VRING_BASE', 8),
  GET_VRING_BASE: shape('GET_VRING_BASE', 8, NONE, true),
  SET_VRING_KICK: shape('SET_VRING_KICK', 8, [0, 1]),
  SET_VRING_CALL: shape('SET_VRING_CALL', 8, [0, 1]),
  SET_VRING_ERR: shape('SET_VRING_ERR', 8, [0, 1]),
  GET_PROTOCOL_FEATURES: shape('GET_PROTOCOL_FEATURES', 0, NONE, true),
  SET_PROTOCOL_FEATURES: shape('SET_PROTOCOL_FEATURES', 8),
  GET_QUEUE_NUM: shape('GET_QUEUE_NUM', 0, NONE, true),
  SET_VRING_ENABLE: shape('SET_VRING_ENABLE', 8),
  SEND_RARP: shape('SEND_RARP', 8),
  GET_INFLIGHT_FD: shape('GET_INFLIGHT_FD', 20, NONE, true),
  SET_INFLIGHT_FD: shape('SET_INFLIGHT_FD', 20, [1, 1]),
  GET_MAX_MEM_SLOTS: shape('GET_MAX_MEM_SLOTS', 0, NONE, true),
  ADD_MEM_REG: shape('ADD_MEM_REG', 40, [1, 1]),
  // "The back-end may accept messages with one": of older front-ends.
  REM_MEM_REG: shape('REM_MEM_REG', 40, [0, 1]),
};

const NAMES = new Map<number, RequestName>(Object.entries(REQUESTS).map(([name, id]) => [id, name as RequestName]));

export function requestNamed(id: number): RequestName | undefined {
  return NAMES.get(id);
}

/** The longest payload of all, before anything is known of a request: others are refused unread. */
export const MOST_PAYLOAD = 8 + TABLE_REGIONS * REGION_BYTES;
/** One more than any has, so that a surplus is seen. */
export const FDS_SEEN = TABLE_REGIONS + 1;

/** Does a payload of so many bytes go with the request? QEMU sends only the regions that there are, DPDK's older versions all eight. */
export function fitsPayload({ payload, each }: RequestShape, bytes: number): boolean {
  if (each === undefined) return bytes === payload;
  return bytes >= payload && bytes <= payload + each.bytes * each.most && (bytes - payload) % each.bytes === 0;
}

export interface MemoryRegion {
  /** Its first address as descriptors say it, and as the front-end's process does (rings' addresses are such). */
  readonly guest: bigint;
  readonly user: bigint;
  readonly bytes: bigint;
  /** Where it begins in its file. */
  readonly fileOffset: bigint;
}

export function readRegion(bytes: Uint8Array, at: number): MemoryRegion {
  return { guest: getU64(bytes, at), bytes: getU64(bytes, at + 8), user: getU64(bytes, at + 16), fileOffset: getU64(bytes, at + 24) };
}

/** SET_MEM_TABLE's; undefined when it says more regions than it has. */
export function readTable(bytes: Uint8Array): MemoryRegion[] | undefined {
  const count = getU32(bytes, 0);
  if (8 + count * REGION_BYTES > bytes.length || count > TABLE_REGIONS) return undefined;
  return Array.from({ length: count }, (_, i) => readRegion(bytes, 8 + i * REGION_BYTES));
}

export function writeTable(regions: readonly MemoryRegion[]): Uint8Array {
  const bytes = new Uint8Array(8 + regions.length * REGION_BYTES);
  setU32(bytes, 0, regions.length);
  regions.forEach((region, i) => {
    const at = 8 + i * REGION_BYTES;
    [region.guest, region.bytes, region.user, region.fileOffset].forEach((value, field) => setU64(bytes, at + field * 8, value));
  });
  return bytes;
}

/** SET_VRING_NUM, BASE and ENABLE: a vring and a number of it. */
export interface VringState { readonly index: number; readonly value: number }

export function readVring(bytes: Uint8Array): VringState {
  return { index: getU32(bytes, 0), value: getU32(bytes, 4) };
}

export function writeVring({ index, value }: VringState): Uint8Array {
  const bytes = new Uint8Array(8);
  setU32(bytes, 0, index);
  setU32(bytes, 4, value);
  return bytes;
}

/** Where a vring's parts are in the front-end's process. */
export interface VringAddress { readonly index: number; readonly flags: number; readonly desc: bigint; readonly used: bigint; readonly avail: bigint }

export function readAddress(bytes: Uint8Array): VringAddress {
  return { index: getU32(bytes, 0), flags: getU32(bytes, 4), desc: getU64(bytes, 8), used: getU64(bytes, 16), avail: getU64(bytes, 24) };
}

export function writeAddress({ index, flags, desc, used, avail }: VringAddress): Uint8Array {
  const bytes = new Uint8Array(40);
  setU32(bytes, 0, index);
  setU32(bytes, 4, flags);
  [desc, used, avail, 0n].forEach((value, field) => setU64(bytes, 8 + field * 8, value));
  return bytes;
}

export interface Inflight { readonly bytes: bigint; readonly fileOffset: bigint; readonly queues: number; readonly queueSize: number }

export function readInflight(bytes: Uint8Array): Inflight {
  return { bytes: getU64(bytes, 0), fileOffset: getU64(bytes, 8), queues: getU16(bytes, 16), queueSize: getU16(bytes, 18) };
}

export function writeInflight({ bytes: size, fileOffset, queues, queueSize }: Inflight): Uint8Array {
  const bytes = new Uint8Array(20);
  setU64(bytes, 0, size);
  setU64(bytes, 8, fileOffset);
  setU16(bytes, 16, queues);
  setU16(bytes, 18, queueSize);
  return bytes;
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  setU64(bytes, 0, value);
  return bytes;
}
