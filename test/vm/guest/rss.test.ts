/**
 * RSS of a real driver and a NIC that hashes for itself: AF_XDP on virtio-net. Which queue a flow comes to is known
 * before its first packet, by our hash of the NIC's key; and its redirection table is changed under traffic, guarded.
 */
import { spawnSync } from 'node:child_process';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { Burst } from '../../../lib/burst/burst.js';
import { planPorts } from '../../../lib/index.js';
import { undoLeft } from '../../../lib/journal/left.js';
import { readChannels } from '../../../lib/kernel/ethtool.js';
import { readNicRss } from '../../../lib/kernel/rss.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { RxQueue } from '../../../lib/port/port.js';
import { RetaGuard } from '../../../lib/rss/reta.js';
import { DEFAULT_TYPES, Rss } from '../../../lib/rss/rss.js';
import { scratch } from '../../journal/note_helper.js';
import { codeThrown } from '../../kernel/rights.js';
import { flowOf } from '../../rss/order_generator.js';
import { randomNumbers } from '../../rss/order_helper.js';
import { multiQueue } from '../devices.js';
import { nic, readFrame, Sender } from './multi_queue.js';
import { until } from './wire.js';

const { queues } = multiQueue;
const FLOWS = 64;
/** Frames under way at most: less than any ring or queue between the two ends holds. */
const WINDOW = 96;
const LONG = process.env['POLLMODE_LONG'] === '1';

function openAll(name: string): Host {
  return open([`af_xdp:${name},queues=${queues},channels=${queues},zero_copy=never`]);
}

/** Receives what there is on one queue; tells of each frame of ours. */
function receive(host: Host, queue: RxQueue, burst: Burst, seen: (flow: number, number: number) => void): void {
  const got = queue.rxBurst(burst);
  for (let i = 0; i < got; i++) {
    const found = readFrame(host.mbufs.copyOut(burst.handles[i]!));
    if (found !== undefined) seen(found.flow, found.number);
  }
  host.pool.free(burst, 0, got);
}

t.test('the queue of each flow is known before its first packet', async t => {
  const { name } = nic();
  const before = readChannels(name);
  const host = openAll(name);
  t.equal(readChannels(name).combined, queues, 'the NIC has as many queues as were asked for');
  const nicRss = readNicRss(name);
  const { reta, key, types, canHash } = host.ports[0]!.rss!;
  t.same([reta, key], [nicRss.reta, nicRss.key], 'the port tells of the NIC\'s table and key');
  t.same([nicRss.hashFunction, new Set(reta).size, key.length, types, canHash], ['toeplitz', queues, 40, DEFAULT_TYPES, DEFAULT_TYPES]);
  const rss = Rss.create(host.arena, 'nic', { key, types });
  const plan = planPorts(host.ports, [0, 1]);
  t.comment(`${plan}`);
  const sender = new Sender();
  const came = new Map<number, number>();
  for (let flow = 0; flow < 200; flow++) sender.send(flow, 0);
  const burst = host.burst(32);
  await until(() => {
    host.ports[0]!.rx.forEach((rx, queue) => receive(host, rx, burst, flow => { came.set(flow, queue); }));
    return came.size === 200;
  });
  burst.close();
  t.equal(came.size, 200, 'all came');
  t.same([...came].filter(([flow, queue]) => reta[rss.hashFlow(flowOf(flow)) % reta.length] !== queue), [], 'each by the queue that was told');
  t.same([...came].filter(([flow, queue]) => plan.whereIs(host.ports[0]!.name, flowOf(flow)).queue !== queue), [], 'as the plan says too');
  t.equal(new Set(came.values()).size, queues, 'and every queue had some');
  sender.close();
  rss.close();
  host.close();
  t.equal(readChannels(name).combined, before.combined, 'the NIC has its channels again');
});

interface Outcome { readonly sent: number; readonly received: number; readonly wrong: number }

/** Rounds of sending, and milliseconds of rest between two such times: no queue is ever empty for long while packets keep coming, and a move waits for that. */
const BUSY_ROUNDS = 40;
const REST_MS = 500;
/** The emulated CPU of a queue may be away for so long: what came to that queue is not seen meanwhile. */
const HOLD_US = 150_000;
/** For the last packets under way. */
const PATIENCE_MS = 3000;

