/** Which port or queue of af_packet the kernel gives a flow to, and the hash that it has of it. */
import t from 'tap';
import { openLab, type Lab } from '../../../../lib/lab/veth.js';
import { RX_RSS_HASH } from '../../../../lib/mbuf/layout.js';
import { open } from '../../../../lib/port/host.js';
import { RawSocket, isUdp, receiveSome, udpFrame } from '../kernel_helper.js';
import { closeAndAudit, device, rights, withPort } from './helper.js';

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
