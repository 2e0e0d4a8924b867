import { PollmodeError } from '../../errors.js';
import { AF_PACKET, AF_XDP, SOCK_RAW } from '../../kernel/constants.js';
import { EACCES, EPERM } from '../../kernel/errno.js';
import { info, missing, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

type Version = readonly [major: number, minor: number];

/** Since when (kernelnewbies.org's change lists, and the commits that they name). A distribution's kernel may have one earlier. */
const SINCE: readonly { version: Version; what: string; without: string }[] = [
  { version: [5, 4], what: 'AF_XDP need-wakeup', without: 'af_xdp ports cannot be opened' },
  { version: [5, 9], what: 'XDP by bpf_link', without: 'af_xdp ports cannot attach a program that goes with the process' },
  { version: [5, 11], what: 'BPF maps outside memlock', without: 'BPF maps count against RLIMIT_MEMLOCK, beside the packet buffers' },
  { version: [6, 3], what: 'XDP features by netlink', without: 'what an interface can do with XDP is known only by trying' },
  { version: [6, 6], what: 'AF_XDP multi-buffer', without: 'frames larger than a buffer do not pass an AF_XDP socket' },
  { version: [6, 17], what: 'AF_XDP transmit budget', without: 'one sendto sends at most 32 packets in copy mode' },
];
const AF_XDP_NEEDS: Version = [5, 9];

export function kernelChecks(machine: Machine): Finding[] {
  const { platform, release, arch } = machine;
  if (platform !== 'linux') {
    return [missing('kernel', `${platform} ${release}, ${arch}`, 'The ports that need a kernel need Linux; memory ports and capture files work here.', 'Use Linux 5.9 or newer, on a machine, in a VM or in a container.')];
  }
  const version = versionOf(release);
  return [kernelLine(release, arch, version), ...SINCE.map(each => sinceLine(each, version)), ...sockets(machine), jit(machine)];
}

function versionOf(release: string): Version {
  const match = /^(\d+)\.(\d+)/.exec(release);
  return match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
}

function reaches([major, minor]: Version, needed: Version): boolean {
  return major > needed[0] || (major === needed[0] && minor >= needed[1]);
}

function kernelLine(release: string, arch: string, version: Version): Finding {
  const value = `Linux ${release}, ${arch}`;
  if (reaches(version, AF_XDP_NEEDS)) return ok('kernel', value);
  return missing('kernel', value, 'AF_XDP ports need Linux 5.9.', 'Install a newer kernel; af_packet, tap and memory ports work with this one.');
}

function sinceLine({ version, what, without }: (typeof SINCE)[number], running: Version): Finding {
  const since = `Linux ${version.join('.')}`;
  if (reaches(running, version)) return ok(what, `since ${since}`);
  return warn(what, `needs ${since}`, `Without it ${without}.`, `Install Linux ${version.join('.')} or newer.`);
}

/** A socket that is bound to nothing says whether the kernel was built with its family: refusal for want of rights is a yes. */
function sockets({ addon: { binding } }: Machine): Finding[] {
  if (binding instanceof PollmodeError) return [info('socket families', 'not looked at', 'They are asked for through the native addon.')];
  return ([['AF_XDP', AF_XDP, 'CONFIG_XDP_SOCKETS'], ['AF_PACKET', AF_PACKET, 'CONFIG_PACKET']] as const).map(([name, family, option]) => {
    const fd = binding.socket(family, SOCK_RAW, 0);
    if (fd >= 0) binding.close(fd);
    if (fd >= 0) return ok(`${name} sockets`, 'can be opened');
    if (fd === -EPERM || fd === -EACCES) return ok(`${name} sockets`, 'in the kernel; this user may not open one');
    return missing(`${name} sockets`, `refused (errno ${-fd})`, `The kernel was built without ${option}.`, `Use a kernel with ${option}=y, as distributions build it.`);
  });
}

function jit({ files }: Machine): Finding {
  const mode = files.number('/proc/sys/net/core/bpf_jit_enable');
  if (mode === undefined) return info('BPF JIT', 'unknown', 'The setting is shown to root only, outside of network namespaces.');
  if (mode > 0) return ok('BPF JIT', mode === 1 ? 'on' : `on (${mode})`);
  return warn('BPF JIT', 'off', 'XDP programs are interpreted, several times slower.', 'As root: sysctl net.core.bpf_jit_enable=1');
}
