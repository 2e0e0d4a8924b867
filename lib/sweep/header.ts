/** The head of a result: the machine, how it was measured, and what a reader of the figures has to know. */
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { PollmodeError } from '../errors.js';
import type { SweepGrid } from './grid.js';
import type { SweepHeader } from './model.js';
import type { OpenedPath } from './path.js';
import { allowedCpus, type Between, type SweepPath } from './plans.js';

/** How the sweep went. */
export interface Circumstances {
  readonly paths: ReadonlyMap<SweepPath, OpenedPath>;
  readonly began: Date;
  readonly cpus: readonly [number, number];
  /** The counter of system calls, or why there is none. */
  readonly calls: unknown;
  /** Why it ended early. */
  readonly stopped: string | undefined;
  /** The part of the CPUs that other programs had meanwhile; not told where both threads share one. */
  readonly taken: number | undefined;
}

const LINKS: Readonly<Record<Between, string | undefined>> = {
  lab: 'veth pair between two network namespaces', loopback: 'UDP over 127.0.0.1', memory: undefined, nothing: undefined,
};

export function header(grid: SweepGrid & { readonly notes?: readonly string[] }, how: Circumstances): SweepHeader {
  const xdp = how.paths.get('af_xdp');
  const mode = xdp === undefined || typeof xdp === 'string' ? undefined : xdp.mode;
  const [senderCpu, receiverCpu] = how.cpus;
  return {
    kernel: release(), cpu: cpus()[0]?.model ?? 'unknown', cores: allowedCpus().length, node: process.versions.node,
    pollmode: packageVersion(), link: linkOf(how.paths), mode: mode ?? 'none', needWakeup: mode === undefined ? null : !mode.includes('no need-wakeup'),
    senderCpu, receiverCpu, date: how.began.toISOString(), secondsPerCell: grid.seconds, warmupSeconds: grid.warmUp, rounds: grid.rounds,
    takenByOthers: senderCpu === receiverCpu ? null : how.taken ?? null,
    notes: [...grid.notes ?? [], ...notes(how)],
  };
}

function linkOf(paths: Circumstances['paths']): string {
  const links = [...paths.values()].flatMap(path => typeof path === 'string' ? [] : LINKS[path.plan.between] ?? []);
  return links[0] ?? 'none: memory only';
}

function notes({ calls, cpus: [sender, receiver], stopped }: Circumstances): string[] {
  const found = stopped === undefined ? [] : [stopped];
  if (calls instanceof PollmodeError && calls.code !== 'EADDON') found.push(`System calls were not counted: ${calls.message}`);
  if (sender === receiver) found.push('Sender and receiver shared one CPU, because this process may use no other, and gave it up whenever they had nothing to do: rates are lower and round trips longer than on two.');
  return found;
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}
