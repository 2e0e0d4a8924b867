/** Frames for tests: of all the headers that the library knows, well-formed, and then broken in likely places. */
import fc from 'fast-check';
import * as build from '../../lib/wire/build.js';
import type { Layer } from '../../lib/wire/build.js';

const ports = { sourcePort: fc.nat(65535), destinationPort: fc.oneof(fc.nat(65535), fc.constant(4789)) };
const options = fc.constantFrom<number[]>([], [1, 1, 1, 0], [148, 4, 0, 0], [7, 7, 4, 0, 0, 0, 0, 0], [2, 4, 5, 180, 1, 3, 3, 7], [68, 40, 5, 0], [9, 1, 0, 0]);
const payload = fc.oneof(fc.uint8Array({ maxLength: 24 }), fc.uint8Array({ minLength: 60, maxLength: 300 }));

const transports: fc.Arbitrary<Layer> = fc.oneof(
  fc.record({ ...ports }).map(build.udp), fc.record({ ...ports, options, flags: fc.nat(511), sequence: fc.nat(0xffffffff) }).map(build.tcp),
  fc.record({ ...ports, verificationTag: fc.nat(0xffffffff) }).map(build.sctp),
  fc.record({ type: fc.nat(255), code: fc.nat(255), rest: fc.nat(0xffffffff) }).map(build.icmp),
  fc.record({ type: fc.nat(255), code: fc.nat(255), rest: fc.nat(0xffffffff) }).map(build.icmpv6),
);
const v4 = (protocol?: number): fc.Arbitrary<Layer> => fc.record({
  source: fc.ipV4(), destination: fc.ipV4(), options: fc.oneof({ arbitrary: fc.constant([]), weight: 3 }, { arbitrary: options, weight: 1 }), ttl: fc.nat(255), tos: fc.nat(255), identification: fc.nat(65535),
  fragmentOffset: fc.oneof({ arbitrary: fc.constant(0), weight: 9 }, { arbitrary: fc.nat(8191).map(units => units * 8), weight: 1 }),
  moreFragments: fc.integer({ min: 0, max: 9 }).map(draw => draw === 0), dontFragment: fc.boolean(),
}).map(fields => build.ipv4(protocol === undefined ? fields : { ...fields, protocol }));
const v6: fc.Arbitrary<Layer> = fc.record({ source: fc.ipV6(), destination: fc.ipV6(), flowLabel: fc.nat(0xfffff), hopLimit: fc.nat(255) }).map(build.ipv6);
const optionHeader: fc.Arbitrary<Layer> = fc.record({
  kind: fc.constantFrom(0, 43, 60, 51, 135, 139, 140), body: fc.constantFrom([1, 4, 0, 0, 0, 0], [1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
}).map(build.extension);
const fragment: fc.Arbitrary<Layer> = fc.record({ offset: fc.constantFrom(0, 0, 8, 1232), more: fc.boolean(), identification: fc.nat(0xffffffff) }).map(build.fragment);
/** At most one fragment header (RFC 8200 section 4.1): of two, the outer's datagram is not here to be summed up. */
const extensions: fc.Arbitrary<Layer[]> = fc.tuple(fc.array(optionHeader, { maxLength: 2 }), fc.option(fragment, { nil: undefined, freq: 2 }), fc.array(optionHeader, { maxLength: 1 }))
  .map(([before, part, behind]) => [...before, ...part === undefined ? [] : [part], ...behind]);
const networks: fc.Arbitrary<Layer[]> = fc.oneof(v4().map(layer => [layer]), fc.tuple(v6, extensions).map(([layer, list]) => [layer, ...list]));
const ethernets: fc.Arbitrary<Layer[]> = fc.tuple(
  fc.constant(build.ethernet({ destination: '02:00:00:00:00:0a', source: '02:00:00:00:00:0b' })),
  fc.oneof({ arbitrary: fc.constant([]), weight: 3 }, { arbitrary: fc.array(fc.record({ id: fc.nat(4095), priority: fc.nat(7), service: fc.boolean() }).map(build.vlan), { maxLength: 6 }), weight: 1 }),
).map(([ether, tags]) => [ether, ...tags]);
const labels = fc.array(fc.record({ label: fc.nat(0xfffff), ttl: fc.nat(255) }).map(build.mpls), { minLength: 1, maxLength: 20 });
const tunnels: fc.Arbitrary<Layer[]> = fc.oneof(
  fc.constant<Layer[]>([]), fc.tuple(fc.oneof(fc.record({ key: fc.nat(0xffffffff) }), fc.constant({}), fc.record({ sequence: fc.nat(9) })).map(build.gre), fc.oneof(networks, ethernets, fc.tuple(ethernets, networks).map(two => two.flat()))).map(([gre, inner]) => [gre, ...inner]),
  fc.tuple(fc.record({ sourcePort: fc.nat(65535), destinationPort: fc.constant(4789) }).map(build.udp), fc.record({ vni: fc.nat(0xffffff) }).map(build.vxlan), ethernets, networks).map(([udp, vxlan, ...inner]) => [udp, vxlan, ...inner.flat()]), networks,
);

/** Well-formed, lengths and checksums as they should be. */
export const soundFrames: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(ethernets, networks, fc.oneof({ arbitrary: fc.constant<Layer[]>([]), weight: 3 }, { arbitrary: tunnels, weight: 1 }), transports, payload).map(([ether, network, tunnel, transport, data]) => build.frame(...ether, ...network, ...tunnel, transport, data)) },
  { weight: 1, arbitrary: fc.tuple(ethernets, labels, networks, transports, payload).map(([ether, stack, network, transport, data]) => build.frame(...ether, ...stack, ...network, transport, data)) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(0x806, 0x88cc, 0x88f7, 40), payload).map(([type, data]) => build.frame(build.ethernet({ type }), data)) },
  { weight: 1, arbitrary: fc.tuple(networks, transports, payload, fc.constantFrom([0, 0x21], [0, 0x57], [0xc0, 0x21])).map(([network, transport, data, kind]) => build.frame(build.ethernet({ type: 0x8864 }), [0x11, 0, 0, 1, 0, 99, ...kind], ...network, transport, data)) },
);

/** The same, with a few bytes changed, most of them near the front, and cut anywhere. */
export const brokenFrames: fc.Arbitrary<Uint8Array> = fc.tuple(
  soundFrames, fc.array(fc.tuple(fc.oneof(fc.nat(70), fc.nat(300)), fc.oneof(fc.nat(255), fc.constantFrom(0, 255, 0x45, 0x60, 4, 6))), { maxLength: 3 }), fc.nat(600),
).map(([frame, changes, cut]) => {
  const bytes = frame.slice(0, cut < frame.length ? cut : frame.length);
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  return bytes;
});
