/** The 82576's registers, as far as they are used: Intel 82576 Gigabit Ethernet Controller Datasheet, chapter 8. Its virtual functions' view of them: igbvf/. */
import type { RegisterRow } from '../pci/registers.js';

/** Bytes of BAR 0 (8.1). */
export const BAR0_BYTES = 128 << 10;
/** From a register of one queue to the same of the next, of 16. */
export const QUEUE_STRIDE = 0x40;

export const REGISTERS = [
  // 8.2, general
  ['CTRL', 0x00000, 'RW', 'device control'],
  ['STATUS', 0x00008, 'RO', 'device status: link, speed, duplex, virtual functions'],
  ['CTRL_EXT', 0x00018, 'RW', 'extended device control; tells virtual functions that the reset is over'],
  ['MDIC', 0x00020, 'RW', 'access to the PHY\'s registers'],
  // 8.4, NVM
  ['EECD', 0x00010, 'RW', 'NVM control: whether the automatic read after a reset is over'],
  // 8.8, interrupts (EIAC 8.8.5, EIAM 8.8.6, IVAR 8.8.13); ICR, IMS and IMC by their aliases, which all of the family have and Intel's own drivers use
  ['ICR', 0x000c0, 'RW', 'causes that are no queue\'s; writing a 1 clears one'],
  ['IMS', 0x000d0, 'RW', 'writing a 1 lets such a cause be one of the extended ones'],
  ['IMC', 0x000d8, 'WO', 'writing a 1 keeps it from that'],
  ['GPIE', 0x01514, 'RW', 'MSI-X with a vector for each cause; automatic masks'],
  ['EIMS', 0x01524, 'RW', 'writing a 1 lets a vector interrupt'],
  ['EIMC', 0x01528, 'WO', 'writing a 1 keeps it from that'],
  ['EIAC', 0x0152c, 'RW', 'vectors whose message clears their cause'],
  ['EIAM', 0x01530, 'RW', 'vectors whose message masks them'],
  ['EICR', 0x01580, 'RW', 'extended causes, one for each vector; writing a 1 clears one'],
  ['EITR', 0x01680, 'RW', 'least time between two interrupts of a vector, in us, from bit 2 on; 25 of them, 4 bytes apart'],
  ['IVAR', 0x01700, 'RW', 'which queue goes to which vector: receive and transmit of queue n and n + 8; 8 of them, 4 bytes apart'],
  ['IVAR_MISC', 0x01740, 'RW', 'the same for the other causes'],
  // 8.10, receive (RCTL 8.10.1, SRRCTL 8.10.2, RXDCTL 8.10.10)
  ['RCTL', 0x00100, 'RW', 'receive control'],
  ['RXCSUM', 0x05000, 'RW', 'checksums; what stands in the descriptor, a checksum or an RSS hash'],
  ['RLPML', 0x05004, 'RW', 'bytes of the longest long packet, with FCS'],
  ['RFCTL', 0x05008, 'RW', 'receive filters'],
  ['RDBAL', 0x0c000, 'RW', 'descriptor ring: address, low half'],
  ['RDBAH', 0x0c004, 'RW', 'descriptor ring: address, high half'],
  ['RDLEN', 0x0c008, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['SRRCTL', 0x0c00c, 'RW', 'size of buffers in KiB; kind of descriptor; whether a full queue drops'],
  ['RDH', 0x0c010, 'RW', 'head: the next descriptor that the device fills'],
  ['RDT', 0x0c018, 'RW', 'tail: one past the last descriptor that it may fill'],
  ['RXDCTL', 0x0c028, 'RW', 'queue on; when descriptors are fetched and written back'],
  // 8.10, 8.11, filters
  ['MTA', 0x05200, 'RW', 'multicast table: 128 times 32 bits'],
  ['RAL', 0x05400, 'RW', 'receive address, low half; 16 of them, 8 bytes apart'],
  ['RAH', 0x05404, 'RW', 'receive address, high half, for which pools, and whether it is valid'],
  ['UTA', 0x0a000, 'WO', 'unicast table, as the multicast table: for pools that take what is nobody\'s; 128 times 32 bits'],
  ['VFTA', 0x05600, 'RW', 'VLAN table: 128 times 32 bits'],
  ['MRQC', 0x05818, 'RW', 'several receive queues: RSS, and over which fields; pools'],
  ['SAQF', 0x05980, 'RW', '5-tuple filters, source address: 8 of them, 4 bytes apart'],
  ['DAQF', 0x059a0, 'RW', '5-tuple filters, destination address: 8 of them, 4 bytes apart'],
  ['SPQF', 0x059c0, 'RW', '5-tuple filters, source port: 8 of them, 4 bytes apart'],
  ['FTQF', 0x059e0, 'RW', '5-tuple filters, protocol, what is compared, and the queue: 8 of them, 4 bytes apart'],
  ['IMIR', 0x05a80, 'RW', '5-tuple filters, destination port and priority; immediate interrupts: 8 of them, 4 bytes apart'],
  ['IMIREXT', 0x05aa0, 'RW', '5-tuple filters, size and TCP flags: 8 of them, 4 bytes apart'],
  ['ETQF', 0x05cb0, 'RW', 'EtherType filters and their queues: 8 of them, 4 bytes apart'],
  ['RETA', 0x05c00, 'RW', 'redirection table: 128 bytes'],
  ['RSSRK', 0x05c80, 'RW', 'RSS key: 40 bytes'],
  // 8.12, transmit (TXDCTL 8.12.13)
  ['TCTL', 0x00400, 'RW', 'transmit control'],
  ['TIPG', 0x00410, 'RW', 'gaps between frames'],
  ['TDBAL', 0x0e000, 'RW', 'descriptor ring: address, low half'],
  ['TDBAH', 0x0e004, 'RW', 'descriptor ring: address, high half'],
  ['TDLEN', 0x0e008, 'RW', 'descriptor ring: bytes, a multiple of 128'],
  ['TDH', 0x0e010, 'RW', 'head: the next descriptor that the device sends'],
  ['TDT', 0x0e018, 'RW', 'tail: one past the last descriptor that it may send'],
  ['TXDCTL', 0x0e028, 'RW', 'queue on; when descriptors are fetched and written back'],
  // 8.14, virtualization
  ['VMBMEM', 0x00800, 'RW', 'mailboxes: 16 words for each of 8 functions'],
  ['P2VMAILBOX', 0x00c00, 'RW', 'a function\'s mailbox, the physical function\'s side; 8 of them, 4 bytes apart'],
  ['MBVFICR', 0x00c80, 'RW', 'mailbox causes: a message from function n in bit n, an answer was taken in bit 16 + n; writing a 1 clears one'],
  ['MBVFIMR', 0x00c84, 'RW', 'functions whose mailbox may interrupt'],
  ['VFLRE', 0x00c88, 'RW', 'functions that have been reset; writing a 1 clears one'],
  ['VFRE', 0x00c8c, 'RW', 'functions that receive'],
  ['VFTE', 0x00c90, 'RW', 'functions that send'],
  ['QDE', 0x02408, 'RW', 'queues that drop when they have no descriptor'],
  ['DTXSWC', 0x03500, 'RW', 'switch: frames from function to function; what is checked of a sender'],
  ['VMVIR', 0x03700, 'RW', 'the VLAN tag that a function\'s frames get; 8 of them, 4 bytes apart'],
  ['VT_CTL', 0x0581c, 'RW', 'pools: the default one, and whether a frame goes to several'],
  ['VMOLR', 0x05ad0, 'RW', 'what a pool receives, and how; 8 of them, 4 bytes apart'],
  ['RPLOLR', 0x05af0, 'RW', 'how frames for several pools are received'],
  ['VLVF', 0x05d00, 'RW', 'which pools are in a VLAN; 32 of them, 4 bytes apart'],
] as const satisfies readonly RegisterRow[];

export type RegisterName = (typeof REGISTERS)[number][0];

// CTRL (8.2.1)
export const CTRL_GIO_MASTER_DISABLE = 1 << 2;
export const CTRL_SLU = 1 << 6;
export const CTRL_FRCSPD = 1 << 11;
export const CTRL_FRCDPLX = 1 << 12;
export const CTRL_RST = 1 << 26;
export const CTRL_VME = 1 << 30;
// STATUS
export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
export const STATUS_SPEED_SHIFT = 6;
export const STATUS_NUM_VFS_SHIFT = 14;
export const STATUS_NUM_VFS_MASK = 15;
export const STATUS_GIO_MASTER = 1 << 19;
// CTRL_EXT: the physical function is ready again
export const CTRL_EXT_PFRSTD = 1 << 14;
// EECD
export const EECD_AUTO_RD = 1 << 9;
// MDIC: data in bits 0 to 15, then the register and the PHY's address, then what to do
export const MDIC_REGISTER_SHIFT = 16;
export const MDIC_PHY_1 = 1 << 21;
export const MDIC_WRITE = 1 << 26;
export const MDIC_READY = 1 << 28;
/** Register 0 of any PHY (IEEE 802.3 section 22.2.4.1): negotiation on, and begun anew. */
export const PHY_CONTROL = 0;
export const PHY_NEGOTIATE = 0x1000 | 0x0200;
// GPIE (7.3.2.11)
export const GPIE_NSICR = 1 << 0;
export const GPIE_MSIX_MODE = 1 << 4;
export const GPIE_EIAME = 1 << 30;
export const GPIE_PBA = 0x80000000;
// ICR, IMS, IMC
export const CAUSE_LSC = 1 << 2;
export const IVAR_VALID = 0x80;
/** EITR: us stand from bit 2 on, 13 bits. */
export const EITR_SHIFT = 2;
export const EITR_MAX = 0x1fff;
// RCTL (8.10.1)
export const RCTL_EN = 1 << 1;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_LPE = 1 << 5;
export const RCTL_BAM = 1 << 15;
export const RCTL_VFE = 1 << 18;
export const RCTL_SECRC = 1 << 26;
// RXCSUM
export const RXCSUM_IPOFLD = 1 << 8;
export const RXCSUM_TUOFLD = 1 << 9;
export const RXCSUM_PCSD = 1 << 13;
// SRRCTL (8.10.2): advanced descriptors with one buffer
export const SRRCTL_ONE_BUFFER = 1 << 25;
export const SRRCTL_DROP_EN = 0x80000000;
/** RXDCTL (8.10.10), TXDCTL (8.12.13): the queue is on; fetch below 8 in hand, from 8 on at once; write back each one (PTHRESH, HTHRESH, WTHRESH). */
export const QUEUE_ENABLE = 1 << 25;
export const THRESHOLDS = 8 | (8 << 8) | (1 << 16);
// RAH
export const RAH_AV = 0x80000000;
export const RAH_POOL_SHIFT = 18;
// MRQC: RSS alone, pools alone; and fields
export const MRQC_RSS = 2;
export const MRQC_POOLS = 3;
export const MRQC_TCP_IPV4 = 1 << 16;
export const MRQC_IPV4 = 1 << 17;
export const MRQC_IPV6 = 1 << 20;
/** Two bits: with extension headers looked through, and without. */
export const MRQC_TCP_IPV6 = (1 << 18) | (1 << 21);
export const MRQC_UDP_IPV4 = 1 << 22;
export const MRQC_UDP_IPV6 = 1 << 23;
// ETQF (8.11): the type below, its queue in three bits
export const ETQF_COUNT = 8;
export const ETQF_QUEUE_SHIFT = 16;
/** The last queue that its filters of either kind can name. */
export const ETQF_LAST_QUEUE = 7;
export const ETQF_ENABLE = 1 << 26;
export const ETQF_QUEUE_ENABLE = 0x80000000;
// FTQF (8.11): the protocol below; for all pools; bits that say what is not compared
export const FTQF_COUNT = 8;
export const FTQF_QUEUE_ENABLE = 1 << 8;
export const FTQF_IGNORE_POOL = 1 << 15;
export const FTQF_QUEUE_SHIFT = 16;
export const FTQF_IGNORE_PROTOCOL = 1 << 28;
export const FTQF_IGNORE_SOURCE = 1 << 29;
export const FTQF_IGNORE_DESTINATION = 1 << 30;
export const FTQF_IGNORE_SOURCE_PORT = 0x80000000;
// IMIR (8.11.1): the destination port below, and whether it is not compared
export const IMIR_IGNORE_PORT = 1 << 17;
export const IMIR_PRIORITY_SHIFT = 29;
// IMIREXT (8.11.2): no look at the size, or at TCP's flags
export const IMIREXT_SIZE_BYPASS = 1 << 12;
export const IMIREXT_FLAGS_BYPASS = 1 << 19;
// VT_CTL (8.14)
export const VT_CTL_DEFAULT_POOL_SHIFT = 7;
export const VT_CTL_REPLICATE = 1 << 30;
// VMOLR: bytes of the longest frame (14 bits), and what else
export const VMOLR_LONG = 1 << 16;
export const VMOLR_UNTAGGED = 1 << 24;
/** Multicast, and unicast, that are in the table. */
export const VMOLR_MULTICAST_TABLE = 1 << 25;
export const VMOLR_UNICAST_TABLE = 1 << 26;
export const VMOLR_BROADCAST = 1 << 27;
export const VMOLR_ALL_MULTICAST = 1 << 28;
export const VMOLR_STRIP_VLAN = 1 << 30;
export const VMOLR_STRIP_FCS = 0x80000000;
// VMVIR: this tag, always
export const VMVIR_ALWAYS = 1 << 30;
// DTXSWC: a bit for each function: is its address, its VLAN, its own? And frames between functions
export const DTXSWC_VLAN_SHIFT = 8;
export const DTXSWC_LOOPBACK = 0x80000000;
// VLVF
export const VLVF_POOL_SHIFT = 12;
export const VLVF_ENABLE = 0x80000000;
export const VLVF_COUNT = 32;
// TCTL
export const TCTL_EN = 1 << 1;
export const TCTL_PSP = 1 << 3;
export const TCTL_CT_SHIFT = 4;
export const TCTL_COLD_SHIFT = 12;
