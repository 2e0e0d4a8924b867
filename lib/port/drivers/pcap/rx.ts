import type { Burst } from '../../../burst/burst.js';
import { HANDLE_SHIFT, HEADER_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_PORT, MBUF_TIMESTAMP, RX_TIMESTAMP } from '../../../mbuf/layout.js';
import { Chains } from '../../../mbuf/chains.js';
import type { Mempool } from '../../../mbuf/mempool.js';
import {
  READ_CORRUPT_BLOCK, READ_CORRUPT_FILE, READ_END, READ_FAILED, READ_NOT_ETHERNET, READ_PACKET, READ_TOO_LONG, READ_TRUNCATED,
  type CaptureReader,
} from '../../../wire/pcap_reader.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS } from '../../layout.js';
import type { PortHost } from '../../port.js';
import { PortRxQueue } from '../../port_queue.js';
import type { QueueState } from '../../queue.js';
import { PCAP_CORRUPT_BLOCK, PCAP_CORRUPT_FILE, PCAP_NOT_ETHERNET, PCAP_SNAPPED, PCAP_TIME_OUTSIDE, PCAP_TOO_LONG, PCAP_TRUNCATED } from './layout.js';
import type { Pace } from './pace.js';

/** Blocks without a frame to deliver that one call looks at, so that a file full of them does not hold up its caller. */
const MOST_BLOCKS = 1024;

export interface Playback {
  readonly reader: CaptureReader;
  /** Where the window that the reader reads through starts in the arena. */
  readonly window: number;
  /** Times to play the file; Infinity for ever. */
  readonly passes: number;
  readonly pace: Pace;
}

/** Plays a capture: each frame is copied from the file's window into a new mbuf, with its time. */
export class PcapRxQueue extends PortRxQueue {
  /** Times that the file was played to its end. */
  passes = 0;
  /** Nothing more will come. */
  finished = false;
  readonly #state: QueueState;
  readonly #pool: Mempool;
  readonly #chains: Chains;
  readonly #port: number;
  readonly #play: Playback;
  /** The reader has a frame that was not handed out yet. */
  #found = false;
  #foundInPass = false;
  #open = true;

  constructor(state: QueueState, host: PortHost, play: Playback) {
    super(state);
    this.#state = state;
    this.#pool = host.pool;
    this.#chains = new Chains(host.pool);
    this.#port = host.number;
    this.#play = play;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(max);
    if (!(most > 0) || this.finished) return 0;
    this.#play.pace.tick();
    if (!this.#ready()) return 0;
    const count = this.#allocate(burst, most);
    let got = 0;
    while (got < count && this.#ready() && this.#deliver(burst.handles[got]!)) got++;
    this.#pool.free(burst, got, count);
    this.#state.add(QUEUE_PACKETS, got);
    return got;
  }

  /** A file is always readable: there is nothing to sleep on. */
  override get wake(): undefined {
    return undefined;
  }

  override close(): void {
    super.close();
    if (!this.#open) return;
    this.#open = false;
    this.#chains.close();
    this.finished = true;
  }

  /** As many mbufs as there are, up to `most`. The frames that find none stay in the file. */
  #allocate(burst: Burst, most: number): number {
    for (let count = most; count > 0; count >>>= 1) {
      if (this.#pool.alloc(burst, count) > 0) return count;
    }
    this.#state.add(QUEUE_NOMBUF, most);
    return 0;
  }

  /** Whether the reader has a frame whose time has come. */
  #ready(): boolean {
    return (this.#found || this.#find()) && this.#play.pace.due(this.#play.reader.frame.time);
  }

  #find(): boolean {
    for (let looked = 0; looked < MOST_BLOCKS && !this.finished; looked++) {
      const result = this.#play.reader.step();
      if (result === READ_PACKET) return this.#found = this.#foundInPass = true;
      this.#count(result);
      if (result >= READ_END) this.#endPass(result);
    }
    return false;
  }

  /** A frame that is longer than a buffer goes on in more mbufs; when the pool has not so many it stays in the file. Returns whether it was delivered. */
  #deliver(handle: number): boolean {
    const { u8, u16, u32, table } = this.#state.arena;
    const { at, captured, length, time } = this.#play.reader.frame;
    const header = (table + (handle << HEADER_SHIFT)) >>> 0;
    const from = this.#play.window + at;
    const first = captured < this.#pool.room ? captured : this.#pool.room;
    u8.copyWithin(((handle << HANDLE_SHIFT) >>> 0) + HEADROOM, from, from + first);
    u16[(header + MBUF_PORT) >>> 1] = this.#port;
    u16[(header + MBUF_DATA_LEN) >>> 1] = first;
    u32[(header + MBUF_PKT_LEN) >>> 2] = first;
    if (first < captured && !this.#chains.append(handle, from + first, captured - first)) {
      this.#state.add(QUEUE_NOMBUF, 1);
      return false;
    }
    if (time.known) {
      u32[(header + MBUF_OL_FLAGS) >>> 2] = RX_TIMESTAMP;
      u32[(header + MBUF_TIMESTAMP) >>> 2] = time.seconds;
      u32[(header + MBUF_TIMESTAMP + 4) >>> 2] = time.nanoseconds;
    }
    this.#state.add(QUEUE_BYTES, captured);
    if (captured < length) this.#state.add(PCAP_SNAPPED, 1);
    if (time.outside) this.#state.add(PCAP_TIME_OUTSIDE, 1);
    this.#found = false;
    this.#play.pace.took();
    return true;
  }

  #count(result: number): void {
    switch (result) {
      case READ_TOO_LONG: return this.#state.add(PCAP_TOO_LONG, 1);
      case READ_NOT_ETHERNET: return this.#state.add(PCAP_NOT_ETHERNET, 1);
      case READ_CORRUPT_BLOCK: return this.#state.add(PCAP_CORRUPT_BLOCK, 1);
      case READ_TRUNCATED: return this.#state.add(PCAP_TRUNCATED, 1);
      case READ_CORRUPT_FILE: return this.#state.add(PCAP_CORRUPT_FILE, 1);
    }
  }

  /** A file that was cut short or spoilt plays again too, up to there; one in which no frame was found does not. */
  #endPass(result: number): void {
    this.passes++;
    if (this.passes >= this.#play.passes || !this.#foundInPass || result === READ_FAILED) {
      this.finished = true;
      return;
    }
    this.#foundInPass = false;
    this.#play.reader.rewind();
    this.#play.pace.restart();
  }
}
