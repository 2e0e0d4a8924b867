/**
 * Checksum and segmentation offloads of a virtio-net in our hands, Linux at the other end: its own driver leaves its
 * checksums and segments to the device, and takes frames only as a wire would carry them.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { layout } from '../../../lib/index.js';
import { macBytes } from '../../../lib/kernel/address.js';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import { Offloads } from '../../../lib/wire/offloads.js';
import { copyWhole } from '../../port/conformance/frames.js';
import { RawWire } from '../../port/conformance/wires.js';
import { multiQueue, virtioSplit } from '../devices.js';
import { EchoHost } from './echo_host.js';
import { equals, type Both } from './exchange.js';
import { run } from './functions.js';
import { ADDRESS } from './responder.js';
import { pseudoSum, sum16, udpFrame } from './udp.js';
import { peerOf, until } from './wire.js';

const { RX_L4_CKSUM_GOOD, TX_IP_CKSUM, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM } = layout;
/** Bytes of one go of an echo; more than any frame has, less than a window. */
const GO = 40_000;
const GOES = 8;

const peer = peerOf(multiQueue);
bindToVfio(multiQueue.nic, { force: true });
run('ip', 'addr', 'add', '192.0.2.1/24', 'dev', peer.name);
run('ip', 'neigh', 'replace', ADDRESS, 'lladdr', multiQueue.mac, 'dev', peer.name, 'nud', 'permanent');
t.teardown(() => {
  spawnSync('ip', ['address', 'flush', 'dev', peer.name]);
  restore(multiQueue.nic, { force: true });
});

function openBoth(t: Test, options = '', { nic, ifindex } = { nic: multiQueue.nic as string, ifindex: peer.ifindex }): Both {
  const wire = new RawWire(ifindex);
  const host = open([`vfio:${nic},promiscuous${options}`]);
  t.teardown(() => { host.close(); wire.close(); });
  return { host, port: host.ports[0]!, wire };
}

interface Came { readonly bytes: Uint8Array; readonly flags: number }

/** UDP that came to port 0x5678, so many packets. */
async function receiveUdp({ host, port }: Both, count: number, before: (handle: number) => void = () => undefined): Promise<Came[]> {
  const came: Came[] = [];
  const burst = host.burst(32);
  await until(() => {
    const got = port.rx[0]!.rxBurst(burst);
    for (const handle of burst.handles.subarray(0, got)) {
      const flags = host.mbufs.flags(handle);
      before(handle);
      const bytes = copyWhole(host.mbufs, handle);
      if (bytes[23] === 17 && bytes[36] === 0x56 && bytes[37] === 0x78) came.push({ bytes, flags });
    }
    host.pool.free(burst, 0, got);
    return came.length >= count;
  });
  return came;
}

/** Of addresses, protocol, length and the datagram, with its checksum: 0xffff when that is right. */
function udpSum(bytes: Uint8Array): number {
  const length = (bytes[38]! << 8) + bytes[39]!;
  return sum16(Uint8Array.from([...bytes.subarray(26, 34), 0, 17, bytes[38]!, bytes[39]!, ...bytes.subarray(34, 34 + length)]));
}

async function fromSocket(...sizes: readonly number[]): Promise<void> {
  const socket = createSocket('udp4');
  for (const size of sizes) await new Promise(resolve => { socket.send(randomBytes(size), 0x5678, ADDRESS, resolve); });
  socket.close();
}

/** Sends a UDP packet whose checksum is half done. */
function sendAsking({ host, port }: Both, good: Uint8Array, flags: number): number {
  const burst = host.burst(1);
  const asked = good.slice();
  asked.set(pseudoSum(good), 40);
  host.pool.alloc(burst, 1);
  host.mbufs.copyIn(burst.handles[0]!, asked);
  const header = host.mbufs.header(burst.handles[0]!);
  host.arena.u32[(header + layout.MBUF_OL_FLAGS) >>> 2] = flags;
  host.arena.u32[(header + layout.MBUF_TX_OFFLOAD) >>> 2] = 14 | 20 << 7 | 8 << 16;
  return port.tx[0]!.txBurst(burst, 1);
}

t.test('what is offered', async t => {
  const { port } = openBoth(t);
  t.match(port.capabilities, { txOffloads: TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG, rxOffloads: RX_L4_CKSUM_GOOD });
  t.equal(port.capabilities.rxLeaves, undefined);
});

t.test('a checksum that we leave to the NIC is right when Linux receives the frame', async t => {
  const both = openBoth(t);
  const linux = createSocket('udp4').bind(0x5678, '192.0.2.1');
  t.teardown(() => { linux.close(); });
  await once(linux, 'listening');
  const heard: Buffer[] = [];
  linux.on('message', data => { heard.push(data); });
  for (const size of [18, 100, 101, 1400]) {
    const good = udpFrame(size, [192, 0, 2, 2, 0x12, 0x34], [192, 0, 2, 1, 0x56, 0x78]);
    good.set([...macBytes(multiQueue.peerMac), ...macBytes(multiQueue.mac)]);
    t.equal(sendAsking(both, good, TX_UDP_CKSUM), 1);
    const out: Uint8Array[] = [];
    await until(() => out.push(...both.wire.receive().filter(each => each[23] === 17)) > 0);
    t.ok(out.length === 1 && equals(out[0]!, good), `${size} bytes, as the program would have made them`);
    t.ok(await until(() => heard.length > 0) && equals(heard.pop()!, good.subarray(42)), 'and a socket of Linux takes it');
  }
  t.equal(sendAsking(both, udpFrame(100), TX_UDP_CKSUM | TX_IP_CKSUM), 1);
  t.equal(both.host.stats(both.port).xstats['tx_bad_frame'], 1, 'an IP header is not the device\'s to sum');
});

