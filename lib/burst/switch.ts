/** A switch's bursts in plain TypeScript; switch/layout.ts says what stands where. The fast double is assembly/switch.ts; neither calls the other. */
import { HASH_NONE } from '../lookup/hash_layout.js';
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_REFCNT, MBUF_TX_OFFLOAD,
  MBUF_VLAN_TCI, RX_VLAN_STRIPPED, TX_L2_LEN_MASK,
} from '../mbuf/layout.js';
import {
  ETHERNET_BYTES, FLOW_BYTE_COUNT, FLOW_BYTES, FLOW_GENERATION, FLOW_OUT, FLOW_PACKETS, FLOW_STAMP, FLOW_TAG, KEY_BYTES, KEY_TAGGED, LINE_SLOTS,
  PORT_BYTES, PORT_LINE, PORT_QUEUED_BYTES, PORT_RX_BYTES, PORT_RX_PACKETS, PORT_WAITING, SWITCH_FLOWS, SWITCH_GENERATION, SWITCH_HASH, SWITCH_KEYS,
  SWITCH_LEFT, SWITCH_LEFT_FLOWS, SWITCH_LONGEST, SWITCH_NOW, SWITCH_PORTS, SWITCH_TABLE, SWITCH_VALUES, TAG_BYTES, TAG_KEEP, TAG_POP, TAG_PUSH,
} from '../switch/layout.js';
import type { BurstFunctions } from './functions.js';
import type { HashFunctions } from './hash.js';
import { count64, type ArenaViews } from './views.js';

export type SwitchFunctions = Pick<BurstFunctions, 'switchForward'>;

