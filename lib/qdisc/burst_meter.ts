import type { Memzone } from '../arena/directory.js';
import { ZONE_RAW } from '../arena/layout.js';
import type { Burst } from '../burst/burst.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { ipLength } from './ip.js';
import { GREEN, Meter, METER_BYTES, RED, YELLOW, type MeterReport, type MeterSpec } from './meter.js';

export interface BurstMeterOptions {
  /** Nanoseconds, never going back. Default: performance.now. Called once per burst. */
  readonly clock?: () => number;
  /** The packets have colours already, which are in the vector (RFC 2697's and 2698's colour-aware mode). Default: colour-blind. */
  readonly colorAware?: boolean;
}

/**
 * A meter for programs: gives each packet of a burst its colour, and changes nothing. Its state is in the arena, under its
 * name. Sizes are those of IP packets, see meter.ts; what is no IP counts whole. One thread.
 */
export class BurstMeter {
  readonly #zone: Memzone;
  readonly #pool: Mempool;
  private readonly mbufs: Mbufs;
  private readonly f64: Float64Array;
  private readonly time: number;
  private readonly meter: Meter;
  private readonly clock: () => number;
  private readonly aware: boolean;
  #final: MeterReport | undefined;

  /** Throws EOPTION, EEXISTS, EARENAFULL. */
  constructor(pool: Mempool, name: string, spec: MeterSpec, options: BurstMeterOptions = {}) {
    const { arena } = pool;
    const { clock = () => performance.now() * 1e6, colorAware = false } = options;
    this.#pool = pool;
    this.#zone = arena.reserve(name, METER_BYTES + 8, { type: ZONE_RAW });
    this.mbufs = pool.mbufs;
    this.f64 = arena.f64;
    this.time = (this.#zone.offset + METER_BYTES) / 8;
    this.clock = clock;
    this.aware = colorAware;
    try {
      this.meter = new Meter(arena, this.#zone.offset, spec, clock());
    } catch (cause) {
      arena.release(this.#zone);
      throw cause;
    }
  }

  /** GREEN, YELLOW or RED of each of the first `count` packets into `colors`, which is as long. Returns how many are not green. */
  color(burst: Burst, count: number, colors: Uint8Array): number {
    const most = this.#final === undefined ? Math.min(burst.bounded(count), colors.length) : 0;
    this.f64[this.time] = this.clock();
    let others = 0;
    for (let i = 0; i < most; i++) {
      const handle = burst.handles[i]!;
      const bytes = ipLength(this.mbufs, handle);
      const before = !this.aware || colors[i] === GREEN ? GREEN : colors[i] === YELLOW ? YELLOW : RED;
      const color = this.meter.color(bytes === 0 ? this.mbufs.pktLen(handle) : bytes, this.time, before);
      colors[i] = color;
      if (color !== GREEN) others++;
    }
    return others;
  }

  toJSON(): MeterReport {
    return this.#final ?? this.meter.toJSON();
  }

  close(): void {
    if (this.#final !== undefined) return;
    this.#final = this.meter.toJSON();
    this.#pool.arena.release(this.#zone);
  }
}
