/**
 * An 82576's control path, in the order of the datasheet's "Software Initialization and Diagnostics" (4.5): interrupts
 * off, global reset, link, receive, transmit, interrupts. Its virtual functions: pools.ts.
 */
import { PollmodeError } from '../../../../errors.js';
import { RSS_IPV4, RSS_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6 } from '../../../../rss/layout.js';
import type { LinkState } from '../../../port.js';
import { stationAddress } from '../intel/address.js';
import type { Chip, Counter, InterruptPlace, ReceivePlan, RingPlace } from '../intel/chip.js';
import { GIGABIT_COUNTERS } from '../intel/counters.js';
import { multicastTable, TABLE_WORDS, vlanTable } from '../intel/filters.js';
import type { IntelFlowRules } from '../intel/flow_rules.js';
import { IntelRss } from '../intel/rss.js';
import type { Nic } from '../pci/device.js';
import type { Registers } from '../pci/registers.js';
import { ADVANCED } from './descriptors.js';
import { clearFilters, igbFlowRules, prepareDropQueue } from './flow_rules.js';
import { Pools } from './pools.js';
import {
  BAR0_BYTES, CAUSE_LSC, CTRL_FRCDPLX, CTRL_FRCSPD, CTRL_GIO_MASTER_DISABLE, CTRL_RST, CTRL_SLU, CTRL_VME, EECD_AUTO_RD, EITR_MAX, EITR_SHIFT,
  GPIE_EIAME, GPIE_MSIX_MODE, GPIE_NSICR, GPIE_PBA, IVAR_VALID, MDIC_PHY_1, MDIC_READY, MDIC_REGISTER_SHIFT, MDIC_WRITE, MRQC_IPV4,
  MRQC_IPV6, MRQC_POOLS, MRQC_RSS, MRQC_TCP_IPV4, MRQC_TCP_IPV6, MRQC_UDP_IPV4, MRQC_UDP_IPV6, PHY_CONTROL, PHY_NEGOTIATE, QUEUE_ENABLE, QUEUE_STRIDE,
  RCTL_BAM, RCTL_EN, RCTL_LPE, RCTL_MPE, RCTL_SECRC, RCTL_UPE, RCTL_VFE, REGISTERS, RXCSUM_IPOFLD, RXCSUM_PCSD, RXCSUM_TUOFLD,
  SRRCTL_DROP_EN, SRRCTL_ONE_BUFFER, STATUS_FD, STATUS_GIO_MASTER, STATUS_LU, STATUS_NUM_VFS_MASK, STATUS_NUM_VFS_SHIFT, STATUS_SPEED_SHIFT, TCTL_COLD_SHIFT, TCTL_CT_SHIFT, TCTL_EN,
  TCTL_PSP, THRESHOLDS, type RegisterName,
} from './registers.js';

const USUAL_FRAME = 1518;
const FCS = 4;
/** Bytes of the longest frame that it can have, with FCS. */
const LONGEST = 9728;
/** Packets that a queue dropped for want of a descriptor: 8.10; 16 of them. */
const RQDPC = 0xc030;
/** 7.1.1.7, MRQC: which fields it hashes. */
const RSS_KIND = {
  fields: new Map([
    [RSS_TCP_IPV4, MRQC_TCP_IPV4], [RSS_UDP_IPV4, MRQC_UDP_IPV4], [RSS_IPV4, MRQC_IPV4],
    [RSS_TCP_IPV6, MRQC_TCP_IPV6], [RSS_UDP_IPV6, MRQC_UDP_IPV6], [RSS_IPV6, MRQC_IPV6],
  ]),
  queueShift: 0,
};

export class IgbChip implements Chip {
  readonly model = '82576';
  readonly descriptors = ADVANCED;
  /** Of 16: a queue of its own for each vector that it has, less one for the rest. */
  readonly queues = 8;
  readonly mtu = 9000;
  readonly counters: readonly Counter[] = [...GIGABIT_COUNTERS, { at: RQDPC, name: 'rx_queue_drops', count: 16, stride: QUEUE_STRIDE }];
  readonly registers: Registers<RegisterName>;
  readonly #name: string;
  readonly #queues: number;
  readonly #flowRules: IntelFlowRules;
  #rss: IntelRss | undefined;
  #pools: Pools | undefined;
  #other = 0;
  /** RCTL as it will be once receiving is on. */
  #receive = 0;

