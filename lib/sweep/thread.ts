/** What a measuring thread asks the system about itself: with the addon, or without it as far as Node.js can tell. */
import { hrtime } from 'node:process';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { BpfMap } from '../kernel/bpf.js';
import { syscallsOf } from '../kernel/syscall_counter.js';
import type { Measured } from './control.js';

const addon = tryBinding();
const native = addon instanceof PollmodeError ? undefined : addon;
const usage = new Float64Array(4);
const clock = new Float64Array(2);

/** 0 without the addon. */
export function threadNumber(): number {
  return native?.gettid() ?? 0;
}

/** False where the thread could not be pinned. */
export function pin(cpu: number): boolean {
  return native !== undefined && native.setAffinity(cpu) >= 0;
}

/** CLOCK_MONOTONIC in nanoseconds, the same in every thread. */
export function nanoseconds(): number {
  if (native === undefined) {
    const [seconds, rest] = hrtime();
    return seconds * 1e9 + rest;
  }
  native.clock(clock);
  return clock[1]!;
}

/** Counts, clock, CPU time (µs) and system calls of the calling thread at a moment. */
export interface Reading {
  readonly packets: number;
  readonly at: number;
  readonly cpu: { readonly user: number; readonly system: number } | undefined;
  readonly calls: number | undefined;
}

/** The system calls are read last, and at the end first: between two readings lie the packets' own and one of reading. */
export function readBegin(packets: number, calls: BpfMap | undefined): Reading {
  const cpu = cpuTime();
  const counted = readCalls(calls);
  return { packets, at: performance.now(), cpu, calls: counted };
}

export function readEnd(packets: number, calls: BpfMap | undefined): Reading {
  const at = performance.now();
  const counted = readCalls(calls);
  return { packets, at, cpu: cpuTime(), calls: counted };
}

export function between(from: Reading, to: Reading): Measured {
  const cpu = from.cpu === undefined || to.cpu === undefined ? {}
    : { userSeconds: (to.cpu.user - from.cpu.user) / 1e6, systemSeconds: (to.cpu.system - from.cpu.system) / 1e6 };
  const calls = from.calls === undefined || to.calls === undefined ? {} : { calls: to.calls - from.calls - 1 };
  return { packets: to.packets - from.packets, seconds: (to.at - from.at) / 1000, ...cpu, ...calls };
}

function readCalls(map: BpfMap | undefined): number | undefined {
  return map === undefined ? undefined : syscallsOf(map, threadNumber());
}

/** getrusage(RUSAGE_THREAD); newer Node.js has it too. */
function cpuTime(): Reading['cpu'] {
  if (native === undefined) return (process as { threadCpuUsage?: () => { user: number; system: number } }).threadCpuUsage?.();
  native.usage(false, usage);
  return { user: usage[0]!, system: usage[1]! };
}
