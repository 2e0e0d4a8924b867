/** The rights of this process as /proc says them: no addon is needed, and another machine's file reads the same. */
import { CAPABILITIES, type Capability } from '../kernel/caps.js';
import type { Machine } from './machine.js';

export interface Rights {
  has(name: Capability): boolean;
  /** False inside a user namespace: capabilities there are over what it owns, not over the machine. */
  readonly overMachine: boolean;
}

export function rightsOf({ files }: Pick<Machine, 'files'>): Rights {
  const mask = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(files.text('/proc/self/status') ?? '')?.[1] ?? '0';
  const effective = BigInt(`0x${mask}`);
  const bit = (name: Capability): boolean => (effective >> BigInt(CAPABILITIES[name]) & 1n) === 1n;
  const whole = /^0\s+0\s+4294967295$/.test(files.text('/proc/self/uid_map') ?? '0 0 4294967295');
  // CAP_SYS_ADMIN holds what CAP_BPF and CAP_PERFMON were split from (capabilities(7)).
  return { has: name => bit(name) || ((name === 'CAP_BPF' || name === 'CAP_PERFMON') && bit('CAP_SYS_ADMIN')), overMachine: whole };
}
