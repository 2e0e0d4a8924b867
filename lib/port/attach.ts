/**
 * Handing a queue from one thread to another. A queue is held by one lcore at a time, by its id in the queue's state:
 * the thread that opened the port holds all of them at first, lets one go with `releaseQueue`, and the other thread
 * takes it with `attachRx` or `attachTx`, which give it an object of its own over the same state.
 */
import type { Arena } from '../arena/arena.js';
import { ZONE_QUEUE } from '../arena/layout.js';
import { PollmodeError } from '../errors.js';
import { drivers } from './drivers.js';
import { QUEUE_DRIVER_NAME, QUEUE_DRIVER_NAME_MAX, QUEUE_KIND, QUEUE_LCORE, QUEUE_MAGIC } from './layout.js';
import type { PortDriver, QueueAttacher, RxQueue, TxQueue } from './port.js';
import { queueZone, QueueView, type Direction } from './queue_view.js';

/** Takes a receive queue for the calling thread. Throws ENOTFOUND, ETHREAD while another lcore holds it, EUNSUPPORTED. */
export function attachRx(arena: Arena, port: number, queue: number): RxQueue {
  const state = take(arena, port, 'rx', queue);
  return attacherOf(state).rx(state);
}

/** Takes a send queue for the calling thread. Throws as `attachRx`. */
export function attachTx(arena: Arena, port: number, queue: number): TxQueue {
  const state = take(arena, port, 'tx', queue);
  return attacherOf(state).tx(state);
}

/** Lets a queue that the calling thread holds go. Its own object for it then returns 0 and counts `wrong_thread`. Throws ETHREAD. */
export function releaseQueue(arena: Arena, port: number, direction: Direction, queue: number): void {
  const state = find(arena, port, direction, queue);
  const word = (state.offset + QUEUE_LCORE) >>> 2;
  if (Atomics.compareExchange(arena.u32, word, arena.lcore + 1, 0) !== arena.lcore + 1) {
    throw new PollmodeError('ETHREAD', `${describe(port, direction, queue)} is not this thread's (lcore ${arena.lcore}) to let go: do it in the thread that holds it.`);
  }
}

/** Takes a queue back for the object that opened it. Throws ETHREAD while another lcore holds it. */
export function takeQueue(arena: Arena, port: number, direction: Direction, queue: number): void {
  take(arena, port, direction, queue);
}

/** Puts the queues of a dead lcore in order and frees them for another. Returns their names. */
export function freeQueues(arena: Arena, lcore: number): string[] {
  const held = arena.zones().filter(zone => zone.type === ZONE_QUEUE && arena.u32[(zone.offset + QUEUE_LCORE) >>> 2] === lcore + 1);
  for (const zone of held) {
    const state = new QueueView(arena, zone.offset, zone.name.includes('/rx/') ? 'rx' : 'tx');
    driverOf(state)?.attach?.repair?.(state);
    Atomics.store(arena.u32, (zone.offset + QUEUE_LCORE) >>> 2, 0);
  }
  return held.map(zone => zone.name);
}

function take(arena: Arena, port: number, direction: Direction, queue: number): QueueView {
  const state = find(arena, port, direction, queue);
  const held = Atomics.compareExchange(arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0, arena.lcore + 1);
  if (held !== 0 && held !== arena.lcore + 1) {
    throw new PollmodeError('ETHREAD', `${describe(port, direction, queue)} is held by lcore ${held - 1}: let it go there first (releaseQueue), one thread polls a queue.`);
  }
  return state;
}

function find(arena: Arena, port: number, direction: Direction, queue: number): QueueView {
  const zone = arena.lookup(queueZone(port, direction, queue));
  if (zone === undefined || zone.type !== ZONE_QUEUE || Atomics.load(arena.u32, (zone.offset + QUEUE_KIND) >>> 2) !== QUEUE_MAGIC) {
    throw new PollmodeError('ENOTFOUND', `There is no ${describe(port, direction, queue)} in this arena: open the port first, and check the numbers.`);
  }
  return new QueueView(arena, zone.offset, direction);
}

function attacherOf(state: QueueView): QueueAttacher {
  const driver = driverOf(state);
  if (driver?.attach !== undefined) return driver.attach;
  Atomics.store(state.arena.u32, (state.offset + QUEUE_LCORE) >>> 2, 0);
  throw new PollmodeError('EUNSUPPORTED', `Queues of ${driver?.name ?? 'unknown'} ports cannot be polled by another thread than the one that opened the port: poll it there, and hand packets over through a ring.`);
}

function driverOf(state: QueueView): PortDriver | undefined {
  const at = state.offset + QUEUE_DRIVER_NAME;
  const name = String.fromCharCode(...state.arena.u8.subarray(at, at + QUEUE_DRIVER_NAME_MAX)).replace(/\0+$/, '');
  return drivers.find(driver => driver.name === name);
}

function describe(port: number, direction: Direction, queue: number): string {
  return `${direction} queue ${queue} of port ${port}`;
}
