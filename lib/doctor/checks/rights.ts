import type { Capability } from '../../kernel/caps.js';
import { info, missing, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';
import { rightsOf, type Rights } from '../rights.js';

const USES: readonly (readonly [Capability, string])[] = [
  ['CAP_NET_RAW', 'AF_XDP and AF_PACKET sockets'],
  ['CAP_NET_ADMIN', 'attaching XDP programs, making taps and veth pairs, changing queues'],
  ['CAP_BPF', 'loading XDP programs and their maps'],
  ['CAP_SYS_ADMIN', 'network namespaces, for the sweep and its lab'],
  ['CAP_IPC_LOCK', 'packet buffers beyond RLIMIT_MEMLOCK, and huge pages'],
];

export function rightsChecks(machine: Machine): Finding[] {
  const rights = rightsOf(machine);
  return [...USES.map(([name, use]) => capability(rights, name, use)), perfmon(rights), userNamespaces(machine, rights), lockedMemory(machine, rights)];
}

function capability(rights: Rights, name: Capability, use: string): Finding {
  if (!rights.has(name)) return missing(name, 'no', `It is for ${use}.`, `Run as root, or give node the right: setcap with ${name.toLowerCase()} in its list.`);
  return rights.overMachine ? ok(name, `yes: ${use}`) : info(name, `inside its user namespace only: ${use}`);
}

function perfmon(rights: Rights): Finding {
  return rights.has('CAP_PERFMON') ? ok('CAP_PERFMON', 'yes: counting system calls in the sweep') : info('CAP_PERFMON', 'no', 'Only the count of system calls in the sweep wants it.');
}

function userNamespaces({ files }: Machine, { overMachine }: Rights): Finding {
  if (!overMachine) return warn('user namespace', 'inside one', 'Its root has no rights over the machine: bpf(2) refuses, so af_xdp ports cannot load their program.', 'Run as root outside of it.');
  const mend = (setting: string): string => `As root: sysctl ${setting}`;
  const reason = 'A sweep without root needs one.';
  if (files.number('/proc/sys/user/max_user_namespaces') === 0) return warn('user namespaces', 'not allowed', reason, mend('user.max_user_namespaces=10000'));
  if (files.number('/proc/sys/kernel/unprivileged_userns_clone') === 0) return warn('user namespaces', 'for root only', reason, mend('kernel.unprivileged_userns_clone=1'));
  if (files.number('/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === 1) return warn('user namespaces', 'restricted by AppArmor', reason, mend('kernel.apparmor_restrict_unprivileged_userns=0'));
  return files.exists('/proc/self/ns/user') ? ok('user namespaces', 'allowed') : info('user namespaces', 'not in this kernel');
}

/** What one af_xdp port with the default rings and pool registers with the kernel: 8192 buffers of 2 KiB. */
const USUAL_POOL = 16 << 20;

function lockedMemory({ files }: Machine, rights: Rights): Finding {
  const soft = /^Max locked memory\s+(\S+)/m.exec(files.text('/proc/self/limits') ?? '')?.[1];
  if (rights.has('CAP_IPC_LOCK') && rights.overMachine) return ok('locked memory', `no limit (CAP_IPC_LOCK); otherwise ${soft === undefined ? 'unknown' : size(soft)}`);
  if (soft === undefined) return info('locked memory', 'unknown');
  if (soft === 'unlimited' || Number(soft) >= USUAL_POOL) return ok('locked memory', size(soft));
  return warn('locked memory', size(soft), `An af_xdp port registers its pool, ${USUAL_POOL >> 20} MiB by default, and is refused beyond this limit.`, 'Raise it (ulimit -l unlimited; LimitMEMLOCK=infinity in a systemd unit), give node CAP_IPC_LOCK, or ask for fewer mbufs.');
}

function size(bytes: string): string {
  return /^\d+$/.test(bytes) ? `${Math.floor(Number(bytes) / 1024)} KiB` : bytes;
}
