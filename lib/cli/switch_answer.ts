import type { SwitchConfig } from '../switch/config.js';
import type { SwitchReport } from '../switch/report.js';

/** What `show` is answered. */
export interface SwitchAnswer {
  readonly name: string;
  readonly pid: number;
  readonly file: string;
  /** Since the start. */
  readonly seconds: number;
  readonly idle: string;
  readonly config: SwitchConfig;
  readonly report: SwitchReport;
}
