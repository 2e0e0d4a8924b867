import type { Capability } from '../kernel/caps.js';
import type { PortDriver } from '../port/port.js';
import { NO_ADDON, sentence } from '../port/probe.js';
import type { Machine } from './machine.js';
import { rightsOf, type Rights } from './rights.js';

/** A port driver, and whether a program of this user could open one here. */
export interface DriverState {
  readonly name: string;
  readonly summary: string;
  readonly usable: boolean;
  readonly reason?: string;
  readonly mend?: string;
}

/** How stands once in the report, in its own line, and not with each driver. */
const BUILD_IT = 'Build it, as the line "native addon" says.';

/** What each driver says of itself, and then whether the rights that it names are there. */
export function driverStates(machine: Machine): DriverState[] {
  const rights = rightsOf(machine);
  return machine.drivers.map(driver => {
    const { name, summary } = driver;
    const available = driver.probe();
    if (!available.usable) return { name, summary, usable: false, reason: sentence(available.reason), mend: available.reason === NO_ADDON ? BUILD_IT : sentence(available.mend) };
    const why = lacking(driver, rights);
    return why === undefined ? { name, summary, usable: true } : { name, summary, usable: false, ...why };
  });
}

function lacking({ rights: needed = [] }: PortDriver, rights: Rights): { reason: string; mend: string } | undefined {
  const without = needed.filter(name => !rights.has(name as Capability));
  if (without.length > 0) {
    return { reason: `It needs ${without.join(' and ')}.`, mend: `Run as root, or: setcap ${needed.map(name => name.toLowerCase()).join(',')}+ep "$(readlink -f "$(command -v node)")"` };
  }
  if (needed.includes('CAP_BPF') && !rights.overMachine) return { reason: 'Inside a user namespace the kernel loads no XDP programs.', mend: 'Run as root outside of it.' };
  return undefined;
}
