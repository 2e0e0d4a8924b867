/**
 * fields.ts as an XDP program: reads a frame into the fields on the stack, in the same order and with the same ifs. It
 * ends at the label "rules" with every field written, or goes to "pass" for what no rule sees.
 *
 * R6 is the context (struct xdp_md), R7 and R8 the frame's start and end, R9 where the reader stands.
 */
import {
  B, H, R10, R2, R3, R4, R5, R6, R7, R8, R9, W, alu, jump, jumpAlways, label, load, mov, store, toBigEndian, type Instruction, type Register,
} from '../kernel/instructions.js';
import {
  ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, ETHER_HEADER_BYTES, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT,
  PROTOCOL_HOPOPTS, PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, VLAN_TAG_BYTES,
} from '../wire/protocol_layout.js';
import {
  FIELD_DESTINATION, FIELD_DESTINATION_MAC, FIELD_DESTINATION_PORT, FIELD_ETHERTYPE, FIELD_FRAGMENT, FIELD_PROTOCOL, FIELD_SOURCE,
  FIELD_SOURCE_MAC, FIELD_SOURCE_PORT, FIELD_VERSION, FIELD_VLAN, FIELDS, IPV4_FRAGMENT, IPV6_FRAGMENT, IPV6_FRAGMENT_OFFSET,
  MOST_EXTENSIONS, NO_PORT, NO_PROTOCOL, NO_VLAN,
} from './layout.js';

/** struct xdp_md */
export const MD_DATA = 0;
export const MD_DATA_END = 4;
export const MD_RX_QUEUE_INDEX = 16;

/** Of a field, from R10. */
export function stackOf(field: number): number {
  return -4 * (field + 1);
}

/** Below the fields: the key of a map. */
export const STACK_KEY = stackOf(FIELDS);

const DEFAULTS: Readonly<Record<number, number>> = { [FIELD_PROTOCOL]: NO_PROTOCOL, [FIELD_VLAN]: NO_VLAN, [FIELD_SOURCE_PORT]: NO_PORT, [FIELD_DESTINATION_PORT]: NO_PORT };

/** `field` = the 2 or 4 bytes at `from + offset`, from network order. Loses R2. */
function keep(size: typeof H | typeof W, from: Register, offset: number, field: number): Instruction[] {
  return [load(size, R2, from, offset), toBigEndian(R2, size === H ? 16 : 32), store(W, R10, stackOf(field), R2)];
}

/** On to `to` unless there are `bytes` bytes behind R9. Loses R3. */
function need(from: Register, bytes: number, to: string): Instruction[] {
  return [mov(R3, from), alu('+', R3, bytes), jump('>', R3, R8, to)];
}

/** One more tag, if the type in R4 is one's and the tag is whole: then R4 is the type behind it. */
function tag(first: boolean, name: string): Instruction[] {
  const vlan = first ? [load(H, R2, R9, 0), toBigEndian(R2, 16), alu('&', R2, 0xfff), store(W, R10, stackOf(FIELD_VLAN), R2)] : [];
  return [
    jump('==', R4, ETHERTYPE_VLAN, name), jump('!=', R4, ETHERTYPE_QINQ, 'type'),
    label(name), ...need(R9, VLAN_TAG_BYTES, 'type'),
    ...vlan, load(H, R4, R9, 2), toBigEndian(R4, 16), alu('+', R9, VLAN_TAG_BYTES),
  ];
}

export function readFields(): Instruction[] {
  return [
    load(W, R7, R6, MD_DATA), load(W, R8, R6, MD_DATA_END),
    ...need(R7, ETHER_HEADER_BYTES, 'pass'),
    ...Array.from({ length: FIELDS }, (_, field) => store(W, R10, stackOf(field), DEFAULTS[field] ?? 0)),
    ...keep(W, R7, 0, FIELD_DESTINATION_MAC), ...keep(H, R7, 4, FIELD_DESTINATION_MAC + 1),
    ...keep(W, R7, 6, FIELD_SOURCE_MAC), ...keep(H, R7, 10, FIELD_SOURCE_MAC + 1),
    load(H, R4, R7, 12), toBigEndian(R4, 16), mov(R9, R7), alu('+', R9, ETHER_HEADER_BYTES),
    ...tag(true, 'tag 1'), ...tag(false, 'tag 2'),
    label('type'), store(W, R10, stackOf(FIELD_ETHERTYPE), R4),
    jump('==', R4, ETHERTYPE_IPV4, 'ipv4'), jump('==', R4, ETHERTYPE_IPV6, 'ipv6'), jumpAlways('rules'),
    ...ipv4(), ...ipv6(), ...ports(),
    label('rules'),
  ];
}

