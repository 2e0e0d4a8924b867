/**
 * An 82574L's control path, in the order of the datasheet's "Software Initialization and Diagnostics" (section 4.6):
 * interrupts off, global reset, link, statistics, receive, transmit.
 */
import { PollmodeError } from '../../../../errors.js';
import { macBytes, macText } from '../../../../kernel/address.js';
import type { LinkState } from '../../../port.js';
import { pause, type Registers } from '../pci/registers.js';
import {
  CAUSE_LSC, CAUSE_OTHER, CAUSE_RXQ0, CAUSE_RXQ1, CTRL_ASDE, CTRL_EXT_PBA_CLR, CTRL_FRCDPLX, CTRL_FRCSPD, CTRL_GIO_MASTER_DISABLE, CTRL_RST,
  CTRL_SLU, EECD_AUTO_RD, QUEUE_STRIDE, RAH_AV, RCTL_BAM, RCTL_EN, RCTL_MPE, RCTL_SECRC, RCTL_UPE, RFCTL_EXSTEN, RXCSUM_IPOFLD,
  RXCSUM_PCSD, RXCSUM_TUOFLD, STATUS_FD, STATUS_GIO_MASTER, STATUS_LU, STATUS_SPEED_SHIFT, TCTL_COLD_SHIFT, TCTL_CT_SHIFT, TCTL_EN, TCTL_PSP,
  TXDCTL_AT_ONCE, type RegisterName,
} from './registers.js';

/** Where a descriptor ring is, for the device. */
export interface RingPlace {
  readonly iova: number;
  readonly bytes: number;
}

/** MSI-X vectors: one for each receive queue, one for the rest. */
export const VECTORS = 3;
const OTHER_VECTOR = 2;
const IVAR_VALID = 8;
const MULTICAST_WORDS = 128;

export class E1000eDevice {
  readonly registers: Registers<RegisterName>;
  readonly #name: string;

  constructor(name: string, registers: Registers<RegisterName>) {
    this.#name = name;
    this.registers = registers;
  }

