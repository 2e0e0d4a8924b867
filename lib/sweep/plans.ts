/** The paths that can be swept: what each side opens, and where. */
import { readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { EndpointPlan } from './endpoints/open.js';
import { UDP_PORT } from './frame.js';

/** What lies between the two sides. */
export type Between =
  /** A veth pair between two network namespaces of its own. */
  | 'lab'
  /** 127.0.0.1, where no namespace can be made. */
  | 'loopback'
  /** One pool, which both threads have. */
  | 'memory'
  /** Nothing at all: each side is measured by itself. */
  | 'nothing';

export interface PathPlan {
  readonly name: string;
  readonly between: Between;
  readonly sender: EndpointPlan;
  readonly receiver: EndpointPlan;
}

export const SWEEP_PATHS = ['af_xdp', 'af_packet ring', 'raw socket', 'dgram', 'memory ring', 'memory null'] as const;
export type SweepPath = (typeof SWEEP_PATHS)[number];

/** @param reason why there is no lab, where there is none: only dgram can then do without */
export async function planOf(name: SweepPath, xdp: string, reason: string | undefined): Promise<PathPlan | string> {
  const both = (between: Between, endpoint: EndpointPlan): PathPlan => ({ name, between, sender: endpoint, receiver: endpoint });
  switch (name) {
    case 'memory null': return both('nothing', { kind: 'null' });
    case 'memory ring': return {
      name, between: 'memory', sender: { kind: 'port', device: 'ring:back,tx=forth,single=1' }, receiver: { kind: 'port', device: 'ring:forth,tx=back,single=1' },
    };
    case 'dgram': return reason === undefined ? both('lab', { kind: 'dgram', port: UDP_PORT, peer: UDP_PORT }) : overLoopback();
    case 'raw socket': return reason ?? both('lab', { kind: 'raw socket' });
    case 'af_packet ring': return reason ?? both('lab', { kind: 'port', device: 'af_packet:%,qdisc_bypass=1' });
    case 'af_xdp': return reason ?? both('lab', { kind: 'port', device: `af_xdp:%${xdp === '' ? '' : `,${xdp}`}` });
  }
}

async function overLoopback(): Promise<PathPlan> {
  const [sender, receiver] = [await freePort(), await freePort()];
  return { name: 'dgram', between: 'loopback', sender: { kind: 'dgram', port: sender, peer: receiver }, receiver: { kind: 'dgram', port: receiver, peer: sender } };
}

/** One that nobody has now; in the moment until it is bound again somebody could, and then the path is refused. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** CPUs for sender and receiver: two cores where the process has them, two threads of one core before one CPU for both. */
export function twoCpus(allowed: readonly number[] = allowedCpus()): readonly [number, number] {
  const [first = 0, ...others] = allowed;
  const shares = siblings(first);
  return [first, others.find(cpu => !shares.includes(cpu)) ?? others[0] ?? first];
}

export function allowedCpus(): number[] {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) return Array.from({ length: availableParallelism() }, (_, cpu) => cpu);
  return addon.affinity();
}

/** The hardware threads of a CPU's core, itself among them: "0,4" or "0-1". */
function siblings(cpu: number): number[] {
  try {
    const list = readFileSync(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, 'utf8');
    return list.trim().split(',').flatMap(part => {
      const [from = cpu, to = from] = part.split('-').map(Number);
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
  } catch {
    return [cpu];
  }
}
