import { burstFunctions } from '../../../burst/module.js';
import { DRIVER_BAD_FRAME, DRIVER_BAD_LENGTH, DRIVER_BAD_USED, DRIVER_FOREIGN, DRIVER_RING_FULL } from '../../../virtqueue/layout.js';
import type { PortHost } from '../../port.js';
import { total, type QueuePortParts } from '../../queue_port.js';
import { SidedPort } from '../../sided_port.js';
import { VirtioRxQueue, VirtioTxQueue } from './queues.js';
import { VirtioSide } from './side.js';
import type { VirtioUserOptions } from './options.js';

/** An open one: the port's queues, and its connection. */
export class VirtioUserPort extends SidedPort<VirtioSide> {
  /** Connects and negotiates. Throws ENOTFOUND, ENOANSWER, EUNSUPPORTED, EFORMAT, EPOOL, EARENAFULL. */
  constructor(settings: Required<VirtioUserOptions>, host: PortHost) {
    const side = new VirtioSide(settings, host);
    super(host, side, parts(settings, host, side));
  }
}

function parts({ queues, packed, mergeable, mtu }: Required<VirtioUserOptions>, host: PortHost, side: VirtioSide): QueuePortParts {
  const functions = burstFunctions(host.arena);
  return {
    mac: undefined,
    capabilities: {
      // A chain is what arrives in several buffers of one frame, which the device may only use where it merges them.
      mtu: mergeable ? mtu : Math.min(mtu, host.pool.room - 14), rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true,
      mode: `vhost-user front-end, ${packed ? 'packed' : 'split'} rings`,
    },
    rx(state, queue) {
      side.add(state, 2 * queue);
      return new VirtioRxQueue(state, functions, side.service);
    },
    tx(state, queue) {
      side.add(state, 2 * queue + 1);
      return new VirtioTxQueue(state, functions, side.service);
    },
    xstats(into, rx, tx) {
      Object.assign(into, {
        rx_bad_used: total(rx, DRIVER_BAD_USED), rx_bad_length: total(rx, DRIVER_BAD_LENGTH), tx_bad_used: total(tx, DRIVER_BAD_USED),
        tx_bad_frame: total(tx, DRIVER_BAD_FRAME), tx_ring_full: total(tx, DRIVER_RING_FULL), tx_not_in_pool: total(tx, DRIVER_FOREIGN), ...side.counts,
      });
    },
    release: () => side.close(),
  };
}
