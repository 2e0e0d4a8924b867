/** What cannot be opened, and the reason that is given for it: each is typed, names the mend, and leaves nothing behind. */
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { Arena } from '../../../../lib/arena/arena.js';
import type { Memzone } from '../../../../lib/arena/directory.js';
import { PollmodeError } from '../../../../lib/errors.js';
import { createNetns, withNetns } from '../../../../lib/kernel/netns.js';
import { readLink, setLink } from '../../../../lib/kernel/link.js';
import { Mempool } from '../../../../lib/mbuf/mempool.js';
import { openLab, type LabEnd } from '../../../../lib/lab/veth.js';
import { open, type OpenOptions } from '../../../../lib/port/host.js';
import { binding } from '../../../../lib/binding.js';
import { inChild, startChild } from '../../../native/child.js';
import { attached, closeBalanced, inLab, openAt, rights } from './helper.js';

interface Refusal { readonly code: string; readonly message: string; readonly errno?: number; readonly syscall?: string }

function refusal(work: () => { close(): void }): Refusal {
  try {
    work().close();
    return { code: 'none', message: 'it was opened' };
  } catch (error) {
    if (!(error instanceof PollmodeError)) throw error;
    const { code, message, errno, syscall } = error;
    return { code, message, ...(errno === undefined ? {} : { errno }), ...(syscall === undefined ? {} : { syscall }) };
  }
}

const at = (end: LabEnd, rest = '', options: OpenOptions = {}): Refusal => refusal(() => openAt(end, rest, options));

inLab('interfaces and queues that are not there', { queues: 2 }, (t, lab) => {
  const here = (device: string): Refusal => refusal(() => withNetns(lab.a.netns, () => open([device])));
  t.match(here('af_xdp:nonesuch'), { code: 'ENOTFOUND', message: /nonesuch/ });
  t.match(here('af_xdp:lo'), { code: 'EDOWN', message: /down: ip link set lo up/ });
  t.match(at(lab.a, 'queue=2'), { code: 'EOPTION', message: /has 2 receive queues, numbered from 0/ });
  t.match(at(lab.a, 'queue=255'), { code: 'EOPTION' });
  t.match(at(lab.a, 'queue=256'), { code: 'EDEVICE' });
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: false }));
  t.match(at(lab.a), { code: 'EDOWN', message: /the interface is down: ip link set veth0 up/ });
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: true }));
  t.match(at(lab.a), { code: 'none' });
});

inLab('modes that a driver has not', {}, (t, lab) => {
  t.match(at(lab.a, 'zero_copy=must'), { code: 'EUNSUPPORTED', errno: 95, syscall: 'bind', message: /the driver \(veth\) has no zero-copy AF_XDP/ });
  t.match(at(lab.a, 'zero_copy=must,mode=generic'), { code: 'EOPTION', message: /leave zero_copy=must or mode=generic out/ });
  t.match(at(lab.a, 'tx_ring=64,tx_budget=128'), { code: 'EOPTION', message: /tx_ring=/ });
  t.match(at(lab.a, 'rx_ring=100'), { code: 'EOPTION', message: /power of two/ });
  withNetns(lab.a.netns, () => setLink(readLink('lo').ifindex, { up: true }));
  const lo = (rest: string): Refusal => refusal(() => withNetns(lab.a.netns, () => open([`af_xdp:lo,${rest}`])));
  t.match(lo('mode=native'), { code: 'EUNSUPPORTED', errno: 95, message: /runs no XDP programs \(native mode\): use mode=generic/ });
  t.match(lo('mode=generic'), { code: 'none' });
  t.match(lo('mode=auto'), { code: 'none' }, 'auto is generic there');
});

inLab('an MTU that needs frames in several buffers', { mtu: 9000 }, (t, lab) => {
  for (const [options, mtu, mode] of [['', 9000, /^native, copy, frags/], ['mode=generic', 9000, /^generic, copy, frags/], ['frags=off', 1778, /^native, copy, need-wakeup/], ['frags=on,mode=native', 9000, /frags/]] as const) {
    const host = openAt(lab.a, options);
    t.match(host.ports[0]!.capabilities, { mtu, mode });
    closeBalanced(t, host);
  }
});

inLab('an MTU that does not', { mtu: 1500 }, (t, lab) => {
  for (const [options, mode] of [['', /^native, copy, need-wakeup/], ['frags=on', /^native, copy, frags/]] as const) {
    const host = openAt(lab.a, options);
    t.match(host.ports[0]!.capabilities, { mtu: 1500, mode });
    closeBalanced(t, host);
  }
});

