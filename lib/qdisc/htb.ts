/**
 * Hierarchical token buckets (tc-htb(8); M. Devera, "Hierarchical token bucket theory", 2002). Each class has a rate that
 * is its own and a ceil that it may reach by borrowing from its parent what the parent has over. A class is in one of
 * three modes: it can send with its own tokens, it may only borrow, or it can send nothing (it has reached its ceil).
 *
 * Who is served: the lowest level first, that is who has tokens of his own before who must borrow; at one level the
 * highest priority (0) first; among those deficit round robin, so that what is over is shared by `quantum`.
 *
 * A packet costs the same for any number of classes (htb_modes.ts); those that wait for tokens stand in a heap by time.
 */
import { rateText } from './checks.js';
import type { Classifier } from './classify.js';
import {
  H_ACTIVE, H_BORROWED, H_BURST, H_BYTES, H_CEIL, H_CEIL_BURST, H_CEIL_TOKENS, H_DEFICIT, H_EVENT, H_LENT, H_LEVEL, H_MODE, H_PACKETS, H_PARENT, H_PRIORITY,
  H_QUANTUM, H_RATE, H_TIME, H_TOKENS, HtbClasses, LEVELS,
} from './htb_classes.js';
import { CAN_SEND, CANT_SEND, HtbModes, MAY_BORROW } from './htb_modes.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, NOTHING, Qdisc } from './qdisc.js';
import type { HtbClassReport, QdiscReport } from './report.js';

const { ENTRY_LENGTH } = layout;
const CAUSES = ['flushed', 'unclassified'] as const;
const UNCLASSIFIED = 1;

const MODES = ['can send', 'may borrow', 'cannot send'] as const;

/** A class that slept has no more than a minute's tokens to reckon with, nor has it more than a minute's debt. */
const LONGEST = 60e9;
/** A millionth of a byte: what rounding may have cost. */
const EPSILON = 1e-6;

/** A class as it is built: rates in bytes per second, sizes in bytes. Parents stand before their children. */
export interface HtbClassNumbers {
  readonly name: string;
  /** Index of the parent in the list, -1 for none. */
  readonly parent: number;
  /** Of how many parents it stands below. */
  readonly depth: number;
  readonly rate: number;
  readonly ceil: number;
  readonly burst: number;
  readonly ceilBurst: number;
  readonly priority: number;
  readonly quantum: number;
  /** A leaf's packets; inner classes have none. */
  readonly child: Qdisc | undefined;
}

export class Htb extends Qdisc {
  readonly kind = 'htb';
  readonly shapes = true;
  readonly children: readonly Qdisc[];
  private readonly names: readonly HtbClassNumbers[];
  private readonly classes: HtbClasses;
  private readonly modes: HtbModes;
  private readonly i32: Int32Array;
  /** Word that counts the leaves that are active. */
  private readonly busy: number;
  private readonly classify: Classifier;
  private readonly otherwise: number;
  private readonly overhead: number;
  /** Class number of each leaf, and leaf of each class number. */
  private readonly leaves: readonly number[];
  private readonly leafOf: Int32Array;

  static bytesOf(classes: number): number {
    return commonBytes(CAUSES) + 8 + HtbClasses.bytesOf(classes);
  }

  /** `otherwise`: the leaf, by its number among the leaves, of what the classifier does not know; -1 drops it. */
  constructor(memory: TreeMemory, name: string, list: readonly HtbClassNumbers[], classify: Classifier, otherwise: number, overhead: number) {
    super(memory, name, CAUSES);
    this.names = list;
    this.busy = memory.reserve(8) >>> 2;
    this.classes = new HtbClasses(memory, list.length);
    this.modes = new HtbModes(this.classes);
    this.i32 = memory.i32;
    this.classify = classify;
    this.otherwise = otherwise;
    this.overhead = overhead;
    this.leaves = list.flatMap(({ child }, index) => (child === undefined ? [] : [index + 1]));
    this.children = list.flatMap(({ child }) => (child === undefined ? [] : [child]));
    this.leafOf = new Int32Array(list.length + 1).fill(-1);
    this.leaves.forEach((number, leaf) => { this.leafOf[number] = leaf; });
    list.forEach((one, index) => this.describe(index + 1, one));
  }

