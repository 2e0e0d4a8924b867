/** XDP programs that are not ours: by descriptor, by pinned path, and attached already by another. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { binding } from '../../../../lib/binding.js';
import { attachXdp, createMap, loadProgram, pin, type BpfMap } from '../../../../lib/kernel/bpf.js';
import { BPF_FUNC_redirect_map, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_XDP, CLONE_NEWNS, XDP_DROP, XDP_PASS } from '../../../../lib/kernel/constants.js';
import { alu, assemble, B, call, exit, jump, label, load, loadMap, mov, R0, R1, R2, R3, R6, W } from '../../../../lib/kernel/instructions.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import type { Lab, LabEnd } from '../../../../lib/lab/veth.js';
import { codeThrown } from '../../../kernel/rights.js';
import { inChild } from '../../../native/child.js';
import { frame, RawSocket, receiveSome, sendAll } from '../kernel_helper.js';
import { attached, closeBalanced, inLab, openAt, sameFrames, until } from './helper.js';

/** Redirects frames with an odd number and drops the others: nobody else's program does that. */
function oddOnly(map: BpfMap): number {
  return loadProgram({ type: BPF_PROG_TYPE_XDP, name: 'odd_only', instructions: assemble([
    mov(R6, R1), load(W, R2, R6, 0), load(W, R3, R6, 4), // xdp_md: data, data_end
    mov(R1, R2), alu('+', R1, 18), jump('>', R1, R3, 'drop'),
    load(B, R2, R2, 17), alu('&', R2, 1), jump('==', R2, 0, 'drop'),
    load(W, R2, R6, 16), loadMap(R1, map.fd), mov(R3, XDP_PASS), call(BPF_FUNC_redirect_map), exit(), // xdp_md: rx_queue_index
    label('drop'), mov(R0, XDP_DROP), exit(),
  ]) });
}

const xskMap = (maxEntries = 4): BpfMap => createMap({ type: BPF_MAP_TYPE_XSKMAP, keySize: 4, valueSize: 4, maxEntries });
const close = (...fds: number[]): void => { for (const fd of fds) binding().close(fd); };

/** A bpf filesystem in a mount namespace of this thread's own, which goes with it. */
function withBpffs(work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-bpf-'));
  const mount = (...words: string[]): void => {
    const { status, stderr } = spawnSync('mount', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`mount ${words.join(' ')}: ${stderr}`);
  };
  if (binding().unshare(CLONE_NEWNS) !== 0) throw new Error('no mount namespace of its own');
  mount('--make-rprivate', '/');
  mount('-t', 'bpf', 'pollmode-test', folder);
  try {
    work(folder);
  } finally {
    spawnSync('umount', [folder]);
    rmSync(folder, { recursive: true });
  }
}

async function onlyOdd(t: Test, lab: Lab, rest: string, mode: RegExp): Promise<void> {
  const host = openAt(lab.a, rest);
  t.match(host.ports[0]!.capabilities.mode, mode);
  const raw = new RawSocket(lab.b);
  const frames = Array.from({ length: 100 }, (_, i) => frame(lab.b, lab.a, i, 60 + i));
  for (const each of frames) raw.send(each);
  sameFrames(t, receiveSome(host, host.ports[0]!, 51).map(({ bytes }) => bytes), frames.filter((_, i) => i % 2 === 1), 'what that program lets through');
  const back = frames.map((_, i) => frame(lab.a, lab.b, i, 60 + i));
  sendAll(host, host.ports[0]!, back);
  const found: Uint8Array[] = [];
  await until(() => found.push(...raw.receive()) >= back.length);
  sameFrames(t, found, back, 'sent');
  raw.close();
  closeBalanced(t, host);
}

for (const mode of ['native', 'generic']) {
  inLab(`a program and its map by descriptor, ${mode}`, {}, async (t, lab) => {
    const map = xskMap();
    const program = oddOnly(map);
    for (let i = 0; i < 3; i++) {
      await onlyOdd(t, lab, `mode=${mode},program=fd:${program},xsk_map=fd:${map.fd}`, new RegExp(`^${mode} \\(program of yours\\), copy`));
      t.equal(attached(lab.a), 'none', 'detached with the port');
    }
    close(program, map.fd);
  });

  inLab(`a program that is attached already, and its map, ${mode}`, {}, async (t, lab) => {
    const map = xskMap();
    const program = oddOnly(map);
    const link = withNetns(lab.a.netns, () => attachXdp(program, lab.a.ifindex, mode as 'native' | 'generic'));
    for (let i = 0; i < 3; i++) {
      await onlyOdd(t, lab, `xsk_map=fd:${map.fd}`, new RegExp(`^${mode} \\(program of another\\), copy`));
      t.equal(attached(lab.a), mode, 'it is not the port\'s to detach');
    }
    close(link, program, map.fd);
  });
}

