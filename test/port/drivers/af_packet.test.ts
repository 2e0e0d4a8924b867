/** The af_packet driver against the kernel itself: veth pairs in namespaces of the test's own. */
import { once } from 'node:events';
import t, { type Test as Tap } from 'tap';
import { binding } from '../../../lib/binding.js';
import { O_RDWR } from '../../../lib/kernel/constants.js';
import { setLink } from '../../../lib/kernel/link.js';
import { withNetns } from '../../../lib/kernel/netns.js';
import { openLab, type Lab, type LabEnd, type LabOptions } from '../../../lib/lab/veth.js';
import { RX_RSS_HASH, RX_TIMESTAMP, RX_VLAN_STRIPPED } from '../../../lib/mbuf/layout.js';
import { open, type Host, type OpenOptions } from '../../../lib/port/host.js';
import { TP2_LEN, TP_STATUS_SEND_REQUEST } from '../../../lib/port/drivers/af_packet/layout.js';
import { codeThrown, needs } from '../../kernel/rights.js';
import { inChild, startChild } from '../../native/child.js';
import { RawSocket, UdpSocket, frame, isUdp, packetSockets, promiscuity, receiveSome, sendAll, statsOf, tagged, udpFrame } from './kernel_helper.js';

const rights = needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW');

function device({ name, netns }: LabEnd, options = ''): string {
  return `af_packet:${name},netns=/proc/self/fd/${netns}${options === '' ? '' : `,${options}`}`;
}

/** A lab with a port on end a. Everything is closed afterwards, and every mbuf must be back. */
function withPort(t: Tap, options: string, work: (lab: Lab, host: Host) => void, lab: LabOptions = {}, how: OpenOptions = {}): void {
  const wires = openLab(lab);
  try {
    const host = open([device(wires.a, options)], how);
    work(wires, host);
    closeAndAudit(t, host);
  } finally {
    wires.close();
  }
}

function closeAndAudit(t: Tap, host: Host): void {
  host.close();
  const { total, free, twice } = host.pool.audit();
  t.same({ free, twice }, { free: total, twice: 0 }, 'every mbuf is back');
}

function bytesOf(frames: readonly { readonly bytes: Uint8Array }[]): Uint8Array[] {
  return frames.map(({ bytes }) => bytes);
}

t.test('frames of every length go to and from a raw socket', rights, async t => {
  withPort(t, '', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    const lengths = [14, 15, 29, 30, 31, 45, 46, 47, 60, 63, 64, 65, 78, 127, 128, 129, 512, 1000, 1500, 1513, 1514];
    const out = lengths.map((length, i) => frame(a, b, i, length));
    sendAll(host, port!, out);
    t.same(raw.receive(), out);
    const back = lengths.map((length, i) => frame(b, a, 100 + i, length));
    const before = Math.floor(Date.now() / 1000);
    for (const bytes of back) raw.send(bytes);
    const received = receiveSome(host, port!, back.length);
    t.same(bytesOf(received), back);
    for (const { flags, hash, seconds } of received) {
      t.equal(flags, RX_TIMESTAMP);
      t.equal(hash, 0);
      t.ok(seconds >= before && seconds <= Date.now() / 1000 + 1, 'stamped with the time of day');
    }
    const bytes = lengths.reduce((sum, length) => sum + length, 0);
    t.match(statsOf(port!), { rxPackets: back.length, rxBytes: bytes, txPackets: out.length, txBytes: bytes, rxNoMbuf: 0, txRefused: 0 });
    t.match(port!.capabilities, { mtu: 1500, rxQueues: 1, txQueues: 1, timestamps: 'software', zeroCopy: false });
    t.equal(port!.mac, a.mac);
    raw.close();
  });
});

for (const options of ['', 'qdisc_bypass=1', 'block_size=4096,rx_blocks=512,tx_ring=64']) {
  t.test(`many frames between two ports, in order and whole (${options})`, rights, async t => {
    const lab = openLab();
    const count = process.env['POLLMODE_LONG'] === '1' ? 200_000 : 10_000;
    const host = open([device(lab.a, options), device(lab.b, options)]);
    const [left, right] = host.ports;
    let [next, wrong] = [0, 0];
    for (let done = 0; done < count; done += 250) {
      const frames = Array.from({ length: 250 }, (_, i) => frame(lab.a, lab.b, done + i, 60 + (done + i) * 13 % 1400));
      sendAll(host, left!, frames);
      receiveSome(host, right!, 250).forEach(({ bytes }, i) => { if (Buffer.compare(bytes, frames[i]!) === 0) next++; else wrong++; });
    }
    t.same([next, wrong], [count, 0]);
    const [sent, received] = [statsOf(left!), statsOf(right!)];
    t.equal(received.rxBytes, sent.txBytes);
    t.equal(received.xstats['kernel_rx_packets'], count);
    t.equal(received.xstats['kernel_rx_drops'], 0);
    t.equal(sent.rxPackets, 0, 'what the host sends itself does not come back');
    t.ok(sent.xstats['tx_kicks']! <= count / 32 + count / 250 + 1, 'one system call per burst');
    t.ok(right!.capabilities.mode.includes(options.includes('bypass') ? 'qdisc bypass' : 'through the qdisc'));
    closeAndAudit(t, host);
    lab.close();
  });
}

