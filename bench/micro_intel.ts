import type { Burst } from '../lib/burst/burst.js';
import * as mbuf from '../lib/mbuf/layout.js';
import type { Mempool } from '../lib/mbuf/mempool.js';
import * as intel from '../lib/port/drivers/vfio/intel/layout.js';

const { HEADER_SHIFT, MBUF_DATA_LEN, MBUF_PKT_LEN } = mbuf;
const {
  INTEL_82574, INTEL_82576, INTEL_BUFFER_MASK, INTEL_COMMAND, INTEL_CONTEXT_KIND, INTEL_ERRORS, INTEL_IP_BAD_SHIFT, INTEL_L4_BAD_SHIFT,
  INTEL_LASTS, INTEL_MASK, INTEL_MOST, INTEL_MOST_SEGMENTS, INTEL_PAYLOAD, INTEL_POOL, INTEL_POOL_BYTES, INTEL_REPORTS, INTEL_RING, INTEL_SEGMENT, INTEL_SIDE,
  INTEL_TAIL, RXD_DD, RXD_EOP, RXD_ERRORS, TXD_DATA_82576, TXD_DD, TXD_DEXT, TXD_IFCS, TXD_RS,
} = intel;
const SIZE = 256;
const LENGTH = 60;

export type IntelKind = 'e1000e' | 'igb' | 'ixgbe';

/** An Intel NIC's side of its descriptor rings, played in this thread: frames that are given to be sent are sent at once. */
export class FakeIntel {
  readonly #u32: Uint32Array;
  readonly #u16: Uint16Array;
  readonly #table: number;
  readonly #rx: { ring: number; tail: number; head: number };
  readonly #tx: { ring: number; tail: number; head: number };

  /** @param rx,tx where the two queues' states are */
  constructor(pool: Mempool, rx: number, tx: number, kind: IntelKind) {
    const { arena } = pool;
    this.#u32 = arena.u32;
    this.#u16 = arena.u16;
    this.#table = arena.table;
    const advanced = kind !== 'e1000e';
    this.#rx = this.#makeRing(pool, rx, [[INTEL_SEGMENT, 1518], [INTEL_ERRORS, RXD_ERRORS], [INTEL_IP_BAD_SHIFT, 28], [INTEL_L4_BAD_SHIFT, 26]]);
    this.#tx = this.#makeRing(pool, tx, [
      [INTEL_LASTS, arena.reserve(`lasts ${tx}`, SIZE * 4).offset], [INTEL_COMMAND, advanced ? TXD_IFCS | TXD_DEXT | TXD_DATA_82576 : TXD_IFCS],
      [INTEL_PAYLOAD, advanced ? 1 << 14 : 0], [INTEL_CONTEXT_KIND, advanced ? INTEL_82576 : INTEL_82574], [INTEL_MOST_SEGMENTS, 32], [INTEL_REPORTS, kind === 'ixgbe' ? 40 : 0],
    ]);
  }

  setLengths(burst: Burst, count: number): void {
    for (let i = 0; i < count; i++) {
      const header = this.#table + (burst.handles[i]! << HEADER_SHIFT);
      this.#u16[(header + MBUF_DATA_LEN) >>> 1] = LENGTH;
      this.#u32[(header + MBUF_PKT_LEN) >>> 2] = LENGTH;
    }
  }

  /** Every frame up to the tail is sent, and those that are to report do. */
  send(): void {
    const [u32, { ring, tail }] = [this.#u32, this.#tx];
    for (; this.#tx.head !== u32[tail]; this.#tx.head = (this.#tx.head + 1) & (SIZE - 1)) {
      const at = ring + 4 * this.#tx.head;
      if ((u32[at + 2]! & TXD_RS) !== 0) u32[at + 3]! |= TXD_DD;
    }
  }

  /** So many frames come in. */
  receive(count: number): void {
    const [u32, { ring }] = [this.#u32, this.#rx];
    for (let i = 0; i < count; i++, this.#rx.head = (this.#rx.head + 1) & (SIZE - 1)) {
      const at = ring + 4 * this.#rx.head;
      u32[at] = 0;
      u32[at + 1] = 0;
      u32[at + 3] = LENGTH;
      u32[at + 2] = RXD_DD | RXD_EOP;
    }
  }

  #makeRing({ arena, buffers, size, bufferSize }: Mempool, state: number, own: readonly (readonly [number, number])[]): { ring: number; tail: number; head: number } {
    const zone = arena.reserve(`fake NIC ${state}`, 64 + SIZE * 16);
    const fields = [
      [INTEL_RING, zone.offset + 64], [INTEL_TAIL, zone.offset], [INTEL_SIDE, arena.reserve(`side ${state}`, SIZE * 4).offset], [INTEL_MASK, SIZE - 1],
      [INTEL_POOL, buffers.offset], [INTEL_POOL_BYTES, size * bufferSize], [INTEL_BUFFER_MASK, bufferSize - 1], [INTEL_MOST, 1518], ...own,
    ] as const;
    for (const [field, value] of fields) this.#u32[(state + field) >>> 2] = value;
    return { ring: (zone.offset + 64) >>> 2, tail: zone.offset >>> 2, head: 0 };
  }
}
