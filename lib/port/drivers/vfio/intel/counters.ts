/** Statistics registers that are at the same places in several NICs: 32 bits that stop at their end, cleared by reading. */
import type { RegisterRow } from '../pci/registers.js';
import type { Counter } from './chip.js';

/** 82574 (10.2.7), 82576 (8.19) and 82599 (8.2.3.23). */
const COMMON = [
  ['CRCERRS', 0x04000, 'RC', 'frames with a wrong CRC'],
  ['RLEC', 0x04040, 'RC', 'frames whose length field is wrong'],
  ['GPRC', 0x04074, 'RC', 'good frames received'],
  ['BPRC', 0x04078, 'RC', 'of them broadcast'],
  ['MPRC', 0x0407c, 'RC', 'of them multicast'],
  ['GPTC', 0x04080, 'RC', 'good frames sent'],
  ['RUC', 0x040a4, 'RC', 'frames shorter than 64 bytes'],
  ['RFC', 0x040a8, 'RC', 'the same with a wrong CRC'],
  ['ROC', 0x040ac, 'RC', 'frames that are too long'],
  ['RJC', 0x040b0, 'RC', 'the same with a wrong CRC'],
] as const satisfies readonly RegisterRow[];

/** 82574 and 82576. */
const GIGABIT = [
  ['ALGNERRC', 0x04004, 'RC', 'frames with an alignment error'],
  ['RXERRC', 0x0400c, 'RC', 'frames with a receive error of the PHY'],
  ['MPC', 0x04010, 'RC', 'frames missed: no room in the receive FIFO'],
  ['ECOL', 0x04018, 'RC', 'frames not sent after 16 collisions'],
  ['LATECOL', 0x04020, 'RC', 'late collisions'],
  ['SEC', 0x04038, 'RC', 'sequence errors'],
  ['CEXTERR', 0x0403c, 'RC', 'carrier extension errors'],
  ['RNBC', 0x040a0, 'RC', 'frames that found no descriptor, whether or not they were lost'],
] as const satisfies readonly RegisterRow[];

type Name = (typeof COMMON | typeof GIGABIT)[number][0];

/** What xstats calls them. `device_*`: as the device counts by itself, filters passed. */
const NAMES: Readonly<Record<Name, string>> = {
  CRCERRS: 'rx_crc_errors', ALGNERRC: 'rx_alignment_errors', RXERRC: 'rx_phy_errors', MPC: 'rx_missed', ECOL: 'tx_excessive_collisions',
  LATECOL: 'tx_late_collisions', SEC: 'rx_sequence_errors', CEXTERR: 'rx_carrier_extension_errors', RLEC: 'rx_length_errors',
  GPRC: 'device_rx_packets', BPRC: 'device_rx_broadcast', MPRC: 'device_rx_multicast', GPTC: 'device_tx_packets', RNBC: 'rx_no_descriptor',
  RUC: 'rx_undersize', RFC: 'rx_fragments', ROC: 'rx_oversize', RJC: 'rx_jabber',
};

export const COMMON_COUNTERS = countersOf(COMMON);
export const GIGABIT_COUNTERS = [...COMMON_COUNTERS, ...countersOf(GIGABIT)];

function countersOf(rows: readonly RegisterRow<Name>[]): readonly Counter[] {
  return rows.map(([name, at]) => ({ at, name: NAMES[name] }));
}
