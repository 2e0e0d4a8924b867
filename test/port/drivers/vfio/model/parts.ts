/** What the model's parts share. */
import type { Bank } from './bank.js';
import type { Dma } from './dma.js';
import type { Filters } from './filters.js';
import type { Interrupts } from './interrupts.js';
import type { Rss } from './rss.js';
import type { Rules } from './rules.js';
import type { Statistics } from './statistics.js';

export interface Parts {
  readonly bank: Bank;
  readonly dma: Dma;
  readonly rules: Rules;
  readonly statistics: Statistics;
  readonly interrupts: Interrupts;
  readonly filters: Filters;
  readonly rss: Rss;
  /** Whether the device may touch the host's memory: CTRL's PCIe Master Disable is clear (section 5.2.5.3.2). */
  masterEnabled(): boolean;
  linkUp(): boolean;
}

export const ENABLE = 1 << 25;
export const DESCRIPTOR = 16;

/** A ring that hardware can work on: a length in whole cache lines, above 0. */
export function entriesOf(length: number): number {
  return length % 128 === 0 ? length / DESCRIPTOR : 0;
}

export function address(low: number, high: number): number {
  return high * 0x100000000 + low;
}
