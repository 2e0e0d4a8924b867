import { Codel, CODEL_WORDS, type CodelOwner } from './codel.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, Qdisc } from './qdisc.js';

const { ENTRY_HASH, ENTRY_LENGTH, FIFO_BYTES, FIFO_HEAD, FIFO_PACKETS } = layout;
const CAUSES = ['flushed', 'codel', 'overlimit'] as const;
const CODEL = 1;
const OVERLIMIT = 2;

// A flow's own words, behind its queue and CoDel's (codel.ts leaves the words 9, 14 and 15).
/** The next flow in its list, as flow + 1. */
const NEXT = 9;
/** Bytes it may send before it goes to the end of the old flows; signed. */
const CREDIT = 14;
/** IDLE, NEW or OLD: which list it is in. */
const LIST = 15;
const IDLE = 0;
const NEW = 1;
const OLD = 2;

// Words of the discipline: heads and tails of both lists as flow + 1, packets held; then f64: bytes held, marks, new flows.
const NEW_HEAD = 0;
const OLD_HEAD = 2;
const PACKETS = 4;
const BYTES = 3;
const MARKED = 4;
const NEW_FLOWS = 5;
const OWN_BYTES = 64;
/** Of an overfull discipline, at most so many packets of the fattest flow go at once, and no more than half of them. */
const BATCH = 64;

export interface FqCodelNumbers {
  readonly flows: number;
  readonly limit: number;
  readonly quantum: number;
  /** Nanoseconds. */
  readonly target: number;
  readonly interval: number;
  readonly ecn: boolean;
  /** Bytes: a flow that holds no more is not too long. */
  readonly largest: number;
}

/**
 * FQ-CoDel (RFC 8290): packets are hashed into flows; flows take turns by deficit round robin, those that have just begun
 * before the others, so that a flow that sends seldom never waits for one that sends all it can; and each flow is a
 * CoDel queue (codel.ts). Over the limit the flow that holds the most bytes loses from its front (section 4.1).
 */
export class FqCodel extends Qdisc implements CodelOwner {
  readonly kind = 'fq_codel';
  readonly shapes = false;
  readonly children = [];
  private readonly numbers: FqCodelNumbers;
  private readonly codel: Codel;
  private readonly i32: Int32Array;
  private readonly at: number;
  private readonly first: number;
  private readonly mask: number;

  static bytesOf(flows: number): number {
    return commonBytes(CAUSES) + OWN_BYTES + flows * CODEL_WORDS * 4;
  }

  constructor(memory: TreeMemory, name: string, numbers: FqCodelNumbers) {
    super(memory, name, CAUSES);
    this.numbers = numbers;
    this.codel = new Codel(memory, this, numbers);
    this.i32 = memory.i32;
    this.at = memory.reserve(OWN_BYTES) >>> 2;
    this.first = memory.reserve(numbers.flows * CODEL_WORDS * 4) >>> 2;
    this.mask = (numbers.flows & (numbers.flows - 1)) === 0 ? numbers.flows - 1 : 0;
  }

  codelDropped(entry: number): void {
    this.less(entry);
    this.dropFor(entry, CODEL);
  }

  codelMarked(): void {
    this.f64[(this.at >>> 1) + MARKED]!++;
  }

  protected get bare(): boolean {
    return this.u32[this.at + PACKETS] === 0;
  }

  protected get own(): { packets: number; bytes: number } {
    return { packets: this.u32[this.at + PACKETS]!, bytes: this.f64[(this.at >>> 1) + BYTES]! };
  }

  protected push(entry: number): boolean {
    const { u32 } = this;
    const hash = u32[entry + ENTRY_HASH]!;
    const flow = this.flowAt(this.mask !== 0 ? hash & this.mask : hash % this.numbers.flows);
    this.memory.append(flow, entry);
    u32[this.at + PACKETS]!++;
    this.f64[(this.at >>> 1) + BYTES]! += u32[entry + ENTRY_LENGTH]!;
    if (u32[flow + LIST] === IDLE) this.begin(flow);
    if (u32[this.at + PACKETS]! > this.numbers.limit) this.dropFattest();
    return true;
  }