t.test('UDP of the kernel\'s own stack, both ways', rights, async t => {
  withPort(t, '', ({ a, b }, host) => {
    const udp = new UdpSocket(b.netns, b.ip, 7000);
    const text = new TextEncoder().encode('from the kernel');
    udp.sendTo(a.ip, 7001, text);
    const [datagram] = receiveSome(host, host.ports[0]!, 1, isUdp);
    t.same(datagram!.bytes.subarray(42, 42 + text.length), text);
    sendAll(host, host.ports[0]!, [udpFrame(a, b, [7001, 7000], new TextEncoder().encode('to the kernel'))]);
    t.equal(new TextDecoder().decode(udp.receive()), 'to the kernel');
    udp.close();
  }, { txChecksum: false });
});

t.test('VLAN tags: stripped into the header, or kept in the frame', rights, async t => {
  for (const vlan of ['strip', 'keep'] as const) {
    withPort(t, `vlan=${vlan}`, ({ a, b }, host) => {
      const raw = new RawSocket(b);
      const plain = [60, 300, 1514].map((length, i) => frame(b, a, i, length));
      const sent = [...plain.map((bytes, i) => tagged(bytes, 0x8100, 0x6000 + i)), tagged(plain[0]!, 0x88a8, 5)];
      for (const bytes of sent) raw.send(bytes);
      const received = receiveSome(host, host.ports[0]!, 4);
      const strips = vlan === 'strip';
      t.same(bytesOf(received.slice(0, 3)), strips ? plain : sent.slice(0, 3));
      t.same(received.slice(0, 3).map(({ vlanTci }) => vlanTci), strips ? [0x6000, 0x6001, 0x6002] : [0, 0, 0]);
      t.equal(received.slice(0, 3).every(({ flags }) => ((flags & RX_VLAN_STRIPPED) !== 0) === strips), true);
      t.same(received[3]!.bytes, sent[3], 'a tag of 802.1ad, for which the header has no word, is in the frame');
      t.equal(received[3]!.flags & RX_VLAN_STRIPPED, 0);
      raw.close();
    });
  }
});

t.test('a tagged frame may be four bytes longer when it is sent', rights, async t => {
  withPort(t, '', ({ a, b }, host) => {
    const other = open([device(b, 'vlan=keep')]);
    const long = tagged(frame(a, b, 1, 1514), 0x8100, 7);
    sendAll(host, host.ports[0]!, [long]);
    t.same(bytesOf(receiveSome(other, other.ports[0]!, 1)), [long]);
    closeAndAudit(t, other);
  });
});

function sourcePort(bytes: Uint8Array): number {
  return bytes[34]! << 8 | bytes[35]!;
}

/** Sends 40 packets of each of 40 flows; says which of the receivers each flow came to. */
function spreadFlows(lab: Lab, receive: () => readonly { readonly bytes: Uint8Array; readonly where: number }[]): Map<number, Set<number>> {
  const raw = new RawSocket(lab.b);
  for (let i = 0; i < 1600; i++) raw.send(udpFrame(lab.b, lab.a, [5000 + i % 40, 9], new Uint8Array(18)));
  raw.close();
  const flows = new Map<number, Set<number>>();
  for (const { bytes, where } of receive()) {
    const flow = sourcePort(bytes);
    flows.set(flow, (flows.get(flow) ?? new Set()).add(where));
  }
  return flows;
}

