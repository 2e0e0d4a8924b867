/**
 * The receive path: the MAC's checks, the filters, the packet buffer, and the queues with their descriptors (sections
 * 4.6.7, 7.1 and 8.2.3.8). A frame that finds no descriptor is dropped where SRRCTL.Drop_En says so, and otherwise waits
 * in the packet buffer, with all that come behind it, until that is full.
 */
import { word, words } from './bank.js';
import { PCI_EXCEPTION, RX_MISS } from './interrupts.js';
import { frameCheck, onesSum, parse, pseudoSum, type Packet } from './packet.js';
import { DESCRIPTOR, ENABLE, address, entriesOf, type Parts } from './parts.js';
import { QueueFilters } from './queue_filters.js';
import type { RssResult } from './rss.js';
import { checkReceiveInit, checkRing } from './rules.js';

const VME = 1 << 30, DROP_EN = 1 << 28;
const RXCRCSTRP = 1 << 1;
/** Extended status and error of the write-back (section 7.1.6.2). */
const DD = 1, EOP = 2, VP = 8, UDPCS = 1 << 4, L4I = 1 << 5, IPCS = 1 << 6, PIF = 1 << 7;
const RXE = 1 << 29, L4E = 1 << 30, IPE = 1 << 31;

interface Held {
  readonly queue: number;
  readonly frame: Uint8Array;
  readonly packet: Packet;
  readonly rss: RssResult;
  readonly status: number;
  /** Of the EtherType filter that it met. */
  readonly etherType: number | undefined;
}

export class Rx {
  private readonly parts: Parts;
  private readonly rdbal = words('RDBAL');
  private readonly rdbah = words('RDBAH');
  private readonly rdlen = words('RDLEN');
  private readonly rdh = words('RDH');
  private readonly rdt = words('RDT');
  private readonly rxdctl = words('RXDCTL');
  private readonly srrctl = words('SRRCTL');
  private readonly dcaRxctrl = words('DCA_RXCTRL');
  private readonly rxctrl = word('RXCTRL');
  private readonly secrxctrl = word('SECRXCTRL');
  private readonly hlreg0 = word('HLREG0');
  private readonly rxcsum = word('RXCSUM');
  private readonly ctrlExt = word('CTRL_EXT');
  private readonly packetBuffer = words('RXPBSIZE')[0]!;
  private readonly queueFilters: QueueFilters;
  private held: Held[] = [];
  private heldBytes = 0;
  /** Queues that are asked for and not yet enabled. */
  private readonly pending = new Set<number>();

  constructor(parts: Parts) {
    this.parts = parts;
    const { bank, rules } = parts;
    this.queueFilters = new QueueFilters(bank, sentence => rules.check(true, sentence));
    for (const name of ['RDBAL', 'RDBAH', 'RDLEN']) bank.on(name, (n, value) => this.program(name, n, value));
    bank.on('RXDCTL', (n, value, before) => this.control(n, value, before));
    bank.on('RDT', (n, value, before) => this.tail(n, value, before));
    bank.on('RDH', (n, value, before) => this.head(n, value, before));
    bank.on('SRRCTL', (n, value) => this.split(n, value));
    bank.on('RXCTRL', (_, value, before) => {
      if ((value & 1) !== 0 && (before & 1) === 0) checkReceiveInit(bank, rules);
      return value;
    });
    bank.on('SECRXCTRL', (_, value) => {
      bank.set(word('SECRXSTAT'), (value >> 1) & 1); // SECRX_RDY: held and empty
      return value;
    });
  }

  private enabled(queue: number): boolean {
    return (this.parts.bank.get(this.rxdctl[queue]!) & ENABLE) !== 0;
  }

  private entries(queue: number): number {
    return entriesOf(this.parts.bank.get(this.rdlen[queue]!));
  }

  private program(name: string, n: number, value: number): number {
    const { rules } = this.parts;
    if (name !== 'RDBAH') checkRing(rules, `${name}[${n}]`, name === 'RDLEN' ? 'length' : 'base', value, rules.ordered && this.enabled(n));
    return name === 'RDBAL' ? (value & ~0x7f) >>> 0 : value;
  }

  /** The bit shows the queue's state: it stays 0 for a queue that is not programmed (section 8.2.3.8.6). */
  private control(n: number, value: number, before: number): number {
    if ((value & ENABLE) === 0) this.pending.delete(n);
    if ((value & ENABLE) === 0 || (before & ENABLE) !== 0) return value;
    const ready = this.entries(n) > 0;
    this.parts.rules.check(!ready, `RXDCTL[${n}].ENABLE is set before RDLEN[${n}] is (4.6.7).`);
    if (ready && !this.parts.rules.ordered) return value;
    if (ready) this.pending.add(n);
    return value & ~ENABLE;
  }

