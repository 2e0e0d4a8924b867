/**
 * The transmit path: rings, descriptors of the three formats, write-back (sections 4.6.8, 7.2 and 8.2.3.9). TCP
 * segmentation, IPsec, LinkSec and FCoE are not modelled: who asks for them is told so in the violations.
 */
import { word, words } from './bank.js';
import { PCI_EXCEPTION } from './interrupts.js';
import { DESCRIPTOR, ENABLE, address, entriesOf, type Parts } from './parts.js';
import { checkRing, checkTransmitInit } from './rules.js';
import { Command, MOST_BUFFERS, dataViolations, finish, isContext, isLegacy, readContext, type Context, type Piece } from './tx_frame.js';

const TE = 1, ARBDIS = 1 << 6, SWFLSH = 1 << 26, LPBK = 1 << 15;

interface Ring {
  readonly contexts: (Context | undefined)[];
  /** The pieces of a packet whose end is not there yet. */
  pieces: Piece[];
  /** Descriptors done and not written back: WTHRESH gathers them. */
  gathered: number[];
  sinceReport: number;
  hung: boolean;
}

export class Tx {
  private readonly parts: Parts;
  private readonly out: (frame: Uint8Array, loopback: boolean) => void;
  private readonly tdbal = words('TDBAL');
  private readonly tdbah = words('TDBAH');
  private readonly tdlen = words('TDLEN');
  private readonly tdh = words('TDH');
  private readonly tdt = words('TDT');
  private readonly txdctl = words('TXDCTL');
  private readonly tdwbal = words('TDWBAL');
  private readonly tdwbah = words('TDWBAH');
  private readonly dmatxctl = word('DMATXCTL');
  private readonly rttdcs = word('RTTDCS');
  private readonly hlreg0 = word('HLREG0');
  private readonly rings = Array.from({ length: 128 }, emptyRing);
  private readonly pending = new Set<number>();

  constructor(parts: Parts, out: (frame: Uint8Array, loopback: boolean) => void) {
    this.parts = parts;
    this.out = out;
    const { bank } = parts;
    for (const name of ['TDBAL', 'TDBAH', 'TDLEN']) bank.on(name, (n, value) => this.program(name, n, value));
    bank.on('TXDCTL', (n, value, before) => this.control(n, value, before));
    bank.on('TDT', (n, value, before) => this.tail(n, value, before));
    bank.on('TDH', (n, value, before) => this.head(n, value, before));
    bank.on('DMATXCTL', (_, value, before) => this.enable(value, before));
    for (const name of ['MTQC', 'DTXMXSZRQ', 'TXPBSIZE', 'TXPBTHRESH', 'MNGTXMAP']) bank.on(name, (_, value) => this.whileArbiterRests(name, value));
  }

  private enabled(queue: number): boolean {
    return (this.parts.bank.get(this.txdctl[queue]!) & ENABLE) !== 0;
  }

  private entries(queue: number): number {
    return entriesOf(this.parts.bank.get(this.tdlen[queue]!));
  }

  private program(name: string, n: number, value: number): number {
    const { rules } = this.parts;
    if (name !== 'TDBAH') checkRing(rules, `${name}[${n}]`, name === 'TDLEN' ? 'length' : 'base', value, rules.ordered && this.enabled(n));
    return name === 'TDBAL' ? (value & ~0x7f) >>> 0 : value;
  }

  /** Sections 4.6.8 and 8.2.3.9.15. */
  private whileArbiterRests(name: string, value: number): number {
    const { rules, bank } = this.parts;
    const running = (bank.get(this.rttdcs) & ARBDIS) === 0;
    rules.check(rules.ordered && running, `${name} is written without RTTDCS.ARBDIS (4.6.8).`);
    return value;
  }

  /** Queue 0 is enabled along with the path (section 8.2.3.9.10), if it has a ring. */
  private enable(value: number, before: number): number {
    if ((value & TE) === 0 || (before & TE) !== 0) return value;
    const { bank, rules } = this.parts;
    bank.set(this.dmatxctl, value);
    checkTransmitInit(bank, rules);
    if (this.entries(0) > 0 && !this.pending.has(0)) this.pending.add(0);
    return value;
  }

  private control(n: number, value: number, before: number): number {
    const { rules, bank } = this.parts;
    const [prefetch, host, write] = [value & 0x7f, (value >> 8) & 0x7f, (value >> 16) & 0x7f];
    rules.check(prefetch > 0 && host === 0, `TXDCTL[${n}].PTHRESH is used and HTHRESH is 0 (8.2.3.9.10).`);
    rules.check(write > 0 && (bank.get(this.tdwbal[n]!) & 1) !== 0, `TXDCTL[${n}].WTHRESH is not 0 with head write-back (8.2.3.9.10).`);
    const flushed = value & ~SWFLSH;
    if ((value & ENABLE) === 0) return this.disable(n, flushed);
    return (before & ENABLE) !== 0 ? flushed : this.ask(n, flushed);
  }

