/**
 * What a host's ports count, for other processes: a zone of the arena with the text of it (JSON), written anew every
 * second. A port's counters are partly the kernel's or a driver's own, which only the process that opened it can read.
 */
import type { Arena } from '../arena/arena.js';
import { freshName } from '../arena/names.js';
import type { Memzone } from '../arena/directory.js';
import { emptyStats, type Port, type PortStats } from './port.js';

/** What other processes are told of a port. */
export interface PublishedPort {
  readonly name: string;
  readonly number: number;
  readonly mode: string;
  readonly rxQueues: number;
  readonly txQueues: number;
  readonly stats: PortStats;
}

export const STATS_PREFIX = 'host/stats/';
/** Bytes of the zone: 500 counters of each of 16 ports have less. */
const SIZE = 1 << 18;
/** u32: odd while the text is written, so that a reader knows that he has half of it; a seqlock. */
const SEQUENCE = 0;
/** u32: bytes of the text. */
const LENGTH = 4;
const TEXT = 8;
const EVERY_MS = 1000;
/** A reader asks again so often: writing takes microseconds. */
const TRIES = 1000;

/** The writer's side; belongs to the thread of the ports. */
export class StatsPublisher {
  readonly #arena: Arena;
  readonly #zone: Memzone;
  readonly #ports: readonly Port[];
  readonly #timer: NodeJS.Timeout;

  constructor(arena: Arena, nextName: () => string, ports: readonly Port[]) {
    this.#arena = arena;
    this.#ports = ports;
    this.#zone = arena.reserve(freshName(arena, () => `${STATS_PREFIX}${nextName()}`), SIZE);
    this.#timer = setInterval(() => this.publish(), EVERY_MS).unref();
    this.publish();
  }

  /** Now; a text that is too long is left out. */
  publish(): void {
    const text = new TextEncoder().encode(JSON.stringify(this.#ports.map(published)));
    if (text.length > SIZE - TEXT) return;
    const { u8, u32 } = this.#arena;
    const word = (this.#zone.offset + SEQUENCE) >>> 2;
    Atomics.add(u32, word, 1);
    u8.set(text, this.#zone.offset + TEXT);
    u32[(this.#zone.offset + LENGTH) >>> 2] = text.length;
    Atomics.add(u32, word, 1);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#arena.release(this.#zone);
  }
}

function published(port: Port): PublishedPort {
  const stats = emptyStats();
  port.readStats(stats);
  const { name, number, capabilities: { mode, rxQueues, txQueues } } = port;
  return { name, number, mode, rxQueues, txQueues, stats };
}

/** What all hosts of the arena last told of their ports, by number; of one that is just writing, or died of it, nothing. */
export function readPublished(arena: Arena): PublishedPort[] {
  return arena.zones().filter(({ name }) => name.startsWith(STATS_PREFIX)).flatMap(zone => parse(readText(arena, zone))).sort((a, b) => a.number - b.number);
}

/** Copied first and believed only when nobody wrote meanwhile. */
function readText(arena: Arena, { offset }: Memzone): string {
  const word = (offset + SEQUENCE) >>> 2;
  for (let tries = 0; tries < TRIES; tries++) {
    const before = Atomics.load(arena.u32, word);
    const length = Math.min(arena.u32[(offset + LENGTH) >>> 2]!, SIZE - TEXT);
    const bytes = arena.u8.slice(offset + TEXT, offset + TEXT + length);
    if ((before & 1) === 0 && Atomics.load(arena.u32, word) === before) return new TextDecoder().decode(bytes);
  }
  return '[]';
}

function parse(text: string): PublishedPort[] {
  try {
    const value = JSON.parse(text) as unknown;
    return Array.isArray(value) ? value as PublishedPort[] : [];
  } catch {
    return [];
  }
}
