/** What is said in answer: byte by byte as it would have been built, and nothing at all about what must not be answered. */
import fc from 'fast-check';
import t from 'tap';
import { addressBytes, formatIpv6 } from '../../lib/address.js';
import { Chains } from '../../lib/mbuf/chains.js';
import { MBUF_OL_FLAGS, MBUF_TX_OFFLOAD, TX_IPV6, TX_OFFLOADS, TX_TCP_CKSUM, TX_TCP_SEG } from '../../lib/mbuf/layout.js';
import * as build from '../../lib/wire/build.js';
import { describe } from '../../lib/wire/describe.js';
import { parseMac } from '../../lib/wire/ethernet.js';
import { Ipv6 } from '../../lib/wire/ipv6.js';
import { NeighborMessage } from '../../lib/wire/neighbor.js';
import { Responder, type IcmpError } from '../../lib/wire/responder.js';
import { brokenFrames } from './frames_helper.js';
import { packets } from './packet_helper.js';

const lab = packets({ count: 128 });
const { mbufs, pool } = lab;
const responder = new Responder(pool);
const chains = new Chains(pool);
const one = pool.burst(1);
const [US, THEM] = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
const [toUs, toThem] = [build.ethernet({ destination: US, source: THEM }), build.ethernet({ destination: THEM, source: US })];
const bytes = (address: string): Uint8Array => Uint8Array.from(addressBytes(address));
lab.put(new Uint8Array(60));
const everything = pool.audit().free;

function fresh(frame: Uint8Array): number {
  if (pool.alloc(one, 1) === 0 || !chains.copyIn(one.handles[0]!, frame)) throw new Error('the pool is dry');
  return one.handles[0]!;
}

/** What a frame became, or undefined where it stayed as it was. */
function after(frame: Uint8Array, work: (handle: number) => boolean): Uint8Array | undefined {
  const handle = fresh(frame);
  const done = work(handle);
  const got = chains.copyOut(handle);
  one.handles[0] = handle;
  pool.free(one, 0, 1);
  if (pool.audit().free !== everything) throw new Error('mbufs are lost');
  if (!done && !Buffer.from(got).equals(frame)) throw new Error('changed, and not answered');
  return done ? got : undefined;
}

const echo = (frame: Uint8Array): Uint8Array | undefined => after(frame, handle => responder.echo(handle));
const error = (frame: Uint8Array, why: IcmpError, source: string, mtu = 0): Uint8Array | undefined => after(frame, handle => responder.error(handle, why, bytes(source), mtu));
const data = new Uint8Array(3000).map((_, i) => i * 7);

t.test('pings', async t => {
  for (const length of [0, 1, 56, 3000]) {
    const four = (source: string, destination: string, ttl: number, type: number): Uint8Array => build.frame(type === 8 ? toUs : toThem, build.ipv4({ source, destination, ttl, identification: 9 }), build.icmp({ type, rest: 0x12345678 }), data.subarray(0, length));
    t.same(echo(four('10.0.0.2', '10.0.0.1', 3, 8)), four('10.0.0.1', '10.0.0.2', 64, 0), `IPv4, ${length} bytes`);
    const six = (source: string, destination: string, hopLimit: number, type: number): Uint8Array => build.frame(type === 128 ? toUs : toThem, build.ipv6({ source, destination, hopLimit, flowLabel: 5 }), build.icmpv6({ type, rest: 0x12345678 }), data.subarray(0, length));
    t.same(echo(six('fd00::2', 'fd00::1', 3, 128)), six('fd00::1', 'fd00::2', 64, 129), `IPv6, ${length} bytes`);
  }
  const request = build.icmp({ type: 8 });
  const request6 = build.icmpv6({ type: 128 });
  for (const [name, ...parts] of [
    ['to many', build.ipv4({ source: '10.0.0.2', destination: '224.0.0.1' }), request], ['from many', build.ipv4({ source: '255.255.255.255', destination: '10.0.0.1' }), request],
    ['a fragment', build.ipv4({ source: '10.0.0.2', destination: '10.0.0.1', moreFragments: true }), request], ['a reply', build.ipv4({ source: '10.0.0.2', destination: '10.0.0.1' }), build.icmp({ type: 0 })],
    ['to many', build.ipv6({ source: 'fd00::2', destination: 'ff02::1' }), request6], ['from nobody', build.ipv6({ source: '::', destination: 'fd00::1' }), request6],
    ['cut off', build.ipv6({ source: 'fd00::2', destination: 'fd00::1', nextHeader: 58 }), Uint8Array.of(128, 0, 0)], ['no IP', Uint8Array.of(1, 2, 3)],
  ] as const) t.equal(echo(build.frame(toUs, ...parts as (build.Layer | Uint8Array)[])), undefined, name);
});

