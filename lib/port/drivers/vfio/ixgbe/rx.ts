/** Receiving, in the order of the datasheet's "Receive Initialization" (4.6.7). */
import type { ReceivePlan, RingPlace } from '../intel/chip.js';
import { TABLE_WORDS } from '../intel/filters.js';
import type { IntelRss } from '../intel/rss.js';
import type { Registers } from '../pci/registers.js';
import {
  ADDRESSES, CTRL_EXT_NS_DIS, DCA_RXCTRL_RESERVED, DROP_QUEUE, FCTRL_BAM, FCTRL_MPE, FCTRL_UPE, FTQF_COUNT, FTQF_QUEUE_ENABLE, HLREG0_JUMBOEN,
  HLREG0_RXCRCSTRP, MAXFRS_SHIFT, MCSTCTRL_MFE, PACKET_BUFFER_SHIFT, PACKET_BUFFERS, PATIENCE_MS, QUEUE_ENABLE, QUEUE_STRIDE, RDRXCTL_CRC_STRIP,
  RDRXCTL_RSCFRSTSIZE, RDRXCTL_SHOULD, RFCTL_RSC_DIS, RX_PACKET_BUFFER_KIB, RXCSUM_PCSD, RXCTRL_RXEN, RXDCTL_VME, SECRXCTRL_RX_DIS,
  SECRXSTAT_SECRX_RDY, SRRCTL_BSIZEHEADER, SRRCTL_DROP_EN, SRRCTL_ONE_BUFFER, VLNCTRL_VFE, type RegisterName,
} from './registers.js';

const USUAL_FRAME = 1518;
const POOL_VLANS = 64;

/** All but the tails, and the receiver itself. Returns false for a queue that does not come on. */
export function prepareReceive(registers: Registers<RegisterName>, rings: readonly RingPlace[], plan: ReceivePlan, rss: IntelRss | undefined): boolean {
  clearTables(registers);
  filterAndOffload(registers, plan.promiscuous);
  packetBuffers(registers);
  if (rss === undefined) registers.write('MRQC', 0);
  else rss.write();
  frameSize(registers, plan.longest);
  dropQueue(registers);
  return rings.every((ring, queue) => prepareQueue(registers, ring, queue, plan, rings.length > 1));
}

/**
 * Tables hold what was in them, or nothing that is known: all are zeroed, and address 0, which the reset has loaded from
 * the EEPROM, is pool 0's. Not touched: flexible filters (FHFT), which wake-up alone uses and which are off; ECC reporting
 * (RXFECCERR0), which would be for their memory too.
 */
function clearTables(registers: Registers<RegisterName>): void {
  const zero = (name: RegisterName, count: number, from = 0, stride = 4): void => {
    for (let i = from; i < count; i++) registers.write(name, 0, stride * i);
  };
  zero('RAH', ADDRESSES, 1, 8);
  zero('PFUTA', TABLE_WORDS);
  zero('VFTA', TABLE_WORDS);
  zero('PFVLVF', POOL_VLANS);
  zero('MPSAR', 2 * ADDRESSES, 1);
  registers.write('MPSAR', 1);
  zero('PFVLVFB', 2 * POOL_VLANS);
  zero('MTA', TABLE_WORDS);
}

/**
 * 4.6.7 and 4.6.10.1.1. A checksum's result is always in the descriptor. The FCS is cut off, in the MAC and the DMA alike;
 * frames are not coalesced (RSC), whatever the queues say. EtherType and SYN filters (ETQF, SYNQF) are off after a reset.
 */
function filterAndOffload(registers: Registers<RegisterName>, promiscuous: boolean): void {
  registers.write('FCTRL', filterBits(promiscuous));
  registers.clear('VLNCTRL', VLNCTRL_VFE);
  registers.write('MCSTCTRL', MCSTCTRL_MFE);
  registers.write('RXCSUM', RXCSUM_PCSD);
  registers.set('RFCTL', RFCTL_RSC_DIS);
  for (let i = 0; i < FTQF_COUNT; i++) registers.clear('FTQF', FTQF_QUEUE_ENABLE, 4 * i);
  registers.write('RDRXCTL', (registers.read('RDRXCTL') & ~RDRXCTL_RSCFRSTSIZE) | RDRXCTL_CRC_STRIP | RDRXCTL_SHOULD);
  registers.set('HLREG0', HLREG0_RXCRCSTRP);
}

