/** A guest that makes work: chains that are read to their end before it is seen that they are bad. One burst looks at so much of them and no more, since other ports wait for the same thread. */
import t from 'tap';
import { DESC_AVAIL, DESC_INDIRECT, DESC_NEXT, DESC_USED, DESC_WRITE, DEVICE_BAD_ADDRESS, DEVICE_BAD_CHAIN, MOST_SEGMENTS, OUTSIDE_COUNT, SEGMENTS, SEGMENTS_END, VQ_AVAIL, VQ_DESC, VQ_NEXT_AVAIL, VQ_OUTSIDE } from '../../../../lib/virtqueue/layout.js';
import { get, get64, IMPLEMENTATIONS, makeLab, readVector, set, writeVector, type Lab } from '../../../burst/layout_helper.js';
import { headerOf } from '../../../burst/virtqueue_packets_helper.js';
import { accounted, LCORE, makeVqWorld, type VqWorld } from '../../../burst/virtqueue_world_helper.js';

const SIZE = 256;
const FRAMES = 12;
const IOVA = 0x1_0000_0000n;
/** Descriptors that one go has room for; the last chain of a go may need all that a chain can. */
const MOST_LOOKED_AT = (SEGMENTS_END - SEGMENTS) / 8 + MOST_SEGMENTS;

/** A table of as many descriptors as a chain may have, all good but the last, in the guest's first buffer. */
function writeTable(lab: Lab, packed: boolean, writable: number): bigint {
  for (let i = 0; i < MOST_SEGMENTS; i++) {
    const at = lab.base + i * 16;
    const last = i === MOST_SEGMENTS - 1;
    lab.u64[at / 8] = last ? 1n : IOVA + BigInt(lab.base);
    set(lab, at, 8, 1);
    lab.u16[(at + (packed ? 14 : 12)) >>> 1] = writable | (last ? 0 : DESC_NEXT);
    lab.u16[(at + (packed ? 12 : 14)) >>> 1] = packed ? 0 : i + 1;
  }
  return IOVA + BigInt(lab.base);
}

/** The whole ring is such chains. */
function offer({ lab, shape }: VqWorld, queue: number, table: bigint): void {
  const [desc, avail, next] = [get(lab, queue, VQ_DESC), get(lab, queue, VQ_AVAIL), get(lab, queue, VQ_NEXT_AVAIL)];
  for (let i = 0; i < SIZE; i++) {
    const turn = ((next & 0x8000) !== 0) === (i >= (next & 0x7fff)) ? DESC_AVAIL : DESC_USED;
    lab.u64[(desc + i * 16) / 8] = table;
    set(lab, desc + i * 16, 8, MOST_SEGMENTS * 16);
    lab.u16[(desc + i * 16 + (shape.packed ? 14 : 12)) >>> 1] = DESC_INDIRECT | (shape.packed ? turn : 0);
    if (!shape.packed) lab.u16[(avail + 4 + i * 2) >>> 1] = i;
  }
  if (!shape.packed) lab.u16[(avail + 2) >>> 1] = (next + SIZE) & 0xffff;
}

function bad({ lab }: VqWorld, queue: number): number {
  return get64(lab, queue, DEVICE_BAD_CHAIN) + get64(lab, queue, DEVICE_BAD_ADDRESS);
}

