/**
 * The 82576's filters of queues: EtherTypes (7.1.1.4) and IPv4's 5-tuples (7.1.1.5). They come before RSS in the choice of a
 * queue (7.1.1.1). All are off after `clearFilters`. What is to be dropped is led to a queue that is off, where packets are
 * dropped (4.5.9).
 */
import { addressWord, IntelFlowRules, portWord, type FiveTuple } from '../intel/flow_rules.js';
import type { Registers } from '../pci/registers.js';
import {
  ETQF_COUNT, ETQF_ENABLE, ETQF_LAST_QUEUE, ETQF_QUEUE_ENABLE, ETQF_QUEUE_SHIFT, FTQF_COUNT, FTQF_IGNORE_DESTINATION, FTQF_IGNORE_POOL, FTQF_IGNORE_PROTOCOL, FTQF_IGNORE_SOURCE, FTQF_IGNORE_SOURCE_PORT,
  FTQF_QUEUE_ENABLE, FTQF_QUEUE_SHIFT, IMIR_IGNORE_PORT, IMIR_PRIORITY_SHIFT, IMIREXT_FLAGS_BYPASS, IMIREXT_SIZE_BYPASS, QUEUE_STRIDE, SRRCTL_DROP_EN, SRRCTL_ONE_BUFFER,
  type RegisterName,
} from './registers.js';

/** All of one priority: no two that are asked for here want the same packet for different queues. */
const PRIORITY = 1;
/** Compares nothing, and leads nowhere. */
const OFF = (FTQF_IGNORE_POOL | FTQF_IGNORE_PROTOCOL | FTQF_IGNORE_SOURCE | FTQF_IGNORE_DESTINATION | FTQF_IGNORE_SOURCE_PORT) >>> 0;

/** `queues`: those from 0 on that are on. */
export function igbFlowRules(registers: Registers<RegisterName>, queues: number, unruled: () => readonly number[]): IntelFlowRules {
  return new IntelFlowRules({
    where: '82576 filters', unruled, dropQueue: dropQueueOf(queues),
    etherTypes: {
      count: ETQF_COUNT,
      write: (index, type, queue) => { registers.write('ETQF', type === undefined ? 0 : (ETQF_QUEUE_ENABLE | ETQF_ENABLE | queue << ETQF_QUEUE_SHIFT | type) >>> 0, 4 * index); },
    },
    // Linux's driver knows IPv6's packets by protocol and ports with the same filters (PTP).
    fiveTuples: { count: FTQF_COUNT, needsAddress: true, write: (index, wanted, queue) => { writeFiveTuple(registers, index, wanted, queue); } },
  });
}

/** Before receiving begins. */
export function clearFilters(registers: Registers<RegisterName>): void {
  for (let filter = 0; filter < ETQF_COUNT; filter++) registers.write('ETQF', 0, 4 * filter);
  for (let filter = 0; filter < FTQF_COUNT; filter++) writeFiveTuple(registers, filter, undefined, 0);
}

/** A queue that is off has no descriptors either: what SRRCTL says of that is the same (8.10.2). Without pools, whose queue it may be. */
export function prepareDropQueue(registers: Registers<RegisterName>, queues: number): void {
  const drop = dropQueueOf(queues);
  if (drop !== undefined) registers.write('SRRCTL', (SRRCTL_ONE_BUFFER | 2 | SRRCTL_DROP_EN) >>> 0, drop * QUEUE_STRIDE);
}

function dropQueueOf(queues: number): number | undefined {
  return queues <= ETQF_LAST_QUEUE ? ETQF_LAST_QUEUE : undefined;
}

/** What is compared, then whether it is, the filter being off meanwhile. Addresses and ports as they stand in a packet, the first byte the lowest. */
function writeFiveTuple(registers: Registers<RegisterName>, index: number, wanted: FiveTuple | undefined, queue: number): void {
  const at = 4 * index;
  registers.write('FTQF', OFF, at);
  const { source, destination, sourcePort, destinationPort, protocol } = wanted ?? {};
  registers.write('SAQF', addressWord(source), at);
  registers.write('DAQF', addressWord(destination), at);
  registers.write('SPQF', portWord(sourcePort), at);
  registers.write('IMIR', (portWord(destinationPort) | (destinationPort === undefined ? IMIR_IGNORE_PORT : 0) | (wanted === undefined ? 0 : PRIORITY << IMIR_PRIORITY_SHIFT)) >>> 0, at);
  registers.write('IMIREXT', IMIREXT_SIZE_BYPASS | IMIREXT_FLAGS_BYPASS, at);
  if (wanted === undefined) return;
  const ignored = (source === undefined ? FTQF_IGNORE_SOURCE : 0) | (destination === undefined ? FTQF_IGNORE_DESTINATION : 0)
    | (sourcePort === undefined ? FTQF_IGNORE_SOURCE_PORT : 0) | (protocol === undefined ? FTQF_IGNORE_PROTOCOL : 0);
  registers.write('FTQF', ((protocol ?? 0) | ignored | FTQF_IGNORE_POOL | queue << FTQF_QUEUE_SHIFT | FTQF_QUEUE_ENABLE) >>> 0, at);
}
