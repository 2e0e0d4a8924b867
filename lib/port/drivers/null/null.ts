import { burstFunctions } from '../../../burst/module.js';
import { HEADROOM } from '../../../mbuf/layout.js';
import { PollmodeError } from '../../../errors.js';
import { FunctionPort } from '../../function_port.js';
import { FunctionRxQueue, FunctionTxQueue } from '../../queue.js';
import type { PortDriver } from '../../port.js';
import { NULL_FRAME } from '../memory_layout.js';

export interface NullOptions {
  /** Bytes of each frame it makes, without FCS. Default 60, RFC 2544's 64. */
  readonly size?: number;
  readonly queues?: number;
}

/**
 * `null:`: a source that never runs dry and a sink that is never full, like DPDK's net_null: receiving takes mbufs from
 * the pool and writes length and port; sending frees them. Contents are not touched. It is the smallest driver, and the
 * template for the next one.
 */
export const nullDriver: PortDriver<NullOptions> = {
  name: 'null',
  summary: 'endless source and bottomless sink in memory',
  options: {
    size: { type: 'size', help: 'bytes of each frame it makes, without FCS (default 60)', min: 14, max: 4096 - HEADROOM },
    queues: { type: 'count', help: 'rx and tx queues (default 1)', min: 1, max: 64 },
  },
  probe: () => ({ usable: true }),
  plan: ({ size = 60 }) => ({ mbufs: 0, bufferSize: size + HEADROOM, registered: false }),
  open({ size = 60, queues = 1 }, host) {
    if (size > host.pool.room) {
      throw new PollmodeError('EPOOL', `null: frames of ${size} bytes do not fit in this pool's buffers, which take ${host.pool.room}: open it together with the other ports, or ask for a larger bufferSize.`);
    }
    const { nullRx, nullTx } = burstFunctions(host.arena);
    return new FunctionPort(host, {
      capabilities: { mtu: host.pool.room - 14, rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true, mode: `frames of ${size} bytes` },
      rx: nullRx,
      tx: nullTx,
      prepare(state) {
        state.set(NULL_FRAME, size);
        state.setTemplateLength(size);
      },
    });
  },
  attach: {
    rx: state => new FunctionRxQueue(state, burstFunctions(state.arena).nullRx),
    tx: state => new FunctionTxQueue(state, burstFunctions(state.arena).nullTx),
  },
};
