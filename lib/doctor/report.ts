import type { Outcome } from '../journal/outcome.js';
import { checks } from './checks.js';
import { driverStates, type DriverState } from './drivers.js';
import { interfacesOf, type Interface } from './interfaces.js';
import type { Finding, Line } from './line.js';
import type { Machine } from './machine.js';

/** What `pollmode doctor --json` prints. Fields may be added; `schema` goes up when one is changed or taken away. */
export interface DoctorReport {
  readonly schema: 1;
  readonly machine: { readonly platform: string; readonly arch: string; readonly release: string; readonly node: string };
  readonly lines: readonly Line[];
  /** Of the network namespace that it was run in. */
  readonly interfaces: readonly Interface[];
  readonly drivers: readonly DriverState[];
  /** With `--clean`: each entry that was left and what came of it. */
  readonly cleaned?: readonly Outcome[];
}

/** Looks at everything and alters nothing. Never throws: a check that fails is a line that says so. */
export function examine(machine: Machine): DoctorReport {
  const lines = checks.filter(check => check.everywhere === true || machine.platform === 'linux')
    .flatMap(({ area, look }): Line[] => survive(area, () => look(machine)).map(finding => ({ area, ...finding })));
  const { platform, arch, release, node } = machine;
  return {
    schema: 1,
    machine: { platform, arch, release, node },
    lines,
    interfaces: platform === 'linux' ? survive('interfaces', () => interfacesOf(machine), []) : [],
    drivers: survive('drivers', () => driverStates(machine), []),
  };
}

function survive(what: string, work: () => Finding[]): Finding[];
function survive<T>(what: string, work: () => T, instead: T): T;
function survive<T>(what: string, work: () => T, instead?: T): T | Finding[] {
  try {
    return work();
  } catch (error) {
    if (instead !== undefined) return instead;
    const reason = error instanceof Error ? error.message : String(error);
    return [{ what, status: 'warn', value: 'could not be looked at', reason, mend: 'Report this, with the output of pollmode doctor --json.' }];
  }
}
