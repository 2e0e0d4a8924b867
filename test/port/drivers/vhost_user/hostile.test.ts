/** A guest that means harm: descriptors that change while they are read. Nothing outside its memory is read or written, and every mbuf is where it should be. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { QUEUE_PACKETS } from '../../../../lib/port/layout.js';
import {
  DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, DEVICE_BAD_FRAME, DEVICE_BAD_INDEX, REGIONS, REGION_BYTES, REGION_OFFSET, REGION_START, VQ_AVAIL, VQ_DESC, VQ_MEMORY, VQ_USED,
} from '../../../../lib/virtqueue/layout.js';
import { get, get64, makeLab, readVector, reserve, set, writeVector } from '../../../burst/layout_helper.js';
import type { VqShape } from '../../../burst/virtqueue_commands_helper.js';
import { bytesOf } from '../../../burst/virtqueue_packets_helper.js';
import { accounted, LCORE, makeVqWorld, type VqWorld } from '../../../burst/virtqueue_world_helper.js';
import { progress } from './progress.js';
import type { Prey } from './scribbler.js';

const LONG = process.env['POLLMODE_LONG'] === '1';
const WANTED = LONG ? 10_000_000 : 200_000;
/** Of them, so many that the device also looked at: it takes what it finds, and most are written again before. */
const LOOKED_AT = LONG ? 10_000_000 : 500;
const SECONDS = LONG ? 900 : 120;
const ELSEWHERE = 0xee;
/** So many of them in a row are in no frame by chance. */
const ROW = Buffer.alloc(16, ELSEWHERE);

for (const packed of [false, true]) {
  for (const build of ['fast', 'portable'] as const) {
    t.test(`${packed ? 'packed' : 'split'} rings, ${build}: ${WANTED} descriptors written under the bursts`, { timeout: (SECONDS + 30) * 1000 }, async t => {
      const lab = makeLab({ build });
      const shape: VqShape = { packed, size: 16, start: packed ? 0x8000 : 0xfff0, mergeable: true, indirect: true, eventIdx: true, inOrder: true, header: 12, outside: false, guestBuffers: 14, hostBuffers: 14, cache: 4, offloads: 7 };
      const world = makeVqWorld(lab, shape);
      const memory = fence(world);
      const control = new SharedArrayBuffer(8);
      const counts = new Int32Array(control);
      const seed = Math.floor(Math.random() * 2 ** 32);
      t.comment(`seed ${seed}`);
      const { host } = world;
      const queue = (state: number, writable: boolean): Prey['queues'][number] => ({ state, desc: get(lab, state, VQ_DESC), avail: get(lab, state, VQ_AVAIL), used: get(lab, state, VQ_USED), writable });
      const prey: Prey = {
        buffer: lab.memory.buffer, packed, size: shape.size, queues: [queue(host.rx, false), queue(host.tx, true)], control, seed,
        memory: { at: memory.at, bytes: memory.bytes, start: memory.start },
      };
      const worker = new Worker(new URL('./scribbler.js', import.meta.url), { workerData: prey });
      await once(worker, 'online');
      let [rounds, frames] = [0, 0];
      const sent = Buffer.alloc(64, 0x11);
      const total = (...fields: readonly number[]): number => fields.reduce((sum, field) => sum + get64(lab, host.rx, field) + get64(lab, host.tx, field), 0);
      const bad = (): number => total(DEVICE_BAD_INDEX, DEVICE_BAD_CHAIN, DEVICE_BAD_ADDRESS, DEVICE_BAD_FRAME);
      const lookedAt = (): number => bad() + total(QUEUE_PACKETS);
      const report = progress(`${packed ? 'packed' : 'split'}, ${build}`, LOOKED_AT);
      // On a busy machine the two threads seldom run at once: until enough of what was written was also looked at.
      const deadline = performance.now() + SECONDS * 1000;
      for (let done = false; !done;) {
        frames += burst(world, sent);
        if (++rounds % 64 !== 0) continue;
        const broken = fencesStand(world, memory);
        if (broken !== '') t.fail(broken);
        report(lookedAt());
        done = broken !== '' || (written(counts) >= WANTED && lookedAt() >= LOOKED_AT) || performance.now() > deadline;
      }
      Atomics.store(counts, 0, 1);
      await once(worker, 'exit');
      t.equal(fencesStand(world, memory), '', 'nothing beside the guest\'s memory was written');
      t.equal(accounted(world, host), shape.hostBuffers, 'every mbuf is in the pool');
      t.ok(written(counts) >= WANTED && lookedAt() >= LOOKED_AT, `of ${written(counts)} that were written ${lookedAt()} were looked at`);
      t.ok(bad() >= LOOKED_AT / 10, `${bad()} were bad, and counted`);
      t.ok(frames > 0 && get64(lab, host.tx, QUEUE_PACKETS) > 0, `${frames} frames received, ${get64(lab, host.tx, QUEUE_PACKETS)} sent, in ${rounds} rounds`);
    });
  }
}

/** The writer's count has 32 bits. */
function written(counts: Int32Array): number {
  return Atomics.load(counts, 1) >>> 0;
}

interface Fenced { readonly at: number; readonly bytes: number; readonly start: bigint; readonly fences: readonly number[] }

/** Memory of the guest's in the middle of bytes that are not: the memory table knows nothing else. */
function fence({ lab, host }: VqWorld): Fenced {
  const fences = [reserve(lab, 4096)];
  const [at, bytes] = [reserve(lab, 16384), 16384];
  fences.push(reserve(lab, 4096));
  for (const place of fences) lab.zone.fill(ELSEWHERE, place - lab.base, place - lab.base + 4096);
  const table = get(lab, host.rx, VQ_MEMORY);
  const start = 0x1_0000_0000n + BigInt(at);
  set(lab, table, 0, 1);
  lab.u64[(table + REGIONS + REGION_START) / 8] = start;
  lab.u64[(table + REGIONS + REGION_BYTES) / 8] = BigInt(bytes);
  set(lab, table, REGIONS + REGION_OFFSET, at);
  return { at, bytes, start, fences };
}

function fencesStand({ lab }: VqWorld, { fences }: Fenced): string {
  for (const place of fences) {
    const at = lab.zone.subarray(place - lab.base, place - lab.base + 4096).findIndex(byte => byte !== ELSEWHERE);
    if (at >= 0) return `byte ${at} of a fence at ${place} was written`;
  }
  return '';
}

/** A burst each way. What is received must hold nothing of the fences. */
function burst(world: VqWorld, bytes: Buffer): number {
  const { lab, host, vector } = world;
  const got = lab.burst.vhostRx(host.rx, vector, 8, LCORE);
  for (const handle of readVector(lab, vector, got)) if (bytesOf(world, host, handle).includes(ROW)) throw new Error('a frame holds what is beside the guest\'s memory');
  lab.burst.mbufFree(host.pool.offset, LCORE, vector, got);
  if (lab.burst.mbufAlloc(host.pool.offset, LCORE, vector, 4) === 0) return got;
  const handles = readVector(lab, vector, 4);
  for (const handle of handles) {
    const header = (host.pool.table + handle * 64) >>> 0;
    lab.u16[(header + 20) >>> 1] = bytes.length;
    set(lab, header, 16, bytes.length);
  }
  const taken = lab.burst.vhostTx(host.tx, vector, 4, LCORE);
  writeVector(lab, vector, handles.slice(taken));
  lab.burst.mbufFree(host.pool.offset, LCORE, vector, 4 - taken);
  return got;
}
