/** A switch's bursts (switch/layout.ts): flows looked up, and packets put in line for their ports. The twin is burst/switch.ts. */
import { HASH_NONE } from '../../lookup/hash_layout';
import {
  HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_REFCNT, MBUF_TX_OFFLOAD,
  MBUF_VLAN_TCI, RX_VLAN_STRIPPED, TX_L2_LEN_MASK,
} from '../../mbuf/layout';
import {
  ETHERNET_BYTES, FLOW_BYTE_COUNT, FLOW_BYTES, FLOW_GENERATION, FLOW_OUT, FLOW_PACKETS, FLOW_STAMP, FLOW_TAG, KEY_BYTES, KEY_TAGGED, LINE_SLOTS,
  PORT_BYTES, PORT_LINE, PORT_QUEUED_BYTES, PORT_RX_BYTES, PORT_RX_PACKETS, PORT_WAITING, SWITCH_FLOWS, SWITCH_GENERATION, SWITCH_HASH, SWITCH_KEYS,
  SWITCH_LEFT, SWITCH_LEFT_FLOWS, SWITCH_LONGEST, SWITCH_NOW, SWITCH_PORTS, SWITCH_TABLE, SWITCH_VALUES, TAG_BYTES, TAG_KEEP, TAG_POP, TAG_PUSH,
} from '../../switch/layout';
import { hashLookup } from './hash_lookup';
import { count64 } from './memory_ports';

/** 0x8100 as a little-endian load finds it in the frame. */
const TYPE_VLAN: u32 = 0x0081;

export function switchForward(sw: usize, port: u32, burst: usize, count: u32): u32 {
  const keys: usize = load<u32>(sw, SWITCH_KEYS);
  const values: usize = load<u32>(sw, SWITCH_VALUES);
  const record = (load<u32>(sw, SWITCH_PORTS) as usize) + (port as usize) * PORT_BYTES;
  const bytes = makeKeys(load<u32>(sw, SWITCH_TABLE), keys, port << 16, burst, count);
  count64(record + PORT_RX_PACKETS, count);
  count64(record + PORT_RX_BYTES, bytes);
  hashLookup(load<u32>(sw, SWITCH_HASH), keys, KEY_BYTES, values, count, 0);
  return followAll(sw, burst, values, count);
}

/** Returns the bytes of the packets. */
// @ts-ignore: decorator
@inline
function makeKeys(table: usize, key: usize, port: u32, burst: usize, count: u32): u32 {
  let bytes: u32 = 0;
  for (const end = burst + ((count as usize) << 2); burst < end; burst += 4) {
    const handle = load<u32>(burst);
    const header = table + ((handle as usize) << HEADER_SHIFT);
    bytes += load<u32>(header, MBUF_PKT_LEN);
    const whole = (load<u32>(header, MBUF_OL_FLAGS) & RX_VLAN_STRIPPED) == 0 || putTagBack(header, handle);
    const length: u32 = load<u16>(header, MBUF_DATA_LEN);
    if (whole && length >= (ETHERNET_BYTES as u32)) {
      const data = dataOf(header, handle);
      const type: u32 = load<u16>(data, 12);
      let last = port;
      if (type == TYPE_VLAN) {
        if (length >= (ETHERNET_BYTES as u32) + TAG_BYTES) last |= KEY_TAGGED | ((bswap<u16>(load<u16>(data, 14)) as u32) & 0xfff);
        else last = 0;
      }
      if (last != 0) {
        store<u64>(key, load<u64>(data));
        store<u32>(key, load<u32>(data, 8), 8);
        store<u32>(key, last, 12);
        key += KEY_BYTES;
        continue;
      }
    }
    // No flow has port 0.
    v128.store(key, i64x2.splat(0));
    key += KEY_BYTES;
  }
  return bytes;
}

