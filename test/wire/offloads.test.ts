/** What packets want of a port that cannot do it: afterwards they want nothing, and are what the sender's own stack would have sent. */
import fc from 'fast-check';
import t from 'tap';
import { Chains } from '../../lib/mbuf/chains.js';
import { MBUF_OL_FLAGS, MBUF_TSO_SEGSZ, MBUF_TX_OFFLOAD, TX_IPV6, TX_IP_CKSUM, TX_OFFLOADS, TX_TCP_CKSUM, TX_TCP_SEG, TX_UDP_CKSUM, TX_VLAN } from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { Checksums } from '../../lib/wire/checksums.js';
import { Offloads } from '../../lib/wire/offloads.js';
import { packets } from './packet_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 5000 : 300;
const lab = packets({ count: 512 });
const { mbufs, pool } = lab;
const chains = new Chains(pool);
const [single, pieces] = [pool.burst(1), pool.burst(512)];
const [offloads, checksums] = [new Offloads(pool), new Checksums(lab.arena)];
const everything = pool.audit().free;

interface Wanted { readonly six: boolean; readonly tcp: boolean; readonly length: number; readonly size: number; readonly shared: boolean }
const wanted: fc.Arbitrary<Wanted> = fc.record({ six: fc.boolean(), tcp: fc.boolean(), length: fc.integer({ min: 0, max: 20_000 }), size: fc.integer({ min: 300, max: 9000 }), shared: fc.boolean() });

const frameOf = ({ six, tcp, length }: Wanted): Uint8Array => build.frame(
  build.ethernet({ source: '02:00:00:00:00:01' }), six ? build.ipv6({ source: 'fd00::1', destination: 'fd00::2' }) : build.ipv4({ source: '192.0.2.1', destination: '192.0.2.2' }),
  tcp ? build.tcp({ sourcePort: 1, destinationPort: 2, sequence: 7 }) : build.udp({ sourcePort: 1, destinationPort: 2 }), Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8)),
);

/** The frame in an mbuf whose header says what is missing, and a checksum field that is not filled in. */
function asking(bytes: Uint8Array, { six, tcp, size }: Wanted, more = 0): number {
  if (pool.alloc(single, 1) === 0) throw new Error('the pool is dry');
  const handle = single.handles[0]!;
  if (!chains.copyIn(handle, bytes)) throw new Error('no room');
  const l3 = six ? 40 : 20;
  mbufs.view.setUint16(mbufs.data(handle) + 14 + l3 + (tcp ? 16 : 6), 0xdead);
  const flags = (tcp ? TX_TCP_CKSUM | TX_TCP_SEG : TX_UDP_CKSUM) | (six ? TX_IPV6 : TX_IP_CKSUM) | more;
  mbufs.u32[(mbufs.header(handle) + MBUF_OL_FLAGS) >>> 2] = flags;
  mbufs.u32[(mbufs.header(handle) + MBUF_TX_OFFLOAD) >>> 2] = 14 | l3 << 7;
  mbufs.u16[(mbufs.header(handle) + MBUF_TSO_SEGSZ) >>> 1] = size;
  return handle;
}

function free(handle: number): void {
  single.handles[0] = handle;
  pool.free(single, 0, 1);
}

t.test('checksums and segments', async t => {
  let [cut, copied] = [0, 0];
  fc.assert(fc.property(wanted, want => {
    const bytes = frameOf(want);
    const handle = asking(bytes, want);
    if (want.shared) chains.clone(handle);
    const before = want.shared ? Buffer.from(chains.copyOut(handle)) : undefined;
    if (!offloads.wants(handle)) throw new Error('it wants something');
    const count = offloads.finish(handle, pieces);
    const segments = want.tcp ? Math.max(1, Math.ceil(want.length / want.size)) : 1;
    if (count !== segments) throw new Error(`${count} pieces and not ${segments}`);
    if (checksums.check(pieces, count) !== 0) throw new Error('bad checksums');
    const parts = Array.from(pieces.handles.subarray(0, count), piece => Buffer.from(chains.copyOut(piece)));
    for (const piece of pieces.handles.subarray(0, count)) if ((mbufs.flags(piece) & (TX_OFFLOADS | TX_IPV6)) !== 0) throw new Error('it wants something still');
    const header = bytes.length - want.length;
    if (count === 1 ? !parts[0]!.equals(bytes) : !Buffer.concat(parts.map(part => part.subarray(header))).equals(bytes.subarray(header))) throw new Error('other bytes');
    pool.free(pieces, 0, count);
    if (before !== undefined) {
      if (!before.equals(chains.copyOut(handle)) || !offloads.wants(handle)) throw new Error('what others hold was changed');
      free(handle);
    }
    if (pool.audit().free !== everything) throw new Error(`${pool.audit().free} free of ${everything}`);
    [cut, copied] = [cut + (count > 1 ? 1 : 0), copied + (want.shared && count === 1 ? 1 : 0)];
  }), { numRuns: RUNS });
  t.ok(cut > RUNS / 5 && copied > RUNS / 20, `${cut} were cut, ${copied} copied`);
});

t.test('what cannot be done is dropped, and counted', async t => {
  const tcp: Wanted = { six: false, tcp: true, length: 4000, size: 1000, shared: false };
  const before = { ...offloads.stats };
  t.equal(offloads.finish(asking(frameOf(tcp), tcp, TX_VLAN), pieces), 0, 'a tag');
  t.equal(offloads.finish(asking(frameOf(tcp), { ...tcp, size: 1 }), pieces), 0, 'more segments than a burst has');
  t.equal(offloads.stats.refused, before.refused + 2);
  t.equal(pool.audit().free, everything);
  const handle = asking(frameOf(tcp), tcp);
  const rest = pool.burst(512);
  let left = 0;
  while (pool.alloc(single, 1) > 0) rest.handles[left++] = single.handles[0]!;
  pool.free(rest, 0, 2);
  t.equal(offloads.finish(handle, pieces), 0, 'a dry pool');
  t.equal(offloads.stats.dry, before.dry + 1);
  pool.free(rest, 2, left);
  t.equal(pool.audit().free, everything);
});
