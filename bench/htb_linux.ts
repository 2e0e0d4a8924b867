/**
 * The same classes under Linux's HTB and under ours, each kept busy or idle alike: who gets how much? Linux's stand on a
 * veth pair of this process's own, made by tc, filled by iperf3 and read back from tc's counters; ours run on a simulated
 * clock, so that its figures are the algorithm's and nobody's CPU's.
 *
 *   node dist/bench/htb_linux.js [--seconds 3] [--json]      (as root; needs tc and iperf3)
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLab, type Lab } from '../lib/lab/veth.js';
import { open } from '../lib/port/host.js';
import type { HtbClassSpec } from '../lib/qdisc/spec.js';
import { QdiscQueue } from '../lib/qdisc/tree.js';
import { benchOptions } from './options.js';

const values = benchOptions({
  what: 'Mbit/s of each class under HTB, some kept busy and some idle: who gets how much.',
  against: 'Linux\'s HTB with the same classes, on a veth pair',
  needs: 'root, tc and iperf3',
  options: { seconds: { value: 'S', default: '3', help: 'of each measurement of Linux\'s' }, json: { help: 'the figures as JSON' } },
});
const SECONDS = Number(values.seconds);
/** Of UDP; a frame is 42 more. */
const PAYLOAD = 1200;
const FRAME = PAYLOAD + 42;
const BURST = 15000;

interface Leaf { readonly name: string; readonly rate: number; readonly ceil: number; readonly priority?: number; readonly quantum?: number; readonly busy: boolean }
interface Scene { readonly name: string; readonly line: number; readonly groups: readonly { readonly rate: number; readonly ceil: number; readonly leaves: readonly Leaf[] }[] }

/** Rates in Mbit/s. */
const SCENES: readonly Scene[] = [
  { name: 'c is idle: what it leaves goes 2 to 1', line: 10, groups: [{ rate: 10, ceil: 10, leaves: [{ name: 'a', rate: 2, ceil: 10, quantum: 3000, busy: true }, { name: 'b', rate: 4, ceil: 10, quantum: 1500, busy: true }, { name: 'c', rate: 4, ceil: 10, busy: false }] }] },
  { name: 'all are busy', line: 10, groups: [{ rate: 10, ceil: 10, leaves: [{ name: 'a', rate: 2, ceil: 10, quantum: 3000, busy: true }, { name: 'b', rate: 4, ceil: 10, quantum: 1500, busy: true }, { name: 'c', rate: 4, ceil: 10, busy: true }] }] },
  { name: 'two groups, a ceil in one', line: 20, groups: [
    { rate: 10, ceil: 12, leaves: [{ name: 'x1', rate: 5, ceil: 20, busy: true }, { name: 'x2', rate: 5, ceil: 7, busy: false }] }, { rate: 10, ceil: 20, leaves: [{ name: 'y', rate: 10, ceil: 20, busy: true }] },
  ] },
  { name: 'by priority', line: 10, groups: [{ rate: 10, ceil: 10, leaves: [{ name: 'low', rate: 2, ceil: 10, priority: 5, busy: true }, { name: 'high', rate: 2, ceil: 10, priority: 0, busy: true }] }] },
];

const leavesOf = ({ groups }: Scene): readonly Leaf[] => groups.flatMap(({ leaves }) => leaves);

/** Mbit/s of each leaf. */
async function linux(scene: Scene): Promise<number[]> {
  const lab = openLab();
  const children: ChildProcess[] = [];
  try {
    layClasses(lab, scene);
    leavesOf(scene).forEach(({ busy }, i) => {
      if (busy) children.push(inside(lab.b.netns, 'iperf3', ['-s', '-1', '-p', String(5201 + i)]));
    });
    await sleep(300);
    leavesOf(scene).forEach(({ busy }, i) => {
      if (busy) children.push(inside(lab.a.netns, 'iperf3', ['-c', lab.b.ip, '-p', String(5201 + i), '-u', '-b', '40M', '-l', String(PAYLOAD), '-t', String(SECONDS + 3)]));
    });
    await sleep(1500);
    const before = sentBytes(lab, scene);
    const start = performance.now();
    await sleep(SECONDS * 1000);
    const after = sentBytes(lab, scene);
    const seconds = (performance.now() - start) / 1000;
    return after.map((bytes, i) => (bytes - before[i]!) * 8 / 1e6 / seconds);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    lab.close();
  }
}

