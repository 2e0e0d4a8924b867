/**
 * An 82599's control path, in the order of the datasheet's "Initialization Sequence" (4.6.3): interrupts off, global
 * reset, EEPROM, DMA, link, statistics, receive (rx.ts), transmit (tx.ts), interrupts.
 */
import { PollmodeError } from '../../../../errors.js';
import { RSS_IPV4, RSS_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6 } from '../../../../rss/layout.js';
import type { LinkState } from '../../../port.js';
import { stationAddress } from '../intel/address.js';
import type { Chip, InterruptPlace, ReceivePlan, RingPlace } from '../intel/chip.js';
import { multicastTable, vlanTable } from '../intel/filters.js';
import type { IntelFlowRules } from '../intel/flow_rules.js';
import { IntelRss } from '../intel/rss.js';
import type { Nic } from '../pci/device.js';
import type { Registers } from '../pci/registers.js';
import { COUNTERS } from './counters.js';
import { ADVANCED } from './descriptors.js';
import { ixgbeFlowRules } from './flow_rules.js';
import {
  AUTOC_RESTART_AN, BAR0_BYTES, CAUSE_LSC, CAUSES, CTRL_EXT_DRV_LOAD, CTRL_LRST, CTRL_PCIE_MASTER_DISABLE, CTRL_RST, EEC_AUTO_RD,
  EEMNGCTL_CFG_DONE0_SHIFT, EITR_MAX, EITR_SHIFT, GCR_EXT_BUFFERS_CLEAR_FUNC, GPIE_EIAME, GPIE_MULTIPLE_MSIX, GPIE_OCD, GPIE_PBA_SUPPORT,
  HLREG0_LPBK, IVAR_VALID, LINKS_SPEED_SHIFT, LINKS_UP, MRQC_IPV4, MRQC_IPV6, MRQC_RSS, MRQC_TCP_IPV4, MRQC_TCP_IPV6, MRQC_UDP_IPV4,
  MRQC_UDP_IPV6, PACKET_BUFFERS, PATIENCE_MS, QUEUE_STRIDE, QUEUES, RDRXCTL_DMAIDONE, REGISTERS, RX_PACKET_BUFFER_KIB, STATUS_LAN_ID_SHIFT,
  STATUS_PCIE_MASTER, VLNCTRL_VFE, type RegisterName,
} from './registers.js';
import { disableReceiver, enableReceiver, prepareReceive, setPromiscuous } from './rx.js';
import { disableTransmit, startTransmit } from './tx.js';

const GONE = 0xffffffff;
/** 4.6.3.2: how far below a packet buffer's size FCRTH is, whether or not there is flow control. */
const PAUSE_MARGIN = 0x6000;
/** MRQC (8.2.3.7.12): which fields it hashes. */
const RSS_KIND = {
  fields: new Map([
    [RSS_TCP_IPV4, MRQC_TCP_IPV4], [RSS_UDP_IPV4, MRQC_UDP_IPV4], [RSS_IPV4, MRQC_IPV4],
    [RSS_TCP_IPV6, MRQC_TCP_IPV6], [RSS_UDP_IPV6, MRQC_UDP_IPV6], [RSS_IPV6, MRQC_IPV6],
  ]),
  queueShift: 0,
};

export class IxgbeChip implements Chip {
  readonly model = '82599';
  readonly descriptors = ADVANCED;
  /** Of 128: RSS chooses among 16 (7.1.2.8), and so many have a cause of their own in EICR. */
  readonly queues = 16;
  readonly mtu = 9000;
  readonly counters = COUNTERS;
  readonly registers: Registers<RegisterName>;
  readonly rss?: IntelRss;
  readonly flowRules: IntelFlowRules;
  readonly #name: string;

