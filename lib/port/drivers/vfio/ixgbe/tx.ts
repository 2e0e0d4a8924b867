/** Sending, in the order of the datasheet's "Transmit Initialization" (4.6.8). */
import type { RingPlace } from '../intel/chip.js';
import type { Registers } from '../pci/registers.js';
import {
  DCA_TXCTRL_WRITE_BACK_RELAXED, DMATXCTL_TE, DTXMXSZRQ_MOST, HLREG0_TXCRCEN, HLREG0_TXPADEN, PACKET_BUFFER_SHIFT, PACKET_BUFFERS, PATIENCE_MS,
  QUEUE_ENABLE, QUEUE_STRIDE, RTTDCS_ARBDIS, TX_PACKET_BUFFER_KIB, TXDCTL_THRESHOLDS, type RegisterName,
} from './registers.js';

const ARBITRATED_QUEUES = 128;
/** KiB of the longest frame, by which a packet buffer must not be full for another to be fetched. */
const LONGEST_KIB = 10;

/** Returns false for a queue that does not come on. Tails may be moved then. */
export function startTransmit(registers: Registers<RegisterName>, rings: readonly RingPlace[]): boolean {
  registers.set('HLREG0', HLREG0_TXCRCEN | HLREG0_TXPADEN);
  divide(registers);
  rings.forEach((ring, queue) => { placeQueue(registers, ring, queue * QUEUE_STRIDE); });
  registers.set('DMATXCTL', DMATXCTL_TE);
  return rings.every((_, queue) => {
    registers.set('TXDCTL', QUEUE_ENABLE, queue * QUEUE_STRIDE);
    return registers.waitFor('TXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, PATIENCE_MS, queue * QUEUE_STRIDE);
  });
}

/** 4.6.11.3.4, no traffic classes and no pools: one packet buffer, no credits; while the arbiter stands still (7.2.1.2.1). */
function divide(registers: Registers<RegisterName>): void {
  registers.set('RTTDCS', RTTDCS_ARBDIS);
  registers.write('DTXMXSZRQ', DTXMXSZRQ_MOST);
  for (let i = 0; i < PACKET_BUFFERS; i++) {
    registers.write('TXPBSIZE', i === 0 ? TX_PACKET_BUFFER_KIB << PACKET_BUFFER_SHIFT : 0, 4 * i);
    registers.write('TXPBTHRESH', i === 0 ? TX_PACKET_BUFFER_KIB - LONGEST_KIB : 0, 4 * i);
  }
  registers.write('MTQC', 0);
  for (let queue = 0; queue < ARBITRATED_QUEUES; queue++) {
    registers.write('RTTDQSEL', queue);
    registers.write('RTTDT1C', 0);
  }
  registers.clear('RTTDCS', RTTDCS_ARBDIS);
}

/** Descriptors are written back, in their order; no head is (TDWBAL is 0 after a reset). */
function placeQueue(registers: Registers<RegisterName>, { iova, bytes }: RingPlace, at: number): void {
  registers.write('TDBAL', iova % 2 ** 32, at);
  registers.write('TDBAH', Math.floor(iova / 2 ** 32), at);
  registers.write('TDLEN', bytes, at);
  registers.clear('DCA_TXCTRL', DCA_TXCTRL_WRITE_BACK_RELAXED, at);
  registers.write('TXDCTL', TXDCTL_THRESHOLDS, at);
}

/** 4.6.8.1: off. What they still had to send is not sent. */
export function disableTransmit(registers: Registers<RegisterName>, queues: number): void {
  for (let at = 0; at < queues * QUEUE_STRIDE; at += QUEUE_STRIDE) {
    if ((registers.read('TXDCTL', at) & QUEUE_ENABLE) !== 0) registers.clear('TXDCTL', QUEUE_ENABLE, at);
  }
}
