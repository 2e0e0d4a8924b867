/** SR-IOV: virtual functions of ours under Linux's physical function, then under ours. */
import t, { type Test } from 'tap';
import { readDevice } from '../../../lib/kernel/pci.js';
import { restore, setVirtualFunctions } from '../../../lib/pci/bind.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { codeThrown } from '../../kernel/rights.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy, sendBy } from '../../port/conformance/wires.js';
import { igb } from '../devices.js';
import { FRAME_MAC, PfServer, run, TOKEN, underLinux } from './functions.js';
import { intelSuite } from './intel_suite.js';
import { peerOf, until } from './wire.js';

const OTHER_MAC = '02:00:00:00:00:0c';
const MANY = process.env['POLLMODE_LONG'] === '1' ? 1_000_000 : 20_000;
const peer = peerOf(igb);

/** A frame for one address; with the seed, the same but for that. */
function to(mac: string, seed: number): Uint8Array {
  const bytes = frame(60 + seed % 200, seed);
  bytes.set(mac.split(':').map(pair => Number.parseInt(pair, 16)));
  return bytes;
}

/** A frame of 60 to 1514 bytes that is no other's; for somebody on the wire, or for the first function. */
function numbered(number: number, direction: 'to' | 'from'): Uint8Array {
  const bytes = frame(60 + (number * 7919) % 1455, number + 1);
  if (direction === 'to') bytes[5] = 0xee;
  return bytes;
}

async function came(host: Host, port: Port, wanted: Uint8Array): Promise<boolean> {
  return until(() => receiveBy(host, port).some(each => Buffer.compare(each, wanted) === 0));
}

/** What two functions may say to each other, and to the wire. */
async function between(t: Test, host: Host, wire: RawWire): Promise<void> {
  const [one, two] = host.ports as [Port, Port];
  t.same([one.mac, two.mac], [FRAME_MAC, OTHER_MAC]);
  t.ok(await until(() => one.link!.read().up && two.link!.read().up), 'the link is the physical function\'s');
  sendBy(host, one, [to(OTHER_MAC, 1)]);
  t.ok(await came(host, two, to(OTHER_MAC, 1)), 'function to function');
  sendBy(host, two, [to(FRAME_MAC, 2)]);
  t.ok(await came(host, one, to(FRAME_MAC, 2)), 'and back');
  wire.receive();
  sendBy(host, one, [to(igb.peerMac, 3)]);
  const out: Uint8Array[] = [];
  t.ok(await until(() => out.push(...wire.receive()) > 0), 'function to wire');
  t.same(out, [to(igb.peerMac, 3)], 'and nothing that was between the two');
  await wire.send([to(OTHER_MAC, 4), to(FRAME_MAC, 5)]);
  t.ok(await came(host, one, to(FRAME_MAC, 5)), 'wire to function');
  t.ok(await came(host, two, to(OTHER_MAC, 4)), 'each its own');
  one.multicast!(['01:00:5e:00:00:05']);
  await wire.send([to('01:00:5e:00:00:06', 6), to('01:00:5e:00:00:05', 7)]);
  t.ok(await came(host, one, to('01:00:5e:00:00:05', 7)), 'a group that was asked for');
  await wire.send([to('ff:ff:ff:ff:ff:ff', 8)]);
  t.ok(await came(host, one, to('ff:ff:ff:ff:ff:ff', 8)) && await came(host, two, to('ff:ff:ff:ff:ff:ff', 8)), 'broadcasts come to all');
}

/** Does a frame from one function reach the other? Both are ready before: what comes does so at once. */
async function reaches(host: Host, seed: number): Promise<boolean> {
  const [one, two] = host.ports as [Port, Port];
  await until(() => one.link!.read().up && two.link!.read().up);
  const isOurs = (bytes: Uint8Array): boolean => Buffer.compare(bytes.subarray(6), to(OTHER_MAC, seed).subarray(6)) === 0;
  receiveBy(host, two);
  for (let tries = 0; tries < 10; tries++) {
    sendBy(host, one, [to(OTHER_MAC, seed), to('ff:ff:ff:ff:ff:ff', seed)]);
    if (await until(() => receiveBy(host, two).some(isOurs), 0.2)) return true;
  }
  return false;
}

