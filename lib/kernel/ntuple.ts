/**
 * A NIC's classification rules ("n-tuple", ethtool -N and -n) by linux/ethtool.h: struct ethtool_rx_flow_spec inside
 * struct ethtool_rxnfc, by ioctl. Rules stay when the process ends: make them by `changeNtuple` (journal/changes.ts).
 */
import { PollmodeError } from '../errors.js';
import { getU32, getU64, setU32, setU64 } from './bytes.js';
import { command, ethtool } from './ethtool.js';

const ETHTOOL_GRXCLSRLCNT = 0x2e;
const ETHTOOL_GRXCLSRULE = 0x2f;
const ETHTOOL_GRXCLSRLALL = 0x30;
const ETHTOOL_SRXCLSRLDEL = 0x31;
const ETHTOOL_SRXCLSRLINS = 0x32;

// struct ethtool_rxnfc
const DATA = 8;
const SPEC = 16;
const RULE_CNT = 184;
const RULE_LOCS = 188;
const RXNFC = 192;
// struct ethtool_rx_flow_spec
const RING_COOKIE = 152;
const LOCATION = 160;

/** Of a specification: what is looked for, and which of its bits count. The extensions (VLAN) stand behind each. */
export const SPEC_BYTES = 168;
export const SPEC_VALUE = 4;
export const SPEC_MASK = 76;
/** Both, with their extensions. */
export const SPEC_MATCH_BYTES = 72;
/** struct ethtool_flow_ext, from the value or the mask on. */
export const SPEC_VLAN_TCI = 52 + 10;

export const TCP_V4_FLOW = 0x01;
export const UDP_V4_FLOW = 0x02;
export const SCTP_V4_FLOW = 0x03;
export const TCP_V6_FLOW = 0x05;
export const UDP_V6_FLOW = 0x06;
export const SCTP_V6_FLOW = 0x07;
export const IP_USER_FLOW = 0x0d;
export const IPV6_USER_FLOW = 0x0e;
export const ETHER_FLOW = 0x12;
/** In the flow type: the VLAN in the extension counts. */
export const FLOW_EXT = 0x80000000;
export const ETH_RX_NFC_IP4 = 1;
export const RX_CLS_FLOW_DISC = 0xffff_ffff_ffff_ffffn;
const RX_CLS_LOC_SPECIAL = 0x80000000;
const RX_CLS_LOC_ANY = 0xffffffff;

/** More than any NIC has; what a driver says beyond it is not believed. */
export const MOST_LOCATIONS = 65536;

/** A rule without its location: struct ethtool_rx_flow_spec, that field zero. */
export type NtupleSpec = Uint8Array;

export function ntupleSpec(flowType: number, action: bigint): NtupleSpec {
  const spec = new Uint8Array(SPEC_BYTES);
  setU32(spec, 0, flowType);
  setU64(spec, RING_COOKIE, action);
  return spec;
}

export interface NtupleTable {
  /** Where rules stand. */
  readonly taken: readonly number[];
  /** How many places there are; 0 where the driver does not say. */
  readonly size: number;
  /** The driver finds the place itself. */
  readonly choosesPlace: boolean;
}

/** Needs no rights. Throws EUNSUPPORTED where the driver has no such rules, ENOTFOUND. */
export function readNtupleTable(name: string): NtupleTable {
  const count = command(ETHTOOL_GRXCLSRLCNT, RXNFC);
  ethtool(name, count, 'Counting the n-tuple rules');
  const [rules, said] = [Math.min(getU32(count, RULE_CNT), MOST_LOCATIONS), getU32(count, DATA)];
  // Room for some that come meanwhile; the kernel writes whole u64s behind the structure's end.
  const room = rules + 32;
  const all = command(ETHTOOL_GRXCLSRLALL, RXNFC + 4 * room);
  setU32(all, RULE_CNT, room);
  ethtool(name, all, 'Listing the n-tuple rules');
  const found = Math.min(getU32(all, RULE_CNT), room);
  return {
    taken: Array.from({ length: found }, (_, index) => getU32(all, RULE_LOCS + 4 * index)),
    size: Math.min(getU32(all, DATA) & ~RX_CLS_LOC_SPECIAL, MOST_LOCATIONS),
    choosesPlace: (said & RX_CLS_LOC_SPECIAL) !== 0,
  };
}

/** What stands at a location that is taken. Throws as the driver does where none is (ENOENT, EINVAL). */
export function readNtuple(name: string, location: number): NtupleSpec {
  const rule = command(ETHTOOL_GRXCLSRULE, RXNFC);
  setU32(rule, SPEC + LOCATION, location);
  ethtool(name, rule, 'Reading an n-tuple rule');
  const spec = rule.slice(SPEC, SPEC + SPEC_BYTES);
  setU32(spec, LOCATION, 0);
  return spec;
}

/** Puts a rule at a location, or where the driver likes. Returns where. Throws what the driver says of it: ESYSCALL with errno EINVAL, ENOSPC ..., EUNSUPPORTED, ERIGHTS. */
export function insertNtuple(name: string, spec: NtupleSpec, location: number | undefined): number {
  const rule = command(ETHTOOL_SRXCLSRLINS, RXNFC);
  rule.set(spec, SPEC);
  setU32(rule, SPEC + LOCATION, location ?? RX_CLS_LOC_ANY);
  ethtool(name, rule, 'An n-tuple rule');
  return getU32(rule, SPEC + LOCATION);
}

export function deleteNtuple(name: string, location: number): void {
  const rule = command(ETHTOOL_SRXCLSRLDEL, RXNFC);
  setU32(rule, SPEC + LOCATION, location);
  ethtool(name, rule, 'Taking an n-tuple rule away');
}

/** The place for the next rule, the last that is free as the ethtool program has it; undefined: the driver's to choose. Throws EUNSUPPORTED when all are taken. */
export function freeLocation(name: string, { taken, size, choosesPlace }: NtupleTable): number | undefined {
  if (choosesPlace) return undefined;
  for (let location = size - 1; location >= 0; location--) if (!taken.includes(location)) return location;
  throw new PollmodeError('EUNSUPPORTED', `${name}: all ${size} places for n-tuple rules are taken: remove some (ethtool -n ${name}, ethtool -N ${name} delete NUMBER).`);
}

/** Is what the driver tells of a rule the rule that was given to it? Type, action, and the bits that were to count; in the rest drivers differ. */
export function isNtuple(told: NtupleSpec, given: NtupleSpec): boolean {
  if (getU64(told, RING_COOKIE) !== getU64(given, RING_COOKIE) || getU32(told, 0) !== getU32(given, 0)) return false;
  for (let at = 0; at < SPEC_MATCH_BYTES; at++) {
    if (((told[SPEC_VALUE + at]! ^ given[SPEC_VALUE + at]!) & given[SPEC_MASK + at]!) !== 0) return false;
  }
  return true;
}
