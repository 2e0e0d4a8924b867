import { PollmodeError } from '../errors.js';
import { RX_FDIR_ID } from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import { ipOffset } from './ip.js';
import * as layout from './layout.js';
import type { TreeMemory } from './memory.js';

const { ENTRY_HANDLE, ENTRY_HASH } = layout;

/**
 * Which class of a discipline a packet belongs to, by number from 0.
 * - `mark`: the packet's mark (`mbufs.setMark`, or a flow rule's action), if it has one.
 * - `pcp`: the priority code point of a VLAN tag that was stripped on receive (IEEE 802.1Q); 0 without one.
 * - `dscp`: the DiffServ code point of IPv4 and IPv6 (RFC 2474), 0 to 63.
 * - `hash`: the hash of addresses and ports, modulo the number of classes.
 * - a function, called for each packet: it must not allocate, keep the packet, or change its length.
 *
 * A number that no class has means the default class.
 */
export type Classify = 'mark' | 'pcp' | 'dscp' | 'hash' | ((handle: number, mbufs: Mbufs) => number);

/** The class of the entry, 0 to `classes` - 1, or -1 for the default. */
export type Classifier = (memory: TreeMemory, entry: number, classes: number) => number;

export function classifierOf(what: string, classify: Classify): Classifier {
  if (typeof classify === 'function') return ({ mbufs, u32 }, entry, classes) => bounded(classify(u32[entry + ENTRY_HANDLE]!, mbufs), classes);
  const known = CLASSIFIERS[classify] as Classifier | undefined;
  if (known === undefined) throw new PollmodeError('EOPTION', `${what}: classify ${JSON.stringify(classify)}: choose ${Object.keys(CLASSIFIERS).join(', ')}, or give a function.`);
  return known;
}

function bounded(index: number, classes: number): number {
  return index >= 0 && index < classes ? Math.trunc(index) : -1;
}

const CLASSIFIERS: Readonly<Record<Extract<Classify, string>, Classifier>> = {
  mark({ mbufs, u32 }, entry, classes) {
    const handle = u32[entry + ENTRY_HANDLE]!;
    return (mbufs.flags(handle) & RX_FDIR_ID) === 0 ? -1 : bounded(mbufs.mark(handle), classes);
  },
  pcp: ({ mbufs, u32 }, entry, classes) => bounded(mbufs.vlanTci(u32[entry + ENTRY_HANDLE]!) >>> 13, classes),
  dscp({ mbufs, u32 }, entry, classes) {
    const handle = u32[entry + ENTRY_HANDLE]!;
    const ip = ipOffset(mbufs, handle);
    if (ip === 0) return -1;
    const at = mbufs.data(handle) + ip;
    const { u8 } = mbufs;
    return bounded(u8[at]! >> 4 === 4 ? u8[at + 1]! >> 2 : ((u8[at]! & 15) << 2) | (u8[at + 1]! >> 6), classes);
  },
  hash: ({ u32 }, entry, classes) => u32[entry + ENTRY_HASH]! % classes,
};
