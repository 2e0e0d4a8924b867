import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { Arena } from '../../../lib/arena/arena.js';
import { misuseReporter } from '../../../lib/burst/module.js';
import type { Burst } from '../../../lib/burst/burst.js';
import { OWNER_APP, OWNER_SHIFT } from '../../../lib/mbuf/layout.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import type { Mbufs } from '../../../lib/mbuf/mbufs.js';
import { emptyStats, type Port, type PortStats } from '../../../lib/port/port.js';
import { copyWhole, type Shifted } from './frames.js';
import type { Place, Rig, Subject } from './subject.js';

export interface BenchOptions {
  readonly incoming?: readonly Uint8Array[];
  /** Of the pool. */
  readonly mbufs?: number;
}

/** An arena and a pool of the test's own, so that they can be looked at after a port is closed; and one open rig over them. */
export class Bench {
  readonly arena: Arena;
  readonly pool: Mempool;
  readonly mbufs: Mbufs;
  readonly subject: Subject;
  readonly #t: Test;
  readonly #place: Place;
  readonly #bursts: Burst[] = [];
  #rig: Rig | undefined;

  private constructor(t: Test, subject: Subject, place: Place, mbufs: number) {
    this.#t = t;
    this.subject = subject;
    this.#place = place;
    this.arena = Arena.create({ size: 64 << 20 });
    this.pool = Mempool.create(this.arena, 'pool', { count: mbufs, ...subject.pool });
    this.mbufs = this.pool.mbufs;
    misuseReporter(this.arena)?.listen(misuse => t.fail(`mbuf ${misuse.handle}: ${misuse.what}`, { ...misuse }));
  }

  static async open(t: Test, subject: Subject, place: Place, { incoming, mbufs = 1024 }: BenchOptions = {}): Promise<Bench> {
    const bench = new Bench(t, subject, place, mbufs);
    t.teardown(() => bench.close());
    await bench.reopen(incoming);
    return bench;
  }

  /** The device once more, in the same arena and pool. */
  async reopen(incoming: readonly Uint8Array[] = []): Promise<void> {
    this.#rig?.close();
    this.#rig = await this.#place.open({ options: { arena: this.arena, pool: this.pool }, incoming });
  }

  get rig(): Rig {
    return this.#rig!;
  }

  get port(): Port {
    return this.#rig!.port;
  }

  get longest(): number {
    return this.subject.longest(this.pool.room);
  }

  burst(capacity: number): Burst {
    const burst = this.pool.burst(capacity);
    this.#bursts.push(burst);
    return burst;
  }

  stats(): PortStats {
    const stats = emptyStats();
    this.port.readStats(stats);
    return stats;
  }

  /** Fills the front of the burst with new mbufs that hold the frames. */
  make(burst: Burst, list: readonly (Uint8Array | Shifted)[]): number {
    this.#t.equal(this.pool.alloc(burst, list.length), list.length, 'the pool has mbufs for the frames');
    list.forEach((each, i) => {
      const { bytes, shift } = each instanceof Uint8Array ? { bytes: each, shift: 0 } : each;
      this.#write(burst.handles[i]!, bytes, shift);
    });
    return list.length;
  }

  /** Grows the mbuf over the place where the frame shall stand, and cuts off what stands before it. */
  #write(handle: number, bytes: Uint8Array, shift: number): void {
    if (shift < 0) this.mbufs.prepend(handle, -shift);
    this.mbufs.append(handle, Math.max(0, bytes.length + shift));
    if (shift > 0) this.mbufs.adjust(handle, shift);
    else if (this.mbufs.dataLen(handle) > bytes.length) this.mbufs.trim(handle, this.mbufs.dataLen(handle) - bytes.length);
    this.mbufs.u8.set(bytes, this.mbufs.data(handle));
    if (this.mbufs.dataLen(handle) !== bytes.length) this.#t.fail(`a frame of ${bytes.length} bytes at ${shift} was not made`);
  }

  /** Sends all of the first `count`, and keeps what is refused for another try. Returns how many went: all, unless the port stands still. */
  async send(burst: Burst, count: number, meanwhile: () => void = () => undefined): Promise<number> {
    const tx = this.port.tx[0]!;
    let left = count;
    await until(() => {
      const sent = tx.txBurst(burst, left);
      if (sent > 0 && sent < left) burst.keep(sent, left);
      left -= sent;
      meanwhile();
      return left === 0;
    });
    return count - left;
  }

  /** The frames that came in, up to `count`, copied out and freed. */
  async receive(count: number, burst: Burst): Promise<Uint8Array[]> {
    const list: Uint8Array[] = [];
    const rx = this.port.rx[0]!;
    await until(() => {
      const got = rx.rxBurst(burst, count - list.length);
      for (const handle of burst.handles.subarray(0, got)) list.push(copyWhole(this.mbufs, handle));
      this.pool.free(burst, 0, got);
      return list.length >= count;
    });
    return list;
  }

  /** The frames that went out, once there are `count`. */
  async departed(count: number): Promise<Uint8Array[]> {
    const list: Uint8Array[] = [];
    const idle = this.burst(1);
    await until(() => {
      this.port.tx[0]!.txBurst(idle, 0); // ports that send behind the call go on in the next one
      list.push(...this.rig.departed());
      return list.length >= count;
    });
    return list;
  }

  /** Until the port holds nothing more of what it was given to send. */
  async settle(): Promise<void> {
    const idle = this.burst(1);
    await until(() => {
      this.port.tx[0]!.txBurst(idle, 0);
      return this.pool.audit().tx === 0;
    });
  }

  /** Does the program hold the first `count`? */
  owned(burst: Burst, from: number, to: number): boolean {
    const mine = (OWNER_APP << OWNER_SHIFT) | this.arena.lcore;
    return Array.from(burst.handles.subarray(from, to)).every(handle => this.mbufs.owner(handle) === mine);
  }

  /** Every mbuf is in one place, and the program has `app` of them. */
  balanced(app: number, when: string): void {
    const { owners, cached, ...audit } = this.pool.audit();
    const sum = audit.free + audit.app + audit.rx + audit.tx + audit.ring;
    if (sum === audit.total && audit.app === app && audit.stray === 0 && audit.twice === 0) this.#t.pass(`balanced ${when}`);
    else this.#t.fail(`not balanced ${when}: the program should have ${app}`, { ...audit, owners: Object.fromEntries(owners) });
  }

  /** Nothing is with a port any more. */
  returned(app: number, when: string): void {
    this.balanced(app, when);
    this.#t.equal(this.pool.audit().free, this.pool.size - app, `all the rest is free ${when}`);
  }

  close(): void {
    this.#rig?.close();
    for (const burst of this.#bursts.splice(0)) burst.close();
    this.arena.close();
  }
}

const OFTEN = 1000;

/** Until `ready` says so, or two seconds have passed in which it was often asked: frames on a kernel's link take a moment, and on a busy machine a longer one. */
export async function until(ready: () => boolean): Promise<void> {
  const deadline = performance.now() + 2000;
  for (let asked = 0; !ready() && (asked < OFTEN || performance.now() < deadline); asked++) await sleep(1);
}
