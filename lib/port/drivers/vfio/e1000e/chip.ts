/**
 * An 82574L's control path, in the order of the datasheet's "Software Initialization and Diagnostics" (section 4.6):
 * interrupts off, global reset, link, statistics, receive, transmit.
 */
import { PollmodeError } from '../../../../errors.js';
import { RSS_IPV4, RSS_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6 } from '../../../../rss/layout.js';
import type { LinkState } from '../../../port.js';
import { stationAddress } from '../intel/address.js';
import type { Chip, Counter, DescriptorKind, InterruptPlace, ReceivePlan, RingPlace } from '../intel/chip.js';
import { GIGABIT_COUNTERS } from '../intel/counters.js';
import { multicastTable, TABLE_WORDS, vlanTable } from '../intel/filters.js';
import { INTEL_82574, RXD_ERRORS, TXD_IFCS } from '../intel/layout.js';
import { IntelRss } from '../intel/rss.js';
import type { Nic } from '../pci/device.js';
import type { Registers } from '../pci/registers.js';
import {
  BAR0_BYTES, CAUSE_LSC, CAUSE_OTHER, CAUSE_RXQ0, CAUSE_RXQ1, CTRL_ASDE, CTRL_EXT_PBA_CLR, CTRL_FRCDPLX, CTRL_FRCSPD,
  CTRL_GIO_MASTER_DISABLE, CTRL_RST, CTRL_SLU, CTRL_VME, EECD_AUTO_RD, MRQC_IPV4, MRQC_IPV6, MRQC_RSS, MRQC_TCP_IPV4, MRQC_TCP_IPV6,
  QUEUE_STRIDE, RCTL_BAM, RCTL_EN, RCTL_FLXBUF_SHIFT, RCTL_LPE, RCTL_MPE, RCTL_SECRC, RCTL_UPE, RCTL_VFE, REGISTERS, RFCTL_EXSTEN,
  RXCSUM_IPOFLD, RXCSUM_PCSD, RXCSUM_TUOFLD, STATUS_FD, STATUS_GIO_MASTER, STATUS_LU, STATUS_SPEED_SHIFT, TCTL_COLD_SHIFT, TCTL_CT_SHIFT,
  TCTL_EN, TCTL_PSP, TXDCTL_AT_ONCE, type RegisterName,
} from './registers.js';

const IVAR_VALID = 8;
const VLAN_ETHERTYPE = 0x8100;
const USUAL_FRAME = 1518;
/** 7.1.11.1, MRQC: which fields it hashes. It knows no ports of UDP. */
const RSS_KIND = {
  fields: new Map([[RSS_TCP_IPV4, MRQC_TCP_IPV4], [RSS_IPV4, MRQC_IPV4], [RSS_TCP_IPV6, MRQC_TCP_IPV6], [RSS_IPV6, MRQC_IPV6]]),
  queueShift: 7,
};

export class E1000eChip implements Chip {
  readonly model = '82574L';
  readonly descriptors: DescriptorKind = { context: INTEL_82574, command: TXD_IFCS, payload: 0, errors: RXD_ERRORS, ipBadShift: 28, l4BadShift: 26 };
  readonly queues = 2;
  readonly mtu = 9000;
  readonly counters: readonly Counter[] = GIGABIT_COUNTERS;
  readonly rss?: IntelRss;
  readonly registers: Registers<RegisterName>;
  readonly #name: string;
  /** RCTL as it will be once receiving is on. */
  #receive = 0;

  constructor(name: string, nic: Nic, queues: number) {
    this.#name = name;
    const registers = this.registers = nic.registers(0, BAR0_BYTES, REGISTERS);
    if (queues === 1) return;
    this.rss = new IntelRss(name, queues, RSS_KIND, {
      key: (word, value) => { registers.write('RSSRK', value, 4 * word); },
      reta: (word, value) => { registers.write('RETA', value, 4 * word); },
      fields: bits => { registers.write('MRQC', MRQC_RSS | bits); },
    });
  }

