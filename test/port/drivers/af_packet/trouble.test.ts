/** The af_packet driver when nobody empties its ring, its interface goes down, or the kernel will not have a frame. */
import t from 'tap';
import { setLink, waitForCarrier } from '../../../../lib/kernel/link.js';
import { withNetns } from '../../../../lib/kernel/netns.js';
import { TP2_LEN, TP_STATUS_SEND_REQUEST } from '../../../../lib/port/drivers/af_packet/layout.js';
import type { Host } from '../../../../lib/port/host.js';
import { RawSocket, bytesOf, frame, receiveSome, sendAll, statsOf } from '../kernel_helper.js';
import { rights, withPort } from './helper.js';

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
    const arrived = raw.receive(64);
    t.same(arrived.slice(0, 3), [1, 2, 3].map(number => frame(a, b, number, 60)), 'what was waiting, first');
    t.equal(arrived.length, 64);
    t.equal(statsOf(port!).xstats['tx_unsent'], 0);
    withNetns(b.netns, () => waitForCarrier(b.ifindex)); // until then it drops what it has to send
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
      raw.receive(60);
      withNetns(a.netns, () => setLink(a.ifindex, { up: false }));
      sendAll(host, port!, Array.from({ length: 8 }, (_, i) => frame(a, b, i, 100 + i)));
      spoil(host, wrong);
      withNetns(a.netns, () => setLink(a.ifindex, { up: true }));
      sendAll(host, port!, [frame(a, b, 8, 70)]);
      const rest = Array.from({ length: 8 }, (_, i) => i).filter(i => !wrong.includes(i)).map(i => frame(a, b, i, 100 + i));
      t.same(raw.receive(rest.length + 1), [...rest, frame(a, b, 8, 70)]);
      t.match(statsOf(port!).xstats, { tx_wrong_format: wrong.length, tx_unsent: 0 });
      sendAll(host, port!, Array.from({ length: 200 }, (_, i) => frame(a, b, i, 60)));
      t.equal(raw.receive(200).length, 200, 'and the ring goes on');
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
