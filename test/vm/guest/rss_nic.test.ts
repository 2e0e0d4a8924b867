/** The queue that a NIC picks is the queue that lib/rss predicts, by the same hash. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { bindToVfio, restore } from '../../../lib/pci/bind.js';
import { open } from '../../../lib/port/host.js';
import { Rss, type RssOptions } from '../../../lib/rss/rss.js';
import { layout } from '../../../lib/index.js';
import { RSS_IPV4, RSS_TCP_IPV4 } from '../../../lib/rss/layout.js';
import { RawWire } from '../../port/conformance/wires.js';
import { flows, markOf, marked } from '../../rss/frames_helper.js';
import { e1000e, igb, multiQueue, type Wire } from '../devices.js';
import { peerOf, until } from './wire.js';

const FLOWS = process.env['POLLMODE_LONG'] === '1' ? 10_000 : 1_500;

function check(name: string, wire: Wire, queues: number): void {
  t.test(`${name}: ${FLOWS} flows over ${queues} queues`, async t => {
    bindToVfio(wire.nic, { force: true });
    const raw = new RawWire(peerOf(wire).ifindex);
    const host = open([`vfio:${wire.nic},queues=${queues},promiscuous`]);
    const port = host.ports[0]!;
    t.teardown(() => { host.close(); raw.close(); restore(wire.nic, { force: true }); });
    await until(() => port.link!.read().up);
    t.same(port.rss!.reta.slice(0, queues + 1), [...Array(queues).keys(), 0], 'at first the buckets go round');
    // A key and a table of chance; nothing of it is the default.
    const reta = Array.from(randomBytes(128), byte => byte % queues);
    port.rss!.set({ key: randomBytes(40), reta });
    const used = await through({ types: port.rss!.types, key: port.rss!.key }, FLOWS, 1);
    t.ok(used.every(count => count > FLOWS / queues / 4), `packets of each queue: ${used.join(' ')}`);
    port.rss!.set({ types: RSS_IPV4 | RSS_TCP_IPV4 });
    await through({ types: RSS_IPV4 | RSS_TCP_IPV4, key: port.rss!.key }, Math.ceil(FLOWS / 10), 2);
    port.rss!.set({ reta: new Array<number>(128).fill(1) });
    await through({ types: port.rss!.types, key: port.rss!.key }, 32, 3);
    for (const change of [{ key: new Uint8Array(39) }, { reta: [0] }, { reta: new Array<number>(128).fill(queues) }, { types: 1 << 12 }]) t.throws(() => port.rss!.set(change), { code: 'EOPTION' });

    /** Sends a packet of each of so many flows, and compares. Returns how many came to each queue. */
    async function through(options: RssOptions, count: number, seed: number): Promise<number[]> {
      const predict = Rss.create(host.arena, `predict${seed}`, options);
      const list = fc.sample(flows, { numRuns: count, seed });
      const burst = host.burst(64);
      const wrong: string[] = [];
      const came = new Array<number>(queues).fill(0);
      for (let sent = 0; sent < count; sent += 32) {
        const some = list.slice(sent, sent + 32);
        await raw.send(some.map((flow, i) => marked(flow, sent + i)));
        let left = some.length;
        const all = await until(() => {
          port.rx.forEach((rx, queue) => {
            const got = rx.rxBurst(burst);
            for (const handle of burst.handles.subarray(0, got)) {
              const bytes = host.mbufs.copyOut(handle);
              const flow = list[markOf(bytes)];
              if (flow === undefined) continue; // Linux says something of its own
              came[queue]!++;
              left--;
              const hash = predict.hashFlow(flow);
              const hashed = (host.mbufs.flags(handle) & layout.RX_RSS_HASH) !== 0;
              const said = hashed ? host.mbufs.hash(handle) : 0;
              const bucket = hashed ? port.rss!.reta[hash % 128] : 0;
              if (said !== hash || queue !== bucket) wrong.push(`${JSON.stringify(flow)}: queue ${queue}, hash ${said}, not ${hash}`);
            }
            host.pool.free(burst, 0, got);
          });
          return left <= 0;
        });
        if (!all) wrong.push(`${left} packets did not come`);
        if (wrong.length > 5) break;
      }
      t.same(wrong, []);
      t.equal(came.reduce((sum, each) => sum + each), count);
      burst.close();
      predict.close();
      return came;
    }
  });
}

check('igb', igb, 8);
check('e1000e', e1000e, 2);
check('virtio-net', multiQueue, multiQueue.queues);
