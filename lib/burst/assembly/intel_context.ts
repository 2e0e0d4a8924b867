/** What a frame to send asks Intel's NICs to do: the context descriptor before it, and the options in its own. The twin is burst/intel_context.ts; rings and descriptors are explained in vfio/intel/layout.ts. */
import {
  MBUF_OL_FLAGS, MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, TX_IPV6, TX_IP_CKSUM, TX_L2_LEN_MASK, TX_L3_LEN_MASK, TX_L3_LEN_SHIFT, TX_OFFLOADS,
  TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../../mbuf/layout';
import {
  INTEL_82576, INTEL_CONTEXT, INTEL_CONTEXT_KIND, INTEL_RING, INTEL_SIDE, TXC_IPV4_82574, TXC_IPV4_82576, TXC_MACLEN_SHIFT, TXC_TCP_82574,
  TXC_TCP_82576, TXD_CONTEXT_82576, TXD_DEXT, TXD_IXSM, TXD_TXSM, TXD_VLAN_SHIFT,
} from '../../port/drivers/vfio/intel/layout';
import { descriptorAt, sideAt } from './intel_ring';

/** An 82576 has the VLAN tag in the context too. */
export function wantsContext(queue: usize, header: usize): bool {
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  return (flags & (load<u32>(queue, INTEL_CONTEXT_KIND) == INTEL_82576 ? TX_OFFLOADS : TX_OFFLOADS & ~TX_VLAN)) != 0;
}

/** Are the headers, by their lengths, in the frame? */
export function canDescribe(queue: usize, header: usize, total: u32): bool {
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  if (!(flags & (TX_OFFLOADS & ~TX_VLAN))) return true;
  const lengths = load<u32>(header, MBUF_TX_OFFLOAD);
  const l4 = (lengths & TX_L2_LEN_MASK) + (lengths >> TX_L3_LEN_SHIFT & TX_L3_LEN_MASK);
  const needs: u32 = flags & TX_TCP_CKSUM ? 18 : flags & TX_UDP_CKSUM ? 8 : 0;
  // An 82574 has 8 bits for where the checksum of TCP or UDP starts and is written.
  return l4 + needs <= total && (load<u32>(queue, INTEL_CONTEXT_KIND) == INTEL_82576 || l4 + 16 < 256);
}

/** What a context is made of: the lengths of headers, the tag where it belongs there, and the kinds of headers. */
// @ts-ignore: decorator
@inline
function contextKey(queue: usize, header: usize): u64 {
  const tag: u32 = load<u32>(queue, INTEL_CONTEXT_KIND) == INTEL_82576 ? load<u16>(header, MBUF_VLAN_TCI) : 0;
  const kinds = load<u32>(header, MBUF_OL_FLAGS) & (TX_OFFLOADS | TX_IPV6);
  return (kinds as u64) << 32 | ((load<u32>(header, MBUF_TX_OFFLOAD) & 0xffff) | tag << 16) as u64;
}

export function hasContext(queue: usize, header: usize): bool {
  return load<u32>(queue, INTEL_CONTEXT) == (contextKey(queue, header) as u32) && load<u32>(queue, INTEL_CONTEXT + 4) == ((contextKey(queue, header) >> 32) as u32);
}

export function writeContext(queue: usize, index: u32, mask: u32, header: usize): void {
  const key = contextKey(queue, header);
  store<u32>(queue, key as u32, INTEL_CONTEXT);
  store<u32>(queue, (key >> 32) as u32, INTEL_CONTEXT + 4);
  const at = descriptorAt(load<u32>(queue, INTEL_RING), index, mask);
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  const lengths = load<u32>(header, MBUF_TX_OFFLOAD);
  const l2 = lengths & TX_L2_LEN_MASK;
  const l3 = lengths >> TX_L3_LEN_SHIFT & TX_L3_LEN_MASK;
  const tcp = (flags & TX_TCP_CKSUM) != 0;
  const ipv4 = (flags & TX_IPV6) == 0;
  if (load<u32>(queue, INTEL_CONTEXT_KIND) == INTEL_82576) {
    store<u32>(at, l3 | l2 << TXC_MACLEN_SHIFT | (load<u16>(header, MBUF_VLAN_TCI) as u32) << 16);
    store<u32>(at, 0, 4);
    store<u32>(at, TXD_DEXT | TXD_CONTEXT_82576 | (ipv4 ? TXC_IPV4_82576 : 0) | (tcp ? TXC_TCP_82576 : 0), 8);
  } else {
    store<u32>(at, l2 | (l2 + 10 & 0xff) << 8 | (l2 + l3 - 1) << 16);
    store<u32>(at, (l2 + l3 & 0xff) | (l2 + l3 + (tcp ? 16 : 6) & 0xff) << 8, 4);
    store<u32>(at, TXD_DEXT | (ipv4 ? TXC_IPV4_82574 : 0) | (tcp ? TXC_TCP_82574 : 0), 8);
  }
  store<u32>(at, 0, 12);
  store<u32>(sideAt(load<u32>(queue, INTEL_SIDE), index, mask), 0);
}

export function optionsOf(queue: usize, header: usize): u32 {
  const flags = load<u32>(header, MBUF_OL_FLAGS);
  const tag: u32 = flags & TX_VLAN && load<u32>(queue, INTEL_CONTEXT_KIND) != INTEL_82576 ? (load<u16>(header, MBUF_VLAN_TCI) as u32) << TXD_VLAN_SHIFT : 0;
  return tag | (flags & TX_IP_CKSUM ? TXD_IXSM : 0) | (flags & (TX_TCP_CKSUM | TX_UDP_CKSUM) ? TXD_TXSM : 0);
}
