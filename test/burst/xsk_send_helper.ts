/** The sending half of the model of an AF_XDP port: what a burst must take, put into the TX ring and count, and what the kernel does with it. */
import { HEADROOM, MBUF_NEXT, MBUF_OWNER, MBUF_REFCNT } from '../../lib/mbuf/layout.js';
import { XDP_PKT_CONTD } from '../../lib/port/drivers/af_xdp/layout.js';
import { expectEqual, get, readVector, set, setPlain, writeVector } from './layout_helper.js';
import { asItIs, copyRoom, isInZone, lengthOf, type Offered, prepare, prepareChain } from './xsk_offers_helper.js';
import {
  addressOf, bufferBytes, type Counter, freeCount, handleAt, headerOf, LCORE, loose, loosePackets, MINE, produce, take, VECTOR, type XskWorld,
} from './xsk_world_helper.js';

export function send(world: XskWorld, count: number, pick: number): void {
  offerCopyable(world, loose(world, count).map((handle, i) => prepare(world, handle, pick + i * 7919)));
}

function offer(world: XskWorld, offered: readonly Offered[]): void {
  const { lab, tally: { tx: tally } } = world;
  const contents = offered.map(packet => readPacket(world, packet));
  writeVector(lab, world.vector, offered.map(({ said }) => said));
  takeDone(world);
  let room = world.shape.ring - world.queued.length - world.flying.length;
  let free = freeCount(world);
  let stop: Counter | undefined;
  const taken: Offered[] = [];
  for (const packet of offered) {
    const used = packet.fate === 'copy' ? Math.ceil(lengthOf(packet) / copyRoom(world)) : packet.segments.length;
    const goes = packet.fate === 'whole' || packet.fate === 'copy';
    if (room === 0 || (goes && used > room)) stop = 'ringFull';
    else if (packet.fate === 'elsewhere') stop = 'notInUmem';
    else if (packet.fate === 'copy' && used > free) stop = 'copyNoMbuf';
    if (stop !== undefined) break;
    taken.push(packet);
    if (goes) room -= used;
    else tally[packet.fate as 'badFrame' | 'tooMany']++;
    if (packet.fate === 'copy') free -= used;
    if (packet.fate !== 'whole') free += packet.segments.length + (packet.besides?.length ?? 0) - (packet.shared === undefined ? 0 : 1);
  }
  const before = get(lab, world.rings.tx.at);
  expectEqual(lab.burst.xskTx(world.tx, world.vector, offered.length, LCORE), taken.length);
  const sent = taken.filter(({ fate }) => fate === 'whole' || fate === 'copy');
  tally.packets += sent.length;
  tally.bytes += sent.reduce((sum, packet) => sum + lengthOf(packet), 0);
  tally.copied += sent.filter(({ fate }) => fate === 'copy').length;
  tally.refused += offered.length - taken.length;
  if (stop !== undefined) tally[stop]++;
  const gone = new Set(taken.flatMap(({ segments, besides = [] }) => [...segments, ...besides]));
  world.app = world.app.filter(handle => !gone.has(handle));
  for (const { segments: [first] } of taken) world.chains.delete(first!);
  expectSent(world, before, sent.map(packet => ({ packet, bytes: contents[offered.indexOf(packet)] })));
  for (const packet of offered) letGo(world, packet, taken.includes(packet));
}

/** Who sent has given up his hold, once; then the other holder of a shared segment gives it to the program. */
function letGo(world: XskWorld, { segments, shared }: Offered, taken: boolean): void {
  if (shared === undefined) return;
  const header = headerOf(world, shared);
  expectEqual(world.lab.u16[(header + MBUF_REFCNT) >>> 1], taken ? 1 : 2);
  world.lab.u16[(header + MBUF_REFCNT) >>> 1] = 1;
  if (!taken) return;
  setPlain(world.lab, header);
  set(world.lab, header, MBUF_NEXT, 0);
  set(world.lab, header, MBUF_OWNER, MINE);
  if (!segments.includes(shared)) throw new Error('the test is wrong');
  world.app.push(shared);
}

/** Chains of the program's mbufs, good and bad, and those that it received, between frames in one mbuf. */
export function sendChain(world: XskWorld, count: number, pick: number): void {
  const free = loose(world, VECTOR);
  const offered: Offered[] = [];
  for (const [, segments] of [...world.chains].slice(0, count % 3)) if (loosePackets(world).includes(segments)) offered.push(asItIs(world, segments));
  for (let i = 0; i <= count % 6; i++) {
    const segments = free.splice(0, i % 2 === 1 ? 1 : (pick + i) % 29 === 0 && free.length > 66 ? 66 : 2 + (pick + i * 31) % 9);
    if (segments.length === 0) break;
    offered.push(segments.length === 1 ? prepare(world, segments[0]!, pick + i) : prepareChain(world, segments, pick + i * 7919, free));
  }
  offerCopyable(world, offered);
}

