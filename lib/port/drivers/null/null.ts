import { burstFunctions } from '../../../burst/module.js';
import { HEADROOM } from '../../../mbuf/layout.js';
import { PollmodeError } from '../../../errors.js';
import { FunctionPort } from '../../function_port.js';
import { FunctionRxQueue, FunctionTxQueue } from '../../queue.js';
import type { PortDriver, PortHost } from '../../port.js';
import { NULL_CONTENTS, NULL_FRAME } from '../memory_layout.js';
import { patterns, patternOf, type Pattern } from './pattern.js';

export interface NullOptions {
  /** Bytes of each frame it makes, without FCS. Default 60, RFC 2544's 64. */
  readonly size?: number;
  /** What is in them. Default `none`: what the buffer held. */
  readonly frame?: Pattern;
  readonly queues?: number;
}

/**
 * `null:`: a source that never runs dry and a sink that is never full, like DPDK's net_null: receiving takes mbufs from
 * the pool and writes length and port; sending frees them. Contents are not touched, but for `frame`, which copies a
 * frame into each. It is the smallest driver, and the template for the next one.
 */
export const nullDriver: PortDriver<NullOptions> = {
  name: 'null',
  summary: 'endless source and bottomless sink in memory',
  options: {
    size: { type: 'size', help: 'bytes of each frame it makes, without FCS (default 60)', min: 14, max: 4096 - HEADROOM },
    frame: { type: 'choice', help: 'what is in them: none (default), whatever the buffer held; udp, udp6: RFC 2544\'s test frame over IPv4 or IPv6', choices: patterns },
    queues: { type: 'count', help: 'rx and tx queues (default 1)', min: 1, max: 64 },
  },
  probe: () => ({ usable: true }),
  plan({ size = 60, frame = 'none' }) {
    patternOf(frame, size);
    return { mbufs: 0, bufferSize: size + HEADROOM, registered: false };
  },
  open({ size = 60, frame = 'none', queues = 1 }, host) {
    if (size > host.pool.room) {
      throw new PollmodeError('EPOOL', `null: frames of ${size} bytes do not fit in this pool's buffers, which take ${host.pool.room}: open it together with the other ports, or ask for a larger bufferSize.`);
    }
    const { nullRx, nullTx } = burstFunctions(host.arena);
    const contents = contentsOf(host, patternOf(frame, size));
    try {
      return new FunctionPort(host, {
        capabilities: { mtu: host.pool.room - 14, rxQueues: queues, txQueues: queues, timestamps: 'none', zeroCopy: true, mode: `frames of ${size} bytes${frame === 'none' ? '' : `, ${frame}`}` },
        rx: nullRx,
        tx: nullTx,
        prepare(state) {
          state.set(NULL_FRAME, size);
          state.set(NULL_CONTENTS, contents.offset);
          state.setTemplateLength(size);
        },
        release: contents.release,
      });
    } catch (cause) {
      contents.release();
      throw cause;
    }
  },
  attach: {
    rx: state => new FunctionRxQueue(state, burstFunctions(state.arena).nullRx),
    tx: state => new FunctionTxQueue(state, burstFunctions(state.arena).nullTx),
  },
};

/** Where the frame stands in the arena; offset 0: nowhere. */
function contentsOf({ arena, number }: PortHost, frame: Uint8Array | undefined): { readonly offset: number; release(): void } {
  if (frame === undefined) return { offset: 0, release: () => undefined };
  const zone = arena.reserve(`port/${number}/null`, frame.length, { align: 64 });
  arena.u8.set(frame, zone.offset);
  return { offset: zone.offset, release: () => { arena.release(zone); } };
}