inLab('a second opener of a queue, in this process and in another', {}, async (t, lab) => {
  const host = openAt(lab.a);
  t.match(at(lab.a), { code: 'EBUSYQUEUE', errno: 16, syscall: 'bind', message: /queue 0 has an AF_XDP socket already: end its program \(or close it, where it is open here already\)/ });
  t.match(at(lab.a, 'mode=generic'), { code: 'EBUSYQUEUE' });
  const other = inChild(tryToOpen(`af_xdp:veth0,netns=/proc/${process.pid}/fd/${lab.a.netns}`));
  t.match(JSON.parse(other.stdout), { code: 'EBUSYQUEUE' });
  closeBalanced(t, host);
  t.match(at(lab.a), { code: 'none' }, 'and free at once when the first is closed');
});

inLab('a pool that is too small, and an arena that is full', {}, (t, lab) => {
  t.match(at(lab.a, 'rx_ring=32768,tx_ring=32768', { arenaOptions: { size: 16 << 20 } }), { code: 'EARENAFULL' });
  const host = openAt(lab.a, '', { mbufs: 1024, cache: 0 });
  t.equal(host.pool.audit().rx, 1024, 'a pool smaller than the fill ring is given whole');
  closeBalanced(t, host);
});

t.test('in every place where an arena can be full, what was made before is undone', rights, async t => {
  const lab = openLab();
  const arena = Arena.create({ size: 16 << 20 });
  const pool = Mempool.create(arena, 'pool', { count: 256 });
  const before = arena.zones().map(zone => zone.name);
  const codes = new Set<string>();
  // Leaves less and less room, in pages.
  for (let pages = 20; pages >= 0; pages--) {
    const plug = fill(arena, pages * 4096);
    codes.add(at(lab.a, 'rx_ring=64,tx_ring=64', { arena, pool }).code);
    for (const zone of plug) arena.release(zone);
    t.same(arena.zones().map(zone => zone.name), before, `with ${pages} pages left`);
    t.equal(pool.audit().free, 256);
    t.equal(attached(lab.a), 'none');
  }
  t.same([...codes].sort(), ['EARENAFULL', 'none']);
  arena.close();
  lab.close();
});

/** Reserves all of an arena's heap but `left` bytes. */
function fill(arena: Arena, left: number): Memzone[] {
  const plug: Memzone[] = [];
  const room = left === 0 ? undefined : arena.reserve('room', left, { align: 4096 });
  for (let size = 1 << 23; size >= 64; size >>= 1) {
    for (;;) {
      try {
        plug.push(arena.reserve(`plug/${plug.length}`, size));
      } catch {
        break;
      }
    }
  }
  if (room !== undefined) arena.release(room);
  return plug;
}

/** A module for a child that opens a device, says what came of it in one line of JSON, and ends. */
function tryToOpen(device: string, mbufs = 8192): string {
  return `
    const { open } = await import(LIB + 'port/host.js');
    try {
      const host = open(['${device}'], { mbufs: ${mbufs} });
      const mode = host.ports[0].capabilities.mode;
      host.close();
      console.log(JSON.stringify({ code: 'none', mode }));
    } catch ({ code, message, errno }) {
      console.log(JSON.stringify({ code, message, errno }));
    }`;
}

/** In a child in the end's namespace, which has every capability but these. */
function without(end: LabEnd, capabilities: readonly string[], { mbufs = 8192, limit = [] }: { mbufs?: number; limit?: readonly string[] } = {}): unknown {
  const dropped = capabilities.map(name => `-${name}`).join(',');
  const prefix = ['nsenter', `--net=/proc/${process.pid}/fd/${end.netns}`, ...limit, 'setpriv', `--bounding-set=${dropped}`, `--inh-caps=${dropped}`];
  const { stdout, stderr } = inChild(tryToOpen(`af_xdp:${end.name}`, mbufs), prefix);
  return stdout === '' ? { code: 'no answer', message: stderr } : JSON.parse(stdout);
}

inLab('each capability that is missing is named', {}, (t, lab) => {
  t.match(without(lab.a, ['net_raw']), { code: 'ERIGHTS', message: /needs CAP_NET_RAW/ });
  t.match(without(lab.a, ['bpf', 'sys_admin']), { code: 'ERIGHTS', message: /needs CAP_BPF:/ });
  t.match(without(lab.a, ['net_admin', 'sys_admin']), { code: 'ERIGHTS', message: /needs CAP_NET_ADMIN:/ });
  t.match(without(lab.a, ['bpf', 'net_admin', 'sys_admin']), { code: 'ERIGHTS', message: /needs CAP_BPF and CAP_NET_ADMIN:/ });
});

