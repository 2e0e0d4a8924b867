import type { Classifier } from './classify.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, NOTHING, Qdisc } from './qdisc.js';

const { ENTRY_LENGTH } = layout;
const CAUSES = ['flushed', 'unclassified'] as const;
const UNCLASSIFIED = 1;

// Words of a class.
const C_NEXT = 0;
/** Bytes it may still send in this round; signed. */
const C_DEFICIT = 1;
const C_QUANTUM = 2;
const C_ACTIVE = 3;
const CLASS_WORDS = 4;
// Words of the discipline, before its classes: first and last of the list of active classes, class + 1; how many.
const D_HEAD = 0;
const D_TAIL = 1;
const D_ACTIVE = 2;
const OWN_WORDS = 4;

/**
 * Deficit round robin (M. Shreedhar, G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", 1995): classes
 * that have packets take turns, and each may send `quantum` bytes a turn more than it had left. Shares are in bytes,
 * whatever the packets' sizes; a packet costs the same for any number of classes.
 */
export class Drr extends Qdisc {
  readonly kind = 'drr';
  readonly shapes: boolean;
  readonly children: readonly Qdisc[];
  private readonly i32: Int32Array;
  private readonly classify: Classifier;
  private readonly otherwise: number;
  private readonly own_: number;
  private readonly classes: number;

  static bytesOf(classes: number): number {
    return commonBytes(CAUSES) + 4 * (OWN_WORDS + classes * CLASS_WORDS);
  }

  /** `otherwise`: the class of what the classifier does not know; -1 drops it. */
  constructor(memory: TreeMemory, name: string, children: readonly Qdisc[], quanta: readonly number[], classify: Classifier, otherwise: number) {
    super(memory, name, CAUSES);
    this.children = children;
    this.i32 = memory.i32;
    this.classify = classify;
    this.otherwise = otherwise;
    this.shapes = children.some(child => child.shapes);
    this.own_ = memory.reserve(4 * (OWN_WORDS + children.length * CLASS_WORDS)) >>> 2;
    this.classes = this.own_ + OWN_WORDS;
    quanta.forEach((quantum, index) => { this.u32[this.classes + index * CLASS_WORDS + C_QUANTUM] = quantum; });
  }

  protected get bare(): boolean {
    return this.u32[this.own_ + D_ACTIVE] === 0;
  }

  protected get own(): typeof NOTHING {
    return NOTHING;
  }

  protected push(entry: number): boolean {
    const found = this.classify(this.memory, entry, this.children.length);
    const index = found < 0 ? this.otherwise : found;
    if (index < 0) return this.dropFor(entry, UNCLASSIFIED);
    if (!this.children[index]!.enqueue(entry)) return false;
    if (this.u32[this.at(index) + C_ACTIVE] === 0) this.activate(index);
    return true;
  }

  /**
   * Ends: each turn of a class that has something to send brings its packet a quantum nearer, one whose child turned out
   * empty (it dropped) leaves the list, and those whose child waits (a shaper) are counted, until all in the list were such.
   */
  protected pull(): number {
    const { u32, i32, own_: own } = this;
    for (let idle = 0; idle < u32[own + D_ACTIVE]!;) {
      const index = u32[own + D_HEAD]! - 1;
      const child = this.children[index]!;
      const entry = child.peek();
      if (entry === 0) {
        if (!child.empty) idle++;
        this.leaveHead(child.empty);
        continue;
      }
      idle = 0;
      const at = this.at(index);
      const left = i32[at + C_DEFICIT]! - u32[entry + ENTRY_LENGTH]!;
      if (left >= 0) {
        i32[at + C_DEFICIT] = left;
        child.dequeue();
        if (child.empty) this.leaveHead(true);
        return entry;
      }
      i32[at + C_DEFICIT]! += u32[at + C_QUANTUM]!;
      if (u32[own + D_ACTIVE] !== 1) this.leaveHead(false);
    }
    return 0;
  }

  protected purge(): void {
    for (const child of this.children) child.flush();
    while (this.u32[this.own_ + D_ACTIVE]! > 0) this.leaveHead(true);
  }

  protected override state(): Record<string, number> {
    return { classes: this.children.length, active: this.u32[this.own_ + D_ACTIVE]! };
  }

  private at(index: number): number {
    return this.classes + index * CLASS_WORDS;
  }

  /** A class that begins has its first quantum. */
  private activate(index: number): void {
    const at = this.at(index);
    this.i32[at + C_DEFICIT] = this.u32[at + C_QUANTUM]!;
    this.u32[at + C_ACTIVE] = 1;
    this.u32[this.own_ + D_ACTIVE]!++;
    this.append(index);
  }

  private append(index: number): void {
    const { u32, own_: own } = this;
    u32[this.at(index) + C_NEXT] = 0;
    if (u32[own + D_HEAD] === 0) u32[own + D_HEAD] = index + 1;
    else u32[this.at(u32[own + D_TAIL]! - 1) + C_NEXT] = index + 1;
    u32[own + D_TAIL] = index + 1;
  }

  /** The first class goes to the end of the list, or out of it. */
  private leaveHead(out: boolean): void {
    const { u32, own_: own } = this;
    const index = u32[own + D_HEAD]! - 1;
    u32[own + D_HEAD] = u32[this.at(index) + C_NEXT]!;
    if (!out) {
      this.append(index);
      return;
    }
    u32[this.at(index) + C_ACTIVE] = 0;
    u32[own + D_ACTIVE]!--;
  }
}
