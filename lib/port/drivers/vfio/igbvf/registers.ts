/** An 82576's virtual function's registers, as far as they are used (datasheet, 8.26: the virtual function's view). */
import type { RegisterRow } from '../pci/registers.js';
import type { Counter } from '../intel/chip.js';

/** Bytes of BAR 0. */
export const BAR0_BYTES = 16 << 10;

export const REGISTERS = [
  ['CTRL', 0x00000, 'RW', 'reset of this function'],
  ['STATUS', 0x00008, 'RO', 'link, speed, duplex: the physical function\'s'],
  ['EIMS', 0x01524, 'RW', 'writing a 1 lets a vector interrupt'],
  ['EIMC', 0x01528, 'WO', 'writing a 1 keeps it from that'],
  ['EIAC', 0x0152c, 'RW', 'vectors whose message clears their cause'],
  ['EIAM', 0x01530, 'RW', 'vectors whose message masks them'],
  ['EICR', 0x01580, 'RW', 'causes, one for each of 3 vectors; writing a 1 clears one'],
  ['EITR', 0x01680, 'RW', 'least time between two interrupts of a vector, in us, from bit 2 on'],
  ['IVAR', 0x01700, 'RW', 'which queue goes to which vector: receive, then transmit'],
  ['IVAR_MISC', 0x01740, 'RW', 'the mailbox\'s vector'],
  ['VMBMEM', 0x00800, 'RW', 'mailbox: 16 words'],
  ['V2PMAILBOX', 0x00c40, 'RW', 'the mailbox\'s state'],
  ['RDBAL', 0x02800, 'RW', 'descriptor ring: address, low half'],
  ['RDBAH', 0x02804, 'RW', 'descriptor ring: address, high half'],
  ['RDLEN', 0x02808, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['SRRCTL', 0x0280c, 'RW', 'size of buffers in KiB; kind of descriptor; whether a full queue drops'],
  ['RDH', 0x02810, 'RW', 'head: the next descriptor that the device fills'],
  ['RDT', 0x02818, 'RW', 'tail: one past the last descriptor that it may fill'],
  ['RXDCTL', 0x02828, 'RW', 'queue on; when descriptors are fetched and written back'],
  ['TDBAL', 0x03800, 'RW', 'descriptor ring: address, low half'],
  ['TDBAH', 0x03804, 'RW', 'descriptor ring: address, high half'],
  ['TDLEN', 0x03808, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['TDH', 0x03810, 'RW', 'head: the next descriptor that the device sends'],
  ['TDT', 0x03818, 'RW', 'tail: one past the last descriptor that it may send'],
  ['TXDCTL', 0x03828, 'RW', 'queue on; when descriptors are fetched and written back'],
] as const satisfies readonly RegisterRow[];

export type RegisterName = (typeof REGISTERS)[number][0];

/** They run on when they are read, from 2^32 - 1 to 0. */
export const COUNTERS: readonly Counter[] = [
  { at: 0x0f10, name: 'device_rx_packets', runs: true }, // VFGPRC
  { at: 0x0f14, name: 'device_tx_packets', runs: true }, // VFGPTC
  { at: 0x0f3c, name: 'device_rx_multicast', runs: true }, // VFMPRC
  { at: 0x0f40, name: 'device_rx_from_functions', runs: true }, // VFGPRLBC
  { at: 0x0f44, name: 'device_tx_to_functions', runs: true }, // VFGPTLBC
];

export const CTRL_RST = 1 << 26;
