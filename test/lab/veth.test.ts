import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { AF_PACKET, ETH_P_ALL, MSG_DONTWAIT, POLLIN, SOCK_RAW } from '../../lib/kernel/constants.js';
import { readTxChecksum } from '../../lib/kernel/ethtool.js';
import { setI32, setU16 } from '../../lib/kernel/bytes.js';
import { listLinks, readLink } from '../../lib/kernel/link.js';
import { withNetns } from '../../lib/kernel/netns.js';
import { openLab, type LabEnd } from '../../lib/lab/veth.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { inChild, startChild } from '../native/child.js';
import { holdersOf } from './namespaces.js';

const admin = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');
const swap = (protocol: number): number => (protocol & 0xff) << 8 | protocol >> 8;

/** A raw socket on one end, for every protocol. */
function rawSocket(end: LabEnd): number {
  return withNetns(end.netns, () => {
    const fd = binding().socket(AF_PACKET, SOCK_RAW, swap(ETH_P_ALL));
    const address = new Uint8Array(20); // struct sockaddr_ll
    setU16(address, 0, AF_PACKET);
    setU16(address, 2, swap(ETH_P_ALL));
    setI32(address, 4, end.ifindex);
    t.equal(binding().bind(fd, address), 0);
    return fd;
  });
}

t.test('both ends are up, as asked for', admin, async (t) => {
  const lab = openLab({ queues: 3, names: ['left', 'right'], mtu: 2000, txChecksum: false });
  for (const end of [lab.a, lab.b]) {
    withNetns(end.netns, () => {
      t.match(readLink(end.name), { up: true, operstate: 'up', mtu: 2000, rxQueues: 3, txQueues: 3, mac: end.mac, ifindex: end.ifindex });
      t.equal(readTxChecksum(end.name), false);
      t.same(listLinks().map((link) => link.name), ['lo', end.name]);
    });
  }
  t.not(lab.a.mac, lab.b.mac);
  lab.close();
  lab.close();
});

t.test('frames cross it, and nothing else does', admin, async (t) => {
  const lab = openLab();
  const [from, to] = [rawSocket(lab.a), rawSocket(lab.b)];
  await sleep(1500); // IPv6 would have announced itself by now
  const into = new Uint8Array(2048);
  t.ok(binding().recv(to, into, MSG_DONTWAIT) < 0, 'the link is silent');
  const frame = new Uint8Array(60).fill(0xa5);
  t.equal(binding().send(from, frame, 0), 60);
  t.ok(binding().poll(Int32Array.of(to, POLLIN), 60_000) > 0, 'it comes when the kernel has a moment');
  t.equal(binding().recv(to, into, MSG_DONTWAIT), 60);
  t.same(into.subarray(0, 60), frame);
  t.ok(binding().recv(to, into, MSG_DONTWAIT) < 0, 'and one frame is one frame');
  for (const fd of [from, to]) binding().close(fd);
  lab.close();
});

t.test('two labs with the same names do not meet', admin, async (t) => {
  const [one, two] = [openLab(), openLab()];
  const [from, to] = [rawSocket(one.a), rawSocket(two.b)];
  binding().send(from, new Uint8Array(60).fill(1), 0);
  t.ok(binding().recv(to, new Uint8Array(60), MSG_DONTWAIT) < 0);
  for (const fd of [from, to]) binding().close(fd);
  one.close();
  two.close();
});

t.test('bad options are refused, and no descriptor is left open', admin, async (t) => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  const before = open();
  t.equal(codeThrown(() => openLab({ names: ['a/b', 'c'] })), 'EOPTION');
  t.equal(codeThrown(() => openLab({ queues: 0 })), 'EOPTION');
  t.equal(codeThrown(() => openLab({ queues: 1.5 })), 'EOPTION');
  t.not(codeThrown(() => openLab({ mtu: 1 })), 'none');
  t.equal(codeThrown(() => openLab({ names: ['same', 'same'] })), 'none', 'each has its own namespace');
  t.ok(open() <= before + 2, 'only the last lab is open');
});

t.test('kill -9 of the process that holds a lab leaves none of it', admin, async (t) => {
  const child = startChild(`
    const { openLab } = await import(LIB + 'lab/veth.js');
    const { readlinkSync } = await import('node:fs');
    const lab = openLab();
    console.log([lab.a, lab.b].map((end) => readlinkSync('/proc/self/fd/' + end.netns)).join(' '));
    setInterval(() => {}, 1000);`);
  const [line] = await once(child.stdout!, 'data') as [Buffer];
  const namespaces = line.toString().trim().split(' ');
  t.equal(new Set(namespaces).size, 2);
  const holders = holdersOf(namespaces);
  t.same(holders, [String(child.pid)], 'it alone holds them while it lives');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.same(holdersOf(namespaces).filter(pid => holders.includes(pid)), [], 'and nobody does then');
});

t.test('no rights: a typed error; a user namespace is enough', admin, async (t) => {
  const code = `const { openLab } = await import(LIB + 'lab/veth.js');
    try { openLab({ txChecksum: false }).close(); console.log('made'); } catch (error) { console.log(error.code); }`;
  t.equal(inChild(code, ['setpriv', '--reuid', '65534', '--clear-groups']).stdout, 'ERIGHTS\n');
  t.equal(inChild(code, ['unshare', '-Urn']).stdout, 'made\n');
});
