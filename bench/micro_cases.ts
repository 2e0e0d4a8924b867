/**
 * What the microbenchmark races: one operation of a burst function, on a world of its own, so that builds can be
 * compared. Everything happens in one thread.
 */
import { Arena } from '../lib/arena/arena.js';
import { Burst } from '../lib/burst/burst.js';
import type { BurstFunctions } from '../lib/burst/functions.js';
import { Mempool } from '../lib/mbuf/mempool.js';
import { NULL_FRAME, RING_PORT_BYTES, RING_PORT_RING } from '../lib/port/drivers/memory_layout.js';
import { QueueState } from '../lib/port/queue.js';
import { Ring } from '../lib/ring/ring.js';
import { FakeIntel } from './micro_intel.js';
import * as build from '../lib/wire/build.js';
import { FakeXsk } from './micro_xsk.js';

export interface Case {
  readonly name: string;
  readonly run: () => void;
}

const BURST = 32;

export function cases(functions: (arena: Arena) => BurstFunctions): readonly Case[] {
  const arena = Arena.create();
  const pool = Mempool.create(arena, 'pool', { count: 4096 });
  const f = functions(arena);
  const burst = new Burst(arena, BURST);
  return [...ringCases(arena, f, burst), ...poolCases(pool, f, burst), ...portCases(pool, f, burst), ...xskCases(pool, f, burst), ...intelCases(pool, f, burst), ...wireCases(pool, f)];
}

function ringCases(arena: Arena, f: BurstFunctions, { offset }: Burst): Case[] {
  const single = Ring.create(arena, 'single', { size: 1024, singleProducer: true, singleConsumer: true }).offset;
  const ring = Ring.create(arena, 'multi', { size: 1024 }).offset;
  const { lcore } = arena;
  return [
    {
      name: 'ring SP/SC, bulk 32 in and out',
      run() {
        f.ringEnqueueSp(single, offset, BURST, 1, lcore);
        f.ringDequeueSc(single, offset, BURST, 1, lcore);
      },
    },
    {
      name: 'ring MP/MC, bulk 32 in and out',
      run() {
        f.ringEnqueueMp(ring, offset, BURST, 1, lcore);
        f.ringDequeueMc(ring, offset, BURST, 1, lcore);
      },
    },
  ];
}

function poolCases({ offset: pool, arena: { lcore } }: Mempool, f: BurstFunctions, { offset }: Burst): Case[] {
  return [{
    name: 'mempool, 32 allocated and freed',
    run() {
      f.mbufAlloc(pool, lcore, offset, BURST);
      f.mbufFree(pool, lcore, offset, BURST);
    },
  }];
}

function portCases(pool: Mempool, f: BurstFunctions, { offset }: Burst): Case[] {
  const { arena } = pool;
  const { lcore } = arena;
  const [nullRx, nullTx] = queues(pool, 0, state => {
    state.set(NULL_FRAME, 60);
    state.setTemplateLength(60);
  });
  const ring = Ring.create(arena, 'port ring', { size: 1024, singleProducer: true, singleConsumer: true, holds: 'mbufs' });
  const [ringRx, ringTx] = queues(pool, 1, state => {
    state.set(RING_PORT_RING, ring.offset);
    state.set(RING_PORT_BYTES, 1);
  });
  return [
    {
      name: 'null port, 32 received and sent',
      run() {
        f.nullRx(nullRx, offset, BURST, lcore);
        f.nullTx(nullTx, offset, BURST, lcore);
      },
    },
    {
      name: 'ring port, 32 sent and received',
      run() {
        if (f.ringRx(ringRx, offset, BURST, lcore) === 0) f.mbufAlloc(pool.offset, lcore, offset, BURST); // the first time
        f.ringTx(ringTx, offset, BURST, lcore);
      },
    },
  ];
}

function xskCases(pool: Mempool, f: BurstFunctions, burst: Burst): Case[] {
  const { lcore } = pool.arena;
  const [rx, tx] = queues(pool, 2, () => undefined);
  const kernel = new FakeXsk(pool, rx, tx);
  f.xskFill(rx, lcore);
  return [
    {
      name: 'AF_XDP, 32 allocated and sent (the kernel\'s part in TypeScript)',
      run() {
        f.mbufAlloc(pool.offset, lcore, burst.offset, BURST);
        kernel.setLengths(burst, BURST);
        f.xskTx(tx, burst.offset, BURST, lcore);
        kernel.send();
      },
    },
    {
      name: 'AF_XDP, 32 received and freed (the kernel\'s part in TypeScript)',
      run() {
        kernel.receive(BURST);
        f.mbufFree(pool.offset, lcore, burst.offset, f.xskRx(rx, burst.offset, BURST, lcore));
      },
    },
  ];
}

function intelCases(pool: Mempool, f: BurstFunctions, burst: Burst): Case[] {
  const { lcore } = pool.arena;
  const [rx, tx] = queues(pool, 3, () => undefined);
  const device = new FakeIntel(pool, rx, tx, 'igb');
  f.intelFill(rx, lcore);
  return [
    {
      name: 'igb, 32 allocated and sent (the device\'s part in TypeScript)',
      run() {
        f.mbufAlloc(pool.offset, lcore, burst.offset, BURST);
        device.setLengths(burst, BURST);
        f.intelTx(tx, burst.offset, BURST, lcore);
        device.send();
      },
    },
    {
      name: 'igb, 32 received and freed (the device\'s part in TypeScript)',
      run() {
        device.receive(BURST);
        f.mbufFree(pool.offset, lcore, burst.offset, f.intelRx(rx, burst.offset, BURST, lcore));
      },
    },
  ];
}

function wireCases(pool: Mempool, f: BurstFunctions): Case[] {
  const { arena, mbufs } = pool;
  const burst = pool.burst(BURST);
  pool.alloc(burst, BURST);
  const frame = build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.tcp({ sourcePort: 1, destinationPort: 2 }), new Uint8Array(10));
  for (const handle of burst.handles) mbufs.copyIn(handle, frame);
  const tuples = arena.reserve('bench/tuples', BURST * 40).offset;
  const long = pool.burst(BURST);
  pool.alloc(long, BURST);
  for (const handle of long.handles) mbufs.copyIn(handle, build.frame(build.ethernet(), build.ipv4({ source: '10.0.0.1', destination: '10.0.0.2' }), build.udp({ sourcePort: 1, destinationPort: 2 }), new Uint8Array(1472)));
  return [
    { name: 'checksums of 32 UDP packets of 1514 B looked at', run: () => void f.checksumCheck(arena.table, long.offset, BURST) },
    { name: 'packet types of 32 TCP packets', run: () => f.parse(arena.table, burst.offset, BURST) },
    { name: '5-tuples of 32 TCP packets', run: () => void f.tuples(arena.table, burst.offset, BURST, tuples) },
  ];
}

/** An rx and a tx queue of a port that has nothing else. Returns where their states are. */
function queues(pool: Mempool, number: number, prepare: (state: QueueState) => void): [number, number] {
  const make = (direction: 'rx' | 'tx'): number => {
    const state = new QueueState({ arena: pool.arena, pool, number, device: 'bench' }, direction, 0);
    prepare(state);
    return state.offset;
  };
  return [make('rx'), make('tx')];
}
