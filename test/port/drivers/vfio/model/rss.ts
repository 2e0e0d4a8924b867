/** Receive side scaling (section 7.1.2.8): which hash a packet has, what it is, and the queue that it leads to. */
import type { Bank } from './bank.js';
import { word, words } from './bank.js';
import type { Packet } from './packet.js';

/** RSS types of the descriptor's write-back (section 7.1.6.2), and the bits of MRQC that enable them (section 8.2.3.7.12). */
const TYPES = {
  tcp4: { type: 1, enable: 1 << 16 },
  ip4: { type: 2, enable: 1 << 17 },
  tcp6: { type: 3, enable: 1 << 21 },
  ip6: { type: 5, enable: 1 << 20 },
  udp4: { type: 7, enable: 1 << 22 },
  udp6: { type: 8, enable: 1 << 23 },
} as const;

export interface RssResult {
  readonly type: number;
  readonly hash: number;
  readonly queue: number;
}

const NOT_HASHED: RssResult = { type: 0, hash: 0, queue: 0 };

export class Rss {
  private readonly bank: Bank;
  private readonly mrqc = word('MRQC');
  private readonly key = words('RSSRK');
  private readonly reta = words('RETA');
  private readonly violate: (sentence: string) => void;

  constructor(bank: Bank, violate: (sentence: string) => void) {
    this.bank = bank;
    this.violate = violate;
    bank.on('MRQC', (_, value) => this.checkMode(value));
    bank.on('RETA', (n, value) => this.checkEntries(n, value));
  }

  private checkMode(value: number): number {
    if ((value & 0xf) > 1) this.violate(`MRQC.MRQE is ${value & 0xf}: this model has no DCB and no virtualisation, only 0 and 1 (8.2.3.7.12).`);
    return value;
  }

  private checkEntries(n: number, value: number): number {
    if ((value & 0xf0f0f0f0) !== 0) this.violate(`RETA[${n}] is written with reserved bits: an entry has four, queues 0 to 15 (8.2.3.7.15).`);
    return value;
  }

  /** Packets that have no hash go to queue 0. */
  result(packet: Packet): RssResult {
    const mrqc = this.bank.get(this.mrqc);
    if ((mrqc & 0xf) !== 1) return NOT_HASHED;
    const { type, input } = hashInput(packet, mrqc);
    if (type === 0) return NOT_HASHED;
    const hash = toeplitz(this.keyBytes(), input);
    return { type, hash, queue: this.entry(hash & 0x7f) };
  }

  private keyBytes(): Uint8Array {
    return Uint8Array.from({ length: 40 }, (_, i) => this.bank.get(this.key[i >> 2]!) >>> ((i & 3) * 8));
  }

  private entry(index: number): number {
    return (this.bank.get(this.reta[index >> 2]!) >>> ((index & 3) * 8)) & 0xf;
  }
}

function hashInput(packet: Packet, mrqc: number): { type: number; input: Uint8Array } {
  if (packet.l3 === undefined) return { type: 0, input: new Uint8Array(0) };
  const [l3, l4] = packet.l3 === 4 ? [TYPES.ip4, { 6: TYPES.tcp4, 17: TYPES.udp4 }] : [TYPES.ip6, { 6: TYPES.tcp6, 17: TYPES.udp6 }];
  const withPorts = packet.l4 === 6 || packet.l4 === 17 ? l4[packet.l4] : undefined;
  if (withPorts !== undefined && (mrqc & withPorts.enable) !== 0) return { type: withPorts.type, input: addresses(packet, 4) };
  return { type: (mrqc & l3.enable) === 0 ? 0 : l3.type, input: addresses(packet, 0) };
}

/** Source and destination address, then the ports: as they stand in the packet, in network order. */
function addresses({ bytes, l3, l3At, l4At }: Packet, ports: 0 | 4): Uint8Array {
  const [at, length] = l3 === 4 ? [l3At + 12, 8] : [l3At + 8, 32];
  const input = new Uint8Array(length + ports);
  for (let i = 0; i < length; i++) input[i] = bytes.getUint8(at + i);
  for (let i = 0; i < ports; i++) input[length + i] = bytes.getUint8(l4At + i);
  return input;
}

/** Section 7.1.2.8.1: for every bit of the input that is set, the 32 bits of the key that start there. */
export function toeplitz(key: Uint8Array, input: Uint8Array): number {
  let hash = 0;
  for (let bit = 0; bit < input.length * 8; bit++) {
    if (((input[bit >> 3]! << (bit & 7)) & 0x80) !== 0) hash ^= window32(key, bit);
  }
  return hash >>> 0;
}

function window32(key: Uint8Array, bit: number): number {
  let value = 0;
  for (let i = bit; i < bit + 32; i++) value = (value << 1) | (((key[i >> 3] ?? 0) >> (7 - (i & 7))) & 1);
  return value;
}
