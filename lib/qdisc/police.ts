import { ipLength } from './ip.js';
import * as layout from './layout.js';
import { GREEN, Meter, METER_BYTES, RED, YELLOW, type Color } from './meter.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, NOTHING, Qdisc } from './qdisc.js';
import type { PoliceSpec } from './spec.js';

const { ENTRY_HANDLE, ENTRY_LENGTH } = layout;
const CAUSES = ['flushed', 'red', 'yellow'] as const;
const CAUSE_RED = 1;
const CAUSE_YELLOW = 2;

/** Drops by a meter's colour before its child holds anything: red ones, and yellow ones if asked. */
export class Police extends Qdisc {
  readonly kind = 'police';
  readonly shapes: boolean;
  readonly children: readonly Qdisc[];
  private readonly child: Qdisc;
  private readonly meter: Meter;
  private readonly dropYellow: boolean;

  static bytesOf(): number {
    return commonBytes(CAUSES) + METER_BYTES;
  }

  constructor(memory: TreeMemory, name: string, spec: Pick<PoliceSpec, 'meter' | 'dropYellow'>, child: Qdisc) {
    super(memory, name, CAUSES);
    this.meter = new Meter(memory, memory.reserve(METER_BYTES), spec.meter, memory.f64[memory.now]);
    this.child = child;
    this.children = [child];
    this.shapes = child.shapes;
    this.dropYellow = spec.dropYellow === true;
  }

  protected get bare(): boolean {
    return this.child.empty;
  }

  protected get own(): typeof NOTHING {
    return NOTHING;
  }

  protected push(entry: number): boolean {
    const color = this.colorOf(entry);
    if (color === RED) return this.dropFor(entry, CAUSE_RED);
    if (color === YELLOW && this.dropYellow) return this.dropFor(entry, CAUSE_YELLOW);
    return this.child.enqueue(entry);
  }

  protected pull(): number {
    return this.child.dequeue();
  }

  protected purge(): void {
    this.child.flush();
  }

  protected override state(): Record<string, number | string> {
    return { ...this.meter.toJSON() };
  }

  /** What is no IP is metered by its whole length. */
  private colorOf(entry: number): Color {
    const bytes = ipLength(this.memory.mbufs, this.u32[entry + ENTRY_HANDLE]!);
    return this.meter.color(bytes === 0 ? this.u32[entry + ENTRY_LENGTH]! : bytes, this.memory.now, GREEN);
  }
}
