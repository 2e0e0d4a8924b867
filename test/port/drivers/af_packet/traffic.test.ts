/** The af_packet driver against the kernel itself: frames to and from the other end of a veth pair. */
import t from 'tap';
import { openLab } from '../../../../lib/lab/veth.js';
import { RX_TIMESTAMP, RX_VLAN_STRIPPED } from '../../../../lib/mbuf/layout.js';
import { open } from '../../../../lib/port/host.js';
import { RawSocket, UdpSocket, bytesOf, frame, isUdp, receiveSome, sendAll, statsOf, tagged, udpFrame } from '../kernel_helper.js';
import { closeAndAudit, device, rights, withPort } from './helper.js';

t.test('frames of every length go to and from a raw socket', rights, async t => {
  withPort(t, '', ({ a, b }, host) => {
    const [port] = host.ports;
    const raw = new RawSocket(b);
    const lengths = [14, 15, 29, 30, 31, 45, 46, 47, 60, 63, 64, 65, 78, 127, 128, 129, 512, 1000, 1500, 1513, 1514];
    const out = lengths.map((length, i) => frame(a, b, i, length));
    sendAll(host, port!, out);
    t.same(raw.receive(out.length), out);
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
    t.same(raw.receive(2), [frame(a, b, 2, 60), frame(a, b, 4, 1514)]);
    t.match(statsOf(port!), { txPackets: 2, txBytes: 1574, xstats: { tx_too_long: 1, tx_bad_frame: 1 } });
    raw.close();
  });
});

t.test('what the host sends is left out unless it is asked for', rights, async t => {
  withPort(t, 'ignore_outgoing=0', ({ a, b }, host) => {
    sendAll(host, host.ports[0]!, [frame(a, b, 1, 60)]);
    t.same(bytesOf(receiveSome(host, host.ports[0]!, 1)), [frame(a, b, 1, 60)]);
  });
});
