import { info, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

const CPUS = '/sys/devices/system/cpu';
const NODES = '/sys/devices/system/node';
/** More than any machine has: a list from outside does not decide how much memory is taken. */
const MOST_CPUS = 8192;

export function processorChecks(machine: Machine): Finding[] {
  return [allowed(machine), isolated(machine), governor(machine), numa(machine)];
}

/** The CPUs of a kernel's list ("0-3,8"); what is no number or range is left out. */
export function parseCpuList(text: string): number[] {
  return text.split(',').flatMap(part => {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    if (match === null) return [];
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    return Array.from({ length: Math.max(0, Math.min(last, MOST_CPUS - 1) - first + 1) }, (_, index) => first + index);
  });
}

function allowedCpus({ files }: Machine): number[] {
  return parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(files.text('/proc/self/status') ?? '')?.[1] ?? '');
}

function allowed(machine: Machine): Finding {
  const cpus = allowedCpus(machine);
  const online = parseCpuList(machine.files.text(`${CPUS}/online`) ?? '').length;
  if (cpus.length === 0) return info('CPUs', 'unknown');
  const value = `${cpus.length} of ${online} online may be used (${ranges(cpus)})`;
  if (cpus.length > 1) return ok('CPUs', value);
  return warn('CPUs', value, 'A poll loop takes a whole CPU; the kernel and everything else then share it with the loop.', 'Give the process a second CPU (taskset, cpuset, the VM\'s settings).');
}

function ranges(cpus: readonly number[]): string {
  const parts: [number, number][] = [];
  for (const cpu of cpus) {
    const last = parts.at(-1);
    if (last !== undefined && last[1] === cpu - 1) last[1] = cpu;
    else parts.push([cpu, cpu]);
  }
  return parts.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(',');
}

function isolated({ files }: Machine): Finding {
  const [apart, ticks] = ['isolated', 'nohz_full'].map(name => parseCpuList(files.text(`${CPUS}/${name}`) ?? '')) as [number[], number[]];
  const value = apart.length === 0 ? 'none' : `${ranges(apart)}${ticks.length === 0 ? '' : `, without timer ticks: ${ranges(ticks)}`}`;
  return apart.length > 0 ? ok('isolated CPUs', value) : info('isolated CPUs', value, 'A loop on an isolated CPU (kernel line isolcpus=N nohz_full=N) is not interrupted by other programs: steadier tails.');
}

function governor(machine: Machine): Finding {
  const found = new Set(allowedCpus(machine).flatMap(cpu => machine.files.text(`${CPUS}/cpu${cpu}/cpufreq/scaling_governor`) ?? []));
  if (found.size === 0) return info('frequency governor', 'not shown', 'The firmware, or the host of this VM, decides.');
  const value = [...found].join(', ');
  if (value === 'performance') return ok('frequency governor', value);
  return warn('frequency governor', value, 'A CPU that changes its clock makes measurements differ from run to run.', 'As root: cpupower frequency-set -g performance');
}

function numa({ files }: Machine): Finding {
  const nodes = files.list(NODES).filter(name => /^node\d+$/.test(name));
  if (nodes.length < 2) return info('NUMA', nodes.length === 1 ? '1 node' : 'not in this kernel');
  const cpus = nodes.map(node => `${node}: CPUs ${files.text(`${NODES}/${node}/cpulist`) || 'none'}`).join('; ');
  return ok('NUMA', `${nodes.length} nodes (${cpus})`);
}
