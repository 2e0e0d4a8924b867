/**
 * The 82599's registers, as far as they are used: Intel 82599 10 GbE Controller Datasheet (document 331520), section
 * 8.2.3; before each row or group its subsection. Arrays stand 4 bytes apart where nothing else is said; those of a queue
 * QUEUE_STRIDE, and only the first 64 queues are here. Many have a second address from the 82598; these are the 82599's own.
 */
import type { RegisterRow } from '../pci/registers.js';

/** Bytes of BAR 0 that are registers (8.1: 128 KiB, and the flash behind them). */
export const BAR0_BYTES = 128 << 10;
/** From a register of one queue to the same of the next. */
export const QUEUE_STRIDE = 0x40;
/** How long the device is waited for where the datasheet names no time; a live one answers within microseconds. */
export const PATIENCE_MS = 1000;
/** Queues whose registers stand at the first of their two places. */
export const QUEUES = 64;
/** Never on: what filters lead there is dropped. */
export const DROP_QUEUE = QUEUES - 1;

export const REGISTERS = [
  // 8.2.3.1, general
  ['CTRL', 0x00000, 'RW', 'device control: resets'],
  ['STATUS', 0x00008, 'RO', 'device status: which port, transfers under way'],
  ['CTRL_EXT', 0x00018, 'RW', 'extended device control'],
  // 8.2.3.2, EEPROM
  ['EEC', 0x10010, 'RW', 'EEPROM control: whether the automatic read after a reset is over'],
  ['EEMNGCTL', 0x10110, 'RW', 'manageability EEPROM control: whether the ports are configured'],
  // 8.2.3.3, flow control
  ['FCTTV', 0x03200, 'RW', 'time that a pause frame asks for; 4 of them'],
  ['FCRTL', 0x03220, 'RW', 'fill of a packet buffer at which sending may go on; 8 of them'],
  ['FCRTH', 0x03260, 'RW', 'fill of a packet buffer at which the other end is to pause; 8 of them'],
  ['FCRTV', 0x032a0, 'RW', 'when a pause is asked for again'],
  ['FCCFG', 0x03d00, 'RW', 'pause frames are sent'],
  // 8.2.3.4, PCIe
  ['GCR_EXT', 0x11050, 'RW', 'extended PCIe control: empties internal buffers'],
  // 8.2.3.5, interrupts
  ['EICR', 0x00800, 'RW', 'causes: queues in bits 0 to 15, others above; writing a 1 clears one'],
  ['EIAC', 0x00810, 'RW', 'causes that an MSI-X message clears'],
  ['EITR', 0x00820, 'RW', 'least time between two interrupts of a vector, in 2 us, from bit 3 on; the first 24 of 129'],
  ['EIMS', 0x00880, 'RW', 'writing a 1 lets a cause interrupt'],
  ['EIMC', 0x00888, 'WO', 'writing a 1 keeps it from that'],
  ['EIAM', 0x00890, 'RW', 'causes that an MSI-X message masks'],
  ['GPIE', 0x00898, 'RW', 'MSI-X with several vectors; automatic masks'],
  ['IVAR', 0x00900, 'RW', 'vectors of two queues: receive and transmit of the one, of the other; 64 of them'],
  ['IVAR_MISC', 0x00a00, 'RW', 'vectors of the TCP timer and of the other causes'],
  ['EIMCN', 0x00ab0, 'WO', 'EIMC of the causes 32 and up; 2 of them'],
  // 8.2.3.7, receive filters
  ['RXCSUM', 0x05000, 'RW', 'what stands in the descriptor, a checksum or an RSS hash'],
  ['RFCTL', 0x05008, 'RW', 'receive filters: coalescing off'],
  ['FCTRL', 0x05080, 'RW', 'whose frames are taken'],
  ['VLNCTRL', 0x05088, 'RW', 'VLAN filter on; EtherType of tags'],
  ['MCSTCTRL', 0x05090, 'RW', 'multicast table on; which bits of an address it goes by'],
  ['MTA', 0x05200, 'RW', 'multicast table: 128 of them'],
  ['VFTA', 0x0a000, 'RW', 'VLAN table: 128 of them'],
  ['RAL', 0x0a200, 'RW', 'receive address, low half; 128 of them, 8 bytes apart'],
  ['RAH', 0x0a204, 'RW', 'receive address, high half, and whether it is valid'],
  ['MPSAR', 0x0a600, 'RW', 'pools that an address is of: two for each of 128'],
  ['ETQF', 0x05128, 'RW', 'EtherType filters: 8 of them'],
  ['SAQF', 0x0e000, 'RW', '5-tuple filters, source address: 128 of them'],
  ['DAQF', 0x0e200, 'RW', '5-tuple filters, destination address: 128 of them'],
  ['SDPQF', 0x0e400, 'RW', '5-tuple filters, ports: 128 of them'],
  ['FTQF', 0x0e600, 'RW', '5-tuple filters, protocol, and what is compared: 128 of them'],
  ['L34TIMIR', 0x0e800, 'RW', '5-tuple filters, the queue: 128 of them (8.2.3.5)'],
  ['ETQS', 0x0ec00, 'RW', 'EtherType filters, the queue: 8 of them'],
  ['RETA', 0x0eb00, 'RW', 'redirection table: 128 bytes, a queue in the low 4 bits of each'],
  ['RSSRK', 0x0eb80, 'RW', 'RSS key: 40 bytes'],
  ['MRQC', 0x0ec80, 'RW', 'several receive queues: RSS, and over which fields'],
  // 8.2.3.8, receive
  ['RDBAL', 0x01000, 'RW', 'descriptor ring: address, low half'],
  ['RDBAH', 0x01004, 'RW', 'descriptor ring: address, high half'],
  ['RDLEN', 0x01008, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['RDH', 0x01010, 'RO', 'head: the next descriptor that the device fills'],
  ['SRRCTL', 0x01014, 'RW', 'size of buffers in KiB; kind of descriptor; whether a full queue drops'],
  ['RDT', 0x01018, 'RW', 'tail: one past the last descriptor that it may fill'],
  ['RXDCTL', 0x01028, 'RW', 'queue on; VLAN tags taken off'],
  ['RDRXCTL', 0x02f00, 'RW', 'receive DMA: FCS cut off; whether its start is over'],
  ['RXCTRL', 0x03000, 'RW', 'receiving on'],
  ['RXPBSIZE', 0x03c00, 'RW', 'packet buffers: KiB from bit 10 on; 8 of them'],
  // 8.2.3.9, transmit
  ['DMATXCTL', 0x04a80, 'RW', 'sending on'],
  ['TXPBTHRESH', 0x04950, 'RW', 'KiB in a packet buffer above which no frame is fetched; 8 of them'],
  ['TDBAL', 0x06000, 'RW', 'descriptor ring: address, low half'],
  ['TDBAH', 0x06004, 'RW', 'descriptor ring: address, high half'],
  ['TDLEN', 0x06008, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['TDH', 0x06010, 'RO', 'head: the next descriptor that the device sends'],
  ['TDT', 0x06018, 'RW', 'tail: one past the last descriptor that it may send'],
  ['TXDCTL', 0x06028, 'RW', 'queue on; when descriptors are fetched and written back'],
  ['DTXMXSZRQ', 0x08100, 'RW', 'bytes that are asked for at once, in 256'],
  ['MTQC', 0x08120, 'RW', 'how transmit queues are divided: traffic classes, pools'],
  ['TXPBSIZE', 0x0cc00, 'RW', 'packet buffers: KiB from bit 10 on; 8 of them'],
  // 8.2.3.10, arbiters
  ['RTTDCS', 0x04900, 'RW', 'transmit descriptor arbiter'],
  ['RTTDQSEL', 0x04904, 'RW', 'the queue that RTTDT1C is of'],
  ['RTTDT1C', 0x04908, 'RW', 'credit of a transmit queue'],
  // 8.2.3.11, direct cache access
  ['DCA_RXCTRL', 0x0100c, 'RW', 'order of a receive queue\'s transfers'],
  ['DCA_TXCTRL', 0x0600c, 'RW', 'order of a transmit queue\'s transfers'],
  // 8.2.3.12, security engine, which everything that is received goes through
  ['SECRXCTRL', 0x08d00, 'RW', 'holds received frames back'],
  ['SECRXSTAT', 0x08d04, 'RO', 'nothing is on its way'],
  // 8.2.3.22, MAC
  ['HLREG0', 0x04240, 'RW', 'MAC: FCS, padding, long frames, loopback'],
  ['MAXFRS', 0x04268, 'RW', 'bytes of the longest long frame, with FCS, without a VLAN tag, from bit 16 on'],
  ['AUTOC', 0x042a0, 'RW', 'link: mode and negotiation'],
  ['LINKS', 0x042a4, 'RO', 'link: up, speed'],
  // 8.2.3.27, virtualization
  ['PFVLVF', 0x0f100, 'RW', 'VLANs of pools: 64 of them'],
  ['PFVLVFB', 0x0f200, 'RW', 'pools that are in such a VLAN: two for each'],
  ['PFUTA', 0x0f400, 'RW', 'unicast table, of pools: 128 of them'],
] as const satisfies readonly RegisterRow[];

export type RegisterName = (typeof REGISTERS)[number][0];

// CTRL (8.2.3.1.1); both resets clear themselves
export const CTRL_PCIE_MASTER_DISABLE = 1 << 2;
export const CTRL_LRST = 1 << 3;
export const CTRL_RST = 1 << 26;
// STATUS (8.2.3.1.2)
export const STATUS_LAN_ID_SHIFT = 2;
export const STATUS_PCIE_MASTER = 1 << 19;
// CTRL_EXT (8.2.3.1.3): no snoop off; firmware knows that there is a driver
export const CTRL_EXT_NS_DIS = 1 << 16;
export const CTRL_EXT_DRV_LOAD = 1 << 28;
// EEC (8.2.3.2.1), EEMNGCTL: of port 0, the other's is the next bit
export const EEC_AUTO_RD = 1 << 9;
export const EEMNGCTL_CFG_DONE0_SHIFT = 18;
// GCR_EXT (8.2.3.4.12)
export const GCR_EXT_BUFFERS_CLEAR_FUNC = 1 << 30;
// EICR, EIMS, EIMC (8.2.3.5.1, 3, 4): bit 31 of EIMC is reserved
export const CAUSE_LSC = 1 << 20;
export const CAUSES = 0x7fffffff;
/** EITR (8.2.3.5.12): units of 2 us at 10 Gb/s and 1 Gb/s, 9 bits. */
export const EITR_SHIFT = 3;
export const EITR_MAX = 0x1ff;
// IVAR (8.2.3.5.16): a byte for each cause
export const IVAR_VALID = 0x80;
// GPIE (8.2.3.5.18)
export const GPIE_MULTIPLE_MSIX = 1 << 4;
export const GPIE_OCD = 1 << 5;
export const GPIE_EIAME = 1 << 30;
export const GPIE_PBA_SUPPORT = 0x80000000;
// FCTRL (8.2.3.7.1)
export const FCTRL_MPE = 1 << 8;
export const FCTRL_UPE = 1 << 9;
export const FCTRL_BAM = 1 << 10;
// VLNCTRL (8.2.3.7.2)
export const VLNCTRL_VFE = 1 << 30;
// MCSTCTRL (8.2.3.7.3): the table on; it goes by bits 47 to 36 of an address (MO 00b)
export const MCSTCTRL_MFE = 1 << 2;
// RXCSUM (8.2.3.7.5): the RSS hash in descriptors, not a fragment's checksum
export const RXCSUM_PCSD = 1 << 13;
// RFCTL (8.2.3.7.6)
export const RFCTL_RSC_DIS = 1 << 5;
// RAH (8.2.3.7.9)
export const ADDRESSES = 128;
// FTQF (8.2.3.7.19)
export const FTQF_COUNT = 128;
export const FTQF_PRIORITY_SHIFT = 2;
export const FTQF_IGNORE_SOURCE = 1 << 25;
export const FTQF_IGNORE_DESTINATION = 1 << 26;
export const FTQF_IGNORE_SOURCE_PORT = 1 << 27;
export const FTQF_IGNORE_DESTINATION_PORT = 1 << 28;
export const FTQF_IGNORE_PROTOCOL = 1 << 29;
export const FTQF_IGNORE_POOL = 1 << 30;
export const FTQF_QUEUE_ENABLE = 0x80000000;
// SDPQF (8.2.3.7.18): the source's port below
export const SDPQF_DESTINATION_SHIFT = 16;
// L34TIMIR (8.2.3.5): no look at the size; bits 13 to 19 are 1000000b
export const L34TIMIR_SIZE_BYPASS = 1 << 12;
export const L34TIMIR_RESERVED = 1 << 19;
export const L34TIMIR_QUEUE_SHIFT = 21;
// ETQF (8.2.3.7.21), ETQS (8.2.3.7.22)
export const ETQF_COUNT = 8;
export const ETQF_ENABLE = 0x80000000;
export const ETQS_QUEUE_SHIFT = 16;
export const ETQS_QUEUE_ENABLE = 0x80000000;
// MRQC (8.2.3.7.12): RSS alone, in MRQE; and fields
export const MRQC_RSS = 1;
export const MRQC_TCP_IPV4 = 1 << 16;
export const MRQC_IPV4 = 1 << 17;
export const MRQC_IPV6 = 1 << 20;
export const MRQC_TCP_IPV6 = 1 << 21;
export const MRQC_UDP_IPV4 = 1 << 22;
export const MRQC_UDP_IPV6 = 1 << 23;
// RXDCTL (8.2.3.8.6), TXDCTL (8.2.3.9.10)
export const QUEUE_ENABLE = 1 << 25;
export const RXDCTL_VME = 1 << 30;
// SRRCTL (8.2.3.8.7): advanced descriptors with one buffer; the header's size, of no meaning there, as after a reset
export const SRRCTL_ONE_BUFFER = 1 << 25;
export const SRRCTL_BSIZEHEADER = 4 << 8;
export const SRRCTL_DROP_EN = 1 << 28;
// RDRXCTL (8.2.3.8.8)
export const RDRXCTL_CRC_STRIP = 1 << 1;
export const RDRXCTL_DMAIDONE = 1 << 3;
export const RDRXCTL_RSCFRSTSIZE = 0x1f << 17;
/** RSCACKC and FCOE_WRFIX: "software should set" both. */
export const RDRXCTL_SHOULD = (1 << 25) | (1 << 26);
// RXPBSIZE (8.2.3.8.9), TXPBSIZE (8.2.3.9.13)
export const PACKET_BUFFERS = 8;
export const PACKET_BUFFER_SHIFT = 10;
export const RX_PACKET_BUFFER_KIB = 512;
export const TX_PACKET_BUFFER_KIB = 160;
// RXCTRL (8.2.3.8.10)
export const RXCTRL_RXEN = 1 << 0;
// DMATXCTL (8.2.3.9.2)
export const DMATXCTL_TE = 1 << 0;
/**
 * TXDCTL (8.2.3.9.10, 7.2.3.4): fetch below 32 in hand, from 8 on at once (PTHRESH, HTHRESH); WTHRESH 0, so that what has
 * RS is written back at once.
 */
export const TXDCTL_THRESHOLDS = 32 | (8 << 8);
// DTXMXSZRQ (8.2.3.9.1): 1 MB, the most
export const DTXMXSZRQ_MOST = 0xfff;
// RTTDCS (8.2.3.10.2)
export const RTTDCS_ARBDIS = 1 << 6;
// DCA_RXCTRL (8.2.3.11.1): 1 after a reset, "must be set to 0"; DCA_TXCTRL (8.2.3.11.2): descriptors written back in any order
export const DCA_RXCTRL_RESERVED = 1 << 12;
export const DCA_TXCTRL_WRITE_BACK_RELAXED = 1 << 11;
// SECRXCTRL (8.2.3.12.5), SECRXSTAT (8.2.3.12.6)
export const SECRXCTRL_RX_DIS = 1 << 1;
export const SECRXSTAT_SECRX_RDY = 1 << 0;
// HLREG0 (8.2.3.22.8)
export const HLREG0_TXCRCEN = 1 << 0;
export const HLREG0_RXCRCSTRP = 1 << 1;
export const HLREG0_JUMBOEN = 1 << 2;
export const HLREG0_TXPADEN = 1 << 10;
export const HLREG0_LPBK = 1 << 15;
// MAXFRS (8.2.3.22.13)
export const MAXFRS_SHIFT = 16;
// AUTOC (8.2.3.22.19)
export const AUTOC_RESTART_AN = 1 << 12;
// LINKS (8.2.3.22.20): as it is now; bit 7 remembers, and is reserved by the specification update (331521, change 12)
export const LINKS_UP = 1 << 30;
export const LINKS_SPEED_SHIFT = 28;
