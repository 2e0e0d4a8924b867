/**
 * A NIC's own receive-side scaling through ethtool (linux/ethtool.h, struct ethtool_rxfh): redirection table, key and
 * hash function. Changes stay when the process ends: make the first by `changeNicRss` (journal/changes.ts).
 */
import { PollmodeError } from '../errors.js';
import { getU32, getU64, setU32 } from './bytes.js';
import { command, ethtool } from './ethtool.js';

const ETHTOOL_GRXFH = 0x29;
const ETHTOOL_GRSSH = 0x46;
const ETHTOOL_SRSSH = 0x47;
const ETH_RXFH_INDIR_NO_CHANGE = 0xffffffff;
const HEADER = 24;
/** Bits of hfunc: ETH_RSS_HASH_TOP, ETH_RSS_HASH_XOR, ETH_RSS_HASH_CRC32. */
const FUNCTIONS = ['toeplitz', 'xor', 'crc32'] as const;

/** struct ethtool_rxnfc, of which flow_type and data count here. */
const RXNFC = 192;
// Parts of a packet, in `data`: source and destination address, source and destination port.
export const RXH_ADDRESSES = (1 << 4) | (1 << 5);
export const RXH_PORTS = (1 << 6) | (1 << 7);
// Flow types beside those that rules have names for (kernel/ntuple.ts).
export const IPV4_FLOW = 0x10;
export const IPV6_FLOW = 0x11;

export interface NicRss {
  /** Queue of each hash bucket. */
  readonly reta: readonly number[];
  readonly key: Uint8Array;
  readonly hashFunction: (typeof FUNCTIONS)[number] | 'unknown';
}

/** Reads it; needs no rights. Throws EUNSUPPORTED where the driver has no RSS to speak of, ENOTFOUND. */
export function readNicRss(name: string): NicRss {
  const sizes = command(ETHTOOL_GRSSH, HEADER);
  ethtool(name, sizes, 'Reading the RSS sizes');
  const [entries, keyBytes] = [getU32(sizes, 8), getU32(sizes, 12)];
  if (entries > 65536 || keyBytes > 4096) throw new PollmodeError('EFORMAT', `${name}: its driver tells of a redirection table of ${entries} entries and a key of ${keyBytes} bytes: that cannot be.`);
  const whole = command(ETHTOOL_GRSSH, HEADER + entries * 4 + keyBytes);
  setU32(whole, 8, entries);
  setU32(whole, 12, keyBytes);
  ethtool(name, whole, 'Reading the RSS settings');
  const bit = Math.log2(whole[16]!);
  return {
    reta: Array.from({ length: entries }, (_, i) => getU32(whole, HEADER + i * 4)),
    key: whole.slice(HEADER + entries * 4),
    hashFunction: FUNCTIONS[bit] ?? 'unknown',
  };
}

/**
 * Sets what is given, and leaves the rest. The table must have the length that the NIC's has; `default` has the buckets go
 * round the queues, as nobody's choice: only then may the number of queues be made less than a table has named before
 * (IFF_RXFH_CONFIGURED). Throws EOPTION, ERIGHTS, EUNSUPPORTED.
 */
export function setNicRss(name: string, wanted: { readonly reta?: readonly number[] | 'default'; readonly key?: Uint8Array }): void {
  const now = readNicRss(name);
  const { key } = wanted;
  const reta = wanted.reta === 'default' ? [] : wanted.reta;
  if (reta !== undefined && wanted.reta !== 'default' && reta.length !== now.reta.length) throw new PollmodeError('EOPTION', `${name}: its redirection table has ${now.reta.length} entries, not ${reta.length}: give so many.`);
  if (key !== undefined && key.length !== now.key.length) throw new PollmodeError('EOPTION', `${name}: its RSS key has ${now.key.length} bytes, not ${key.length}: give so many.`);
  const change = command(ETHTOOL_SRSSH, HEADER + (reta?.length ?? 0) * 4 + (key?.length ?? 0));
  setU32(change, 8, reta?.length ?? ETH_RXFH_INDIR_NO_CHANGE);
  setU32(change, 12, key?.length ?? 0);
  reta?.forEach((queue, i) => setU32(change, HEADER + i * 4, queue));
  if (key !== undefined) change.set(key, HEADER + (reta?.length ?? 0) * 4);
  ethtool(name, change, 'Setting the RSS settings');
}

/** What the NIC hashes of packets of a flow type, RXH_* (ethtool -n NAME rx-flow-hash); 0 for nothing, and where its driver does not say. */
export function readHashFields(name: string, flowType: number): number {
  const question = command(ETHTOOL_GRXFH, RXNFC);
  setU32(question, 4, flowType);
  try {
    ethtool(name, question, 'Reading what is hashed');
  } catch (cause) {
    if (cause instanceof PollmodeError && cause.errno !== undefined) return 0;
    throw cause;
  }
  return Number(getU64(question, 8) & 0xffn);
}
