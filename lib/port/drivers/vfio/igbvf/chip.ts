/**
 * An 82576's virtual function, in the order of the datasheet's 4.5.11: reset, hello by mailbox, receive, transmit,
 * interrupts. Whatever concerns more than its own queues it asks of the physical function.
 */
import { PollmodeError } from '../../../../errors.js';
import { macText } from '../../../../kernel/address.js';
import type { LinkState } from '../../../port.js';
import { linkOf, placeRing } from '../igb/chip.js';
import { ADVANCED } from '../igb/descriptors.js';
import { MESSAGE_INFO_SHIFT, MULTICAST_MOST, VF_RESET, VF_SET_LPE, VF_SET_MULTICAST, VF_SET_PROMISC, VF_SET_VLAN } from '../igb/mailbox.js';
import { EITR_MAX, EITR_SHIFT, IVAR_VALID, QUEUE_ENABLE, SRRCTL_DROP_EN, SRRCTL_ONE_BUFFER, THRESHOLDS } from '../igb/registers.js';
import type { Chip, InterruptPlace, ReceivePlan, RingPlace } from '../intel/chip.js';
import { checkVlan, groupBytes, multicastBit } from '../intel/filters.js';
import type { Nic } from '../pci/device.js';
import type { Registers } from '../pci/registers.js';
import { Mailbox } from './mailbox.js';
import { BAR0_BYTES, COUNTERS, CTRL_RST, REGISTERS, type RegisterName } from './registers.js';

const USUAL_FRAME = 1518;
const FCS = 4;
const ALL_VECTORS = 7;

export class IgbvfChip implements Chip {
  readonly model = '82576 virtual function';
  readonly descriptors = ADVANCED;
  readonly queues = 1;
  readonly mtu = 9000;
  readonly counters = COUNTERS;
  readonly registers: Registers<RegisterName>;
  readonly #name: string;
  readonly #mailbox: Mailbox;
  #mac = '';
  #vlans: readonly number[] = [];

  constructor(name: string, nic: Nic) {
    this.#name = name;
    this.registers = nic.registers(0, BAR0_BYTES, REGISTERS);
    this.#mailbox = new Mailbox(name, this.registers);
  }