  protected get bare(): boolean {
    return this.u32[this.busy] === 0;
  }

  protected get own(): typeof NOTHING {
    return NOTHING;
  }

  protected push(entry: number): boolean {
    const found = this.classify(this.memory, entry, this.children.length);
    const leaf = found < 0 ? this.otherwise : found;
    if (leaf < 0) return this.dropFor(entry, UNCLASSIFIED);
    if (!this.children[leaf]!.enqueue(entry)) return false;
    const number = this.leaves[leaf]!;
    const at = this.classes.at(number);
    if (this.u32[at + H_ACTIVE] === 0) {
      this.u32[at + H_ACTIVE] = 1 << this.u32[at + H_PRIORITY]!;
      this.u32[this.busy]!++;
      this.modes.activate(number);
    }
    return true;
  }

  protected pull(): number {
    this.runEvents();
    for (let level = 0; level < LEVELS; level++) {
      for (let priority = this.classes.firstPriority(level); priority >= 0; priority = this.classes.firstPriority(level)) {
        const entry = this.serve(level, priority);
        if (entry !== 0) return entry;
      }
    }
    if (this.classes.soonest !== 0) this.memory.waitUntil(this.classes.soonestEvent);
    return 0;
  }

  protected purge(): void {
    this.children.forEach((child, leaf) => {
      child.flush();
      if (this.u32[this.classes.at(this.leaves[leaf]!) + H_ACTIVE] !== 0) this.deactivateLeaf(this.leaves[leaf]!);
    });
  }

  protected override state(): Record<string, number | string> {
    return { classes: this.names.length, leaves: this.leaves.length };
  }

  override toJSON(): QdiscReport & { readonly classes: readonly HtbClassReport[] } {
    return { ...super.toJSON(), classes: this.names.map((one, index) => this.classReport(index + 1, one)) };
  }

  private classReport(number: number, { name, parent, priority, quantum, rate, ceil }: HtbClassNumbers): HtbClassReport {
    const half = this.classes.at(number) >>> 1;
    const read = (field: number): number => this.f64[half + field]!;
    return {
      name, ...(parent < 0 ? {} : { parent: this.names[parent]!.name }), rate: rateText(rate), ceil: rateText(ceil), priority, quantum,
      mode: MODES[this.u32[this.classes.at(number) + H_MODE]!]!, tokens: read(H_TOKENS), ceilTokens: read(H_CEIL_TOKENS),
      packets: read(H_PACKETS), bytes: read(H_BYTES), lent: read(H_LENT), borrowed: read(H_BORROWED),
    };
  }

  private describe(number: number, one: HtbClassNumbers): void {
    const { u32, f64, classes } = this;
    const at = classes.at(number);
    u32[at + H_PARENT] = one.parent + 1;
    // As in Linux: leaves are level 0, and inner classes the higher, the nearer they are to the root.
    u32[at + H_LEVEL] = one.child !== undefined ? 0 : LEVELS - 1 - one.depth;
    u32[at + H_PRIORITY] = one.priority;
    u32[at + H_QUANTUM] = one.quantum;
    u32[at + H_MODE] = CAN_SEND;
    const half = at >>> 1;
    const values: [number, number][] = [
      [H_RATE, one.rate], [H_CEIL, one.ceil], [H_BURST, one.burst], [H_CEIL_BURST, one.ceilBurst], [H_TOKENS, one.burst], [H_CEIL_TOKENS, one.ceilBurst],
      [H_TIME, f64[this.memory.now]!],
    ];
    for (const [field, value] of values) f64[half + field] = value;
  }

  /** One packet of the next leaf in turn; 0 when the leaf turned out empty, and left the lists. */
  private serve(level: number, priority: number): number {
    const { u32, i32, classes } = this;
    let number = classes.nextOf(classes.row(level, priority));
    while (u32[classes.at(number) + H_LEVEL] !== 0) number = classes.nextOf(classes.feed(number, priority));
    const child = this.children[this.leafOf[number]!]!;
    const entry = child.dequeue();
    if (entry === 0) {
      this.deactivateLeaf(number);
      return 0;
    }
    const bytes = u32[entry + ENTRY_LENGTH]! + this.overhead;
    const deficit = classes.at(number) + H_DEFICIT + level;
    i32[deficit]! -= bytes;
    if (i32[deficit]! < 0) {
      i32[deficit]! += u32[classes.at(number) + H_QUANTUM]!;
      this.advance(number, level, priority);
    }
    if (child.empty) this.deactivateLeaf(number);
    this.charge(number, level, bytes);
    return entry;
  }

