import { readSync } from 'node:fs';
import type { Memzone } from '../../../arena/directory.js';
import { ZONE_RAW } from '../../../arena/layout.js';
import { openCapture } from '../../../wire/pcap_open.js';
import type { CaptureReader } from '../../../wire/pcap_reader.js';
import { CaptureWindow, type CaptureSource } from '../../../wire/pcap_window.js';
import { PcapWriter, PcapngWriter, type CaptureWriter } from '../../../wire/pcap_writer.js';
import { QUEUE_FD } from '../../layout.js';
import { emptyStats, type Port, type PortCapabilities, type PortHost, type PortStats } from '../../port.js';
import { countRefused } from '../../port_queue.js';
import { QueueState } from '../../queue.js';
import type { Direction } from '../../queue_view.js';
import { nodeError, openToRead, openToWrite } from './files.js';
import {
  PCAP_BAD_FRAME, PCAP_CORRUPT_BLOCK, PCAP_CORRUPT_FILE, PCAP_NOT_ETHERNET, PCAP_NOT_WRITTEN, PCAP_SNAPPED, PCAP_TIME_OUTSIDE,
  PCAP_TOO_LONG, PCAP_TRUNCATED, PCAP_WINDOW,
} from './layout.js';
import type { Pace } from './pace.js';
import { PcapRxQueue } from './rx.js';
import { PcapTxQueue } from './tx.js';

/** Bytes that a file is read or written through: many packets per system call, and any frame that a capture may have. */
const WINDOW = 512 << 10;

export interface ToRead {
  readonly path: string;
  /** Infinity for ever. */
  readonly passes: number;
  readonly pace: Pace;
  /** Bytes of the largest frame to receive; larger than a buffer's room for chains. */
  readonly longest: number;
}

export interface ToWrite {
  readonly path: string;
  readonly format: 'pcap' | 'pcapng';
  readonly nanoseconds: boolean;
  readonly snapLength: number;
}

/** A port over capture files: an rx queue that plays one, a tx queue that writes one, or both. */
export class PcapPort implements Port {
  readonly name: string;
  readonly number: number;
  readonly capabilities: PortCapabilities;
  readonly rx: readonly PcapRxQueue[] = [];
  readonly tx: readonly PcapTxQueue[] = [];
  readonly #host: PortHost;
  readonly #states: QueueState[] = [];
  readonly #source: FileSource | undefined;
  /** What close gives back, last taken first. */
  readonly #taken: (() => void)[] = [];
  #final: PortStats | undefined;

  /** Throws what openToRead, openToWrite and openCapture throw, and EARENAFULL; nothing is left open then. */
  constructor(host: PortHost, read: ToRead | undefined, write: ToWrite | undefined) {
    this.name = host.device;
    this.number = host.number;
    this.#host = host;
    const words: string[] = [];
    try {
      if (read !== undefined) {
        this.#source = new FileSource();
        const { queue, reader } = this.#openRx(this.#source, read);
        this.rx = [queue];
        words.push(`reads ${reader.format}`);
      }
      if (write !== undefined) {
        const { queue, writer } = this.#openTx(write);
        this.tx = [queue];
        words.push(`writes ${writer.format}`);
      }
    } catch (cause) {
      this.close();
      throw cause;
    }
    this.capabilities = {
      mtu: (read?.longest ?? host.pool.room) - 14, rxQueues: this.rx.length, txQueues: this.tx.length, timestamps: 'file', zeroCopy: false, mode: words.join('; '),
    };
  }

  /** Whether every frame was handed out, in every pass; true where there is no file to read. */
  get finished(): boolean {
    return this.rx.every(queue => queue.finished);
  }

  readStats(into: PortStats): void {
    const { xstats, ...counts } = this.#final ?? this.#readNow();
    Object.assign(into, counts, { xstats: { ...xstats } });
    countRefused(into, this.rx, this.tx);
  }

