import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import type { QdiscReport } from './report.js';

const { COUNT_DROPS, COUNT_IN_BYTES, COUNT_IN_PACKETS, COUNT_OUT_BYTES, COUNT_OUT_PACKETS, ENTRY_LENGTH } = layout;

/** Words and f64 of every discipline, before its own. */
export function commonBytes(causes: readonly string[]): number {
  return 8 + 8 * (COUNT_DROPS + causes.length);
}

/**
 * A queueing discipline: entries go in by `enqueue` and come out by `dequeue`, in what order and when is its own affair.
 * One that holds others hands entries on to one of them. The caller is the tree (tree.ts), which sets the time first.
 *
 * - `push` keeps the entry (true) or has dropped and counted it (false); never refuses otherwise.
 * - `pull` gives one entry, or 0 when there is none or none may go yet; then it has said until when it waits
 *   (`memory.waitUntil`). A discipline that is `empty` gives 0; one that is not may still give 0.
 * - `peek` shows what the next `dequeue` will give: pulled already, it waits here, as in Linux's qdisc_peek_dequeued.
 */
export abstract class Qdisc {
  abstract readonly kind: string;
  readonly name: string;
  readonly causes: readonly string[];
  /** May it give nothing while it holds something? What it is put under must then be able to wait. */
  abstract readonly shapes: boolean;
  protected readonly memory: TreeMemory;
  protected readonly u32: Uint32Array;
  protected readonly f64: Float64Array;
  private readonly peeked: number;
  private readonly counts: number;

  constructor(memory: TreeMemory, name: string, causes: readonly string[]) {
    this.memory = memory;
    this.u32 = memory.u32;
    this.f64 = memory.f64;
    this.name = name;
    this.causes = causes;
    const at = memory.reserve(commonBytes(causes));
    this.peeked = at >>> 2;
    this.counts = (at + 8) / 8;
  }

  enqueue(entry: number): boolean {
    this.f64[this.counts + COUNT_IN_PACKETS]!++;
    this.f64[this.counts + COUNT_IN_BYTES]! += this.u32[entry + ENTRY_LENGTH]!;
    return this.push(entry);
  }

  peek(): number {
    const waiting = this.u32[this.peeked]!;
    if (waiting !== 0) return waiting;
    const entry = this.pull();
    this.u32[this.peeked] = entry;
    return entry;
  }

  dequeue(): number {
    let entry = this.u32[this.peeked]!;
    if (entry !== 0) this.u32[this.peeked] = 0;
    else entry = this.pull();
    if (entry === 0) return 0;
    this.f64[this.counts + COUNT_OUT_PACKETS]!++;
    this.f64[this.counts + COUNT_OUT_BYTES]! += this.u32[entry + ENTRY_LENGTH]!;
    return entry;
  }

  get empty(): boolean {
    return this.u32[this.peeked] === 0 && this.bare;
  }

  /** Frees whatever is held here and below, counted as the cause `flushed`, which every discipline has first. */
  flush(): void {
    const waiting = this.u32[this.peeked]!;
    this.u32[this.peeked] = 0;
    if (waiting !== 0) this.dropFor(waiting, FLUSHED);
    this.purge();
  }

  toJSON(): QdiscReport {
    const at = this.counts;
    const waiting = this.u32[this.peeked]!;
    const children = this.children.map(child => child.toJSON());
    const own = this.own;
    const sum = (field: 'heldPackets' | 'heldBytes'): number => children.reduce((total, child) => total + child[field], 0);
    return {
      kind: this.kind, name: this.name,
      inPackets: this.f64[at + COUNT_IN_PACKETS]!, inBytes: this.f64[at + COUNT_IN_BYTES]!,
      outPackets: this.f64[at + COUNT_OUT_PACKETS]!, outBytes: this.f64[at + COUNT_OUT_BYTES]!,
      heldPackets: own.packets + sum('heldPackets') + (waiting === 0 ? 0 : 1),
      heldBytes: own.bytes + sum('heldBytes') + (waiting === 0 ? 0 : this.u32[waiting + ENTRY_LENGTH]!),
      drops: Object.fromEntries(this.causes.map((cause, index) => [cause, this.f64[at + COUNT_DROPS + index]!])),
      state: this.state(), children,
    };
  }

  abstract readonly children: readonly Qdisc[];
  /** Nothing here but what was peeked. */
  protected abstract readonly bare: boolean;
  /** Held here, not in a child and not peeked. */
  protected abstract readonly own: { readonly packets: number; readonly bytes: number };
  protected abstract push(entry: number): boolean;
  protected abstract pull(): number;
  protected abstract purge(): void;

  protected state(): Record<string, number | string> {
    return {};
  }

  /** Drops and counts. */
  protected dropFor(entry: number, cause: number): false {
    this.f64[this.counts + COUNT_DROPS + cause]!++;
    this.memory.drop(entry);
    return false;
  }
}

/** Index of the first cause of every discipline. */
export const FLUSHED = 0;
export const NOTHING = { packets: 0, bytes: 0 } as const;
