/** Whatever system call of an open the kernel refuses, there is a PollmodeError, and nothing is left: no descriptor, no memory, no mbuf. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { binding, type Binding } from '../../lib/binding.js';
import { Broker } from '../../lib/broker/broker.js';
import { PollmodeError } from '../../lib/errors.js';
import { compileRules } from '../../lib/flow/compile.js';
import { XdpOffload } from '../../lib/flow/xdp.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { open } from '../../lib/port/host.js';
import { ControlServer } from '../../lib/switch/control_server.js';
import { needs } from '../kernel/rights.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF');
/** What makes or changes something. A refused setns would have this thread lost in another namespace. */
const CALLS = ['overlay', 'advise', 'memfd', 'guard', 'open', 'ioctl', 'eventfd', 'socket', 'bind', 'connect', 'setsockopt', 'getsockopt', 'send', 'recv', 'listen', 'bpf', 'watch', 'rlimit'] as const;
const ENOMEM = 12;

let [calls, refusedAt, refused] = [0, Infinity, ''];
const addon = binding() as unknown as Record<string, (...words: unknown[]) => unknown>;
for (const name of CALLS satisfies readonly (keyof Binding)[]) {
  const real = addon[name]!;
  addon[name] = (...words) => {
    if (++calls !== refusedAt) return real(...words);
    refused = name;
    return -ENOMEM;
  };
}

/** This process's descriptors, and what they are. */
function descriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`];
    } catch {
      return []; // the one that the list was read by
    }
  });
}

/** Makes it once, and then with each call refused in turn. Returns the calls without which it was made all the same. */
function refuseEach(t: Test, make: () => { close(): void }, look: () => unknown = () => 0): string[] {
  const without: string[] = [];
  const once = (): string[] => {
    const before = [descriptors(), look()] as const;
    [calls, refused] = [0, ''];
    try {
      const made = make();
      refusedAt = Infinity;
      made.close();
      if (refused !== '') without.push(refused);
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) t.fail(`${refused}: ${String(cause)}`);
    }
    refusedAt = Infinity;
    t.same(look(), before[1]);
    return descriptors().filter(each => !before[0].includes(each));
  };
  once(); // what a process has once
  t.same(once(), []);
  const most = calls;
  for (let call = 1; call <= most; call++) {
    refusedAt = call;
    const left = once();
    if (left.length > 0) t.fail(`call ${call}, ${refused}: left ${left.join(', ')}`);
  }
  t.ok(most > 2, `${most} calls`);
  return without;
}

t.test('ports', rights, async t => {
  const lab = openLab();
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-refusals-'));
  t.teardown(() => { lab.close(); rmSync(folder, { recursive: true }); });
  const host = withNetns(lab.a.netns, () => open([], { mbufs: 8192 }));
  t.teardown(() => host.close());
  const look = (): unknown => [host.arena.zones().length, host.pool.audit().free];
  for (const device of ['tap:refused,queues=2', `af_packet:${lab.a.name}`, `af_xdp:${lab.a.name}`, `af_xdp:${lab.a.name},mode=generic`, `vhost:${folder}/vhost.sock`]) {
    t.test(device.split(':')[0]!, async t => void refuseEach(t, () => withNetns(lab.a.netns, () => host.add(device)), look));
  }
});

t.test('what else has descriptors', rights, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-refusals-'));
  const lab = openLab();
  t.teardown(() => { lab.close(); rmSync(folder, { recursive: true }); });
  const files = (): string[] => readdirSync(folder);
  t.test('a lab', async t => void refuseEach(t, () => openLab()));
  t.test('a control socket', async t => void refuseEach(t, () => new ControlServer({ path: join(folder, 'control'), answer: () => null }), files));
  t.test('a broker', async t => void refuseEach(t, () => withNetns(lab.a.netns, () => new Broker({ path: join(folder, 'broker'), device: lab.a.name, mode: 'auto', give: 'both', allowUids: [], report: () => undefined })), files));
  const rules = compileRules([{ name: 'telnet', match: { protocol: 'tcp', destinationPort: 23 }, actions: [{ do: 'count' }, { do: 'drop' }] }], [], { queues: 1, ports: [] });
  t.test('an XDP offload', async t => void refuseEach(t, () => {
    const offload = XdpOffload.create();
    try {
      offload.install(rules);
    } catch (cause) {
      offload.close();
      throw cause;
    }
    return offload;
  }));
});

t.test('ports with a pool of their own, and queues that are told by eventfds', rights, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-refusals-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const device of [`vhost:${folder}/vhost.sock,queues=2`, `memif:${folder}/memif.sock,role=server,queues=2`]) {
    t.test(device.split(':')[0]!, async t => {
      const without = refuseEach(t, () => open([device], { mbufs: 2048 }));
      t.equal(without.filter(call => call === 'eventfd').length, 1, 'the one of the link, without which the port works');
    });
  }
});
