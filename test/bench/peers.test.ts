import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { Row } from '../../bench/peers/bench.js';
import { notes, outcome, table, type Round } from '../../bench/peers/report.js';
import { rows } from '../../bench/peers/rows.js';

const MAIN = fileURLToPath(new URL('../../bench/peers/main.js', import.meta.url));

const packets: Row = {
  name: 'packets', peer: 'theirs', ours: 'ours', peerFigure: ['them', 'value'], oursFigure: ['us', 'value'], unit: 'Mpps', target: 1.5, counted: 'frames',
};
const cycles: Row = { ...packets, name: 'cycles', peerFigure: ['them', 'other'], unit: 'cycles', target: 1 };

function round(them: number, us: number, userShare?: number): Round {
  return new Map([['them', { value: them, other: them }], ['us', { value: us, ...(userShare === undefined ? {} : { userShare }) }]]);
}

t.test('a ratio is the median of the rounds\' own ratios', async t => {
  const found = outcome(packets, [round(1, 2, 0.1), round(10, 15, 0.3), round(4, 5, 0.2)]);
  t.match(found, { ratio: { median: 1.5, min: 1.25, max: 2 }, peer: { median: 4 }, ours: { median: 5 }, reached: true, userShare: 0.2 });
  t.equal(outcome(packets, [round(10, 14.9)]).reached, false);
  t.match(table([found]), /packets +4\.000 +5\.000 +Mpps +1\.50x +1\.25\.\.2\.00 +1\.5x +reached +20%/);
});

t.test('how far anybody can get ahead of a peer, and what bounds both, is said', async t => {
  const both: Round = new Map([['them', { value: 4, userShare: 0.02 }], ['us', { value: 4, userShare: 0.03, idle: 0.8 }]]);
  const found = outcome({ ...packets, orIdle: true, limit: 'the kernel' }, [both]);
  t.match(found, { userShare: 0.03, peerUserShare: 0.02, idle: 0.8, reached: false });
  t.match(table([found]), /idle 80%: the other end is the limit +3% +2%$/);
  t.match(notes([found]), /counted: frames\n {4}limit: the kernel$/);
});

t.test('a peer that is a measure only is not reached or missed', async t => {
  const { target: _, ...measure } = packets;
  const found = outcome(measure, [round(4, 5)]);
  t.equal(found.reached, undefined);
  t.match(table([found]), /packets +4\.000 +5\.000 +Mpps +1\.25x +1\.25\.\.1\.25$/);
});

t.test('of cycles, fewer are better', async t => {
  t.match(outcome(cycles, [round(60, 30)]), { ratio: { median: 2 }, reached: true });
  t.match(outcome(cycles, [round(30, 60)]), { ratio: { median: 0.5 }, reached: false });
});

t.test('a row that could not be raced says why; a round that failed is left out', async t => {
  const lacking: Round = new Map<string, string>([['them', 'no such program: apt-get install it']]);
  const found = outcome(packets, [lacking]);
  t.same(found, { row: packets, moved: 0, skipped: 'no such program: apt-get install it' });
  t.match(notes([found]), /NOT RACED: no such program: apt-get install it/);
  t.match(outcome(packets, [lacking, round(1, 2)]), { ratio: { median: 2, rounds: [2] } });
});

t.test('a round in which the CPUs were not as far apart for both is left out, and said', async t => {
  const apart = (them: number, us: number, afterwards = us): Round => new Map([['them', { value: 10, apart: them, apartAfterwards: them }], ['us', { value: us / 5, apart: us, apartAfterwards: afterwards }]]);
  const found = outcome(packets, [apart(80, 85), apart(80, 400), apart(390, 400), apart(85, 80, 400)]);
  t.match(found, { moved: 2, ratio: { rounds: [1.7, 8] } });
  t.match(notes([found]), /left out: 2 rounds/);
  t.match(outcome(packets, [apart(80, 400)]), { moved: 1, skipped: /run it again/ });
});

t.test('every row of a target has it, and all say what is counted', async t => {
  t.equal(rows.filter(({ target = 0 }) => target >= 0.5).length, 37);
  t.same(rows.filter(({ target }) => target === undefined).map(({ name }) => name), ['L3 forwarding, 65,536 destinations, each packet in TypeScript', 'L3 forwarding, 4,096 destinations, each packet in TypeScript', 'Internet checksum, 1500 B, against AVX-512', 'ring ports, io, ours counts bytes too', 'AF_XDP send 64 B, against bare C', 'vhost receive 64 B, a guest beside the arena', 'vhost send 64 B, a guest beside the arena']);
  for (const { name, counted } of rows) t.not(counted, '', name);
});

t.test('without the peers the rest goes on, and nothing is left behind', async t => {
  const run = (...words: string[]): { status: number | null; stdout: string; stderr: string } => spawnSync(process.execPath, [MAIN, ...words], { env: { PATH: '/nonexistent', TMPDIR: t.testdir({}) }, encoding: 'utf8' });
  t.match(run('--help').stdout, /--rounds N/);
  t.match(run('--only', 'no such row'), { status: 2, stderr: /leave --only out/ });
  const { status, stdout } = run('--only', 'null to null', '--rounds', '1', '--seconds', '0.1', '--json');
  t.equal(status, 0);
  const { rows: found } = JSON.parse(stdout) as { rows: { name: string; skipped?: string }[] };
  t.match(found, [{ skipped: /dpdk-testpmd.*apt-get install dpdk/ }, { skipped: /apt-get install dpdk/ }]);
});
