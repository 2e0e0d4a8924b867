/** Which frames the host gets: addresses (section 7.1.1.1), VLANs (section 7.1.1.2), and what is too short or too long (section 8.2.3.22). */
import type { Bank } from './bank.js';
import { word, words } from './bank.js';
import type { Rules } from './rules.js';

const SBP = 1 << 1, MPE = 1 << 8, UPE = 1 << 9, BAM = 1 << 10;
const MFE = 1 << 2;
const CFI = 1 << 28, CFIEN = 1 << 29, VFE = 1 << 30;
const JUMBOEN = 1 << 2;
/** Section 1.3: jumbo packets of up to 15.5 KB. */
export const LONGEST = 15872;

export type Verdict = 'exact' | 'inexact' | undefined;

export class Filters {
  private readonly bank: Bank;
  private readonly fctrl = word('FCTRL');
  private readonly vlnctrl = word('VLNCTRL');
  private readonly mcstctrl = word('MCSTCTRL');
  private readonly hlreg0 = word('HLREG0');
  private readonly maxfrs = word('MAXFRS');
  private readonly ral = words('RAL');
  private readonly rah = words('RAH');
  private readonly mta = words('MTA');
  private readonly vfta = words('VFTA');

  constructor(bank: Bank, rules: Rules) {
    this.bank = bank;
    const rxctrl = word('RXCTRL');
    bank.on('FCTRL', (_, value) => {
      rules.check(rules.ordered && (bank.get(rxctrl) & 1) !== 0, 'FCTRL is changed while RXCTRL.RXEN is set (8.2.3.7.1).');
      return value;
    });
    bank.on('MAXFRS', (_, value) => {
      rules.check(value >>> 16 > LONGEST, `MAXFRS.MFS is ${value >>> 16}: the longest packet is 15.5 KB (1.3, 8.2.3.22.13).`);
      return value;
    });
  }

  get vet(): number {
    return this.bank.get(this.vlnctrl) & 0xffff;
  }

  /** Undersized or oversized frames are stored only for who asks for bad packets. Lengths are the wire's, with FCS. */
  length(wire: number, tagged: boolean): 'undersize' | 'oversize' | 'good' {
    const jumbo = (this.bank.get(this.hlreg0) & JUMBOEN) !== 0;
    const longest = (jumbo ? this.bank.get(this.maxfrs) >>> 16 : 1518) + (tagged ? 4 : 0);
    return wire < 64 ? 'undersize' : wire > longest ? 'oversize' : 'good';
  }

  get storesBad(): boolean {
    return (this.bank.get(this.fctrl) & SBP) !== 0;
  }

  /** 'inexact': passed by what may also pass others' frames, which the descriptor tells (PIF). */
  address(frame: Uint8Array): Verdict {
    const fctrl = this.bank.get(this.fctrl);
    if (this.isStation(frame)) return 'exact';
    if (frame.subarray(0, 6).every(byte => byte === 0xff)) return fctrl & (BAM | MPE) ? 'exact' : undefined;
    if ((frame[0]! & 1) === 0) return fctrl & UPE ? 'inexact' : undefined;
    return fctrl & MPE || this.inTable(frame) ? 'inexact' : undefined;
  }

  private isStation(frame: Uint8Array): boolean {
    const low = (frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24)) >>> 0;
    const high = (0x80000000 | frame[4]! | (frame[5]! << 8)) >>> 0;
    return this.rah.some((rah, n) => (this.bank.get(rah) & 0x8000ffff) >>> 0 === high && this.bank.get(this.ral[n]!) === low);
  }

  /** Section 8.2.3.7.7: 12 bits of the address choose a bit of the table; MCSTCTRL.MO says which 12, from 47:36 down to 43:32. */
  private inTable(frame: Uint8Array): boolean {
    const control = this.bank.get(this.mcstctrl);
    if ((control & MFE) === 0) return false;
    const offset = [4, 3, 2, 0][control & 3]!;
    const bit = ((frame[4]! | (frame[5]! << 8)) >> offset) & 0xfff;
    return ((this.bank.get(this.mta[bit >> 5]!) >>> (bit & 31)) & 1) === 1;
  }

  vlan(tag: number | undefined): boolean {
    const control = this.bank.get(this.vlnctrl);
    if ((control & VFE) === 0 || tag === undefined) return true;
    const id = tag & 0xfff;
    if (((this.bank.get(this.vfta[id >> 5]!) >>> (id & 31)) & 1) === 0) return false;
    return (control & CFIEN) === 0 || ((tag >> 12) & 1) === ((control & CFI) === 0 ? 0 : 1);
  }
}
