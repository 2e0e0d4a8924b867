import fc from 'fast-check';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { ipv4Bytes, macBytes, macText } from '../../lib/kernel/address.js';
import { driverInfo, readChannels, readFeatures, readTxChecksum, setChannels, setFeature, setTxChecksum } from '../../lib/kernel/ethtool.js';
import { listXdpFeatures, xdpFeatures } from '../../lib/kernel/features.js';
import { checkName, deleteLink, listLinks, noIpv6Address, readLink, readLinkOf, setLink, waitForCarrier } from '../../lib/kernel/link.js';
import { addAddress, addNeighbour } from '../../lib/kernel/link_addresses.js';
import { createNetns, currentNetns, withNetns } from '../../lib/kernel/netns.js';
import { createVeth } from '../../lib/kernel/veth.js';
import { inChild } from '../native/child.js';
import { codeThrown, needs } from './rights.js';

const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN');

t.test('addresses: text to bytes, and bad text refused', async (t) => {
  t.same([...macBytes('02:00:00:aB:00:ff')], [2, 0, 0, 0xab, 0, 255]);
  fc.assert(fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => macText(macBytes(macText(mac))) === macText(mac)));
  for (const bad of ['', '02:00:00:00:00', '02:00:00:00:00:0g', '02:00:00:00:00:00:00']) t.equal(codeThrown(() => macBytes(bad)), 'EOPTION', bad);
  t.same([...ipv4Bytes('10.0.255.1')], [10, 0, 255, 1]);
  for (const bad of ['', '10.0.0', '10.0.0.256', '10.0.0.-1', '10.0.0.01', '1.2.3.4.5', 'a.b.c.d']) t.equal(codeThrown(() => ipv4Bytes(bad)), 'EOPTION', bad);
});

t.test('names that the kernel would refuse are refused before', async (t) => {
  for (const bad of ['', '.', '..', 'a/b', 'a b', 'a:b', 'a\0b', 'sixteen-bytes-xx', 'éééééééé']) t.equal(codeThrown(() => checkName(bad)), 'EOPTION', JSON.stringify(bad));
  for (const good of ['eth0', 'fifteen-bytes-x', 'enp1s0.100']) t.equal(codeThrown(() => checkName(good)), 'none', good);
});

t.test('reading needs no rights', needs(), async (t) => {
  const lo = readLink('lo');
  t.match(lo, { name: 'lo', mac: '00:00:00:00:00:00' });
  t.ok(listLinks().some((link) => link.name === 'lo' && link.ifindex === lo.ifindex));
  t.equal(codeThrown(() => readLink('no-such-link')), 'ENOTFOUND');
  t.throws(() => readLinkOf('af_xdp:nope0', 'nope0'), { code: 'ENOTFOUND', message: 'af_xdp:nope0: there is no interface "nope0" in this network namespace (ip link shows them).', errno: 19 });
  t.equal(codeThrown(() => readLink(0x7ffffff0)), 'ENOTFOUND');
  t.equal(codeThrown(() => driverInfo('no-such-link')), 'ENOTFOUND');
});

t.test('a veth pair across two namespaces, from birth to death', admin, async (t) => {
  const [one, two] = [createNetns(), createNetns()];
  withNetns(one, () => {
    createVeth({ a: { name: 'left', mac: '02:00:00:00:00:01' }, b: { name: 'right', netns: two }, queues: 3, mtu: 3000 });
    const left = readLink('left');
    t.match(left, { kind: 'veth', mtu: 3000, up: false, operstate: 'down', rxQueues: 3, txQueues: 3, mac: '02:00:00:00:00:01' });
    noIpv6Address(left.ifindex);
    setLink(left.ifindex, { up: true, mac: '02:00:00:00:00:09', mtu: 2000 });
    t.match(readLink(left.ifindex), { up: true, mac: '02:00:00:00:00:09', mtu: 2000 });
    t.not(readLink('left').operstate, 'up', 'its peer is down');
    addAddress(left.ifindex, '10.1.2.3', 24);
    addAddress(left.ifindex, '10.1.2.3', 24); // again is no error
    addNeighbour(left.ifindex, '10.1.2.4', '02:00:00:00:00:02');
    t.equal(codeThrown(() => createVeth({ a: { name: 'left' }, b: { name: 'x' } })), 'EEXISTS');
    t.equal(codeThrown(() => setLink(left.ifindex, { mtu: 1 })), 'ESYSCALL', 'an MTU of 1');
  });
  withNetns(two, () => setLink(readLink('right').ifindex, { up: true, name: 'new' }));
  withNetns(one, () => {
    t.equal(waitForCarrier(readLink('left').ifindex).operstate, 'up');
    deleteLink(readLink('left').ifindex);
  });
  t.equal(withNetns(two, () => codeThrown(() => readLink('new'))), 'ENOTFOUND', 'the peer went with it');
  for (const fd of [one, two]) binding().close(fd);
});

