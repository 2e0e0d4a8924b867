import { setTimeout as wait } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { launch, type Lcore, type LaunchOptions, type QueueName } from '../../lib/lcore/lcore.js';
import { attachRx, attachTx, releaseQueue, takeQueue } from '../../lib/port/attach.js';
import { open, type Host } from '../../lib/port/host.js';
import { codeThrown } from '../kernel/rights.js';
import type { ForwardArgs } from './forward_worker.js';

const module = new URL('./forward_worker.js', import.meta.url);
const LONG = process.env['POLLMODE_LONG'] === '1';

/** Two ports, their rx of the first and tx of the second for the lcore. */
function forwarder(host: Host, args: Partial<ForwardArgs> = {}, more: Partial<LaunchOptions> = {}): Promise<Lcore> {
  const [a, b] = host.ports;
  const queues: QueueName[] = [{ port: a!.number, direction: 'rx', queue: 0 }, { port: b!.number, direction: 'tx', queue: 0 }];
  const all: ForwardArgs = { from: a!.number, to: b!.number, then: 'forward', ...args };
  return launch(host, { module, args: all, queues, ...more });
}

function balanced(t: Test, host: Host, text: string): void {
  const { total, free, app, stray, twice } = host.pool.audit();
  t.same({ free, app, stray, twice }, { free: total, app: 0, stray: 0, twice: 0 }, text);
}

t.test('an lcore runs a module on queues that it is given, and returns', async t => {
  const host = open(['null:', 'null:']);
  const addon = tryBinding();
  const lcore = await forwarder(host, {}, { name: 'mover', cpu: addon instanceof PollmodeError ? -1 : addon.affinity()[0]! });
  t.equal(lcore.name, 'mover');
  t.not(lcore.id, host.arena.lcore, 'has an id of its own');
  while (host.stats(host.ports[1]!).txPackets < 1000) await wait(5);
  const [rx, tx] = [host.ports[0]!.rx[0]!, host.ports[1]!.tx[0]!];
  const burst = host.burst();
  t.equal(rx.rxBurst(burst), 0, 'this thread no longer holds the queue');
  t.equal(tx.txBurst(burst, 1), 0);
  t.equal(codeThrown(() => attachRx(host.arena, host.ports[0]!.number, 0)), 'ETHREAD');
  const packets = await lcore.stop() as number;
  t.ok(packets >= 1000, `${packets} packets`);
  t.equal(host.stats(host.ports[1]!).txPackets, packets, 'what it says is what the port counted');
  t.equal(host.stats(host.ports[0]!).xstats['rx_wrong_thread'], 1);
  t.equal(host.stats(host.ports[1]!).xstats['tx_wrong_thread'], 1);
  takeQueue(host.arena, host.ports[0]!.number, 'rx', 0);
  t.equal(rx.rxBurst(burst), 32, 'taken back, the first object works again');
  host.pool.free(burst, 0, 32);
  balanced(t, host, 'every buffer is back');
  host.close();
});

t.test('a queue has one holder', async t => {
  const host = open(['ring:a']);
  const port = host.ports[0]!.number;
  t.equal(codeThrown(() => attachTx(host.arena, port + 1, 0)), 'ENOTFOUND');
  t.equal(codeThrown(() => attachTx(host.arena, port, 7)), 'ENOTFOUND');
  releaseQueue(host.arena, port, 'tx', 0);
  t.equal(codeThrown(() => releaseQueue(host.arena, port, 'tx', 0)), 'ETHREAD', 'it is let go once');
  const tx = attachTx(host.arena, port, 0);
  const burst = host.burst();
  host.pool.alloc(burst, 4);
  t.equal(tx.txBurst(burst, 4), 4, 'an attached queue sends');
  t.equal(host.ports[0]!.rx[0]!.rxBurst(burst), 4);
  host.pool.free(burst, 0, 4);
  balanced(t, host, 'every buffer is back');
  host.close();
});

