import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { changeChannels, changeNapi, changeSysfs } from '../../lib/journal/changes.js';
import { Journal } from '../../lib/journal/journal.js';
import { kinds } from '../../lib/journal/kinds.js';
import { channelsKind } from '../../lib/journal/kinds/channels.js';
import { featureKind } from '../../lib/journal/kinds/feature.js';
import { napiKind } from '../../lib/journal/kinds/napi.js';
import { ntupleKind } from '../../lib/journal/kinds/ntuple.js';
import { pciDriverKind } from '../../lib/journal/kinds/pci_driver.js';
import { rssKind } from '../../lib/journal/kinds/rss.js';
import { sysfsChange, sysfsKind } from '../../lib/journal/kinds/sysfs.js';
import { virtualFunctionsKind } from '../../lib/journal/kinds/virtual_functions.js';
import { undoLeft } from '../../lib/journal/left.js';
import { readChannels, setChannels, setFeature } from '../../lib/kernel/ethtool.js';
import { deleteLink } from '../../lib/kernel/link.js';
import { listNapis, readNapi, setNapi } from '../../lib/kernel/napi.js';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { openLab } from '../../lib/lab/veth.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { inChild, startChild } from '../native/child.js';
import { scratch, type Scratch } from './note_helper.js';

const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN');
const forwarding = (name: string): string => `/proc/sys/net/ipv4/conf/${name}/forwarding`;
const read = (path: string): string => readFileSync(path, 'utf8').trim();

t.test('the sysfs kind writes nothing but what it lists', async (t) => {
  const change = (path: string): object => ({ kind: 'sysfs', path, was: '1' });
  for (const bad of ['', '/', '/etc/passwd', 'proc/sys/net/x', '/proc/sys/kernel/core_pattern', '/proc/sys/net/../kernel/core_pattern', '/proc/sys/net/./x',
    '/proc/sys/net', '/proc/sys/net/', '/sys/power/state', '/sys/kernel/uevent_helper', '/sys/devices/../../etc/x/driver_override', '/sys/class/net/eth0/threaded',
    '/sys/devices/a/remove', '/sys/devices/a/sriov_numvfs', '/sys/devices/a/driver_override/x', '/proc/sys/net/x\n/y', '/proc/sys/net/\0', '/proc/sys/vm/nr_hugepages_mempolicy', `/proc/sys/net/${'x'.repeat(5000)}`]) {
    t.equal(codeThrown(() => sysfsKind.check(change(bad) as never)), 'EFORMAT', JSON.stringify(bad.slice(0, 50)));
  }
  for (const good of ['/proc/sys/net/ipv4/conf/veth0/forwarding', '/proc/sys/vm/nr_hugepages', '/sys/devices/pci0000:00/0000:00:01.0/driver_override',
    '/sys/devices/pci0000:00/0000:00:01.0/net/eth0/threaded', '/sys/devices/virtual/net/veth0/queues/rx-0/rps_cpus']) {
    t.equal(codeThrown(() => sysfsKind.check(change(good) as never)), 'none', good);
  }
});

