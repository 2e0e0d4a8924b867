/** The tap driver against the kernel's own stack, in namespaces of the test's own. */
import { once } from 'node:events';
import t, { type Test as Tap } from 'tap';
import { binding } from '../../../lib/binding.js';
import { macBytes } from '../../../lib/kernel/address.js';
import { deleteLink, listLinks, readLink, setLink } from '../../../lib/kernel/link.js';
import { addNeighbour } from '../../../lib/kernel/link_addresses.js';
import { withNetns } from '../../../lib/kernel/netns.js';
import { createVeth } from '../../../lib/kernel/veth.js';
import type { LabEnd } from '../../../lib/lab/veth.js';
import { OWNER_APP, OWNER_SHIFT } from '../../../lib/mbuf/layout.js';
import { open, type Host, type OpenOptions } from '../../../lib/port/host.js';
import { openTap } from '../../../lib/port/drivers/tap/device.js';
import type { Port } from '../../../lib/port/port.js';
import { codeThrown, needs } from '../../kernel/rights.js';
import { inChild } from '../../native/child.js';
import { RawSocket, UdpSocket, bytesOf, frame, isUdp, quietNetns, receiveSome, sendAll, statsOf, udpFrame } from './kernel_helper.js';
import { sendingChild } from './sender_child.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');
const IP = '10.9.0.1';
/** What the test answers for, behind the tap. */
const PEER = { mac: '02:00:00:00:09:02', ip: '10.9.0.2' };

interface World {
  readonly host: Host;
  readonly port: Port;
  /** The kernel's end, and ours as if it were one. */
  readonly kernel: LabEnd;
  readonly peer: LabEnd;
}

function device(netns: number, name: string, options: string): string {
  return `tap:${name},netns=/proc/self/fd/${netns}${options === '' ? '' : `,${options}`}`;
}

/** A port in a new namespace. Everything is closed afterwards: every mbuf must be back, and the interface gone. */
function withTap(t: Tap, options: string, work: (world: World) => void, how: OpenOptions = {}): void {
  const netns = quietNetns();
  try {
    const host = open([device(netns, 'tap0', options)], how);
    const { ifindex, mac } = withNetns(netns, () => readLink('tap0'));
    const kernel: LabEnd = { netns, name: 'tap0', ifindex, mac, ip: IP };
    work({ host, port: host.ports[0]!, kernel, peer: { ...kernel, ...PEER } });
    host.close();
    const { total, free, twice } = host.pool.audit();
    t.same({ free, twice }, { free: total, twice: 0 }, 'every mbuf is back');
    t.same(interfaces(netns), ['lo'], 'the interface went with the port');
    t.equal(host.arena.zones().filter(zone => zone.name.startsWith('port/')).length, 0, 'no zone is left');
  } finally {
    binding().close(netns);
  }
}

function interfaces(netns: number): string[] {
  return withNetns(netns, () => listLinks().map(({ name }) => name));
}

t.test('frames of every length go to and from a raw socket on the interface', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    const raw = new RawSocket(kernel);
    const lengths = [14, 15, 60, 61, 64, 127, 512, 1000, 1514];
    const out = lengths.map((length, i) => frame(peer, kernel, i, length));
    sendAll(host, port, out);
    t.same(raw.receive(out.length), out);
    const back = lengths.map((length, i) => frame(kernel, peer, 50 + i, length));
    for (const bytes of back) raw.send(bytes);
    t.same(bytesOf(receiveSome(host, port, back.length)), back);
    const bytes = lengths.reduce((sum, length) => sum + length, 0);
    t.match(statsOf(port), { txPackets: lengths.length, txBytes: bytes, rxPackets: lengths.length, rxBytes: bytes, txRefused: 0, rxNoMbuf: 0 });
    t.match(port.capabilities, { mtu: 1500, rxQueues: 1, txQueues: 1, timestamps: 'none' });
    t.equal(port.mac, kernel.mac);
    raw.close();
  });
});

t.test('bursts of any size, many of them, in order and whole', rights, async t => {
  for (const size of [1, 3, 32, 512]) {
    withTap(t, '', ({ host, port, kernel, peer }) => {
      const raw = new RawSocket(kernel);
      const burst = host.burst(size);
      let [sent, received, wrong] = [0, 0, 0];
      for (let round = 0; round < 6; round++) {
        const frames = Array.from({ length: 200 }, (_, i) => frame(kernel, peer, sent + i, 60 + (sent + i) * 17 % 1400));
        for (const bytes of frames) raw.send(bytes);
        let got = 0;
        for (let taken = port.rx[0]!.rxBurst(burst); taken > 0; taken = port.rx[0]!.rxBurst(burst)) {
          for (let i = 0; i < taken; i++) {
            const bytes = host.mbufs.copyOut(burst.handles[i]!);
            if (Buffer.compare(bytes, frames[got++]!) === 0) received++; else wrong++;
          }
          host.pool.free(burst, 0, taken);
        }
        sent += 200;
      }
      t.same([received, wrong], [sent, 0], `bursts of ${size}`);
      raw.close();
    });
  }
});