inLab('pinned paths: program and map, the map alone, and one in a child with nothing but CAP_NET_RAW', {}, async (t, lab) => {
  const map = xskMap();
  const program = oddOnly(map);
  let work: Promise<void> = Promise.resolve();
  withBpffs(folder => {
    pin(map.fd, join(folder, 'map'));
    pin(program, join(folder, 'program'));
    // What is opened by its path is the port's own: it lasts when the paths are gone.
    const host = openAt(lab.a, `program=${join(folder, 'program')},xsk_map=${join(folder, 'map')}`);
    t.match(host.ports[0]!.capabilities.mode, /^native \(program of yours\)/);
    closeBalanced(t, host);
    t.equal(codeThrown(() => openAt(lab.a, `program=${join(folder, 'nonesuch')},xsk_map=${join(folder, 'map')}`)), 'ENOTFOUND');
    t.equal(codeThrown(() => openAt(lab.a, `program=${join(folder, 'map')},xsk_map=${join(folder, 'map')}`)), 'EOPTION', 'a map is no program');
    const link = withNetns(lab.a.netns, () => attachXdp(program, lab.a.ifindex, 'generic'));
    t.match(poorChild(lab.a, join(folder, 'map')), { code: 'none', mode: /^generic \(program of another\)/ });
    work = onlyOdd(t, lab, `xsk_map=${join(folder, 'map')}`, /^generic \(program of another\)/).finally(() => close(link));
  });
  await work;
  close(program, map.fd);
});

/** What comes of opening the end with a pinned map and no capability but CAP_NET_RAW. */
function poorChild(end: LabEnd, map: string): unknown {
  const dropped = ['bpf', 'net_admin', 'sys_admin', 'ipc_lock'].map(name => `-${name}`).join(',');
  const { stdout, stderr } = inChild(`
    const { open } = await import(LIB + 'port/host.js');
    try {
      const host = open(['af_xdp:${end.name},xsk_map=${map}'], { mbufs: 1024 });
      console.log(JSON.stringify({ code: 'none', mode: host.ports[0].capabilities.mode }));
      host.close();
    } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
  ['nsenter', `--net=/proc/${process.pid}/fd/${end.netns}`, 'setpriv', `--bounding-set=${dropped}`, `--inh-caps=${dropped}`]);
  return stdout === '' ? stderr : JSON.parse(stdout);
}

inLab('objects that are not what they should be', { queues: 2 }, (t, lab) => {
  const [map, array] = [xskMap(1), createMap({ type: BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 4, maxEntries: 1 })];
  const program = oddOnly(map);
  const tracer = loadProgram({ type: BPF_PROG_TYPE_RAW_TRACEPOINT, instructions: assemble([mov(R0, 0), exit()]) });
  const refused = (rest: string): string => {
    try {
      openAt(lab.a, rest).close();
      return 'opened';
    } catch (error) {
      return `${(error as { code: string }).code} ${(error as Error).message}`;
    }
  };
  t.match(refused(`program=fd:${program}`), /^EOPTION .*say which XSKMAP it redirects to/);
  t.match(refused(`program=fd:${program},xsk_map=fd:${array.fd}`), /^EOPTION .*is a BPF map of type 2 and no XSKMAP/);
  t.match(refused(`program=fd:${tracer},xsk_map=fd:${map.fd}`), /^EOPTION .*is no XDP program/);
  t.match(refused(`program=fd:${map.fd},xsk_map=fd:${program}`), /^EOPTION /, 'the wrong way round');
  for (const nonsense of ['fd:0', 'fd:999999999', 'fd:-1', 'fd:', 'fd:1e3', '/', '/dev/null', '/proc/self/exe']) {
    t.match(refused(`program=fd:${program},xsk_map=${nonsense}`), /^E[A-Z]+ /, `map ${nonsense}`);
    t.match(refused(`xsk_map=fd:${map.fd},program=${nonsense}`), /^E[A-Z]+ /, `program ${nonsense}`);
  }
  t.match(refused(`xsk_map=fd:${map.fd}`), /^EOPTION .*no XDP program is attached/);
  t.match(refused(`program=fd:${program},xsk_map=fd:${map.fd},queue=1`), /^EOPTION .*has 1 place, and none for queue 1/);
  t.equal(attached(lab.a), 'none');
  close(tracer, program, map.fd, array.fd);
});

inLab('a program of another on the interface, and a place of the map that is taken', {}, (t, lab) => {
  const map = xskMap();
  const program = oddOnly(map);
  const link = withNetns(lab.a.netns, () => attachXdp(program, lab.a.ifindex));
  for (const rest of ['', 'mode=native', 'mode=generic']) {
    t.throws(() => openAt(lab.a, rest), { code: 'EBUSYQUEUE', message: /has an XDP program already \(number \d+, native\), which is no pollmode port's/ });
  }
  t.throws(() => openAt(lab.a, `program=fd:${program},xsk_map=fd:${map.fd}`), { code: 'EBUSYQUEUE', message: /has an XDP program already/ });
  const first = openAt(lab.a, `xsk_map=fd:${map.fd}`);
  t.throws(() => openAt(lab.b, `program=fd:${program},xsk_map=fd:${map.fd}`), { code: 'EBUSYQUEUE', message: /place for queue 0 is taken by another socket/ });
  t.equal(attached(lab.b), 'none', 'and what was attached before the refusal is detached');
  closeBalanced(t, first);
  const second = openAt(lab.b, `program=fd:${program},xsk_map=fd:${map.fd}`);
  closeBalanced(t, second);
  close(link, program, map.fd);
});