t.test('any fields at all are checked or refused as EFORMAT or EOPTION', async (t) => {
  const fields = fc.dictionary(fc.constantFrom('kind', 'path', 'was', 'inode', 'ifname', 'ifindex', 'napi', 'feature', 'spec', 'location', 'address', 'driver', 'override', 'to', '__proto__'), fc.oneof(fc.anything(), fc.constantFrom('/proc/sys/net/x', 'lo', '0000:01:00.0')));
  fc.assert(fc.property(fields, each => kinds.every(kind => ['none', 'EFORMAT', 'EOPTION'].includes(codeThrown(() => kind.check(each))))), { numRuns: 300 });
  const channels = { kind: 'channels', ifname: 'lo', ifindex: 1, was: { rx: 1, tx: 1, other: 0, combined: 0 } };
  t.same(channelsKind.check({ ...channels, more: 1 }), channels, 'what it does not know is left out');
  for (const bad of [{ ifindex: 0 }, { ifindex: 1.5 }, { ifname: 'a/b' }, { ifname: '' }, { was: null }, { was: [] }, { was: { ...channels.was, rx: -1 } }, { was: { rx: 1 } }]) {
    t.not(codeThrown(() => channelsKind.check({ ...channels, ...bad })), 'none', JSON.stringify(bad));
  }
  const napi = { kind: 'napi', napi: 300, ifindex: 2, was: { deferHardIrqs: 0, groFlushNs: 0 }, to: { deferHardIrqs: 2, groFlushNs: 200000 } };
  t.same(napiKind.check({ ...napi, more: 1 }), napi);
  for (const bad of [{ napi: 0 }, { napi: 2 ** 32 }, { ifindex: 0 }, { was: { deferHardIrqs: 2 ** 31, groFlushNs: 0 } }, { to: { deferHardIrqs: 0, groFlushNs: -1 } }, { to: undefined }]) {
    t.equal(codeThrown(() => napiKind.check({ ...napi, ...bad })), 'EFORMAT', JSON.stringify(bad));
  }
  const ntuple = { kind: 'ntuple', ifname: 'lo', ifindex: 1, location: 15, spec: '0a'.repeat(168) };
  t.same(ntupleKind.check({ ...ntuple, more: 1 }), ntuple);
  for (const bad of [{ location: -1 }, { location: '1' }, { spec: '0a' }, { spec: '0A'.repeat(168) }, { spec: 5 }, { others: [1.5] }, { others: 'x' }, { ifindex: 0 }]) {
    t.equal(codeThrown(() => ntupleKind.check({ ...ntuple, ...bad })), 'EFORMAT', JSON.stringify(bad));
  }
  const feature = { kind: 'feature', ifname: 'lo', ifindex: 1, feature: 'rx-ntuple-filter', was: 0 };
  t.same(featureKind.check({ ...feature, more: 1 }), feature);
  for (const bad of [{ feature: 'rx-gro' }, { feature: '' }, { was: true }, { was: 2 }]) t.equal(codeThrown(() => featureKind.check({ ...feature, ...bad })), 'EFORMAT', JSON.stringify(bad));
  const driver = { kind: 'pci-driver', address: '0000:01:00.0', inode: '77', driver: 'e1000e', override: '(null)' };
  t.same(pciDriverKind.check({ ...driver, more: 1 }), driver);
  for (const bad of [{ address: '01:00' }, { address: '../../../..' }, { inode: '' }, { driver: 'a b' }, { driver: '' }, { driver: '../x' }, { override: undefined }, { override: 'x\n' }, { override: 'x'.repeat(65) }]) {
    t.equal(codeThrown(() => pciDriverKind.check({ ...driver, ...bad })), 'EFORMAT', JSON.stringify(bad));
  }
  const functions = { kind: 'virtual-functions', address: '0000:01:00.0', inode: '77', was: 2, to: 4 };
  t.same(virtualFunctionsKind.check({ ...functions, more: 1 }), functions);
  for (const bad of [{ address: 'eth0' }, { inode: 7 }, { was: -1 }, { to: 65536 }, { to: 1.5 }]) t.equal(codeThrown(() => virtualFunctionsKind.check({ ...functions, ...bad })), 'EFORMAT', JSON.stringify(bad));
  const rss = { kind: 'rss', ifname: 'lo', ifindex: 1, was: { reta: [0, 1], key: '6d5a' } };
  t.same(rssKind.check({ ...rss, more: 1 }), rss);
  for (const was of [{ reta: [], key: '' }, { reta: [0, -1], key: '' }, { reta: [0, '1'], key: '' }, { reta: { length: 1, 0: 0 }, key: '' }, { reta: [0], key: '6D' }, { reta: [0], key: '6d5' }, { reta: [0] }]) {
    t.equal(codeThrown(() => rssKind.check({ ...rss, was })), 'EFORMAT', JSON.stringify(was));
  }
});

