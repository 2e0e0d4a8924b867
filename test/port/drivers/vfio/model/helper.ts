/** A model on a bench: memory, an IOMMU of one window, a wire that keeps what was sent, and the datasheet's own start-up written down access by access. */
import type { Test as Tap } from 'tap';
import { Model82599, type ModelOptions } from './82599.js';
import { words } from './bank.js';
import { at, offsets } from './registers.js';

export const IOVA = 0x1_0000_0000;
export const BAR = 1 << 20;
export const RINGS = 2 << 20, BUFFERS = 4 << 20, SIZE = 16 << 20;
/** A page in the window that the IOMMU does not map. */
export const HOLE = 15 << 20;
export const ENTRIES = 16;

/** How a driver reaches the registers: as the bus would, in plain memory with a step after each access, or in plain memory with a model that steps in another thread. */
export type Access = 'bus' | 'memory' | 'elsewhere';

const NOBODY = new Int32Array(new SharedArrayBuffer(4));

export class Bench {
  readonly memory: SharedArrayBuffer;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly view: DataView;
  readonly sent: Uint8Array[] = [];
  readonly vectors: number[] = [];
  readonly model: Model82599;
  private readonly access: Access;

  constructor(access: Access = 'bus', options: Partial<ModelOptions> = {}) {
    this.access = access;
    this.memory = options.memory ?? new SharedArrayBuffer(SIZE);
    this.u8 = new Uint8Array(this.memory);
    this.u32 = new Uint32Array(this.memory);
    this.view = new DataView(this.memory);
    this.model = new Model82599({
      memory: this.memory,
      bar: BAR,
      translate: iova => (iova >= IOVA && iova < IOVA + SIZE && Math.floor((iova - IOVA) / 4096) !== HOLE / 4096 ? iova - IOVA : undefined),
      wire: { send: frame => void this.sent.push(frame) },
      interrupt: vector => void this.vectors.push(vector),
      sequential: access === 'memory',
      ...options,
    });
  }

  set(name: string, value: number, n = 0): void {
    if (this.access === 'bus') return this.model.write(at(name, n), value);
    this.raw(name, value, n);
    if (this.access === 'memory') this.step();
  }

  /** Lets the hardware do something: here, or by waiting for it. */
  step(): void {
    if (this.access === 'elsewhere') Atomics.wait(NOBODY, 0, 0, 1);
    else this.model.step();
  }

  /** A store and nothing else. */
  raw(name: string, value: number, n = 0): void {
    this.u32[(BAR + at(name, n)) / 4] = value;
  }

  get(name: string, n = 0): number {
    return this.access === 'bus' ? this.model.read(at(name, n)) : this.peek(name, n);
  }

  peek(name: string, n = 0): number {
    return this.u32[(BAR + at(name, n)) / 4]!;
  }

  /** Sets bits as drivers do: read, change, write. */
  modify(name: string, set: number, clear = 0, n = 0): void {
    this.set(name, ((this.peek(name, n) & ~clear) | set) >>> 0, n);
  }

  fill(name: string, value: (n: number) => number): void {
    words(name).forEach((_, n) => this.set(name, value(n), n));
  }

  /** Waits for the hardware, which is given ten moments, or a second where it has its own. */
  until(name: string, mask: number, wanted: number, n = 0): boolean {
    for (let i = 0; i < (this.access === 'elsewhere' ? 20_000 : 10) && ((this.get(name, n) & mask) >>> 0) !== wanted >>> 0; i++) this.step();
    return ((this.get(name, n) & mask) >>> 0) === wanted >>> 0;
  }

  rxRing(queue: number): number {
    return RINGS + queue * 0x1000;
  }

  txRing(queue: number): number {
    return RINGS + 0x800 + queue * 0x1000;
  }

  /** A receive queue's buffers are 4 KiB apart. */
  buffer(queue: number, index: number): number {
    return BUFFERS + (queue * ENTRIES + index) * 4096;
  }

  /** Gives a receive descriptor its buffer again. */
  arm(queue: number, index: number, iova = IOVA + this.buffer(queue, index)): void {
    this.descriptor(this.rxRing(queue), index).set([iova >>> 0, Math.floor(iova / 0x100000000), 0, 0]);
  }

  descriptor(ring: number, index: number): Uint32Array {
    return this.u32.subarray((ring + index * 16) / 4, (ring + index * 16) / 4 + 4);
  }