t.test('the thread is back in its own namespace after every way out', admin, async (t) => {
  const mine = listLinks().map((link) => link.name);
  const fd = createNetns();
  t.same(listLinks().map((link) => link.name), mine, 'after createNetns');
  t.same(withNetns(fd, () => listLinks().map((link) => link.name)), ['lo']);
  t.throws(() => withNetns(fd, () => { throw new RangeError('mine'); }), RangeError);
  t.equal(codeThrown(() => withNetns(fd, () => Promise.resolve(1))), 'ETHREAD');
  t.equal(codeThrown(() => withNetns(9999, () => 1)), 'ESYSCALL');
  t.same(listLinks().map((link) => link.name), mine);
  const own = currentNetns();
  for (const one of [fd, own]) binding().close(one);
});

t.test('ethtool on a veth: driver, channels, features', admin, async (t) => {
  const fd = createNetns();
  withNetns(fd, () => {
    createVeth({ a: { name: 'left' }, b: { name: 'right' }, queues: 2 });
    t.match(driverInfo('left'), { driver: 'veth' });
    t.match(readChannels('left'), { maxRx: 2, maxTx: 2, rx: 2, tx: 2 });
    setChannels('left', { tx: 1 });
    t.match(readChannels('left'), { rx: 2, tx: 1 });
    t.equal(codeThrown(() => setChannels('left', { rx: 99 })), 'ESYSCALL');
    t.equal(readTxChecksum('left'), true);
    setTxChecksum('left', false);
    t.equal(readTxChecksum('left'), false);
    t.equal(readFeatures('left').get('tx-checksum-ip-generic')!.active, false);
    const gro = readFeatures('left').get('rx-gro')!;
    setFeature('left', 'rx-gro', !gro.requested);
    t.equal(readFeatures('left').get('rx-gro')!.requested, !gro.requested);
    t.equal(codeThrown(() => setFeature('left', 'no-such-feature', true)), 'ENOTFOUND');
    t.equal(codeThrown(() => readChannels('lo')), 'EUNSUPPORTED');
  });
  binding().close(fd);
});

t.test('the kernel says what XDP a veth can do', admin, async (t) => {
  const fd = createNetns();
  withNetns(fd, () => {
    createVeth({ a: { name: 'left' }, b: { name: 'right' } });
    const { ifindex } = readLink('left');
    const mine = xdpFeatures(ifindex);
    t.ok(mine.xdp.includes('basic') && mine.xdp.includes('redirect'));
    t.notOk(mine.xdp.includes('xsk-zerocopy'), 'veth has no zero-copy');
    t.ok(listXdpFeatures().some((one) => one.ifindex === ifindex));
    t.equal(codeThrown(() => xdpFeatures(9999)), 'ENOTFOUND');
  });
  binding().close(fd);
});

const CHANGES = `const { codeOf } = await import(LIB + 'kernel/errno.js');
  const link = { ...await import(LIB + 'kernel/link.js'), ...await import(LIB + 'kernel/link_addresses.js'), ...await import(LIB + 'kernel/veth.js') };
  const { createNetns } = await import(LIB + 'kernel/netns.js');
  const { setTxChecksum } = await import(LIB + 'kernel/ethtool.js');
  const { openSyscallCounter } = await import(LIB + 'kernel/syscall_counter.js');
  const code = (work) => { try { work(); return 'none'; } catch (error) { return error.code; } };
  const lo = link.readLink('lo').ifindex;
  console.log([() => createNetns(), () => link.createVeth({ a: { name: 'left' }, b: { name: 'right' } }),
    () => link.setLink(lo, { mtu: 2000 }), () => link.deleteLink(lo), () => link.addAddress(lo, '10.9.9.9', 32),
    () => setTxChecksum('lo', false)].map(code).join(' '), openSyscallCounter().code);`;

t.test('without rights every change is ERIGHTS, and nothing is changed', needs('CAP_SETUID', 'CAP_SETGID'), async (t) => {
  const ended = inChild(CHANGES, ['setpriv', '--reuid', '65534', '--clear-groups']);
  t.equal(ended.stdout.trim(), 'ERIGHTS ERIGHTS ERIGHTS ERIGHTS ERIGHTS ERIGHTS ERIGHTS');
});
