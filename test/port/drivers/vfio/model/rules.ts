/**
 * What the datasheet forbids, or leaves undefined, and a driver did all the same: each as one sentence with its section,
 * once. And the rules that are about the whole device at the moment that a path is enabled.
 */
import { unknown, word, words, type Bank } from './bank.js';

/** A device that writes the same wrong thing for ever must not fill memory. */
const MOST = 1000;

export class Rules {
  readonly sentences: string[] = [];
  /**
   * Whether the model saw every register access by itself. Rules about the order of accesses hold only then: of what
   * happened between two steps, plain memory keeps the last values and not their order.
   */
  ordered = false;

  check(broken: boolean, sentence: string): void {
    if (broken && this.sentences.length < MOST && !this.sentences.includes(sentence)) this.sentences.push(sentence);
  }
}

/** Section 4.6.7: what has to be done before RXCTRL.RXEN. */
export function checkReceiveInit(bank: Bank, rules: Rules): void {
  const hlreg0 = bank.get(word('HLREG0')), rdrxctl = bank.get(word('RDRXCTL'));
  rules.check(!words('RXDCTL').some(queue => bank.get(queue) & (1 << 25)), 'RXCTRL.RXEN is set before any receive queue is enabled (4.6.7).');
  rules.check(rules.ordered && (bank.get(word('SECRXCTRL')) & 2) === 0, 'RXCTRL.RXEN is set while SECRXCTRL.RX_DIS does not hold the receive path (4.6.7).');
  rules.check(((rdrxctl >> 1) & 1) !== ((hlreg0 >> 1) & 1), 'RDRXCTL.CRCStrip and HLREG0.RXCRCSTRP differ (4.6.7).');
  rules.check(((rdrxctl >> 17) & 0x1f) !== 0, 'RDRXCTL.RSCFRSTSIZE is not 0, which software has to make it (4.6.7, 8.2.3.8.8).');
  rules.check((rdrxctl & (3 << 25)) !== 3 << 25, 'RDRXCTL.RSCACKC and FCOE_WRFIX are not both 1 (8.2.3.8.8).');
  rules.check((bank.get(words('FCRTH')[0]!) & 0x7ffe0) === 0, 'FCRTH[0].RTH is 0: it is to be set with or without flow control (4.6.3.2).');
  checkDma(bank, rules);
  for (const name of ['MTA', 'PFUTA', 'MPSAR', 'PFVLVF', 'PFVLVFB', ...(bank.get(word('VLNCTRL')) & (1 << 30) ? ['VFTA'] : [])]) checkTable(bank, rules, name);
  if ((bank.get(word('MRQC')) & 0xf) !== 0) for (const name of ['RSSRK', 'RETA']) checkTable(bank, rules, name);
}

/** Section 4.6.3: the reset is not over before both are set. */
function checkDma(bank: Bank, rules: Rules): void {
  rules.check((bank.get(word('EEC')) & (1 << 9)) === 0, 'A path is enabled before EEC.Auto_RD (4.6.3).');
  rules.check((bank.get(word('RDRXCTL')) & (1 << 3)) === 0, 'A path is enabled before RDRXCTL.DMAIDONE (4.6.3).');
}

/** A table that holds what it held at power-up. */
function checkTable(bank: Bank, rules: Rules, name: string): void {
  const untouched = words(name).some((cell, n) => bank.get(cell) === unknown(n) >>> 0);
  rules.check(untouched, `RXCTRL.RXEN is set before all of ${name} is initialised (4.6.7).`);
}

/** Section 4.6.8: what has to be done before DMATXCTL.TE. */
export function checkTransmitInit(bank: Bank, rules: Rules): void {
  checkDma(bank, rules);
  rules.check(bank.get(word('DMATXCTL')) >>> 16 !== (bank.get(word('VLNCTRL')) & 0xffff), 'DMATXCTL.VT and VLNCTRL.VET differ (8.2.3.9.2).');
}

/** Sections 8.2.3.8.1 to 8.2.3.8.3 and 8.2.3.9.5 to 8.2.3.9.7: a ring's base and length. */
export function checkRing(rules: Rules, name: string, register: 'base' | 'length', value: number, enabled: boolean): void {
  rules.check(enabled, `${name} is written while its queue is enabled (4.6.7, 4.6.8).`);
  if (register === 'base') return rules.check((value & 0x7f) !== 0, `${name} is not aligned to 128 bytes (8.2.3.8.1, 8.2.3.9.5).`);
  rules.check((value & 0x7f) !== 0, `${name} is not a multiple of 128 (8.2.3.8.3, 8.2.3.9.7).`);
  rules.check(value > 128 * 1024, `${name} is above 128 KB, the longest ring that is validated (8.2.3.8.3, 8.2.3.9.7).`);
}

/** Bits that ask for what this model has not: what would come of them here is not what the hardware does. */
const LACKING: readonly (readonly [register: string, bits: number, what: string, section: string])[] = [
  ['RSCCTL', 1, 'receive side coalescing', '7.11'],
  ['PFVTCTL', 1, 'virtualisation', '7.10'],
  ['MTQC', 3, 'DCB or virtualisation', '8.2.3.9.15'],
  ['SYNQF', 1, 'the SYN filter', '7.1.2.6'],
  ['FDIRCTRL', 3, 'Flow Director', '7.1.2.7'],
];

/** Before whatever else a write to them does. */
export function refuseLacking(bank: Bank, rules: Rules): void {
  for (const [name, bits, what, section] of LACKING) {
    const before = bank.handler(name);
    bank.on(name, (n, value, old) => {
      rules.check((value & bits) !== 0, `${name} asks for ${what}, which this model has not (${section}).`);
      return before?.(n, value, old) ?? value;
    });
  }
}