  /** 4.6.1 and 4.6.2: no interrupts, no transfers, a reset, and again no interrupts. */
  reset(): void {
    const { registers } = this;
    registers.write('IMC', 0xffffffff);
    // 3.1.3.10: what is on its way on the bus is finished first; a device that never finishes is reset all the same.
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 100);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1); // no access for a microsecond
    const back = registers.waitFor('CTRL', CTRL_RST, 0, 100) && registers.waitFor('EECD', EECD_AUTO_RD, EECD_AUTO_RD, 100);
    if (!back) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: the NIC did not come back from its reset: start the machine anew, from cold.`);
    registers.write('IMC', 0xffffffff);
    registers.read('ICR');
  }

  /** Receive address 0, which the reset has loaded from the NVM (10.2.5.23). */
  get mac(): string {
    return stationAddress(this.#name, this.registers);
  }

  /** 4.6.3: the PHY negotiates by itself; the MAC takes speed and duplex from it. ASDE must be 0 in an 82574 (10.2.2.1). */
  linkUp(): void {
    this.registers.clear('CTRL', CTRL_FRCSPD | CTRL_FRCDPLX | CTRL_ASDE);
    this.registers.set('CTRL', CTRL_SLU);
  }

  get link(): LinkState {
    const status = this.registers.read('STATUS');
    const up = (status & STATUS_LU) !== 0 && status !== 0xffffffff;
    return { up, mbps: up ? [10, 100, 1000, 1000][(status >>> STATUS_SPEED_SHIFT) & 3]! : 0, fullDuplex: up && (status & STATUS_FD) !== 0 };
  }

  /**
   * 4.6.5: filters empty, rings in place, and not yet enabled, so that nothing comes before the descriptors are there.
   * Buffers of 2048 bytes (BSIZE 0) and no long packets (LPE 0): what is longer than 1522 bytes the device drops, so it
   * never writes more than that, whatever the buffers hold beyond. Or long packets, and buffers of so many KiB as there is
   * room (FLXBUF). The FCS is cut off.
   */
  prepareReceive(rings: readonly RingPlace[], { segment, longest, vlanStrip, promiscuous }: ReceivePlan): void {
    const { registers } = this;
    for (let word = 0; word < TABLE_WORDS; word++) registers.write('MTA', 0, 4 * word);
    registers.write('RFCTL', RFCTL_EXSTEN);
    registers.write('RXCSUM', RXCSUM_IPOFLD | RXCSUM_TUOFLD | RXCSUM_PCSD);
    this.rss?.write();
    registers.write('VET', VLAN_ETHERTYPE);
    if (vlanStrip) registers.set('CTRL', CTRL_VME);
    else registers.clear('CTRL', CTRL_VME);
    rings.forEach((ring, queue) => { this.#place(['RDBAL', 'RDBAH', 'RDLEN', 'RDH', 'RDT'], ring, queue); });
    const size = longest > USUAL_FRAME ? RCTL_LPE | (segment >>> 10) << RCTL_FLXBUF_SHIFT : 0;
    this.#receive = RCTL_BAM | RCTL_SECRC | size | (promiscuous ? RCTL_UPE | RCTL_MPE : 0);
  }

  /** Once it is enabled: a tail that is written before may be forgotten. */
  startReceive(fill: () => void): void {
    this.registers.write('RCTL', RCTL_EN | this.#receive);
    fill();
  }

  promiscuous(on: boolean): void {
    if (on) this.registers.set('RCTL', RCTL_UPE | RCTL_MPE);
    else this.registers.clear('RCTL', RCTL_UPE | RCTL_MPE);
  }

  multicast(groups: readonly string[]): void {
    multicastTable(groups).forEach((bits, word) => { this.registers.write('MTA', bits, 4 * word); });
  }

  vlanFilter(ids: readonly number[] | undefined): void {
    vlanTable(ids ?? []).forEach((bits, word) => { this.registers.write('VFTA', bits, 4 * word); });
    if (ids === undefined) this.registers.clear('RCTL', RCTL_VFE);
    else this.registers.set('RCTL', RCTL_VFE);
  }

  /** 4.6.6, which has the gaps (IPGT 8, IPGR1 2, IPGR2 10; in full duplex the first alone counts) and the collision values. */
  startTransmit(rings: readonly RingPlace[]): void {
    const { registers } = this;
    rings.forEach((ring, queue) => {
      this.#place(['TDBAL', 'TDBAH', 'TDLEN', 'TDH', 'TDT'], ring, queue);
      registers.write('TXDCTL', TXDCTL_AT_ONCE, queue * QUEUE_STRIDE);
    });
    registers.write('TIPG', 8 | (2 << 10) | (10 << 20));
    registers.write('TCTL', TCTL_EN | TCTL_PSP | (15 << TCTL_CT_SHIFT) | (63 << TCTL_COLD_SHIFT));
  }

  /** 7.4: each receive queue and the rest signal a vector, which clears and masks its cause; who wants to sleep lifts the mask. */
  startInterrupts(queues: number, throttleUs: number): void {
    const { registers } = this;
    let vectors = (IVAR_VALID | queues) << 16;
    for (let queue = 0; queue < queues; queue++) vectors |= (IVAR_VALID | queue) << 4 * queue;
    registers.write('IVAR', vectors);
    registers.write('EIAC', CAUSE_RXQ0 | CAUSE_RXQ1 | CAUSE_OTHER);
    const interval = Math.min(0xffff, Math.round(throttleUs * 1000 / 256));
    for (let queue = 0; queue < queues; queue++) registers.write('EITR', interval, 4 * queue);
    registers.write('CTRL_EXT', (registers.read('CTRL_EXT') | CTRL_EXT_PBA_CLR) >>> 0);
    this.watchLink();
  }

  /** The next change of the link signals the last vector. */
  watchLink(): void {
    this.registers.write('ICR', CAUSE_LSC | CAUSE_OTHER);
    this.registers.write('IMS', CAUSE_LSC | CAUSE_OTHER);
  }

  stop(): void {
    const { registers } = this;
    registers.write('IMC', 0xffffffff);
    registers.clear('RCTL', RCTL_EN);
    registers.clear('TCTL', TCTL_EN);
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 20);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1);
    registers.write('IMC', 0xffffffff);
  }

  tail(direction: 'rx' | 'tx', queue: number): number {
    return this.registers.at(direction === 'rx' ? 'RDT' : 'TDT', queue * QUEUE_STRIDE);
  }

  interrupt(queue: number): InterruptPlace {
    return { mask: this.registers.at('IMS'), cause: CAUSE_RXQ0 << queue, forget: 0 };
  }

  #place([low, high, length, head, tail]: readonly [RegisterName, RegisterName, RegisterName, RegisterName, RegisterName], { iova, bytes }: RingPlace, queue: number): void {
    const further = queue * QUEUE_STRIDE;
    this.registers.write(low, iova % 2 ** 32, further);
    this.registers.write(high, Math.floor(iova / 2 ** 32), further);
    this.registers.write(length, bytes, further);
    this.registers.write(head, 0, further);
    this.registers.write(tail, 0, further);
  }
}
