/** Our side: the programs of bench/ours, each in a Node.js process of its own. */
import { join } from 'node:path';
import type { Lab } from '../../lib/lab/veth.js';
import type { Bench } from './bench.js';
import type { Cpus } from './dpdk.js';
import { root, type Machine } from './machine.js';
import type { Program } from './program.js';

export interface OursOptions {
  readonly seconds: number;
  readonly netns?: number;
  /** More words for it: an interface, a rate. */
  readonly more?: readonly string[];
}

/** What they print, as far as a row needs it. */
export interface OursResult {
  /** Of the rings: cycles per bulk, see bench/ours/common.ts. */
  readonly cycles: number;
  readonly meanCycles: number;
  readonly packets: number;
  readonly seconds: number;
  /** Of the AF_XDP programs: user time over all CPU time of the measured thread. */
  readonly userShare?: number;
  /** Of programs that wait for another end: part of the time in which nothing could be moved, and packets of a burst that moved some. */
  readonly idle?: number;
  readonly burst?: number;
  /** Of round-trip. */
  readonly nanoseconds?: number;
}

export function startOurs(machine: Machine, name: string, { measured, other }: Cpus, { seconds, netns, more = [] }: OursOptions): Program {
  const words = [join(root, `dist/bench/ours/${name}.js`), '--seconds', String(seconds), '--cpu', String(measured), '--other-cpu', String(other), ...more];
  return machine.start(process.execPath, words, netns === undefined ? {} : { netns });
}

export async function finishOurs(program: Program, seconds: number): Promise<OursResult> {
  const output = await program.finish(seconds + 15);
  return JSON.parse(output.trim().split('\n').at(-1)!) as OursResult;
}

export async function ours(machine: Machine, name: string, cpus: Cpus, options: OursOptions): Promise<OursResult> {
  return finishOurs(startOurs(machine, name, cpus, options), options.seconds);
}

/** The words that tell a program of ours which interface is its own, and whose frames it sends or takes: UDP over IPv4. */
export function frameWords(interfaceName: string, from: Sender['from'], to: Sender['from']): string[] {
  return ['--interface', interfaceName, '--from', `${from.mac},${from.ip}`, '--to', `${to.mac},${to.ip}`];
}

/** A program of ours that sends, and the words that it is told beside where to. */
export interface Sender {
  readonly program: 'xdp-send' | 'af-xdp-send';
  readonly from: { readonly mac: string; readonly ip: string };
  readonly more?: readonly string[];
}

/** Sends from the lab's far end to the near one while `work` runs, on the other CPU. */
export async function whileSending<T>({ machine, cpus: { other } }: Bench, lab: Lab, { program, from, more = [] }: Sender, work: () => Promise<T>): Promise<T> {
  const sender = startOurs(machine, program, { measured: other, other }, { seconds: 600, netns: lab.b.netns, more: [...frameWords(lab.b.name, from, lab.a), ...more] });
  try {
    await sender.expect(/measuring/);
    return await work();
  } finally {
    sender.kill();
    await sender.exited;
  }
}
