/** Busy polling, and interrupts that are put off meanwhile: set for real, working, and put back by close, by the next start and by doctor --clean. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { binding } from '../../../../lib/binding.js';
import { getU32 } from '../../../../lib/kernel/bytes.js';
import { SOL_SOCKET, SO_BUSY_POLL, SO_PREFER_BUSY_POLL } from '../../../../lib/kernel/constants.js';
import { setFeature } from '../../../../lib/kernel/ethtool.js';
import { deleteLink, readLink, setLink, waitForCarrier } from '../../../../lib/kernel/link.js';
import { listNapis, type Deferral } from '../../../../lib/kernel/napi.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { listQueues } from '../../../../lib/kernel/queues.js';
import { createVeth } from '../../../../lib/kernel/veth.js';
import type { Lab, LabEnd } from '../../../../lib/lab/veth.js';
import type { Host } from '../../../../lib/port/host.js';
import t from 'tap';
import { codeThrown, needs } from '../../../kernel/rights.js';
import { scratch } from '../../../journal/note_helper.js';
import { inChild, startChild } from '../../../native/child.js';
import { RawSocket, receiveSome, sendAll, statsOf } from '../kernel_helper.js';
import { closeBalanced, inLab, openAt, pause, randomFrames, sameFrames, until } from './helper.js';

const CLI = fileURLToPath(new URL('../../../../lib/cli/main.js', import.meta.url));
/** Far more than a test takes: a frame that waits for this timer has not come. */
const LONG_TIMER_NS = 10_000_000_000;

function option(host: Host, name: number): number {
  const value = new Uint8Array(4);
  binding().getsockopt(host.ports[0]!.rx[0]!.wake!.fd, SOL_SOCKET, name, value);
  return getU32(value, 0);
}

const napis = (end: LabEnd): Deferral[] => withNetns(end.netns, () => listNapis(readLink(end.name).ifindex)).map(({ deferHardIrqs, groFlushNs }) => ({ deferHardIrqs, groFlushNs }));
/** A veth's NAPIs go with its program, unless GRO keeps them, as a NIC's stay. */
const keepNapis = (end: LabEnd): void => withNetns(end.netns, () => setFeature(end.name, 'rx-gro', true));

const BEFORE: Deferral = { deferHardIrqs: 0, groFlushNs: 0 };
const SET: Deferral = { deferHardIrqs: 7, groFlushNs: 150_000 };

for (const mode of ['native', 'generic']) {
  inLab(`the socket's options, and every frame whole and in order, ${mode}`, {}, async (t, lab) => {
    const plain = openAt(lab.a, `mode=${mode}`);
    t.same([SO_PREFER_BUSY_POLL, SO_BUSY_POLL].map(name => option(plain, name)), [0, 0]);
    closeBalanced(t, plain);
    const host = openAt(lab.a, `mode=${mode},busy_poll=25,busy_budget=48`);
    t.same([SO_PREFER_BUSY_POLL, SO_BUSY_POLL].map(name => option(host, name)), [1, 25]); // the kernel does not tell the budget: see test/vm/guest/busy_poll.test.ts
    t.match(host.ports[0]!.capabilities.mode, /, busy-poll$/);
    const raw = new RawSocket(lab.b);
    const [out, back] = [randomFrames(lab.a, lab.b, 200), randomFrames(lab.b, lab.a, 200)];
    for (const each of back) raw.send(each);
    sameFrames(t, receiveSome(host, host.ports[0]!, 200).map(({ bytes }) => bytes), back, 'received');
    sendAll(host, host.ports[0]!, out);
    const found: Uint8Array[] = [];
    await until(() => found.push(...raw.receive()) >= out.length);
    sameFrames(t, found, out, 'sent');
    raw.close();
    closeBalanced(t, host);
  });
}

