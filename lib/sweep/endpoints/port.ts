import { binding } from '../../binding.js';
import type { Burst } from '../../burst/burst.js';
import { open, type Host } from '../../port/host.js';
import type { Port } from '../../port/port.js';
import { Pacer, type Endpoint, type RunOrder } from '../control.js';
import { buildFrame, TIMESTAMP, type FrameEnds } from '../frame.js';

const BURSTS_PER_TURN = 16;
const clock = new Float64Array(2);

/** Sends or receives on a port of this library. */
export class PortEndpoint implements Endpoint {
  readonly mode: string;
  readonly #host: Host;
  readonly #port: Port;
  readonly #ends: FrameEnds;
  readonly #sends: boolean;
  readonly #time: (nanoseconds: number) => void;
  readonly #bursts = new Map<number, Burst>();
  #burst: Burst;
  #length = 0;
  #pacer: Pacer | undefined;
  #timed = false;

  constructor(device: string, ends: FrameEnds, sends: boolean, time: (nanoseconds: number) => void) {
    this.#host = open([device]);
    this.#port = this.#host.ports[0]!;
    this.mode = this.#port.capabilities.mode;
    this.#ends = ends;
    this.#sends = sends;
    this.#time = time;
    this.#burst = this.#burstOf(32);
  }

  start({ burst, frame, rate }: RunOrder): void {
    this.#burst = this.#burstOf(burst);
    this.#timed = rate !== undefined;
    this.#pacer = rate === undefined ? undefined : new Pacer(rate, burst);
    if (!this.#sends) return;
    const bytes = buildFrame(this.#ends, frame);
    this.#length = bytes.length;
    this.#fillPool(bytes);
  }

  turn(): number {
    if (this.#sends) return this.#pacer === undefined ? this.#send() : this.#sendPaced(this.#pacer);
    return this.#timed ? this.#receiveTimed() : this.#receive();
  }

  counters(): Record<string, number> {
    const stats = this.#host.stats(this.#port);
    return this.#sends ? {} : { rx_no_mbuf: stats.rxNoMbuf, ...lossCounters(stats.xstats) };
  }

  close(): void {
    this.#host.close();
  }

  #burstOf(capacity: number): Burst {
    const burst = this.#bursts.get(capacity) ?? this.#host.burst(capacity);
    this.#bursts.set(capacity, burst);
    return burst;
  }

  /** Every free buffer gets the frame once: sending does not change it, so the loop writes lengths only. */
  #fillPool(frame: Uint8Array): void {
    const { pool, mbufs } = this.#host;
    const one = this.#burstOf(1);
    const held: number[] = [];
    while (pool.alloc(one, 1) > 0) {
      mbufs.u8.set(frame, mbufs.data(one.handles[0]!));
      held.push(one.handles[0]!);
    }
    for (const handle of held) {
      one.handles[0] = handle;
      pool.free(one, 0, 1);
    }
    this.#port.tx[0]!.txBurst(one, 0);
  }

  #send(): number {
    let packets = 0;
    for (let i = 0; i < BURSTS_PER_TURN; i++) packets += this.#sendOne();
    return packets;
  }

  #sendOne(): number {
    const { pool, mbufs } = this.#host;
    const burst = this.#burst;
    const got = pool.alloc(burst, burst.capacity);
    for (let i = 0; i < got; i++) mbufs.append(burst.handles[i]!, this.#length);
    const sent = this.#port.tx[0]!.txBurst(burst, got);
    if (sent < got) pool.free(burst, sent, got);
    return sent;
  }

  #sendPaced(pacer: Pacer): number {
    if (!pacer.ready()) return 0;
    const { pool, mbufs, arena } = this.#host;
    const burst = this.#burst;
    const got = pool.alloc(burst, burst.capacity);
    binding().clock(clock);
    for (let i = 0; i < got; i++) {
      const at = mbufs.append(burst.handles[i]!, this.#length);
      arena.f64[(at + TIMESTAMP) / 8] = clock[1]!;
    }
    const sent = this.#port.tx[0]!.txBurst(burst, got);
    if (sent < got) pool.free(burst, sent, got);
    return sent;
  }

  #receive(): number {
    const rx = this.#port.rx[0]!;
    let packets = 0;
    for (let i = 0; i < BURSTS_PER_TURN; i++) {
      const got = rx.rxBurst(this.#burst);
      if (got > 0) this.#host.pool.free(this.#burst, 0, got);
      packets += got;
    }
    return packets;
  }

  #receiveTimed(): number {
    const { mbufs, pool, arena } = this.#host;
    const burst = this.#burst;
    const got = this.#port.rx[0]!.rxBurst(burst);
    if (got === 0) return 0;
    binding().clock(clock);
    for (let i = 0; i < got; i++) this.#time(clock[1]! - arena.f64[(mbufs.data(burst.handles[i]!) + TIMESTAMP) >>> 3]!);
    pool.free(burst, 0, got);
    return got;
  }
}

/** Those of a port's counters that count packets that were lost on this side. */
function lossCounters(xstats: Readonly<Record<string, number>>): Record<string, number> {
  const names = Object.keys(xstats).filter(name => /rx.*(dropped|full|bad|truncated|too_long|drops)/.test(name) && !name.includes('fill'));
  return Object.fromEntries(names.map(name => [name, xstats[name]!]));
}