export function switchFunctions({ u8, u16, u32 }: ArenaViews, { hashLookup }: Pick<HashFunctions, 'hashLookup'>): SwitchFunctions {
  return { switchForward };

  function switchForward(sw: number, port: number, burst: number, count: number): number {
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const header = headerOf(sw, word(burst, i * 4));
      bytes += word(header, MBUF_PKT_LEN);
      makeKey(word(sw, SWITCH_KEYS) + i * KEY_BYTES, port, header, word(burst, i * 4));
    }
    const record = word(sw, SWITCH_PORTS) + port * PORT_BYTES;
    count64(u32, record + PORT_RX_PACKETS, count);
    count64(u32, record + PORT_RX_BYTES, bytes);
    hashLookup(word(sw, SWITCH_HASH), word(sw, SWITCH_KEYS), KEY_BYTES, word(sw, SWITCH_VALUES), count, 0);
    setWord(sw, SWITCH_LONGEST, 0);
    let left = 0;
    for (let i = 0; i < count; i++) {
      const handle = word(burst, i * 4);
      const flow = follow(sw, handle, word(word(sw, SWITCH_VALUES), i * 4));
      if (flow === undefined) continue;
      setWord(word(sw, SWITCH_LEFT), left * 4, handle);
      setWord(word(sw, SWITCH_LEFT_FLOWS), left * 4, flow);
      left++;
    }
    return left;
  }

  /** A frame that has no key (too short, or a tag that cannot be put back) gets one that no flow has: port 0. */
  function makeKey(key: number, port: number, header: number, handle: number): void {
    for (let at = 0; at < KEY_BYTES; at += 4) setWord(key, at, 0);
    if (word(header, MBUF_OL_FLAGS) & RX_VLAN_STRIPPED && !putTagBack(header, handle)) return;
    const length = half(header, MBUF_DATA_LEN);
    const data = dataOf(header, handle);
    if (length < ETHERNET_BYTES) return;
    const tagged = u8[data + 12] === 0x81 && u8[data + 13] === 0;
    if (tagged && length < ETHERNET_BYTES + TAG_BYTES) return;
    u8.copyWithin(key, data, data + 12);
    const vlan = tagged ? KEY_TAGGED | ((u8[data + 14] & 0x0f) << 8) | u8[data + 15] : 0;
    setWord(key, 12, ((port << 16) | vlan) >>> 0);
  }

  function putTagBack(header: number, handle: number): boolean {
    if (half(header, MBUF_DATA_LEN) < ETHERNET_BYTES || !push(header, handle, half(header, MBUF_VLAN_TCI))) return false;
    setWord(header, MBUF_OL_FLAGS, (word(header, MBUF_OL_FLAGS) & ~RX_VLAN_STRIPPED) >>> 0);
    return true;
  }

  /** Puts the packet into its port's line; where that is not all there is to do, returns the flow, or HASH_NONE for none that may be followed. */
  function follow(sw: number, handle: number, flow: number): number | undefined {
    if (flow === HASH_NONE) return HASH_NONE;
    const entry = word(sw, SWITCH_FLOWS) + flow * FLOW_BYTES;
    if (word(entry, FLOW_GENERATION) !== word(sw, SWITCH_GENERATION)) return HASH_NONE;
    const header = headerOf(sw, handle);
    count64(u32, entry + FLOW_PACKETS, 1);
    count64(u32, entry + FLOW_BYTE_COUNT, word(header, MBUF_PKT_LEN));
    setWord(entry, FLOW_STAMP, word(sw, SWITCH_NOW));
    const out = word(entry, FLOW_OUT);
    if (out === 0) return flow;
    const record = word(sw, SWITCH_PORTS) + out * PORT_BYTES;
    const waiting = word(record, PORT_WAITING);
    if (waiting >= LINE_SLOTS || !retag(header, handle, word(entry, FLOW_TAG))) return flow;
    setWord(word(record, PORT_LINE), waiting * 4, handle);
    setWord(record, PORT_WAITING, waiting + 1);
    setWord(sw, SWITCH_LONGEST, Math.max(word(sw, SWITCH_LONGEST), waiting + 1));
    count64(u32, record + PORT_QUEUED_BYTES, word(header, MBUF_PKT_LEN));
    return undefined;
  }

  /** Returns whether it could: not with an mbuf that others hold too, nor without headroom. */
  function retag(header: number, handle: number, tag: number): boolean {
    const what = tag & 0xffff;
    if (what === TAG_KEEP) return true;
    if (what === TAG_PUSH) return push(header, handle, tag >>> 16);
    if (half(header, MBUF_REFCNT) !== 1) return false;
    if (what === TAG_POP) pop(header, handle);
    else setTag(dataOf(header, handle), ((u8[dataOf(header, handle) + 14] << 8) & 0xf000) | (tag >>> 16));
    return true;
  }

  function push(header: number, handle: number, tci: number): boolean {
    if (half(header, MBUF_REFCNT) !== 1 || half(header, MBUF_DATA_OFF) < TAG_BYTES) return false;
    const data = dataOf(header, handle);
    u8.copyWithin(data - TAG_BYTES, data, data + 12);
    u8[data + 8] = 0x81;
    u8[data + 9] = 0;
    setTag(data - TAG_BYTES, tci);
    grow(header, TAG_BYTES);
    return true;
  }

  function pop(header: number, handle: number): void {
    const data = dataOf(header, handle);
    u8.copyWithin(data + TAG_BYTES, data, data + 12);
    grow(header, -TAG_BYTES);
  }

  function setTag(data: number, tci: number): void {
    u8[data + 14] = tci >>> 8;
    u8[data + 15] = tci;
  }

  /** In front; the length of the link layer follows where it is known, and what was said of the packet's kind is not true any more. */
  function grow(header: number, by: number): void {
    u16[(header + MBUF_DATA_OFF) >>> 1] -= by;
    u16[(header + MBUF_DATA_LEN) >>> 1] += by;
    setWord(header, MBUF_PKT_LEN, (word(header, MBUF_PKT_LEN) + by) >>> 0);
    setWord(header, MBUF_PACKET_TYPE, 0);
    const lengths = word(header, MBUF_TX_OFFLOAD);
    if ((lengths & TX_L2_LEN_MASK) !== 0) setWord(header, MBUF_TX_OFFLOAD, ((lengths & ~TX_L2_LEN_MASK) | ((lengths + by) & TX_L2_LEN_MASK)) >>> 0);
  }

  function headerOf(sw: number, handle: number): number {
    return (word(sw, SWITCH_TABLE) + (handle << HEADER_SHIFT)) >>> 0;
  }

  function dataOf(header: number, handle: number): number {
    return ((handle << HANDLE_SHIFT) >>> 0) + half(header, MBUF_DATA_OFF);
  }

  function half(structure: number, field: number): number {
    return u16[(structure + field) >>> 1];
  }

  function word(structure: number, field: number): number {
    return u32[(structure + field) >>> 2];
  }

  function setWord(structure: number, field: number, value: number): void {
    u32[(structure + field) >>> 2] = value;
  }
}
