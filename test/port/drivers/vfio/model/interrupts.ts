/**
 * Interrupts (section 7.3): causes in EICR, masks in EIMS, the way from a queue to a vector in IVAR, and in MSI-X mode
 * (GPIE.Multiple_MSIX) the clearing by EIAC and masking by EIAM. Throttling (EITR) is held but does not delay. Bits 15:0 of
 * the mask stand in EIMS and in EIMS[1] at once (section 8.2.3.5.8).
 */
import type { Bank } from './bank.js';
import { word, words } from './bank.js';

export const RX_MISS = 1 << 17, PCI_EXCEPTION = 1 << 18, LSC = 1 << 20;
const MULTIPLE_MSIX = 1 << 4, OCD = 1 << 5, EIAME = 1 << 30;
const QUEUES = 0xffff;
const VALID = 0x80;

export class Interrupts {
  private readonly bank: Bank;
  private readonly signal: (vector: number) => void;
  private readonly eicr = word('EICR');
  private readonly eims = word('EIMS');
  private readonly more = words('EIMS_EX');
  private readonly eiac = word('EIAC');
  private readonly eiam = word('EIAM');
  private readonly gpie = word('GPIE');
  private readonly ivar = words('IVAR');
  private readonly misc = word('IVAR_MISC');

  constructor(bank: Bank, signal: (vector: number) => void) {
    this.bank = bank;
    this.signal = signal;
    bank.on('EICR', (_, value, before) => (before & ~value) >>> 0);
    bank.on('EICS', (_, value) => this.raise(value));
    bank.on('EIMS', (_, value, before) => this.mask(before | value));
    bank.on('EIMC', (_, value) => this.setMask(this.bank.get(this.eims) & ~value));
    bank.on('EIMS_EX', (n, value, before) => this.maskMore(n, before | value));
    bank.on('EIMC_EX', (n, value) => this.clearMore(n, value));
    bank.on('EICS_EX', (n, value) => (n === 0 ? this.raise(value & QUEUES) : 0));
  }

  private mask(value: number): number {
    this.setMask(value);
    return this.bank.get(this.eims);
  }

  /** Returns 0: what EIMC reads as. */
  private setMask(value: number): number {
    const opened = value & ~this.bank.get(this.eims);
    this.bank.set(this.eims, value >>> 0);
    const first = this.more[0]!;
    this.bank.set(first, ((this.bank.get(first) & ~QUEUES) | (value & QUEUES)) >>> 0);
    this.deliver(this.bank.get(this.eicr) & opened);
    return 0;
  }

  private maskMore(n: number, value: number): number {
    this.bank.set(this.more[n]!, value >>> 0);
    if (n === 0) this.setMask((this.bank.get(this.eims) & ~QUEUES) | (value & QUEUES));
    return value >>> 0;
  }

  private clearMore(n: number, value: number): number {
    this.maskMore(n, this.bank.get(this.more[n]!) & ~value);
    return 0;
  }

  /** Sets causes. Returns 0: what EICS reads as. */
  raise(causes: number): number {
    this.bank.set(this.eicr, (this.bank.get(this.eicr) | causes) >>> 0);
    this.deliver(causes);
    return 0;
  }

  /** A cause that is not a queue's. */
  other(cause: number): void {
    this.raise(cause);
  }

  /** IVAR[n]: receive and transmit of queue 2n, then of queue 2n + 1, a byte each. */
  queue(queue: number, transmit: boolean): void {
    const entry = (this.bank.get(this.ivar[queue >> 1]!) >>> ((queue & 1) * 16 + (transmit ? 8 : 0))) & 0xff;
    if ((entry & VALID) === 0) return;
    const vector = entry & 0x3f;
    if (vector < 16) this.raise(1 << vector);
    else if ((this.bank.get(this.more[vector >> 5]!) >>> (vector & 31)) & 1) this.signal(vector);
  }

  private deliver(causes: number): void {
    const open = causes & this.bank.get(this.eims);
    if (open === 0) return;
    if ((this.bank.get(this.gpie) & MULTIPLE_MSIX) === 0) return this.signal(0);
    for (let vector = 0; vector < 16; vector++) if ((open >>> vector) & 1) this.fire(vector, 1 << vector);
    const entry = (this.bank.get(this.misc) >>> 8) & 0xff;
    if ((open & ~QUEUES) !== 0 && (entry & VALID) !== 0) this.fire(entry & 0x3f, open & ~QUEUES);
  }

  private fire(vector: number, causes: number): void {
    this.bank.set(this.eicr, (this.bank.get(this.eicr) & ~(causes & this.bank.get(this.eiac))) >>> 0);
    const masked = causes & this.bank.get(this.eiam);
    if ((this.bank.get(this.gpie) & EIAME) !== 0 && masked !== 0) this.setMask(this.bank.get(this.eims) & ~masked);
    this.signal(vector);
  }

  /** What a read of EICR leaves (section 8.2.3.5.1): with GPIE.OCD the queues' causes stay. */
  read(): void {
    const kept = (this.bank.get(this.gpie) & OCD) !== 0 ? ~0x3fff0000 : 0;
    this.bank.set(this.eicr, (this.bank.get(this.eicr) & kept) >>> 0);
  }
}