function layClasses(lab: Lab, { line, groups }: Scene): void {
  const tc = (text: string): void => { run(lab.a.netns, 'tc', text.split(' ')); };
  const rates = (rate: number, ceil: number): string => `htb rate ${rate}mbit ceil ${ceil}mbit burst ${BURST} cburst ${BURST}`;
  const on = `dev ${lab.a.name}`;
  tc(`qdisc add ${on} root handle 1: htb`);
  tc(`class add ${on} parent 1: classid 1:1 ${rates(line, line)} quantum 1514`);
  let leaf = 0;
  groups.forEach(({ rate, ceil, leaves }, group) => {
    tc(`class add ${on} parent 1:1 classid 1:${2 + group} ${rates(rate, ceil)} quantum 1514`);
    for (const { rate: own, ceil: most, priority = 0, quantum = 1514 } of leaves) {
      tc(`class add ${on} parent 1:${2 + group} classid 1:${10 + leaf} ${rates(own, most)} prio ${priority} quantum ${quantum}`);
      tc(`filter add ${on} parent 1: protocol ip prio 1 u32 match ip dport ${5201 + leaf} 0xffff flowid 1:${10 + leaf}`);
      leaf++;
    }
  });
}

/** tc has no JSON for classes: "class htb 1:10 ..." and behind it " Sent 12345 bytes 67 pkt". */
function sentBytes(lab: Lab, scene: Scene): number[] {
  const text = run(lab.a.netns, 'tc', ['-s', 'class', 'show', 'dev', lab.a.name]);
  const sent = new Map([...text.matchAll(/^class htb (\S+) [^]*?^ Sent (\d+) bytes/gm)].map(([, handle, bytes]) => [handle, Number(bytes)]));
  return leavesOf(scene).map((_, i) => sent.get(`1:${10 + i}`)!);
}

function command(netns: number, program: string, args: readonly string[]): [string, string[]] {
  return ['nsenter', [`--net=/proc/${process.pid}/fd/${netns}`, program, ...args]];
}

function run(netns: number, program: string, args: readonly string[]): string {
  return execFileSync(...command(netns, program, args), { encoding: 'utf8' });
}

function inside(netns: number, program: string, args: readonly string[]): ChildProcess {
  return spawn(...command(netns, program, args), { stdio: 'ignore' });
}

/** Mbit/s of each leaf, in simulated time. */
function ours(scene: Scene): number[] {
  const host = open(['null:'], { mbufs: 2048 });
  const leaves = leavesOf(scene);
  const sent = leaves.map(() => 0);
  const waiting = leaves.map(() => 0);
  let [now, counting] = [0, false];
  const classes: HtbClassSpec[] = scene.groups.map(({ rate, ceil, leaves: list }, group) => ({
    name: `group ${group}`, ...numbers(rate, ceil), classes: list.map(({ name, rate: own, ceil: most, priority = 0, quantum = 1514 }) => ({ name, ...numbers(own, most), priority, quantum })),
  }));
  const queue = new QdiscQueue(host.pool, {
    txBurst(burst, count) {
      for (let i = 0; i < count; i++) {
        const leaf = host.mbufs.mark(burst.handles[i]!);
        waiting[leaf]!--;
        if (counting) sent[leaf]! += FRAME;
      }
      return host.ports[0]!.tx[0]!.txBurst(burst, count);
    },
  }, { kind: 'htb', classes: [{ name: 'line', ...numbers(scene.line, scene.line), classes }] }, { clock: () => now });
  const burst = host.burst(1);
  const fill = (): void => leaves.forEach(({ busy }, leaf) => {
    for (; busy && waiting[leaf]! < 40; waiting[leaf]!++) {
      host.pool.alloc(burst, 1);
      host.mbufs.append(burst.handles[0]!, FRAME);
      host.mbufs.setMark(burst.handles[0]!, leaf);
      queue.txBurst(burst, 1);
    }
  });
  for (fill(); now < (SECONDS + 1) * 1e9; fill()) {
    now = Math.max(now + 1, queue.deadline);
    counting = now > 1e9;
    queue.service();
  }
  queue.close();
  host.close();
  return sent.map(bytes => bytes * 8 / 1e6 / SECONDS);
}

function numbers(rate: number, ceil: number): { rate: number; ceil: number; burst: number; ceilBurst: number } {
  return { rate: rate * 1e6, ceil: ceil * 1e6, burst: BURST, ceilBurst: BURST };
}

const rows: { scene: string; leaf: string; linux: number; ours: number }[] = [];
for (const scene of SCENES) {
  const [theirs, mine] = [await linux(scene), ours(scene)];
  leavesOf(scene).forEach(({ name }, i) => rows.push({ scene: scene.name, leaf: name, linux: theirs[i]!, ours: mine[i]! }));
}
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else {
  process.stdout.write(`${'Mbit/s'.padEnd(40)}  class  Linux   ours\n`);
  for (const row of rows) process.stdout.write(`${row.scene.padEnd(40)}  ${row.leaf.padEnd(5)}  ${row.linux.toFixed(2).padStart(5)}  ${row.ours.toFixed(2).padStart(5)}\n`);
}
