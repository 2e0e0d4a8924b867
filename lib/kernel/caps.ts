/** Capabilities by name (linux/capability.h), and whether the calling thread has them in its own user namespace. */
import { readFileSync } from 'node:fs';
import { binding } from '../binding.js';

export const CAPABILITIES = {
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_MODULE: 16,
  CAP_SYS_RAWIO: 17,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_NICE: 23,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

export type Capability = keyof typeof CAPABILITIES;

/**
 * True when the capability is in the thread's effective set. Inside a user namespace that says nothing about rights
 * over the machine: bpf(2) for one still refuses there.
 */
export function hasCapability(name: Capability): boolean {
  return (binding().capabilities() >> BigInt(CAPABILITIES[name]) & 1n) === 1n;
}

/** Those of `names` that the thread lacks. */
export function missingCapabilities(names: readonly Capability[]): Capability[] {
  return names.filter((name) => !hasCapability(name));
}

/** Is this process in a user namespace of less than the whole machine (user_namespaces(7): uid_map)? */
export function inUserNamespace(): boolean {
  const map = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/).join(' ');
  return map !== '0 0 4294967295';
}
