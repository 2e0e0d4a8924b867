import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { cleanText, doctorText } from '../../lib/cli/doctor_text.js';
import type { DoctorReport } from '../../lib/doctor/report.js';
import { readChannels, readFeatures } from '../../lib/kernel/ethtool.js';
import { listXdpFeatures } from '../../lib/kernel/features.js';
import { listLinks } from '../../lib/kernel/link.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { open } from '../../lib/port/host.js';
import { MAIN } from '../cli/program_helper.js';
import { scratch } from '../journal/note_helper.js';
import { needs } from '../kernel/rights.js';
import { inChild, startChild } from '../native/child.js';
import { departures, REPORT } from './schema_helper.js';

const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');
const nobody = ['setpriv', '--reuid', '65534', '--clear-groups'];

interface Ended { status: number | null; stdout: string; stderr: string }

function doctor(words: readonly string[] = [], prefix: readonly string[] = [], environment: Record<string, string> = {}): Ended {
  const [program = process.execPath, ...rest] = [...prefix, process.execPath, MAIN, 'doctor', ...words];
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8', timeout: 120_000, env: { ...process.env, ...environment } });
  return { status, stdout, stderr };
}

function report(prefix: readonly string[] = [], environment: Record<string, string> = {}, words: readonly string[] = []): DoctorReport {
  const ended = doctor(['--json', ...words], prefix, environment);
  t.match(ended, { status: 0, stderr: '' });
  return JSON.parse(ended.stdout) as DoctorReport;
}

const line = (of: DoctorReport, what: string): unknown => of.lines.find(each => each.what === what);

/** What doctor must not change, as far as it can be read. */
function state(): object {
  const settings = (folder: string): [string, string][] => readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(each => each.isFile()).map(each => `${each.parentPath ?? each.path}/${each.name}`).flatMap(path => {
      try {
        return [[path, readFileSync(path, 'utf8')] as [string, string]];
      } catch {
        return []; // some are for writing only
      }
    });
  const ip = spawnSync('ip', ['-j', '-d', 'link', 'show'], { encoding: 'utf8' });
  const links = listLinks();
  return {
    links, xdp: listXdpFeatures(), ip: ip.stdout,
    ethtool: links.filter(each => each.kind === 'veth').map(({ name }) => [readChannels(name), ...readFeatures(name)]),
    sysctls: [...settings('/proc/sys/net/ipv4/conf'), ...settings('/proc/sys/net/ipv6/conf'), ...settings('/proc/sys/net/core'), ...settings('/proc/sys/vm').filter(([path]) => /hugepages|memory/.test(path))],
  };
}

t.test('as root: JSON of the schema, drivers usable', admin, async (t) => {
  const found = report();
  t.same(departures(found, REPORT), []);
  t.equal(found.schema, 1);
  t.match(line(found, 'native addon'), { status: 'ok' });
  t.match(line(found, 'burst module'), { status: /ok|warn/ });
  t.same(found.interfaces.map(each => each.name).sort(), listLinks().map(each => each.name).sort());
  for (const each of found.drivers) t.ok(each.usable || (each.reason !== undefined && each.mend !== undefined && !/^Modprobe/.test(each.mend)), each.name);
  t.ok(found.drivers.some(each => each.name === 'null' && each.usable));
});

