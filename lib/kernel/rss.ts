/**
 * A NIC's own receive-side scaling through ethtool (linux/ethtool.h, struct ethtool_rxfh): redirection table, key and
 * hash function. Changes stay when the process ends: make the first by `changeNicRss` (journal/changes.ts).
 */
import { PollmodeError } from '../errors.js';
import { getU32, setU32 } from './bytes.js';
import { command, ethtool } from './ethtool.js';

const ETHTOOL_GRSSH = 0x46;
const ETHTOOL_SRSSH = 0x47;
const ETH_RXFH_INDIR_NO_CHANGE = 0xffffffff;
const HEADER = 24;
/** Bits of hfunc: ETH_RSS_HASH_TOP, ETH_RSS_HASH_XOR, ETH_RSS_HASH_CRC32. */
const FUNCTIONS = ['toeplitz', 'xor', 'crc32'] as const;

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

/** Sets what is given, and leaves the rest. The table must have the length that the NIC's has. Throws EOPTION, ERIGHTS, EUNSUPPORTED. */
export function setNicRss(name: string, wanted: { readonly reta?: readonly number[]; readonly key?: Uint8Array }): void {
  const now = readNicRss(name);
  const { reta, key } = wanted;
  if (reta !== undefined && reta.length !== now.reta.length) throw new PollmodeError('EOPTION', `${name}: its redirection table has ${now.reta.length} entries, not ${reta.length}: give so many.`);
  if (key !== undefined && key.length !== now.key.length) throw new PollmodeError('EOPTION', `${name}: its RSS key has ${now.key.length} bytes, not ${key.length}: give so many.`);
  const change = command(ETHTOOL_SRSSH, HEADER + (reta?.length ?? 0) * 4 + (key?.length ?? 0));
  setU32(change, 8, reta?.length ?? ETH_RXFH_INDIR_NO_CHANGE);
  setU32(change, 12, key?.length ?? 0);
  reta?.forEach((queue, i) => setU32(change, HEADER + i * 4, queue));
  if (key !== undefined) change.set(key, HEADER + (reta?.length ?? 0) * 4);
  ethtool(name, change, 'Setting the RSS settings');
}
