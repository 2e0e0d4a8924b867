import { Arena } from '../../arena/arena.js';
import type { Burst } from '../../burst/burst.js';
import { Mempool } from '../../mbuf/mempool.js';
import { open, type Host } from '../../port/host.js';
import type { Port } from '../../port/port.js';
import { swapMacs } from '../../wire/ethernet.js';
import { burstsPerTurn, Pacer, partOf, type Endpoint, type MemoryShare, type Part, type RunOrder, type Timer } from '../control.js';
import { buildFrame, TIMESTAMP, type FrameEnds } from '../frame.js';
import { nanoseconds } from '../thread.js';

/**
 * mbufs that a thread keeps for itself. Bursts of more than half of it overflow it and draw on the whole pool in turn,
 * out of every CPU cache: with the usual 256, AF_XDP took a quarter more time per packet at burst 256 than at 128.
 */
const CACHE = 512;

/** Sends or receives on a port of this library: by its first queue, and sends by all in turn where it has several. */
export class PortEndpoint implements Endpoint {
  readonly mode: string;
  readonly share: MemoryShare;
  readonly #host: Host;
  readonly #port: Port;
  readonly #ends: FrameEnds;
  readonly #sends: boolean;
  readonly #time: Timer;
  readonly #bursts = new Map<number, Burst>();
  #burst: Burst;
  #perTurn = 1;
  #frame: Uint8Array = new Uint8Array(0);
  #pacer = new Pacer(1, 1);
  #part: Part = 'send';
  /** The send queue whose turn it is, where the port has several. */
  #turn = 0;

  /** @param share of a memory path's other side, which has arena and pool already */
  constructor(device: string, ends: FrameEnds, sends: boolean, time: Timer, share?: MemoryShare) {
    this.#host = open([device], share === undefined ? { cache: CACHE } : { pool: Mempool.find(Arena.attach(share.arena), share.pool) });
    this.#port = this.#host.ports[0]!;
    this.share = { arena: this.#host.arena.share(), pool: this.#host.pool.name };
    this.mode = this.#port.capabilities.mode;
    this.#ends = ends;
    this.#sends = sends;
    this.#time = time;
    this.#burst = this.#burstOf(32);
  }

  start(order: RunOrder): void {
    this.#burst = this.#burstOf(order.burst);
    this.#perTurn = burstsPerTurn(order.burst);
    this.#part = partOf(this.#sends, order);
    this.#pacer = new Pacer(order.rate ?? 1, order.burst);
    if (!this.#sends) return;
    this.#frame = buildFrame(this.#ends, order.frame);
    this.#fillPool();
  }

  turn(): number {
    let packets = 0;
    switch (this.#part) {
      case 'send':
        for (let i = 0; i < this.#perTurn; i++) packets += this.#send();
        return packets;
      case 'receive':
        for (let i = 0; i < this.#perTurn; i++) packets += this.#receive();
        return packets;
      case 'ping':
        packets = this.#pacer.ready() ? this.#send(nanoseconds()) : 0;
        this.#takeEchoes();
        return packets;
      case 'echo':
        return this.#echo();
    }
  }

  drain(): number {
    // What the kernel has in the ring but did not send yet goes out by a call without packets.
    if (this.#sends) for (const queue of this.#port.tx) queue.txBurst(this.#burst, 0);
    if (this.#part === 'ping') this.#takeEchoes();
    return this.#sends ? 0 : this.turn();
  }

  counters(): Record<string, number> {
    return this.#sends ? {} : lossCounters(this.#host.stats(this.#port).xstats);
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
  #fillPool(): void {
    const { pool, mbufs } = this.#host;
    const one = this.#burstOf(1);
    const held: number[] = [];
    for (const queue of this.#port.tx) queue.txBurst(one, 0); // takes back what was sent
    while (pool.alloc(one, 1) > 0) {
      mbufs.u8.set(this.#frame, mbufs.data(one.handles[0]!));
      held.push(one.handles[0]!);
    }
    for (const handle of held) {
      one.handles[0] = handle;
      pool.free(one, 0, 1);
    }
  }

  /** @param stamp written into each frame when it is not 0; the frame too, since its buffer may have come back as an echo */
  #send(stamp = 0): number {
    const { pool, mbufs, arena } = this.#host;
    const burst = this.#burst;
    const { length } = this.#frame;
    const got = pool.alloc(burst, burst.capacity);
    for (let i = 0; i < got; i++) {
      const at = mbufs.append(burst.handles[i]!, length);
      if (stamp === 0) continue;
      mbufs.u8.set(this.#frame, at);
      arena.f64[(at + TIMESTAMP) >>> 3] = stamp;
    }
    const { tx } = this.#port;
    const sent = tx[this.#turn]!.txBurst(burst, got);
    if (++this.#turn === tx.length) this.#turn = 0;
    if (sent < got) pool.free(burst, sent, got);
    return sent;
  }

  #receive(): number {
    const got = this.#port.rx[0]!.rxBurst(this.#burst);
    if (got > 0) this.#host.pool.free(this.#burst, 0, got);
    return got;
  }

  #echo(): number {
    const burst = this.#burst;
    const got = this.#port.rx[0]!.rxBurst(burst);
    if (got === 0) return 0;
    swapMacs(this.#host.mbufs, burst, got);
    const sent = this.#port.tx[0]!.txBurst(burst, got);
    if (sent < got) this.#host.pool.free(burst, sent, got);
    return got;
  }

  #takeEchoes(): void {
    const { mbufs, pool, arena } = this.#host;
    const burst = this.#burst;
    const got = this.#port.rx[0]!.rxBurst(burst);
    if (got === 0) return;
    const now = nanoseconds();
    for (let i = 0; i < got; i++) this.#time(arena.f64[(mbufs.data(burst.handles[i]!) + TIMESTAMP) >>> 3]!, now);
    pool.free(burst, 0, got);
  }
}

/** Those of a port's counters that count packets that were lost on this side. */
function lossCounters(xstats: Readonly<Record<string, number>>): Record<string, number> {
  const names = Object.keys(xstats).filter(name => /rx.*(dropped|full|bad|truncated|too_long|drops)/.test(name) && !name.includes('fill'));
  return Object.fromEntries(names.map(name => [name, xstats[name]!]));
}