for (const options of IMPLEMENTATIONS) {
  const lab = makeLab(options);
  t.test(lab.name, async t => {
    for (const [packed, outside] of [[false, false], [true, false], [false, true], [true, true]] as const) {
      const world = makeVqWorld(lab, { packed, size: SIZE, start: packed ? 0x8000 : 0, mergeable: true, indirect: true, eventIdx: false, inOrder: false, header: 12, outside, guestBuffers: 6, hostBuffers: 14, cache: 0, offloads: 0 });
      const { host, vector } = world;
      const kind = `${packed ? 'packed' : 'split'}${outside ? ', beside the arena' : ''}`;
      offer(world, host.tx, writeTable(lab, packed, DESC_WRITE));
      for (let round = 1; round <= 3; round++) {
        lab.burst.mbufAlloc(host.pool.offset, LCORE, vector, FRAMES);
        const handles = readVector(lab, vector, FRAMES);
        for (const handle of handles) {
          lab.u16[(headerOf(host, handle) + 20) >>> 1] = 60;
          set(lab, headerOf(host, handle), 16, 60);
        }
        const before = bad(world, host.tx);
        const taken = lab.burst.vhostTx(host.tx, vector, FRAMES, LCORE);
        const looked = (bad(world, host.tx) - before) * MOST_SEGMENTS;
        t.equal(taken, 0, `${kind}: nothing is sent`);
        t.ok(looked > 0 && looked <= MOST_LOOKED_AT, `${kind}: send ${round} looks at ${looked} descriptors`);
        writeVector(lab, vector, handles);
        lab.burst.mbufFree(host.pool.offset, LCORE, vector, FRAMES);
      }
      offer(world, host.rx, writeTable(lab, packed, 0));
      const before = bad(world, host.rx);
      t.equal(lab.burst.vhostRx(host.rx, vector, 32, LCORE), 0);
      const looked = (bad(world, host.rx) - before) * MOST_SEGMENTS;
      t.ok(looked > 0 && looked <= MOST_LOOKED_AT, `${kind}: a receive looks at ${looked} descriptors`);
      t.equal(accounted(world, host), 14, 'every mbuf is in the pool');
    }
  });
}

const LONG_RING = 300;

/** A packed ring's descriptors from its start on: one chain of `length`, then single ones, all of the guest's first buffer; the chain's first is at `address`. */
function offerLong({ lab }: VqWorld, queue: number, length: number, address: bigint): void {
  const desc = get(lab, queue, VQ_DESC);
  for (let i = 0; i < LONG_RING; i++) {
    lab.u64[(desc + i * 16) / 8] = i === 0 ? address : IOVA + BigInt(lab.base);
    set(lab, desc + i * 16, 8, 72);
    lab.u16[(desc + i * 16 + 12) >>> 1] = i;
    lab.u16[(desc + i * 16 + 14) >>> 1] = DESC_AVAIL | (i < length - 1 ? DESC_NEXT : 0);
  }
}

for (const [options, outside] of IMPLEMENTATIONS.flatMap(each => [[each, false], [each, true]] as const)) {
  const lab = makeLab(options);
  t.test(`${lab.name}: a chain in a packed ring that goes on and on${outside ? ', beside the arena' : ''}`, async t => {
    const shape = { packed: true, size: LONG_RING, start: 0x8000, mergeable: false, indirect: false, eventIdx: false, inOrder: false, header: 12, outside, guestBuffers: 6, hostBuffers: 14, cache: 0, offloads: 0 };
    const world = makeVqWorld(lab, shape);
    const { host, vector } = world;
    offerLong(world, host.rx, MOST_SEGMENTS, 1n);
    t.equal(lab.burst.vhostRx(host.rx, vector, 4, LCORE), 3, 'one of as many as there may be is given back, and those behind it are received');
    t.same([get64(lab, host.rx, DEVICE_BAD_ADDRESS), get(lab, host.rx, VQ_NEXT_AVAIL)], [1, 0x8000 + MOST_SEGMENTS + 3]);
    lab.burst.mbufFree(host.pool.offset, LCORE, vector, 3);
    const stuck = makeVqWorld(lab, shape);
    for (const length of [MOST_SEGMENTS + 2, LONG_RING + 1]) {
      offerLong(stuck, stuck.host.rx, length, IOVA + BigInt(lab.base));
      const before = get64(lab, stuck.host.rx, DEVICE_BAD_CHAIN);
      for (let round = 1; round <= 3; round++) {
        t.equal(lab.burst.vhostRx(stuck.host.rx, stuck.vector, 8, LCORE), 0);
        if (outside) t.equal(get(lab, get(lab, stuck.host.rx, VQ_OUTSIDE), OUTSIDE_COUNT), 0, 'nothing of it is copied');
        t.same([get64(lab, stuck.host.rx, DEVICE_BAD_CHAIN) - before, get(lab, stuck.host.rx, VQ_NEXT_AVAIL)], [round, 0x8000], `${length}: counted, and not walked through`);
      }
    }
    offerLong(stuck, stuck.host.rx, 1, IOVA + BigInt(lab.base));
    t.equal(lab.burst.vhostRx(stuck.host.rx, stuck.vector, 8, LCORE), 8, 'with other descriptors it goes on');
    lab.burst.mbufFree(stuck.host.pool.offset, LCORE, stuck.vector, 8);
    t.equal(accounted(stuck, stuck.host), 14);
  });
}