t.test('errors quote what there is room for', async t => {
  for (const length of [0, 5, 300, 1400, 3000]) {
    const udp = build.udp({ sourcePort: 1, destinationPort: 2 });
    const [four, six] = [build.frame(build.ipv4({ source: '10.0.0.2', destination: '10.9.0.1', ttl: 1 }), udp, data.subarray(0, length)), build.frame(build.ipv6({ source: 'fd00::2', destination: 'fd09::1', hopLimit: 1 }), udp, data.subarray(0, length))];
    t.same(error(build.frame(toUs, build.vlan({ id: 5, type: 0x800 }), four), 'time exceeded', '10.0.0.1'), build.frame(toThem, build.vlan({ id: 5 }), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.icmp({ type: 11 }), four.subarray(0, 548)), `IPv4, ${length} bytes`);
    const got = error(build.frame(build.ethernet({ destination: US, source: THEM, type: 0x86dd }), six), 'too big', 'fd00::1', 1280)!;
    const told = Math.min(six.length, 1232, got.length - 62); // of a chain, what the first mbuf had
    t.same(got, build.frame(toThem, build.ipv6({ source: 'fd00::1', destination: 'fd00::2' }), build.icmpv6({ type: 2, rest: 1280 }), six.subarray(0, told)), `IPv6, ${length} bytes`);
    t.ok(told === Math.min(six.length, 1232), `${told} bytes of it`);
  }
  const padded = Uint8Array.from([...build.frame(toUs, build.ipv4({ source: '10.0.0.2', destination: '10.9.0.1' }), Uint8Array.of(1, 2, 3)), ...new Array<number>(20).fill(0)]);
  t.equal(error(padded, 'no route', '10.0.0.1')!.length, 14 + 28 + 23, 'and no padding');
});

t.test('an error is sent as it is, whatever was still to be done with the packet that it is about', async t => {
  const port = build.tcp({ sourcePort: 1, destinationPort: 2 });
  for (const [source, ...parts] of [['10.0.0.1', build.ipv4({ source: '10.0.0.2', destination: '10.9.0.1' }), port], ['fd00::1', build.ipv6({ source: 'fd00::2', destination: 'fd09::1' }), port]] as const) {
    const handle = fresh(build.frame(toUs, ...parts, data.subarray(0, 100)));
    const header = mbufs.header(handle) >>> 2;
    mbufs.u32[header + MBUF_OL_FLAGS / 4] = TX_TCP_CKSUM | TX_TCP_SEG | TX_IPV6;
    mbufs.u32[header + MBUF_TX_OFFLOAD / 4] = 14 | (20 << 7) | (20 << 16);
    t.ok(responder.error(handle, 'too big', bytes(source), 1400));
    t.equal(mbufs.flags(handle) & (TX_OFFLOADS | TX_IPV6), 0);
    t.same([mbufs.l2Len(handle), mbufs.l3Len(handle), mbufs.l4Len(handle)], [0, 0, 0]);
    one.handles[0] = handle;
    pool.free(one, 0, 1);
  }
});