/** Each packet whose flow says so, and allows it, goes into its port's line; the others into the vector of those left. Returns how many these are. */
// @ts-ignore: decorator
@inline
function followAll(sw: usize, burst: usize, values: usize, count: u32): u32 {
  const table: usize = load<u32>(sw, SWITCH_TABLE);
  const flows: usize = load<u32>(sw, SWITCH_FLOWS);
  const ports: usize = load<u32>(sw, SWITCH_PORTS);
  const generation = load<u32>(sw, SWITCH_GENERATION);
  const now = load<u32>(sw, SWITCH_NOW);
  const leftHandles: usize = load<u32>(sw, SWITCH_LEFT);
  const leftFlows: usize = load<u32>(sw, SWITCH_LEFT_FLOWS);
  let longest: u32 = 0;
  let left: usize = 0;
  for (let i: usize = 0; i < ((count as usize) << 2); i += 4) {
    const handle = load<u32>(burst + i);
    let flow = load<u32>(values + i);
    if (flow != HASH_NONE) {
      const entry = flows + (flow as usize) * FLOW_BYTES;
      if (load<u32>(entry, FLOW_GENERATION) == generation) {
        const header = table + ((handle as usize) << HEADER_SHIFT);
        store<u64>(entry, load<u64>(entry, FLOW_PACKETS) + 1, FLOW_PACKETS);
        store<u64>(entry, load<u64>(entry, FLOW_BYTE_COUNT) + (load<u32>(header, MBUF_PKT_LEN) as u64), FLOW_BYTE_COUNT);
        store<u32>(entry, now, FLOW_STAMP);
        const out = load<u32>(entry, FLOW_OUT);
        if (out != 0) {
          const record = ports + (out as usize) * PORT_BYTES;
          const waiting = load<u32>(record, PORT_WAITING);
          const tag = load<u32>(entry, FLOW_TAG);
          if (waiting < (LINE_SLOTS as u32) && (tag == TAG_KEEP || retag(header, handle, tag))) {
            store<u32>((load<u32>(record, PORT_LINE) as usize) + ((waiting as usize) << 2), handle);
            store<u32>(record, waiting + 1, PORT_WAITING);
            store<u64>(record, load<u64>(record, PORT_QUEUED_BYTES) + (load<u32>(header, MBUF_PKT_LEN) as u64), PORT_QUEUED_BYTES);
            longest = max(longest, waiting + 1);
            continue;
          }
        }
      } else flow = HASH_NONE;
    }
    store<u32>(leftHandles + left, handle);
    store<u32>(leftFlows + left, flow);
    left += 4;
  }
  store<u32>(sw, longest, SWITCH_LONGEST);
  return (left as u32) >> 2;
}

/** Returns whether it could: not with an mbuf that others hold too, nor without headroom. */
function retag(header: usize, handle: u32, tag: u32): bool {
  const what = tag & 0xffff;
  if (what == TAG_KEEP) return true;
  if (what == TAG_PUSH) return push(header, handle, tag >>> 16);
  if (load<u16>(header, MBUF_REFCNT) != 1) return false;
  const data = dataOf(header, handle);
  if (what == TAG_POP) {
    const front = load<u64>(data);
    store<u32>(data, load<u32>(data, 8), 12);
    store<u64>(data, front, 4);
    grow(header, -TAG_BYTES);
  } else store<u16>(data, bswap<u16>(((((load<u8>(data, 14) as u32) << 8) & 0xf000) | (tag >>> 16)) as u16), 14);
  return true;
}

function putTagBack(header: usize, handle: u32): bool {
  if ((load<u16>(header, MBUF_DATA_LEN) as u32) < (ETHERNET_BYTES as u32) || !push(header, handle, load<u16>(header, MBUF_VLAN_TCI))) return false;
  store<u32>(header, load<u32>(header, MBUF_OL_FLAGS) & ~RX_VLAN_STRIPPED, MBUF_OL_FLAGS);
  return true;
}

function push(header: usize, handle: u32, tci: u32): bool {
  if (load<u16>(header, MBUF_REFCNT) != 1 || (load<u16>(header, MBUF_DATA_OFF) as u32) < (TAG_BYTES as u32)) return false;
  const data = dataOf(header, handle);
  store<u64>(data - TAG_BYTES, load<u64>(data));
  store<u32>(data - TAG_BYTES, load<u32>(data, 8), 8);
  store<u32>(data - TAG_BYTES, TYPE_VLAN | ((bswap<u16>(tci as u16) as u32) << 16), 12);
  grow(header, TAG_BYTES);
  return true;
}

/** In front; the length of the link layer follows where it is known, and what was said of the packet's kind is not true any more. */
// @ts-ignore: decorator
@inline
function grow(header: usize, by: i32): void {
  store<u16>(header, (load<u16>(header, MBUF_DATA_OFF) - by) as u16, MBUF_DATA_OFF);
  store<u16>(header, (load<u16>(header, MBUF_DATA_LEN) + by) as u16, MBUF_DATA_LEN);
  store<u32>(header, load<u32>(header, MBUF_PKT_LEN) + by, MBUF_PKT_LEN);
  store<u32>(header, 0, MBUF_PACKET_TYPE);
  const lengths = load<u32>(header, MBUF_TX_OFFLOAD);
  if ((lengths & TX_L2_LEN_MASK) != 0) store<u32>(header, (lengths & ~TX_L2_LEN_MASK) | ((lengths + by) & TX_L2_LEN_MASK), MBUF_TX_OFFLOAD);
}

// @ts-ignore: decorator
@inline
function dataOf(header: usize, handle: u32): usize {
  return ((handle as usize) << HANDLE_SHIFT) + (load<u16>(header, MBUF_DATA_OFF) as usize);
}
