/**
 * A port of the 82599's driver on a model of the device instead of VFIO: BAR and rings are plain memory of the arena, each
 * access of the control path goes through the model as over the bus, and the IOMMU lets it reach what was mapped and
 * nothing else. What bursts write (tails, interrupt masks) it sees at the next step.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Arena } from '../../../../lib/arena/arena.js';
import type { Memzone } from '../../../../lib/arena/directory.js';
import { binding } from '../../../../lib/binding.js';
import { Burst } from '../../../../lib/burst/burst.js';
import { O_NONBLOCK } from '../../../../lib/kernel/constants.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import type { Nic } from '../../../../lib/port/drivers/vfio/pci/device.js';
import { Registers, type RegisterRow } from '../../../../lib/port/drivers/vfio/pci/registers.js';
import { IntelPort, type IntelSettings } from '../../../../lib/port/drivers/vfio/intel/port.js';
import { IxgbeChip } from '../../../../lib/port/drivers/vfio/ixgbe/chip.js';
import { CTRL_RST } from '../../../../lib/port/drivers/vfio/ixgbe/registers.js';
import { emptyStats, type PortHost, type PortStats } from '../../../../lib/port/port.js';
import { copyWhole } from '../../conformance/frames.js';
import { Model82599 } from './model/82599.js';
import type { ThreadData, ThreadReport } from './model_thread.js';

const PAGE = 4096;
/** No driver writes that. */
const NOT_STORED = 0xdeadbeef;
/** What goes wrong. */
interface Faults {
  /** Reads of these registers, by their offsets, give these values. */
  readonly stuck: Map<number, number>;
  /** All reads give ones, and writes go nowhere. */
  gone: boolean;
}

/** Registers behind which the model stands. */
class ModelRegisters<Name extends string> extends Registers<Name> {
  readonly #nic: ModelNic;
  /** From a reset until the driver has waited, no register may be looked at (8.2.3.1.1). */
  #quiet = false;

  constructor(nic: ModelNic, arena: Arena, base: number, rows: readonly RegisterRow<Name>[]) {
    super(arena, base, rows);
    this.#nic = nic;
  }