t.test('the kernel asks by ARP, is answered, and exchanges UDP with us', rights, async t => {
  withTap(t, `ip=${IP}/24,mac=02:00:00:00:09:01,mtu=1400`, ({ host, port, kernel, peer }) => {
    t.match(withNetns(kernel.netns, () => readLink('tap0')), { mac: '02:00:00:00:09:01', mtu: 1400, up: true });
    t.equal(port.capabilities.mtu, 1400);
    const udp = new UdpSocket(kernel.netns, IP, 6000);
    udp.sendTo(PEER.ip, 6001, new TextEncoder().encode('who has you?'));
    const [request] = receiveSome(host, port, 1, bytes => bytes[12] === 0x08 && bytes[13] === 0x06);
    t.same(request!.bytes.subarray(0, 6), new Uint8Array(6).fill(255));
    t.same(request!.bytes.subarray(38, 42), Uint8Array.of(10, 9, 0, 2), 'an ARP request for our address');
    sendAll(host, port, [arpReply(request!.bytes)]);
    const [datagram] = receiveSome(host, port, 1, isUdp);
    t.equal(new TextDecoder().decode(datagram!.bytes.subarray(42)), 'who has you?');
    t.same(datagram!.bytes.subarray(0, 6), macBytes(PEER.mac));
    sendAll(host, port, [udpFrame(peer, kernel, [6001, 6000], new TextEncoder().encode('I have'))]);
    t.equal(new TextDecoder().decode(udp.receive()), 'I have');
    udp.close();
  });
});

/** The answer to an ARP request (RFC 826), from PEER. */
function arpReply(request: Uint8Array): Uint8Array {
  const reply = request.slice(0, 42);
  const mine = macBytes(PEER.mac);
  reply.set([...request.subarray(6, 12), ...mine]);
  reply[21] = 2;
  reply.set([...mine, ...request.subarray(38, 42), ...request.subarray(22, 32)], 22);
  return reply;
}

t.test('several queues: a flow stays in one, and each sends', rights, async t => {
  withTap(t, `ip=${IP}/24,queues=2`, ({ host, port, kernel, peer }) => {
    withNetns(kernel.netns, () => addNeighbour(kernel.ifindex, PEER.ip, PEER.mac));
    t.match(port.capabilities, { rxQueues: 2, txQueues: 2 });
    const sockets = Array.from({ length: 32 }, (_, i) => new UdpSocket(kernel.netns, IP, 6000 + i));
    for (let i = 0; i < 320; i++) sockets[i % 32]!.sendTo(PEER.ip, 7000, new Uint8Array(18));
    const received = receiveSome(host, port, 320, isUdp);
    t.equal(received.length, 320);
    const queues = new Map<number, Set<number>>();
    for (const { bytes, queue } of received) queues.set(bytes[35]!, (queues.get(bytes[35]!) ?? new Set()).add(queue));
    t.ok([...queues.values()].every(set => set.size === 1), 'each flow stays in one');
    t.equal(new Set(received.map(({ queue }) => queue)).size, 2, 'and both have some');
    for (const queue of [0, 1]) {
      sendAll(host, port, [udpFrame(peer, kernel, [7000, 6000 + queue], new Uint8Array([queue]))], queue);
      t.same(sockets[queue]!.receive(), Uint8Array.of(queue));
    }
    for (const socket of sockets) socket.close();
  });
});

t.test('a frame that a buffer cannot hold is counted, never delivered short', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    withNetns(kernel.netns, () => setLink(kernel.ifindex, { mtu: 3000 }));
    const raw = new RawSocket(kernel);
    for (const length of [2500, 100, 1793, 1792, 1791, 60]) raw.send(frame(kernel, peer, length, length));
    t.same(bytesOf(receiveSome(host, port, 3)), [100, 1791, 60].map(length => frame(kernel, peer, length, length)));
    t.equal(statsOf(port).xstats['rx_truncated'], 3);
    raw.close();
  });
  withTap(t, 'mtu=3000', ({ host, port, kernel, peer }) => {
    t.equal(host.pool.bufferSize, 4096, 'the pool was made for it');
    const raw = new RawSocket(kernel);
    raw.send(frame(kernel, peer, 1, 3014));
    t.same(bytesOf(receiveSome(host, port, 1)), [frame(kernel, peer, 1, 3014)]);
    raw.close();
  });
});

