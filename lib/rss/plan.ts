import { PollmodeError } from '../errors.js';
import type { Rss } from './rss.js';
import type { Flow } from './tuple.js';

/** A port as the planner sees it. */
export interface PlanPort {
  readonly name: string;
  /** Its number in its host, by which an lcore takes its queues. */
  readonly number?: number;
  readonly rxQueues: number;
  /** NUMA node of the device; -1 or absent where it is unknown. */
  readonly node?: number;
  /** Queue of each hash bucket, as the NIC's redirection table says; default: buckets go round the queues. */
  readonly reta?: readonly number[];
  /** The hash that the NIC makes, to know flows before their first packet. */
  readonly rss?: Pick<Rss, 'hashFlow'>;
}

export interface PlanLcore {
  readonly name: string;
  readonly cpu: number;
  /** NUMA node of the CPU; -1 or absent where it is unknown. */
  readonly node?: number;
}

export interface Assignment {
  readonly port: PlanPort;
  readonly queue: number;
  readonly lcore: PlanLcore;
  /** The lcore is on another NUMA node than the device: each packet crosses. */
  readonly crosses: boolean;
}

/** Where a flow's packets will be seen. */
export interface Sighting {
  readonly hash: number;
  /** Index into the redirection table. */
  readonly bucket: number;
  readonly queue: number;
  readonly lcore: PlanLcore;
}

/** Entries of a redirection table that nobody has described: what 82576, 82599 and most others have. */
const USUAL_RETA = 128;

/**
 * Gives each receive queue an lcore. An lcore on the device's own node goes before one that is not, then the one with the
 * least to do; a port's queues count as parts of the port, since its traffic is spread over them. Throws EOPTION.
 */
export function planQueues(ports: readonly PlanPort[], lcores: readonly PlanLcore[]): QueuePlan {
  if (lcores.length === 0) throw new PollmodeError('EOPTION', 'A plan without lcores: give at least one.');
  const load = new Map(lcores.map(lcore => [lcore, 0]));
  const assignments: Assignment[] = [];
  for (const port of ports) {
    checkPort(port);
    for (let queue = 0; queue < port.rxQueues; queue++) {
      const lcore = best(port, lcores, load);
      load.set(lcore, load.get(lcore)! + 1 / port.rxQueues);
      assignments.push({ port, queue, lcore, crosses: !near(port, lcore) });
    }
  }
  return new QueuePlan(assignments);
}

function best(port: PlanPort, lcores: readonly PlanLcore[], load: ReadonlyMap<PlanLcore, number>): PlanLcore {
  const local = lcores.filter(lcore => near(port, lcore));
  return (local.length > 0 ? local : lcores).reduce((least, lcore) => (load.get(lcore)! < load.get(least)! - 1e-9 ? lcore : least));
}

/** What is unknown is near. */
function near(port: PlanPort, lcore: PlanLcore): boolean {
  return (port.node ?? -1) < 0 || (lcore.node ?? -1) < 0 || port.node === lcore.node;
}

function checkPort({ name, rxQueues, reta }: PlanPort): void {
  if (!Number.isInteger(rxQueues) || rxQueues < 1) throw new PollmodeError('EOPTION', `${name}: ${String(rxQueues)} receive queues: give a whole number from 1.`);
  const wrong = reta?.find(queue => !Number.isInteger(queue) || queue < 0 || queue >= rxQueues);
  if (wrong !== undefined || reta?.length === 0) throw new PollmodeError('EOPTION', `${name}: its redirection table names queue ${String(wrong)}, of ${rxQueues}: give the table that the NIC has.`);
}

/** Which lcore polls which queue. */
export class QueuePlan {
  readonly assignments: readonly Assignment[];

  /** Use `planQueues`. */
  constructor(assignments: readonly Assignment[]) {
    this.assignments = assignments;
  }

  queuesOf(lcore: PlanLcore): Assignment[] {
    return this.assignments.filter(each => each.lcore === lcore);
  }

  /** Each lcore that has something to do, with its queues as `launch` takes them. Of ports that have a number. */
  get lcores(): { readonly lcore: PlanLcore; readonly queues: readonly { readonly port: number; readonly direction: 'rx'; readonly queue: number }[] }[] {
    return [...new Set(this.assignments.map(({ lcore }) => lcore))].map(lcore => ({
      lcore, queues: this.queuesOf(lcore).flatMap(({ port, queue }) => (port.number === undefined ? [] : [{ port: port.number, direction: 'rx' as const, queue }])),
    }));
  }

  /** Which queue, and so which lcore, sees this flow's packets. Throws EOPTION for a port without a hash, ENOTFOUND for one that is not in the plan. */
  whereIs(portName: string, flow: Flow): Sighting {
    const mine = this.assignments.filter(each => each.port.name === portName);
    const port = mine[0]?.port;
    if (port === undefined) throw new PollmodeError('ENOTFOUND', `No port "${portName}" in this plan: it has ${[...new Set(this.assignments.map(each => each.port.name))].join(', ')}.`);
    if (port.rss === undefined) throw new PollmodeError('EOPTION', `${portName}: without its RSS key and types, and a table of its own queues, nobody can tell: give the port an rss, or open all queues that its table names.`);
    const hash = port.rss.hashFlow(flow);
    const bucket = hash % (port.reta?.length ?? USUAL_RETA);
    const queue = port.reta === undefined ? bucket % port.rxQueues : port.reta[bucket]!;
    return { hash, bucket, queue, lcore: mine[queue]!.lcore };
  }

  /** As a table for people. */
  toString(): string {
    const rows = this.assignments.map(({ port, queue, lcore, crosses }) => [
      port.name, String(queue), lcore.name, String(lcore.cpu), node(port.node), node(lcore.node), crosses ? 'crosses nodes' : '',
    ]);
    const all = [['port', 'queue', 'lcore', 'CPU', 'port node', 'CPU node', ''], ...rows];
    const widths = all[0]!.map((_, column) => Math.max(...all.map(row => row[column]!.length)));
    return all.map(row => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()).join('\n');
  }
}

function node(number: number | undefined): string {
  return number === undefined || number < 0 ? '-' : String(number);
}
