/** An lcore of reta.test.ts: begins a move of a redirection table, and dies in it. */
import type { LcoreContext } from '../../lib/lcore/context.js';
import { RetaGuard } from '../../lib/rss/reta.js';

export interface MoverArgs {
  readonly guard: string;
  readonly reta: readonly number[];
  /** While it tells the NIC (the test says whether the NIC has heard it), or once it has. */
  readonly dies: 'telling' | 'told';
}

export default async function mover(lcore: LcoreContext<MoverArgs>): Promise<void> {
  const { guard, reta, dies } = lcore.args;
  await Promise.resolve();
  RetaGuard.find(lcore.arena, guard).begin(reta, () => { if (dies === 'telling') process.exit(3); });
  process.exit(3);
}
