/**
 * Capture files: the numbers of both formats.
 *
 * Sources: draft-ietf-opsawg-pcap (classic pcap), draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcaplinktype. In the first
 * one's list "File Endian Information" the octets of the two byte orders are exchanged; its section 4 and every file
 * that there is have the number in the writer's byte order.
 */
/** Classic pcap, section 4: the magic number says byte order and unit of the times. */
export const PCAP_MAGIC_MICROSECONDS = 0xa1b2c3d4;
export const PCAP_MAGIC_NANOSECONDS = 0xa1b23c4d;
export const PCAP_VERSION_MAJOR = 2;
export const PCAP_VERSION_MINOR = 4;
export const PCAP_FILE_HEADER = 24;
export const PCAP_RECORD_HEADER = 16;

/** The link type field's other bits: FCS length in 16-bit words (4 bits), reserved, whether that length is there, reserved. */
export const PCAP_LINK_TYPE_MASK = 0xffff;
export const PCAP_FCS_PRESENT = 0x04000000;
export const PCAP_FCS_SHIFT = 28;
export const PCAP_LINK_RESERVED = 0x0bff0000;

/** The longest frame that tcpdump, Wireshark and this reader believe; also what they write for "no limit". */
export const MAX_SNAPLEN = 262144;

/** pcapng, section 4: block types. The section header's reads the same in both byte orders. */
export const NG_SECTION = 0x0a0d0d0a;
export const NG_INTERFACE = 1;
/** Obsolete (appendix A), and still found. */
export const NG_PACKET = 2;
export const NG_SIMPLE_PACKET = 3;
export const NG_ENHANCED_PACKET = 6;
export const NG_BYTE_ORDER = 0x1a2b3c4d;

/** Bytes of each block before its options or data, type and length included. */
export const NG_SECTION_FIXED = 24;
export const NG_INTERFACE_FIXED = 16;
export const NG_PACKET_FIXED = 28;
export const NG_SIMPLE_FIXED = 12;
/** The length once more, at a block's end. */
export const NG_TRAILER = 4;
export const NG_SMALLEST_BLOCK = 12;

/** Options: of every block, of the interface description, of a packet. */
export const OPTION_END = 0;
export const IF_TSRESOL = 9;
export const IF_FCSLEN = 13;
export const IF_TSOFFSET = 14;
export const EPB_FLAGS = 2;
/** epb_flags bits 5 to 8: octets of FCS, 0 for "see if_fcslen". */
export const EPB_FCS_SHIFT = 5;
export const EPB_FCS_MASK = 15;

export const LINKTYPE_ETHERNET = 1;

/** Names for refusals: the link types that people have. */
const linkTypes = new Map<number, string>([
  [0, 'NULL, BSD loopback'], [1, 'ETHERNET'], [6, 'IEEE802_5, token ring'], [8, 'SLIP'], [9, 'PPP'], [10, 'FDDI'],
  [50, 'PPP_HDLC'], [51, 'PPP_ETHER'], [100, 'ATM_RFC1483'], [101, 'RAW, bare IP'], [104, 'C_HDLC'], [105, 'IEEE802_11, wireless LAN'],
  [107, 'FRELAY'], [108, 'LOOP, OpenBSD loopback'], [109, 'ENC'], [113, 'LINUX_SLL, "any" interface'], [117, 'PFLOG'],
  [119, 'IEEE802_11_PRISM'], [122, 'IP_OVER_FC'], [127, 'IEEE802_11_RADIOTAP'], [140, 'MTP2'], [141, 'MTP3'], [143, 'DOCSIS'],
  [163, 'IEEE802_11_AVS'], [187, 'BLUETOOTH_HCI_H4'], [189, 'USB_LINUX'], [192, 'PPI'], [195, 'IEEE802_15_4_WITHFCS'], [197, 'ERF'],
  [201, 'BLUETOOTH_HCI_H4_WITH_PHDR'], [219, 'MPLS'], [220, 'USB_LINUX_MMAPPED'], [227, 'CAN_SOCKETCAN'], [228, 'IPV4, bare IP'],
  [229, 'IPV6, bare IP'], [230, 'IEEE802_15_4_NOFCS'], [239, 'NFLOG'], [247, 'INFINIBAND'], [249, 'USBPCAP'], [253, 'NETLINK'],
  [276, 'LINUX_SLL2, "any" interface'],
]);

/** "113 (LINUX_SLL, ...)", for a person. */
export function linkTypeName(type: number): string {
  const name = type >= 147 && type <= 162 ? 'private use' : linkTypes.get(type);
  return name === undefined ? String(type) : `${type} (${name})`;
}
