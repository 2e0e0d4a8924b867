import type { Burst } from '../lib/burst/burst.js';
import * as mbuf from '../lib/mbuf/layout.js';
import type { Mempool } from '../lib/mbuf/mempool.js';
import * as xsk from '../lib/port/drivers/af_xdp/layout.js';

const { HEADER_SHIFT, MBUF_DATA_LEN, MBUF_PKT_LEN, HEADROOM } = mbuf;
const { XSK_AIM, XSK_BUFFER_MASK, XSK_CONSUMER, XSK_DESCRIPTORS, XSK_FLAGS, XSK_LONGEST, XSK_MASK, XSK_PRODUCER, XSK_RING_A, XSK_RING_B, XSK_UMEM, XSK_UMEM_BYTES } = xsk;
const SIZE = 256;
const LENGTH = 60;

/** A ring as the kernel lays it out, as u32 indices. */
interface KernelRing {
  readonly producer: number;
  readonly consumer: number;
  readonly entries: number;
}

/** The kernel's side of an AF_XDP socket, played in this thread: frames that are given to be sent are sent at once. */
export class FakeXsk {
  readonly #u32: Uint32Array;
  readonly #u16: Uint16Array;
  readonly #table: number;
  readonly #rx: KernelRing;
  readonly #fill: KernelRing;
  readonly #tx: KernelRing;
  readonly #completion: KernelRing;

  /** @param rx,tx where the two queues' states are */
  constructor(pool: Mempool, rx: number, tx: number) {
    const { arena } = pool;
    this.#u32 = arena.u32;
    this.#u16 = arena.u16;
    this.#table = arena.table;
    for (const queue of [rx, tx]) {
      this.#u32[(queue + XSK_UMEM) >>> 2] = pool.buffers.offset;
      this.#u32[(queue + XSK_UMEM_BYTES) >>> 2] = pool.buffers.length;
      this.#u32[(queue + XSK_BUFFER_MASK) >>> 2] = pool.bufferSize - 1;
    }
    this.#u32[(rx + XSK_AIM) >>> 2] = SIZE;
    this.#u32[(tx + XSK_LONGEST) >>> 2] = 1518; // otherwise every frame is too long, and what is measured is dropping
    this.#rx = this.#makeRing(pool, rx + XSK_RING_A, 16);
    this.#fill = this.#makeRing(pool, rx + XSK_RING_B, 8);
    this.#tx = this.#makeRing(pool, tx + XSK_RING_A, 16);
    this.#completion = this.#makeRing(pool, tx + XSK_RING_B, 8);
  }

  setLengths(burst: Burst, count: number): void {
    for (let i = 0; i < count; i++) {
      const header = this.#table + (burst.handles[i]! << HEADER_SHIFT);
      this.#u16[(header + MBUF_DATA_LEN) >>> 1] = LENGTH;
      this.#u32[(header + MBUF_PKT_LEN) >>> 2] = LENGTH;
    }
  }

  /** Every frame in the TX ring is sent: its address goes into the completion ring. */
  send(): void {
    this.#move(this.#tx, 4, this.#completion, 2, (this.#u32[this.#tx.producer]! - this.#u32[this.#tx.consumer]!) >>> 0, 0);
  }

  /** So many frames come in, into buffers of the fill ring. */
  receive(count: number): void {
    this.#move(this.#fill, 2, this.#rx, 4, count, HEADROOM);
  }

  #move(from: KernelRing, fromStep: number, to: KernelRing, toStep: number, count: number, offset: number): void {
    const u32 = this.#u32;
    let [at, into] = [u32[from.consumer]!, u32[to.producer]!];
    for (let i = 0; i < count; i++, at++, into++) {
      const entry = to.entries + (into & (SIZE - 1)) * toStep;
      u32[entry] = u32[from.entries + (at & (SIZE - 1)) * fromStep]! + offset;
      u32[entry + 1] = 0;
      if (toStep === 2) continue;
      u32[entry + 2] = LENGTH;
      u32[entry + 3] = 0;
    }
    u32[from.consumer] = at;
    u32[to.producer] = into;
  }

  #makeRing(pool: Mempool, state: number, entryBytes: number): KernelRing {
    const zone = pool.arena.reserve(`fake ring ${state}`, 256 + SIZE * entryBytes);
    const fields = [[XSK_PRODUCER, zone.offset], [XSK_CONSUMER, zone.offset + 64], [XSK_FLAGS, zone.offset + 128], [XSK_DESCRIPTORS, zone.offset + 256], [XSK_MASK, SIZE - 1]] as const;
    for (const [field, value] of fields) this.#u32[(state + field) >>> 2] = value;
    return { producer: zone.offset >>> 2, consumer: (zone.offset + 64) >>> 2, entries: (zone.offset + 256) >>> 2 };
  }
}
