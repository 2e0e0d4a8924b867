/** A virtio-net with several pairs of queues in our hands; its wire is a bridge of the host's, with Linux behind it. */
import t from 'tap';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import { copyWhole, frame } from '../../port/conformance/frames.js';
import { RawWire } from '../../port/conformance/wires.js';
import { multiQueue } from '../devices.js';
import { peerOf, until } from './wire.js';

t.test('four pairs of queues send and receive', async t => {
  bindToVfio(multiQueue.nic, { force: true });
  const wire = new RawWire(peerOf(multiQueue).ifindex);
  const host = open([`vfio:${multiQueue.nic},queues=${multiQueue.queues}`]);
  const port = host.ports[0]!;
  t.teardown(() => {
    host.close();
    wire.close();
    restore(multiQueue.nic, { force: true });
  });
  t.equal(port.mac, multiQueue.mac);
  t.same([port.rx.length, port.tx.length], [multiQueue.queues, multiQueue.queues]);

  const outgoing = port.tx.map((_, queue) => broadcast(queue));
  const one = host.burst(1);
  port.tx.forEach((queue, i) => {
    host.pool.alloc(one, 1);
    host.mbufs.copyIn(one.handles[0]!, outgoing[i]!);
    t.equal(queue.txBurst(one, 1), 1);
  });
  const departed: string[] = [];
  t.ok(await until(() => departed.push(...wire.receive().map(text)) > 0 && outgoing.every(each => departed.includes(text(each)))), 'what each queue sent came out');

  const incoming = Array.from({ length: 100 }, (_, i) => broadcast(100 + i));
  await wire.send(incoming);
  const came: string[] = [];
  const burst = host.burst(32);
  t.ok(await until(() => {
    for (const queue of port.rx) {
      const got = queue.rxBurst(burst);
      for (const handle of burst.handles.subarray(0, got)) came.push(text(copyWhole(host.mbufs, handle)));
      host.pool.free(burst, 0, got);
    }
    return incoming.every(each => came.includes(text(each)));
  }), 'all that was sent came, by some queue');
  t.throws(() => open([`vfio:${multiQueue.nic},queues=${multiQueue.queues + 1}`]), { code: 'EBUSYQUEUE' });
});

t.test('more pairs than it has are refused', t => {
  bindToVfio(multiQueue.nic, { force: true });
  t.teardown(() => restore(multiQueue.nic, { force: true }));
  t.throws(() => open([`vfio:${multiQueue.nic},queues=${multiQueue.queues + 1}`]), { code: 'EUNSUPPORTED', message: /4 pairs/ });
  t.end();
});

function broadcast(number: number): Uint8Array {
  const bytes = frame(60, number + 1);
  bytes.fill(0xff, 0, 6);
  return bytes;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