t.test('bad mbufs are taken and counted, and the good ones around them go', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    const raw = new RawSocket(kernel);
    const [one, short, two] = [frame(peer, kernel, 1, 60), frame(peer, kernel, 2, 13), frame(peer, kernel, 3, 90)];
    sendAll(host, port, [short, one, short, two, short]);
    t.same(raw.receive(2), [one, two]);
    t.match(statsOf(port), { txPackets: 2, txBytes: 150, txRefused: 0, xstats: { tx_bad_frame: 3 } });
    raw.close();
  });
});

t.test('the interface goes down under it, and comes up again', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    const burst = host.burst(4);
    host.pool.alloc(burst, 4);
    for (const [i, handle] of [...burst.handles].entries()) host.mbufs.copyIn(handle, frame(peer, kernel, i, i === 0 ? 13 : 60));
    withNetns(kernel.netns, () => setLink(kernel.ifindex, { up: false }));
    t.equal(port.tx[0]!.txBurst(burst, 4), 1, 'only the bad one is taken; the others are still ours');
    t.match(statsOf(port), { txRefused: 3, xstats: { tx_write_EIO: 1, tx_bad_frame: 1 } });
    t.equal(port.rx[0]!.rxBurst(host.burst()), 0);
    t.notOk(Object.keys(statsOf(port).xstats).some(name => name.startsWith('rx_read')), 'to have nothing to receive is no refusal');
    withNetns(kernel.netns, () => setLink(kernel.ifindex, { up: true }));
    const raw = new RawSocket(kernel);
    burst.keep(1, 4);
    t.equal(port.tx[0]!.txBurst(burst, 3), 3);
    t.same(raw.receive(3), [1, 2, 3].map(i => frame(peer, kernel, i, 60)));
    raw.send(frame(kernel, peer, 9, 60));
    t.same(bytesOf(receiveSome(host, port, 1)), [frame(kernel, peer, 9, 60)]);
    raw.close();
  });
});

t.test('the interface is deleted under it: counted, and close still balances', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    t.equal(port.rx[0]!.rxBurst(host.burst()), 0, 'it holds mbufs in advance now');
    withNetns(kernel.netns, () => deleteLink(kernel.ifindex));
    t.equal(port.rx[0]!.rxBurst(host.burst()), 0);
    const burst = host.burst(1);
    host.pool.alloc(burst, 1);
    host.mbufs.copyIn(burst.handles[0]!, frame(peer, kernel, 1, 60));
    t.equal(port.tx[0]!.txBurst(burst, 1), 0);
    host.pool.free(burst, 0, 1);
    const { xstats } = statsOf(port);
    t.ok(xstats['rx_read_EBADFD']! > 0);
    t.ok(xstats['tx_write_EBADFD']! > 0);
  });
});

t.test('frames that nobody reads are the kernel\'s to drop, and it counts them', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    const raw = new RawSocket(kernel);
    let sent = 0;
    for (let i = 0; i < 3000; i++) if (raw.send(frame(kernel, peer, i, 60)) > 0) sent++;
    const received = bytesOf(receiveSome(host, port, 3000));
    const dropped = statsOf(port).xstats['kernel_rx_dropped']!;
    t.ok(received.length > 0 && received.length < 3000, `${received.length} received, ${dropped} dropped, ${sent} accepted`);
    t.ok(dropped > 0);
    t.same(received, Array.from(received, (_, i) => frame(kernel, peer, i, 60)));
    raw.close();
  });
});

t.test('mbufs taken in advance are the port\'s, and a dry pool costs nothing', rights, async t => {
  withTap(t, '', ({ host, port, kernel, peer }) => {
    const burst = host.burst(32);
    t.equal(port.rx[0]!.rxBurst(burst), 0);
    t.equal(host.pool.audit().rx, 32);
    t.equal(host.pool.audit().owners.get('port 0 rx 0'), 32);
    const all = host.burst(1);
    const held: number[] = [];
    while (host.pool.alloc(all, 1) > 0) held.push(all.handles[0]!);
    const raw = new RawSocket(kernel);
    for (let i = 0; i < 40; i++) raw.send(frame(kernel, peer, i, 60));
    t.equal(port.rx[0]!.rxBurst(burst), 32, 'into those');
    t.equal(port.rx[0]!.rxBurst(all), 0, 'no mbuf is left');
    t.equal(statsOf(port).rxNoMbuf, 1);
    t.equal(host.mbufs.owner(burst.handles[0]!) >>> OWNER_SHIFT, OWNER_APP, 'and they are the program\'s now');
    host.pool.free(burst, 0, 32);
    t.same(bytesOf(receiveSome(host, port, 8)), Array.from({ length: 8 }, (_, i) => frame(kernel, peer, 32 + i, 60)));
    for (const handle of held) {
      all.handles[0] = handle;
      host.pool.free(all, 0, 1);
    }
    raw.close();
  }, { mbufs: 64, cache: 0 });
});