  private tail(n: number, value: number, before: number): number {
    const { rules } = this.parts;
    rules.check(value !== 0 && !this.enabled(n), `RDT[${n}] is bumped before RXDCTL[${n}].ENABLE was read as 1 (4.6.7).`);
    rules.check(this.enabled(n) && value >= this.entries(n), `RDT[${n}] is outside the ring (7.1.9, 8.2.3.8.5).`);
    return this.enabled(n) && value < this.entries(n) ? value : value === 0 ? 0 : before;
  }

  private head(n: number, value: number, before: number): number {
    this.parts.rules.check(this.enabled(n), `RDH[${n}] is written while its queue is enabled (8.2.3.8.4).`);
    return this.enabled(n) ? before : value;
  }

  private split(n: number, value: number): number {
    const { rules } = this.parts;
    const size = value & 0x1f, type = (value >> 25) & 7;
    rules.check(size < 1 || size > 16, `SRRCTL[${n}].BSIZEPACKET is ${size}: it is 1 to 16 KB (8.2.3.8.7).`);
    rules.check(![0, 1, 2, 5].includes(type), `SRRCTL[${n}].DESCTYPE is ${type}, which is reserved (8.2.3.8.7).`);
    rules.check(type === 2 || type === 5, `SRRCTL[${n}].DESCTYPE asks for header splitting, which should not be used (7.1.10).`);
    return value;
  }

  /** What was asked for in an earlier step is there. */
  acknowledge(): void {
    for (const n of this.pending) this.parts.bank.set(this.rxdctl[n]!, this.parts.bank.get(this.rxdctl[n]!) | ENABLE);
    this.pending.clear();
  }

  reset(): void {
    this.held = [];
    this.heldBytes = 0;
    this.pending.clear();
  }

  /** A frame from the wire, without its FCS. Whether it is in the host's memory or in the packet buffer. */
  receive(frame: Uint8Array): boolean {
    const { bank, statistics, filters } = this.parts;
    if ((bank.get(this.rxctrl) & 1) === 0 || frame.length < 14) return false;
    const packet = parse(frame, filters.vet);
    const wire = frame.length + 4;
    statistics.arrived(wire);
    const length = filters.length(wire, packet.vlan !== undefined);
    if (length !== 'good') statistics.count(length === 'undersize' ? 'RUC' : 'ROC');
    if (length !== 'good' && !filters.storesBad) return false;
    const verdict = filters.address(frame);
    if (verdict === undefined || !filters.vlan(packet.vlan)) return false;
    if (length === 'good') statistics.good(frame, wire);
    return this.hold(Uint8Array.from(frame), packet, (verdict === 'inexact' ? PIF : 0) | (length === 'good' ? 0 : RXE));
  }

  private hold(frame: Uint8Array, packet: Packet, status: number): boolean {
    const { bank, statistics, interrupts, rss } = this.parts;
    if (this.heldBytes + frame.length > (bank.get(this.packetBuffer) & 0xffc00)) {
      statistics.count('RXMPC');
      interrupts.other(RX_MISS);
      return false;
    }
    const result = rss.result(packet);
    const filter = this.queueFilters.result(packet);
    const item = { queue: filter.queue ?? result.queue, frame, packet, rss: result, status, etherType: filter.etherType };
    this.held.push(item);
    this.heldBytes += frame.length;
    return !this.drain().includes(item);
  }

  /** Moves what waits to the host, in its order. Returns what had to be dropped. */
  drain(): readonly Held[] {
    const { bank, statistics } = this.parts;
    const dropped: Held[] = [];
    while (this.held.length > 0 && (bank.get(this.secrxctrl) & 2) === 0 && this.parts.masterEnabled()) {
      const item = this.held[0]!;
      const outcome = this.store(item);
      if (outcome === 'wait') break;
      this.held.shift();
      this.heldBytes -= item.frame.length;
      if (outcome === 'drop') dropped.push(item);
      if (outcome === 'drop') statistics.dropped(item.queue);
    }
    return dropped;
  }

  private store(item: Held): 'stored' | 'drop' | 'wait' {
    const { bank, rules } = this.parts;
    const { queue } = item;
    if (!this.enabled(queue)) return 'drop'; // section 4.6.7: packets to a disabled queue are dropped
    const control = bank.get(this.srrctl[queue]!);
    const size = Math.min(Math.max(control & 0x1f, 1), 16) * 1024;
    const bytes = this.hostBytes(item);
    const free = (bank.get(this.rdt[queue]!) - bank.get(this.rdh[queue]!) + this.entries(queue)) % this.entries(queue);
    if (Math.ceil(bytes.length / size) > free) return (control & DROP_EN) !== 0 ? 'drop' : 'wait';
    rules.check((bank.get(this.ctrlExt) & (1 << 16)) === 0, 'Frames arrive and CTRL_EXT.NS_DIS is not set (4.6.7, 8.2.3.1.3).');
    rules.check((bank.get(this.dcaRxctrl[queue]!) & (1 << 12)) !== 0, `Frames arrive in queue ${queue} and bit 12 of DCA_RXCTRL[${queue}] is not cleared (4.6.7, 8.2.3.11.1).`);
    for (let from = 0; from < bytes.length; from += size) {
      if (!this.storePiece(item, bytes.subarray(from, from + size), from + size >= bytes.length)) return 'drop';
    }
    this.parts.statistics.stored(queue, bytes.length);
    this.parts.interrupts.queue(queue, false);
    return 'stored';
  }