inLab('interrupts that are put off are late, for who does not busy-poll', {}, async (t, lab) => {
  const raw = new RawSocket(lab.b);
  const host = openAt(lab.a, `napi_defer=1000,gro_flush=${LONG_TIMER_NS}`);
  let got = 0;
  for (let i = 0; i < 20 && got === i; i++) {
    raw.send(randomFrames(lab.b, lab.a, 1)[0]!);
    const burst = host.burst(32);
    for (let tries = 0; tries < 200 && got === i; tries++) {
      const n = host.ports[0]!.rx[0]!.rxBurst(burst);
      host.pool.free(burst, 0, n);
      got += n;
      if (n === 0) pause(1);
    }
    burst.close();
  }
  t.ok(got < 20, `${got} frames came, and the next waits for a timer of ten seconds`);
  t.match(statsOf(host.ports[0]!).xstats, { rx_wakeups: 0 }, 'no system call is made');
  raw.close();
  closeBalanced(t, host);
});

inLab('a busy poll makes its system calls, and says whether the kernel knows what to run', {}, (t, lab) => {
  const host = openAt(lab.a, 'busy_poll=20');
  const burst = host.burst(32);
  for (let i = 0; i < 10; i++) host.ports[0]!.rx[0]!.rxBurst(burst);
  burst.close();
  const { xstats } = statsOf(host.ports[0]!);
  t.equal(xstats['rx_wakeups'], 10);
  t.same(Object.keys(xstats).filter(name => name.startsWith('rx_wakeup_')), [], 'of which the kernel refuses none');
  const told = withNetns(lab.a.netns, () => listQueues(lab.a.ifindex)).some(({ queue, direction, napi }) => queue === 0 && direction === 'rx' && napi !== 0);
  t.equal(xstats['busy_poll_napis'], Number(told), 'as many as the driver told the kernel of');
  closeBalanced(t, host);
});

inLab('each NAPI is told, and has its own values again at close', { queues: 2 }, async (t, lab) => {
  keepNapis(lab.a);
  t.same(napis(lab.a), [BEFORE, BEFORE]);
  const host = openAt(lab.a, 'queues=2,napi_defer=7,gro_flush=150000');
  t.same(napis(lab.a), [SET, SET]);
  closeBalanced(t, host);
  t.same(napis(lab.a), [BEFORE, BEFORE]);
  const half = openAt(lab.a, 'napi_defer=7');
  t.same(napis(lab.a)[0], { ...BEFORE, deferHardIrqs: 7 }, 'what was not asked for stays');
  closeBalanced(t, half);
  t.same(napis(lab.a), [BEFORE, BEFORE]);
});

inLab('what cannot be put off is refused by name, and nothing is left', {}, (t, lab) => {
  t.throws(() => openAt(lab.a, 'mode=generic,napi_defer=1'), { code: 'EUNSUPPORTED', message: /no NAPI.*mode=generic/ });
  t.equal(codeThrown(() => openAt(lab.a, 'busy_budget=8')), 'EOPTION');
  for (const source of ['broker=/no/such', 'device_plugin=/no/such']) t.equal(codeThrown(() => openAt(lab.a, `${source},napi_defer=1`)), 'EOPTION');
  for (const bad of ['busy_poll=0', 'busy_budget=65536,busy_poll=1', 'napi_defer=-1', 'gro_flush=99999999999']) t.equal(codeThrown(() => openAt(lab.a, bad)), 'EDEVICE', bad);
});

