import { driverStates } from '../drivers.js';
import { missing, ok, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

export function driverChecks(machine: Machine): Finding[] {
  return driverStates(machine).map(({ name, summary, usable, reason, mend }) => usable
    ? ok(`${name}:`, summary)
    : missing(`${name}:`, summary, reason ?? 'It says not why.', mend ?? 'See the lines above.'));
}
