import type { Registers } from '../pci/registers.js';
import type { RegisterName } from './registers.js';

/** The device's own counters (10.2.7) and what xstats calls them. `device_*`: as it counts by itself, filters passed. */
const COUNTERS: readonly (readonly [RegisterName, string])[] = [
  ['GPRC', 'device_rx_packets'], ['BPRC', 'device_rx_broadcast'], ['MPRC', 'device_rx_multicast'], ['GPTC', 'device_tx_packets'],
  ['MPC', 'rx_missed'], ['RNBC', 'rx_no_descriptor'], ['CRCERRS', 'rx_crc_errors'], ['ALGNERRC', 'rx_alignment_errors'],
  ['RXERRC', 'rx_phy_errors'], ['SEC', 'rx_sequence_errors'], ['CEXTERR', 'rx_carrier_extension_errors'], ['RLEC', 'rx_length_errors'],
  ['RUC', 'rx_undersize'], ['RFC', 'rx_fragments'], ['ROC', 'rx_oversize'], ['RJC', 'rx_jabber'], ['ECOL', 'tx_excessive_collisions'],
  ['LATECOL', 'tx_late_collisions'],
];

/** They forget when they are read, so they are added up here. */
export class Statistics {
  readonly #registers: Registers<RegisterName>;
  readonly #totals = new Map<string, number>(COUNTERS.map(([, name]) => [name, 0]));

  constructor(registers: Registers<RegisterName>) {
    this.#registers = registers;
  }

  /** 4.6.4: what was there before the port is not its own. */
  clear(): void {
    for (const [register] of COUNTERS) this.#registers.read(register);
  }

  addTo(xstats: Record<string, number>): void {
    for (const [register, name] of COUNTERS) {
      const value = this.#registers.read(register);
      // All ones is a device that has gone: no counter of a live one gets there between two looks.
      if (value !== 0xffffffff) this.#totals.set(name, this.#totals.get(name)! + value);
      xstats[name] = this.#totals.get(name)!;
    }
  }
}
