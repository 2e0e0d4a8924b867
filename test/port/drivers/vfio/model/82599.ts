/**
 * A register-level model of the Intel 82599 10 GbE controller, written from its datasheet (Intel document 331520, whose
 * sections the code names) and apart from the driver: neither has seen the other. A driver works on the registers and on
 * the descriptors in plain memory; `step()` looks at what has changed and does what the hardware would.
 *
 * What a register in plain memory cannot have, and what stands for it:
 *
 * - A write of the value that is there already is not seen: writing back to EICR what was read from it clears nothing.
 *   `write()` is an access that is seen whatever it writes.
 * - A read has no effect. Statistics and EICR are not cleared by it, and SWSM.SMBI is not taken: `read()` reads as the bus
 *   does, and `readStatistics()` says that a driver has read its counters.
 * - Until the next step a register shows what was written, not what the hardware makes of it: a queue's ENABLE bit reads
 *   as 1, EIMC as what was cleared. Through `write()` it shows the hardware's answer at once.
 * - Of what happens between two steps there is no order, and of two writes to a register the last only. Rules about an
 *   order (RTTDCS.ARBDIS around MTQC, SECRXCTRL.RX_DIS around RXCTRL.RXEN, FCTRL while receiving, ENABLE reading as 0
 *   first) hold for accesses through `write()`, and for all of them where the caller says that it steps after each
 *   (`sequential`). In one step the device is reset first, rings come before their enabling, and tails last.
 * - A driver in another thread is faster than the hardware is here: it may read back its own write before a step has seen it.
 * - Writing is 32 bits wide and aligned (section 8.1.1), since memory would take anything.
 *
 * Not modelled: virtualisation and DCB (one pool, one packet buffer, queues by RSS), Flow Director, the SYN
 * filter, header splitting, RSC, TCP segmentation, IPsec, LinkSec, FCoE, flow control, wake-up, manageability, time
 * stamps, throttled interrupts. Times are steps: a reset is over after three.
 */
import { Bank, word, words } from './bank.js';
import { Dma, type Translate } from './dma.js';
import { Filters } from './filters.js';
import { Interrupts, LSC } from './interrupts.js';
import type { Parts } from './parts.js';
import { Rss } from './rss.js';
import { refuseLacking, Rules } from './rules.js';
import { Rx } from './rx.js';
import { Statistics } from './statistics.js';
import { Tx } from './tx.js';

const MASTER_DISABLE = 1 << 2, LRST = 1 << 3, RST = 1 << 26;
const MASTER_ENABLED = 1 << 19, STATUS_LINK = 1 << 7;
/** EEC: Auto_RD and EE_PRES (section 8.2.3.2.1); EEMNGCTL: CFG_DONE of both ports; RDRXCTL: DMAIDONE. */
const EEPROM_READ = 3 << 8, CFG_DONE = 3 << 18, DMAIDONE = 1 << 3;
/** LINKS (section 8.2.3.22.20): Link Up, 10 Gb/s, Link Status. */
const LINK_UP = (1 << 30) | (3 << 28) | (1 << 7);
const RESTART_AN = 1 << 12;
const QUEUE_ENABLE = 1 << 25;
/** A software reset leaves the link (section 4.2.1.6.1); so these. */
const LINK_REGISTERS: ReadonlySet<string> = new Set(['AUTOC', 'AUTOC2', 'LINKS', 'LINKS2', 'ANLP1', 'MACC']);

/** The address that this card's EEPROM holds (section 8.2.3.7.9). */
export const STATION: Uint8Array = Uint8Array.of(0x02, 0x82, 0x59, 0x90, 0x00, 0x01);

export interface ModelOptions {
  readonly memory: SharedArrayBuffer;
  /** Where BAR 0 stands in it: a byte offset, 128 KiB of which are registers. */
  readonly bar: number;
  /** Device address to byte offset in `memory`; pages of 4096 bytes are asked for one by one. Undefined: the IOMMU refuses. */
  translate: Translate;
  readonly wire: { send(frame: Uint8Array): void };
  /** An interrupt: MSI-X's vector, or 0 for the only one. */
  interrupt?(vector: number): void;
  /** `step()` is called between any two accesses of the driver's. */
  readonly sequential?: boolean;
}

export class Model82599 {
  private readonly bank: Bank;
  private readonly dma: Dma;
  private readonly rules = new Rules();
  private readonly statistics: Statistics;
  private readonly interrupts: Interrupts;
  private readonly rx: Rx;
  private readonly tx: Tx;
  private readonly sequential: boolean;
  private readonly ctrl = word('CTRL');
  private readonly status = word('STATUS');
  /** What is left of a reset: 3 when it starts, 0 when all is done. */
  private resetting = 0;
  private partner = true;
  private negotiating = false;
  private busy = false;