t.test('a fanout group shares flows out over ports, and over the queues of one', rights, async t => {
  const lab = openLab();
  const shared = open([device(lab.a, 'fanout=7'), device(lab.a, 'fanout=7')]);
  const several = open([device(lab.a, 'queues=3,fanout_mode=hash')]);
  const isFlow = (bytes: Uint8Array): boolean => isUdp(bytes) && sourcePort(bytes) >= 5000 && sourcePort(bytes) < 5040;
  const counts = [0, 0];
  const flows = spreadFlows(lab, () => shared.ports.flatMap((port, where) => receiveSome(shared, port, 1600, isFlow).map(({ bytes }) => {
    counts[where]!++;
    return { bytes, where };
  })));
  t.equal(flows.size, 40);
  t.ok([...flows.values()].every(ports => ports.size === 1), 'each flow stays with one port');
  t.ok(counts[0]! > 0 && counts[1]! > 0, `both ports have some: ${counts.join(' and ')}`);
  t.equal(counts[0]! + counts[1]!, 1600, 'and together they have all');
  const queues = receiveSome(several, several.ports[0]!, 1600, isFlow);
  t.equal(queues.length, 1600, 'the other port, in no group with these, has all too');
  t.ok(new Set(queues.map(({ queue }) => queue)).size > 1, 'over more than one queue');
  closeAndAudit(t, shared);
  closeAndAudit(t, several);
  lab.close();
});

t.test('the kernel\'s flow hash comes when it is asked for', rights, async t => {
  withPort(t, 'rx_hash=1', (lab, host) => {
    const raw = new RawSocket(lab.b);
    for (const port of [1000, 1000, 2000]) raw.send(udpFrame(lab.b, lab.a, [port, 9], new Uint8Array(18)));
    const [one, same, other] = receiveSome(host, host.ports[0]!, 3, isUdp);
    t.equal(one!.flags & RX_RSS_HASH, RX_RSS_HASH);
    t.not(one!.hash, 0);
    t.equal(one!.hash, same!.hash);
    t.not(one!.hash, other!.hash);
    raw.close();
  });
});

t.test('a ring that nobody empties: the kernel counts what it drops, and nothing else is lost', rights, async t => {
  withPort(t, 'block_size=4096,rx_blocks=2', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    for (let i = 0; i < 500; i++) raw.send(frame(b, a, i, 60));
    const received = bytesOf(receiveSome(host, port!, 500));
    const { xstats } = statsOf(port!);
    t.ok(xstats['kernel_rx_drops']! > 0);
    t.ok(xstats['kernel_rx_freezes']! > 0);
    t.equal(received.length + xstats['kernel_rx_drops']!, 500);
    t.equal(xstats['kernel_rx_packets'], 500);
    t.same(received, Array.from(received, (_, i) => frame(b, a, i, 60)), 'the first ones, in order');
    raw.send(frame(b, a, 1000, 60));
    t.same(bytesOf(receiveSome(host, port!, 1)), [frame(b, a, 1000, 60)], 'it goes on afterwards');
    t.equal(statsOf(port!).xstats['kernel_rx_drops'], xstats['kernel_rx_drops'], 'counts add up, though the kernel forgets them');
    raw.close();
  });
});

t.test('frames that do not fit are counted, each way', rights, async t => {
  withPort(t, '', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    for (const length of [2500, 60, 1793, 1792]) raw.send(frame(b, a, length, length));
    t.same(bytesOf(receiveSome(host, port!, 4)), [frame(b, a, 2500, 2500), frame(b, a, 60, 60), frame(b, a, 1793, 1793), frame(b, a, 1792, 1792)], 'longer than a buffer: in several');
    t.equal(statsOf(port!).xstats['rx_too_long'], 0);
    t.equal(port!.capabilities.mtu, 3000);
    raw.close();
  }, { mtu: 3000 });
  withPort(t, 'tx_ring=64', ({ a, b }, host) => {
    const [port] = host.ports;
    t.equal(port!.capabilities.mtu, 9000, 'a slot of the ring is no longer, whatever the interface');
    const raw = new RawSocket(b);
    raw.send(frame(b, a, 1, 20014));
    t.same(bytesOf(receiveSome(host, port!, 1)), [frame(b, a, 1, 20014)], 'what is received has no such limit');
    raw.close();
  }, { mtu: 20000 });
  withPort(t, 'block_size=4096', ({ a, b }, host) => {
    const raw = new RawSocket(b);
    raw.send(frame(b, a, 1, 5000));
    raw.send(frame(b, a, 2, 60));
    t.same(bytesOf(receiveSome(host, host.ports[0]!, 1)), [frame(b, a, 2, 60)]);
    t.equal(statsOf(host.ports[0]!).xstats['rx_truncated'], 1, 'the kernel cut it to a block');
    raw.close();
  }, { mtu: 6000 });
  withPort(t, '', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    sendAll(host, port!, [frame(a, b, 1, 1515), frame(a, b, 2, 60), frame(a, b, 3, 13), frame(a, b, 4, 1514)]);
    t.same(raw.receive(), [frame(a, b, 2, 60), frame(a, b, 4, 1514)]);
    t.match(statsOf(port!), { txPackets: 2, txBytes: 1574, xstats: { tx_too_long: 1, tx_bad_frame: 1 } });
    raw.close();
  });
});