  constructor(name: string, nic: Nic, queues: number) {
    this.#name = name;
    const registers = this.registers = nic.registers(0, BAR0_BYTES, REGISTERS);
    this.flowRules = ixgbeFlowRules(registers, () => this.rss?.reta ?? [0]);
    if (queues === 1) return;
    this.rss = new IntelRss(name, queues, RSS_KIND, {
      key: (word, value) => { registers.write('RSSRK', value, 4 * word); },
      reta: (word, value) => { registers.write('RETA', value, 4 * word); },
      fields: bits => { registers.write('MRQC', MRQC_RSS | bits); },
    });
  }

  /** 4.6.3.1 and 4.6.3.2: no interrupts, a global reset, and again no interrupts; then what the device does by itself. */
  reset(): void {
    const { registers } = this;
    this.#maskAll();
    this.#quiesce();
    if (!this.#globalReset()) this.#refuse('the NIC did not come back from its reset');
    this.#maskAll();
    this.#noFlowControl();
    if (!registers.waitFor('EEC', EEC_AUTO_RD, EEC_AUTO_RD, PATIENCE_MS)) this.#refuse('the NIC does not read its EEPROM to the end');
    // Firmware's affair, which a board may do without.
    const done = 1 << EEMNGCTL_CFG_DONE0_SHIFT + ((registers.read('STATUS') >>> STATUS_LAN_ID_SHIFT) & 1);
    registers.waitFor('EEMNGCTL', done, done, 100);
    if (!registers.waitFor('RDRXCTL', RDRXCTL_DMAIDONE, RDRXCTL_DMAIDONE, PATIENCE_MS)) this.#refuse('the NIC does not start its DMA');
    registers.set('CTRL_EXT', CTRL_EXT_DRV_LOAD);
  }

  /** Receive address 0, which the reset has loaded from the EEPROM (8.2.3.7.9). */
  get mac(): string {
    return stationAddress(this.#name, this.registers);
  }

  /** 4.6.4: mode and analog settings are the EEPROM's, which alone knows the board; the link is begun anew. */
  linkUp(): void {
    this.registers.set('AUTOC', AUTOC_RESTART_AN);
  }

  /** 8.2.3.22.20. It knows full duplex only. */
  get link(): LinkState {
    const links = this.registers.read('LINKS');
    const up = (links & LINKS_UP) !== 0 && links !== GONE;
    return { up, mbps: up ? [0, 100, 1000, 10000][(links >>> LINKS_SPEED_SHIFT) & 3]! : 0, fullDuplex: up };
  }

  prepareReceive(rings: readonly RingPlace[], plan: ReceivePlan): void {
    if (!prepareReceive(this.registers, rings, plan, this.rss)) this.#refuse('a receive queue does not come on');
  }

  /** Tails before the receiver: 4.6.7. */
  startReceive(fill: () => void): void {
    fill();
    if (!enableReceiver(this.registers)) this.#refuse('the NIC\'s receive path does not come to rest');
  }

  startTransmit(rings: readonly RingPlace[]): void {
    if (!startTransmit(this.registers, rings)) this.#refuse('a transmit queue does not come on');
  }

  promiscuous(on: boolean): void {
    setPromiscuous(this.registers, on);
  }

  multicast(groups: readonly string[]): void {
    multicastTable(groups).forEach((bits, word) => { this.registers.write('MTA', bits, 4 * word); });
  }

  vlanFilter(ids: readonly number[] | undefined): void {
    vlanTable(ids ?? []).forEach((bits, word) => { this.registers.write('VFTA', bits, 4 * word); });
    if (ids === undefined) this.registers.clear('VLNCTRL', VLNCTRL_VFE);
    else this.registers.set('VLNCTRL', VLNCTRL_VFE);
  }

  /**
   * 4.6.6, MSI-X: each receive queue and the rest signal a vector. A queue's clears and masks its cause (7.3.1); who wants to
   * sleep lifts the mask. Sending signals nothing.
   */
  startInterrupts(queues: number, throttleUs: number): void {
    const { registers } = this;
    const all = 2 ** queues - 1;
    registers.write('GPIE', (GPIE_MULTIPLE_MSIX | GPIE_OCD | GPIE_EIAME | GPIE_PBA_SUPPORT) >>> 0);
    for (let queue = 0; queue < queues; queue += 2) {
      const next = queue + 1 < queues ? IVAR_VALID | queue + 1 : 0;
      registers.write('IVAR', IVAR_VALID | queue | next << 16, 2 * queue);
    }
    registers.write('IVAR_MISC', (IVAR_VALID | queues) << 8);
    registers.write('EIAC', all);
    registers.write('EIAM', all);
    const interval = Math.min(EITR_MAX, Math.round(throttleUs / 2)) << EITR_SHIFT;
    for (let queue = 0; queue < queues; queue++) registers.write('EITR', interval, 4 * queue);
    registers.write('EICR', CAUSES);
    this.watchLink();
  }

  /** The next change of the link signals the last vector. */
  watchLink(): void {
    this.registers.write('EICR', CAUSE_LSC);
    this.registers.write('EIMS', CAUSE_LSC);
  }

  stop(): void {
    this.#maskAll();
    this.registers.clear('CTRL_EXT', CTRL_EXT_DRV_LOAD);
    this.#quiesce();
    this.#globalReset();
    this.#maskAll();
  }

  tail(direction: 'rx' | 'tx', queue: number): number {
    return this.registers.at(direction === 'rx' ? 'RDT' : 'TDT', queue * QUEUE_STRIDE);
  }

  interrupt(queue: number): InterruptPlace {
    return { mask: this.registers.at('EIMS'), cause: 1 << queue, forget: this.registers.at('EICR') };
  }

  #maskAll(): void {
    this.registers.write('EIMC', CAUSES);
    for (let i = 0; i < 2; i++) this.registers.write('EIMCN', GONE, 4 * i);
  }

  /**
   * 5.2.5.3.2, master disable: the queues off, and no new transfers. Where those under way do not end (flow control, or no
   * link), internal buffers are emptied and there are two resets, this being the first.
   */
  #quiesce(): void {
    const { registers } = this;
    if (registers.read('STATUS') === GONE) return;
    disableReceiver(registers, QUEUES);
    disableTransmit(registers, QUEUES);
    registers.set('CTRL', CTRL_PCIE_MASTER_DISABLE);
    if (registers.waitFor('STATUS', STATUS_PCIE_MASTER, 0, 100)) return;
    registers.set('HLREG0', HLREG0_LPBK);
    registers.set('GCR_EXT', GCR_EXT_BUFFERS_CLEAR_FUNC);
    registers.pause(1); // 20 us
    registers.clear('HLREG0', HLREG0_LPBK);
    registers.clear('GCR_EXT', GCR_EXT_BUFFERS_CLEAR_FUNC);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1);
  }

  /** Software reset and link reset. No access for a millisecond (8.2.3.1.1), and 10 until it is done (4.6.3.2). */
  #globalReset(): boolean {
    const { registers } = this;
    registers.set('CTRL', CTRL_RST | CTRL_LRST);
    registers.pause(1);
    const back = registers.waitFor('CTRL', CTRL_RST | CTRL_LRST, 0, PATIENCE_MS);
    registers.pause(10);
    return back && registers.read('STATUS') !== GONE;
  }

  /** 4.6.3.2: zeros, but for the one threshold that is needed all the same. */
  #noFlowControl(): void {
    const { registers } = this;
    for (let i = 0; i < 4; i++) registers.write('FCTTV', 0, 4 * i);
    for (let i = 0; i < PACKET_BUFFERS; i++) {
      registers.write('FCRTL', 0, 4 * i);
      registers.write('FCRTH', i === 0 ? (RX_PACKET_BUFFER_KIB << 10) - PAUSE_MARGIN : 0, 4 * i);
    }
    registers.write('FCRTV', 0);
    registers.write('FCCFG', 0);
  }

  #refuse(what: string): never {
    throw new PollmodeError('EUNSUPPORTED', `${this.#name}: ${what}: start the machine anew, from cold.`);
  }
}
