import type { Memzone } from '../arena/directory.js';
import { ZONE_QUEUE } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import { HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_PKT_LEN, MBUF_PORT, MBUF_REFCNT, OWNER_RX, OWNER_SHIFT, OWNER_TX } from '../mbuf/layout.js';
import {
  QUEUE_BYTES, QUEUE_BYTES_TOTAL, QUEUE_DRIVER_NAME, QUEUE_DRIVER_NAME_MAX, QUEUE_FD, QUEUE_KIND, QUEUE_LCORE, QUEUE_MAGIC,
  QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE,
} from './layout.js';
import type { PortHost, PortStats, TxQueue } from './port.js';
import { queueZone, QueueView, type Direction } from './queue_view.js';
import { ReceiveQueue } from './receive_queue.js';

/** The state of a queue for the driver that opens it: the common part is filled in, the driver's part is zero. */
export class QueueState extends QueueView {
  readonly #zone: Memzone;
  #final: { packets: number; bytes: number; nombuf: number } | undefined;

  constructor(host: PortHost, direction: Direction, queue: number) {
    const { arena, pool, number } = host;
    const zone = arena.reserve(queueZone(number, direction, queue), QUEUE_BYTES_TOTAL, { align: 128, type: ZONE_QUEUE });
    super(arena, zone.offset, direction);
    this.#zone = zone;
    this.set(QUEUE_POOL, pool.offset);
    this.set(QUEUE_TABLE, arena.table);
    this.set(QUEUE_ROOM, pool.room);
    this.set(QUEUE_OWNER, (((direction === 'rx' ? OWNER_RX : OWNER_TX) << OWNER_SHIFT) | (number << 8) | queue) >>> 0);
    this.set(QUEUE_LCORE, arena.lcore + 1);
    this.set(QUEUE_FD, -1);
    this.#writeDriver(host.device);
    this.#writeTemplate(number);
    this.set(QUEUE_KIND, QUEUE_MAGIC);
  }

  /** The frame length of a driver whose frames are all alike. */
  setTemplateLength(length: number): void {
    this.arena.u32[(this.offset + QUEUE_TEMPLATE + MBUF_PKT_LEN) >>> 2] = length;
    this.arena.u16[(this.offset + QUEUE_TEMPLATE + MBUF_DATA_LEN) >>> 1] = length;
  }

  addTo(stats: PortStats): void {
    const { packets, bytes, nombuf } = this.#final ?? this.#read();
    if (this.direction === 'rx') {
      stats.rxPackets += packets;
      stats.rxBytes += bytes;
      stats.rxNoMbuf += nombuf;
    } else {
      stats.txPackets += packets;
      stats.txBytes += bytes;
      stats.txRefused += nombuf;
    }
  }

  /** Releases the state; the counts stay readable. */
  close(): void {
    if (this.#final !== undefined) return;
    this.#final = this.#read();
    this.set(QUEUE_LCORE, 0);
    this.set(QUEUE_KIND, 0);
    this.arena.release(this.#zone);
  }

  #read(): { packets: number; bytes: number; nombuf: number } {
    return { packets: this.counter(QUEUE_PACKETS), bytes: this.counter(QUEUE_BYTES), nombuf: this.counter(QUEUE_NOMBUF) };
  }

  #writeDriver(device: string): void {
    const name = device.slice(0, device.indexOf(':')).slice(0, QUEUE_DRIVER_NAME_MAX);
    for (let i = 0; i < name.length; i++) this.arena.u8[this.offset + QUEUE_DRIVER_NAME + i] = name.charCodeAt(i);
  }

  #writeTemplate(port: number): void {
    const at = (this.offset + QUEUE_TEMPLATE) >>> 1;
    const { u16 } = this.arena;
    u16[at + (MBUF_DATA_OFF >> 1)] = HEADROOM;
    u16[at + (MBUF_REFCNT >> 1)] = 1;
    u16[at + (MBUF_NB_SEGS >> 1)] = 1;
    u16[at + (MBUF_PORT >> 1)] = port;
  }
}

/** Burst calls that were answered with 0 because they should not have come: after close, or from a thread that does not hold the queue. */
export class RefusedCalls {
  closed = false;
  afterClose = 0;
  wrongThread = 0;

  count(): 0 {
    if (this.closed) this.afterClose++;
    else this.wrongThread++;
    return 0;
  }
}

/** What a port says of them: rx_after_close, rx_wrong_thread, and the same for tx. */
export function countRefused(into: PortStats, rx: readonly { readonly refused: RefusedCalls }[], tx: readonly { readonly refused: RefusedCalls }[]): void {
  for (const [name, queues] of [['rx', rx], ['tx', tx]] as const) {
    into.xstats[`${name}_after_close`] = queues.reduce((sum, queue) => sum + queue.refused.afterClose, 0);
    into.xstats[`${name}_wrong_thread`] = queues.reduce((sum, queue) => sum + queue.refused.wrongThread, 0);
  }
}

/** A burst function of the burst module, for one queue. */
export type QueueFunction = (queue: number, burst: number, count: number, lcore: number) => number;

/** An rx queue that is nothing but a burst function over a queue's state. */
export class FunctionRxQueue extends ReceiveQueue {
  readonly refused = new RefusedCalls();
  readonly #function: QueueFunction;
  readonly #u32: Uint32Array;
  readonly #queue: number;
  readonly #lcore: number;
  /** Index of QUEUE_LCORE: this thread's while it may poll. */
  readonly #holder: number;

  constructor(state: QueueView, burstFunction: QueueFunction) {
    super(state.arena);
    this.#function = burstFunction;
    this.#u32 = state.arena.u32;
    this.#queue = state.offset;
    this.#lcore = state.arena.lcore;
    this.#holder = (state.offset + QUEUE_LCORE) >>> 2;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (this.refused.closed || this.#u32[this.#holder] !== this.#lcore + 1) return this.refused.count();
    const most = max < burst.capacity ? max : burst.capacity;
    return most > 0 ? this.#function(this.#queue, burst.offset, most, this.#lcore) : 0;
  }

  close(): void {
    this.refused.closed = true;
  }
}

/** A tx queue that is nothing but a burst function over a queue's state. */
export class FunctionTxQueue implements TxQueue {
  readonly refused = new RefusedCalls();
  readonly #function: QueueFunction;
  readonly #u32: Uint32Array;
  readonly #queue: number;
  readonly #lcore: number;
  readonly #holder: number;

  constructor(state: QueueView, burstFunction: QueueFunction) {
    this.#function = burstFunction;
    this.#u32 = state.arena.u32;
    this.#queue = state.offset;
    this.#lcore = state.arena.lcore;
    this.#holder = (state.offset + QUEUE_LCORE) >>> 2;
  }

  txBurst(burst: Burst, count: number): number {
    if (this.refused.closed || this.#u32[this.#holder] !== this.#lcore + 1) return this.refused.count();
    const most = count < burst.capacity ? count : burst.capacity;
    return most > 0 ? this.#function(this.#queue, burst.offset, most, this.#lcore) : 0;
  }

  close(): void {
    this.refused.closed = true;
  }
}