  /** 4.6.1 and 4.6.2: no interrupts, no transfers, a reset, and again no interrupts. Throws EUNSUPPORTED for a device that does not come back. */
  reset(): void {
    const { registers } = this;
    registers.write('IMC', 0xffffffff);
    // 5.2: what is on its way on the bus is finished first; a device that never finishes is reset all the same.
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 100);
    registers.set('CTRL', CTRL_RST);
    pause(1); // no access for a microsecond
    const back = registers.waitFor('CTRL', CTRL_RST, 0, 100) && registers.waitFor('EECD', EECD_AUTO_RD, EECD_AUTO_RD, 100);
    if (!back) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: the NIC did not come back from its reset: start the machine anew, from cold.`);
    registers.write('IMC', 0xffffffff);
    registers.read('ICR');
  }

  /** Receive address 0, which the reset has loaded from the NVM (10.2.5). Throws EUNSUPPORTED when there is none. */
  get mac(): string {
    const low = this.registers.read('RAL');
    const high = this.registers.read('RAH');
    if ((high & RAH_AV) === 0 || low === 0xffffffff) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: the NIC has no MAC address in its NVM: repair the NVM, or use another NIC.`);
    return macText(Uint8Array.of(low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8));
  }

  /** 4.6.3: the PHY negotiates by itself; the MAC takes speed and duplex from it. */
  linkUp(): void {
    this.registers.clear('CTRL', CTRL_FRCSPD | CTRL_FRCDPLX);
    this.registers.set('CTRL', CTRL_SLU | CTRL_ASDE);
  }

  get link(): LinkState {
    const status = this.registers.read('STATUS');
    const up = (status & STATUS_LU) !== 0 && status !== 0xffffffff;
    return { up, mbps: up ? [10, 100, 1000, 1000][(status >>> STATUS_SPEED_SHIFT) & 3]! : 0, fullDuplex: up && (status & STATUS_FD) !== 0 };
  }

  /** 4.6.5: filters empty, rings in place, and not yet enabled, so that nothing comes before the descriptors are there. */
  prepareReceive(rings: readonly RingPlace[]): void {
    const { registers } = this;
    for (let word = 0; word < MULTICAST_WORDS; word++) registers.write('MTA', 0, 4 * word);
    registers.write('RFCTL', RFCTL_EXSTEN);
    registers.write('RXCSUM', RXCSUM_IPOFLD | RXCSUM_TUOFLD | RXCSUM_PCSD);
    rings.forEach((ring, queue) => { this.#place(['RDBAL', 'RDBAH', 'RDLEN', 'RDH', 'RDT'], ring, queue); });
  }

  /**
   * Buffers of 2048 bytes (BSIZE 0) and no long packets (LPE 0): what is longer than 1522 bytes the device drops, so it
   * never writes more than that, whatever the buffers hold beyond. The FCS is cut off.
   */
  startReceive(promiscuous: boolean): void {
    this.registers.write('RCTL', RCTL_EN | RCTL_BAM | RCTL_SECRC | (promiscuous ? RCTL_UPE | RCTL_MPE : 0));
  }

  promiscuous(on: boolean): void {
    if (on) this.registers.set('RCTL', RCTL_UPE | RCTL_MPE);
    else this.registers.clear('RCTL', RCTL_UPE | RCTL_MPE);
  }

  /**
   * 10.2.5, MTA: bits 47 to 36 of the address, the last to be sent, choose one of 4096 bits; other addresses that choose
   * the same one come in too. Replaces the groups that were chosen before. Throws EOPTION.
   */
  multicast(groups: readonly string[]): void {
    const table = new Uint32Array(MULTICAST_WORDS);
    for (const group of groups) {
      const bytes = macBytes(group);
      if ((bytes[0]! & 1) === 0) throw new PollmodeError('EOPTION', `${group} is no multicast address: the lowest bit of its first byte is 0.`);
      const bit = (bytes[4]! >>> 4) | (bytes[5]! << 4);
      table[bit >>> 5]! |= 1 << (bit & 31);
    }
    table.forEach((bits, word) => { this.registers.write('MTA', bits, 4 * word); });
  }

  /** 4.6.6. Gaps and collision values are those of IEEE 802.3 for copper; in full duplex only the first counts. */
  startTransmit(rings: readonly RingPlace[]): void {
    const { registers } = this;
    rings.forEach((ring, queue) => {
      this.#place(['TDBAL', 'TDBAH', 'TDLEN', 'TDH', 'TDT'], ring, queue);
      registers.write('TXDCTL', TXDCTL_AT_ONCE, queue * QUEUE_STRIDE);
    });
    registers.write('TIPG', 8 | (8 << 10) | (6 << 20));
    registers.write('TCTL', TCTL_EN | TCTL_PSP | (15 << TCTL_CT_SHIFT) | (63 << TCTL_COLD_SHIFT));
  }

  /** 7.4: each receive queue and the rest signal a vector, which clears and masks its cause; who wants to sleep lifts the mask. */
  startInterrupts(throttleUs: number): void {
    const { registers } = this;
    registers.write('IVAR', IVAR_VALID | ((IVAR_VALID | 1) << 4) | ((IVAR_VALID | OTHER_VECTOR) << 16));
    registers.write('EIAC', CAUSE_RXQ0 | CAUSE_RXQ1 | CAUSE_OTHER);
    const interval = Math.min(0xffff, Math.round(throttleUs * 1000 / 256));
    for (let vector = 0; vector < OTHER_VECTOR; vector++) registers.write('EITR', interval, 4 * vector);
    registers.write('CTRL_EXT', (registers.read('CTRL_EXT') | CTRL_EXT_PBA_CLR) >>> 0);
    this.watchLink();
  }

  /** The next change of the link signals the last vector. */
  watchLink(): void {
    this.registers.write('ICR', CAUSE_LSC | CAUSE_OTHER);
    this.registers.write('IMS', CAUSE_LSC | CAUSE_OTHER);
  }

  /** No frame comes or goes any more, and no transfer is under way. */
  stop(): void {
    const { registers } = this;
    registers.write('IMC', 0xffffffff);
    registers.clear('RCTL', RCTL_EN);
    registers.clear('TCTL', TCTL_EN);
    registers.set('CTRL', CTRL_GIO_MASTER_DISABLE);
    registers.waitFor('STATUS', STATUS_GIO_MASTER, 0, 20);
    registers.set('CTRL', CTRL_RST);
    pause(1);
    registers.write('IMC', 0xffffffff);
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
