/**
 * What a sweep found: the model that the measuring half fills and that table, CSV, chart and report read.
 *
 * Units, everywhere: packets, seconds, nanoseconds, bits. Frame sizes are RFC 2544's, with FCS (64 means 60 bytes in
 * the buffer). Rates are packets per second of the side that the cell's `direction` names; bits follow from them by
 * `frameBits` and `lineBits` and are not stored, so the two cannot disagree.
 */
import type { Spread } from './statistics.js';

export const SWEEP_FORMAT = 'pollmode-sweep';
export const SWEEP_VERSION = 1;

/** The name of the path that ratios are taken to: Node's own UDP socket. */
export const BASELINE_PATH = 'dgram';
/** The paths over a link in the order in which tables show them; then those in memory, and others in the order of the file. */
export const LINK_PATHS = ['af_xdp', 'af_packet ring', 'raw socket', BASELINE_PATH] as const;
/** Ports in memory: no frame crosses a link, so their rates are no rates of a network. */
export const MEMORY_PATHS = ['memory ring', 'memory null'] as const;
export const KNOWN_PATHS = [...LINK_PATHS, ...MEMORY_PATHS] as const;
export const DIRECTIONS = ['send', 'receive'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export interface SweepHeader {
  /** uname's release, for example "6.18.5". */
  readonly kernel: string;
  readonly cpu: string;
  /** CPUs that the process may use. */
  readonly cores: number;
  readonly node: string;
  readonly pollmode: string;
  /** What lies between sender and receiver of the paths over a link, for example "veth pair between two network namespaces". */
  readonly link: string;
  /** How AF_XDP ran, for example "native, copy"; "none" where it did not. */
  readonly mode: string;
  /** XDP_USE_NEED_WAKEUP; null where AF_XDP did not run. */
  readonly needWakeup: boolean | null;
  /** CPUs the two threads are pinned to; -1 for not pinned. */
  readonly senderCpu: number;
  readonly receiverCpu: number;
  /** When the sweep began, ISO 8601 in UTC. */
  readonly date: string;
  /** Measured time per round of a cell, after the warm-up. */
  readonly secondsPerCell: number;
  readonly warmupSeconds: number;
  /** As many as were measured; a cell may have fewer when the sweep was stopped. */
  readonly rounds: number;
  /** The part of the two CPUs that other programs had while it ran, 0 to 1; null where that could not be told. */
  readonly takenByOthers: number | null;
  /** Sentences that a reader of the figures has to know, for example what root would add. */
  readonly notes: readonly string[];
}

/** Which cell: everything that was varied. */
export interface CellKey {
  /** A name in KNOWN_PATHS, or any other. */
  readonly path: string;
  /** Packets handed over per call; for dgram, sends per loop turn. */
  readonly burst: number;
  /** Frame bytes with FCS. */
  readonly frame: number;
  readonly direction: Direction;
}

/** Packets that ended at a named place, for example { name: 'rx_ring_full', packets: 12 }. */
export interface LossCounter {
  readonly name: string;
  readonly packets: number;
}

export interface MeasuredCell extends CellKey {
  readonly status: 'measured';
  readonly packetsPerSecond: Spread;
  /** Packets over all rounds: accepted from the sender, and seen by the receiver. */
  readonly sent: number;
  readonly received: number;
  readonly loss: readonly LossCounter[];
  /**
   * CPU time per packet, in ns, of the thread that `direction` names: in user mode and in the kernel on its behalf; null
   * where it could not be had. The sum is exact; the kernel splits it by what its clock tick finds.
   */
  readonly userNs: Spread | null;
  readonly systemNs: Spread | null;
  /** System calls per packet, of the same thread; null where they could not be counted (the header's notes say why). */
  readonly syscalls: Spread | null;
}

/** A cell that could not be measured; `reason` is a sentence, with the mend where there is one. */
export interface MissingCell extends CellKey {
  readonly status: 'missing';
  readonly reason: string;
}

export type SweepCell = MeasuredCell | MissingCell;

/** Latency is an experiment of its own: at a stated offered load, below what the path can carry. */
export interface LatencyCell {
  readonly path: string;
  readonly burst: number;
  readonly frame: number;
  /** From handing the burst over to having the packet back from the other side, which returns it at once. */
  readonly kind: 'round-trip';
  /** Packets per second that the sender offered. */
  readonly offered: number;
  /** Packets timed, over all rounds. */
  readonly samples: number;
  /** Over the whole of all rounds, warm-up included: sent, and those that came back. */
  readonly sent: number;
  readonly returned: number;
  /** Nanoseconds; one value of each percentile per round. */
  readonly p50: Spread;
  readonly p99: Spread;
  readonly p999: Spread;
}

/** What an lcore does when there is nothing to receive (lib/lcore/idle.ts). */
export const POLICIES = ['busy', 'adaptive', 'interrupt'] as const;
export type Policy = (typeof POLICIES)[number];

/** An experiment of its own too: one AF_XDP port, its queues shared out among lcores that receive under a policy. */
export interface ScalingCell {
  readonly queues: number;
  readonly lcores: number;
  readonly policy: Policy;
  /** Received by all lcores together from a sender that sends as fast as it can, to all queues in turn. */
  readonly packetsPerSecond: Spread;
  /** And at so many packets per second in all: */
  readonly offered: number;
  /** CPU time of all lcores over the time that went by: 1 is one CPU, all of it. */
  readonly cpu: Spread;
  /** One way, in nanoseconds, over the packets of all queues; null where none was timed. */
  readonly p50: Spread | null;
  readonly p99: Spread | null;
}

export interface SweepResult {
  readonly format: typeof SWEEP_FORMAT;
  readonly version: typeof SWEEP_VERSION;
  readonly header: SweepHeader;
  readonly cells: readonly SweepCell[];
  readonly latency: readonly LatencyCell[];
  /** Empty where it was not asked for, or AF_XDP could not run. */
  readonly scaling: readonly ScalingCell[];
}

/** Puts the format's name and version around what was measured. */
export function sweepResult(header: SweepHeader, cells: readonly SweepCell[], latency: readonly LatencyCell[] = [], scaling: readonly ScalingCell[] = []): SweepResult {
  return { format: SWEEP_FORMAT, version: SWEEP_VERSION, header, cells, latency, scaling };
}

/** Bits per second of frames with FCS, without preamble and gap: what IEEE 802.3 calls MAC frames. */
export function frameBits(packetsPerSecond: number, frame: number): number {
  return packetsPerSecond * frame * 8;
}

/** Layer-1 bits per second: with 7 + 1 bytes of preamble and start delimiter and 12 of gap per frame (IEEE 802.3), 20 in all. */
export function lineBits(packetsPerSecond: number, frame: number): number {
  return packetsPerSecond * (frame + 20) * 8;
}

/** The program's own part of the CPU time: user time over all, of all rounds together; undefined where none was measured. */
export function ownShare(cell: MeasuredCell): number | undefined {
  const sum = (spread: Spread | null): number => spread === null ? 0 : spread.rounds.reduce((total, value) => total + value, 0);
  const [user, system] = [sum(cell.userNs), sum(cell.systemNs)];
  return user + system === 0 ? undefined : user / (user + system);
}

/** Does a frame of the path cross a link? */
export function isOverLink(path: string): boolean {
  return !(MEMORY_PATHS as readonly string[]).includes(path);
}

/** Sent less received, over all rounds. Negative where frames arrived that the sender did not count. */
export function lost(cell: MeasuredCell): number {
  return cell.sent - cell.received;
}

/** What of the loss no counter names; not 0 means that a counter is missing or counts something else too. */
export function unaccounted(cell: MeasuredCell): number {
  return lost(cell) - cell.loss.reduce((sum, counter) => sum + counter.packets, 0);
}

/** The paths of a result, known ones first. */
export function pathsOf(result: SweepResult): string[] {
  const found = new Set([...result.cells, ...result.latency].map((cell) => cell.path));
  const known = KNOWN_PATHS.filter((path) => found.delete(path));
  return [...known, ...found];
}

export function framesOf(result: SweepResult): number[] {
  return ascending([...result.cells, ...result.latency].map((cell) => cell.frame));
}

export function burstsOf(result: SweepResult): number[] {
  return ascending([...result.cells, ...result.latency].map((cell) => cell.burst));
}

/** The numbers of queues and lcores that were measured, fewer queues first. */
export function shapesOf({ scaling }: SweepResult): { readonly queues: number; readonly lcores: number }[] {
  const found = new Map(scaling.map(({ queues, lcores }) => [`${queues} ${lcores}`, { queues, lcores }]));
  return [...found.values()].sort((a, b) => a.queues - b.queues || a.lcores - b.lcores);
}

/** The directions that any cell has, send first. */
export function directionsOf(result: SweepResult): Direction[] {
  return DIRECTIONS.filter((direction) => result.cells.some((cell) => cell.direction === direction));
}

/** The cell at a key, measured or missing; undefined where the sweep had none. */
export function findCell(result: SweepResult, key: CellKey): SweepCell | undefined {
  return result.cells.find((cell) => cell.path === key.path && cell.burst === key.burst &&
    cell.frame === key.frame && cell.direction === key.direction);
}

export function findMeasured(result: SweepResult, key: CellKey): MeasuredCell | undefined {
  const cell = findCell(result, key);
  return cell?.status === 'measured' ? cell : undefined;
}

function ascending(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