t.test('under Linux', async t => {
  const { functions, name } = underLinux([FRAME_MAC, OTHER_MAC]);
  const wire = new RawWire(peer.ifindex);
  await t.test('no answer: the physical function is down', async t => {
    run('ip', 'link', 'set', name, 'down');
    t.equal(codeThrown(() => open([`vfio:${functions[0]!}`])), 'ENOANSWER');
    run('ip', 'link', 'set', name, 'up');
  });
  const host = open(functions.map(address => `vfio:${address}`));
  t.teardown(() => wire.close());
  await t.test('functions and wire', t => between(t, host, wire));
  t.throws(() => host.ports[0]!.promiscuous!(true), { code: 'EUNSUPPORTED' }, 'Linux trusts nobody so far');
  await t.test(`${MANY} frames each way`, async t => {
    const port = host.ports[0]!;
    const burst = host.burst(32);
    for (const direction of ['to', 'from'] as const) {
      wire.receive();
      receiveBy(host, port);
      let [wrong, received] = [0, 0];
      for (let sent = 0; sent < MANY; sent += 32) {
        const list = Array.from({ length: 32 }, (_, i) => numbered(sent + i, direction));
        if (direction === 'from') await wire.send(list);
        else {
          host.pool.alloc(burst, 32);
          list.forEach((bytes, i) => host.mbufs.copyIn(burst.handles[i]!, bytes));
          if (port.tx[0]!.txBurst(burst, 32) !== 32) wrong++;
        }
        const all = await until(() => {
          for (const bytes of direction === 'to' ? wire.receive() : receiveBy(host, port)) {
            if (bytes[12] !== 0x88 || bytes[13] !== 0xb5) continue; // Linux says something of its own on its interface
            if (Buffer.compare(bytes, numbered(received, direction)) !== 0) wrong++;
            received++;
          }
          return received >= sent + 32;
        });
        if (!all) break;
      }
      t.same([received, wrong], [Math.ceil(MANY / 32) * 32, 0], direction);
    }
  });
  await t.test('VLANs keep them apart', async t => {
    run('ip', 'link', 'set', name, 'vf', '0', 'vlan', '5');
    run('ip', 'link', 'set', name, 'vf', '1', 'vlan', '6');
    host.close();
    const apart = open(functions.map(address => `vfio:${address}`));
    t.notOk(await reaches(apart, 20), 'in two VLANs');
    run('ip', 'link', 'set', name, 'vf', '1', 'vlan', '5');
    apart.close();
    const together = open(functions.map(address => `vfio:${address}`));
    t.ok(await reaches(together, 21), 'in one');
    together.close();
  });
  for (const address of functions) restore(address, { force: true });
  setVirtualFunctions(igb.nic, 0, { force: true });
});

t.test('under ours', async t => {
  const server = await PfServer.start(2);
  const wire = new RawWire(peer.ifindex);
  t.teardown(() => wire.close());
  await server.set(0, { mac: FRAME_MAC });
  await server.set(1, { mac: OTHER_MAC });
  t.equal(codeThrown(() => open([`vfio:${server.functions[0]!}`])), 'ERIGHTS', 'without the token');
  const device = (index: number, more = ''): string => `vfio:${server.functions[index]!},vf_token=${TOKEN}${more}`;
  await t.test('functions, wire, VLANs', async t => {
    const host = open([device(0), device(1)]);
    t.teardown(() => host.close());
    await between(t, host, wire);
    t.throws(() => host.ports[0]!.promiscuous!(true), { code: 'EUNSUPPORTED' });
    await server.set(0, { vlan: 5 });
    await server.set(1, { vlan: 6 });
    t.notOk(await reaches(host, 20), 'in two VLANs');
    await server.set(1, { vlan: 5 });
    t.ok(await reaches(host, 21), 'in one');
    t.throws(() => host.ports[0]!.vlanFilter!([7]), { code: 'EUNSUPPORTED' }, 'it is kept in another');
    await server.set(0, { vlan: 0 });
    await server.set(1, { vlan: 0 });
    host.ports[0]!.vlanFilter!([7, 9]);
    t.same((await server.set(-1)).states[0]!.vlans, [7, 9]);
    const tagged = Uint8Array.from([...to(FRAME_MAC, 30).subarray(0, 12), 0x81, 0, 0, 7, ...to(FRAME_MAC, 30).subarray(12)]);
    await wire.send([tagged]);
    t.ok(await came(host, host.ports[0]!, tagged), 'a VLAN that was asked for');
    const { states } = await server.set(-1);
    t.match(states[0], { ready: true, refused: 2 });
  });
  await server.set(0, { trust: true });
  t.match(readDevice(server.functions[0]!), { driver: 'vfio-pci' });
  await t.test('as any NIC', t => {
    intelSuite(t, {
      name: 'igbvf', wire: { nic: server.functions[0]!, mac: FRAME_MAC, peerMac: igb.peerMac }, netdev: 'e2a', function: '04:10\\.0', options: `,vf_token=${TOKEN}`, virtual: true,
    });
    t.end();
  });
  await t.test('a physical function that is killed answers no more, and a new one does', async t => {
    server.kill();
    await until(() => false, 0.5);
    t.equal(codeThrown(() => open([device(0)])), 'ENOANSWER');
    const again = await PfServer.start(1);
    await again.set(0, { mac: FRAME_MAC });
    const host = open([`vfio:${again.functions[0]!},vf_token=${TOKEN}`]);
    await until(() => host.ports[0]!.link!.read().up);
    await wire.send([to(FRAME_MAC, 40)]);
    t.ok(await came(host, host.ports[0]!, to(FRAME_MAC, 40)));
    host.close();
    await again.stop();
  });
  setVirtualFunctions(igb.nic, 0, { force: true });
  restore(igb.nic, { force: true });
});
