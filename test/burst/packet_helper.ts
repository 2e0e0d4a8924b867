/** AF_PACKET's rings laid out by hand, with a kernel that a test plays: well-behaved or not. */
import fc from 'fast-check';
import { HANDLE_SHIFT, HEADER_BYTES, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import {
  BLOCK_FIRST_PKT, BLOCK_HEADER, BLOCK_NUM_PKTS, BLOCK_STATUS, PACKET_BLOCKS, PACKET_BLOCK_BYTES, PACKET_KEEP_TAG, PACKET_LAST,
  PACKET_LONGEST, PACKET_RING, PACKET_SLOTS, PACKET_SLOT_BYTES, TP3_LEN, TP3_MAC, TP3_RXHASH, TP3_SNAPLEN, TP3_STATUS, TP3_TIME,
  TP3_VLAN_TCI, TP3_VLAN_TPID, TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST, TP_STATUS_USER, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
} from '../../lib/port/drivers/af_packet/layout.js';
import { QUEUE_ROOM } from '../../lib/port/layout.js';
import { get, makePool, makeQueue, readVector, reserve, reset, set, writeVector, type Lab, type Pool } from './layout_helper.js';

export const BLOCK_BYTES = 8192;
export const SLOT_BYTES = 5120;
/** What a buffer of 2048 bytes has behind the headroom. */
export const ROOM = 1792;
export const RX_OWNER = 0x02000000;
export const TX_OWNER = 0x03000000;
/** Bytes from a packet's header to its frame, as Linux has it for Ethernet. */
const MAC = 82;

export interface Packet {
  readonly length: number;
  /** Bytes that the kernel had to leave out. */
  readonly cut: number;
  readonly hash: number;
  /** 0 for no tag, 1 for one of 802.1Q, else with this TPID. */
  readonly tpid: number;
  readonly tci: number;
  readonly seed: number;
}

/** A word of a block that a hostile kernel overwrites: in words from the block's start. */
export interface Poke { readonly word: number; readonly value: number }
export interface Frame {
  readonly offset: number;
  /** Of the first mbuf. */
  readonly length: number;
  /** What the first mbuf says. */
  readonly segments: number;
  /** Lengths of those that are there behind it. */
  readonly more: readonly number[];
  readonly tagged: boolean;
  readonly seed: number;
}

export type Command =
  | { readonly kind: 'fill'; readonly packets: readonly Packet[]; readonly pokes: readonly Poke[] }
  | { readonly kind: 'rx'; readonly max: number; readonly lcore: number }
  | { readonly kind: 'free'; readonly count: number; readonly lcore: number }
  | { readonly kind: 'tx'; readonly frames: readonly Frame[]; readonly foreign: number; readonly lcore: number }
  | { readonly kind: 'complete'; readonly count: number; readonly status: number };

export interface Shape { readonly count: number; readonly cache: number; readonly blocks: number; readonly slots: number; readonly longest: number; readonly keep: number }

export interface PacketWorld {
  readonly lab: Lab;
  readonly shape: Shape;
  readonly pool: Pool;
  readonly rx: number;
  readonly tx: number;
  readonly ring: number;
  readonly slots: number;
  readonly vector: number;
  /** What the program has. */
  held: number[];
  /** The block that the kernel fills next, and the slot that it sends next. */
  block: number;
  slot: number;
}

export const shapes: fc.Arbitrary<Shape> = fc.record({
  // What the other lcore's cache keeps leaves enough for the longest frame.
  count: fc.constantFrom(12, 16, 24), cache: fc.constantFrom(0, 2, 5), blocks: fc.integer({ min: 1, max: 4 }), slots: fc.integer({ min: 1, max: 9 }),
  longest: fc.constantFrom(60, 1514, 2000, 5000), keep: fc.constantFrom(0, 1),
}).map(shape => ({ ...shape, cache: Math.min(shape.cache, Math.floor(shape.count / 3)) }));

const words = fc.oneof(fc.constantFrom(0, 1, 7, 8, 47, 48, 49, 96, 4095, 4096, 8144, 8192, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff), fc.nat({ max: 0xffffffff }));
export const packets: fc.Arbitrary<Packet> = fc.record({
  length: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 300 }), fc.integer({ min: ROOM - 20, max: ROOM + 20 }), fc.constantFrom(2 * ROOM, 2 * ROOM + 1, 3 * ROOM, 7000)),
  cut: fc.constantFrom(0, 0, 0, 0, 0, 1, 9000), hash: fc.constantFrom(0, 1, 0xdeadbeef), tpid: fc.constantFrom(0, 0, 1, 0x8100, 0x88a8), tci: fc.nat({ max: 0xffff }), seed: fc.nat({ max: 255 }),
});
const frames: fc.Arbitrary<Frame> = fc.record({
  offset: fc.constantFrom(256, 252, 0, 300), length: fc.oneof(fc.integer({ min: 12, max: 70 }), fc.integer({ min: 1510, max: 1520 }), fc.integer({ min: 1740, max: 2048 })),
  tagged: fc.boolean(), seed: fc.nat({ max: 255 }),
  more: fc.oneof(fc.constant([]), fc.constant([]), fc.array(fc.constantFrom(0, 1, 60, 1000, 1792), { minLength: 1, maxLength: 4 })),
  wrong: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, -1),
}).map(({ wrong, ...frame }) => ({ ...frame, segments: frame.more.length === 1 && wrong < 0 ? 0 : frame.more.length + 1 + wrong }));
const lcore = fc.nat({ max: 1 });

