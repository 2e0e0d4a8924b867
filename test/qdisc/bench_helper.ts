/** A tree of disciplines between a program that makes packets and a sink that notes them, on a simulated clock. */
import { Arena, MIN_ARENA } from '../../lib/arena/arena.js';
import type { Burst } from '../../lib/burst/burst.js';
import { RX_FDIR_ID } from '../../lib/mbuf/layout.js';
import { Mempool } from '../../lib/mbuf/mempool.js';
import type { TxQueue } from '../../lib/port/port.js';
import type { QdiscReport } from '../../lib/qdisc/report.js';
import type { QdiscSpec } from '../../lib/qdisc/spec.js';
import { QdiscQueue, type QdiscOptions } from '../../lib/qdisc/tree.js';
import { frameOf } from '../rss/frames_helper.js';

export interface Arrival {
  readonly id: number;
  readonly time: number;
  readonly bytes: number;
  /** -1 for none. */
  readonly mark: number;
}

export interface Send {
  readonly bytes: number;
  /** Class of the disciplines that go by marks. */
  readonly mark?: number;
  /** A UDP flow of this number, for those that go by hash. */
  readonly flow?: number;
  /** ECN bits of the IP header. */
  readonly ecn?: number;
  /** Makes the packet's bytes itself. */
  readonly frame?: Uint8Array;
}

/** What a port would be: takes so many of each burst as it is told. */
class Sink implements TxQueue {
  readonly arrivals: Arrival[] = [];
  /** How many it takes, over all bursts to come. */
  room = Infinity;
  readonly #bench: QdiscBench;

  constructor(bench: QdiscBench) {
    this.#bench = bench;
  }

  /** Calls that offered nothing: a port's turn to finish what it has. */
  turns = 0;

  txBurst(burst: Burst, count: number): number {
    if (count === 0) {
      this.turns++;
      return 0;
    }
    const taken = Math.min(count, this.room);
    this.room -= taken;
    const { mbufs } = this.#bench.pool;
    for (let i = 0; i < taken; i++) {
      const handle = burst.handles[i]!;
      this.arrivals.push({ id: mbufs.user(handle, 1), time: this.#bench.now, bytes: mbufs.pktLen(handle), mark: (mbufs.flags(handle) & RX_FDIR_ID) === 0 ? -1 : mbufs.mark(handle) });
      this.#bench.looked?.(handle);
    }
    this.#bench.pool.free(burst, 0, taken);
    return taken;
  }
}

export class QdiscBench {
  readonly arena: Arena;
  readonly pool: Mempool;
  readonly sink = new Sink(this);
  readonly queue: QdiscQueue;
  readonly burst: Burst;
  /** Nanoseconds. */
  now = 0;
  sent = 0;
  /** Called with each packet that the sink takes, before it is freed. */
  looked: ((handle: number) => void) | undefined;

  constructor(spec: QdiscSpec, options: QdiscOptions & { readonly mbufs?: number } = {}) {
    const { mbufs = 2048, ...rest } = options;
    this.arena = Arena.create({ size: Math.max(MIN_ARENA, mbufs * 2560 + (16 << 20)) });
    this.pool = Mempool.create(this.arena, 'pool', { count: mbufs, hugePages: 'never' });
    this.burst = this.pool.burst(64);
    this.queue = new QdiscQueue(this.pool, this.sink, spec, { clock: () => this.now, ...rest });
  }

  /** Sends packets now, as one burst. Returns the ids. */
  send(...packets: readonly Send[]): number[] {
    if (packets.length === 0) return [];
    if (this.pool.alloc(this.burst, packets.length) === 0) throw new Error('the pool of the test is dry');
    const ids = packets.map((packet, i) => this.#make(this.burst.handles[i]!, packet));
    const taken = this.queue.txBurst(this.burst, packets.length);
    if (taken !== packets.length) throw new Error(`took ${taken} of ${packets.length}`);
    return ids;
  }

  /** Lets time go by until `time`, serving whenever there is something to do. Returns how often. */
  runTo(time: number): number {
    let services = 0;
    while (this.queue.deadline <= time) {
      if (this.queue.deadline <= this.now && services > 0 && this.sink.room === 0) throw new Error('nobody takes anything');
      this.now = Math.max(this.now, this.queue.deadline);
      this.queue.service();
      if (++services > 1e6) throw new Error('the deadline does not move');
    }
    this.now = Math.max(this.now, time);
    return services;
  }

  /** Throws unless every packet is where it must be: in = out + dropped + held at each discipline, and the pool agrees. */
  check(): void {
    const report = this.queue.toJSON();
    conserve(report.root);
    const audit = this.pool.audit();
    const lost = Object.values(report.drops).reduce((sum, count) => sum + count, 0) + dropsOf(report.root);
    if (audit.app !== this.queue.packets) throw new Error(`the tree holds ${this.queue.packets}, the program ${audit.app}`);
    if (audit.free + audit.app !== audit.total || audit.twice !== 0 || audit.stray !== 0) throw new Error('the pool does not balance');
    if (this.sent !== this.sink.arrivals.length + lost + this.queue.packets) throw new Error(`${this.sent} came, ${this.sink.arrivals.length} went, ${lost} were dropped, ${this.queue.packets} are held`);
    if (report.sentPackets !== this.sink.arrivals.length) throw new Error(`it says ${report.sentPackets} went, ${this.sink.arrivals.length} did`);
  }

  close(): void {
    this.check();
    this.queue.close();
    const audit = this.pool.audit();
    if (audit.free !== audit.total) throw new Error(`${audit.total - audit.free} mbufs are not back`);
    this.arena.close();
  }

  #make(handle: number, { bytes, mark, flow, ecn = 0, frame }: Send): number {
    const { mbufs } = this.pool;
    const id = ++this.sent;
    const head = frame ?? (flow === undefined ? new Uint8Array(0) : udp(flow, bytes, ecn));
    mbufs.copyIn(handle, head);
    if (bytes > head.length) mbufs.append(handle, bytes - head.length);
    mbufs.setUser(handle, 1, id);
    if (mark !== undefined) mbufs.setMark(handle, mark);
    return id;
  }
}

/** A UDP packet of a flow, its IP length that of the whole frame. */
export function udp(flow: number, bytes: number, ecn = 0): Uint8Array {
  const frame = frameOf({ source: `10.0.${flow >> 8}.${flow & 255}`, destination: '10.1.0.1', protocol: 'udp', sourcePort: 1000 + (flow >> 16), destinationPort: 53, tags: 0, extensions: [], fragment: false });
  frame[15] = ecn;
  [frame[16], frame[17]] = [(bytes - 14) >> 8, (bytes - 14) & 255];
  const sum = ipChecksum(frame.subarray(14, 34));
  [frame[24], frame[25]] = [sum >> 8, sum & 255];
  return frame;
}

/** The checksum that a header should have, its own field taken as 0 (RFC 791). */
export function ipChecksum(header: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < 20; i += 2) if (i !== 10) sum += (header[i]! << 8) | header[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function dropsOf(report: QdiscReport): number {
  return Object.values(report.drops).reduce((sum, count) => sum + count, 0) + report.children.reduce((sum, child) => sum + dropsOf(child), 0);
}

function conserve(report: QdiscReport): void {
  const { inPackets, outPackets, heldPackets, kind, name } = report;
  const dropped = dropsOf(report);
  if (inPackets !== outPackets + heldPackets + dropped) throw new Error(`${kind} ${name}: in ${inPackets}, out ${outPackets}, held ${heldPackets}, dropped ${dropped}`);
  report.children.forEach(conserve);
}