/** A namespace with a link of two queues, what is in it, and a child process that lives there. */
async function inLab(work: (lab: ReturnType<typeof openLab>, of: Scratch, kill: (code: string) => Promise<void>) => Promise<void>): Promise<void> {
  const lab = openLab({ queues: 2 });
  const of = scratch();
  try {
    await work(lab, of, async (code) => {
      // A process starts in the namespace of the thread that made it.
      const child = withNetns(lab.a.netns, () => startChild(`
        process.env.POLLMODE_RUN_DIR = ${JSON.stringify(of.run)};
        const { changeChannels, changeSysfs } = await import(LIB + 'journal/changes.js');
        ${code}
        console.log('ready'); setInterval(() => {}, 1000);`));
      await once(child.stdout!, 'data');
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
  } finally {
    lab.close();
    of.remove();
  }
}

t.test('kill -9 in a namespace: the next start, in another, undoes it there', admin, async (t) => {
  await inLab(async (lab, of, kill) => {
    const inside = <T>(work: () => T): T => withNetns(lab.a.netns, work);
    await kill(`changeSysfs('${forwarding('veth0')}', '1'); changeChannels('veth0', { rx: 1, tx: 1 });`);
    t.same(inside(() => [read(forwarding('veth0')), readChannels('veth0').rx, readChannels('veth0').tx]), ['1', 1, 1], 'it is changed');
    const ended = inChild('const { open } = await import(LIB + "port/host.js"); open(["null:"]).close(); console.log("opened");', [], { POLLMODE_RUN_DIR: of.run });
    t.match(ended, { stdout: 'opened\n', stderr: '' });
    t.same(inside(() => [read(forwarding('veth0')), readChannels('veth0').rx, readChannels('veth0').tx]), ['0', 2, 2]);
    t.notOk(existsSync(of.run));
  });
});

t.test('an interface that is gone, or that is another of that name, is let go; so is a namespace', admin, async (t) => {
  await inLab(async (lab, of, kill) => {
    const change = `changeSysfs('${forwarding('veth0')}', '1'); changeChannels('veth0', { rx: 1, tx: 1 });`;
    await kill(change);
    withNetns(lab.a.netns, () => deleteLink(lab.a.ifindex));
    t.match(undoLeft({ directories: [of.run] }), [{ result: 'gone', what: /channels of veth0/ }, { result: 'gone', what: /forwarding/ }]);
    t.notOk(existsSync(of.run));
  });
  await inLab(async (lab, of, kill) => {
    await kill(`changeChannels('veth0', { rx: 1, tx: 1 });`);
    lab.close();
    const again = openLab({ queues: 2 });
    withNetns(again.a.netns, () => setChannels('veth0', { rx: 1 }));
    t.match(undoLeft({ directories: [of.run] }), [{ result: 'gone', reason: /namespace is gone/ }]);
    t.equal(withNetns(again.a.netns, () => readChannels('veth0').rx), 1, 'the new namespace was left alone, whatever number it got');
    again.close();
  });
});

t.test('a value that somebody else has changed since is his', admin, async (t) => {
  await inLab(async (lab, of, kill) => {
    const path = '/proc/sys/net/ipv4/neigh/veth0/gc_stale_time';
    await kill(`changeSysfs('${path}', '61');`);
    withNetns(lab.a.netns, () => writeFileSync(path, '62'));
    t.match(undoLeft({ directories: [of.run] }), [{ result: 'superseded' }]);
    t.equal(withNetns(lab.a.netns, () => read(path)), '62');
    await kill(`changeChannels('veth0', { rx: 1, tx: 1 });`);
    withNetns(lab.a.netns, () => setChannels('veth0', { rx: 2 }));
    t.match(undoLeft({ directories: [of.run] }), [{ result: 'superseded' }]);
    t.match(withNetns(lab.a.netns, () => readChannels('veth0')), { rx: 2, tx: 1 });
  });
});

t.test('a NAPI\'s values that somebody else has changed since are his, and one that is gone is let go', admin, async (t) => {
  await inLab(async (lab, of) => {
    withNetns(lab.a.netns, () => {
      setFeature('veth0', 'rx-gro', true);
      const { id } = listNapis(lab.a.ifindex)[0]!;
      const journal = new Journal({ directories: [of.run] });
      const mine = changeNapi(id, { deferHardIrqs: 2, groFlushNs: 200000 }, journal);
      setNapi(id, { deferHardIrqs: 3, groFlushNs: 200000 });
      t.match(mine.undo(), { result: 'superseded' });
      t.match(readNapi(id), { deferHardIrqs: 3, groFlushNs: 200000 });
      const again = changeNapi(id, { deferHardIrqs: 4 }, journal);
      t.match(readNapi(id), { deferHardIrqs: 4, groFlushNs: 200000 });
      setFeature('veth0', 'rx-gro', false);
      t.match(again.undo(), { result: 'gone' });
      t.equal(codeThrown(() => changeNapi(id, { deferHardIrqs: 1 }, journal)), 'ENOTFOUND');
    });
    t.notOk(existsSync(of.run));
  });
});

t.test('sysfs itself: through links to the canonical path, told apart by inode', admin, async (t) => {
  const of = scratch();
  const name = readdirSync('/sys/class/net').find(each => existsSync(`/sys/class/net/${each}/queues/rx-0/rps_flow_cnt`))!;
  const change = sysfsChange(`/sys/class/net/${name}/queues/rx-0/rps_flow_cnt`, '16');
  t.match(change.path, /^\/sys\/devices\/.*\/rps_flow_cnt$/);
  t.match(change.inode, /^\d+$/);
  t.equal(sysfsKind.undo(change), 'unchanged');
  t.equal(codeThrown(() => sysfsKind.undo({ ...change, inode: '1' })), 'ENOTFOUND', 'another device\'s');
  t.equal(codeThrown(() => sysfsChange('/sys/class/net/no-such/queues/rx-0/rps_flow_cnt', '1')), 'ENOTFOUND');
  t.equal(codeThrown(() => sysfsChange('/proc/sys/kernel/core_pattern', 'x')), 'EFORMAT');
  of.remove();
});

t.test('a real value in sysfs, changed, killed and undone', admin, async (t) => {
  // A sysfs of its own, for a link of its own: the machine's is not touched.
  const of = scratch();
  const fd = createNetns();
  const code = `
    const { spawnSync } = await import('node:child_process');
    const { readFileSync, readdirSync } = await import('node:fs');
    const run = (...words) => { const done = spawnSync(words[0], words.slice(1), { encoding: 'utf8' }); if (done.status !== 0) throw new Error(done.stderr); };
    const { createVeth } = await import(LIB + 'kernel/veth.js');
    run('mount', '-t', 'sysfs', 'none', '/sys');
    createVeth({ a: { name: 'left' }, b: { name: 'right' } });
    const { changeSysfs } = await import(LIB + 'journal/changes.js');
    const { undoLeft } = await import(LIB + 'journal/left.js');
    const path = '/sys/class/net/left/gro_flush_timeout';
    const killed = spawnSync(process.execPath, ['--input-type=module', '-e', "const { changeSysfs } = await import(" + JSON.stringify(LIB + 'journal/changes.js') + "); changeSysfs('" + path + "', '20000'); process.kill(process.pid, 'SIGKILL');"]);
    console.log(killed.signal, readFileSync(path, 'utf8').trim(), undoLeft().map(each => each.result).join(), readFileSync(path, 'utf8').trim());
    const mine = changeSysfs(path, '30000');
    console.log(readFileSync(path, 'utf8').trim(), mine.undo().result, readFileSync(path, 'utf8').trim());`;
  const ended = withNetns(fd, () => inChild(code, ['unshare', '-m'], { POLLMODE_RUN_DIR: of.run }));
  t.equal(ended.stdout, 'SIGKILL 20000 undone 0\n30000 undone 0\n', ended.stderr);
  t.notOk(existsSync(of.run));
  binding().close(fd);
  of.remove();
});

t.test('a change that the kernel refuses leaves no entry, and neither does one that may not be made', admin, async (t) => {
  const lab = openLab({ queues: 2 });
  const of = scratch();
  const journal = new Journal({ directories: [of.run] });
  withNetns(lab.a.netns, () => {
    t.equal(codeThrown(() => changeChannels('veth0', { rx: 99 }, journal)), 'ESYSCALL');
    t.equal(codeThrown(() => changeSysfs(forwarding('veth0'), 'nonsense', journal)), 'ESYSCALL');
    t.equal(codeThrown(() => changeSysfs('/proc/sys/kernel/hostname', 'x', journal)), 'EFORMAT');
    t.equal(readChannels('veth0').rx, 2);
    const entry = changeChannels('veth0', { rx: 1 }, journal);
    t.equal(readChannels('veth0').rx, 1);
    t.match(entry.undo(), { result: 'undone' });
    t.equal(readChannels('veth0').rx, 2);
  });
  t.notOk(existsSync(of.run));
  lab.close();
  of.remove();
});

t.test('without the rights to undo, the entry is kept for who has them', admin, async (t) => {
  await inLab(async (lab, of, kill) => {
    await kill(`changeSysfs('${forwarding('veth0')}', '1');`);
    t.equal(spawnSync('chown', ['-R', '65534', of.folder]).status, 0);
    const ended = withNetns(lab.a.netns, () => inChild('const { undoLeft } = await import(LIB + "journal/left.js"); console.log(JSON.stringify(undoLeft()));', ['setpriv', '--reuid', '65534', '--clear-groups'], { POLLMODE_RUN_DIR: of.run }));
    t.match(JSON.parse(ended.stdout) as object[], [{ result: 'kept', reason: /EACCES.*root/ }]);
    t.equal(withNetns(lab.a.netns, () => read(forwarding('veth0'))), '1');
    t.equal(spawnSync('chown', ['-R', '0', of.folder]).status, 0);
    t.match(undoLeft({ directories: [of.run] }), [{ result: 'undone' }]);
  });
});
