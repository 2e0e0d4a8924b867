import { info, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

const POOLS = '/sys/kernel/mm/hugepages';
const NODES = '/sys/devices/system/node';

export function memoryChecks(machine: Machine): Finding[] {
  return [...hugePages(machine), mount(machine), transparent(machine)];
}

function hugePages(machine: Machine): Finding[] {
  const sizes = machine.files.list(POOLS).flatMap(name => /^hugepages-(\d+)kB$/.exec(name)?.slice(1).map(Number) ?? []).sort((one, other) => one - other);
  if (sizes.length === 0) return [info('huge pages', 'not in this kernel', 'Pools then live in ordinary pages, or in transparent huge ones.')];
  return sizes.map(kib => pool(machine, kib));
}

/** 2 MiB pages are what pools ask for; the other sizes are for those who know that they want them. */
function pool(machine: Machine, kib: number): Finding {
  const { files } = machine;
  const name = `huge pages of ${kib >= 1 << 20 ? `${kib >> 20} GiB` : kib >= 1024 ? `${kib >> 10} MiB` : `${kib} KiB`}`;
  const [total, free] = ['nr_hugepages', 'free_hugepages'].map(each => files.number(`${POOLS}/hugepages-${kib}kB/${each}`) ?? 0) as [number, number];
  const value = `${free} free of ${total}${perNode(machine, kib)}`;
  if (free > 0) return ok(name, value);
  if (kib !== 2048) return info(name, value);
  return warn(name, value, 'Without them a pool lives in small pages: more TLB misses, and hugePages: \'must\' is refused.', 'As root: echo 512 > /proc/sys/vm/nr_hugepages');
}

function perNode({ files }: Machine, kib: number): string {
  const nodes = files.list(NODES).filter(name => /^node\d+$/.test(name));
  if (nodes.length < 2) return '';
  return ` (${nodes.map(node => `${node}: ${files.number(`${NODES}/${node}/hugepages/hugepages-${kib}kB/free_hugepages`) ?? 0}`).join(', ')})`;
}

function mount({ files }: Machine): Finding {
  const where = (files.text('/proc/self/mounts') ?? '').split('\n').map(line => line.split(' ')).filter(fields => fields[2] === 'hugetlbfs').map(fields => fields[1]);
  return info('hugetlbfs', where.length > 0 ? `mounted on ${where.join(', ')}` : 'not mounted', 'Only DPDK beside us needs it: pools here are memfds.');
}

function transparent({ files }: Machine): Finding {
  const mode = /\[(\w+)\]/.exec(files.text('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1];
  if (mode === undefined) return info('transparent huge pages', 'not in this kernel');
  if (mode !== 'never') return ok('transparent huge pages', mode);
  return warn('transparent huge pages', mode, 'The arena asks for them where there are no others.', 'As root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled');
}
