/** The 82599's statistics (8.2.3.23): 32 bits that stop at their end, cleared by reading. */
import type { Counter } from '../intel/chip.js';
import { COMMON_COUNTERS } from '../intel/counters.js';
import { QUEUE_STRIDE } from './registers.js';

export const COUNTERS: readonly Counter[] = [
  ...COMMON_COUNTERS,
  { at: 0x04004, name: 'rx_illegal_bytes' }, // ILLERRC
  { at: 0x04008, name: 'rx_error_bytes' }, // ERRBC
  { at: 0x04034, name: 'mac_local_faults' }, // MLFC
  { at: 0x04038, name: 'mac_remote_faults' }, // MRFC
  { at: 0x03fa0, name: 'rx_missed', count: 8, stride: 4 }, // RXMPC, of 8 packet buffers
  { at: 0x01430, name: 'rx_queue_drops', count: 16, stride: QUEUE_STRIDE }, // QPRDC; RQSMR, left alone, counts all queues in the first
];
