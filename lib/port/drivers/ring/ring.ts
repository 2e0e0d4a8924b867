import type { Arena } from '../../../arena/arena.js';
import { burstFunctions } from '../../../burst/module.js';
import { RING_FLAGS, RING_SC } from '../../../ring/layout.js';
import { Ring } from '../../../ring/ring.js';
import { FunctionPort } from '../../function_port.js';
import { FunctionRxQueue, FunctionTxQueue } from '../../queue.js';
import type { PortDriver, PortHost } from '../../port.js';
import { RING_PORT_BYTES, RING_PORT_RING, RING_PORT_SCRATCH, RING_PORT_SCRATCH_COUNT } from '../memory_layout.js';

/** Mbufs go by as they are, chains too: as long as an IP packet can be. */
const LONGEST_PACKET = 65_535;

export interface RingPortOptions {
  /** Name of the ring to receive from; made when it is not there. */
  readonly device: string;
  /** Name of the ring to send to. Default: the same, so that what is sent comes back. */
  readonly tx?: string;
  /** Slots of a ring that is made. Default 1024. */
  readonly size?: number;
  /** Says that one thread sends and one receives: faster. */
  readonly single?: boolean;
  /** Count bytes beside packets. Default true; DPDK's net_ring does not, and it is what takes longest: each packet's header is read. */
  readonly bytes?: boolean;
}

/**
 * `ring:a` or `ring:a,tx=b`: a port over rings of the arena, like DPDK's net_ring. Two ports with the names crossed are
 * a wire between two lcores; one alone is a loopback. Nothing is copied: the mbufs themselves travel, as they are. So
 * `port` in their headers stays that of the port by which they came into the program.
 */
export const ringDriver: PortDriver<RingPortOptions> = {
  name: 'ring',
  summary: 'rings in shared memory: a loopback, or a wire between threads',
  options: {
    device: { type: 'text', help: 'name of the ring to receive from', required: true },
    tx: { type: 'text', help: 'name of the ring to send to (default: the same)' },
    size: { type: 'count', help: 'slots of a ring that is made, a power of two (default 1024)', min: 2, max: 65536 },
    single: { type: 'flag', help: 'one thread sends and one receives (faster)' },
    bytes: { type: 'flag', help: 'count bytes beside packets (default 1; bytes=0, as in net_ring, is faster)' },
  },
  probe: () => ({ usable: true }),
  plan: ({ size = 1024, device, tx = device }) => ({ mbufs: tx === device ? size : 2 * size, bufferSize: 2048, registered: false }),
  open({ device, tx = device, size = 1024, single = false, bytes = true }, host) {
    const from = share(host.arena, device, size, single);
    let to = from;
    try {
      if (tx !== device) to = share(host.arena, tx, size, single);
      return openBetween(from, to, bytes, host);
    } catch (cause) {
      leave(host, from);
      if (to !== from) leave(host, to);
      throw cause;
    }
  },
  attach: {
    rx: state => new FunctionRxQueue(state, burstFunctions(state.arena).ringRx),
    tx: state => new FunctionTxQueue(state, burstFunctions(state.arena).ringTx),
  },
};

function openBetween(from: Ring, to: Ring, bytes: boolean, host: PortHost): FunctionPort {
  const { ringRx, ringTx } = burstFunctions(host.arena);
  const name = (ring: Ring): string => ring.name.slice(PREFIX.length);
  let scratch = 0;
  return new FunctionPort(host, {
    capabilities: { mtu: LONGEST_PACKET, rxQueues: 1, txQueues: 1, timestamps: 'none', zeroCopy: true, mode: `${name(from)} to ${name(to)}` },
    rx: ringRx,
    tx: ringTx,
    prepare(state) {
      const ring = state.direction === 'rx' ? from : to;
      if (state.direction === 'rx') scratch = state.offset + RING_PORT_SCRATCH;
      state.set(RING_PORT_RING, ring.offset);
      state.set(RING_PORT_BYTES, bytes ? 1 : 0);
    },
    release() {
      leave(host, from, scratch);
      if (to !== from) leave(host, to, scratch);
    },
  });
}

const PREFIX = 'ring/';

/** How many ports of this thread use a ring of an arena; the last one takes it away, when this thread made it. */
const users = new WeakMap<Arena, Map<string, number>>();

function share(arena: Arena, name: string, size: number, single: boolean): Ring {
  const zone = `${PREFIX}${name}`;
  const count = users.get(arena) ?? new Map<string, number>();
  users.set(arena, count);
  if (arena.lookup(zone) !== undefined) {
    if (count.has(name)) count.set(name, count.get(name)! + 1);
    return Ring.find(arena, zone);
  }
  const ring = Ring.create(arena, zone, { size, singleProducer: single, singleConsumer: single, holds: 'mbufs' });
  count.set(name, 1);
  return ring;
}

/** `scratch`: where the packets' handles may stand on their way back to the pool; none for a port that never opened, whose own ring is empty. */
function leave(host: PortHost, ring: Ring, scratch?: number): void {
  const count = users.get(host.arena)!;
  const name = ring.name.slice(PREFIX.length);
  if (!count.has(name)) return;
  const left = count.get(name)! - 1;
  count.set(name, left);
  if (left > 0) return;
  count.delete(name);
  if (scratch !== undefined) drain(host, ring, scratch);
  ring.close();
}

/** Packets that nobody will receive any more go back to the pool. Nothing is reserved for it: the arena may be full. */
function drain({ arena, pool }: PortHost, ring: Ring, scratch: number): void {
  const { ringDequeueMc, ringDequeueSc, mbufFree } = burstFunctions(arena);
  const single = (arena.u32[(ring.offset + RING_FLAGS) >>> 2]! & RING_SC) !== 0;
  const take = (): number => single
    ? ringDequeueSc(ring.offset, scratch, RING_PORT_SCRATCH_COUNT, 0, arena.lcore)
    : ringDequeueMc(ring.offset, scratch, RING_PORT_SCRATCH_COUNT, 0, arena.lcore);
  for (let got = take(); got > 0; got = take()) mbufFree(pool.offset, arena.lcore, scratch, got);
}