  /** What a descriptor of a receive queue says, and its buffer's bytes. */
  received(queue: number, index: number): { done: boolean; end: boolean; status: number; length: number; vlan: number; type: number; hash: number; bytes: Uint8Array } {
    const [word0, hash, status, word3] = this.descriptor(this.rxRing(queue), index) as unknown as [number, number, number, number];
    const length = word3 & 0xffff;
    const from = this.buffer(queue, index);
    return { done: (status & 1) !== 0, end: (status & 2) !== 0, status, length, vlan: word3 >>> 16, type: word0, hash, bytes: this.u8.slice(from, from + length) };
  }

  /** Advanced data descriptors for a frame (section 7.2.3.2.4) in pieces; the tail is the caller's to bump. Returns the next index. */
  putFrame(queue: number, index: number, frame: Uint8Array, how: { pieces?: number; command?: number; options?: number } = {}): number {
    const pieces = how.pieces ?? 1;
    const size = Math.ceil(frame.length / pieces);
    for (let i = 0; i < pieces; i++) {
      const data = frame.subarray(i * size, (i + 1) * size);
      const last = i === pieces - 1;
      const to = 8 << 20 | (queue << 17) | (((index + i) % ENTRIES) << 12);
      this.u8.set(data, to);
      const command = (how.command ?? IFCS) | DEXT | (last ? EOP | RS : 0);
      const iova = IOVA + to;
      this.descriptor(this.txRing(queue), (index + i) % ENTRIES).set([iova >>> 0, Math.floor(iova / 0x100000000), (data.length | DATA | command) >>> 0, ((frame.length << 14) | (how.options ?? 0)) >>> 0]);
    }
    return (index + pieces) % ENTRIES;
  }

  /** A context descriptor (section 7.2.3.2.3). */
  putContext(queue: number, index: number, context: { mac?: number; ip?: number; vlan?: number; ipv4?: boolean; l4?: number; idx?: number }): number {
    const { mac = 14, ip = 20, vlan = 0, ipv4 = true, l4 = 0, idx = 0 } = context;
    this.descriptor(this.txRing(queue), index).set([(ip | (mac << 9) | (vlan << 16)) >>> 0, 0, ((2 << 20) | DEXT | (ipv4 ? 1 << 10 : 0) | (l4 << 11)) >>> 0, idx << 4]);
    return (index + 1) % ENTRIES;
  }
}

export const EOP = 1 << 24, IFCS = 1 << 25, RS = 1 << 27, DEXT = 1 << 29, VLE = 1 << 30, DATA = 3 << 20;
export const IXSM = 1 << 8, TXSM = 1 << 9;
export const QUEUE_ENABLE = 1 << 25, VME = 1 << 30, DROP_EN = 1 << 28, ONE_BUFFER = 1 << 25;

export interface Start {
  readonly queues?: readonly number[];
  /** Kilobytes of a receive buffer. */
  readonly bufferSize?: number;
  /** More bits for SRRCTL and RXDCTL. */
  readonly srrctl?: number;
  readonly rxdctl?: number;
  /** Steps of the datasheet's that are left out. */
  readonly without?: readonly string[];
  /** Other filters, offloads and modes, at their place in section 4.6.7. */
  readonly filters?: (bench: Bench) => void;
}

/** Sections 4.6.3, 4.6.7 and 4.6.8, in their order. */
export function start(bench: Bench, how: Start = {}): Bench {
  const unless = (name: string, work: () => void): void => void (how.without?.includes(name) === true || work());
  resetDevice(bench, unless);
  receiveGeneral(bench, how, unless);
  transmitGeneral(bench, unless);
  for (const queue of how.queues ?? [0]) receiveQueue(bench, queue, how, unless);
  unless('hold', () => bench.modify('SECRXCTRL', 2)); // RX_DIS
  unless('hold', () => void bench.until('SECRXSTAT', 1, 1));
  unless('RXEN', () => bench.modify('RXCTRL', 1));
  unless('hold', () => bench.modify('SECRXCTRL', 0, 2));
  unless('NS_DIS', () => bench.modify('CTRL_EXT', 1 << 16));
  for (const queue of how.queues ?? [0]) unless('DCA', () => bench.modify('DCA_RXCTRL', 0, 1 << 12, queue));
  unless('TE', () => bench.modify('DMATXCTL', 1));
  for (const queue of how.queues ?? [0]) transmitQueue(bench, queue, unless);
  return bench;
}

type Unless = (name: string, work: () => void) => void;