t.test('the interface goes down under it and comes up again', rights, async t => {
  withPort(t, 'tx_ring=64', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    withNetns(a.netns, () => setLink(a.ifindex, { up: false }));
    sendAll(host, port!, [1, 2, 3].map(number => frame(a, b, number, 60)));
    const down = statsOf(port!).xstats;
    t.ok(down['tx_kick_ENETDOWN']! >= 1);
    t.equal(down['tx_unsent'], 3);
    t.equal(down['rx_interface_down'], 1);
    const burst = host.burst(64);
    host.pool.alloc(burst, 64);
    for (const handle of burst.handles) host.mbufs.copyIn(handle, frame(a, b, 9, 60));
    t.equal(port!.tx[0]!.txBurst(burst, 64), 61, 'the ring is full');
    t.match(statsOf(port!), { txRefused: 3, xstats: { tx_ring_full: 1 } });
    host.pool.free(burst, 61, 64);
    withNetns(a.netns, () => setLink(a.ifindex, { up: true }));
    t.equal(port!.tx[0]!.txBurst(burst, 0), 0);
    const arrived = raw.receive();
    t.same(arrived.slice(0, 3), [1, 2, 3].map(number => frame(a, b, number, 60)), 'what was waiting, first');
    t.equal(arrived.length, 64);
    t.equal(statsOf(port!).xstats['tx_unsent'], 0);
    raw.send(frame(b, a, 4, 60));
    t.same(bytesOf(receiveSome(host, port!, 1)), [frame(b, a, 4, 60)]);
    raw.close();
  });
});

t.test('frames that the kernel finds malformed give up their slots, and the others go', rights, async t => {
  for (const wrong of [[0], [3], [7], [2, 3], [0, 1, 2, 3, 4, 5, 6, 7]]) {
    withPort(t, 'tx_ring=64', ({ a, b }, host) => {
      const [port] = host.ports;
      const raw = new RawSocket(b);
      sendAll(host, port!, Array.from({ length: 60 }, (_, i) => frame(a, b, i, 60))); // so that these go round the ring's end
      raw.receive();
      withNetns(a.netns, () => setLink(a.ifindex, { up: false }));
      sendAll(host, port!, Array.from({ length: 8 }, (_, i) => frame(a, b, i, 100 + i)));
      spoil(host, wrong);
      withNetns(a.netns, () => setLink(a.ifindex, { up: true }));
      sendAll(host, port!, [frame(a, b, 8, 70)]);
      const rest = Array.from({ length: 8 }, (_, i) => i).filter(i => !wrong.includes(i)).map(i => frame(a, b, i, 100 + i));
      t.same(raw.receive(), [...rest, frame(a, b, 8, 70)]);
      t.match(statsOf(port!).xstats, { tx_wrong_format: wrong.length, tx_unsent: 0 });
      sendAll(host, port!, Array.from({ length: 200 }, (_, i) => frame(a, b, i, 60)));
      t.equal(raw.receive().length, 200, 'and the ring goes on');
      raw.close();
    });
  }
});

/** Gives the frames that wait in slots 60 to 67 of the ring (mod 64) a length that the kernel refuses. */
function spoil({ arena }: Host, which: readonly number[]): void {
  const zone = arena.find('port/0/packet/0/tx-ring');
  const slotBytes = zone.length / 64;
  for (const index of which) {
    const slot = zone.offset + (60 + index) % 64 * slotBytes;
    if (arena.u32[slot >>> 2] !== TP_STATUS_SEND_REQUEST) throw new Error('no frame waits in this slot');
    arena.u32[(slot + TP2_LEN) >>> 2] = 5; // less than the virtio_net_hdr
  }
}

t.test('promiscuous for as long as the port is open', rights, async t => {
  const lab = openLab();
  const host = open([device(lab.a, 'promiscuous=1')]);
  t.equal(promiscuity(lab.a), 1);
  closeAndAudit(t, host);
  t.equal(promiscuity(lab.a), 0);
  lab.close();
});

t.test('what the host sends is left out unless it is asked for', rights, async t => {
  withPort(t, 'ignore_outgoing=0', ({ a, b }, host) => {
    sendAll(host, host.ports[0]!, [frame(a, b, 1, 60)]);
    t.same(bytesOf(receiveSome(host, host.ports[0]!, 1)), [frame(a, b, 1, 60)]);
  });
});

