/** What a frame to send asks Intel's NICs to do: the context descriptor before it, and the options in its own, in plain TypeScript. The fast double is assembly/intel_context.ts; neither calls the other. */
import {
  MBUF_OL_FLAGS, MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, TX_IPV6, TX_IP_CKSUM, TX_L2_LEN_MASK, TX_L3_LEN_MASK, TX_L3_LEN_SHIFT, TX_OFFLOADS,
  TX_TCP_CKSUM, TX_UDP_CKSUM, TX_VLAN,
} from '../mbuf/layout.js';
import {
  INTEL_82576, INTEL_CONTEXT, INTEL_CONTEXT_KIND, TXC_IPV4_82574, TXC_IPV4_82576, TXC_MACLEN_SHIFT, TXC_TCP_82574, TXC_TCP_82576,
  TXD_CONTEXT_82576, TXD_DEXT, TXD_IXSM, TXD_TXSM, TXD_VLAN_SHIFT,
} from '../port/drivers/vfio/intel/layout.js';
import { intelRings } from './intel_ring.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';

export interface IntelContexts {
  /** Are the headers, by their lengths, in the frame? */
  canDescribe(queue: number, header: number, total: number): boolean;
  /** Is the context that the frame wants the one that the device has? */
  hasContext(queue: number, header: number): boolean;
  /** Into descriptor `index`. */
  writeContext(queue: number, index: number, header: number): void;
  /** For the last word of the frame's own descriptors. */
  optionsOf(queue: number, header: number): number;
}

export function intelContexts(views: ArenaViews): IntelContexts {
  const { u16, u32 } = views;
  const { field, setField } = queueMbufs(views);
  const { descriptorAt, sideAt } = intelRings(views);
  return { canDescribe, hasContext, writeContext, optionsOf };

  function canDescribe(queue: number, header: number, total: number): boolean {
    const flags = field(header, MBUF_OL_FLAGS);
    if ((flags & TX_OFFLOADS & ~TX_VLAN) === 0) return true;
    const { l2, l3 } = lengthsOf(header);
    const needs = (flags & TX_TCP_CKSUM) !== 0 ? 18 : (flags & TX_UDP_CKSUM) !== 0 ? 8 : 0;
    // An 82574 has 8 bits for where the checksum of TCP or UDP starts and is written.
    return l2 + l3 + needs <= total && (field(queue, INTEL_CONTEXT_KIND) === INTEL_82576 || l2 + l3 + 16 < 256);
  }

  function lengthsOf(header: number): { l2: number; l3: number } {
    const lengths = field(header, MBUF_TX_OFFLOAD);
    return { l2: lengths & TX_L2_LEN_MASK, l3: (lengths >>> TX_L3_LEN_SHIFT) & TX_L3_LEN_MASK };
  }

  /** What a context is made of: the lengths of headers, the tag where it belongs there, and the kinds of headers. */
  function contextKey(queue: number, header: number): [number, number] {
    const tag = field(queue, INTEL_CONTEXT_KIND) === INTEL_82576 ? u16[(header + MBUF_VLAN_TCI) >>> 1] : 0;
    return [((field(header, MBUF_TX_OFFLOAD) & 0xffff) | (tag << 16)) >>> 0, field(header, MBUF_OL_FLAGS) & (TX_OFFLOADS | TX_IPV6)];
  }

  function hasContext(queue: number, header: number): boolean {
    const [low, high] = contextKey(queue, header);
    return field(queue, INTEL_CONTEXT) === low && field(queue, INTEL_CONTEXT + 4) === high;
  }

  function writeContext(queue: number, index: number, header: number): void {
    const [low, high] = contextKey(queue, header);
    setField(queue, INTEL_CONTEXT, low);
    setField(queue, INTEL_CONTEXT + 4, high);
    const at = descriptorAt(queue, index) >>> 2;
    const { l2, l3 } = lengthsOf(header);
    const tcp = (high & TX_TCP_CKSUM) !== 0;
    const ipv4 = (high & TX_IPV6) === 0;
    if (field(queue, INTEL_CONTEXT_KIND) === INTEL_82576) {
      u32[at] = l3 | (l2 << TXC_MACLEN_SHIFT) | (u16[(header + MBUF_VLAN_TCI) >>> 1] << 16);
      u32[at + 1] = 0;
      u32[at + 2] = TXD_DEXT | TXD_CONTEXT_82576 | (ipv4 ? TXC_IPV4_82576 : 0) | (tcp ? TXC_TCP_82576 : 0);
    } else {
      u32[at] = l2 | (((l2 + 10) & 0xff) << 8) | ((l2 + l3 - 1) << 16);
      u32[at + 1] = ((l2 + l3) & 0xff) | (((l2 + l3 + (tcp ? 16 : 6)) & 0xff) << 8);
      u32[at + 2] = TXD_DEXT | (ipv4 ? TXC_IPV4_82574 : 0) | (tcp ? TXC_TCP_82574 : 0);
    }
    u32[at + 3] = 0;
    u32[sideAt(queue, index)] = 0;
  }

  function optionsOf(queue: number, header: number): number {
    const flags = field(header, MBUF_OL_FLAGS);
    const tag = (flags & TX_VLAN) !== 0 && field(queue, INTEL_CONTEXT_KIND) !== INTEL_82576 ? u16[(header + MBUF_VLAN_TCI) >>> 1] << TXD_VLAN_SHIFT : 0;
    return tag | ((flags & TX_IP_CKSUM) !== 0 ? TXD_IXSM : 0) | ((flags & (TX_TCP_CKSUM | TX_UDP_CKSUM)) !== 0 ? TXD_TXSM : 0);
  }
}
