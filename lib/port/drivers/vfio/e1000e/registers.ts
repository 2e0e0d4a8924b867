/** The 82574L's registers, as far as they are used: Intel 82574 GbE Controller Family Datasheet, rev. 3.4, section 10.2. */
import type { RegisterRow } from '../pci/registers.js';

/** Bytes of BAR 0 (10.1). */
export const BAR0_BYTES = 128 << 10;
/** From a register of queue 0 to the same of queue 1. */
export const QUEUE_STRIDE = 0x100;

export const REGISTERS = [
  // 10.2.2, general
  ['CTRL', 0x00000, 'RW', 'device control'],
  ['STATUS', 0x00008, 'RO', 'device status: link, speed, duplex'],
  ['EECD', 0x00010, 'RW', 'NVM control: whether the automatic read after a reset is over'],
  ['CTRL_EXT', 0x00018, 'RW', 'extended device control'],
  ['VET', 0x00038, 'RW', 'EtherType of VLAN tags'],
  // 10.2.4, interrupts
  ['ICR', 0x000c0, 'RW', 'interrupt causes; writing a 1 clears one'],
  ['IMS', 0x000d0, 'RW', 'writing a 1 lets a cause interrupt'],
  ['IMC', 0x000d8, 'WO', 'writing a 1 keeps it from that'],
  ['EIAC', 0x000dc, 'RW', 'causes that an MSI-X message clears, and masks'],
  ['IVAR', 0x000e4, 'RW', 'which cause goes to which MSI-X vector'],
  ['EITR', 0x000e8, 'RW', 'least time between two interrupts of a vector, in 256 ns; 5 of them, 4 bytes apart'],
  // 10.2.5, receive
  ['RCTL', 0x00100, 'RW', 'receive control'],
  ['RDBAL', 0x02800, 'RW', 'descriptor ring: address, low half'],
  ['RDBAH', 0x02804, 'RW', 'descriptor ring: address, high half'],
  ['RDLEN', 0x02808, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['RDH', 0x02810, 'RW', 'head: the next descriptor that the device fills'],
  ['RDT', 0x02818, 'RW', 'tail: one past the last descriptor that it may fill'],
  ['RXCSUM', 0x05000, 'RW', 'checksums; what stands in the descriptor, a checksum or an RSS hash'],
  ['RFCTL', 0x05008, 'RW', 'receive filters; extended descriptors'],
  ['MTA', 0x05200, 'RW', 'multicast table: 128 times 32 bits'],
  ['RAL', 0x05400, 'RW', 'receive address, low half; 16 of them, 8 bytes apart'],
  ['RAH', 0x05404, 'RW', 'receive address, high half, and whether it is valid'],
  ['VFTA', 0x05600, 'RW', 'VLAN table: 128 times 32 bits'],
  ['MRQC', 0x05818, 'RW', 'several receive queues: RSS, and over which fields'],
  ['RETA', 0x05c00, 'RW', 'redirection table: 128 bytes, the queue in bit 7'],
  ['RSSRK', 0x05c80, 'RW', 'RSS key: 40 bytes'],
  // 10.2.6, transmit
  ['TCTL', 0x00400, 'RW', 'transmit control'],
  ['TIPG', 0x00410, 'RW', 'gaps between frames'],
  ['TDBAL', 0x03800, 'RW', 'descriptor ring: address, low half'],
  ['TDBAH', 0x03804, 'RW', 'descriptor ring: address, high half'],
  ['TDLEN', 0x03808, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['TDH', 0x03810, 'RW', 'head: the next descriptor that the device sends'],
  ['TDT', 0x03818, 'RW', 'tail: one past the last descriptor that it may send'],
  ['TXDCTL', 0x03828, 'RW', 'when descriptors are fetched and written back'],
  // 10.2.7, statistics: intel/counters.ts
] as const satisfies readonly RegisterRow[];

export type RegisterName = (typeof REGISTERS)[number][0];

// CTRL (10.2.2.1)
export const CTRL_GIO_MASTER_DISABLE = 1 << 2;
export const CTRL_ASDE = 1 << 5;
export const CTRL_SLU = 1 << 6;
export const CTRL_FRCSPD = 1 << 11;
export const CTRL_FRCDPLX = 1 << 12;
export const CTRL_RST = 1 << 26;
export const CTRL_VME = 1 << 30;
// STATUS
export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
export const STATUS_SPEED_SHIFT = 6;
export const STATUS_GIO_MASTER = 1 << 19;
// EECD
export const EECD_AUTO_RD = 1 << 9;
// CTRL_EXT
export const CTRL_EXT_PBA_CLR = 0x80000000;
// ICR, IMS, IMC, EIAC (10.2.4.1)
export const CAUSE_LSC = 1 << 2;
export const CAUSE_RXQ0 = 1 << 20;
export const CAUSE_RXQ1 = 1 << 21;
export const CAUSE_OTHER = 1 << 24;
// RCTL (10.2.5.1)
export const RCTL_EN = 1 << 1;
export const RCTL_LPE = 1 << 5;
export const RCTL_VFE = 1 << 18;
/** KiB of a buffer, where it is not 2048 bytes. */
export const RCTL_FLXBUF_SHIFT = 27;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_BAM = 1 << 15;
export const RCTL_SECRC = 1 << 26;
// RFCTL
export const RFCTL_EXSTEN = 1 << 15;
// RXCSUM
export const RXCSUM_IPOFLD = 1 << 8;
export const RXCSUM_TUOFLD = 1 << 9;
export const RXCSUM_PCSD = 1 << 13;
// MRQC
export const MRQC_RSS = 1;
export const MRQC_TCP_IPV4 = 1 << 16;
export const MRQC_IPV4 = 1 << 17;
export const MRQC_IPV6 = 1 << 20;
/** Two bits: with extension headers looked through, and without. */
export const MRQC_TCP_IPV6 = (1 << 18) | (1 << 21);
// TCTL
export const TCTL_EN = 1 << 1;
export const TCTL_PSP = 1 << 3;
export const TCTL_CT_SHIFT = 4;
export const TCTL_COLD_SHIFT = 12;
// TXDCTL: write back each descriptor that reports (WTHRESH 1, in descriptors); bit 22 is to be 1.
export const TXDCTL_AT_ONCE = (1 << 24) | (1 << 22) | (1 << 16);
