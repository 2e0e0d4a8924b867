/** AF_XDP without the kernel's copy, on Linux's virtio-net: the host has no driver that can. */
import { release } from 'node:os';
import t from 'tap';
import { open, type Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { frame } from '../../port/conformance/frames.js';
import { RawWire, receiveBy, sendBy } from '../../port/conformance/wires.js';
import { linuxPair } from '../devices.js';
import { kernelLog, peerOf, until } from './wire.js';

const AT_ONCE = 64;
const FRAMES = AT_ONCE * (process.env['POLLMODE_LONG'] === '1' ? 2000 : 60);

const peer = peerOf(linuxPair);
const own = peerOf({ peerMac: linuxPair.mac });

function openBoth(t: { teardown(work: () => void): void }, options: string): { host: Host; port: Port; wire: RawWire } {
  const wire = new RawWire(peer.ifindex);
  const host = open([`af_xdp:${own.name},${options}`]);
  t.teardown(() => { host.close(); wire.close(); });
  return { host, port: host.ports[0]!, wire };
}

/** What other suites did to the machine is no concern of this one. */
const before = kernelLog().length;
t.comment(`Linux ${release()}`);

for (const asked of ['zero_copy=must', 'zero_copy=auto', 'zero_copy=never']) {
  const how = asked === 'zero_copy=never' ? 'copy' : 'zero-copy';
  t.test(`${asked}: ${FRAMES} frames each way, every byte checked`, async t => {
    const { host, port, wire } = openBoth(t, asked);
    t.match(port.capabilities.mode, `, ${how}, `);
    let wrong = 0;
    for (let from = 0; from < FRAMES && wrong === 0; from += AT_ONCE) {
      const frames = Array.from({ length: AT_ONCE }, (_, i) => frame(60 + (from + i) % 1400, from + i));
      const [out, back]: [Uint8Array[], Uint8Array[]] = [[], []];
      sendBy(host, port, frames);
      await until(() => out.push(...wire.receive()) >= AT_ONCE);
      await wire.send(frames);
      await until(() => back.push(...receiveBy(host, port)) >= AT_ONCE);
      wrong += differing(frames, out) + differing(frames, back);
    }
    t.equal(wrong, 0, 'frames that were lost, changed or out of order');
    t.match(host.stats(port), { rxPackets: FRAMES, txPackets: FRAMES });
    t.equal(host.pool.audit().app, 0);
    host.close();
    t.equal(host.pool.audit().free, host.pool.size, 'every buffer is back');
  });
}

t.test('a port of each kind after the other: nothing of the driver is left in a buffer', async t => {
  for (let round = 0; round < 3; round++) {
    for (const asked of ['zero_copy=must', 'zero_copy=never']) {
      const { host, port, wire } = openBoth(t, asked);
      const frames = [frame(60, round), frame(1514, round)];
      await wire.send(frames);
      const got: Uint8Array[] = [];
      await until(() => got.push(...receiveBy(host, port)) >= 2);
      t.same(got, frames);
      host.close();
      wire.close();
    }
  }
});

t.test('the kernel saw nothing wrong', t => {
  t.notMatch(kernelLog().slice(before), /WARNING:|BUG:|DMAR: .*fault/i);
  t.end();
});

function differing(sent: readonly Uint8Array[], got: readonly Uint8Array[]): number {
  return sent.filter((bytes, i) => got[i] === undefined || Buffer.compare(bytes, got[i]) !== 0).length;
}
