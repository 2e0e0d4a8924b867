import type { Arena } from '../arena/arena.js';
import { misuseReporter } from '../burst/module.js';
import type { MisuseReporter } from '../burst/checking.js';
import * as layout from './layout.js';

// V8 loads an imported constant at each use, and knows a module's own.
const {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_HASH, MBUF_NB_SEGS, MBUF_OL_FLAGS, MBUF_OWNER,
  MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_POOL, MBUF_PORT, MBUF_REFCNT, MBUF_TIMESTAMP, MBUF_TX_OFFLOAD, MBUF_USER, MBUF_VLAN_TCI, OWNER_APP,
  OWNER_SHARED, OWNER_SHIFT, RX_FDIR_ID,
} = layout;

/**
 * Named access to mbufs by handle: the fields of the header, the frame's bytes, and the headroom operations. Nothing
 * here allocates, and each is a few loads; a hot loop may as well read `arena.u32` itself with the same constants.
 *
 * A handle must be the caller's own (received, allocated): POLLMODE_DEBUG=1 checks that on each access.
 * Offsets are `>>> 0`, so that buffers above 2 GiB work.
 */
export class Mbufs {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly f64: Float64Array;
  /** For numbers in network byte order and at any alignment: `view.getUint32(at)`. */
  readonly view: DataView;
  readonly table: number;

  constructor(arena: Arena) {
    this.u8 = arena.u8;
    this.u16 = arena.u16;
    this.u32 = arena.u32;
    this.f64 = arena.f64;
    this.view = new DataView(arena.buffer);
    this.table = arena.table;
  }

  /** Offset of the header. */
  header(handle: number): number {
    return (this.table + (handle << HEADER_SHIFT)) >>> 0;
  }

  /** Offset of the frame's first byte: `u8[data(handle)]` is the destination MAC's first. */
  data(handle: number): number {
    return ((handle << HANDLE_SHIFT) + this.u16[(this.header(handle) + MBUF_DATA_OFF) >>> 1]!) >>> 0;
  }

