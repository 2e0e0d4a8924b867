import t from 'tap';
import { needs } from '../../kernel/rights.js';
import { conformance } from './suite.js';
import { vethPlace } from './wires.js';

/** So that the longest frame of the link is the longest that fits in a buffer of 2048 behind the headroom. */
const MTU = 1792 - 14;

conformance(t, {
  driver: 'af_xdp',
  needs: needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF'),
  carries: true,
  shortest: 14,
  longest: room => room,
  chains: 'carried',
  jumbo: () => vethPlace('af_xdp:veth0,rx_ring=128,tx_ring=64', 9000),
  refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' },
  takesMbufs: true,
  losses: ['kernel_rx_dropped', 'kernel_rx_ring_full'],
  fills: true,
  refused: [
    ['af_xdp:', 'EDEVICE'], ['af_xdp:nosuch0', 'ENOTFOUND'], ['af_xdp:a-name-that-is-too-long', 'EOPTION'],
    ['af_xdp:veth0,rx_ring=100', 'EOPTION'], ['af_xdp:veth0,queue=1', 'EOPTION'], ['af_xdp:lo', 'EDOWN'],
    ['af_xdp:veth0,zero_copy=must', 'EUNSUPPORTED'], ['af_xdp:veth0,xsk_map=/nonesuch', 'ENOTFOUND'],
    ['af_xdp:veth0,program=/nonesuch', 'EOPTION'], ['af_xdp:veth0,netns=/nonesuch', 'ENOTFOUND'],
  ],
  place: () => vethPlace('af_xdp:veth0,rx_ring=128,tx_ring=64', MTU),
});
