import * as layout from './layout.js';
import * as protocol from '../wire/protocol_layout.js';

const {
  FIELD_DESTINATION, FIELD_DESTINATION_MAC, FIELD_DESTINATION_PORT, FIELD_ETHERTYPE, FIELD_FRAGMENT, FIELD_PROTOCOL, FIELD_SOURCE,
  FIELD_SOURCE_MAC, FIELD_SOURCE_PORT, FIELD_VERSION, FIELD_VLAN, FIELDS, IPV4_FRAGMENT, IPV6_FRAGMENT, IPV6_FRAGMENT_OFFSET,
  MOST_EXTENSIONS, NO_PORT, NO_PROTOCOL, NO_VLAN,
} = layout;
const {
  ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN, ETHER_HEADER_BYTES, PROTOCOL_AH, PROTOCOL_DSTOPTS, PROTOCOL_FRAGMENT,
  PROTOCOL_HOPOPTS, PROTOCOL_NONE, PROTOCOL_ROUTING, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, VLAN_TAG_BYTES,
} = protocol;

/**
 * Reads a packet into a vector of fields. xdp_fields.ts writes the same as an XDP program, line by line; the two are held
 * against each other. Returns false for what is shorter than an Ethernet header: no rule sees it.
 */
export class FieldReader {
  private readonly u8: Uint8Array;
  private readonly u32: Uint32Array;
  private readonly fields: number;

  /** `fields`: the vector's first index in `u32`. */
  constructor(u8: Uint8Array, u32: Uint32Array, fields: number) {
    this.u8 = u8;
    this.u32 = u32;
    this.fields = fields;
  }

  read(frame: number, length: number): boolean {
    const { u32, fields } = this;
    if (length < ETHER_HEADER_BYTES) return false;
    u32.fill(0, fields, fields + FIELDS);
    u32[fields + FIELD_PROTOCOL] = NO_PROTOCOL;
    u32[fields + FIELD_VLAN] = NO_VLAN;
    u32[fields + FIELD_SOURCE_PORT] = NO_PORT;
    u32[fields + FIELD_DESTINATION_PORT] = NO_PORT;
    u32[fields + FIELD_DESTINATION_MAC] = this.big32(frame);
    u32[fields + FIELD_DESTINATION_MAC + 1] = this.big16(frame + 4);
    u32[fields + FIELD_SOURCE_MAC] = this.big32(frame + 6);
    u32[fields + FIELD_SOURCE_MAC + 1] = this.big16(frame + 10);
    let at = ETHER_HEADER_BYTES;
    let type = this.big16(frame + 12);
    for (let tags = 0; tags < 2 && (type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ) && length >= at + VLAN_TAG_BYTES; tags++) {
      if (tags === 0) u32[fields + FIELD_VLAN] = this.big16(frame + at) & 0xfff;
      type = this.big16(frame + at + 2);
      at += VLAN_TAG_BYTES;
    }
    u32[fields + FIELD_ETHERTYPE] = type;
    if (type === ETHERTYPE_IPV4) this.ipv4(frame + at, length - at);
    else if (type === ETHERTYPE_IPV6) this.ipv6(frame + at, length - at);
    return true;
  }

  private ipv4(ip: number, length: number): void {
    const { u8, u32, fields } = this;
    if (length < 20 || u8[ip]! >> 4 !== 4) return;
    const header = (u8[ip]! & 15) << 2;
    if (header < 20 || header > length) return;
    u32[fields + FIELD_VERSION] = 4;
    u32[fields + FIELD_PROTOCOL] = u8[ip + 9]!;
    u32[fields + FIELD_SOURCE] = this.big32(ip + 12);
    u32[fields + FIELD_DESTINATION] = this.big32(ip + 16);
    if ((this.big16(ip + 6) & IPV4_FRAGMENT) !== 0) u32[fields + FIELD_FRAGMENT] = 1;
    else this.ports(ip + header, length - header);
  }

  private ipv6(ip: number, length: number): void {
    const { u8, u32, fields } = this;
    if (length < 40 || u8[ip]! >> 4 !== 6) return;
    u32[fields + FIELD_VERSION] = 6;
    u32[fields + FIELD_PROTOCOL] = u8[ip + 6]!;
    for (let word = 0; word < 4; word++) {
      u32[fields + FIELD_SOURCE + word] = this.big32(ip + 8 + 4 * word);
      u32[fields + FIELD_DESTINATION + word] = this.big32(ip + 24 + 4 * word);
    }
    this.extensions(ip + 40, length - 40);
  }

  /** On to what is behind IPv6's extension headers. A later fragment has what the fragment header says, and no more. */
  private extensions(at: number, length: number): void {
    const { u8, u32, fields } = this;
    let kind = u32[fields + FIELD_PROTOCOL]!;
    for (let headers = 0; isExtension(kind); headers++) {
      const bytes = length < 8 ? Infinity : kind === PROTOCOL_FRAGMENT ? 8 : kind === PROTOCOL_AH ? (u8[at + 1]! + 2) << 2 : (u8[at + 1]! + 1) << 3;
      if (bytes > length || headers === MOST_EXTENSIONS) {
        u32[fields + FIELD_PROTOCOL] = PROTOCOL_NONE;
        return;
      }
      const part = kind === PROTOCOL_FRAGMENT ? this.big16(at + 2) : 0;
      u32[fields + FIELD_PROTOCOL] = kind = u8[at]!;
      if ((part & IPV6_FRAGMENT) !== 0) u32[fields + FIELD_FRAGMENT] = 1;
      if ((part & IPV6_FRAGMENT_OFFSET) !== 0) return;
      at += bytes;
      length -= bytes;
    }
    if (u32[fields + FIELD_FRAGMENT] === 0) this.ports(at, length);
  }

  private ports(at: number, length: number): void {
    const { u32, fields } = this;
    const protocol = u32[fields + FIELD_PROTOCOL]!;
    if (length < 4 || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_SCTP)) return;
    u32[fields + FIELD_SOURCE_PORT] = this.big16(at);
    u32[fields + FIELD_DESTINATION_PORT] = this.big16(at + 2);
  }

  private big16(at: number): number {
    return (this.u8[at]! << 8) | this.u8[at + 1]!;
  }

  private big32(at: number): number {
    const { u8 } = this;
    return ((u8[at]! << 24) | (u8[at + 1]! << 16) | (u8[at + 2]! << 8) | u8[at + 3]!) >>> 0;
  }
}

/** One that says where the next header is. */
function isExtension(kind: number): boolean {
  return kind === PROTOCOL_HOPOPTS || kind === PROTOCOL_ROUTING || kind === PROTOCOL_FRAGMENT || kind === PROTOCOL_AH || kind === PROTOCOL_DSTOPTS;
}