  /** The leaf's turn is over; where with it a round of its list is, so is its parent's turn. */
  private advance(leaf: number, level: number, priority: number): void {
    const { u32, classes } = this;
    for (let number = leaf; ;) {
      const at = classes.at(number);
      const inRow = u32[at + H_LEVEL] === level;
      const parent = u32[at + H_PARENT]!;
      const over = classes.advance(inRow ? classes.row(level, priority) : classes.feed(parent, priority), number, priority);
      if (inRow || !over) return;
      number = parent;
    }
  }

  /** The leaf and all above it pay: from the class whose tokens it sends with, all upwards; those below only to their ceil. */
  private charge(leaf: number, level: number, bytes: number): void {
    const { u32, f64, classes } = this;
    for (let number = leaf; number !== 0; number = u32[classes.at(number) + H_PARENT]!) {
      const at = classes.at(number);
      const half = at >>> 1;
      const own = u32[at + H_LEVEL]! >= level;
      const elapsed = this.elapsed(half);
      const rate = f64[half + H_RATE]!;
      const ceil = f64[half + H_CEIL]!;
      f64[half + H_TOKENS] = Math.max(-rate * (LONGEST / 1e9), Math.min(f64[half + H_BURST]!, f64[half + H_TOKENS]! + elapsed * rate / 1e9) - (own ? bytes : 0));
      f64[half + H_CEIL_TOKENS] = Math.max(-ceil * (LONGEST / 1e9), Math.min(f64[half + H_CEIL_BURST]!, f64[half + H_CEIL_TOKENS]! + elapsed * ceil / 1e9) - bytes);
      if (elapsed > 0) f64[half + H_TIME] = f64[this.memory.now]!;
      f64[half + H_PACKETS]!++;
      f64[half + H_BYTES]! += bytes;
      if (u32[at + H_LEVEL] === level) f64[half + H_LENT]!++;
      else if (!own) f64[half + H_BORROWED]!++;
      this.settle(number);
    }
  }

  /** Nanoseconds since the class was last charged. Times are not passed on: each call would make a number of the heap. */
  private elapsed(half: number): number {
    const elapsed = this.f64[this.memory.now]! - this.f64[half + H_TIME]!;
    return elapsed > 0 ? (elapsed < LONGEST ? elapsed : LONGEST) : 0;
  }

  /** Into the mode that the tokens say, and into or out of the heap. */
  private settle(number: number): void {
    const { u32, f64, classes } = this;
    const now = f64[this.memory.now]!;
    const at = classes.at(number);
    const half = at >>> 1;
    const elapsed = this.elapsed(half);
    const tokens = f64[half + H_TOKENS]! + elapsed * f64[half + H_RATE]! / 1e9;
    const ceilTokens = f64[half + H_CEIL_TOKENS]! + elapsed * f64[half + H_CEIL]! / 1e9;
    const mode = ceilTokens < -EPSILON ? CANT_SEND : tokens < -EPSILON ? MAY_BORROW : CAN_SEND;
    if (mode !== u32[at + H_MODE]) this.modes.change(number, mode);
    if (mode === CAN_SEND) {
      classes.stopWaiting(number);
      return;
    }
    const wait = mode === CANT_SEND ? -ceilTokens / f64[half + H_CEIL]! : -tokens / f64[half + H_RATE]!;
    f64[half + H_EVENT] = Math.max(now + 1, Math.ceil(now + wait * 1e9));
    classes.wait(number);
  }

  private runEvents(): void {
    const { f64, classes } = this;
    const now = f64[this.memory.now]!;
    for (let number = classes.soonest; number !== 0 && f64[classes.soonestEvent]! <= now; number = classes.soonest) this.settle(number);
  }

  private deactivateLeaf(number: number): void {
    this.modes.deactivate(number);
    this.u32[this.classes.at(number) + H_ACTIVE] = 0;
    this.u32[this.busy]!--;
  }
}
