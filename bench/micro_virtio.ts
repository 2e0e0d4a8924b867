import type { Burst } from '../lib/burst/burst.js';
import * as mbuf from '../lib/mbuf/layout.js';
import type { Mempool } from '../lib/mbuf/mempool.js';
import type { QueueState } from '../lib/port/queue.js';
import { driverPrivateBytes, resetDriver, ringPlaces } from '../lib/virtqueue/driver.js';
import * as virtqueue from '../lib/virtqueue/layout.js';
import { openQueue } from '../lib/virtqueue/state.js';

const { HEADER_SHIFT, MBUF_DATA_LEN, MBUF_PKT_LEN } = mbuf;
const { DESC_AVAIL, DESC_USED, NET_HEADER, NET_NUM_BUFFERS, RING_ENTRIES, RING_INDEX, VQ_TELL } = virtqueue;
const SIZE = 256;
const LENGTH = 60;

interface Ring { readonly desc: number; readonly avail: number; readonly used: number; next: number }

/** A virtio-net device's side of its two rings, played in this thread: mergeable buffers, event index; frames that are given to be sent are sent at once. */
export class FakeVirtio {
  readonly #pool: Mempool;
  readonly #packed: boolean;
  readonly #swaps: boolean;
  readonly #rx: Ring;
  readonly #tx: Ring;

  /** @param options `offloads`: OFFLOAD_* of both queues; `swaps`: of each two buffers the second is given back first */
  constructor(pool: Mempool, rx: QueueState, tx: QueueState, packed: boolean, { offloads = 0, swaps = false }: { offloads?: number; swaps?: boolean } = {}) {
    this.#pool = pool;
    this.#packed = packed;
    this.#swaps = swaps;
    this.#rx = this.#makeRing(rx, offloads);
    this.#tx = this.#makeRing(tx, offloads);
  }

  setLengths(burst: Burst, count: number): void {
    const { u16, u32, table } = this.#pool.arena;
    for (let i = 0; i < count; i++) {
      const header = table + (burst.handles[i]! << HEADER_SHIFT);
      u16[(header + MBUF_DATA_LEN) >>> 1] = LENGTH;
      u32[(header + MBUF_PKT_LEN) >>> 2] = LENGTH;
    }
  }

  /** Every frame that is available is sent. */
  send(): void {
    const ring = this.#tx;
    if (this.#packed) while (this.#isAvailable(ring)) this.#usePacked(ring, 0);
    else this.#useSplit(ring, (this.#pool.arena.u16[(ring.avail + RING_INDEX) >>> 1]! - ring.next) & 0xffff, 0);
  }

  /** So many frames come in. */
  receive(count: number): void {
    const ring = this.#rx;
    if (!this.#packed) return this.#useSplit(ring, count, LENGTH + NET_HEADER);
    for (let i = 0; i < count; i++) {
      this.#isWhole(ring.desc + (ring.next & (SIZE - 1)) * 16);
      this.#usePacked(ring, LENGTH + NET_HEADER);
    }
  }

  #useSplit(ring: Ring, count: number, length: number): void {
    const { u16, u32 } = this.#pool.arena;
    for (let i = 0; i < count; i++, ring.next = (ring.next + 1) & 0xffff) {
      const place = ring.next & (SIZE - 1);
      const id = u16[(ring.avail + RING_ENTRIES + 2 * (this.#swaps ? place ^ 1 : place)) >>> 1]!;
      if (length > 0) this.#isWhole(ring.desc + id * 16);
      const entry = (ring.used + RING_ENTRIES + 8 * place) >>> 2;
      u32[entry] = id;
      u32[entry + 1] = length;
    }
    u16[(ring.used + RING_INDEX) >>> 1] = ring.next;
  }

  #isAvailable({ desc, next }: Ring): boolean {
    const flags = this.#pool.arena.u16[(desc + (next & (SIZE - 1)) * 16 + 14) >>> 1]! & (DESC_AVAIL | DESC_USED);
    return flags === ((next & SIZE) === 0 ? DESC_AVAIL : DESC_USED);
  }

  #usePacked(ring: Ring, length: number): void {
    const { u16, u32 } = this.#pool.arena;
    const at = ring.desc + (ring.next & (SIZE - 1)) * 16;
    u32[(at + 8) >>> 2] = length;
    if (this.#swaps && (ring.next & 1) === 1) {
      const id = u16[(at + 12) >>> 1]!;
      u16[(at + 12) >>> 1] = u16[(at - 4) >>> 1]!;
      u16[(at - 4) >>> 1] = id;
    }
    u16[(at + 14) >>> 1] = (ring.next & SIZE) === 0 ? DESC_AVAIL | DESC_USED : 0;
    ring.next++;
  }

  /** One buffer, and nothing is said of its checksum. */
  #isWhole(descriptor: number): void {
    const { u8, u16, u32 } = this.#pool.arena;
    const header = u32[descriptor >>> 2]!;
    u8[header] = 0;
    u16[(header + NET_NUM_BUFFERS) >>> 1] = 1;
  }

  #makeRing(state: QueueState, offloads: number): Ring {
    const pool = this.#pool;
    const format = { packed: this.#packed, eventIdx: true, mergeable: true, indirect: true, inOrder: false, header: NET_HEADER };
    const places = ringPlaces(format.packed, SIZE);
    const shared = pool.arena.reserve(`virtqueue ${state.offset}`, places.bytes, { align: 128 }).offset;
    const own = pool.arena.reserve(`virtqueue's own ${state.offset}`, driverPrivateBytes(SIZE), { align: 64 }).offset;
    resetDriver(state, { format, size: SIZE, shared, own, iova: 0n, pool, longest: 1518, offloads });
    state.set(VQ_TELL, 1);
    openQueue(state);
    return { desc: shared + places.desc, avail: shared + places.avail, used: shared + places.used, next: 0 };
  }
}