  /** RFC 8290 section 4.2. */
  protected pull(): number {
    const { u32, i32, at } = this;
    for (;;) {
      const list = u32[at + NEW_HEAD] !== 0 ? NEW_HEAD : OLD_HEAD;
      const number = u32[at + list]!;
      if (number === 0) return 0;
      const flow = this.flowAt(number - 1);
      if (i32[flow + CREDIT]! <= 0) {
        i32[flow + CREDIT]! += this.numbers.quantum;
        this.move(list, flow, OLD);
        continue;
      }
      const entry = this.codel.dequeue(flow);
      if (entry !== 0) {
        this.less(entry);
        i32[flow + CREDIT]! -= u32[entry + ENTRY_LENGTH]!;
        return entry;
      }
      // A new flow that ran dry goes round once more, or it could come back as a new one at once, for ever first.
      this.move(list, flow, list === NEW_HEAD && u32[at + OLD_HEAD] !== 0 ? OLD : IDLE);
    }
  }

  protected purge(): void {
    for (let index = 0; index < this.numbers.flows; index++) {
      const flow = this.flowAt(index);
      for (let entry = this.memory.shift(flow); entry !== 0; entry = this.memory.shift(flow)) {
        this.less(entry);
        this.dropFor(entry, 0);
      }
    }
  }

  protected override state(): Record<string, number | string> {
    const { flows, limit, quantum, target, interval, ecn } = this.numbers;
    const half = this.at >>> 1;
    let active = 0;
    for (let index = 0; index < flows; index++) if (this.u32[this.flowAt(index) + FIFO_HEAD] !== 0) active++;
    return { flows, active, limit, quantum, targetMs: target / 1e6, intervalMs: interval / 1e6, ecn: String(ecn), marked: this.f64[half + MARKED]!, newFlows: this.f64[half + NEW_FLOWS]! };
  }

  private flowAt(index: number): number {
    return this.first + index * CODEL_WORDS;
  }

  private begin(flow: number): void {
    this.i32[flow + CREDIT] = this.numbers.quantum;
    this.f64[(this.at >>> 1) + NEW_FLOWS]!++;
    this.append(NEW_HEAD, flow, NEW);
  }

  private append(list: number, flow: number, kind: number): void {
    const { u32, at } = this;
    const number = (flow - this.first) / CODEL_WORDS + 1;
    u32[flow + NEXT] = 0;
    u32[flow + LIST] = kind;
    if (u32[at + list] === 0) u32[at + list] = number;
    else u32[this.flowAt(u32[at + list + 1]! - 1) + NEXT] = number;
    u32[at + list + 1] = number;
  }

  /** The first flow of a list goes to the end of the old ones, or nowhere. */
  private move(list: number, flow: number, to: number): void {
    this.u32[this.at + list] = this.u32[flow + NEXT]!;
    if (to === OLD) this.append(OLD_HEAD, flow, OLD);
    else this.u32[flow + LIST] = IDLE;
  }

  private less(entry: number): void {
    this.u32[this.at + PACKETS]!--;
    this.f64[(this.at >>> 1) + BYTES]! -= this.u32[entry + ENTRY_LENGTH]!;
  }

  /** A search through all flows, and so rare that a packet of an overfull discipline pays for a few of them only. */
  private dropFattest(): void {
    const { u32, f64 } = this;
    let fattest = this.first;
    for (let index = 1; index < this.numbers.flows; index++) {
      const flow = this.flowAt(index);
      if (f64[(flow >>> 1) + FIFO_BYTES]! > f64[(fattest >>> 1) + FIFO_BYTES]!) fattest = flow;
    }
    const packets = u32[fattest + FIFO_PACKETS]!;
    for (let count = Math.min(BATCH, Math.max(1, packets >>> 1)); count > 0; count--) {
      const entry = this.memory.shift(fattest);
      this.less(entry);
      this.dropFor(entry, OVERLIMIT);
    }
  }
}
