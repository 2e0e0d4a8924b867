import { usualBurst, whole } from './checks.js';
import type { Classify } from './classify.js';
import type { TreeMemory } from './memory.js';
import type { Qdisc } from './qdisc.js';

export const MOST_BURST = 2 ** 32;
/** Below it, a large packet would take thousands of turns, and no frame would fit a bucket. */
export const LEAST_BURST = 64;

/** A discipline and all below it, checked. */
export interface Plan {
  /** What they reserve. */
  readonly bytes: number;
  /** Packets that they may hold. */
  readonly packets: number;
  /** Does any of them look at ENTRY_HASH? */
  readonly hashes: boolean;
  readonly shapes: boolean;
  make(memory: TreeMemory, name: string): Qdisc;
}

export function sumOf(plans: readonly Plan[], own: number): Pick<Plan, 'bytes' | 'packets' | 'hashes' | 'shapes'> {
  return {
    bytes: plans.reduce((sum, plan) => sum + plan.bytes, own),
    packets: plans.reduce((sum, plan) => sum + plan.packets, 1),
    hashes: plans.some(plan => plan.hashes),
    shapes: plans.some(plan => plan.shapes),
  };
}

export function burstOf(what: string, burst: number | undefined, rate: number): number {
  return burst === undefined ? usualBurst(rate) : whole(what, burst, LEAST_BURST, MOST_BURST);
}

export function quantumOf(what: string, quantum: number): number {
  return whole(what, quantum, LEAST_BURST, 2 ** 24);
}

export function hashes(plans: readonly Plan[], classify: Classify): boolean {
  return classify === 'hash' || plans.some(plan => plan.hashes);
}
