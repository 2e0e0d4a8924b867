/** The checks, in the order in which they are printed. */
import { deviceChecks } from './checks/devices.js';
import { driverChecks } from './checks/drivers.js';
import { interfaceChecks } from './checks/interfaces.js';
import { journalChecks } from './checks/journal.js';
import { kernelChecks } from './checks/kernel.js';
import { memoryChecks } from './checks/memory.js';
import { passthroughChecks } from './checks/passthrough.js';
import { processorChecks } from './checks/processors.js';
import { programChecks } from './checks/program.js';
import { rightsChecks } from './checks/rights.js';
import type { Area, Finding } from './line.js';
import type { Machine } from './machine.js';

export interface Check {
  readonly area: Area;
  /** Also where there is no Linux. */
  readonly everywhere?: boolean;
  look(machine: Machine): Finding[];
}

export const checks: readonly Check[] = [
  { area: 'kernel', everywhere: true, look: kernelChecks },
  { area: 'program', everywhere: true, look: programChecks },
  { area: 'rights', look: rightsChecks },
  { area: 'memory', look: memoryChecks },
  { area: 'processors', look: processorChecks },
  { area: 'interfaces', look: interfaceChecks },
  { area: 'passthrough', look: passthroughChecks },
  { area: 'devices', look: deviceChecks },
  { area: 'journal', look: journalChecks },
  { area: 'drivers', everywhere: true, look: driverChecks },
];
