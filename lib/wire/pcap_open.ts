import { PollmodeError } from '../errors.js';
import { NG_SECTION, PCAP_MAGIC_MICROSECONDS, PCAP_MAGIC_NANOSECONDS } from './pcap_layout.js';
import { PcapReader, type CaptureReader } from './pcap_reader.js';
import { PcapngReader } from './pcapng_reader.js';
import type { CaptureWindow } from './pcap_window.js';

/** What else a file with packets in it may be: its first bytes, what it is, and what to do about it. */
const others: readonly (readonly [bytes: readonly number[], what: string, mend: string])[] = [
  [[0x1f, 0x8b], 'compressed with gzip', 'gunzip it first'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'compressed with zstd', 'unzstd it first'],
  [[0x04, 0x22, 0x4d, 0x18], 'compressed with lz4', 'unlz4 it first'],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], 'compressed with xz', 'unxz it first'],
  [[0x42, 0x5a, 0x68], 'compressed with bzip2', 'bunzip2 it first'],
  [[0x50, 0x4b, 0x03, 0x04], 'a zip archive', 'unzip it first'],
  [[0x73, 0x6e, 0x6f, 0x6f, 0x70, 0], 'a snoop capture (RFC 1761)', 'convert it with editcap'],
  [[0x52, 0x54, 0x53, 0x53], 'a Microsoft Network Monitor 1 capture', 'convert it with editcap'],
  [[0x47, 0x4d, 0x42, 0x55], 'a Microsoft Network Monitor 2 capture', 'convert it with editcap'],
  [[0x54, 0x52, 0x53, 0x4e, 0x49, 0x46, 0x46], 'a Network General Sniffer capture', 'convert it with editcap'],
  [[0x58, 0x43, 0x50, 0], 'a NetXRay or Windows Sniffer capture', 'convert it with editcap'],
];

/** Variants of classic pcap, by magic number in either byte order (Wireshark's wiretap/libpcap.h lists them). */
const variants = new Map<number, string>([
  [0xa1b2cd34, 'pcap as Alexey Kuznetsov\'s patched libpcap wrote it, with longer record headers'],
  [0xa1e2cb12, 'pcap with a private magic number, 0xa1e2cb12'],
  [0xa12b3c4d, 'pcap as Navtel\'s analyzers write it'],
  [0x1c0001ab, 'pcap as Ixia\'s software captures write it'],
  [0x1c0001ac, 'pcap as Ixia\'s hardware captures write it'],
]);

/**
 * The reader for what the window shows, chosen by its first bytes. `name` is the file's, for messages; `maxLength` is the
 * longest frame to deliver. Throws EFORMAT, saying what the file is instead where that can be seen.
 */
export function openCapture(window: CaptureWindow, name: string, maxLength: number): CaptureReader {
  const refuse = (what: string, mend: string): never => { throw new PollmodeError('EFORMAT', `${name} is ${what}: ${mend}.`); };
  window.need(8);
  const { view, at, bytes, available } = window;
  for (const [start, what, mend] of others) {
    if (start.length <= available && start.every((byte, i) => bytes[at + i] === byte)) refuse(what, mend);
  }
  if (available < 4) return refuse(available === 0 ? 'empty' : `${available} bytes long`, 'a capture has a header of 24 bytes or more');
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(at, littleEndian);
    if (magic === PCAP_MAGIC_MICROSECONDS || magic === PCAP_MAGIC_NANOSECONDS) return new PcapReader(window, name, maxLength);
    if (magic === NG_SECTION) return new PcapngReader(window, name, maxLength);
    const variant = variants.get(magic);
    if (variant !== undefined) refuse(variant, 'convert it with editcap -F pcap');
  }
  return refuse(`no capture (it starts with 0x${view.getUint32(at).toString(16).padStart(8, '0')})`, 'name a pcap or pcapng file');
}
