import { nodeOfCpu, nodeOfDevice } from '../kernel/numa.js';
import type { Port } from '../port/port.js';
import { planQueues, type PlanLcore, type PlanPort, type QueuePlan } from './plan.js';
import { hashFlowBy } from './rss.js';

/**
 * `planQueues` of open ports and of CPUs: NUMA nodes as sysfs tells, and of ports with RSS of their own (`port.rss`) the
 * table, key and types that they have now, so that the plan says which lcore sees a flow. Throws EOPTION.
 *
 *     const plan = planPorts(host.ports, [1, 2]);
 *     for (const { lcore, queues } of plan.lcores) await launch(host, { module, cpu: lcore.cpu, queues });
 */
export function planPorts(ports: readonly Port[], cpus: readonly number[]): QueuePlan {
  return planQueues(ports.map(portOf), cpus.map(lcoreOf));
}

function lcoreOf(cpu: number): PlanLcore {
  return { name: `cpu${cpu}`, cpu, node: nodeOfCpu(cpu) };
}

function portOf({ name, number, mac, capabilities: { rxQueues }, rss }: Port): PlanPort {
  const device = name.slice(name.indexOf(':') + 1).split(',')[0]!;
  const plain = { name, number, rxQueues, node: nodeOfDevice(device, mac) };
  if (rss === undefined) return plain;
  const { key, types, reta } = rss;
  // A table may name queues that the port was not opened with, whose packets nobody here sees: then nothing is foretold.
  if (reta.some(queue => queue >= rxQueues)) return plain;
  return { ...plain, reta, rss: { hashFlow: flow => hashFlowBy(key, types, flow) } };
}
