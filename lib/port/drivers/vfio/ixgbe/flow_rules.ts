/**
 * The 82599's filters of queues: EtherTypes (7.1.2.3) and IPv4's 5-tuples (7.1.2.5). They come before RSS in the choice of a
 * queue (7.1.2). All are off after `prepareReceive`. What is to be dropped is led to a queue that is off: "packets directed to a
 * disabled queue are dropped" (4.6.7).
 */
import { addressWord, IntelFlowRules, portWord, type FiveTuple } from '../intel/flow_rules.js';
import type { Registers } from '../pci/registers.js';
import {
  DROP_QUEUE, ETQF_COUNT, ETQF_ENABLE, ETQS_QUEUE_ENABLE, ETQS_QUEUE_SHIFT, FTQF_COUNT, FTQF_IGNORE_DESTINATION, FTQF_IGNORE_DESTINATION_PORT, FTQF_IGNORE_POOL, FTQF_IGNORE_PROTOCOL,
  FTQF_IGNORE_SOURCE, FTQF_IGNORE_SOURCE_PORT, FTQF_PRIORITY_SHIFT, FTQF_QUEUE_ENABLE, L34TIMIR_QUEUE_SHIFT, L34TIMIR_RESERVED, L34TIMIR_SIZE_BYPASS, SDPQF_DESTINATION_SHIFT,
  type RegisterName,
} from './registers.js';

/** FTQF's numbers of TCP, UDP and SCTP. */
const PROTOCOLS: Readonly<Record<number, number>> = { 6: 0, 17: 1, 132: 2 };
/** All of one priority: no two that are asked for here want the same packet for different queues. */
const PRIORITY = 1;

export function ixgbeFlowRules(registers: Registers<RegisterName>, unruled: () => readonly number[]): IntelFlowRules {
  return new IntelFlowRules({
    where: '82599 filters', unruled, dropQueue: DROP_QUEUE,
    etherTypes: {
      count: ETQF_COUNT,
      write: (index, type, queue) => {
        if (type === undefined) return registers.write('ETQF', 0, 4 * index);
        registers.write('ETQS', (ETQS_QUEUE_ENABLE | queue << ETQS_QUEUE_SHIFT) >>> 0, 4 * index);
        registers.write('ETQF', (ETQF_ENABLE | type) >>> 0, 4 * index);
      },
    },
    fiveTuples: { count: FTQF_COUNT, protocols: Object.keys(PROTOCOLS).map(Number), write: (index, wanted, queue) => { writeFiveTuple(registers, index, wanted, queue); } },
  });
}

/** What is compared, then whether it is. Addresses and ports as they stand in a packet, the first byte the lowest (8.2.3.7.16 to 18). */
function writeFiveTuple(registers: Registers<RegisterName>, index: number, wanted: FiveTuple | undefined, queue: number): void {
  const at = 4 * index;
  if (wanted === undefined) return registers.clear('FTQF', FTQF_QUEUE_ENABLE, at);
  const { source, destination, sourcePort, destinationPort, protocol } = wanted;
  registers.write('SAQF', addressWord(source), at);
  registers.write('DAQF', addressWord(destination), at);
  registers.write('SDPQF', (portWord(sourcePort) | portWord(destinationPort) << SDPQF_DESTINATION_SHIFT) >>> 0, at);
  registers.write('L34TIMIR', L34TIMIR_SIZE_BYPASS | L34TIMIR_RESERVED | queue << L34TIMIR_QUEUE_SHIFT, at);
  const ignored = (source === undefined ? FTQF_IGNORE_SOURCE : 0) | (destination === undefined ? FTQF_IGNORE_DESTINATION : 0)
    | (sourcePort === undefined ? FTQF_IGNORE_SOURCE_PORT : 0) | (destinationPort === undefined ? FTQF_IGNORE_DESTINATION_PORT : 0) | (protocol === undefined ? FTQF_IGNORE_PROTOCOL : 0);
  registers.write('FTQF', ((protocol === undefined ? 0 : PROTOCOLS[protocol]!) | PRIORITY << FTQF_PRIORITY_SHIFT | ignored | FTQF_IGNORE_POOL | FTQF_QUEUE_ENABLE) >>> 0, at);
}