/** Numbered packets of many flows, some queues polled far less often than others, while `shake` is at work; `rest` milliseconds of rest now and then. */
async function traffic(host: Host, rx: readonly RxQueue[], rest: number, shake: () => Promise<void>): Promise<Outcome> {
  const [sender, random, numbers, next] = [new Sender(), randomNumbers(7), new Uint32Array(FLOWS), new Uint32Array(FLOWS)];
  let [sent, received, wrong, going] = [0, 0, 0, true];
  const check = (flow: number, number: number): void => {
    if (number !== next[flow]) wrong++;
    next[flow] = Math.max(next[flow]!, number + 1);
    received++;
  };
  const shaken = shake().finally(() => { going = false; });
  const burst = host.burst(32);
  let [last, busy, rests] = [performance.now(), 0, 0];
  for (let round = 0; going || (received < sent && performance.now() - last < PATIENCE_MS); round++) {
    const resting = performance.now() < rests;
    if (!resting && ++busy % BUSY_ROUNDS === 0) rests = performance.now() + rest;
    for (let i = 0; i < 16 && going && !resting && sent - received < WINDOW; i++) {
      const flow = random(FLOWS);
      if (sender.send(flow, numbers[flow]!)) { numbers[flow]!++; sent++; }
    }
    const before = received;
    // An odd queue has a slow poller, while there is much to do: what waits in it is older than what comes to its neighbour after a move.
    rx.forEach((queue, number) => { if (number % 2 === 0 || resting || round % 8 === 0) receive(host, queue, burst, check); });
    if (received > before) last = performance.now();
    await turn();
  }
  await shaken;
  burst.close();
  sender.close();
  return { sent, received, wrong };
}

t.test('its redirection table is changed under traffic, and no flow is reordered', async t => {
  const { name } = nic();
  const before = [readNicRss(name), readChannels(name)];
  const host = openAll(name);
  const { rx, rss } = host.ports[0]!;
  const random = randomNumbers(3);
  const next = (): number[] => rss!.reta.map(queue => (random(2) === 0 ? random(queues) : queue));
  const moves = LONG ? 100 : 8;

  const bare = await traffic(host, rx, 0, async () => {
    for (let i = 0; i < moves; i++) {
      rss!.set({ reta: next() });
      for (let k = 0; k < 40; k++) await turn();
    }
  });
  t.ok(bare.wrong > 0, `without a guard, ${bare.wrong} of ${bare.received} packets come out of their turn`);

  const guard = RetaGuard.create(host.arena, 'guard', { reta: rss!.reta, queues, holdUs: HOLD_US, rss: { key: rss!.key, types: rss!.types } });
  const guarded = rx.map((queue, number) => guard.queue(number, queue, host.pool));
  let [entries, forced] = [0, 0];
  const kept = await traffic(host, guarded, REST_MS, async () => {
    for (let i = 0; i < moves; i++) {
      const move = await guard.move(next(), reta => rss!.set({ reta }), { patienceMs: 20_000 });
      entries += move.entries;
      forced += Number(move.forced);
    }
  });
  const { held, reordered, holdFull } = guard.counts();
  t.same({ wrong: kept.wrong, reordered, holdFull, forced, lost: kept.sent - kept.received }, { wrong: 0, reordered: 0, holdFull: 0, forced: 0, lost: 0 }, 'with it, none does');
  t.ok(held > 0, `${held} of ${kept.received} packets were held for a while, in ${moves} moves of ${entries} entries`);
  t.same(guard.reta, readNicRss(name).reta, 'the guard knows the table that the NIC has');
  for (const wrong of [{ reta: [0, 1] }, { reta: rss!.reta.map(() => queues) }, { key: new Uint8Array(39) }]) t.throws(() => rss!.set(wrong), { name: 'PollmodeError' });
  t.equal(codeThrown(() => rss!.set({ types: 0 })), 'EUNSUPPORTED');
  guard.close();
  host.close();
  t.same([readNicRss(name), readChannels(name)], before, 'table, key and channels are put back');
});

t.test('a port of some of the queues may keep the others\' flows away, or not', async t => {
  const { name } = nic();
  const before = [readNicRss(name), readChannels(name)];
  const host = open([`af_xdp:${name},queues=1,channels=${queues}`, `af_xdp:${name},queue=1,queues=1`]);
  const [first, second] = host.ports;
  t.equal(second!.rss, undefined, 'one that does not begin with queue 0 counts otherwise than the table');
  first!.rss!.set({ reta: first!.rss!.reta.map(() => 0) });
  t.same(new Set(readNicRss(name).reta), new Set([0]));
  host.close();
  t.same([readNicRss(name), readChannels(name)], before);
});

t.test('kill -9: the next start puts the table and the key back', t => {
  const { name } = nic();
  const was = readNicRss(name);
  const of = scratch();
  const code = `const { changeNicRss } = await import(${JSON.stringify(new URL('../../../lib/journal/changes.js', import.meta.url).href)});
    changeNicRss('${name}', { reta: ${JSON.stringify(was.reta.map(() => 0))}, key: new Uint8Array(${was.key.length}).fill(0x5a) }); process.kill(process.pid, 'SIGKILL');`;
  spawnSync(process.execPath, ['--input-type=module', '-e', code], { env: { ...process.env, POLLMODE_RUN_DIR: of.run } });
  t.same([readNicRss(name).reta.every(queue => queue === 0), readNicRss(name).key[0]], [true, 0x5a], 'the NIC keeps what a dead process set');
  t.match(undoLeft({ directories: [of.run] }), [{ result: 'undone', what: new RegExp(`RSS of ${name} back`) }]);
  t.same(readNicRss(name), was);
  of.remove();
  t.end();
});
