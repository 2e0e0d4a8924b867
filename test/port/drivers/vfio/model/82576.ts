/**
 * An 82576 as far as receiving goes: reset, link, filters of queues (82576_filters.ts), and advanced descriptors of one
 * buffer (7.1.5). RSS is entry 0 of the table. Registers are words of memory; nothing is sent. Section numbers are of the
 * 82576's datasheet.
 */
import { FILTERS, QueueFilters82576 } from './82576_filters.js';
import { parse } from './packet.js';

const CTRL = 0x0, STATUS = 0x8, EECD = 0x10, MDIC = 0x20, RCTL = 0x100, RAL = 0x5400, RAH = 0x5404, MRQC = 0x5818, RETA = 0x5c00;
const FTQF = 0x59e0, IMIREXT = 0x5aa0, ETQF = 0x5cb0;
const RDBAL = 0xc000, RDBAH = 0xc004, RDLEN = 0xc008, SRRCTL = 0xc00c, RDH = 0xc010, RDT = 0xc018, RXDCTL = 0xc028, RQDPC = 0xc030;
const STRIDE = 0x40, QUEUES = 16, BYTES = 128 << 10, DESCRIPTOR = 16;
const MASTER_DISABLE = 1 << 2, RST = 1 << 26, AUTO_RD = 1 << 9, READY = 1 << 28, ENABLE = 1 << 25, RXEN = 1 << 1, UPE = 1 << 3;
/** Link up at 1000 Mb/s, full duplex; the master is enabled. */
const UP = 0x83, MASTER = 1 << 19;
const DD_EOP = 3, VET = 0x8100;

export const STATION = [0x02, 0x82, 0x57, 0x60, 0, 1];

export interface Options82576 {
  readonly memory: SharedArrayBuffer;
  /** Where the BAR is in it. */
  readonly bar: number;
  translate(iova: number): number | undefined;
}

export class Model82576 {
  readonly violations: string[] = [];
  /** Packets that were led to a queue that is off. */
  droppedOff = 0;
  readonly #options: Options82576;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #filters = new QueueFilters82576(offset => this.read(offset));

  constructor(options: Options82576) {
    this.#options = options;
    this.#words = new Uint32Array(options.memory, options.bar, BYTES / 4);
    this.#bytes = new Uint8Array(options.memory);
    this.#reset();
  }

  read(offset: number): number {
    return this.#words[offset / 4]!;
  }

  write(offset: number, value: number): void {
    if (offset === STATUS) this.violations.push('STATUS is written, which is read-only (8.2.2).');
    if (offset >= ETQF && offset < ETQF + 4 * FILTERS && (value & (1 << 26)) !== 0) this.#checkEtherType(value);
    if (offset >= FTQF && offset < FTQF + 4 * FILTERS && (value & (1 << 8)) !== 0) this.#checkTuple((offset - FTQF) / 4, value);
    this.#words[offset / 4] = offset === MDIC ? value | READY : value;
    if (offset !== CTRL) return;
    if ((value & RST) !== 0) this.#reset();
    else this.#words[STATUS / 4] = UP | ((value & MASTER_DISABLE) === 0 ? MASTER : 0);
  }

  /** The queue that it went to, or undefined if it was dropped. */
  receive(frame: Uint8Array): number | undefined {
    const control = this.read(RCTL);
    const mine = STATION.every((byte, i) => frame[i] === byte) || frame.subarray(0, 6).every(byte => byte === 0xff);
    if ((control & RXEN) === 0 || (!mine && (control & UPE) === 0)) return undefined;
    const packet = parse(frame, VET);
    const { queue, etherType } = this.#filters.result(packet);
    const to = queue ?? ((this.read(MRQC) & 7) === 2 ? this.read(RETA) & 0xf : 0);
    return this.#store(to, frame, etherType === undefined ? 0 : (1 << 15) | (etherType << 4)) ? to : undefined;
  }

  /** 4.5.9: what is directed to a queue that is off is dropped. One without descriptors drops if SRRCTL.Drop_En says so (8.10.2). */
  #store(queue: number, frame: Uint8Array, type: number): boolean {
    const at = (register: number): number => this.read(register + STRIDE * queue);
    if ((at(RXDCTL) & ENABLE) === 0) {
      this.droppedOff++;
      return false;
    }
    const entries = at(RDLEN) / DESCRIPTOR;
    const head = at(RDH);
    if (head === at(RDT)) {
      if ((at(SRRCTL) & 0x80000000) === 0) this.violations.push(`Queue ${queue} has no descriptors and holds up the others.`);
      this.#words[(RQDPC + STRIDE * queue) / 4]!++;
      return false;
    }
    const descriptor = this.#options.translate(at(RDBAL) + at(RDBAH) * 2 ** 32 + head * DESCRIPTOR);
    if (descriptor === undefined) throw new Error('the ring is not mapped');
    const words = new Uint32Array(this.#options.memory, descriptor, 4);
    const buffer = this.#options.translate(words[0]! + words[1]! * 2 ** 32);
    if (buffer === undefined) throw new Error('the buffer is not mapped');
    this.#bytes.set(frame, buffer);
    words.set([type, 0, DD_EOP, frame.length]);
    this.#words[(RDH + STRIDE * queue) / 4] = (head + 1) % entries;
    return true;
  }

  #checkEtherType(value: number): void {
    const type = value & 0xffff;
    if (type === 0x0800 || type === 0x86dd) this.violations.push('An EtherType filter is for IP, which it is not for (7.1.1.4).');
  }

  /** What a filter compares is written before it is on. */
  #checkTuple(n: number, value: number): void {
    if ((value & (1 << 15)) === 0) this.violations.push(`FTQF[${n}] asks for a pool, and there are none.`);
    if ((this.read(IMIREXT + 4 * n) & ((1 << 12) | (1 << 19))) !== ((1 << 12) | (1 << 19))) this.violations.push(`FTQF[${n}] looks at a packet's size or flags, which were not asked for.`);
  }

  /** Filters hold what nobody can know, and may be on. */
  #reset(): void {
    this.#words.fill(0);
    for (let n = 0; n < FILTERS; n++) {
      for (const at of [0x5980, 0x59a0, 0x59c0, 0x5a80, 0x5aa0]) this.#words[at / 4 + n] = 0x5a17c0de;
      this.#words[FTQF / 4 + n] = 0xf0068100 + n;
    }
    for (let queue = 0; queue < QUEUES; queue++) this.#words[(SRRCTL + STRIDE * queue) / 4] = 0x402;
    this.#words[RXDCTL / 4] = ENABLE; // queue 0's is on by default (4.5.9)
    this.#words[STATUS / 4] = UP | MASTER;
    this.#words[EECD / 4] = AUTO_RD;
    this.#words[RAL / 4] = 0x60578202;
    this.#words[RAH / 4] = 0x80000100;
  }
}