function ipv4(): Instruction[] {
  return [
    label('ipv4'), ...need(R9, 20, 'rules'),
    load(B, R2, R9, 0), mov(R4, R2), alu('>>>', R4, 4), jump('!=', R4, 4, 'rules'),
    alu('&', R2, 15), alu('<<', R2, 2), jump('<', R2, 20, 'rules'),
    mov(R5, R9), alu('+', R5, R2), jump('>', R5, R8, 'rules'),
    store(W, R10, stackOf(FIELD_VERSION), 4),
    load(B, R4, R9, 9), store(W, R10, stackOf(FIELD_PROTOCOL), R4),
    ...keep(W, R9, 12, FIELD_SOURCE), ...keep(W, R9, 16, FIELD_DESTINATION),
    load(H, R2, R9, 6), toBigEndian(R2, 16), alu('&', R2, IPV4_FRAGMENT), jump('==', R2, 0, 'ports'),
    store(W, R10, stackOf(FIELD_FRAGMENT), 1), jumpAlways('rules'),
  ];
}

function ipv6(): Instruction[] {
  return [
    label('ipv6'), ...need(R9, 40, 'rules'),
    load(B, R2, R9, 0), alu('>>>', R2, 4), jump('!=', R2, 6, 'rules'),
    store(W, R10, stackOf(FIELD_VERSION), 6),
    load(B, R4, R9, 6), store(W, R10, stackOf(FIELD_PROTOCOL), R4),
    ...[0, 1, 2, 3].flatMap(word => [...keep(W, R9, 8 + 4 * word, FIELD_SOURCE + word), ...keep(W, R9, 24 + 4 * word, FIELD_DESTINATION + word)]),
    mov(R5, R9), alu('+', R5, 40),
    ...Array.from({ length: MOST_EXTENSIONS }, (_, i) => extension(i)).flat(),
    ...EXTENSIONS.map(kind => jump('==', R4, kind, 'broken')),
    label('upper'),
    load(W, R2, R10, stackOf(FIELD_FRAGMENT)), jump('==', R2, 0, 'ports'), jumpAlways('rules'),
    label('broken'), store(W, R10, stackOf(FIELD_PROTOCOL), PROTOCOL_NONE), jumpAlways('rules'),
  ];
}

const EXTENSIONS = [PROTOCOL_HOPOPTS, PROTOCOL_ROUTING, PROTOCOL_FRAGMENT, PROTOCOL_AH, PROTOCOL_DSTOPTS];

/** One more extension header, if R4 is one's: then R4 is the kind behind it, and R5 stands there. */
function extension(i: number): Instruction[] {
  const [walk, ah, step, next] = ['walk', 'ah', 'step', 'next'].map(name => `${name} ${i}`) as [string, string, string, string];
  return [
    ...EXTENSIONS.map(kind => jump('==', R4, kind, walk)), jumpAlways('upper'),
    label(walk), ...need(R5, 8, 'broken'),
    load(B, R2, R5, 1),
    jump('==', R4, PROTOCOL_AH, ah), jump('==', R4, PROTOCOL_FRAGMENT, `fragment ${i}`),
    alu('+', R2, 1), alu('<<', R2, 3), jumpAlways(step),
    label(ah), alu('+', R2, 2), alu('<<', R2, 2),
    label(step), load(B, R4, R5, 0), mov(R3, R5), alu('+', R3, R2), jump('>', R3, R8, 'broken'), mov(R5, R3),
    store(W, R10, stackOf(FIELD_PROTOCOL), R4), jumpAlways(next),
    label(`fragment ${i}`), load(B, R4, R5, 0), store(W, R10, stackOf(FIELD_PROTOCOL), R4),
    load(H, R2, R5, 2), toBigEndian(R2, 16), alu('&', R2, IPV6_FRAGMENT), alu('+', R5, 8), jump('==', R2, 0, next),
    store(W, R10, stackOf(FIELD_FRAGMENT), 1), alu('&', R2, IPV6_FRAGMENT_OFFSET), jump('!=', R2, 0, 'rules'),
    label(next),
  ];
}

/** The protocol is in R4, and R5 behind the IP header. */
function ports(): Instruction[] {
  return [
    label('ports'),
    jump('==', R4, PROTOCOL_TCP, 'ported'), jump('==', R4, PROTOCOL_UDP, 'ported'), jump('!=', R4, PROTOCOL_SCTP, 'rules'),
    label('ported'), ...need(R5, 4, 'rules'),
    ...keep(H, R5, 0, FIELD_SOURCE_PORT), ...keep(H, R5, 2, FIELD_DESTINATION_PORT),
  ];
}