t.test('without rights: the same schema, each right and each driver that lacks it named, and exit 0', needs('CAP_SETUID', 'CAP_SETGID'), async (t) => {
  const found = report(nobody);
  t.same(departures(found, REPORT), []);
  for (const name of ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_SYS_ADMIN', 'CAP_IPC_LOCK']) t.match(line(found, name), { status: 'missing', reason: String, mend: String });
  t.match(found.drivers.find(each => each.name === 'af_xdp'), { usable: false, reason: 'It needs CAP_NET_RAW and CAP_NET_ADMIN and CAP_BPF.' });
  t.match(found.drivers.find(each => each.name === 'null'), { usable: true });
  t.same(found.interfaces.map(each => each.name).sort(), listLinks().map(each => each.name).sort(), 'reading needs no rights');
});

t.test('in a user namespace, and without the addon', async (t) => {
  if (spawnSync('unshare', ['-Ur', 'true']).status === 0) {
    const found = report(['unshare', '-Ur']);
    t.match(line(found, 'user namespace'), { status: 'warn' });
    t.equal(found.drivers.find(each => each.name === 'af_xdp')?.usable, false);
  }
  const without = report([], { POLLMODE_ADDON: '/no/such/addon.node' });
  t.same(departures(without, REPORT), []);
  t.match(line(without, 'native addon'), { status: 'missing', reason: /\/no\/such\/addon\.node/ });
  t.ok(without.interfaces.some(each => each.name === 'lo'));
  t.match(without.drivers.find(each => each.name === 'af_xdp'), { usable: false, mend: /the line "native addon"/ });
  t.equal(JSON.stringify(without).split('node-gyp rebuild').length - 1, 1, 'how to build it is said once');
});

t.test('in a namespace with a veth pair: its XDP features are seen, and nothing is altered', admin, async (t) => {
  const lab = openLab({ queues: 2 });
  withNetns(lab.a.netns, () => {
    const before = state();
    const found = report();
    doctor([], nobody);
    t.same(state(), before);
    t.same(departures(found, REPORT), []);
    t.same(found.interfaces.map(each => each.name), ['lo', 'veth0']);
    t.match(found.interfaces[1], { driver: 'veth', kind: 'veth', up: true, operstate: 'up', mac: lab.a.mac, rxQueues: 2, channels: { rx: 2, tx: 2 }, xskQueues: [], device: 'af_xdp:veth0' });
    t.ok(found.interfaces[1]!.xdp!.xdp.includes('basic'));
    t.notOk(found.interfaces[1]!.xdp!.xdp.includes('xsk-zerocopy'));
    t.match(line(found, 'veth0 XDP'), { status: 'ok', value: /^native; redirects.*no zero-copy/ });
    t.match(line(found, 'veth0 queues'), { status: 'ok', value: '2 of 2 rx, 2 of 2 tx' });
    t.match(line(found, 'veth0 opens as'), { value: 'af_xdp:veth0' });
  });
  lab.close();
});

t.test('it looks while a port is open, and says which queue is taken', admin, async (t) => {
  const lab = openLab({ queues: 2 });
  withNetns(lab.a.netns, () => {
    const host = open(['af_xdp:veth0,queue=1']);
    t.same(report().interfaces[1]?.xskQueues, [1]);
    t.ok(host.ports[0]!.capabilities.mode.includes('native'), 'the port goes on');
    host.close();
  });
  lab.close();
});

t.test('kill -9, doctor, doctor --clean, doctor', admin, async (t) => {
  const lab = openLab({ queues: 2 });
  const of = scratch();
  const environment = { POLLMODE_RUN_DIR: of.run };
  const forwarding = '/proc/sys/net/ipv4/conf/veth0/forwarding';
  const read = (): string => withNetns(lab.a.netns, () => readFileSync(forwarding, 'utf8').trim());
  const child = withNetns(lab.a.netns, () => startChild(`
    process.env.POLLMODE_RUN_DIR = ${JSON.stringify(of.run)};
    const { changeSysfs } = await import(LIB + 'journal/changes.js');
    changeSysfs('${forwarding}', '1');
    console.log('ready'); setInterval(() => {}, 1000);`));
  await once(child.stdout!, 'data');
  t.match(line(report([], environment), 'to be undone'), { status: 'info', value: /forwarding back to "0"/ });
  t.match(doctor(['--clean'], [], environment).stdout, /Nothing was left/, 'it lives');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.match(line(report([], environment), 'left by a killed run'), { status: 'warn', value: /forwarding back to "0"/, mend: /--clean/ });
  t.equal(read(), '1', 'doctor only looks');
  const cleaned = report([], environment, ['--clean']);
  t.same(departures(cleaned, REPORT), []);
  t.match(cleaned.cleaned, [{ result: 'undone' }]);
  t.match(line(cleaned, 'left by killed runs'), { status: 'ok' });
  t.equal(read(), '0');
  t.notOk(existsSync(of.run));
  t.match(doctor(['--clean'], [], environment), { status: 0, stdout: 'Nothing was left by a killed run.\n' });
  of.remove();
  lab.close();
});

t.test('for a person: aligned, wrapped, coloured only where asked, and nothing from outside steers the terminal', async (t) => {
  const made: DoctorReport = {
    schema: 1, machine: { platform: 'linux', arch: 'x64', release: '6', node: '22' }, interfaces: [],
    lines: [
      { area: 'kernel', what: 'kernel', status: 'ok', value: 'Linux' },
      { area: 'kernel', what: 'evil\u001b[2J', status: 'missing', value: '\u001b]0;title\u0007', reason: `Because ${'of words '.repeat(30)}.`, mend: 'Do this.' },
      { area: 'journal', what: 'left', status: 'warn', value: 'x', reason: 'R.', mend: 'M.' },
      { area: 'drivers', what: 'tap:', status: 'missing', value: 'not counted: what it lacks is', reason: 'R.', mend: 'M.' },
    ],
    drivers: [{ name: 'null', summary: '', usable: true }, { name: 'tap', summary: '', usable: false, reason: 'R.', mend: 'M.' }],
  };
  const plain = doctorText(made, { width: 60, colour: false });
  t.notMatch(plain, /[\u001b\u0007]/);
  t.ok(plain.split('\n').every(each => each.length <= 60), plain);
  t.match(plain, /^Kernel\n  ✓ kernel +Linux\n  ✗ evil/);
  t.match(plain, /→ Do this\./);
  t.match(plain, /Usable here: null:; not usable: tap:\. 1 thing\sis\smissing,\s1\scould\sbe\sbetter\.\n$/);
  const coloured = doctorText(made, { width: 60, colour: true });
  t.match(coloured, /\u001b\[31m✗\u001b\[0m/);
  t.equal(coloured.replace(/\u001b\[\d*m/g, ''), plain);
  t.equal(cleanText([{ what: 'x\u001b', result: 'gone', reason: 'R.', journal: '/j' }]), 'gone: x\uFFFD (R.)\n');
});

t.test('a terminal gets colours, unless NO_COLOR is set; a pipe gets none', async (t) => {
  t.notMatch(doctor().stdout, /\u001b/);
  const seen = (environment: Record<string, string>): string => spawnSync('script', ['-qec', `"${process.execPath}" "${MAIN}" doctor`, '/dev/null'], { encoding: 'utf8', timeout: 120_000, env: { ...process.env, TERM: 'xterm', NO_COLOR: '', ...environment } }).stdout ?? '';
  const coloured = seen({});
  if (coloured === '') return t.comment('no script(1) here');
  t.match(coloured, /\u001b\[32m✓/);
  t.notMatch(seen({ NO_COLOR: '1' }), /\u001b\[32m/);
});

t.test('a wrong option is a wrong usage', async (t) => {
  t.match(doctor(['--no-such']), { status: 1, stdout: '', stderr: /unknown option/ });
});

t.test('no other platform: it says so and goes on', async (t) => {
  const ended = inChild(`
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    const { thisMachine } = await import(LIB + 'doctor/machine.js');
    const { examine } = await import(LIB + 'doctor/report.js');
    console.log(JSON.stringify(examine(thisMachine())));`);
  const found = JSON.parse(ended.stdout) as DoctorReport;
  t.same(departures(found, REPORT), []);
  t.match(line(found, 'kernel'), { status: 'missing', value: /darwin/ });
  t.same([...new Set(found.lines.map(each => each.area))], ['kernel', 'program', 'drivers']);
  t.match(found.drivers.find(each => each.name === 'null'), { usable: true });
  t.match(found.drivers.find(each => each.name === 'af_xdp'), { usable: false });
});