function remake(lab: Lab): void {
  withNetns(lab.a.netns, () => deleteLink(readLink(lab.a.name).ifindex));
  withNetns(lab.a.netns, () => createVeth({ a: { name: lab.a.name, mac: lab.a.mac }, b: { name: lab.b.name, mac: lab.b.mac, netns: lab.b.netns } }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => setLink(readLink(end.name).ifindex, { up: true }));
  for (const end of [lab.a, lab.b]) withNetns(end.netns, () => waitForCarrier(readLink(end.name).ifindex));
}

inLab('an interface that is made again has its interrupts put off again', {}, async (t, lab) => {
  const host = openAt(lab.a, 'busy_poll=20,napi_defer=7,gro_flush=150000');
  remake(lab);
  t.ok(await until(() => statsOf(host.ports[0]!).xstats['rebinds'] === 1));
  t.same(napis(lab.a), [SET]);
  t.same([SO_PREFER_BUSY_POLL, SO_BUSY_POLL].map(name => option(host, name)), [1, 20], 'by a socket that busy-polls');
  keepNapis(lab.a);
  closeBalanced(t, host);
  t.same(napis(lab.a), [BEFORE]);
});

/** A process that opens the port and says so; its journal is in `run`. */
async function killed(lab: Lab, run: string): Promise<void> {
  const child = startChild(`
    process.env.POLLMODE_RUN_DIR = ${JSON.stringify(run)};
    const { open } = await import(LIB + 'port/host.js');
    const host = open(['af_xdp:${lab.a.name},busy_poll=20,napi_defer=7,gro_flush=150000,netns=/proc/${process.pid}/fd/${lab.a.netns}']);
    console.log('ready'); setInterval(() => host.stats(host.ports[0]), 10);`);
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

inLab('kill -9: the next start puts it back, and so does doctor --clean', {}, async (t, lab) => {
  keepNapis(lab.a);
  const of = scratch();
  await killed(lab, of.run);
  t.same(napis(lab.a), [SET], 'the kernel keeps what a dead process set');
  const next = inChild('const { open } = await import(LIB + "port/host.js"); open(["null:"]).close(); console.log("opened");', [], { POLLMODE_RUN_DIR: of.run });
  t.match(next, { stdout: 'opened\n', stderr: '' });
  t.same(napis(lab.a), [BEFORE]);
  await killed(lab, of.run);
  t.same(napis(lab.a), [SET]);
  const cleaned = spawnSync(process.execPath, [CLI, 'doctor', '--clean'], { encoding: 'utf8', env: { ...process.env, POLLMODE_RUN_DIR: of.run } });
  t.match(cleaned.stdout, /NAPI \d+ of link \d+ back to napi_defer_hard_irqs 0, gro_flush_timeout 0/);
  t.same(napis(lab.a), [BEFORE]);
  t.notOk(existsSync(of.run));
  of.remove();
});

inLab('kill -9 of one whose NAPIs go with its program leaves an entry that is let go', {}, async (t, lab) => {
  const of = scratch();
  await killed(lab, of.run);
  const next = inChild('const { undoLeft } = await import(LIB + "journal/left.js"); console.log(undoLeft().map(each => each.result).join());', [], { POLLMODE_RUN_DIR: of.run });
  t.match(next, { stdout: 'gone\n', stderr: '' });
  t.notOk(existsSync(of.run));
  of.remove();
});

t.test('through sysfs, where it shows the interface: for all NAPIs, those that come later too', needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'), async t => {
  // A sysfs of its own, for a namespace of its own.
  const of = scratch();
  const values = '["napi_defer_hard_irqs", "gro_flush_timeout"].map(file => readFileSync("/sys/class/net/left/" + file, "utf8").trim()).join()';
  const ended = inChild(`
    const { spawnSync } = await import('node:child_process');
    const { readFileSync } = await import('node:fs');
    const done = spawnSync('mount', ['-t', 'sysfs', 'none', '/sys'], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(done.stderr);
    const { readLink, setLink } = await import(LIB + 'kernel/link.js');
    const { createVeth } = await import(LIB + 'kernel/veth.js');
    createVeth({ a: { name: 'left' }, b: { name: 'right' } });
    for (const name of ['left', 'right']) setLink(readLink(name).ifindex, { up: true });
    const { open } = await import(LIB + 'port/host.js');
    const { listNapis } = await import(LIB + 'kernel/napi.js');
    const device = 'af_xdp:left,busy_poll=20,napi_defer=7,gro_flush=150000';
    const host = open([device]);
    console.log(${values}, listNapis(readLink('left').ifindex).map(each => each.deferHardIrqs + ':' + each.groFlushNs).join());
    host.close();
    console.log(${values});
    const killed = spawnSync(process.execPath, ['--input-type=module', '-e', 'const { open } = await import(' + JSON.stringify(LIB + 'port/host.js') + '); open(["' + device + '"]); process.kill(process.pid, "SIGKILL");']);
    console.log(killed.signal, ${values});
    const { undoLeft } = await import(LIB + 'journal/left.js');
    console.log(undoLeft().map(each => each.result).join(), ${values});`, ['unshare', '-m', '-n'], { POLLMODE_RUN_DIR: of.run });
  t.equal(ended.stdout, '7,150000 7:150000\n0,0\nSIGKILL 7,150000\nundone,undone 0,0\n', ended.stderr);
  t.notOk(existsSync(of.run));
  of.remove();
});
