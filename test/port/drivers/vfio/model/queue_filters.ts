/**
 * Filters that lead a packet to a queue before RSS does: EtherTypes (sections 7.1.2.3, 8.2.3.7.21 and 22) and IPv4's
 * 5-tuples (sections 7.1.2.5, 8.2.3.7.16 to 19, and L34TIMIR). Added after the rest of the model, by who wrote the driver's
 * side as well: here the two are not two readings of the datasheet. Places of bits were held against those that public
 * drivers use. What a first fragment is to a filter is not known; here it has no ports and no protocol.
 */
import { unknown, words, type Bank } from './bank.js';
import type { Packet } from './packet.js';

const ENABLE = 0x80000000;
/** FTQF's numbers of protocols. */
const PROTOCOLS: readonly (number | undefined)[] = [6, 17, 132, undefined];

export interface FilterResult {
  readonly queue: number | undefined;
  /** Of the EtherType filter that was met: the descriptor's packet type tells it. */
  readonly etherType: number | undefined;
}

export class QueueFilters {
  private readonly bank: Bank;
  private readonly etqf = words('ETQF');
  private readonly etqs = words('ETQS');
  private readonly ftqf = words('FTQF');
  private readonly saqf = words('SAQF');
  private readonly daqf = words('DAQF');
  private readonly sdpqf = words('SDPQF');
  private readonly l34timir = words('L34TIMIR');

  constructor(bank: Bank, violate: (sentence: string) => void) {
    this.bank = bank;
    bank.on('ETQF', (n, value) => {
      const type = value & 0xffff;
      if ((value & ENABLE) !== 0 && (type === 0x0800 || type === 0x86dd)) violate(`ETQF[${n}] is for IP, which an EtherType filter is not (7.1.2.3).`);
      return value;
    });
    bank.on('FTQF', (n, value) => {
      if ((value & ENABLE) !== 0) this.checkTuple(n, value, violate);
      return value;
    });
  }

  result(packet: Packet): FilterResult {
    const type = packet.bytes.getUint16(packet.vlan === undefined ? 12 : 16);
    const etherType = this.etqf.findIndex(at => (this.bank.get(at) & ENABLE) !== 0 && (this.bank.get(at) & 0xffff) === type);
    if (etherType >= 0) {
      const select = this.bank.get(this.etqs[etherType]!);
      return { etherType, queue: (select & ENABLE) === 0 ? undefined : (select >>> 16) & 0x7f };
    }
    let [best, highest] = [-1, -1];
    for (let n = 0; n < this.ftqf.length; n++) {
      const value = this.bank.get(this.ftqf[n]!);
      if ((value & ENABLE) === 0 || ((value >>> 2) & 7) <= highest || !this.isTuple(n, value, packet)) continue;
      [best, highest] = [n, (value >>> 2) & 7];
    }
    return { etherType: undefined, queue: best < 0 ? undefined : (this.bank.get(this.l34timir[best]!) >>> 21) & 0x7f };
  }

  /** Bits 25 to 29: 1 for what is not compared. Registers are in network order, as the bus brings bytes. */
  private isTuple(n: number, value: number, { bytes, l3, l3At, l4, l4At }: Packet): boolean {
    if (l3 !== 4) return false;
    const compared = (bit: number): boolean => ((value >>> bit) & 1) === 0;
    const same = (at: number, from: number, count: number, shift = 0): boolean => Array.from({ length: count }, (_, i) => i).every(i => ((this.bank.get(at) >>> (8 * i + shift)) & 0xff) === bytes.getUint8(from + i));
    if (compared(25) && !same(this.saqf[n]!, l3At + 12, 4)) return false;
    if (compared(26) && !same(this.daqf[n]!, l3At + 16, 4)) return false;
    if (compared(29) && (l4 === undefined || l4 !== PROTOCOLS[value & 3])) return false;
    if ((compared(27) || compared(28)) && l4 === undefined) return false;
    return (!compared(27) || same(this.sdpqf[n]!, l4At, 2)) && (!compared(28) || same(this.sdpqf[n]!, l4At + 2, 2, 16));
  }

  private checkTuple(n: number, value: number, violate: (sentence: string) => void): void {
    const untouched = (cells: Int32Array): boolean => this.bank.get(cells[n]!) === unknown(n) >>> 0;
    const compared = (bits: number): boolean => (~value & bits) !== 0;
    if (compared(1 << 25) && untouched(this.saqf)) violate(`FTQF[${n}] compares SAQF, which holds what it held at power-up (8.2.3.7.16).`);
    if (compared(1 << 26) && untouched(this.daqf)) violate(`FTQF[${n}] compares DAQF, which holds what it held at power-up (8.2.3.7.17).`);
    if (compared(3 << 27) && untouched(this.sdpqf)) violate(`FTQF[${n}] compares SDPQF, which holds what it held at power-up (8.2.3.7.18).`);
    const queue = this.bank.get(this.l34timir[n]!);
    if (((queue >>> 13) & 0x7f) !== 0x40) violate(`L34TIMIR[${n}] has other reserved bits than 1000000b in 19:13 (8.2.3.5).`);
    if (((value >>> 2) & 7) === 0) violate(`FTQF[${n}] has no priority: 1 to 7 (8.2.3.7.19).`);
  }
}