t.test('close: sockets gone, counts kept, bursts counted', rights, async t => {
  const lab = openLab();
  const host = open([device(lab.a, 'queues=2')]);
  const [port] = host.ports;
  t.equal(packetSockets(lab.a.netns), 4);
  const burst = host.burst();
  sendAll(host, port!, [frame(lab.a, lab.b, 1, 60)], 1);
  host.pool.alloc(burst, 4);
  port!.close();
  port!.close();
  t.equal(packetSockets(lab.a.netns), 0);
  t.equal(port!.tx[0]!.txBurst(burst, 4), 0);
  t.equal(port!.rx[1]!.rxBurst(burst), 0);
  t.match(statsOf(port!), { txPackets: 1, xstats: { tx_after_close: 1, rx_after_close: 1 } });
  host.pool.free(burst, 0, 4);
  t.equal(host.arena.zones().filter(zone => zone.name.startsWith('port/')).length, 0, 'no zone is left');
  closeAndAudit(t, host);
  lab.close();
});

t.test('what cannot be opened says why, and leaves nothing', rights, async t => {
  const lab = openLab();
  const refused = (options: string, end = lab.a): string => codeThrown(() => open([device(end, options)]).close());
  t.equal(refused('', { ...lab.a, name: 'nothere' }), 'ENOTFOUND');
  t.equal(refused('block_size=5000'), 'EOPTION');
  t.equal(refused('tx_ring=100'), 'EOPTION');
  t.equal(refused('block_size=4194304,rx_blocks=65536'), 'EOPTION');
  t.equal(refused('block_size=1048576,rx_blocks=512'), 'EARENAFULL', 'a ring larger than the arena');
  t.equal(refused('fanout_mode=best'), 'EDEVICE');
  const member = open([device(lab.a, 'fanout=3,fanout_mode=cpu')]);
  t.equal(refused('fanout=3,fanout_mode=hash'), 'EOPTION', 'a group with another mode');
  member.close();
  t.equal(codeThrown(() => open([`af_packet:${lab.a.name},netns=/nowhere`])), 'ENOTFOUND');
  withNetns(lab.a.netns, () => setLink(lab.a.ifindex, { up: false }));
  t.equal(refused(''), 'EDOWN');
  t.equal(packetSockets(lab.a.netns), 0);
  lab.close();
});

t.test('an interface without Ethernet is refused', rights, async t => {
  const lab = openLab();
  const tun = withNetns(lab.a.netns, () => {
    const fd = binding().open('/dev/net/tun', O_RDWR);
    const request = new Uint8Array(40); // struct ifreq: IFF_TUN | IFF_NO_PI
    request.set([...new TextEncoder().encode('tun7')]);
    request.set([0x01, 0x10], 16);
    t.equal(binding().ioctl(fd, 0x400454ca, request), 0);
    return fd;
  });
  withNetns(lab.a.netns, () => {
    const ifindex = lab.a.ifindex + 1;
    t.equal(codeThrown(() => setLink(ifindex, { up: true })), 'none');
    t.equal(codeThrown(() => open(['af_packet:tun7'])), 'EUNSUPPORTED');
  });
  binding().close(tun);
  lab.close();
});

t.test('without CAP_NET_RAW: a typed error that names it', rights, async t => {
  const code = 'const { open } = await import(LIB + "port/host.js"); try { open(["af_packet:lo"]).close(); console.log("opened"); } catch (error) { console.log(error.code, error.message); }';
  const { stdout } = inChild(code, ['setpriv', '--bounding-set', '-net_raw', '--inh-caps', '-net_raw']);
  t.match(stdout, /^ERIGHTS .*CAP_NET_RAW/);
});

t.test('kill -9 during traffic leaves nothing', rights, async t => {
  const lab = openLab();
  const child = startChild(`
    const { open } = await import(LIB + 'port/host.js');
    const host = open(['af_packet:${lab.a.name},promiscuous=1,queues=2,netns=/proc/${process.pid}/fd/${lab.a.netns}']);
    const burst = host.burst();
    console.log('open');
    for (;;) {
      const got = host.pool.alloc(burst, 32);
      for (let i = 0; i < got; i++) host.mbufs.append(burst.handles[i], 60);
      host.pool.free(burst, host.ports[0].tx[0].txBurst(burst, got), got);
    }`);
  await once(child.stdout!, 'data');
  t.equal(promiscuity(lab.a), 2);
  t.equal(packetSockets(lab.a.netns), 4);
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.equal(promiscuity(lab.a), 0);
  t.equal(packetSockets(lab.a.netns), 0);
  lab.close();
});