  /** Bytes of the frame in this segment, without FCS. */
  dataLen(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_DATA_LEN) >>> 1]!;
  }

  /** Bytes of the frame over all segments, without FCS. */
  pktLen(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_PKT_LEN) >>> 2]!;
  }

  /** Number of the port it came in by; 0xffff for one that was allocated. */
  port(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_PORT) >>> 1]!;
  }

  flags(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_OL_FLAGS) >>> 2]!;
  }

  hash(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_HASH) >>> 2]!;
  }

  packetType(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_PACKET_TYPE) >>> 2]!;
  }

  /** Bytes of the headers, as a parse or the program set them: link layer with tags, IP with options or extension headers, transport. */
  l2Len(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_TX_OFFLOAD) >>> 2]! & 0x7f;
  }

  l3Len(handle: number): number {
    return (this.u32[(this.header(handle) + MBUF_TX_OFFLOAD) >>> 2]! >>> 7) & 0x1ff;
  }

  l4Len(handle: number): number {
    return (this.u32[(this.header(handle) + MBUF_TX_OFFLOAD) >>> 2]! >>> 16) & 0xff;
  }

  vlanTci(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_VLAN_TCI) >>> 1]!;
  }

  /** Two u32 of the application's own, index 0 or 1; what the last holder left until it sets them. */
  user(handle: number, index: 0 | 1): number {
    return this.u32[(this.header(handle) + MBUF_USER + index * 4) >>> 2]!;
  }

  setUser(handle: number, index: 0 | 1, value: number): void {
    this.u32[(this.header(handle) + MBUF_USER + index * 4) >>> 2] = value;
  }

  /** What a flow rule or the program marked it with (flag RX_FDIR_ID says whether); it is word 0 of the application's own. */
  mark(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_USER) >>> 2]!;
  }

  setMark(handle: number, mark: number): void {
    const header = this.header(handle);
    this.u32[(header + MBUF_USER) >>> 2] = mark;
    this.u32[(header + MBUF_OL_FLAGS) >>> 2]! |= RX_FDIR_ID;
  }

  /** Seconds and nanoseconds of the receive's time stamp, as the port's capabilities say; 0 and 0 without one. */
  timestampSeconds(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_TIMESTAMP) >>> 2]!;
  }

  timestampNanoseconds(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_TIMESTAMP + 4) >>> 2]!;
  }

  /** How many hold it. */
  refcnt(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_REFCNT) >>> 1]!;
  }

  /** One more holder: each of them frees it once. Atomic. What a shared mbuf's holder has when it dies is not brought back. */
  hold(handle: number): void {
    const header = this.header(handle);
    const owner = (header + MBUF_OWNER) >>> 2;
    if (this.u32[owner]! >>> OWNER_SHIFT === OWNER_APP) this.u32[owner] = OWNER_SHARED;
    Atomics.add(this.u16, (header + MBUF_REFCNT) >>> 1, 1);
  }

  /** Segments in the chain that starts here. */
  segments(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_NB_SEGS) >>> 1]!;
  }

  /** Who holds it: OWNER_* in the top 8 bits, which one in the low 24. */
  owner(handle: number): number {
    return this.u32[(this.table + (handle << HEADER_SHIFT) + MBUF_OWNER) >>> 2]!;
  }

  /** Offset of its pool's header. */
  poolOf(handle: number): number {
    return this.u32[(this.header(handle) + MBUF_POOL) >>> 2]!;
  }

  /** Bytes before the frame that `prepend` can take. */
  headroom(handle: number): number {
    return this.u16[(this.header(handle) + MBUF_DATA_OFF) >>> 1]!;
  }

  /** Bytes behind the segment that `append` can take. */
  tailroom(handle: number): number {
    const header = this.header(handle);
    return this.u32[(header + MBUF_BUF_LEN) >>> 2]! - this.u16[(header + MBUF_DATA_OFF) >>> 1]! - this.u16[(header + MBUF_DATA_LEN) >>> 1]!;
  }

  /** Grows the frame by `length` bytes in front. Returns the offset of its new first byte, 0 when there is no room (nothing is changed then). */
  prepend(handle: number, length: number): number {
    if (!(isLength(length) && length <= this.headroom(handle))) return 0;
    this.#move(handle, -length, length);
    return this.data(handle);
  }

  /** Cuts `length` bytes off the front (DPDK's rte_pktmbuf_adj). Returns the offset of the new first byte, 0 when the segment is shorter. */
  adjust(handle: number, length: number): number {
    if (!(isLength(length) && length <= this.dataLen(handle))) return 0;
    this.#move(handle, length, -length);
    return this.data(handle);
  }

  /** Grows the frame by `length` bytes behind. Returns the offset of the first new byte, 0 when there is no room. For one-segment mbufs. */
  append(handle: number, length: number): number {
    if (!(isLength(length) && length <= this.tailroom(handle)) || this.segments(handle) !== 1) return 0;
    const at = this.data(handle) + this.dataLen(handle);
    this.#move(handle, 0, length);
    return at;
  }

  /** Cuts `length` bytes off the end. Returns whether the segment had them. For one-segment mbufs. */
  trim(handle: number, length: number): boolean {
    if (!(isLength(length) && length <= this.dataLen(handle)) || this.segments(handle) !== 1) return false;
    this.#move(handle, 0, -length);
    return true;
  }

  /** Appends `bytes`: in a fresh mbuf they are the whole frame. Returns whether they fit. */
  copyIn(handle: number, bytes: Uint8Array): boolean {
    const at = this.append(handle, bytes.length);
    if (at === 0) return false;
    this.u8.set(bytes, at);
    return true;
  }

  /** A copy of the segment's bytes; for looking, not for hot loops. */
  copyOut(handle: number): Uint8Array {
    const at = this.data(handle);
    return this.u8.slice(at, at + this.dataLen(handle));
  }

  #move(handle: number, front: number, longer: number): void {
    const header = this.header(handle);
    this.u16[(header + MBUF_DATA_OFF) >>> 1]! += front;
    this.u16[(header + MBUF_DATA_LEN) >>> 1]! += longer;
    this.u32[(header + MBUF_PKT_LEN) >>> 2]! += longer;
  }
}

/** A whole number from 0 to 2^32 - 1. */
function isLength(length: number): boolean {
  return length >>> 0 === length;
}

/** POLLMODE_DEBUG=1: each access looks first whether the mbuf is the program's own, and tells when it is not. */
class CheckedMbufs extends Mbufs {
  readonly #reporter: MisuseReporter;

  constructor(arena: Arena, reporter: MisuseReporter) {
    super(arena);
    this.#reporter = reporter;
  }

  override header(handle: number): number {
    this.#reporter.checkOwned(handle);
    return super.header(handle);
  }
}

/** The accessors for an arena: checked under POLLMODE_DEBUG=1. */
export function mbufsOf(arena: Arena): Mbufs {
  const reporter = misuseReporter(arena);
  return reporter === undefined ? new Mbufs(arena) : new CheckedMbufs(arena, reporter);
}