t.test('what Linux leaves to be done is done, and said to be good; what nobody looked at is not', async t => {
  const both = openBoth(t);
  await fromSocket(18, 100, 101, 1400);
  const came = await receiveUdp(both, 4);
  t.same(came.map(({ bytes, flags }) => [udpSum(bytes), flags]), Array.from({ length: 4 }, () => [0xffff, RX_L4_CKSUM_GOOD]));
  const [good, bad] = [udpFrame(100), udpFrame(100)];
  bad[60]! ^= 1;
  await both.wire.send([good, bad]);
  t.same(await receiveUdp(both, 2), [{ bytes: good, flags: 0 }, { bytes: bad, flags: 0 }], 'of a raw socket, whole or not');
  t.match(both.host.stats(both.port).xstats, { rx_bad_offload: 0, rx_bad_length: 0 });
});

t.test('pass_offloads: it comes as Linux has left it, and whoever passes it on does the rest', async t => {
  const both = openBoth(t, ',pass_offloads');
  t.match(both.port.capabilities, { rxLeaves: TX_TCP_CKSUM | TX_UDP_CKSUM | TX_TCP_SEG });
  const offloads = new Offloads(both.host.pool);
  const into = both.host.burst(1);
  const halfDone: number[] = [];
  await fromSocket(18, 100, 101, 1400);
  const came = await receiveUdp(both, 4, handle => {
    if (!offloads.wants(handle)) return;
    halfDone.push(udpSum(copyWhole(both.host.mbufs, handle)));
    t.equal(offloads.finish(handle, into), 1);
  });
  t.same(came.map(({ bytes, flags }) => [udpSum(bytes), flags]), Array.from({ length: 4 }, () => [0xffff, TX_UDP_CKSUM]));
  t.equal(halfDone.filter(sum => sum !== 0xffff).length, 4);
  offloads.close();
});

for (const [name, options] of [['frames', ''], ['uncut packets', ',pass_offloads']] as const) {
  t.test(`TCP of Linux's, echoed: what comes in ${name} goes out in packets that the NIC cuts`, async t => {
    const both = openBoth(t, options);
    const echo = new EchoHost(both.host, both.port, 60_000);
    t.teardown(() => echo.close());
    const socket = connect(7, ADDRESS);
    let [back, closed] = [Buffer.alloc(0), false];
    socket.on('data', data => { back = Buffer.concat([back, data]); }).on('end', () => { closed = true; }).on('error', cause => { t.fail(String(cause)); });
    const turns = (ready: () => boolean): Promise<boolean> => until(() => { echo.turn(); return ready(); });
    const all: Buffer[] = [];
    for (let go = 1; go <= GOES; go++) {
      all.push(randomBytes(GO));
      socket.write(all.at(-1)!);
      if (!await turns(() => back.length >= go * GO)) break;
    }
    t.ok(equals(back, Buffer.concat(all)), `${back.length} bytes are back, each as it was`);
    socket.end();
    t.ok(await turns(() => closed), 'and it ends');
    const longest = Math.max(...echo.heard.map(({ length }) => length));
    const flags = echo.heard.reduce((set, each) => set.add(each.flags & ~TX_TCP_SEG), new Set<number>());
    t.ok(echo.sent.some(length => length > 10_000), `up to ${Math.max(...echo.sent)} bytes went out in one packet`);
    if (options === '') {
      t.ok(longest <= 1460);
      t.same([[...flags], echo.wrong], [[RX_L4_CKSUM_GOOD], 0], 'all checksums are right, and said to be');
    } else {
      t.ok(longest > 1460, `up to ${longest} bytes came in one packet`);
      t.same([...flags], [TX_TCP_CKSUM]);
      t.ok(echo.heard.some(each => (each.flags & TX_TCP_SEG) !== 0));
    }
    t.match(both.host.stats(both.port).xstats, { rx_bad_offload: 0, rx_bad_length: 0, tx_bad_frame: 0 });
    t.equal(both.host.pool.audit().app, 0);
  });
}

t.test('a device that offers none: capabilities say so, and a frame that wants something is refused and counted', async t => {
  bindToVfio(virtioSplit.nic, { force: true });
  t.teardown(() => restore(virtioSplit.nic, { force: true }));
  const both = openBoth(t, '', { nic: virtioSplit.nic, ifindex: peerOf(virtioSplit).ifindex });
  t.same([both.port.capabilities.txOffloads, both.port.capabilities.rxOffloads], [undefined, undefined]);
  t.equal(sendAsking(both, udpFrame(100), TX_UDP_CKSUM), 1);
  t.equal(both.host.stats(both.port).xstats['tx_bad_frame'], 1);
});