  private disable(n: number, value: number): number {
    this.pending.delete(n);
    this.rings[n] = emptyRing();
    return value;
  }

  private ask(n: number, value: number): number {
    const { rules, bank } = this.parts;
    rules.check((bank.get(this.dmatxctl) & TE) === 0, `TXDCTL[${n}].ENABLE is set before DMATXCTL.TE (4.6.8).`);
    const ready = this.entries(n) > 0;
    rules.check(!ready, `TXDCTL[${n}].ENABLE is set before TDLEN[${n}] is (4.6.8).`);
    if (!ready) return value & ~ENABLE;
    if (!rules.ordered) return value;
    this.pending.add(n);
    return value & ~ENABLE;
  }

  private tail(n: number, value: number, before: number): number {
    const { rules } = this.parts;
    rules.check(value !== 0 && !this.enabled(n), `TDT[${n}] is bumped before TXDCTL[${n}].ENABLE was read as 1 (4.6.8).`);
    rules.check(this.enabled(n) && value >= this.entries(n), `TDT[${n}] is outside the ring (7.2.3.3, 8.2.3.9.9).`);
    return this.enabled(n) && value < this.entries(n) ? value : value === 0 ? 0 : before;
  }

  private head(n: number, value: number, before: number): number {
    this.parts.rules.check(this.enabled(n), `TDH[${n}] is written while its queue is enabled (8.2.3.9.8).`);
    return this.enabled(n) ? before : value;
  }

  acknowledge(): void {
    for (const n of this.pending) this.parts.bank.set(this.txdctl[n]!, this.parts.bank.get(this.txdctl[n]!) | ENABLE);
    this.pending.clear();
  }

  reset(): void {
    this.pending.clear();
    for (let n = 0; n < this.rings.length; n++) this.rings[n] = emptyRing();
  }

  /** Sends what stands in the rings: queue by queue, in the datasheet's absence of an order between them. */
  run(): void {
    const { bank } = this.parts;
    if ((bank.get(this.dmatxctl) & TE) === 0 || (bank.get(this.rttdcs) & ARBDIS) !== 0) return;
    if (!this.parts.masterEnabled() || (!this.parts.linkUp() && !this.loopback)) return;
    for (let queue = 0; queue < this.rings.length; queue++) if (this.enabled(queue) && this.entries(queue) > 0) this.runQueue(queue);
  }

  private get loopback(): boolean {
    return (this.parts.bank.get(this.hlreg0) & LPBK) !== 0;
  }

  /** From the head to the tail, once round at most. A packet without its last descriptor waits for it. */
  private runQueue(queue: number): void {
    const { bank } = this.parts;
    const ring = this.rings[queue]!;
    const entries = this.entries(queue);
    for (let done = 0; done < entries && !ring.hung; done++) {
      const index = (bank.get(this.tdh[queue]!) + ring.pieces.length) % entries;
      if (index === bank.get(this.tdt[queue]!)) return;
      this.take(queue, ring, index);
    }
  }

  private iova(queue: number, index: number): number {
    return address(this.parts.bank.get(this.tdbal[queue]!), this.parts.bank.get(this.tdbah[queue]!)) + index * DESCRIPTOR;
  }

  private take(queue: number, ring: Ring, index: number): void {
    const { dma, interrupts, rules } = this.parts;
    const words = dma.readDescriptor(this.iova(queue, index));
    if (words === undefined) {
      ring.hung = true; // until it is disabled: there is nothing to go on with
      interrupts.other(PCI_EXCEPTION);
      return;
    }
    rules.check(!isContext(words) && (words[3]! & 1) !== 0, `A descriptor of transmit queue ${queue} is handed over with DD set (7.2.3.2).`);
    if (isContext(words)) return this.takeContext(queue, ring, words);
    ring.pieces.push({ index, words });
    if (ring.pieces.length > MOST_BUFFERS) rules.check(true, `A packet of transmit queue ${queue} has more than ${MOST_BUFFERS} buffers (7.2.1.1).`);
    if ((words[2]! & Command.EOP) !== 0) this.packet(queue, ring);
  }

