/** Filters that are tables of 128 words of 32 bits, one bit for each of 4096 (82574 10.2.5, 82576 8.10, 82599 8.2.3.7). */
import { PollmodeError } from '../../../../errors.js';
import { macBytes } from '../../../../kernel/address.js';

export const TABLE_WORDS = 128;
const VLAN_ID_MAX = 4094;

/** Bits 47 to 36 of an address, the last to be sent: which bit of a multicast table it chooses. */
export function multicastBit(bytes: Uint8Array): number {
  return (bytes[4]! >>> 4) | (bytes[5]! << 4);
}

/** A multicast table for these groups. Other addresses that choose the same bits come in too. Throws EOPTION. */
export function multicastTable(groups: readonly string[]): Uint32Array {
  return tableOf(groups.map(group => multicastBit(groupBytes(group))));
}

/** Throws EOPTION for an address of no group. */
export function groupBytes(group: string): Uint8Array {
  const bytes = macBytes(group);
  if ((bytes[0]! & 1) === 0) throw new PollmodeError('EOPTION', `${group} is no multicast address: the lowest bit of its first byte is 0.`);
  return bytes;
}

/** A VLAN table: a bit for each VLAN. Throws EOPTION. */
export function vlanTable(ids: readonly number[]): Uint32Array {
  return tableOf(ids.map(checkVlan));
}

/** IEEE 802.1Q-2018 table 9-2: 0 is a priority tag, 4095 reserved. Throws EOPTION. */
export function checkVlan(id: number): number {
  if (!Number.isInteger(id) || id < 0 || id > VLAN_ID_MAX) throw new PollmodeError('EOPTION', `${String(id)} is no VLAN: give a number from 0 (tagged for its priority alone) to ${VLAN_ID_MAX}.`);
  return id;
}

function tableOf(bits: readonly number[]): Uint32Array {
  const table = new Uint32Array(TABLE_WORDS);
  for (const bit of bits) table[bit >>> 5]! |= 1 << (bit & 31);
  return table;
}