  constructor({ memory, bar, translate, wire, interrupt, sequential }: ModelOptions) {
    this.bank = new Bank(memory, bar);
    this.dma = new Dma(memory, translate);
    this.sequential = sequential ?? false;
    this.statistics = new Statistics(this.bank);
    this.interrupts = new Interrupts(this.bank, vector => interrupt?.(vector));
    const parts = this.parts();
    this.rx = new Rx(parts);
    this.tx = new Tx(parts, (frame, loopback) => void (loopback ? this.rx.receive(frame) : wire.send(frame)));
    refuseLacking(this.bank, this.rules);
    this.bank.on('CTRL', (_, value) => this.control(value));
    this.bank.on('AUTOC', (_, value) => this.negotiate(value));
    this.bank.on('EERD', (_, value) => ((value & 0xfffc) | 2) >>> 0); // done at once; the words of this EEPROM are 0
    this.reset();
  }

  private parts(): Parts {
    const { bank, dma, rules, statistics, interrupts } = this;
    return {
      bank, dma, rules, statistics, interrupts,
      filters: new Filters(bank, rules),
      rss: new Rss(bank, sentence => rules.check(true, sentence)),
      masterEnabled: () => (bank.get(this.ctrl) & MASTER_DISABLE) === 0 && this.resetting === 0,
      linkUp: () => (bank.get(word('LINKS')) & (1 << 30)) !== 0,
    };
  }

  /** What the datasheet forbids or leaves undefined and a driver did: sentences, each once. */
  get violations(): string[] {
    return this.rules.sentences;
  }

  /** Accesses of the device's that the IOMMU refused. */
  get faults(): number {
    return this.dma.faults;
  }

  /** A PCIe reset (section 4.2.1): all registers, and memories hold what nobody knows. The EEPROM has been read when it returns. */
  reset(): void {
    this.bank.reset(true, () => false);
    this.rx.reset();
    this.tx.reset();
    this.resetting = 0;
    this.loadEeprom();
    this.bank.set(word('RDRXCTL'), this.bank.get(word('RDRXCTL')) | DMAIDONE);
    this.showLink(this.partner);
  }

  /** One moment of the hardware's. */
  step(): void {
    if (this.busy) return; // a frame that the wire sends back at once
    this.busy = true;
    try {
      this.advance();
      this.observe();
      this.tx.run();
      this.rx.drain();
    } finally {
      this.busy = false;
    }
  }

  /** A frame from the wire, without FCS: whether the host gets it, or will when it has given descriptors. */
  receive(frame: Uint8Array): boolean {
    this.step();
    return this.resetting === 0 && this.linkUp && this.rx.receive(frame);
  }

  /** The other end of the wire. */
  link(up: boolean): void {
    this.partner = up;
    if (!this.negotiating) this.showLink(up);
  }

  /** An access as the bus would bring it: seen by itself, whatever the value. The answer is there when it returns. */
  write(offset: number, value: number): void {
    this.observe();
    this.bank.poke(offset / 4, value);
    this.take(offset / 4, value >>> 0, true);
  }

  /** A read with its effects. */
  read(offset: number): number {
    this.observe();
    const value = this.bank.peek(offset / 4);
    const register = this.bank.place(offset / 4)?.register;
    if (register?.mode === 'RC') this.bank.set(offset / 4, 0);
    if (register?.name === 'EICR') this.interrupts.read();
    return value;
  }

  /** The driver has read all its counters, which clears them. */
  readStatistics(): void {
    this.statistics.clear();
  }

  private get linkUp(): boolean {
    return (this.bank.get(word('LINKS')) & (1 << 30)) !== 0;
  }

  /** What takes time and was started in an earlier step. */
  private advance(): void {
    this.rx.acknowledge();
    this.tx.acknowledge();
    if (this.negotiating) {
      this.negotiating = false;
      this.showLink(this.partner);
    }
    if (this.resetting > 0) this.advanceReset();
  }

  private advanceReset(): void {
    this.resetting--;
    if (this.resetting === 2) this.bank.set(this.ctrl, this.bank.get(this.ctrl) & ~(RST | LRST));
    if (this.resetting === 1) this.loadEeprom();
    if (this.resetting === 0) this.bank.set(word('RDRXCTL'), this.bank.get(word('RDRXCTL')) | DMAIDONE);
  }

  /** The driver's writes, in the order that they can be in. */
  private observe(): void {
    for (const changed of this.changes().sort((a, b) => this.rank(a) - this.rank(b) || a - b)) {
      const value = this.bank.peek(changed);
      if (value !== this.bank.get(changed)) this.take(changed, value, this.sequential);
    }
  }