t.test('about some there is no error', async t => {
  const ip = { source: '10.0.0.2', destination: '10.9.0.1' };
  const ip6 = { source: 'fd00::2', destination: 'fd09::1' };
  const some = new Uint8Array(20);
  for (const [name, source, link, ...parts] of [
    ['sent to all on the link', '10.0.0.1', build.ethernet({ destination: 'ff:ff:ff:ff:ff:ff', source: THEM }), build.ipv4(ip), some],
    ['to a group', '10.0.0.1', toUs, build.ipv4({ ...ip, destination: '224.0.0.5' }), some], ['from nobody', '10.0.0.1', toUs, build.ipv4({ ...ip, source: '0.0.0.0' }), some],
    ['from a loopback', '10.0.0.1', toUs, build.ipv4({ ...ip, source: '127.0.0.1' }), some], ['a later fragment', '10.0.0.1', toUs, build.ipv4({ ...ip, fragmentOffset: 8, protocol: 17 }), some],
    ['an error', '10.0.0.1', toUs, build.ipv4(ip), build.icmp({ type: 3 }), some], ['an ICMP message that is cut', '10.0.0.1', toUs, build.ipv4({ ...ip, protocol: 1 }), Uint8Array.of(8, 0)],
    ['of the other family', 'fd00::1', toUs, build.ipv4(ip), some], ['of the other family', '10.0.0.1', toUs, build.ipv6(ip6), some],
    ['to a group', 'fd00::1', toUs, build.ipv6({ ...ip6, destination: 'ff05::1' }), some], ['from nobody', 'fd00::1', toUs, build.ipv6({ ...ip6, source: '::' }), some],
    ['a later fragment', 'fd00::1', toUs, build.ipv6(ip6), build.fragment({ offset: 8, nextHeader: 17 }), some], ['an error', 'fd00::1', toUs, build.ipv6(ip6), build.icmpv6({ type: 3 }), some],
    ['an error behind a header', 'fd00::1', toUs, build.ipv6(ip6), build.hopByHop(), build.icmpv6({ type: 1 }), some], ['a redirect', 'fd00::1', toUs, build.ipv6(ip6), build.icmpv6({ type: 137 }), some],
  ] as const) t.equal(error(build.frame(link, ...parts as (build.Layer | Uint8Array)[]), 'time exceeded', source), undefined, name);
  t.ok(error(build.frame(toUs, build.ipv4(ip), build.icmp({ type: 8 })), 'time exceeded', '10.0.0.1'), 'about a ping there is: traceroute lives by it');
  const handle = fresh(build.frame(toUs, build.ipv4(ip), some));
  mbufs.hold(handle);
  t.notOk(responder.error(handle, 'no route', bytes('10.0.0.1')) || responder.echo(handle), 'what others hold too is left as it is');
  one.handles[0] = handle;
  for (let holder = 0; holder < 2; holder++) pool.free(one, 0, 1);
});

t.test('neighbours are asked for, and answered', async t => {
  const mac = parseMac(US);
  const asked = after(new Uint8Array(0), handle => responder.ask(handle, mac, bytes('10.0.0.1'), bytes('10.0.0.2')))!;
  t.same(asked.subarray(0, 42), build.frame(build.ethernet({ destination: 'ff:ff:ff:ff:ff:ff', source: US }), build.arp({ operation: 1, senderMac: US, senderAddress: '10.0.0.1', targetAddress: '10.0.0.2' })));
  t.equal(asked.length, 60);
  const option = (kind: number, from: string): number[] => [kind, 1, ...parseMac(from)];
  const solicited = after(new Uint8Array(0), handle => responder.ask(handle, mac, bytes('fd00::1'), bytes('fd00::aabb:ccdd')))!;
  t.same(solicited, build.frame(build.ethernet({ destination: '33:33:ff:bb:cc:dd', source: US }), build.ipv6({ source: 'fd00::1', destination: 'ff02::1:ffbb:ccdd', hopLimit: 255 }), build.icmpv6({ type: 135 }), [...addressBytes('fd00::aabb:ccdd'), ...option(1, US)]));

  const solicitation = (source: string, ...more: number[]): Uint8Array => build.frame(build.ethernet({ destination: '33:33:ff:00:00:01', source: THEM }), build.ipv6({ source, destination: 'ff02::1:ff00:1', hopLimit: 255 }), build.icmpv6({ type: 135 }), [...addressBytes('fd00::1'), ...more]);
  const answer = (to: string, flags: number, destination: string): Uint8Array => build.frame(build.ethernet({ destination: to, source: US }), build.ipv6({ source: 'fd00::1', destination, hopLimit: 255 }), build.icmpv6({ type: 136, rest: flags * 2 ** 24 }), [...addressBytes('fd00::1'), ...option(2, US)]);
  const advertise = (frame: Uint8Array): Uint8Array | undefined => after(frame, handle => responder.advertise(handle, mac));
  t.same(advertise(solicitation('fd00::2', ...option(1, THEM))), answer(THEM, 0xe0, 'fd00::2'));
  t.same(advertise(solicitation('fd00::2')), answer(THEM, 0xe0, 'fd00::2'), 'a short one grows');
  t.same(advertise(solicitation('fd00::2', ...option(14, THEM), ...option(1, THEM))), answer(THEM, 0xe0, 'fd00::2'), 'a long one shrinks');
  t.same(advertise(solicitation('::')), answer('33:33:00:00:00:01', 0xa0, 'ff02::1'), 'who has no address yet hears it with all others');
  t.equal(advertise(answer(THEM, 0xe0, 'fd00::2')), undefined, 'an answer is not answered');
});