for (const then of ['throw', 'throw later', 'exit', 'no clone'] as const) {
  t.test(`an lcore that ends by "${then}" reaches the caller, and what it held comes back`, async t => {
    const host = open(['null:', 'null:']);
    const lcore = await forwarder(host, { then, keep: 100, after: 500 });
    const error = await lcore.join().then(() => undefined, (cause: unknown) => cause as PollmodeError);
    t.ok(error instanceof PollmodeError);
    t.equal(error!.code, 'ELCORE');
    if (then.startsWith('throw')) {
      t.match((error!.cause as Error).stack, /RangeError: thrown by .*\n.*forward_worker/, 'with its own stack');
      t.equal((error!.cause as Error).name, 'RangeError');
    }
    if (then === 'exit') t.match(error!.message, 'exit code 3');
    const { recovery } = await lcore.ended;
    t.ok(recovery.held >= 100, `${recovery.held} mbufs were held`);
    t.ok(recovery.complete, 'nobody else had to rest');
    balanced(t, host, 'every buffer is back');
    const before = host.stats(host.ports[1]!).txPackets;
    const again = await forwarder(host, {}, { queues: [] });
    while (host.stats(host.ports[1]!).txPackets < before + 1000) await wait(2);
    t.ok((await again.stop() as number) > 0, 'another lcore has taken the queues over');
    balanced(t, host, 'and that one left nothing either');
    host.close();
  });
}

t.test('what cannot start leaves nothing behind', async t => {
  const host = open(['null:', 'null:']);
  const refused = async (more: Partial<LaunchOptions>): Promise<string> => forwarder(host, {}, more).then(() => 'started', (cause: unknown) => (cause as PollmodeError).code);
  if (!(tryBinding() instanceof PollmodeError)) t.equal(await refused({ cpu: 4000 }), 'EOPTION');
  t.equal(await refused({ module: new URL('./no_such_module.js', import.meta.url) }), 'ELCORE');
  t.equal(await refused({ module: new URL('./lcore.test.js', import.meta.url).href.replace('lcore.test.js', '../kernel/rights.js') }), 'EOPTION', 'a module with no default export');
  t.equal(await refused({ queues: [{ port: 99, direction: 'rx', queue: 0 }] }), 'ENOTFOUND');
  t.equal(host.ports[0]!.rx[0]!.rxBurst(host.burst()), 32, 'the queues are this thread\'s again');
  host.close();
});

t.test('terminated in the middle of bursts, over and over, beside an lcore that goes on', async t => {
  const host = open(['null:', 'null:', 'ring:a,size=256', 'null:'], { mbufs: 8192 });
  const [source, , ring, sink] = host.ports;
  const survivor = await launch(host, { module, args: { from: ring!.number, to: sink!.number, then: 'forward' } satisfies ForwardArgs, queues: [{ port: ring!.number, direction: 'rx', queue: 0 }, { port: sink!.number, direction: 'tx', queue: 0 }] });
  releaseQueue(host.arena, source!.number, 'rx', 0);
  releaseQueue(host.arena, ring!.number, 'tx', 0);
  const kills = LONG ? 200 : 20;
  let complete = 0;
  for (let kill = 0; kill < kills; kill++) {
    const before = host.stats(source!).rxPackets;
    const victim = await launch(host, { module, args: { from: source!.number, to: ring!.number, then: 'forward', keep: kill % 7 } satisfies ForwardArgs });
    while (host.stats(source!).rxPackets < before + 2000) await wait(1);
    await wait(Math.random() * 3);
    const recovery = await victim.terminate();
    if (recovery.complete) complete++;
    else if (recovery.waitsFor !== survivor.id) t.fail(`kill ${kill} waited for ${recovery.waitsFor}`);
    if (recovery.queues.length !== 2) t.fail(`kill ${kill}: ${recovery.queues.join(', ')} came back`);
  }
  t.comment(`the survivor rested at once ${complete} times of ${kills}; that it does rest, recovery.test.ts tells`);
  const moved = host.stats(sink!).txPackets;
  t.ok(moved > 0);
  await survivor.stop();
  takeQueue(host.arena, ring!.number, 'rx', 0);
  const burst = host.burst(512);
  for (let got = host.ports[2]!.rx[0]!.rxBurst(burst); got > 0; got = host.ports[2]!.rx[0]!.rxBurst(burst)) host.pool.free(burst, 0, got);
  balanced(t, host, `every buffer is back after ${kills} deaths`);
  host.close();
});

for (const then of ['spin', 'spin in WebAssembly'] as const) {
  t.test(`one that hangs (${then}) is ended`, async t => {
    const host = open(['null:', 'null:']);
    const lcore = await forwarder(host, { then, keep: 40, after: 100 });
    while (host.stats(host.ports[1]!).txPackets < 100) await wait(2);
    await wait(20); // it is in there by now
    const recovery = await lcore.terminate();
    t.ok(recovery.held >= 40);
    balanced(t, host, 'every buffer is back');
    host.close();
  });
}