t.test('calls after close, and close twice', rights, async t => {
  withTap(t, '', ({ host, port }) => {
    const burst = host.burst(2);
    host.pool.alloc(burst, 2);
    port.close();
    port.close();
    t.equal(port.rx[0]!.rxBurst(host.burst()), 0);
    t.equal(port.tx[0]!.txBurst(burst, 2), 0);
    t.match(statsOf(port).xstats, { rx_after_close: 1, tx_after_close: 1 });
    host.pool.free(burst, 0, 2);
  });
});

t.test('names: the kernel may choose, taken ones are refused', rights, async t => {
  withTap(t, '', ({ kernel: { netns } }) => {
    const refused = (name: string, options = ''): string => codeThrown(() => open([device(netns, name, options)]).close());
    t.equal(refused('tap0'), 'EBUSYQUEUE', 'it is in use');
    t.equal(refused('tap0', 'queues=2'), 'EEXISTS', 'it was made for one queue');
    t.equal(refused('lo'), 'EEXISTS', 'it is no tap');
    withNetns(netns, () => createVeth({ a: { name: 'v0' }, b: { name: 'v1' } }));
    t.equal(refused('v0'), 'EEXISTS');
    withNetns(netns, () => deleteLink(readLink('v0').ifindex));
    for (const bad of ['a/b', 'sixteen-bytes-xx', 'a b']) t.equal(refused(bad), 'EOPTION', bad);
    t.equal(refused('tap9', 'mac=02:00'), 'EOPTION');
    t.equal(refused('tap9', 'ip=10.0.0.1'), 'EOPTION');
    t.equal(refused('tap9', 'mac=01:00:00:00:00:01'), 'ESYSCALL', 'a multicast address');
    t.same(interfaces(netns), ['lo', 'tap0'], 'what was refused left nothing');
    const other = open([`tap:,netns=/proc/self/fd/${netns}`]);
    t.same(interfaces(netns).sort(), ['lo', 'tap0', 'tap1']);
    t.ok(other.ports[0]!.capabilities.mode.startsWith('tap1'));
    other.close();
    const down = open([device(netns, 'quiet', 'up=0')]);
    t.equal(withNetns(netns, () => readLink('quiet').up), false);
    down.close();
  });
});

const TRY = 'const { open } = await import(LIB + "port/host.js"); try { open(["tap:tap77"]).close(); console.log("opened"); } catch (error) { console.log(error.code, error.message); }';

t.test('missing rights and a missing device: typed errors that say the mend', rights, async t => {
  t.match(inChild(TRY, ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin']).stdout, /^ERIGHTS .*CAP_NET_ADMIN/);
  t.match(inChild(TRY, ['unshare', '-mn', 'sh', '-c', 'mount -t tmpfs none /dev/net && exec "$@"', 'sh']).stdout, /^EUNSUPPORTED .*\/dev\/net\/tun is not there.*modprobe tun/);
  t.equal(inChild(TRY, ['unshare', '-n']).stdout, 'opened\n');
});

t.test('an interface that root made for a user needs no rights, and stays', rights, async t => {
  const netns = quietNetns();
  withNetns(netns, () => {
    const { name, fds: [fd] } = openTap('tap77', 1);
    t.equal(binding().ioctl(fd!, 0x400454cc, 65534), 0, 'TUNSETOWNER');
    t.equal(binding().ioctl(fd!, 0x400454cb, 1), 0, 'TUNSETPERSIST');
    setLink(readLink(name).ifindex, { up: true });
    binding().close(fd!);
    t.equal(inChild(TRY, ['setpriv', '--reuid', '65534', '--clear-groups']).stdout, 'opened\n');
  });
  t.same(interfaces(netns), ['lo', 'tap77']);
  binding().close(netns);
});

t.test('kill -9 during traffic leaves no interface', rights, async t => {
  const netns = quietNetns();
  const child = sendingChild(`tap:tap0,ip=${IP}/24,netns=/proc/${process.pid}/fd/${netns}`);
  await once(child.stdout!, 'data');
  t.same(interfaces(netns), ['lo', 'tap0']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.same(interfaces(netns), ['lo']);
  binding().close(netns);
});