  private takeContext(queue: number, ring: Ring, words: Uint32Array): void {
    const { bank, rules } = this.parts;
    rules.check(ring.pieces.length > 0, `A context descriptor stands inside a packet of transmit queue ${queue} (7.2.3.2.3).`);
    ring.contexts[(words[3]! >>> 4) & 1] = readContext(words, sentence => rules.check(true, sentence));
    if (ring.pieces.length > 0) ring.pieces = []; // it cannot be told which bytes belong together
    ring.sinceReport++;
    const entries = this.entries(queue);
    bank.set(this.tdh[queue]!, (bank.get(this.tdh[queue]!) + 1) % entries);
  }

  private packet(queue: number, ring: Ring): void {
    const { bank, rules } = this.parts;
    const pieces = ring.pieces;
    ring.pieces = [];
    for (const sentence of dataViolations(queue, pieces, bank.get(this.hlreg0))) rules.check(true, sentence);
    const data = this.gather(pieces);
    if (data !== undefined) this.send(queue, ring, pieces, data);
    bank.set(this.tdh[queue]!, (pieces.at(-1)!.index + 1) % this.entries(queue));
    this.report(queue, ring, pieces);
  }

  /** A buffer that the IOMMU refuses costs the frame; its descriptors are written back like others. */
  private gather(pieces: readonly Piece[]): Uint8Array | undefined {
    const parts = pieces.map(({ words }) => this.parts.dma.read(address(words[0]!, words[1]!), words[2]! & 0xffff));
    if (parts.every(part => part !== undefined)) return Uint8Array.from(parts.flatMap(part => [...part]));
    this.parts.interrupts.other(PCI_EXCEPTION);
    return undefined;
  }

  private send(queue: number, ring: Ring, pieces: readonly Piece[], data: Uint8Array): void {
    const { bank, rules, statistics } = this.parts;
    const tagType = bank.get(this.dmatxctl) >>> 16;
    const frame = finish(pieces[0]!.words, data, { contexts: ring.contexts, tagType, hlreg0: bank.get(this.hlreg0), violate: sentence => rules.check(true, sentence) });
    if (frame === undefined) return;
    statistics.transmitted(queue, data.length, frame, frame.length + 4);
    this.out(frame, this.loopback);
  }

  /** Write-back (section 7.2.3.5): of what asks for it (RS), of a number of descriptors (WTHRESH), or of the head. */
  private report(queue: number, ring: Ring, pieces: readonly Piece[]): void {
    const { bank, rules } = this.parts;
    const threshold = (bank.get(this.txdctl[queue]!) >>> 16) & 0x7f;
    const asking = pieces.filter(({ words }) => (words[2]! & Command.RS) !== 0);
    rules.check(threshold > 0 && asking.length > 0, `RS is set in transmit queue ${queue}, whose WTHRESH is not 0 (8.2.3.9.10).`);
    ring.sinceReport = asking.length > 0 ? 0 : ring.sinceReport + pieces.length;
    rules.check(threshold === 0 && ring.sinceReport > 40, `RS is not set once in 40 descriptors of transmit queue ${queue} (8.2.3.9.10).`);
    if ((bank.get(this.tdwbal[queue]!) & 1) !== 0) return asking.length > 0 ? this.reportHead(queue) : undefined;
    if (threshold === 0) asking.forEach(({ index, words }) => this.done(queue, index, words));
    else this.gatherDone(queue, ring, pieces, threshold);
    if (asking.length > 0) this.parts.interrupts.queue(queue, true);
  }

  private gatherDone(queue: number, ring: Ring, pieces: readonly Piece[], threshold: number): void {
    ring.gathered.push(...pieces.map(({ index }) => index));
    if (ring.gathered.length < threshold) return;
    for (const index of ring.gathered) this.done(queue, index, undefined);
    ring.gathered = [];
  }

  private done(queue: number, index: number, words: Uint32Array | undefined): void {
    const status = words !== undefined && isLegacy(words) ? words[3]! | 1 : 1;
    if (!this.parts.dma.writeWords(this.iova(queue, index), [[3, status]])) this.parts.interrupts.other(PCI_EXCEPTION);
  }

  /** Section 7.2.3.5.2: the head's index, and no descriptor. */
  private reportHead(queue: number): void {
    const { bank, dma, interrupts } = this.parts;
    const head = bank.get(this.tdh[queue]!);
    const to = address((bank.get(this.tdwbal[queue]!) & ~3) >>> 0, bank.get(this.tdwbah[queue]!));
    if (!dma.write(to, Uint8Array.of(head & 0xff, head >>> 8, 0, 0))) interrupts.other(PCI_EXCEPTION);
    interrupts.queue(queue, true);
  }
}

function emptyRing(): Ring {
  return { contexts: [undefined, undefined], pieces: [], gathered: [], sinceReport: 0, hung: false };
}
