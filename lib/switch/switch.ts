/**
 * The virtual switch: learning bridges over ports of any driver mix, an exact-match flow cache in front of them.
 *
 *     const config = { bridges: { 'br-int': { ports: { vm0: { device: 'vhost:/run/vm0.sock' }, vm1: { device: 'vhost:/run/vm1.sock' } } } } };
 *     const host = open(['vhost:/run/vm0.sock', 'vhost:/run/vm1.sock']);
 *     const sw = new Switch(host, config);
 *     await poll(() => sw.poll());
 *
 * Threads: one, which polls and calls everything else between two polls. Nothing is allocated for a packet of a known flow.
 * Every packet that came in is sent, waits in a line, or is in a counter that says why not (`ports()`).
 */
import { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Host } from '../port/host.js';
import type { RxQueue } from '../port/port.js';
import type { SwitchConfig } from './config.js';
import { Datapath } from './datapath.js';
import { Plant, type DevicePort } from './plant.js';
import { fdbReport, flowReports, portReports, switchReport } from './reports.js';
import type { Changes, FdbEntry, FlowReport, PortReport, SwitchReport } from './report.js';

export interface SwitchOptions {
  /** Milliseconds, never backwards; for tests. Default performance.now. */
  readonly clock?: () => number;
}

const FLOWS = 32_768;
/** Polls between two looks at the clock. */
const POLLS_PER_TICK = 16;

export class Switch {
  readonly #host: Host;
  readonly #datapath: Datapath;
  readonly #plant: Plant;
  readonly #burst: Burst;
  #devices: readonly DevicePort[] = [];
  #polls = 0;
  #open = true;

  /** Ports of the host whose device strings the config has are used, others are opened. Throws EOPTION, EDEVICE, EPOOL, EARENAFULL and what drivers throw. */
  constructor(host: Host, config: SwitchConfig, { clock = () => performance.now() }: SwitchOptions = {}) {
    this.#host = host;
    this.#burst = new Burst(host.arena, config.lcore?.burst ?? 32);
    this.#datapath = new Datapath(host.pool, config.flows ?? FLOWS, clock);
    this.#plant = new Plant(host, this.#datapath, () => { this.poll(); });
    try {
      this.#plant.apply(config);
    } catch (cause) {
      this.close();
      throw cause;
    }
    this.#devices = this.#plant.devices;
  }

  /** What is polled: a loop with nothing to do sleeps on these. Others after an `apply`. */
  get queues(): readonly RxQueue[] {
    return this.#devices.flatMap(({ queues }) => queues);
  }

  /** One burst of each queue of each port, and everything that it led to. Returns how many packets there were. */
  poll(): number {
    if ((this.#polls++ & (POLLS_PER_TICK - 1)) === 0) this.#tick();
    const burst = this.#burst;
    let moved = 0;
    for (let index = 0; index < this.#devices.length; index++) {
      const { queues, receive } = this.#devices[index]!;
      for (let queue = 0; queue < queues.length; queue++) {
        const count = queues[queue]!.rxBurst(burst);
        if (count === 0) continue;
        moved += count;
        receive(burst, count);
      }
    }
    this.#datapath.carrier.sendAll();
    return moved;
  }

  #tick(): void {
    this.#datapath.tick();
    this.#plant.tick(this.#datapath.now);
  }

  /**
   * Another configuration, between two polls. What both have goes on: ports with their packets, learned addresses,
   * counters. New devices and all memory are had first, and what is there is polled between one and the next; if that
   * fails, it throws and all is as it was.
   */
  apply(config: SwitchConfig): Changes {
    if (!this.#open) throw new PollmodeError('ECLOSED', 'This switch is closed: make a new one.');
    const changes = this.#plant.apply(config);
    this.#devices = this.#plant.devices;
    return changes;
  }

  ports(): PortReport[] {
    return portReports(this.#datapath);
  }

  /** What a bridge has learned, or all of them; oldest first. */
  fdb(bridge?: string): FdbEntry[] {
    return fdbReport(this.#datapath, bridge);
  }

  /** Flows of the cache, at most so many. */
  flows(limit = 1000): FlowReport[] {
    return flowReports(this.#datapath, limit);
  }

  show(): SwitchReport {
    return switchReport(this.#datapath);
  }

  toJSON(): SwitchReport {
    return this.show();
  }

  /** Ageing, all at once; the switch does it itself, a little at a time. `now`: as its clock has it. */
  sweep(now: number): void {
    this.#datapath.sweep(now);
  }

  /** Frees what waits, and closes the ports that it opened. The host is its maker's. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#devices = [];
    this.#plant.close();
    this.#datapath.close();
    if (!this.#host.arena.closed) this.#burst.close();
  }
}
