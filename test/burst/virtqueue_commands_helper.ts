/** What two virtqueues of a guest and a host may look like, and what may be done to them. */
import fc from 'fast-check';
import { HEADROOM } from '../../lib/mbuf/layout.js';

export const ROOM = 2048 - HEADROOM;
export const LONGEST = 4000;
/** What a guest sends that may leave the cutting to us. */
export const LONGEST_UNCUT = 8000;

export interface VqShape {
  readonly packed: boolean; readonly size: number; readonly start: number; readonly mergeable: boolean; readonly indirect: boolean;
  readonly eventIdx: boolean; readonly inOrder: boolean; readonly header: number; readonly outside: boolean; readonly guestBuffers: number; readonly hostBuffers: number; readonly cache: number;
  /** The driver's ids begin with this one, as after others came back in another order. Default 0. */
  readonly firstId?: number;
  /** OFFLOAD_*, in both directions. `finish`: the guest does not pass checksums on, and takes nothing that is to be cut. */
  readonly offloads: number; readonly finish?: boolean;
}

export const vqShapes: fc.Arbitrary<VqShape> = fc.record({
  packed: fc.boolean(), power: fc.constantFrom(4, 8, 16), odd: fc.constantFrom(4, 5, 7, 8, 16), start: fc.constantFrom(0, 3, 0xfffd, 0x7ffe),
  mergeable: fc.boolean(), indirect: fc.boolean(), eventIdx: fc.boolean(), inOrder: fc.boolean(), header: fc.constantFrom(12, 12, 10, 20), outside: fc.boolean(),
  guestBuffers: fc.constantFrom(6, 14, 28), hostBuffers: fc.constantFrom(4, 14), cache: fc.constantFrom(0, 1, 4), firstId: fc.constantFrom(0, 0, 1, 6),
  offloads: fc.constantFrom(0, 1, 3, 5, 7, 7), finish: fc.boolean(),
}).map(({ power, odd, start, ...shape }) => ({
  ...shape,
  size: shape.packed ? odd : power,
  start: shape.packed ? start & 0x8000 | (start % odd) : start,
  header: shape.mergeable ? Math.max(12, shape.header) : shape.header,
  cache: Math.min(shape.cache, Math.floor(Math.min(shape.guestBuffers, shape.hostBuffers) / 3)),
}));

/** The lengths of its segments, at least one; `shift` moves its front into the headroom or away from it; `held` gives it a second holder. */
export interface Outgoing { readonly parts: readonly number[]; readonly shift: number; readonly held: boolean; readonly packet?: Packet }

/** What stands at a frame's front, and what it leaves to be done: its mbuf says so, or of the guest's, without `byFlags`, a struct virtio_net_hdr that it writes itself. */
export interface Packet {
  readonly kind: 'tcp4' | 'udp4' | 'tcp6' | 'udp6' | 'tagged' | 'fragment' | 'other';
  readonly asks: 'nothing' | 'checksum' | 'segments';
  readonly size: number;
  /** What is added to the right places: 0 where the sender is honest. */
  readonly startOff: number; readonly offsetOff: number; readonly gsoType?: number; readonly good: boolean; readonly byFlags?: boolean;
}
export type VqCommand =
  | { readonly kind: 'guestSend' | 'hostSend'; readonly frames: readonly Outgoing[] }
  | { readonly kind: 'guestReceive' | 'hostReceive' | 'guestFree' | 'hostFree'; readonly count: number }
  | { readonly kind: 'header'; readonly at: number; readonly value: number }
  | { readonly kind: 'scribble'; readonly place: 'desc' | 'avail' | 'used' | 'extra'; readonly at: number; readonly value: number };

const packet: fc.Arbitrary<Packet> = fc.record({
  kind: fc.constantFrom('tcp4', 'tcp4', 'tcp4', 'tcp6', 'tcp6', 'udp4', 'udp6', 'tagged', 'fragment', 'other'),
  asks: fc.constantFrom('nothing', 'checksum', 'segments', 'segments'),
  size: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 1500 }) }, { weight: 1, arbitrary: fc.constantFrom(0, 3900, 4000, 65535) }),
  startOff: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: -20, max: 3000 }) }, { weight: 1, arbitrary: fc.constantFrom(65000, 65535) }),
  offsetOff: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, -6, 2000, 65519, 65535) }),
  good: fc.boolean(), byFlags: fc.boolean(),
}, { requiredKeys: ['kind', 'asks', 'size', 'startOff', 'offsetOff', 'good', 'byFlags'] }).chain(made => fc.oneof(
  { weight: 6, arbitrary: fc.constant(made as Packet) }, { weight: 1, arbitrary: fc.constantFrom(1, 3, 4, 5, 0x81, 255).map(gsoType => ({ ...made, gsoType }) as Packet) },
));

/** That leave nothing to be done. */
export const plain: fc.Arbitrary<Outgoing> = fc.record({
  parts: fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.integer({ min: 14, max: ROOM })) },
    { weight: 2, arbitrary: fc.array(fc.integer({ min: 1, max: ROOM }), { minLength: 2, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(0, 13)) },
  ),
  shift: fc.constantFrom(0, 0, 0, -200, -250, 40), held: fc.constantFrom(false, false, false, false, true),
}).map(({ parts, shift, held }) => ({ parts: (parts as number[]).map(part => shift > 0 ? Math.min(part, ROOM - shift) : part), shift, held: held && parts.length === 1 }));

const asking: fc.Arbitrary<Outgoing> = fc.oneof(plain, fc.tuple(plain, packet).map(([frame, front]) => ({ ...frame, packet: front })));

/** What is done for four at once; with one of another kind among them now and then. */
const alike: fc.Arbitrary<Outgoing[]> = fc.array(
  fc.oneof({ weight: 30, arbitrary: fc.integer({ min: 14, max: 100 }).map(length => ({ parts: [length], shift: 0, held: false })) }, { weight: 1, arbitrary: plain }),
  { minLength: 4, maxLength: 14 },
);

/** `asks`: frames leave something to be done. */
export function vqCommands(hostile: boolean, asks: boolean): fc.Arbitrary<VqCommand[]> {
  const count = fc.integer({ min: 1, max: 14 });
  const outgoing = asks ? asking : plain;
  const usual = [
    ...(['guestSend', 'hostSend'] as const).map(kind => fc.record({ kind: fc.constant(kind), frames: fc.oneof(fc.array(outgoing, { minLength: 1, maxLength: 6 }), alike) })),
    ...(['guestReceive', 'hostReceive', 'guestFree', 'hostFree'] as const).map(kind => fc.record({ kind: fc.constant(kind), count })),
  ];
  const value = fc.oneof(fc.constantFrom(0, 1, 2, 4, 0x8000, 0x00010003, 0xffff, 0x7fffffff, 0xffffffff), fc.nat({ max: 0xffffffff }));
  const scribble = fc.record({ kind: fc.constant('scribble' as const), place: fc.constantFrom('desc' as const, 'desc' as const, 'avail' as const, 'used' as const, 'extra' as const), at: fc.nat(), value });
  const small = fc.oneof(value, fc.constantFrom(1, 2, 3, 0x101, 0x1001), fc.nat({ max: 100 }).map(each => each << 16 | 16));
  const header = fc.record({ kind: fc.constant('header' as const), at: fc.nat(), value: small });
  return fc.array(fc.oneof(...usual, ...(hostile ? [scribble, scribble, scribble, header, header] : [])), { minLength: 1, maxLength: 50, size: 'max' }) as fc.Arbitrary<VqCommand[]>;
}
