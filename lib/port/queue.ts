import type { Arena } from '../arena/arena.js';
import type { Memzone } from '../arena/directory.js';
import { ZONE_QUEUE } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import { HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_PKT_LEN, MBUF_PORT, MBUF_REFCNT, OWNER_RX, OWNER_SHIFT, OWNER_TX } from '../mbuf/layout.js';
import {
  QUEUE_BYTES, QUEUE_BYTES_TOTAL, QUEUE_KIND, QUEUE_MAGIC, QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM,
  QUEUE_TABLE, QUEUE_TEMPLATE,
} from './layout.js';
import type { PortHost, PortStats, RxQueue, TxQueue } from './port.js';

export type Direction = 'rx' | 'tx';

/** The state of one queue in the arena, for a driver: the common part is filled in, the driver's part is zero. */
export class QueueState {
  readonly arena: Arena;
  readonly offset: number;
  readonly direction: Direction;
  /** The owner word of mbufs that the port holds by this queue. */
  readonly owner: number;
  readonly #zone: Memzone;
  #final: { packets: number; bytes: number; nombuf: number } | undefined;

  constructor(host: PortHost, direction: Direction, queue: number) {
    const { arena, pool, number } = host;
    this.arena = arena;
    this.direction = direction;
    this.#zone = arena.reserve(`port/${number}/${direction}/${queue}`, QUEUE_BYTES_TOTAL, { align: 128, type: ZONE_QUEUE });
    this.offset = this.#zone.offset;
    this.owner = (((direction === 'rx' ? OWNER_RX : OWNER_TX) << OWNER_SHIFT) | (number << 8) | queue) >>> 0;
    this.set(QUEUE_POOL, pool.offset);
    this.set(QUEUE_TABLE, arena.table);
    this.set(QUEUE_ROOM, pool.room);
    this.set(QUEUE_OWNER, this.owner);
    this.#writeTemplate(number);
    this.set(QUEUE_KIND, QUEUE_MAGIC);
  }

  set(field: number, value: number): void {
    this.arena.u32[(this.offset + field) >>> 2] = value;
  }

  get(field: number): number {
    return this.arena.u32[(this.offset + field) >>> 2]!;
  }

  counter(field: number): number {
    return Number(this.arena.u64[(this.offset + field) / 8]!);
  }

  /** For drivers that count in TypeScript: two u32, so that no BigInt is made. */
  add(field: number, by: number): void {
    const at = (this.offset + field) >>> 2;
    const low = this.arena.u32[at]! + by;
    this.arena.u32[at] = low;
    if (low > 0xffffffff) this.arena.u32[at + 1]!++;
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
    this.arena.release(this.#zone);
  }

  #read(): { packets: number; bytes: number; nombuf: number } {
    return { packets: this.counter(QUEUE_PACKETS), bytes: this.counter(QUEUE_BYTES), nombuf: this.counter(QUEUE_NOMBUF) };
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

/** A burst function of the burst module, for one queue. */
export type QueueFunction = (queue: number, burst: number, count: number, lcore: number) => number;

/**
 * An rx queue that is nothing but a burst function over a queue's state. Its fields are `private` and not #, as a # field
 * is undefined before it is set and V8 then never knows what kind it holds.
 */
export class FunctionRxQueue implements RxQueue {
  afterClose = 0;
  private readonly function: QueueFunction;
  private readonly queue: number;
  private readonly lcore: number;
  private open = true;

  constructor(state: QueueState, burstFunction: QueueFunction) {
    this.function = burstFunction;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.open) return this.#refuse();
    const most = max < burst.capacity ? max : burst.capacity;
    return most > 0 ? this.function(this.queue, burst.offset, most, this.lcore) : 0;
  }

  close(): void {
    this.open = false;
  }

  #refuse(): number {
    this.afterClose++;
    return 0;
  }
}

/** A tx queue that is nothing but a burst function over a queue's state. */
export class FunctionTxQueue implements TxQueue {
  afterClose = 0;
  private readonly function: QueueFunction;
  private readonly queue: number;
  private readonly lcore: number;
  private open = true;

  constructor(state: QueueState, burstFunction: QueueFunction) {
    this.function = burstFunction;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
  }

  txBurst(burst: Burst, count: number): number {
    if (!this.open) return this.#refuse();
    const most = count < burst.capacity ? count : burst.capacity;
    return most > 0 ? this.function(this.queue, burst.offset, most, this.lcore) : 0;
  }

  close(): void {
    this.open = false;
  }

  #refuse(): number {
    this.afterClose++;
    return 0;
  }
}
