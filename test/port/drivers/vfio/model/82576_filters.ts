/**
 * The 82576's filters that lead a packet to a queue before RSS does: EtherTypes (section 7.1.1.4) and 5-tuples (7.1.1.5;
 * FTQF, SAQF, DAQF, SPQF, IMIR and IMIREXT, 8.11). Its datasheet was not to be had: the places of bits are those that DPDK's
 * and Linux's drivers use, and what priority, size and flags mean is the I210's (its 7.1.2.4, 8.11.1 to 8.11.3), which has
 * the same registers for fewer fields. By who wrote the driver's side as well: the two are not two readings.
 *
 * As careless as it may be: a filter that compares no address takes IPv6's packets too, as Linux's driver has it for PTP.
 * What a fragment is to a filter is not known; here it has no ports and no protocol.
 */
import type { Packet } from './packet.js';

export const FILTERS = 8;
const ETQF = 0x5cb0, SAQF = 0x5980, DAQF = 0x59a0, SPQF = 0x59c0, FTQF = 0x59e0, IMIR = 0x5a80, IMIREXT = 0x5aa0;

export interface FilterResult {
  readonly queue: number | undefined;
  /** Of the EtherType filter that was met: the descriptor's packet type tells it. */
  readonly etherType: number | undefined;
}

/** `read`: what the register at an offset holds. */
export class QueueFilters82576 {
  readonly #read: (offset: number) => number;

  constructor(read: (offset: number) => number) {
    this.#read = read;
  }

  result(packet: Packet): FilterResult {
    const type = packet.bytes.getUint16(packet.vlan === undefined ? 12 : 16);
    for (let n = 0; n < FILTERS; n++) {
      const filter = this.#read(ETQF + 4 * n);
      if (bit(filter, 26) && (filter & 0xffff) === type) return { etherType: n, queue: bit(filter, 31) ? (filter >>> 16) & 7 : undefined };
    }
    let [queue, highest] = [undefined as number | undefined, -1];
    for (let n = 0; n < FILTERS; n++) {
      const priority = this.#read(IMIR + 4 * n) >>> 29;
      if (priority <= highest || !this.#matches(n, packet)) continue;
      [queue, highest] = [(this.#read(FTQF + 4 * n) >>> 16) & 7, priority];
    }
    return { etherType: undefined, queue };
  }

  /** Bits 28 to 31 of FTQF and 17 of IMIR: 1 for what is not compared. Registers are in network order, as the bus brings bytes. */
  #matches(n: number, packet: Packet): boolean {
    const { bytes, l3, l3At, l4, l4At } = packet;
    const [filter, destination, extended] = [FTQF, IMIR, IMIREXT].map(at => this.#read(at + 4 * n)) as [number, number, number];
    if (!bit(filter, 8) || l3 === undefined || !this.#fits(extended, packet)) return false;
    const same = (at: number, from: number, count: number): boolean => Array.from({ length: count }, (_, i) => i).every(i => ((this.#read(at + 4 * n) >>> (8 * i)) & 0xff) === bytes.getUint8(from + i));
    if (!bit(filter, 29) && (l3 !== 4 || !same(SAQF, l3At + 12, 4))) return false;
    if (!bit(filter, 30) && (l3 !== 4 || !same(DAQF, l3At + 16, 4))) return false;
    if (!bit(filter, 28) && protocolOf(packet) !== (filter & 0xff)) return false;
    if ((!bit(filter, 31) || !bit(destination, 17)) && l4 === undefined) return false;
    return (bit(filter, 31) || same(SPQF, l4At, 2)) && (bit(destination, 17) || same(IMIR, l4At + 2, 2));
  }

  /** IMIREXT: the packet is shorter than so many bytes; it has those of TCP's flags. Bits 12 and 19: neither is looked at. */
  #fits(extended: number, { bytes, l4, l4At }: Packet): boolean {
    if (!bit(extended, 12) && bytes.byteLength >= (extended & 0xfff)) return false;
    return bit(extended, 19) || (l4 === 6 && (bytes.getUint8(l4At + 13) & 0x3f) !== 0);
  }
}

function protocolOf({ bytes, l3, l3At, l4, fragment }: Packet): number | undefined {
  return fragment ? undefined : l4 ?? (l3 === 4 ? bytes.getUint8(l3At + 9) : undefined);
}

function bit(value: number, which: number): boolean {
  return ((value >>> which) & 1) === 1;
}
