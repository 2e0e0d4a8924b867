/** An other end that means harm: descriptors and indices that change while they are read. Nothing outside what it shares is read or written, and every mbuf is where it should be. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { MBUF_OWNER } from '../../../../lib/mbuf/layout.js';
import { MEMIF_LEAD, MEMIF_NEXT, MEMIF_POSTED, MEMIF_REGIONS, MEMIF_RING, MEMIF_TABLE, MEMIF_THEIRS } from '../../../../lib/port/drivers/memif/layout.js';
import { QUEUE_OWNER, QUEUE_PACKETS } from '../../../../lib/port/layout.js';
import { DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX } from '../../../../lib/virtqueue/layout.js';
import { get, get64, makeLab, reserve } from '../../../burst/layout_helper.js';
import { accounted, bytesOf, free, guardsStand, headerOf, makeMemifWorld, receive, send, type MemifShape, type MemifWorld, type Side } from '../../../burst/memif_world_helper.js';
import type { Prey } from './scribbler.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const WANTED = LONG ? 10_000_000 : 200_000;
const ENOUGH = 50;
const ELSEWHERE = 0xee;
/** So many of them in a row are in no frame by chance. */
const ROW = Buffer.alloc(16, ELSEWHERE);
const SHAPE: MemifShape = { log2: 4, start: 0xfff0, zeroCopy: false, bufferBytes: 300, clientBuffers: 14, serverBuffers: 14, cache: 4 };

/** Who is preyed upon: the server, whose client lies; a client that copies; one that shares its pool. */
const PREY = { server: ['server', false], 'copying client': ['client', false], 'sharing client': ['client', true] } as const;

for (const [name, [which, zeroCopy]] of Object.entries(PREY)) {
  for (const build of ['fast', 'portable'] as const) {
    t.test(`${name}, ${build}: ${WANTED} descriptors written under the bursts`, { timeout: 300_000 }, async t => {
      const lab = makeLab({ build });
      const world = makeMemifWorld(lab, { ...SHAPE, zeroCopy });
      const side = world[which];
      const fences = fence(world);
      const control = new SharedArrayBuffer(8);
      const counts = new Int32Array(control);
      const seed = Math.floor(Math.random() * 2 ** 32);
      t.comment(`seed ${seed}`);
      const prey: Prey = {
        buffer: lab.memory.buffer, size: 1 << SHAPE.log2, control, seed, regionBytes: get(lab, get(lab, world.server.rx, MEMIF_REGIONS), MEMIF_TABLE + 4),
        queues: [side.rx, side.tx].map(state => ({ state, ring: get(lab, state, MEMIF_RING), theirs: get(lab, state, MEMIF_THEIRS), lead: get(lab, state, MEMIF_LEAD) })),
      };
      const worker = new Worker(new URL('./scribbler.js', import.meta.url), { workerData: prey });
      await once(worker, 'online');
      let [rounds, frames] = [0, 0];
      const bad = (): number => [DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS, DEVICE_BAD_FRAME].reduce((sum, field) => sum + get64(lab, side.rx, field) + get64(lab, side.tx, field), 0);
      // On a busy machine the two threads seldom run at once: until enough of what was written was also looked at.
      const deadline = performance.now() + 120_000;
      while ((Atomics.load(counts, 1) < WANTED || bad() < ENOUGH || frames === 0) && performance.now() < deadline) {
        frames += burst(world, side);
        if (++rounds % 64 === 0 && !standing(world, fences)) break;
      }
      Atomics.store(counts, 0, 1);
      await once(worker, 'exit');
      t.ok(standing(world, fences), 'nothing beside what is shared was written');
      free(world, side, 100);
      t.equal(inPool(world, side, zeroCopy), 14, 'every mbuf is in the pool, or out where the ring says');
      t.ok(bad() >= ENOUGH, `${bad()} were bad, and counted`);
      t.ok(frames > 0 && get64(lab, side.tx, QUEUE_PACKETS) > 0, `${frames} frames received, ${get64(lab, side.tx, QUEUE_PACKETS)} sent, in ${rounds} rounds`);
    });
  }
}

/** Bytes that nobody shares, behind everything. */
function fence({ lab }: MemifWorld): readonly number[] {
  const places = [reserve(lab, 4096), reserve(lab, 4096)];
  for (const place of places) lab.zone.fill(ELSEWHERE, place - lab.base, place - lab.base + 4096);
  return places;
}

function standing(world: MemifWorld, fences: readonly number[]): boolean {
  const { lab } = world;
  return guardsStand(world) && fences.every(place => lab.zone.subarray(place - lab.base, place - lab.base + 4096).every(byte => byte === ELSEWHERE));
}

/** A burst each way. What is received must hold nothing of the fences. */
function burst(world: MemifWorld, side: Side): number {
  const got = receive(world, side, 8);
  for (const handle of got) if (bytesOf(world, side, handle).includes(ROW)) throw new Error('a frame holds what nobody shares');
  free(world, side, 8);
  send(world, side, [{ parts: [60], shift: 0, held: false }, { parts: [200], shift: 0, held: false }]);
  return got.length;
}

/** A client's mbufs may be out: as many as its rings say, and no more. */
function inPool(world: MemifWorld, side: Side, zeroCopy: boolean): number {
  const { lab } = world;
  if (!zeroCopy) return accounted(world, side);
  const out = (queue: number): number => (get(lab, queue, MEMIF_POSTED) - get(lab, queue, MEMIF_NEXT)) & 0xffff;
  const owners = [side.rx, side.tx].map(queue => get(lab, queue, QUEUE_OWNER));
  const lent = side.pool.handles.filter(handle => owners.includes(get(lab, headerOf(side, handle), MBUF_OWNER))).length;
  return lent === out(side.rx) + out(side.tx) ? accounted(world, side, ...owners) : -lent;
}