export function commands(hostile: boolean): fc.Arbitrary<Command[]> {
  const pokes = hostile ? fc.array(fc.record({ word: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 2, max: 22 }) }, { weight: 1, arbitrary: fc.nat({ max: BLOCK_BYTES / 4 - 1 }) }), value: words }), { maxLength: 6 }) : fc.constant([]);
  const status = hostile ? fc.constantFrom(0, 0, 0, 1, 2, 4, 0x80000000) : fc.constant(0);
  const foreign = hostile ? fc.constantFrom(0, 0, 0, 1, 0xffffffff) : fc.constant(0);
  return fc.array(fc.oneof(
    fc.record({ kind: fc.constant('fill' as const), packets: fc.array(packets, { maxLength: 12, size: 'max' }), pokes }),
    fc.record({ kind: fc.constant('rx' as const), max: fc.integer({ min: 1, max: 20 }), lcore }),
    fc.record({ kind: fc.constant('free' as const), count: fc.nat({ max: 20 }), lcore }),
    fc.record({ kind: fc.constant('tx' as const), frames: fc.array(frames, { minLength: 1, maxLength: 8 }), foreign, lcore }),
    fc.record({ kind: fc.constant('complete' as const), count: fc.nat({ max: 6 }), status }),
  ), { minLength: 1, maxLength: 30, size: 'max' });
}

export function makePacketWorld(lab: Lab, shape: Shape): PacketWorld {
  reset(lab);
  const pool = makePool(lab, { count: shape.count, cache: shape.cache, lcores: 2, buffers: true });
  const [rx, tx] = [makeQueue(lab, pool, { owner: RX_OWNER }), makeQueue(lab, pool, { owner: TX_OWNER })];
  const [ring, slots] = [reserve(lab, BLOCK_BYTES * shape.blocks), reserve(lab, SLOT_BYTES * shape.slots)];
  for (const [field, value] of [[PACKET_RING, ring], [PACKET_BLOCK_BYTES, BLOCK_BYTES], [PACKET_BLOCKS, shape.blocks], [PACKET_KEEP_TAG, shape.keep], [QUEUE_ROOM, ROOM]] as const) set(lab, rx, field, value);
  for (const [field, value] of [[PACKET_RING, slots], [PACKET_SLOT_BYTES, SLOT_BYTES], [PACKET_SLOTS, shape.slots], [PACKET_LAST, slots], [PACKET_LONGEST, shape.longest]] as const) set(lab, tx, field, value);
  return { lab, shape, pool, rx, tx, ring, slots, vector: reserve(lab, 64 * 4), held: [], block: 0, slot: 0 };
}

/** The bytes of a packet or frame. */
export function contents(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => seed + i * 7);
}

export function bytesAt({ lab }: PacketWorld, at: number, length: number): Uint8Array {
  return Uint8Array.from(lab.zone.subarray(at - lab.base, at - lab.base + length));
}

/** The kernel hands over a block, unless the next is not its own. Returns whether it did, and the packets that fit. */
export function fillBlock(world: PacketWorld, wanted: readonly Packet[]): Packet[] | undefined {
  const { lab } = world;
  const block = world.ring + world.block * BLOCK_BYTES;
  if (get(lab, block, BLOCK_STATUS) !== 0) return undefined;
  let at = BLOCK_HEADER;
  let last = 0;
  const placed: Packet[] = [];
  for (const packet of wanted) {
    const bytes = Math.ceil((MAC + packet.length) / 8) * 8;
    if (at + bytes > BLOCK_BYTES) break;
    writePacket(world, block + at, packet);
    if (last > 0) set(lab, block + last, 0, at - last);
    last = at;
    at += bytes;
    placed.push(packet);
  }
  set(lab, block, BLOCK_NUM_PKTS, placed.length);
  set(lab, block, BLOCK_FIRST_PKT, BLOCK_HEADER);
  set(lab, block, BLOCK_STATUS, TP_STATUS_USER);
  world.block = (world.block + 1) % world.shape.blocks;
  return placed;
}

