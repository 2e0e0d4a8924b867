/** Translation in place: the packet is then the one that would have been built with the other address and port. */
import fc from 'fast-check';
import t from 'tap';
import { formatIpv4, parseIpv4 } from '../../lib/address.js';
import * as build from '../../lib/wire/build.js';
import { Ipv4 } from '../../lib/wire/ipv4.js';
import { translateDestination, translateSource } from '../../lib/wire/nat.js';
import { packets } from './packet_helper.js';

const lab = packets();
const ip = new Ipv4(lab.mbufs);
const address = fc.nat(0xffffffff);
const port = fc.nat(0xffff);

type Kind = 'tcp' | 'udp' | 'plain udp' | 'echo';
interface Flow { readonly source: number; readonly destination: number; readonly sourcePort: number; readonly destinationPort: number }

function layers(kind: Kind, { source, destination, sourcePort, destinationPort }: Flow, data: Uint8Array): (build.Layer | Uint8Array)[] {
  const ports = { sourcePort, destinationPort };
  const l4 = kind === 'tcp' ? build.tcp(ports) : kind === 'echo' ? build.icmp({ type: 8, rest: sourcePort * 65536 + 7 }) : build.udp({ ...ports, ...(kind === 'udp' ? {} : { checksum: 0 }) });
  return [build.ipv4({ source: formatIpv4(source), destination: formatIpv4(destination) }), l4, data];
}

const kinds = fc.constantFrom<Kind>('tcp', 'udp', 'plain udp', 'echo');
const flows = fc.record({ source: address, destination: address, sourcePort: port, destinationPort: port });

/** 0 and 0xffff are one number in these sums, and which of the two a difference gives is its own affair (RFC 1624 section 3). */
const same = (mine: Uint8Array, theirs: Uint8Array): boolean => Buffer.from(mine).equals(theirs) || mine.every((byte, i) => byte === theirs[i] || ((byte ^ theirs[i]!) === 0xff && (byte === 0 || byte === 0xff)));

t.test('a whole packet', async () => {
  fc.assert(fc.property(kinds, flows, address, port, fc.uint8Array({ maxLength: 60 }), fc.boolean(), (kind, flow, to, toPort, data, isSource) => {
    const handle = lab.put(build.frame(build.ethernet(), ...layers(kind, flow, data)));
    ip.at(handle, 14);
    (isSource ? translateSource : translateDestination)(ip, to, toPort);
    const isEcho = kind === 'echo'; // whose identifier is both ports
    const changed = isSource || isEcho ? { ...flow, ...(isSource ? { source: to } : { destination: to }), sourcePort: toPort } : { ...flow, destination: to, destinationPort: toPort };
    const expected = build.frame(build.ethernet(), ...layers(kind, changed, data));
    if (!same(lab.mbufs.copyOut(handle), expected)) throw new Error(`${Buffer.from(lab.mbufs.copyOut(handle)).toString('hex')}\n${Buffer.from(expected).toString('hex')}`);
  }), { numRuns: 2000 });
});

t.test('a packet in an ICMP error, however little of it is there, and nothing behind it', async () => {
  fc.assert(fc.property(kinds, flows, address, port, fc.oneof(fc.constantFrom(8, 12, 16, 18, 20, 28), fc.nat(7)), (kind, flow, to, toPort, quoted) => {
    const inner = build.frame(...layers(kind, flow, new Uint8Array(40).fill(7)));
    const around = (bytes: Uint8Array): Uint8Array => build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.icmp({ type: 3, code: 4, rest: 1400, checksum: 0 }), bytes);
    const handle = lab.put(around(inner.subarray(0, 20 + quoted)));
    lab.mbufs.u8.fill(0xee, lab.mbufs.data(handle) + lab.mbufs.dataLen(handle), lab.mbufs.data(handle) + lab.mbufs.dataLen(handle) + 32);
    if (!ip.at(handle, 42)) throw new Error('not found');
    translateSource(ip, to, toPort);
    const changed = build.frame(...layers(kind, { ...flow, source: to, sourcePort: toPort }, new Uint8Array(40).fill(7)));
    const got = lab.mbufs.copyOut(handle);
    const end = lab.mbufs.data(handle) + lab.mbufs.dataLen(handle);
    if (lab.mbufs.u8.subarray(end, end + 32).some(byte => byte !== 0xee)) throw new Error('written behind the end');
    if (quoted < 8) return; // less than anyone may quote (RFC 792): whatever of it is changed, it is in the packet
    const expected = around(changed.subarray(0, 20 + quoted));
    if (!same(got, expected)) throw new Error(`${kind} ${quoted}\n${Buffer.from(got).toString('hex')}\n${Buffer.from(expected).toString('hex')}`);
  }), { numRuns: 2000 });
});

t.test('later fragments, other protocols, no port: the address alone', async t => {
  for (const fields of [{ fragmentOffset: 1480, moreFragments: true, protocol: 17 }, { protocol: 47 }]) {
    const base = { source: '10.0.0.1', destination: '10.0.0.2', ...fields };
    const handle = lab.put(build.frame(build.ethernet(), build.ipv4(base), new Uint8Array(20).fill(9)));
    ip.at(handle, 14);
    translateSource(ip, parseIpv4('192.0.2.9'), 77);
    t.same(lab.mbufs.copyOut(handle), build.frame(build.ethernet(), build.ipv4({ ...base, source: '192.0.2.9' }), new Uint8Array(20).fill(9)));
  }
  const error = (destination: string): Uint8Array => build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination }), build.icmp({ type: 11 }), new Uint8Array(28));
  const handle = lab.put(error('192.0.2.9'));
  ip.at(handle, 14);
  translateDestination(ip, parseIpv4('10.0.0.5'), -1);
  t.same(lab.mbufs.copyOut(handle), error('10.0.0.5'));
});
