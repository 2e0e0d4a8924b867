import { rateText } from './checks.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';
import { commonBytes, NOTHING, Qdisc } from './qdisc.js';

const { ENTRY_LENGTH } = layout;
const CAUSES = ['flushed', 'over_burst'] as const;
const OVER_BURST = 1;

// f64 fields. Rates in bytes per second, sizes in bytes, times in nanoseconds.
const T_TOKENS = 0;
const T_PEAK_TOKENS = 1;
const T_TIME = 2;
const T_UNTIL = 3;
const T_WAITS = 4;
const FIELDS = 5;

/** A millionth of a byte: what rounding may have cost a bucket that is just full enough. */
const EPSILON = 1e-6;

export interface TbfNumbers {
  /** Bytes per second. `peak` 0: no second bucket. */
  readonly rate: number;
  readonly burst: number;
  readonly peak: number;
  readonly peakBurst: number;
  readonly overhead: number;
}

/**
 * A token bucket (tc-tbf(8)): tokens are bytes and come at `rate`, at most `burst` of them; a packet goes when there are
 * as many as it has bytes. A second bucket of one frame's size, filled at the peak rate, spaces what a full first one
 * would send at once. What is larger than a bucket could never go, and is dropped when it comes.
 */
export class Tbf extends Qdisc {
  readonly kind = 'tbf';
  readonly shapes = true;
  readonly children: readonly Qdisc[];
  private readonly child: Qdisc;
  private readonly numbers: TbfNumbers;
  private readonly fields: number;
  private readonly largest: number;

  static bytesOf(): number {
    return commonBytes(CAUSES) + FIELDS * 8;
  }

  constructor(memory: TreeMemory, name: string, numbers: TbfNumbers, child: Qdisc) {
    super(memory, name, CAUSES);
    this.numbers = numbers;
    this.child = child;
    this.children = [child];
    this.fields = memory.reserve(FIELDS * 8) / 8;
    this.largest = numbers.peak > 0 ? Math.min(numbers.burst, numbers.peakBurst) : numbers.burst;
    [numbers.burst, numbers.peakBurst, memory.f64[memory.now]!, 0, 0].forEach((value, field) => { this.f64[this.fields + field] = value; });
  }

  protected get bare(): boolean {
    return this.child.empty;
  }

  protected get own(): typeof NOTHING {
    return NOTHING;
  }

  protected push(entry: number): boolean {
    if (this.u32[entry + ENTRY_LENGTH]! + this.numbers.overhead > this.largest) return this.dropFor(entry, OVER_BURST);
    return this.child.enqueue(entry);
  }

  protected pull(): number {
    const entry = this.child.peek();
    if (entry === 0) return 0;
    const { f64, fields, numbers } = this;
    this.fill();
    const bytes = this.u32[entry + ENTRY_LENGTH]! + numbers.overhead;
    const tokens = f64[fields + T_TOKENS]! - bytes;
    const peakTokens = numbers.peak > 0 ? f64[fields + T_PEAK_TOKENS]! - bytes : 0;
    if (tokens < -EPSILON || peakTokens < -EPSILON) return this.waitFor(tokens, peakTokens);
    f64[fields + T_TOKENS] = tokens;
    f64[fields + T_PEAK_TOKENS] = peakTokens;
    return this.child.dequeue();
  }

  protected purge(): void {
    this.child.flush();
  }

  protected override state(): Record<string, number | string> {
    const { rate, burst, peak } = this.numbers;
    const peaked = peak > 0 ? { peak: rateText(peak), peakTokens: this.f64[this.fields + T_PEAK_TOKENS]! } : {};
    return { rate: rateText(rate), burst, tokens: this.f64[this.fields + T_TOKENS]!, ...peaked, waits: this.f64[this.fields + T_WAITS]! };
  }

  private fill(): void {
    const { f64, fields, numbers } = this;
    const now = f64[this.memory.now]!;
    const elapsed = now - f64[fields + T_TIME]!;
    if (!(elapsed > 0)) return;
    f64[fields + T_TIME] = now;
    f64[fields + T_TOKENS] = Math.min(numbers.burst, f64[fields + T_TOKENS]! + elapsed * numbers.rate / 1e9);
    if (numbers.peak > 0) f64[fields + T_PEAK_TOKENS] = Math.min(numbers.peakBurst, f64[fields + T_PEAK_TOKENS]! + elapsed * numbers.peak / 1e9);
  }

  /** So many tokens are missing, as negative numbers. */
  private waitFor(tokens: number, peakTokens: number): 0 {
    const { f64, fields, numbers } = this;
    const wait = Math.max(-tokens / numbers.rate, numbers.peak > 0 ? -peakTokens / numbers.peak : 0);
    const now = f64[this.memory.now]!;
    f64[fields + T_UNTIL] = Math.max(now + 1, Math.ceil(now + wait * 1e9));
    f64[fields + T_WAITS]!++;
    this.memory.waitUntil(fields + T_UNTIL);
    return 0;
  }
}