/** Buffers that are nowhere cannot be copied. */
function offerCopyable(world: XskWorld, offered: readonly Offered[]): void {
  offer(world, offered.filter(({ fate }) => fate !== 'copy' || isInZone(world)));
  for (const { segments, shared } of offered) if (shared !== undefined && world.app.includes(segments[0]!)) world.lab.u16[(headerOf(world, shared) + MBUF_REFCNT) >>> 1] = 1;
}

function readPacket(world: XskWorld, { segments, pieces }: Offered): string | undefined {
  if (!isInZone(world)) return undefined;
  return Buffer.concat(segments.map((handle, i) => readBytes(world, addressOf(world, handle) + pieces[i]!.offset, pieces[i]!.length))).toString('hex');
}

function readBytes({ lab, shape }: XskWorld, address: number, length: number): Buffer {
  const at = shape.first * 2048 + address - lab.base;
  return lab.zone.subarray(at, at + length);
}

/** The entries of the TX ring from `start` on are these packets. The kernel has their buffers. */
function expectSent(world: XskWorld, start: number, sent: readonly { readonly packet: Offered; readonly bytes: string | undefined }[]): void {
  const { lab, shape, rings: { tx } } = world;
  let index = start;
  const entry = (): number[] => readVector(lab, tx.at + 256 + (index++ & (shape.ring - 1)) * tx.entry, 4);
  for (const { packet, bytes } of sent) {
    if (packet.fate === 'whole') {
      packet.segments.forEach((handle, i) => {
        const { offset, length } = packet.pieces[i]!;
        expectEqual(entry(), [addressOf(world, handle) + offset, 0, length, i + 1 < packet.segments.length ? XDP_PKT_CONTD : 0]);
        world.queued.push(handle);
      });
      continue;
    }
    const copied: Buffer[] = [];
    for (let left = lengthOf(packet); left > 0; left -= copyRoom(world)) {
      const [address, high, length, options] = entry();
      expectEqual([address! % bufferBytes(world), high, length, options], [HEADROOM, 0, Math.min(left, copyRoom(world)), left > copyRoom(world) ? XDP_PKT_CONTD : 0]);
      copied.push(readBytes(world, address!, length!));
      world.queued.push(handleAt(world, address! - HEADROOM));
    }
    expectEqual(Buffer.concat(copied).toString('hex'), bytes);
  }
  expectEqual(index >>> 0, get(lab, tx.at));
}

/** What a send does first: the done are free again, the lies are counted. */
export function takeDone(world: XskWorld): void {
  world.tally.tx.badCompletion += world.lies;
  world.lies = 0;
  world.done = [];
}

export function consume(world: XskWorld, count: number): void {
  for (let i = 0; i < count; i++) {
    const entry = take(world, world.rings.tx);
    if (entry === undefined) return;
    const handle = world.queued.shift()!;
    expectEqual(entry[0]! - entry[0]! % bufferBytes(world), addressOf(world, handle));
    world.flying.push(handle);
  }
}

/** In any order, and with any address inside the buffer. */
export function complete(world: XskWorld, count: number, pick: number): void {
  for (let i = 0; i < count && world.flying.length > 0 && world.done.length + world.lies < world.shape.ring; i++) {
    const [handle] = world.flying.splice((pick + i * 13) % world.flying.length, 1);
    world.done.push(handle!);
    produce(world, world.rings.completion, [addressOf(world, handle!) + (pick + i) % bufferBytes(world), 0]);
  }
}

/** A completion of what was not sent. */
export function lie(world: XskWorld, pick: number): void {
  const { app, empty, flying, shape } = world;
  if (world.done.length + world.lies === shape.ring) return;
  const others = [...app, ...empty];
  const handle = others[pick % Math.max(1, others.length)];
  const tell = (address: number, high = 0): void => {
    world.lies++;
    produce(world, world.rings.completion, [address, high]);
  };
  if (pick % 3 === 0) tell(shape.count * bufferBytes(world) + pick % 0x10000);
  else if (pick % 3 === 1 && flying.length > 0) tell(addressOf(world, flying[0]!), 1 + pick % 99);
  else if (handle !== undefined) tell(addressOf(world, handle));
}