  /**
   * A driver in another thread writes while this looks, and one look can see an enabling and miss the ring that was
   * written before it. Two looks that see the same have missed nothing that came before what they saw; until then, what
   * depends on other registers waits for the next step.
   */
  private changes(): number[] {
    let seen = this.bank.changed();
    for (let looks = 0; looks < 8; looks++) {
      if (seen.every(changed => this.rank(changed) < 2)) return seen;
      const again = this.bank.changed();
      if (again.length === seen.length && again.every((changed, i) => changed === seen[i])) return again;
      seen = again;
    }
    return seen.filter(changed => this.rank(changed) < 2);
  }

  /** A queue is disabled behind all that it was given before, and enabled before all that it is given then. */
  private rank(changed: number): number {
    const name = this.bank.place(changed)?.register.name ?? '';
    if ((name === 'RXDCTL' || name === 'TXDCTL') && (this.bank.peek(changed) & QUEUE_ENABLE) === 0) return LAST;
    return RANKS[name] ?? 1;
  }

  private take(changed: number, value: number, ordered: boolean): void {
    const own = this.bank.ownWord(changed);
    const before = this.bank.get(own);
    this.rules.ordered = ordered;
    const next = this.accept(changed, value, before);
    this.bank.settle(changed, value, next);
  }

  /** What the register holds after a write. */
  private accept(changed: number, value: number, before: number): number {
    const place = this.bank.place(changed);
    if (place === undefined) {
      this.rules.check(true, `0x${(changed * 4).toString(16)} is written, where this model knows no register (8.2.2).`);
      return value;
    }
    const { register: { name, mode, initial, reserved, section }, n } = place;
    this.rules.check(this.resetting === 3 && name !== 'CTRL', `${name} is written before CTRL.RST reads as 0 (8.2.3.1.1).`);
    this.rules.check(mode === 'RO' || mode === 'RC', `${name} is written, which is read-only (${section}).`);
    this.rules.check(((value ^ (initial === 'X' ? 0 : initial)) & reserved) !== 0, `${name} is written with reserved bits changed (${section}).`);
    if (mode === 'RO' || mode === 'RC') return before;
    return this.bank.handler(name)?.(n, value, before) ?? value;
  }

  /** Sections 4.2.1.6.1, 5.2.5.3.2 and 8.2.3.1.1. LRST is RST and the link's reset. */
  private control(value: number): number {
    const disabled = (this.bank.get(this.status) & MASTER_ENABLED) === 0;
    if ((value & (RST | LRST)) !== 0) {
      this.rules.check(!disabled, 'CTRL.RST is set before the master is disabled (4.2.1.6.1, 5.2.5.3.2).');
      return this.startReset(value);
    }
    this.bank.set(this.status, value & MASTER_DISABLE ? this.bank.get(this.status) & ~MASTER_ENABLED : this.bank.get(this.status) | MASTER_ENABLED);
    return value;
  }

  private startReset(value: number): number {
    const link = (value & LRST) !== 0;
    this.bank.reset(false, name => name === 'CTRL' || (!link && LINK_REGISTERS.has(name)));
    this.rx.reset();
    this.tx.reset();
    this.resetting = 3;
    if (link) this.negotiating = true;
    else this.showLink(this.linkUp);
    return value & (RST | LRST);
  }

  private loadEeprom(): void {
    const { bank } = this;
    bank.set(word('EEC'), bank.get(word('EEC')) | EEPROM_READ);
    bank.set(word('EEMNGCTL'), bank.get(word('EEMNGCTL')) | CFG_DONE);
    const station = new DataView(STATION.buffer, STATION.byteOffset);
    bank.set(words('RAL')[0]!, station.getUint32(0, true));
    bank.set(words('RAH')[0]!, (0x80000000 | station.getUint16(4, true)) >>> 0);
  }

  /** Restart_AN clears itself, and the link goes down and comes again (section 8.2.3.22.19). */
  private negotiate(value: number): number {
    if ((value & RESTART_AN) === 0) return value;
    this.showLink(false);
    this.negotiating = true;
    return value & ~RESTART_AN;
  }

  private showLink(up: boolean): void {
    const { bank } = this;
    const changed = up !== this.linkUp;
    bank.set(word('LINKS'), up ? LINK_UP : 0);
    bank.set(this.status, up ? bank.get(this.status) | STATUS_LINK : bank.get(this.status) & ~STATUS_LINK);
    if (changed) this.interrupts.other(LSC);
  }
}

/** Of the writes that one step sees: resets first, enables after what they enable, tails last; 1 for all others. */
const RANKS: Readonly<Record<string, number>> = { CTRL: 0, DMATXCTL: 2, RXDCTL: 3, TXDCTL: 3, RXCTRL: 4, RDH: 5, TDH: 5, RDT: 6, TDT: 6 };
const LAST = 7;