  /** Its own reset, then the physical function is told of it and answers with the MAC address. */
  reset(): void {
    const { registers } = this;
    registers.write('EIMC', ALL_VECTORS);
    registers.set('CTRL', CTRL_RST);
    registers.pause(1);
    this.#mailbox.awaitReady();
    const answer = this.#mailbox.ask([VF_RESET], 3);
    if (answer === undefined) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: its physical function gives it no MAC address: give it one there (ip link set dev PF vf N mac ...).`);
    const [, low, high] = answer as [number, number, number];
    this.#mac = macText(Uint8Array.of(low, low >>> 8, low >>> 16, low >>> 24, high, high >>> 8));
  }

  get mac(): string {
    return this.#mac;
  }

  /** The physical function's. */
  linkUp(): void {
    // nothing that a virtual function could do
  }

  get link(): LinkState {
    return this.#mailbox.isDown ? { up: false, mbps: 0, fullDuplex: false } : linkOf(this.registers.read('STATUS'));
  }

  /**
   * How long a frame may be the physical function enforces, and must say that it does: the device would write on behind a
   * buffer otherwise, as it is told sizes in KiB.
   */
  prepareReceive([ring]: readonly RingPlace[], { segment, longest, promiscuous }: ReceivePlan): void {
    const { registers } = this;
    this.#mustAsk([VF_SET_LPE, longest + FCS], `frames of at most ${longest} bytes`, 'ask for a smaller mtu');
    placeRing(registers, ['RDBAL', 'RDBAH', 'RDLEN', 'RDH'], ring!, 0);
    registers.write('SRRCTL', (SRRCTL_ONE_BUFFER | (longest > USUAL_FRAME ? segment >>> 10 : 2) | SRRCTL_DROP_EN) >>> 0);
    registers.write('RXDCTL', QUEUE_ENABLE | THRESHOLDS);
    registers.waitFor('RXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, 10);
    registers.write('RDT', 0);
    if (promiscuous) this.promiscuous(true);
  }

  /** The queue is on, and that is all there is. */
  startReceive(fill: () => void): void {
    fill();
  }

  /** Throws EUNSUPPORTED when the physical function does not trust it so far, as Linux's does not. */
  promiscuous(on: boolean): void {
    this.#mustAsk([VF_SET_PROMISC | (on ? 3 : 0) << MESSAGE_INFO_SHIFT], 'frames for any address', 'leave promiscuous out, or trust the function there');
  }

  multicast(groups: readonly string[]): void {
    if (groups.length > MULTICAST_MOST) throw new PollmodeError('EOPTION', `${this.#name}: a virtual function can ask for ${MULTICAST_MOST} groups, not ${groups.length}: choose.`);
    const bits = groups.map(group => multicastBit(groupBytes(group)));
    const words = Array.from({ length: Math.ceil(bits.length / 2) }, (_, i) => (bits[2 * i]! | (bits[2 * i + 1] ?? 0) << 16) >>> 0);
    this.#mustAsk([VF_SET_MULTICAST | groups.length << MESSAGE_INFO_SHIFT, ...words], 'these groups', 'ask for fewer');
  }

  /** At first it gets untagged frames alone; `undefined` takes it back there. */
  vlanFilter(ids: readonly number[] | undefined): void {
    const wanted = (ids ?? []).map(checkVlan);
    const change = (id: number, add: boolean): void => { this.#mustAsk([VF_SET_VLAN | (add ? 1 : 0) << MESSAGE_INFO_SHIFT, id], `VLAN ${id}`, 'it may keep this function in another'); };
    for (const id of this.#vlans.filter(each => !wanted.includes(each))) change(id, false);
    for (const id of wanted.filter(each => !this.#vlans.includes(each))) change(id, true);
    this.#vlans = wanted;
  }

  startTransmit([ring]: readonly RingPlace[]): void {
    const { registers } = this;
    placeRing(registers, ['TDBAL', 'TDBAH', 'TDLEN', 'TDH'], ring!, 0);
    registers.write('TXDCTL', QUEUE_ENABLE | THRESHOLDS);
    registers.waitFor('TXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, 10);
    registers.write('TDT', 0);
  }

  /** Vector 0 is the queue's, vector 1 the mailbox's: there the physical function says that the link has changed. */
  startInterrupts(_queues: number, throttleUs: number): void {
    const { registers } = this;
    registers.write('IVAR', IVAR_VALID);
    registers.write('IVAR_MISC', IVAR_VALID | 1);
    registers.write('EITR', Math.min(EITR_MAX, throttleUs) << EITR_SHIFT);
    registers.write('EIAC', ALL_VECTORS);
    registers.write('EIAM', ALL_VECTORS);
    this.watchLink();
  }

  watchLink(): void {
    this.registers.write('EICR', 2);
    this.registers.write('EIMS', 2);
  }

  stop(): void {
    this.registers.write('EIMC', ALL_VECTORS);
    this.registers.write('RXDCTL', 0);
    this.registers.write('TXDCTL', 0);
    this.registers.set('CTRL', CTRL_RST);
    this.registers.pause(1);
  }

  tail(direction: 'rx' | 'tx'): number {
    return this.registers.at(direction === 'rx' ? 'RDT' : 'TDT');
  }

  interrupt(): InterruptPlace {
    return { mask: this.registers.at('EIMS'), cause: 1, forget: this.registers.at('EICR') };
  }

  #mustAsk(message: readonly number[], what: string, mend: string): void {
    if (this.#mailbox.ask(message, 1) === undefined) throw new PollmodeError('EUNSUPPORTED', `${this.#name}: its physical function refuses it ${what}: ${mend}.`);
  }
}
