import t from 'tap';
import { needs } from '../../kernel/rights.js';
import { conformance } from './suite.js';
import { vethPlace } from './wires.js';

/** So that the longest frame of the link is the longest that fits in a buffer of 2048 behind the headroom. */
const MTU = 1792 - 14;

conformance(t, {
  driver: 'af_packet',
  needs: needs('CAP_SYS_ADMIN', 'CAP_NET_ADMIN', 'CAP_NET_RAW'),
  carries: true,
  shortest: 14,
  longest: room => room,
  chains: 'carried',
  jumbo: () => vethPlace('af_packet:veth0,tx_ring=64', 9000),
  refusals: { short: 'tx_bad_frame', long: 'tx_too_long' },
  takesMbufs: true,
  losses: ['kernel_rx_drops'],
  fills: true,
  refused: [
    ['af_packet:', 'EDEVICE'], ['af_packet:nosuch0', 'ENOTFOUND'], ['af_packet:a-name-that-is-too-long', 'EOPTION'],
    ['af_packet:lo', 'EDOWN'], ['af_packet:veth0,block_size=5000', 'EOPTION'], ['af_packet:veth0,tx_ring=65', 'EOPTION'],
    ['af_packet:veth0,netns=/nonesuch', 'ENOTFOUND'],
  ],
  place: () => vethPlace('af_packet:veth0,tx_ring=64', MTU),
});
