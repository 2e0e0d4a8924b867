import { Arena } from '../arena/arena.js';
import { ZONE_POOL, ZONE_QUEUE } from '../arena/layout.js';
import { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import { Mempool } from '../mbuf/mempool.js';
import { attachRx, attachTx } from './attach.js';
import { open, type Host, type PortRequest } from './host.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL } from './layout.js';
import { emptyStats, type PortStats, type RxQueue, type TxQueue } from './port.js';
import { QueueView } from './queue_view.js';
import { readPublished } from './stats_zone.js';

/** A port of the other process, as it is told of. */
export interface AttachedPort {
  readonly name: string;
  readonly number: number;
  /** How it was opened, for people. */
  readonly mode: string;
  readonly rxQueues: number;
  readonly txQueues: number;
}

/**
 * Attaches to the ports of another process of this user, which opened them with `open([...], { arenaOptions: { name } })`:
 * DPDK's secondary process. Their packets, pools, rings and counters are the same memory here.
 *
 * Rings: `Ring.find(host.arena, name)`, or a port of one's own over them, `host.open(['ring:b,tx=a'])`. Queues of the
 * other's ports are polled here once they are let go there (releaseQueue). Once in a process. Throws as
 * `Arena.attachProcess`, and ENOTFOUND when nothing was opened there.
 */
export function attachHost(name: string, options: { readonly pid?: number } = {}): AttachedHost {
  return new AttachedHost(Arena.attachProcess(name, options), name);
}

/** Belongs to one thread, as a host does. The other process may end, even by kill -9: its memory stays while this is open. */
export class AttachedHost {
  readonly arena: Arena;
  /** The pool of its first port. */
  readonly pool: Mempool;
  readonly mbufs: Mbufs;
  readonly #opened: Host[] = [];

  /** Use `attachHost`. */
  constructor(arena: Arena, name: string) {
    this.arena = arena;
    try {
      this.pool = poolOf(arena, name);
      this.mbufs = this.pool.mbufs;
    } catch (cause) {
      arena.close();
      throw cause;
    }
  }

  /** The ports that are open there now, by number. */
  get ports(): readonly AttachedPort[] {
    return readPublished(this.arena).map(({ name, number, mode, rxQueues, txQueues }) => ({ name, number, mode, rxQueues, txQueues }));
  }

  /**
   * A port's counters. Packets, bytes and refusals are as they are at this moment; the named ones (xstats) as the other
   * process last wrote them down, which it does every second that its event loop gets a turn. Throws ENOTFOUND.
   */
  stats(port: { readonly number: number } | number): PortStats {
    const number = typeof port === 'number' ? port : port.number;
    const told = readPublished(this.arena).find(each => each.number === number);
    const queues = this.arena.zones().filter(zone => zone.type === ZONE_QUEUE && zone.name.startsWith(`port/${number}/`));
    if (told === undefined && queues.length === 0) throw new PollmodeError('ENOTFOUND', `There is no port ${number} in this arena: look at ports.`);
    const stats: PortStats = { ...emptyStats(), xstats: { ...told?.stats.xstats } };
    // A driver that counts elsewhere than in its queues (a NIC's registers) has told us all.
    if (queues.length === 0) return { ...told!.stats, xstats: stats.xstats };
    for (const zone of queues) addQueue(stats, new QueueView(this.arena, zone.offset, zone.name.includes('/rx/') ? 'rx' : 'tx'));
    return stats;
  }

  burst(capacity = 32): Burst {
    return new Burst(this.arena, capacity);
  }

  /** Takes a queue that was let go there. Throws ENOTFOUND, ETHREAD, EUNSUPPORTED. */
  rx(port: number, queue = 0): RxQueue {
    return attachRx(this.arena, port, queue);
  }

  /** Likewise. */
  tx(port: number, queue = 0): TxQueue {
    return attachTx(this.arena, port, queue);
  }

  /** Ports of this process over the other's pool: rings to it, or devices of one's own. They close with this. */
  open(requests: readonly PortRequest[]): Host {
    const host = open(requests, { pool: this.pool });
    this.#opened.push(host);
    return host;
  }

  /** Lets go of the memory. What this process holds of the pool must be freed before. A second call does nothing. */
  close(): void {
    for (const host of this.#opened.splice(0)) host.close();
    this.arena.close();
  }
}

function poolOf(arena: Arena, name: string): Mempool {
  const zones = arena.zones();
  const first = zones.filter(zone => zone.type === ZONE_QUEUE).sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))[0];
  const offset = first === undefined ? undefined : arena.u32[(first.offset + QUEUE_POOL) >>> 2];
  const pool = zones.find(zone => zone.type === ZONE_POOL && (offset === undefined || zone.offset === offset));
  if (pool === undefined) throw new PollmodeError('ENOTFOUND', `The arena "${name}" has no pool yet: attach when its process has opened its ports.`);
  return Mempool.find(arena, pool.name);
}

function addQueue(stats: PortStats, queue: QueueView): void {
  const [packets, bytes, missed] = [QUEUE_PACKETS, QUEUE_BYTES, QUEUE_NOMBUF].map(field => queue.counter(field)) as [number, number, number];
  if (queue.direction === 'rx') {
    stats.rxPackets += packets;
    stats.rxBytes += bytes;
    stats.rxNoMbuf += missed;
  } else {
    stats.txPackets += packets;
    stats.txBytes += bytes;
    stats.txRefused += missed;
  }
}