function writePacket({ lab }: PacketWorld, at: number, packet: Packet): void {
  const status = TP_STATUS_USER | (packet.tpid === 0 ? 0 : TP_STATUS_VLAN_VALID) | (packet.tpid > 1 ? TP_STATUS_VLAN_TPID_VALID : 0);
  const fields = [
    [0, 0], [TP3_TIME, 1000 + packet.seed], [TP3_TIME + 4, packet.seed], [TP3_SNAPLEN, packet.length], [TP3_LEN, packet.length + packet.cut],
    [TP3_STATUS, status], [TP3_MAC, MAC | (96 << 16)], [TP3_RXHASH, packet.hash], [TP3_VLAN_TCI, packet.tci], [TP3_VLAN_TPID, packet.tpid > 1 ? packet.tpid : 0],
  ] as const;
  for (const [field, value] of fields) set(lab, at, field, value);
  lab.zone.set(contents(packet.seed, packet.length), at + MAC - lab.base);
}

/** Up to `max` frames received; they are added to what the program has. */
export function receive(world: PacketWorld, max: number, core: number): number[] {
  const got = world.lab.burst.packetRx(world.rx, world.vector, max, core);
  const handles = readVector(world.lab, world.vector, got);
  world.held.push(...handles);
  return handles;
}

export function freeSome(world: PacketWorld, count: number, core: number): number {
  const freed = world.held.splice(0, count);
  writeVector(world.lab, world.vector, freed);
  world.lab.burst.mbufFree(world.pool.offset, core, world.vector, freed.length);
  return freed.length;
}

/** The program makes frames and sends them. Returns those that it could make, and how many the port took. */
export function sendFrames(world: PacketWorld, wanted: readonly Frame[], foreign: number, core: number): { frames: Frame[]; taken: number } {
  const { lab, pool } = world;
  const made: number[] = [];
  const frames: Frame[] = [];
  for (const frame of wanted) {
    if (lab.burst.mbufAlloc(pool.offset, core, world.vector, 1) === 0) break;
    const handle = get(lab, world.vector);
    made.push(handle);
    writeFrame(world, handle, frame);
    frames.push(writeMore(world, handle, frame, core) ? frame : { ...frame, more: [] });
  }
  if (foreign !== 0) made.push(foreign);
  writeVector(lab, world.vector, made);
  const taken = lab.burst.packetTx(world.tx, world.vector, made.length, core);
  world.held.push(...made.slice(taken).filter(handle => handle !== foreign));
  return { frames, taken };
}

/** The mbufs behind the first. False, and it is a frame without them, when the pool has not so many. */
function writeMore(world: PacketWorld, first: number, frame: Frame, core: number): boolean {
  const { lab, pool } = world;
  const at = world.vector + 32 * 4;
  if (frame.more.length === 0 || lab.burst.mbufAlloc(pool.offset, core, at, frame.more.length) === 0) return false;
  let before = first;
  frame.more.forEach((_, i) => {
    const handle = get(lab, at, i * 4);
    writeFrame(world, handle, segmentOf(frame, i));
    set(lab, pool.table + before * HEADER_BYTES, MBUF_NEXT, handle);
    before = handle;
  });
  return true;
}

function writeFrame({ lab, pool }: PacketWorld, handle: number, frame: Frame): void {
  const header = pool.table + handle * HEADER_BYTES;
  lab.u16[(header + MBUF_DATA_OFF) >>> 1] = frame.offset;
  lab.u16[(header + MBUF_NB_SEGS) >>> 1] = frame.segments;
  lab.u16[(header + MBUF_DATA_LEN) >>> 1] = frame.length;
  set(lab, header, MBUF_PKT_LEN, frame.length);
  const start = handle * 2 ** HANDLE_SHIFT + frame.offset - lab.base;
  lab.zone.set(frameContents(frame).subarray(0, Math.max(0, 2048 - frame.offset)), start);
}

/** One of those behind the first, as a frame. */
function segmentOf(frame: Frame, i: number): Frame {
  return { ...frame, offset: 256, length: frame.more[i]!, more: [], segments: 1, seed: frame.seed + i + 1 };
}

/** Of all its mbufs. */
export function wholeContents(frame: Frame): Uint8Array {
  return new Uint8Array(Buffer.concat([frameContents(frame), ...frame.more.map((_, i) => frameContents(segmentOf(frame, i)))]));
}

/** An mbuf, and those behind it. */
export function segmentsOf({ lab, pool }: PacketWorld, first: number): number[] {
  const list: number[] = [];
  for (let handle = first; handle !== 0; handle = get(lab, pool.table + handle * HEADER_BYTES, MBUF_NEXT)) list.push(handle);
  return list;
}

function frameContents(frame: Frame): Uint8Array {
  const bytes = contents(frame.seed, frame.length);
  if (frame.length >= 14) bytes.set(frame.tagged ? [0x81, 0x00] : [0x08, 0x00], 12);
  return bytes;
}

/** The kernel is through with up to `count` slots, in their order; a hostile one leaves any status. */
export function complete(world: PacketWorld, count: number, status: number = TP_STATUS_AVAILABLE): number {
  let done = 0;
  for (; done < count; done++) {
    const slot = world.slots + world.slot * SLOT_BYTES;
    if (get(world.lab, slot) !== TP_STATUS_SEND_REQUEST) break;
    set(world.lab, slot, 0, status);
    world.slot = (world.slot + 1) % world.shape.slots;
  }
  return done;
}
