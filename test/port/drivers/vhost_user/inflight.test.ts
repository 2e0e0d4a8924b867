/**
 * A back-end that is killed at any moment, under traffic, and started again, while the driver goes on. A frame that the
 * dead one had not given back is the next one's; one that it had is not seen again; what it sends is never seen half.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { open, type Host } from '../../../../lib/port/host.js';
import { copyWhole } from '../../conformance/frames.js';
import { Keeper } from './keeper.js';
import { numbered, numberOf } from './numbered.js';
import { progress } from './progress.js';

const DEATHS = process.env['POLLMODE_LONG'] === '1' ? 200 : 4;
const SIZE = 128;
/** What a back-end takes at once: so many may die with it, taken and not yet written down. */
const BURST = 32;
/** Numbers of the frames that the nth back-end sends begin at so many times n. */
const EACH = 2 ** 22;

/** The driver's side: sends numbered frames, and notes the numbers of those that come. */
class Driver {
  readonly received: number[] = [];
  sent = 0;
  sending = true;
  readonly #host: Host;
  readonly #keeper: Keeper;

  constructor(host: Host, keeper: Keeper) {
    this.#host = host;
    this.#keeper = keeper;
  }

  /** Until `done`, or for so many milliseconds. */
  async run(milliseconds: number, done: () => boolean = () => false): Promise<boolean> {
    const burst = this.#host.burst(BURST);
    for (const end = performance.now() + milliseconds; performance.now() < end && !done();) {
      for (let i = 0; i < 8; i++) this.#turn(burst);
      this.#keeper.turn();
      await sleep(0);
    }
    burst.close();
    return done();
  }

  #turn(burst: ReturnType<Host['burst']>): void {
    const { pool, mbufs, ports } = this.#host;
    const count = this.sending ? pool.alloc(burst, 16) : 0;
    for (let i = 0; i < count; i++) mbufs.copyIn(burst.handles[i]!, numbered(this.sent + i));
    const taken = ports[0]!.tx[0]!.txBurst(burst, count);
    this.sent += taken;
    pool.free(burst, taken, count);
    const got = ports[0]!.rx[0]!.rxBurst(burst);
    for (const handle of burst.handles.subarray(0, got)) this.received.push(numberOf(copyWhole(mbufs, handle)));
    pool.free(burst, 0, got);
  }
}

for (const packed of [0, 1]) {
  t.test(`${packed === 1 ? 'packed' : 'split'} rings: ${DEATHS} deaths under traffic`, { timeout: 900_000 }, async t => {
    const folder = mkdtempSync(join(tmpdir(), 'pollmode-inflight-'));
    const [front, back] = [join(folder, 'front'), join(folder, 'back')];
    const logOf = (n: number): string => join(folder, `log${n}`);
    const start = (n: number): ChildProcess => spawn(process.execPath, [fileURLToPath(new URL('./mortal.js', import.meta.url)), back, logOf(n), String(n * EACH)], { stdio: 'inherit' });
    const keeper = new Keeper(front, back, SIZE);
    let child = start(0);
    const report = progress(`deaths, ${packed === 1 ? 'packed' : 'split'}`, DEATHS);
    const end = async (): Promise<void> => {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    };
    try {
      for (let tries = 0; tries < 6000; tries++) {
        keeper.turn();
        if (keeper.connected) break;
        await sleep(10);
      }
      const host = open([`virtio_user:${front},queue_size=${SIZE},packed=${packed}`], { mbufs: 1024, arenaOptions: { size: 64 << 20 } });
      const driver = new Driver(host, keeper);
      for (let n = 0; n <= DEATHS; n++) {
        // Under way, both ways, before the next death; and the moment is any.
        const begun = (): boolean => driver.received.some(number => number >= n * EACH) && readLog(logOf(n)).length > 0;
        if (!await driver.run(60_000, begun)) { t.fail(`back-end ${n} does not go on`); break; }
        await driver.run(10 + Math.random() * 30);
        if (n === DEATHS) break;
        await end();
        child = start(n + 1);
        report(n + 1);
      }
      driver.sending = false;
      const last = (): number => readLog(logOf(DEATHS)).at(-1) ?? -1;
      t.ok(await driver.run(60_000, () => last() === driver.sent - 1), `all ${driver.sent} frames were taken`);
      check(t, Array.from({ length: DEATHS + 1 }, (_, n) => readLog(logOf(n))), driver);
      host.close();
      t.equal(host.pool.audit().free, host.pool.size, 'the driver has every buffer');
    } finally {
      await end();
      keeper.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

function check(t: Test, logs: readonly number[][], { received }: Driver): void {
  let [expected, lost, again, jumps] = [0, 0, 0, 0];
  for (const log of logs) {
    // Between two back-ends, what died in the hands of the first.
    const gap = log[0]! - expected;
    if (gap < 0) again++;
    if (gap > BURST) jumps++;
    lost += Math.max(0, gap);
    log.forEach((number, i) => { if (number !== log[0]! + i) jumps++; });
    expected = log.at(-1)! + 1;
  }
  t.same({ again, jumps }, { again: 0, jumps: 0 }, `taken by the back-ends in order, none twice; ${lost} died with ${logs.length - 1} of them, taken and not written down`);
  let wrong = 0;
  received.forEach((number, i) => {
    const wanted = i > 0 && Math.floor(number / EACH) === Math.floor(received[i - 1]! / EACH) ? received[i - 1]! + 1 : Math.floor(number / EACH) * EACH;
    if (number !== wanted) wrong++;
  });
  t.equal(wrong, 0, `${received.length} frames of the back-ends came whole, in order, none twice`);
}

function readLog(path: string): number[] {
  try {
    const bytes = readFileSync(path);
    return [...new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~3)))];
  } catch {
    return [];
  }
}
