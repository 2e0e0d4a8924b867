/** What the tests that sweep for real share: the smallest grid, and what must hold of every result. */
import type { Test } from 'tap';
import { unaccounted, type MeasuredCell, type SweepResult } from '../../lib/sweep/results.js';
import type { SweepGrid } from '../../lib/sweep/grid.js';

export const TINY: SweepGrid = {
  bursts: [1, 32], frames: [64], rounds: 2, seconds: 0.05, warmUp: 0.02, latencyBursts: [1, 32], latencyFrames: [64], latencyRate: 10_000,
};

export function measuredCells(result: SweepResult, path: string): MeasuredCell[] {
  return result.cells.filter((cell): cell is MeasuredCell => cell.status === 'measured' && cell.path === path);
}

/** Every cell of the grid is there, packets went through, and what was lost has a name. */
export function checkPath(t: Test, result: SweepResult, path: string, { bursts, frames, rounds }: SweepGrid = TINY): void {
  const cells = measuredCells(result, path);
  t.same(cells.map(({ burst, frame, direction }) => [frame, burst, direction]),
    frames.flatMap((frame) => bursts.flatMap((burst) => ['send', 'receive'].map((direction) => [frame, burst, direction]))), `${path}: every cell`);
  for (const cell of cells) {
    const where = `${path}, burst ${cell.burst}, ${cell.direction}`;
    t.equal(cell.packetsPerSecond.rounds.length, rounds, `${where}: each round`);
    t.ok(cell.sent > 0, `${where}: packets went out`);
    t.ok(cell.received <= cell.sent, `${where}: ${cell.received} of ${cell.sent} received`);
    t.equal(unaccounted(cell), 0, `${where}: all loss has a name (${cell.sent - cell.received} lost, ${JSON.stringify(cell.loss)})`);
  }
}