/** Sections 4.6.3, 4.6.3.1, 4.6.3.2 and 5.2.5.3.2. */
function resetDevice(bench: Bench, unless: Unless): void {
  bench.set('EIMC', 0x7fffffff);
  unless('master', () => bench.modify('CTRL', 1 << 2));
  unless('master', () => void bench.until('STATUS', 1 << 19, 0));
  bench.modify('CTRL', 1 << 26);
  unless('reset', () => void bench.until('CTRL', 1 << 26, 0));
  bench.set('EIMC', 0x7fffffff);
  unless('FCRTH', () => bench.set('FCRTH', 512 * 1024 - 0x6000));
  unless('auto-read', () => void bench.until('EEC', 1 << 9, 1 << 9));
  unless('auto-read', () => void bench.until('RDRXCTL', 1 << 3, 1 << 3));
}

/** Section 4.6.7, what is not a queue's. */
function receiveGeneral(bench: Bench, how: Start, unless: Unless): void {
  for (const name of ['MTA', 'PFUTA', 'VFTA', 'PFVLVF', 'PFVLVFB', 'MPSAR', 'FTQF']) unless(name, () => bench.fill(name, () => 0));
  bench.set('FCTRL', 1 << 10); // BAM
  how.filters?.(bench);
  unless('RDRXCTL', () => bench.modify('RDRXCTL', (1 << 1) | (3 << 25), 0x1f << 17));
}

/** Section 4.6.8, what is not a queue's. */
function transmitGeneral(bench: Bench, unless: Unless): void {
  unless('ARBDIS', () => bench.modify('RTTDCS', 1 << 6));
  bench.set('DTXMXSZRQ', 0xfff);
  unless('ARBDIS', () => bench.modify('RTTDCS', 0, 1 << 6));
}

/** Section 4.6.7, a queue's. */
function receiveQueue(bench: Bench, queue: number, how: Start, unless: Unless): void {
  const ring = IOVA + bench.rxRing(queue);
  for (let i = 0; i < ENTRIES; i++) bench.arm(queue, i);
  bench.set('RDBAL', ring >>> 0, queue);
  bench.set('RDBAH', Math.floor(ring / 0x100000000), queue);
  unless('RDLEN', () => bench.set('RDLEN', ENTRIES * 16, queue));
  bench.set('SRRCTL', (0x400 | (how.bufferSize ?? 2) | ONE_BUFFER | (how.srrctl ?? 0)) >>> 0, queue);
  unless('rx enable', () => bench.modify('RXDCTL', QUEUE_ENABLE | (how.rxdctl ?? 0), 0, queue));
  unless('rx poll', () => void bench.until('RXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, queue));
  unless('RDT', () => bench.set('RDT', ENTRIES - 1, queue));
}

/** Section 4.6.8, a queue's. */
function transmitQueue(bench: Bench, queue: number, unless: Unless): void {
  const ring = IOVA + bench.txRing(queue);
  bench.set('TDBAL', ring >>> 0, queue);
  bench.set('TDBAH', Math.floor(ring / 0x100000000), queue);
  unless('TDLEN', () => bench.set('TDLEN', ENTRIES * 16, queue));
  unless('tx enable', () => bench.modify('TXDCTL', QUEUE_ENABLE, 0, queue));
  unless('tx poll', () => void bench.until('TXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, queue));
}

/** How many registers of a name there are. */
export function count(name: string): number {
  return offsets(name).length;
}

/** A frame for the station, or for `to`, of no protocol that the parsers know. */
export function plainFrame(length: number, number = 0, to: readonly number[] = [0x02, 0x82, 0x59, 0x90, 0, 1]): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => number * 31 + i * 7);
  frame.set([...to, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return frame;
}

/** To the least that an Ethernet frame has without its FCS. */
export function padded(frame: Uint8Array): Uint8Array {
  return frame.length >= 60 ? frame : Uint8Array.of(...frame, ...new Uint8Array(60 - frame.length));
}

/** To the station's address. */
export function forStation(frame: Uint8Array): Uint8Array {
  const copy = padded(frame.slice());
  copy.set([0x02, 0x82, 0x59, 0x90, 0, 1]);
  return copy;
}

/** The key of Microsoft's verification suite, as RSSRK has it: byte 0 lowest. */
export const KEY: readonly number[] = [0xda565a6d, 0xc20e5b25, 0x3d256741, 0xb08fa343, 0xcb2bcad0, 0xb4307bae, 0xa32dcb77, 0x0cf23080, 0x3bb7426a, 0xfa01acbe];

export const BROADCAST: readonly number[] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

export function clean(t: Tap, bench: Bench): void {
  t.same(bench.model.violations, [], 'nothing that the datasheet forbids');
  t.equal(bench.model.faults, 0, 'no access outside what is mapped');
}
