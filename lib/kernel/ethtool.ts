/**
 * The ethtool ioctls (linux/ethtool.h), about an interface of the calling thread's network namespace. Reading needs no
 * rights; changes need CAP_NET_ADMIN, and none of them goes away by itself: write to the journal before.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { fromCString, getU32, setCString, setU32 } from './bytes.js';
import { AF_INET, IFNAMSIZ, SIOCETHTOOL, SOCK_DGRAM } from './constants.js';
import { check } from './errno.js';
import { checkName } from './link.js';

const ETHTOOL_GDRVINFO = 0x03;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETHTOOL_GCHANNELS = 0x3c;
const ETHTOOL_SCHANNELS = 0x3d;
const ETH_SS_FEATURES = 4;
const ETH_GSTRING_LEN = 32;
const IFREQ_SIZE = 40;

export interface DriverInfo {
  driver: string;
  version: string;
  firmware: string;
  /** PCI address, "virtio0", ...; empty for software devices. */
  bus: string;
}

/** Numbers of queue channels: how many there can be and how many there are. */
export interface Channels {
  maxRx: number;
  maxTx: number;
  maxOther: number;
  maxCombined: number;
  rx: number;
  tx: number;
  other: number;
  combined: number;
}

export interface Feature {
  /** It can be changed by the user. */
  available: boolean;
  requested: boolean;
  active: boolean;
}

/** One SIOCETHTOOL; the kernel's answer is in `command`. */
export function ethtool(name: string, command: Uint8Array, wanted: string): void {
  checkName(name);
  const b = binding();
  const fd = check(b.socket(AF_INET, SOCK_DGRAM, 0), 'socket');
  try {
    const request = new Uint8Array(IFREQ_SIZE);
    setCString(request, 0, IFNAMSIZ, name);
    const result = b.ioctl(fd, SIOCETHTOOL, request, [[IFNAMSIZ, command]]);
    check(result, 'ioctl(SIOCETHTOOL)', result < 0 ? `${wanted} of ${name} was refused: check the name and the rights (CAP_NET_ADMIN), and that its driver can do it.` : undefined);
  } finally {
    b.close(fd);
  }
}

/** A structure of an ethtool command, its code filled in. */
export function command(code: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  setU32(bytes, 0, code);
  return bytes;
}

export function driverInfo(name: string): DriverInfo {
  const info = command(ETHTOOL_GDRVINFO, 196);
  ethtool(name, info, 'Reading the driver');
  return { driver: fromCString(info, 4, 32), version: fromCString(info, 36, 32), firmware: fromCString(info, 68, 32), bus: fromCString(info, 100, 32) };
}

/** EUNSUPPORTED where the driver has no channels to speak of. */
export function readChannels(name: string): Channels {
  const channels = command(ETHTOOL_GCHANNELS, 36);
  ethtool(name, channels, 'Reading the channels');
  const field = (index: number): number => getU32(channels, 4 * index);
  return { maxRx: field(1), maxTx: field(2), maxOther: field(3), maxCombined: field(4), rx: field(5), tx: field(6), other: field(7), combined: field(8) };
}

/** Changes the counts that are given and leaves the others. */
export function setChannels(name: string, wanted: Partial<Pick<Channels, 'rx' | 'tx' | 'other' | 'combined'>>): void {
  const now = readChannels(name);
  const channels = command(ETHTOOL_SCHANNELS, 36);
  const counts = [wanted.rx ?? now.rx, wanted.tx ?? now.tx, wanted.other ?? now.other, wanted.combined ?? now.combined];
  counts.forEach((count, index) => setU32(channels, 20 + 4 * index, count));
  ethtool(name, channels, 'Setting the channels');
}

/** Transmit checksum offload. On a veth it must be off for a reader of raw frames to see whole checksums. */
export function readTxChecksum(name: string): boolean {
  const value = command(ETHTOOL_GTXCSUM, 8);
  ethtool(name, value, 'Reading the checksum offload');
  return getU32(value, 4) !== 0;
}

export function setTxChecksum(name: string, on: boolean): void {
  const value = command(ETHTOOL_STXCSUM, 8);
  setU32(value, 4, on ? 1 : 0);
  ethtool(name, value, 'Setting the checksum offload');
}

/** Offload features by the names that the ethtool program prints ("rx-gro", "tx-checksum-ip-generic"). */
export function readFeatures(name: string): Map<string, Feature> {
  const names = featureNames(name);
  const words = Math.ceil(names.length / 32);
  const blocks = command(ETHTOOL_GFEATURES, 8 + 16 * words);
  setU32(blocks, 4, words);
  ethtool(name, blocks, 'Reading the features');
  // struct ethtool_get_features_block: available, requested, active, never_changed
  const bit = (index: number, field: number): boolean =>
    (getU32(blocks, 8 + 16 * (index >> 5) + 4 * field) >>> (index & 31) & 1) === 1;
  return new Map(names.map((feature, index) => [feature, { available: bit(index, 0), requested: bit(index, 1), active: bit(index, 2) }]));
}

/** ENOTFOUND when the kernel has no feature of that name. */
export function setFeature(name: string, feature: string, on: boolean): void {
  const { index, words } = featureNumber(name, feature);
  const blocks = command(ETHTOOL_SFEATURES, 8 + 8 * words);
  setU32(blocks, 4, words);
  const at = 8 + 8 * (index >> 5); // struct ethtool_set_features_block: valid, requested
  setU32(blocks, at, (1 << (index & 31)) >>> 0);
  if (on) setU32(blocks, at + 4, (1 << (index & 31)) >>> 0);
  ethtool(name, blocks, 'Setting a feature');
}

/** A feature's bit, and of how many words. Throws ENOTFOUND. */
export function featureNumber(name: string, feature: string): { readonly index: number; readonly words: number } {
  const names = featureNames(name);
  const index = names.indexOf(feature);
  if (index < 0) throw new PollmodeError('ENOTFOUND', `The kernel knows no feature "${feature}": see the names that ethtool -k ${name} prints.`);
  return { index, words: Math.ceil(names.length / 32) };
}

function featureNames(name: string): string[] {
  const set = command(ETHTOOL_GSSET_INFO, 20);
  setU32(set, 8, 1 << ETH_SS_FEATURES);
  ethtool(name, set, 'Counting the features');
  const count = Math.min(getU32(set, 16), 4096);
  const strings = command(ETHTOOL_GSTRINGS, 12 + count * ETH_GSTRING_LEN);
  setU32(strings, 4, ETH_SS_FEATURES);
  setU32(strings, 8, count);
  ethtool(name, strings, 'Naming the features');
  return Array.from({ length: count }, (_, index) => fromCString(strings, 12 + index * ETH_GSTRING_LEN, ETH_GSTRING_LEN));
}
