/**
 * Statistics (section 8.2.3.23). They are cleared by reading, which plain memory cannot see: they count on until
 * `Model82599.readStatistics` says that the driver has read them. Octets are the wire's, from the destination address to
 * the FCS, but for QBRC and QBTC, RXDGBC and TXDGBC, which count what was transferred from and to the host.
 */
import type { Bank } from './bank.js';
import { word, words } from './bank.js';
import { REGISTERS } from './registers.js';

const BINS = [[64, '64'], [127, '127'], [255, '255'], [511, '511'], [1023, '1023'], [Infinity, '1522']] as const;

type Pair = readonly [low: number, high: number];

export class Statistics {
  private readonly bank: Bank;
  private readonly single = new Map<string, Int32Array>();
  private readonly rqsmr = words('RQSMR');
  private readonly tqsm = words('TQSM');
  private readonly received: Pair = [word('GORCL'), word('GORCH')];
  private readonly total: Pair = [word('TORL'), word('TORH')];
  private readonly sent: Pair = [word('GOTCL'), word('GOTCH')];
  private readonly dmaIn: Pair = [word('RXDGBCL'), word('RXDGBCH')];
  private readonly dmaOut: Pair = [word('TXDGBCL'), word('TXDGBCH')];
  private readonly queueIn = [words('QBRC_L'), words('QBRC_H')] as const;
  private readonly queueOut = [words('QBTC_L'), words('QBTC_H')] as const;

  constructor(bank: Bank) {
    this.bank = bank;
    for (const { name, mode } of REGISTERS) if (mode === 'RC') this.single.set(name, words(name));
  }

  count(name: string, n = 0): void {
    const cell = this.single.get(name)![n]!;
    // Counters stop at all ones (section 8.2.3.23).
    this.bank.set(cell, Math.min(this.bank.get(cell) + 1, 0xffffffff));
  }

  /** 36 bits in two registers. */
  private add([low, high]: Pair, octets: number): void {
    const sum = this.bank.get(low) + octets;
    this.bank.set(low, sum >>> 0);
    if (sum > 0xffffffff) this.bank.set(high, (this.bank.get(high) + 1) & 0xf);
  }

  /** Everything that came in from the wire, whatever becomes of it. */
  arrived(wire: number): void {
    this.count('TPR');
    this.add(this.total, wire);
  }

  /** A good frame that passed the filters. */
  good(frame: Uint8Array, wire: number): void {
    this.count('GPRC');
    this.add(this.received, wire);
    this.count(`PRC${bin(wire)}`);
    if (isBroadcast(frame)) this.count('BPRC');
    else if ((frame[0]! & 1) === 1) this.count('MPRC');
  }

  /** A frame in the host's memory. */
  stored(queue: number, octets: number): void {
    const n = mapped(this.bank, this.rqsmr, queue);
    this.count('RXDGPC');
    this.add(this.dmaIn, octets);
    this.count('QPRC', n);
    this.add([this.queueIn[0][n]!, this.queueIn[1][n]!], octets);
  }

  dropped(queue: number): void {
    this.count('QPRDC', mapped(this.bank, this.rqsmr, queue));
  }

  transmitted(queue: number, fetched: number, frame: Uint8Array, wire: number): void {
    const n = mapped(this.bank, this.tqsm, queue);
    this.count('TXDGPC');
    this.add(this.dmaOut, fetched);
    this.count('QPTC', n);
    this.add([this.queueOut[0][n]!, this.queueOut[1][n]!], fetched);
    this.count('GPTC');
    this.count('TPT');
    this.add(this.sent, wire);
    this.count(`PTC${bin(wire)}`);
    if (isBroadcast(frame)) this.count('BPTC');
    else if ((frame[0]! & 1) === 1) this.count('MPTC');
  }

  /** What a read of each of them does. */
  clear(): void {
    for (const cells of this.single.values()) for (const cell of cells) this.bank.set(cell, 0);
  }
}

/** RQSMR and TQSM: four bits for each of four queues in a register. */
function mapped(bank: Bank, mapping: Int32Array, queue: number): number {
  return (bank.get(mapping[queue >> 2]!) >>> ((queue & 3) * 8)) & 0xf;
}

function bin(wire: number): string {
  return BINS.find(([longest]) => wire <= longest)![1];
}

function isBroadcast(frame: Uint8Array): boolean {
  return frame.subarray(0, 6).every(byte => byte === 0xff);
}
