/** The null and ring ports, in plain TypeScript. The fast double is assembly/memory_ports.ts; neither calls the other. */
import { HANDLE_SHIFT, HEADER_SHIFT, MBUF_DATA_OFF, MBUF_OWNER, MBUF_PKT_LEN, OWNER_APP, OWNER_SHIFT } from '../mbuf/layout.js';
import { POOL_SPREAD } from '../mbuf/pool_layout.js';
import { NULL_CONTENTS, NULL_FRAME, RING_PORT_BYTES, RING_PORT_RING } from '../port/drivers/memory_layout.js';
import { QUEUE_BYTES, QUEUE_NOMBUF, QUEUE_PACKETS, QUEUE_POOL, QUEUE_TABLE, QUEUE_TEMPLATE } from '../port/layout.js';
import { RING_FLAGS, RING_SC, RING_SP } from '../ring/layout.js';
import type { BurstFunctions } from './functions.js';
import type { MempoolFunctions } from './mempool.js';
import type { RingFunctions } from './ring.js';
import { count64, type ArenaViews } from './views.js';

export type MemoryPortFunctions = Pick<BurstFunctions, 'nullRx' | 'nullTx' | 'ringRx' | 'ringTx'>;

export function memoryPortFunctions({ u8, u16, u32 }: ArenaViews, rings: RingFunctions, pools: MempoolFunctions): MemoryPortFunctions {
  return { nullRx, nullTx, ringRx, ringTx };

  /** The template is the first half of a header as a receive leaves it, but for the place: lengths, port, refcnt 1, no chain. Contents, where there are some, are exactly a frame. */
  function nullRx(queue: number, burst: number, max: number, lcore: number): number {
    if (pools.takeFree(field(queue, QUEUE_POOL), lcore, burst, max) === 0) {
      count64(u32, queue + QUEUE_NOMBUF, max);
      return 0;
    }
    const template = (queue + QUEUE_TEMPLATE) >>> 2;
    for (let i = 0; i < max; i++) {
      const header = headerAt(queue, burst, i) >>> 2;
      for (let word = 0; word < 8; word++) u32[header + word] = u32[template + word];
      u32[header + (MBUF_OWNER >>> 2)] = program(lcore);
      if (field(field(queue, QUEUE_POOL), POOL_SPREAD) !== 0) u16[(header << 1) + (MBUF_DATA_OFF >>> 1)] = pools.placeOf(field(queue, QUEUE_POOL), u32[(burst >>> 2) + i]);
    }
    const [contents, length] = [field(queue, NULL_CONTENTS), field(queue, NULL_FRAME)];
    for (let i = 0; contents !== 0 && i < max; i++) u8.copyWithin(dataAt(queue, burst, i), contents, contents + length);
    countPackets(queue, max, Math.imul(max, length));
    return max;
  }

  function nullTx(queue: number, burst: number, count: number, lcore: number): number {
    const pool = field(queue, QUEUE_POOL);
    countPackets(queue, count, pools.bytesOf(pool, burst, count));
    pools.mbufFree(pool, lcore, burst, count);
    return count;
  }

  /** The ring sees to the owner words; everything else in the headers stays as it is, the port too. */
  function ringRx(queue: number, burst: number, max: number, lcore: number): number {
    const ring = field(queue, RING_PORT_RING);
    const got = field(ring, RING_FLAGS) & RING_SC
      ? rings.ringDequeueSc(ring, burst, max, 0, lcore)
      : rings.ringDequeueMc(ring, burst, max, 0, lcore);
    countPackets(queue, got, bytesWhereCounted(queue, burst, got));
    return got;
  }

  /** Lengths are read before the enqueue: afterwards the mbufs may be another thread's already. */
  function ringTx(queue: number, burst: number, count: number, lcore: number): number {
    const ring = field(queue, RING_PORT_RING);
    const bytes = bytesWhereCounted(queue, burst, count);
    const sent = field(ring, RING_FLAGS) & RING_SP
      ? rings.ringEnqueueSp(ring, burst, count, 0, lcore)
      : rings.ringEnqueueMp(ring, burst, count, 0, lcore);
    const refused = count - sent;
    count64(u32, queue + QUEUE_NOMBUF, refused);
    countPackets(queue, sent, bytes - bytesWhereCounted(queue, burst + sent * 4, refused));
    return sent;
  }

  function bytesWhereCounted(queue: number, vector: number, count: number): number {
    return field(queue, RING_PORT_BYTES) !== 0 ? sumBytes(queue, vector, count) : 0;
  }

  /** Of all the packets, modulo 2^32, as a packet of more would be the program's mistake. */
  function sumBytes(queue: number, vector: number, count: number): number {
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += u32[(headerAt(queue, vector, i) + MBUF_PKT_LEN) >>> 2];
    return bytes >>> 0;
  }

  function countPackets(queue: number, packets: number, bytes: number): void {
    count64(u32, queue + QUEUE_PACKETS, packets);
    count64(u32, queue + QUEUE_BYTES, bytes >>> 0);
  }

  /** Where the frame of the `i`th begins. */
  function dataAt(queue: number, burst: number, i: number): number {
    return (u32[(burst >>> 2) + i]! << HANDLE_SHIFT >>> 0) + u16[(headerAt(queue, burst, i) + MBUF_DATA_OFF) >>> 1];
  }

  function headerAt(queue: number, vector: number, i: number): number {
    return (field(queue, QUEUE_TABLE) + (u32[(vector >>> 2) + i] << HEADER_SHIFT)) >>> 0;
  }

  function field(structure: number, name: number): number {
    return u32[(structure + name) >>> 2];
  }
}

/** The owner word of what lcore's program holds. */
function program(lcore: number): number {
  return (OWNER_APP << OWNER_SHIFT) | lcore;
}