/** 4.6.11.3.4, no traffic classes and no pools: one packet buffer. PFQDE, RTRUP2TC and MFLCN are as the reset leaves them. */
function packetBuffers(registers: Registers<RegisterName>): void {
  for (let i = 0; i < PACKET_BUFFERS; i++) registers.write('RXPBSIZE', i === 0 ? RX_PACKET_BUFFER_KIB << PACKET_BUFFER_SHIFT : 0, 4 * i);
}

/**
 * 8.2.3.22.13. Without long frames the MAC drops what is longer than 1518 bytes with FCS, 1522 with a VLAN tag, so it never
 * writes more than that, whatever the buffers hold beyond. MFS counts the FCS and not the tag: as many as `longest`, which
 * counts the tag and not the FCS.
 */
function frameSize(registers: Registers<RegisterName>, longest: number): void {
  if (longest > USUAL_FRAME) {
    registers.write('MAXFRS', longest << MAXFRS_SHIFT);
    registers.set('HLREG0', HLREG0_JUMBOEN);
  } else {
    registers.clear('HLREG0', HLREG0_JUMBOEN);
  }
}

/** 4.6.7: "packets directed to a disabled queue are dropped"; and where one has no descriptors, so says SRRCTL (8.2.3.8.7). */
function dropQueue(registers: Registers<RegisterName>): void {
  registers.write('SRRCTL', SRRCTL_ONE_BUFFER | SRRCTL_BSIZEHEADER | 2 | SRRCTL_DROP_EN, DROP_QUEUE * QUEUE_STRIDE);
}

/** Heads are the device's (RO), and 0 after a reset. With several queues, one that is full does not stop the others. */
function prepareQueue(registers: Registers<RegisterName>, { iova, bytes }: RingPlace, queue: number, { segment, longest, vlanStrip }: ReceivePlan, drops: boolean): boolean {
  const at = queue * QUEUE_STRIDE;
  registers.write('RDBAL', iova % 2 ** 32, at);
  registers.write('RDBAH', Math.floor(iova / 2 ** 32), at);
  registers.write('RDLEN', bytes, at);
  registers.write('SRRCTL', SRRCTL_ONE_BUFFER | SRRCTL_BSIZEHEADER | (longest > USUAL_FRAME ? segment >>> 10 : 2) | (drops ? SRRCTL_DROP_EN : 0), at);
  registers.clear('DCA_RXCTRL', DCA_RXCTRL_RESERVED, at);
  registers.write('RXDCTL', QUEUE_ENABLE | (vlanStrip ? RXDCTL_VME : 0), at);
  return registers.waitFor('RXDCTL', QUEUE_ENABLE, QUEUE_ENABLE, PATIENCE_MS, at);
}

/** The last steps of 4.6.7: the receiver on, while what comes before it stands still. Returns false when that does not come to rest. */
export function enableReceiver(registers: Registers<RegisterName>): boolean {
  registers.set('SECRXCTRL', SECRXCTRL_RX_DIS);
  const rests = registers.waitFor('SECRXSTAT', SECRXSTAT_SECRX_RDY, SECRXSTAT_SECRX_RDY, PATIENCE_MS);
  registers.write('RXCTRL', RXCTRL_RXEN);
  registers.clear('SECRXCTRL', SECRXCTRL_RX_DIS);
  registers.set('CTRL_EXT', CTRL_EXT_NS_DIS);
  return rests;
}

/** 8.2.3.7.1: the receiver is off while FCTRL changes. */
export function setPromiscuous(registers: Registers<RegisterName>, on: boolean): void {
  registers.clear('RXCTRL', RXCTRL_RXEN);
  registers.write('FCTRL', filterBits(on));
  enableReceiver(registers);
}

function filterBits(promiscuous: boolean): number {
  return FCTRL_BAM | (promiscuous ? FCTRL_UPE | FCTRL_MPE : 0);
}

/** 4.6.7.1.2: off, once nothing of theirs is on its way any more. */
export function disableReceiver(registers: Registers<RegisterName>, queues: number): void {
  registers.clear('RXCTRL', RXCTRL_RXEN);
  for (let at = 0; at < queues * QUEUE_STRIDE; at += QUEUE_STRIDE) {
    if ((registers.read('RXDCTL', at) & QUEUE_ENABLE) === 0) continue;
    registers.clear('RXDCTL', QUEUE_ENABLE, at);
    registers.waitFor('RXDCTL', QUEUE_ENABLE, 0, 10, at);
  }
}