  /** As the host gets it: without the tag where the queue strips it, with the FCS where the MAC leaves it. */
  private hostBytes({ queue, frame, packet }: Held): Uint8Array {
    const { bank } = this.parts;
    const strip = packet.vlan !== undefined && (bank.get(this.rxdctl[queue]!) & VME) !== 0;
    const data = strip ? [...frame.subarray(0, 12), ...frame.subarray(16)] : [...frame];
    if ((bank.get(this.hlreg0) & RXCRCSTRP) === 0) {
      const check = frameCheck(frame);
      data.push(check & 0xff, (check >>> 8) & 0xff, (check >>> 16) & 0xff, check >>> 24);
    }
    return Uint8Array.from(data);
  }

  /** One descriptor: false if it could not be fetched. A buffer that the IOMMU refuses loses its bytes and nothing else. */
  private storePiece(item: Held, piece: Uint8Array, last: boolean): boolean {
    const { bank, dma, interrupts, rules } = this.parts;
    const { queue } = item;
    const head = bank.get(this.rdh[queue]!);
    const iova = address(bank.get(this.rdbal[queue]!), bank.get(this.rdbah[queue]!)) + head * DESCRIPTOR;
    const descriptor = dma.readDescriptor(iova);
    if (descriptor === undefined) {
      interrupts.other(PCI_EXCEPTION);
      return false;
    }
    const legacy = ((bank.get(this.srrctl[queue]!) >> 25) & 7) === 0;
    rules.check((descriptor[legacy ? 3 : 2]! & 1) !== 0, `A descriptor of receive queue ${queue} is handed over with DD set (7.1.5, 7.1.6.1).`);
    if (!dma.write(address(descriptor[0]!, descriptor[1]!), piece)) interrupts.other(PCI_EXCEPTION);
    dma.writeWords(iova, legacy ? this.legacy(item, piece.length, last) : this.advanced(item, piece.length, last));
    bank.set(this.rdh[queue]!, (head + 1) % this.entries(queue));
    return true;
  }

  /** Section 7.1.5. Status and errors are the advanced format's, eight bits of each. */
  private legacy(item: Held, length: number, last: boolean): [number, number][] {
    const { status, vlan } = last ? this.status(item) : { status: DD, vlan: 0 };
    const errors = ((status >>> 31) << 7) | (((status >>> 30) & 1) << 6) | (((status >>> 29) & 1) << 1);
    return [[2, length], [3, (status & 0xff) | (errors << 8) | (vlan << 16)]];
  }

  /** Section 7.1.6.2: before the last descriptor only DD and the length are valid. */
  private advanced(item: Held, length: number, last: boolean): [number, number][] {
    if (!last) return [[3, length], [2, DD]];
    const { status, vlan } = this.status(item);
    const hash = (this.parts.bank.get(this.rxcsum) & (1 << 13)) !== 0; // PCSD: the hash stands there, not the fragment checksum
    return [[0, (hash ? item.rss.type : 0) | packetType(item)], [1, hash ? item.rss.hash : 0], [3, length | (vlan << 16)], [2, status]];
  }

  private status({ packet, queue, status }: Held): { status: number; vlan: number } {
    const strip = packet.vlan !== undefined && (this.parts.bank.get(this.rxdctl[queue]!) & VME) !== 0;
    return { status: DD | EOP | (strip ? VP : 0) | status | checksums(packet), vlan: strip ? packet.vlan! : 0 };
  }
}

/** Bits 4 and up of the first word (section 7.1.6.2). */
function packetType({ packet: { l3, extended, l4 }, etherType }: Held): number {
  if (etherType !== undefined) return (1 << 15) | (etherType << 4);
  const ip = l3 === 4 ? (extended ? 3 : 1) << 4 : l3 === 6 ? (extended ? 3 : 1) << 6 : 0;
  return ip | (l4 === 6 ? 1 << 8 : l4 === 17 ? 1 << 9 : l4 === 132 ? 1 << 10 : 0);
}

/** Section 7.1.11: the header's checksum, and TCP's and UDP's where it is there; a UDP checksum of 0 is none (RFC 768). */
function checksums(packet: Packet): number {
  const { bytes, l3, l3At, l4, l4At, end } = packet;
  let status = 0;
  if (l3 === 4) status |= IPCS | (onesSum(bytes, l3At, l3At + (bytes.getUint8(l3At) & 0xf) * 4) === 0xffff ? 0 : IPE);
  if (l4 !== 6 && l4 !== 17) return status;
  if (l4 === 17 && bytes.getUint16(l4At + 6) === 0) return status;
  const good = onesSum(bytes, l4At, end, pseudoSum(packet)) === 0xffff;
  return status | L4I | (l4 === 17 ? UDPCS : 0) | (good ? 0 : L4E);
}
