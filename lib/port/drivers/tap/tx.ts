import { MAX_BURST, type Burst } from '../../../burst/burst.js';
import type { BurstFunctions } from '../../../burst/functions.js';
import { HANDLE_SHIFT, MBUF_BUF_LEN, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_POOL } from '../../../mbuf/layout.js';
import { ETHER_HEADER_BYTES } from '../../../wire/protocol_layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../layout.js';
import { PortTxQueue } from '../../port_queue.js';
import type { QueueView } from '../../queue_view.js';
import { TAP_BAD_FRAME } from './layout.js';
import { TapVectors } from './vectors.js';

/** Send side: one write(2) per packet, all of a burst's in one native call; a chain is a writev(2) and a call of its own. What the kernel took it has copied. */
export class TapTxQueue extends PortTxQueue {
  readonly #tap: TapVectors;

  constructor(state: QueueView, functions: BurstFunctions) {
    super(state);
    this.#tap = new TapVectors(state, functions);
  }

  /** Refusals of the kernel by errno. */
  get refusals(): ReadonlyMap<number, number> {
    return this.#tap.refusals;
  }

  txBurst(burst: Burst, wanted: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(wanted);
    if (!(most > 0)) return 0;
    let taken = 0;
    for (let end = 0; taken < most && taken === end;) {
      end = this.#isChain(burst.handles[taken]!) ? taken + 1 : this.#runOf(burst, taken, most);
      taken = this.#isChain(burst.handles[taken]!) ? taken + this.#sendChain(burst.handles[taken]!) : this.#sendRun(burst, taken, end);
    }
    this.#tap.state.add(QUEUE_NOMBUF, most - taken);
    if (taken > 0) this.#tap.functions.mbufFree(this.#tap.pool, this.#tap.arena.lcore, burst.offset, taken);
    return taken;
  }

  #isChain(handle: number): boolean {
    return this.#tap.arena.u16[(this.#tap.header(handle) + MBUF_NB_SEGS) >>> 1]! > 1;
  }

  /** Place of the next chain, or `most`. */
  #runOf(burst: Burst, from: number, most: number): number {
    let end = from + 1;
    while (end < most && !this.#isChain(burst.handles[end]!)) end++;
    return end;
  }

  /** Those up to `end`, which are in one mbuf. Returns the place of the first that was not taken. */
  #sendRun(burst: Burst, from: number, end: number): number {
    const good = this.#describe(burst, from, end);
    const result = good > 0 ? this.#tap.binding.writeEach(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, good) : 0;
    if (result < 0) this.#tap.refused(-result);
    const sent = result > 0 ? result : 0;
    // Bad frames are taken too, up to the first good one that was refused.
    const taken = sent === good ? end : this.#tap.second[sent]!;
    let bytes = 0;
    for (let i = 0; i < sent; i++) bytes += this.#tap.pairs[2 * i + 1]!;
    this.#count(sent, bytes, taken - from - sent);
    return taken;
  }

  /** One writev(2). Returns 1 when the packet was taken. */
  #sendChain(handle: number): number {
    const segments = this.#describeChain(handle);
    if (segments === 0) {
      this.#count(0, 0, 1);
      return 1;
    }
    const result = this.#tap.binding.writev(this.#tap.fd, this.#tap.arena.u8, this.#tap.pairs, segments);
    if (result < 0) {
      this.#tap.refused(-result);
      return 0;
    }
    this.#count(1, result, 0);
    return 1;
  }

  /** Writes the pairs of the frames that can be sent, and the place of each in the burst. Returns how many. */
  #describe(burst: Burst, from: number, end: number): number {
    const { u16 } = this.#tap.arena;
    let good = 0;
    for (let i = from; i < end; i++) {
      const handle = burst.handles[i]!;
      const header = this.#tap.header(handle);
      if (u16[(header + MBUF_NB_SEGS) >>> 1] !== 1 || u16[(header + MBUF_DATA_LEN) >>> 1]! < ETHER_HEADER_BYTES || !this.#pair(good, handle)) continue;
      this.#tap.second[good++] = i;
    }
    return good;
  }

  /** Writes a pair for each segment. Returns how many, 0 for a packet that cannot be sent: shorter than an Ethernet header, which the kernel would refuse, or contradicting itself. */
  #describeChain(handle: number): number {
    const { u16, u32 } = this.#tap.arena;
    const segments = u16[(this.#tap.header(handle) + MBUF_NB_SEGS) >>> 1]!;
    if (segments > MAX_BURST) return 0;
    let total = 0;
    for (let i = 0; i < segments; i++) {
      if (handle === 0 || !this.#pair(i, handle)) return 0;
      total += this.#tap.pairs[2 * i + 1]!;
      handle = u32[(this.#tap.header(handle) + MBUF_NEXT) >>> 2]!;
    }
    return handle === 0 && total >= ETHER_HEADER_BYTES ? segments : 0;
  }

  /** Where an mbuf's bytes are. False when they are not all in its buffer, or it is not this pool's. */
  #pair(place: number, handle: number): boolean {
    const { u16, u32 } = this.#tap.arena;
    const header = this.#tap.header(handle);
    const offset = u16[(header + MBUF_DATA_OFF) >>> 1]!;
    const length = u16[(header + MBUF_DATA_LEN) >>> 1]!;
    if (u32[(header + MBUF_POOL) >>> 2] !== this.#tap.pool || offset + length > u32[(header + MBUF_BUF_LEN) >>> 2]!) return false;
    this.#tap.pairs[2 * place] = ((handle << HANDLE_SHIFT) >>> 0) + offset;
    this.#tap.pairs[2 * place + 1] = length;
    return true;
  }

  #count(sent: number, bytes: number, bad: number): void {
    this.#tap.state.add(QUEUE_PACKETS, sent);
    this.#tap.state.add(QUEUE_BYTES, bytes);
    this.#tap.state.add(TAP_BAD_FRAME, bad);
  }
}
