import type { Memzone } from '../arena/directory.js';
import { ZONE_QUEUE } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import { HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_PKT_LEN, MBUF_PORT, MBUF_REFCNT, OWNER_RX, OWNER_SHIFT, OWNER_TX } from '../mbuf/layout.js';
import {
  QUEUE_BYTES, QUEUE_BYTES_TOTAL, QUEUE_DRIVER_NAME, QUEUE_DRIVER_NAME_MAX, QUEUE_FD, QUEUE_KIND, QUEUE_LCORE, QUEUE_MAGIC,
  QUEUE_NOMBUF, QUEUE_OWNER, QUEUE_PACKETS, QUEUE_POOL, QUEUE_ROOM, QUEUE_TABLE, QUEUE_TEMPLATE,
} from './layout.js';
import type { PortHost, PortStats } from './port.js';
import { PortRxQueue, PortTxQueue } from './port_queue.js';
import { queueZone, QueueView, type Direction } from './queue_view.js';

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

/** The states of a port's queues: all of them, or none when the arena has no room. */
export function queueStates(host: PortHost, rxQueues: number, txQueues: number): { readonly rx: readonly QueueState[]; readonly tx: readonly QueueState[] } {
  const made: QueueState[] = [];
  const make = (direction: Direction, count: number): QueueState[] => Array.from({ length: count }, (_, queue) => {
    const state = new QueueState(host, direction, queue);
    made.push(state);
    return state;
  });
  try {
    return { rx: make('rx', rxQueues), tx: make('tx', txQueues) };
  } catch (cause) {
    for (const state of made) state.close();
    throw cause;
  }
}

/** A burst function of the burst module, for one queue. */
export type QueueFunction = (queue: number, burst: number, count: number, lcore: number) => number;

/** An rx queue that is nothing but a burst function over a queue's state. */
export class FunctionRxQueue extends PortRxQueue {
  private readonly function: QueueFunction;
  private readonly queue: number;
  private readonly lcore: number;

  constructor(state: QueueView, burstFunction: QueueFunction) {
    super(state);
    this.function = burstFunction;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
  }

  rxBurst(burst: Burst, max: number = burst.capacity): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(max);
    return most > 0 ? this.function(this.queue, burst.offset, most, this.lcore) : 0;
  }
}

/** A tx queue that is nothing but a burst function over a queue's state. */
export class FunctionTxQueue extends PortTxQueue {
  private readonly function: QueueFunction;
  private readonly queue: number;
  private readonly lcore: number;

  constructor(state: QueueView, burstFunction: QueueFunction) {
    super(state);
    this.function = burstFunction;
    this.queue = state.offset;
    this.lcore = state.arena.lcore;
  }

  txBurst(burst: Burst, count: number): number {
    if (!this.admits()) return 0;
    const most = burst.bounded(count);
    return most > 0 ? this.function(this.queue, burst.offset, most, this.lcore) : 0;
  }
}