  constructor(name: string, nic: Nic, queues: number) {
    this.#name = name;
    this.#queues = queues;
    const registers = this.registers = nic.registers(0, BAR0_BYTES, REGISTERS);
    this.#flowRules = igbFlowRules(registers, queues, () => this.#rss?.reta ?? [0]);
    if (queues === 1) return;
    this.#rss = new IntelRss(name, queues, RSS_KIND, {
      key: (word, value) => { registers.write('RSSRK', value, 4 * word); },
      reta: (word, value) => { registers.write('RETA', value, 4 * word); },
      fields: bits => { registers.write('MRQC', MRQC_RSS | bits); },
    });
  }

  get rss(): IntelRss | undefined {
    return this.#rss;
  }

  /** With pools the queue would be a pool's. */
  get flowRules(): IntelFlowRules | undefined {
    return this.#pools === undefined ? this.#flowRules : undefined;
  }

  /** Where there are some. */
  get virtualFunctions(): Pools | undefined {
    return this.#pools;
  }

  /** 4.5.4 and 4.5.5: no interrupts, no transfers, a reset, and again no interrupts. */
  reset(): void {
    const { registers } = this;
    this.#maskAll();
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 100);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1); // no look at it within a millisecond (4.2.1.6.1)
    if (!registers.waitFor('CTRL', CTRL_RST, 0, 100) || registers.read('STATUS') === 0xffffffff) {
      throw new PollmodeError('EUNSUPPORTED', `${this.#name}: the NIC did not come back from its reset: start the machine anew, from cold.`);
    }
    // A card without an NVM to read from never says that it has read it, and works.
    registers.waitFor('EECD', EECD_AUTO_RD, EECD_AUTO_RD, 10);
    this.#maskAll();
    registers.read('ICR');
    const functions = (registers.read('STATUS') >>> STATUS_NUM_VFS_SHIFT) & STATUS_NUM_VFS_MASK;
    if (functions === 0) return;
    if (this.#queues > 1) throw new PollmodeError('EOPTION', `${this.#name} has ${functions} virtual functions, and so one queue of its own, not ${this.#queues}: leave queues out, or take the functions away.`);
    this.#pools = new Pools(this.#name, registers, functions, this.mac);
  }

  /** Receive address 0, which the reset has loaded from the NVM (8.10). */
  get mac(): string {
    return stationAddress(this.#name, this.registers);
  }

  /** 4.5.7, copper: the PHY negotiates anew; the MAC takes speed and duplex from it. */
  linkUp(): void {
    const { registers } = this;
    registers.clear('CTRL', CTRL_FRCSPD | CTRL_FRCDPLX);
    registers.set('CTRL', CTRL_SLU);
    registers.write('MDIC', MDIC_WRITE | MDIC_PHY_1 | PHY_CONTROL << MDIC_REGISTER_SHIFT | PHY_NEGOTIATE);
    registers.waitFor('MDIC', MDIC_READY, MDIC_READY, 10);
  }

  get link(): LinkState {
    return linkOf(this.registers.read('STATUS'));
  }

  /**
   * 4.5.9: filters empty; each queue's ring and its kind of descriptor, then the queue on. Buffers of 2048 bytes and no
   * long packets (LPE 0): what is longer than 1522 bytes the device drops, so it never writes more than that, whatever the
   * buffers hold beyond. Or long packets, and buffers of so many KiB as there is room. The FCS is cut off. One queue that
   * is full does not stop the others.
   */
  prepareReceive(rings: readonly RingPlace[], { segment, longest, vlanStrip, promiscuous }: ReceivePlan): void {
    const { registers } = this;
    const long = longest > USUAL_FRAME;
    for (let word = 0; word < TABLE_WORDS; word++) registers.write('MTA', 0, 4 * word);
    clearFilters(registers);
    if (this.#pools === undefined) prepareDropQueue(registers, this.#queues);
    registers.write('RXCSUM', RXCSUM_IPOFLD | RXCSUM_TUOFLD | RXCSUM_PCSD);
    // With pools each has a limit of its own.
    registers.write('RLPML', this.#pools === undefined ? longest + FCS : LONGEST);
    if (this.#pools === undefined) this.#rss?.write();
    else registers.write('MRQC', MRQC_POOLS);
    if (vlanStrip) registers.set('CTRL', CTRL_VME);
    else registers.clear('CTRL', CTRL_VME);
    rings.forEach((ring, queue) => {
      const at = this.#queueAt(queue);
      placeRing(registers, ['RDBAL', 'RDBAH', 'RDLEN', 'RDH'], ring, at);
      registers.write('SRRCTL', (SRRCTL_ONE_BUFFER | (long ? segment >>> 10 : 2) | (this.#queues > 1 ? SRRCTL_DROP_EN : 0)) >>> 0, at);
      registers.write('RXDCTL', QUEUE_ENABLE | THRESHOLDS, at);
      registers.waitFor('RXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, 10, at);
      registers.write('RDT', 0, at);
    });
    this.#pools?.start({ longest: longest + FCS, promiscuous, stripVlan: vlanStrip });
    this.#receive = RCTL_BAM | RCTL_SECRC | (long || this.#pools !== undefined ? RCTL_LPE : 0) | (promiscuous ? RCTL_UPE | RCTL_MPE : 0) | (this.#pools === undefined ? 0 : RCTL_VFE);
  }

  /** Once it is enabled: a tail that is written before may be forgotten. */
  startReceive(fill: () => void): void {
    this.registers.write('RCTL', RCTL_EN | this.#receive);
    fill();
  }

  promiscuous(on: boolean): void {
    this.#pools?.ownPromiscuous(on);
    if (on) this.registers.set('RCTL', RCTL_UPE | RCTL_MPE);
    else this.registers.clear('RCTL', RCTL_UPE | RCTL_MPE);
  }

  multicast(groups: readonly string[]): void {
    if (this.#pools !== undefined) return this.#pools.ownMulticast(groups);
    multicastTable(groups).forEach((bits, word) => { this.registers.write('MTA', bits, 4 * word); });
  }

  /** With virtual functions it is never without a filter: `undefined` is none but untagged frames. */
  vlanFilter(ids: readonly number[] | undefined): void {
    if (this.#pools !== undefined) return this.#pools.ownVlans(ids ?? []);
    vlanTable(ids ?? []).forEach((bits, word) => { this.registers.write('VFTA', bits, 4 * word); });
    if (ids === undefined) this.registers.clear('RCTL', RCTL_VFE);
    else this.registers.set('RCTL', RCTL_VFE);
  }

  /** 4.5.10: rings, the queues on, then sending; the reset has set the gaps between frames. */
  startTransmit(rings: readonly RingPlace[]): void {
    const { registers } = this;
    rings.forEach((ring, queue) => {
      const at = this.#queueAt(queue);
      placeRing(registers, ['TDBAL', 'TDBAH', 'TDLEN', 'TDH'], ring, at);
      registers.write('TXDCTL', QUEUE_ENABLE | THRESHOLDS, at);
      registers.waitFor('TXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, 10, at);
      registers.write('TDT', 0, at);
    });
    registers.write('TCTL', TCTL_EN | TCTL_PSP | (15 << TCTL_CT_SHIFT) | (63 << TCTL_COLD_SHIFT));
  }

  /** 7.3 (IVAR 7.3.1.2, GPIE 7.3.2.11): each queue and the rest signal a vector, which clears and masks its cause; who wants to sleep lifts the mask. */
  startInterrupts(queues: number, throttleUs: number): void {
    const { registers } = this;
    this.#other = 1 << queues;
    registers.write('GPIE', (GPIE_MSIX_MODE | GPIE_PBA | GPIE_EIAME | GPIE_NSICR) >>> 0);
    for (let queue = 0; queue < queues; queue++) {
      registers.write('IVAR', IVAR_VALID | queue, 4 * (this.#first + queue));
      registers.write('EITR', Math.min(EITR_MAX, throttleUs) << EITR_SHIFT, 4 * queue);
    }
    registers.write('IVAR_MISC', (IVAR_VALID | queues) << 8);
    registers.write('EIAC', (1 << (queues + 1)) - 1);
    registers.write('EIAM', (1 << (queues + 1)) - 1);
    this.watchLink();
  }

  /** The next change of the link signals the last vector. */
  watchLink(): void {
    this.registers.write('ICR', CAUSE_LSC);
    this.registers.write('EICR', this.#other);
    this.registers.write('IMS', CAUSE_LSC);
    this.registers.write('EIMS', this.#other);
  }

  stop(): void {
    const { registers } = this;
    this.#maskAll();
    registers.clear('RCTL', RCTL_EN);
    registers.clear('TCTL', TCTL_EN);
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 20);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1);
    this.#maskAll();
  }

  tail(direction: 'rx' | 'tx', queue: number): number {
    return this.registers.at(direction === 'rx' ? 'RDT' : 'TDT', this.#queueAt(queue));
  }

  interrupt(queue: number): InterruptPlace {
    return { mask: this.registers.at('EIMS'), cause: 1 << queue, forget: this.registers.at('EICR') };
  }

  /** Pool n has queue n, and the physical function the pool behind those of the others. */
  get #first(): number {
    return this.#pools?.count ?? 0;
  }

  #queueAt(queue: number): number {
    return (this.#first + queue) * QUEUE_STRIDE;
  }

  #maskAll(): void {
    this.registers.write('IMC', 0xffffffff);
    this.registers.write('EIMC', 0xffffffff);
  }
}

/** What STATUS says, of a physical function and of a virtual one. */
export function linkOf(status: number): LinkState {
  const up = (status & STATUS_LU) !== 0 && status !== 0xffffffff;
  return { up, mbps: up ? [10, 100, 1000, 1000][(status >>> STATUS_SPEED_SHIFT) & 3]! : 0, fullDuplex: up && (status & STATUS_FD) !== 0 };
}

/** A ring's place and length, while the queue is off; the head too, which the reset of a virtual function need not set back. */
export function placeRing<Name extends string>(registers: Registers<Name>, [low, high, length, head]: readonly [Name, Name, Name, Name], { iova, bytes }: RingPlace, further: number): void {
  registers.write(low, iova % 2 ** 32, further);
  registers.write(high, Math.floor(iova / 2 ** 32), further);
  registers.write(length, bytes, further);
  registers.write(head, 0, further);
}
