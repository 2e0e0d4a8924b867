import type { Memzone } from '../../../arena/directory.js';
import { burstFunctions } from '../../../burst/module.js';
import {
  DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, DEVICE_FOREIGN, DEVICE_RING_FULL, DEVICE_TOO_SMALL, SCRATCH_BYTES,
} from '../../../virtqueue/layout.js';
import type { PortHost } from '../../port.js';
import type { QueueState } from '../../queue.js';
import { total, type QueuePortParts } from '../../queue_port.js';
import { SidedPort, type PortSide } from '../../sided_port.js';
import { MemifClient } from './client.js';
import type { MemifSettings } from './options.js';
import { MemifRxQueue, MemifTxQueue } from './queues.js';
import { ClientRegions } from './regions.js';
import { MemifServer } from './server.js';

/** What either role gives a port. */
export interface Side extends PortSide {
  add(state: QueueState, queue: number): void;
  readonly service: () => void;
  /** Counters by name. */
  readonly counters: () => Record<string, number>;
  readonly mode: string;
}

/** An open one: the port's queues, and its side of the connection. */
export class MemifPort extends SidedPort<Side> {
  /** Throws what its side throws: ENOTFOUND, ENOANSWER, EUNSUPPORTED, EFORMAT; EBUSYQUEUE, EEXISTS, ERIGHTS; EPOOL, EARENAFULL. */
  constructor(settings: MemifSettings, host: PortHost) {
    const side = settings.role === 'server' ? serverSide(settings, host) : clientSide(settings, host);
    super(host, side, parts(settings, host, side));
  }
}

function clientSide(settings: MemifSettings, host: PortHost): Side {
  const client = new MemifClient(settings, host);
  return {
    link: client.link, add: (state, queue) => client.add(state, queue), start: () => client.start(), service: client.service, counters: () => client.counts,
    mode: `memif client, ${settings.zeroCopy ? 'zero copy' : 'one copy'}`, close: () => client.close(),
  };
}

function serverSide(settings: MemifSettings, host: PortHost): Side {
  const { arena, number } = host;
  const scratch: Memzone = arena.reserve(`port/${number}/memif/scratch`, 2 * settings.queues * SCRATCH_BYTES, { align: 64 });
  let regions: ClientRegions;
  try {
    regions = new ClientRegions(host);
  } catch (cause) {
    arena.release(scratch);
    throw cause;
  }
  const server = new MemifServer(settings, regions);
  return {
    link: server.link, mode: 'memif server, one copy',
    add: (state, queue) => server.add(state, scratch.offset + (2 * queue + (state.direction === 'rx' ? 0 : 1)) * SCRATCH_BYTES),
    start: () => server.start(), service: () => server.service(), counters: () => ({ ...server.counts, connections_refused: server.refused, client_memory: regions.bytes }),
    close() {
      server.close();
      regions.close();
      arena.release(scratch);
    },
  };
}

function parts({ queues, mtu, zeroCopy, mac }: MemifSettings, host: PortHost, side: Side): QueuePortParts {
  const functions = burstFunctions(host.arena);
  const turn = (): void => side.service();
  return {
    mac, capabilities: { mtu, rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy, mode: side.mode },
    rx(state, queue) {
      side.add(state, queue);
      return new MemifRxQueue(state, functions, turn);
    },
    tx(state, queue) {
      side.add(state, queue);
      return new MemifTxQueue(state, functions, turn);
    },
    xstats(into, rx, tx) {
      const counters = { bad_index: DEVICE_BAD_INDEX, bad_chain: DEVICE_BAD_CHAIN, bad_address: DEVICE_BAD_ADDRESS, bad_frame: DEVICE_BAD_FRAME };
      for (const [name, field] of Object.entries(counters)) {
        into[`rx_${name}`] = total(rx, field);
        into[`tx_${name}`] = total(tx, field);
      }
      Object.assign(into, { tx_buffer_too_small: total(tx, DEVICE_TOO_SMALL), tx_ring_full: total(tx, DEVICE_RING_FULL), tx_not_in_pool: total(tx, DEVICE_FOREIGN), ...side.counters() });
    },
    release: () => side.close(),
  };
}
