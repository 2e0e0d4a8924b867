import type { StormConfig } from './config.js';

/**
 * A storm limit: a token bucket (RFC 2697's committed one, in packets) over what a port floods: broadcast, multicast and
 * unknown unicast together. It begins full.
 */
export class StormLimit {
  readonly #perMs: number;
  readonly #depth: number;
  #tokens: number;
  #at: number;

  constructor({ packetsPerSecond, burst = Math.max(1, packetsPerSecond / 10) }: StormConfig, now: number) {
    this.#perMs = packetsPerSecond / 1000;
    this.#depth = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** May one more packet be flooded? Time never runs back here. */
  admits(now: number): boolean {
    if (now > this.#at) {
      this.#tokens = Math.min(this.#depth, this.#tokens + (now - this.#at) * this.#perMs);
      this.#at = now;
    }
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
