import type { Fdb } from './fdb.js';
import type { SwitchPort } from './ports.js';

/** A mirror: copies of what comes in by some ports, or leaves by them, or both, go out by another. */
export interface Mirror {
  readonly name: string;
  readonly rx: ReadonlySet<number>;
  readonly tx: ReadonlySet<number>;
  readonly to: number;
  /** Bytes of a frame at most; 0: all. */
  readonly snap: number;
}

/** A learning bridge: its ports, and what it learned. */
export interface Bridge {
  readonly number: number;
  readonly name: string;
  fdb: Fdb;
  ports: SwitchPort[];
  mirrors: readonly Mirror[];
}