t.test('neighbours\' messages that are none (RFC 4861 sections 7.1.1 and 7.1.2)', async t => {
  const [ip, neighbor] = [new Ipv6(mbufs), new NeighborMessage(mbufs)];
  const read = (fields: Partial<build.Ipv6Fields>, { type = 135, code = 0, rest = 0 } = {}, body: number[] = addressBytes('fd00::1')): string => {
    const handle = lab.put(build.frame(toUs, build.ipv6({ source: 'fd00::2', destination: 'ff02::1:ff00:1', hopLimit: 255, ...fields }), build.icmpv6({ type, code, rest }), body));
    ip.at(handle);
    if (!neighbor.at(handle, ip.end, ip.limit)) return 'none';
    return neighbor.isValid(ip) ? `${formatIpv6(mbufs.u8, neighbor.targetAt)}${neighbor.macAt < 0 ? '' : ` at ${mbufs.u8[neighbor.macAt + 5]}`}` : 'invalid';
  };
  const target = addressBytes('fd00::1');
  const mac = [1, 1, 2, 0, 0, 0, 0, 9];
  t.equal(read({}, {}, [...target, ...mac]), 'fd00::1 at 9');
  t.equal(read({}, {}, [...target, 14, 2, ...new Array<number>(14).fill(1), ...mac]), 'fd00::1 at 9', 'behind another option');
  t.equal(read({}, { type: 136, rest: 0x40000000 }, [...target, 2, ...mac.slice(1)]), 'invalid', 'solicited, and to all');
  t.equal(read({ destination: 'fd00::9' }, { type: 136, rest: 0x40000000 }, [...target, 2, ...mac.slice(1)]), 'fd00::1 at 9');
  t.equal(read({ hopLimit: 254 }), 'invalid', 'from beyond the link');
  t.equal(read({ source: '::' }), 'fd00::1');
  t.equal(read({ source: '::' }, {}, [...target, ...mac]), 'invalid');
  t.equal(read({ source: '::', destination: 'fd00::1' }), 'invalid');
  t.equal(read({}, { code: 1 }), 'none');
  t.equal(read({}, { type: 133 }), 'none');
  t.equal(read({}, {}, target.slice(1)), 'none', 'cut');
  t.equal(read({}, {}, addressBytes('ff02::1')), 'none', 'about many');
  t.equal(read({}, {}, [...target, 1, 0, 2, 0, 0, 0, 0, 9]), 'none', 'an option without length');
  t.equal(read({}, {}, [...target, 1, 2, 2, 0, 0, 0, 0, 9]), 'none', 'one that runs past the end');
  t.equal(read({}, {}, [...target, 1]), 'none', 'half of one');
});

t.test('whatever comes: an answer that can be read, or the packet as it was', async t => {
  let answers = 0;
  fc.assert(fc.property(brokenFrames, fc.nat(3), (frame, what) => {
    if (frame.length > 3000) return;
    const got = after(frame, handle => what === 0 ? responder.echo(handle) : what === 1 ? responder.advertise(handle, parseMac(US)) : responder.error(handle, 'too big', bytes(what === 2 ? '10.0.0.1' : 'fd00::1'), 1280));
    if (got === undefined) return;
    answers++;
    const handle = fresh(got);
    const text = describe(mbufs, handle);
    one.handles[0] = handle;
    pool.free(one, 0, 1);
    if (!/ICMP/.test(text)) throw new Error(text);
  }), { numRuns: 5000 });
  t.ok(answers > 50, `${answers} answers`);
});