inLab('the least rights are enough, and CAP_SYS_ADMIN stands for two of them', {}, (t, lab) => {
  // What an ordinary limit of 8 MiB allows without CAP_IPC_LOCK.
  const small = { mbufs: 1024 };
  const [all, needed] = [['sys_admin', 'ipc_lock', 'sys_resource', 'perfmon', 'dac_override', 'sys_ptrace'], ['bpf', 'net_admin']];
  t.match(without(lab.a, all, small), { code: 'none', mode: /^native/ }, 'CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF');
  t.match(without(lab.a, [...needed, 'ipc_lock'], small), { code: 'none', mode: /^native/ }, 'CAP_NET_RAW and CAP_SYS_ADMIN');
});

inLab('too little memlock', {}, (t, lab) => {
  const little = { limit: ['prlimit', `--memlock=${1 << 20}`] };
  t.match(without(lab.a, ['ipc_lock'], little), { code: 'EMEMLOCK', errno: 105, message: /may not lock the pool's 16 MiB: raise the limit \(ulimit -l unlimited/ });
  t.match(without(lab.a, ['sys_resource'], little), { code: 'none' }, 'with CAP_IPC_LOCK there is no limit');
});

t.test('inside a user namespace that made the interface itself', rights, async t => {
  const code = `
    const { openLab } = await import(LIB + 'lab/veth.js');
    const { withNetns } = await import(LIB + 'kernel/netns.js');
    const { open } = await import(LIB + 'port/host.js');
    const lab = openLab({ txChecksum: false });
    try { withNetns(lab.a.netns, () => open(['af_xdp:veth0'], { mbufs: 1024 })); console.log('opened'); } catch (error) { console.log(error.code, error.message); }`;
  const { stdout } = inChild(code, ['setpriv', '--reuid', '65534', '--clear-groups', 'unshare', '-Urn']);
  t.match(stdout, /^ERIGHTS .*CAP_BPF/, 'bpf(2) is about the machine, and says no');
});

t.test('a namespace path that is none', rights, async t => {
  t.match(refusal(() => open(['af_xdp:veth0,netns=/nonesuch'])), { code: 'ENOTFOUND', message: /namespace/ });
  t.not(refusal(() => open(['af_xdp:veth0,netns=/dev/null'])).code, 'none');
  const empty = createNetns();
  t.match(refusal(() => open([`af_xdp:veth0,netns=/proc/self/fd/${empty}`])), { code: 'ENOTFOUND' });
  binding().close(empty);
});

inLab('two processes on two queues of one interface; the first may end before the second', { queues: 2 }, async (t: Test, lab) => {
  const netns = `/proc/${process.pid}/fd/${lab.a.netns}`;
  const child = startChild(`
    const { open } = await import(LIB + 'port/host.js');
    const host = open(['af_xdp:veth0,queue=1,netns=${netns}']);
    console.log(host.ports[0].capabilities.mode);
    process.stdin.once('data', () => { host.close(); console.log('closed'); process.stdin.destroy(); });`);
  const said = async (): Promise<string> => String((await once(child.stdout!, 'data') as [Buffer])[0]).trim();
  t.match(await said(), /^native, copy/);
  const program = withNetns(lab.a.netns, () => readLink('veth0').xdp.programId);
  const host = openAt(lab.a, 'queue=0');
  t.match(host.ports[0]!.capabilities.mode, /^native \(joined\)/);
  t.match(at(lab.a, 'queue=1'), { code: 'EBUSYQUEUE' }, 'the child has that one');
  child.stdin!.write('end\n');
  t.equal(await said(), 'closed');
  await once(child, 'exit');
  t.equal(withNetns(lab.a.netns, () => readLink('veth0').xdp.programId), program, 'what the child attached stays for us');
  const more = openAt(lab.a, 'queue=1');
  t.match(at(lab.a, 'queue=0,mode=generic'), { code: 'EBUSYQUEUE' });
  closeBalanced(t, host);
  t.equal(attached(lab.a), 'native');
  closeBalanced(t, more);
  t.equal(attached(lab.a), 'none', 'and goes with the last');
});