  close(): void {
    if (this.#final !== undefined) return;
    for (const queue of [...this.rx, ...this.tx]) queue.close();
    // The last counts stay readable after close, when what they were read from is gone.
    this.#final = this.#readNow();
    for (const give of this.#taken.reverse()) give();
    for (const state of this.#states) state.close();
  }

  #readNow(): PortStats {
    const stats = emptyStats();
    for (const state of this.#states) {
      state.addTo(stats);
      for (const [name, field] of state.direction === 'rx' ? RX_COUNTERS : TX_COUNTERS) stats.xstats[name] = state.counter(field);
    }
    for (const queue of this.rx) stats.xstats['rx_passes'] = queue.passes;
    for (const queue of this.tx) {
      for (const [errno, count] of queue.failures) stats.xstats[`tx_write_${errno}`] = count;
    }
    const refused = this.#source?.refused ?? '';
    if (refused !== '') stats.xstats[`rx_read_${refused}`] = 1;
    return stats;
  }

  #openRx(source: FileSource, { path, passes, pace, longest }: ToRead): { queue: PcapRxQueue; reader: CaptureReader } {
    const file = openToRead(path, this.name);
    this.#taken.push(() => file.release());
    source.fd = file.fd;
    const state = this.#state('rx', file.fd);
    const { bytes, offset } = this.#window(state);
    const window = new CaptureWindow(source, bytes);
    const reader = this.#readHeader(window, path, longest);
    return { queue: new PcapRxQueue(state, this.#host, { reader, window: offset, passes, pace }), reader };
  }

  #readHeader(window: CaptureWindow, path: string, longest: number): CaptureReader {
    try {
      return openCapture(window, `${this.name}: ${path}`, longest);
    } catch (cause) {
      throw window.failure === undefined ? cause : nodeError(window.failure, 'pread', this.name);
    }
  }

  #openTx({ path, format, nanoseconds, snapLength }: ToWrite): { queue: PcapTxQueue; writer: CaptureWriter } {
    const file = openToWrite(path, this.name);
    this.#taken.push(() => file.release());
    const state = this.#state('tx', file.fd);
    const { bytes, offset } = this.#window(state);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const writer = new (format === 'pcap' ? PcapWriter : PcapngWriter)(view, { nanoseconds, snapLength });
    return { queue: new PcapTxQueue(state, this.#host, { fd: file.fd, writer, bytes, window: offset, snapLength }), writer };
  }

  #state(direction: Direction, fd: number): QueueState {
    const state = new QueueState(this.#host, direction, 0);
    this.#states.push(state);
    state.set(QUEUE_FD, fd);
    return state;
  }

  #window(state: QueueState): { bytes: Uint8Array; offset: number } {
    const { arena, number } = this.#host;
    const zone: Memzone = arena.reserve(`port/${number}/${state.direction}/0/file`, WINDOW, { type: ZONE_RAW });
    this.#taken.push(() => arena.release(zone));
    state.set(PCAP_WINDOW, zone.offset);
    return { bytes: new Uint8Array(arena.buffer, zone.offset, WINDOW), offset: zone.offset };
  }
}

/** Reads a file from any place; keeps the name of what the kernel refused with. */
class FileSource implements CaptureSource {
  fd = -1;
  refused = '';

  read(into: Uint8Array, at: number, length: number, position: number): number {
    try {
      return readSync(this.fd, into, at, length, position);
    } catch (cause) {
      this.refused = String((cause as NodeJS.ErrnoException).code);
      throw cause;
    }
  }
}

const RX_COUNTERS: readonly (readonly [string, number])[] = [
  ['rx_too_long', PCAP_TOO_LONG], ['rx_not_ethernet', PCAP_NOT_ETHERNET], ['rx_snapped', PCAP_SNAPPED], ['rx_corrupt_block', PCAP_CORRUPT_BLOCK],
  ['rx_truncated_file', PCAP_TRUNCATED], ['rx_corrupt_file', PCAP_CORRUPT_FILE], ['rx_time_out_of_range', PCAP_TIME_OUTSIDE],
];

const TX_COUNTERS: readonly (readonly [string, number])[] = [['tx_bad_frame', PCAP_BAD_FRAME], ['tx_not_written', PCAP_NOT_WRITTEN]];