  override readAt(offset: number): number {
    const { model, faults } = this.#nic;
    if (this.#quiet) throw new Error(`a look at 0x${offset.toString(16)} within a millisecond of a reset`);
    return faults.gone ? 0xffffffff : faults.stuck.get(offset) ?? model.read(offset) >>> 0;
  }

  override write(name: Name, value: number, further = 0): void {
    if (this.#quiet) throw new Error(`${name} written within a millisecond of a reset`);
    if (this.#nic.faults.gone) return;
    const offset = this.at(name, further) - this.base;
    this.#nic.written.push({ offset, value: value >>> 0 });
    this.#nic.model.write(offset, value >>> 0);
    this.#quiet = name === 'CTRL' && (value & CTRL_RST) !== 0;
  }

  override pause(milliseconds: number): void {
    if (milliseconds >= 1) this.#quiet = false;
    for (let i = 0; i < milliseconds; i++) this.#nic.model.step();
  }
}

/** Memory and vectors of a device; what stands behind its registers is for who extends it. */
export abstract class PlainNic implements Nic {
  readonly iova = 3 * 2 ** 32;
  readonly removal = -1;
  /** Of the vectors, while a port has them. */
  eventfds: number[] = [];
  protected readonly arena: Arena;
  protected readonly bar: Memzone;
  protected mapped: Memzone[] = [];
  protected master = false;
  readonly #name: string;
  #zones: Memzone[] = [];

  constructor(arena: Arena, name: string) {
    this.arena = arena;
    this.#name = name;
    this.bar = arena.reserve(`${name}/bar`, 512 << 10, { align: PAGE });
  }

  abstract registers<Name extends string>(index: number, bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name>;

  dma(name: string, bytes: number): Memzone {
    const zone = this.memory(name, Math.ceil(bytes / PAGE) * PAGE, PAGE);
    this.mapped.push(zone);
    return zone;
  }

  memory(name: string, bytes: number, align = 64): Memzone {
    const zone = this.arena.reserve(`${this.#name}/${name}`, bytes, { align });
    this.#zones.push(zone);
    return zone;
  }

  vectors(count: number): number[] {
    return this.eventfds = Array.from({ length: count }, () => binding().eventfd(0, O_NONBLOCK));
  }

  busMaster(on: boolean): void {
    this.master = on;
  }

  /** Within the pool's buffers and the rings: nothing else is mapped. */
  protected translate(iova: number, pool: Mempool): number | undefined {
    const at = iova - this.iova;
    const zones = this.master && this.mapped.length > 0 ? [pool.buffers, ...this.mapped] : [];
    return zones.some(({ offset, length }) => at >= offset && at < offset + length) ? at : undefined;
  }

  close(): void {
    this.mapped = [];
    for (const zone of this.#zones.splice(0)) this.arena.release(zone);
    for (const fd of this.eventfds.splice(0)) binding().close(fd);
  }
}

/** Outlives ports that are opened on it, as a device does, unless it is made for `once`. */
export class ModelNic extends PlainNic {
  readonly faults: Faults = { stuck: new Map(), gone: false };
  /** By the control path. */
  readonly written: { readonly offset: number; readonly value: number }[] = [];
  /** What the device has sent. */
  readonly sent: Uint8Array[] = [];
  readonly model: Model82599;
  readonly #once: boolean;

  constructor({ arena, pool }: { arena: Arena; pool: Mempool }, name = 'model', once = false) {
    super(arena, name);
    this.#once = once;
    const one = new Uint8Array(new BigUint64Array([1n]).buffer);
    this.model = new Model82599({
      memory: arena.u8.buffer as SharedArrayBuffer, bar: this.bar.offset,
      translate: iova => this.translate(Number(iova), pool),
      wire: { send: frame => void this.sent.push(frame.slice()) },
      interrupt: vector => { if (this.eventfds[vector] !== undefined) binding().write(this.eventfds[vector]!, one); },
    });
  }

  registers<Name extends string>(index: number, bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name> {
    if (index !== 0 || bytes > this.bar.length) throw new Error(`BAR ${index} has no ${bytes} bytes`);
    return new ModelRegisters(this, this.arena, this.bar.offset, rows);
  }

  override close(): void {
    super.close();
    if (this.#once) this.arena.release(this.bar);
  }
}

/** The device in a thread of its own: registers are memory, and nothing is told of an access. Frames come back. */
export class ThreadNic extends PlainNic {
  readonly #control = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  constructor(arena: Arena) {
    super(arena, 'thread');
    const data: ThreadData = { memory: arena.u8.buffer as SharedArrayBuffer, bar: this.bar.offset, iova: this.iova, control: this.#control.buffer as SharedArrayBuffer };
    this.#worker = new Worker(new URL('model_thread.js', import.meta.url), { workerData: data });
  }

  /** Until it runs. */
  async ready(): Promise<void> {
    while (Atomics.load(this.#control, 0) === 0) await sleep(1);
  }

  registers<Name extends string>(_index: number, _bytes: number, rows: readonly RegisterRow<Name>[]): Registers<Name> {
    return new Registers(this.arena, this.bar.offset, rows);
  }

  async stop(): Promise<ThreadReport> {
    Atomics.store(this.#control, 0, 2);
    const [report] = await once(this.#worker, 'message') as [ThreadReport];
    await this.#worker.terminate();
    return report;
  }
}

export const DEFAULTS: IntelSettings = { queues: 1, rxRing: 64, txRing: 64, mtu: 1500, vlanOffload: false, promiscuous: false, throttleUs: 20 };

/** An arena, a pool, the device, and ports opened on it one after the other. */
export class Lab {
  readonly arena = Arena.create({ size: 64 << 20 });
  readonly pool: Mempool;
  readonly nic: ModelNic;
  readonly burst: Burst;
  #port: IntelPort | undefined;
  #number = 0;

  constructor({ mbufs = 4096, jumbo = false } = {}) {
    this.pool = Mempool.create(this.arena, 'pool', { count: mbufs, bufferSize: jumbo ? 4096 : 2048, hugePages: 'never' });
    this.nic = new ModelNic(this);
    this.burst = new Burst(this.arena, 256);
  }

  get port(): IntelPort {
    return this.#port!;
  }

  get model(): Model82599 {
    return this.nic.model;
  }

  open(settings: Partial<IntelSettings> = {}): IntelPort {
    const all = { ...DEFAULTS, ...settings };
    const host: PortHost = { arena: this.arena, pool: this.pool, number: this.#number++, device: 'vfio:model' };
    this.#port = new IntelPort(all, host, this.nic, (name, nic) => new IxgbeChip(name, nic, all.queues));
    this.steps(2);
    return this.#port;
  }

  readonly steps = (count: number): void => {
    for (let i = 0; i < count; i++) this.model.step();
  };

  /** Sends each frame from one mbuf, as many at once as go. */
  readonly send = (frames: readonly Uint8Array[], queue = 0): void => {
    const { burst, pool } = this;
    for (let done = 0; done < frames.length;) {
      const some = frames.slice(done, done + 32);
      if (pool.alloc(burst, some.length) === 0) throw new Error('no mbufs');
      some.forEach((bytes, i) => { pool.mbufs.copyIn(burst.handles[i]!, bytes); });
      this.pass(some.length, queue);
      done += some.length;
    }
  };

  /** Sends the burst's first `count`, the device working in between. */
  readonly pass = (count: number, queue = 0): void => {
    const { burst } = this;
    for (let left = count, tries = 0; left > 0; tries++) {
      if (tries > 1000) throw new Error('the device sends nothing');
      const taken = this.port.tx[queue]!.txBurst(burst, left);
      if (taken > 0 && taken < left) burst.keep(taken, left);
      left -= taken;
      this.model.step();
    }
  };

  /** What has come to a queue, or to all in their order. */
  readonly receive = (queue?: number): Uint8Array[] => {
    const list: Uint8Array[] = [];
    this.model.step();
    this.port.rx.forEach((rx, index) => {
      if (queue !== undefined && index !== queue) return;
      for (let got = rx.rxBurst(this.burst, 32); got > 0; got = rx.rxBurst(this.burst, 32)) {
        for (const handle of this.burst.handles.subarray(0, got)) list.push(copyWhole(this.pool.mbufs, handle));
        this.pool.free(this.burst, 0, got);
        this.model.step();
      }
    });
    return list;
  };

  readonly stats = (): PortStats => {
    const stats = emptyStats();
    this.port.readStats(stats);
    return stats;
  };

  /** A register, looked at from outside. */
  readonly peek = (offset: number): number => this.arena.u32[this.#word(offset)]!;

  /**
   * Arms a receive queue, its stores into EICR and EIMS brought to the device as over the bus: in plain memory a store that
   * changes nothing is none for the model.
   */
  readonly arm = (queue: number): boolean => {
    const { u32 } = this.arena;
    const places = [0x800, 0x880].map(offset => ({ offset, at: this.#word(offset), before: this.peek(offset) }));
    for (const { at } of places) u32[at] = NOT_STORED;
    const idle = this.port.rx[queue]!.wake!.arm!();
    const stored = places.map(({ at }) => u32[at]!);
    for (const { at, before } of places) u32[at] = before;
    places.forEach(({ offset }, i) => { if (stored[i] !== NOT_STORED) this.model.write(offset, stored[i]!); });
    this.model.step();
    return idle;
  };

  #word(offset: number): number {
    return (this.arena.find('model/bar').offset + offset) >>> 2;
  }

  close(): void {
    this.#port?.close();
    this.burst.close();
    this.pool.close();
    this.arena.close();
  }
}
