/** The receiving half of the model of an AF_XDP port: what the kernel puts into the RX ring, and what a burst must make of it. */
import { HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import { XDP_PKT_CONTD } from '../../lib/port/drivers/af_xdp/layout.js';
import { expectEqual, get, readVector } from './layout_helper.js';
import {
  addressOf, bufferBytes, type Frame, freeCount, headerOf, heldIncoming, LCORE, type Incoming, produce, takeFilled, type XskWorld,
} from './xsk_world_helper.js';

export function deliver(world: XskWorld, count: number, pick: number): void {
  for (let i = 0; i < count && world.incoming.length < world.shape.ring && world.empty.length > 0; i++) {
    const handle = world.empty.shift()!;
    const offset = HEADROOM + (pick + i) % 3 * 7;
    const length = 14 + (pick + i * 97) % (bufferBytes(world) - offset - 13);
    put(world, { handle, offset, length }, true);
  }
}

/** Into the RX ring, as the kernel does. */
function put(world: XskWorld, frame: Frame, ends: boolean): void {
  world.incoming.push({ frame, ends });
  produce(world, world.rings.rx, [addressOf(world, frame.handle) + frame.offset, 0, frame.length, ends ? 0 : XDP_PKT_CONTD]);
}

/** A frame of up to seven buffers; now and then its end is missing, or comes with the next. */
export function deliverChain(world: XskWorld, count: number, pick: number): void {
  const pieces = 2 + pick % 6;
  for (let i = 0; i < pieces && world.incoming.length < world.shape.ring && world.empty.length > 0; i++) {
    const handle = world.empty.shift()!;
    put(world, { handle, offset: HEADROOM + i % 2, length: (pick + i * 131) % (bufferBytes(world) - HEADROOM - 1) }, i + 1 === pieces && count % 5 !== 0);
  }
}

/** A frame of several buffers whose first, last or middle one is forged. */
export function forgeChain(world: XskWorld, count: number, pick: number): void {
  if (world.incoming.length + 4 > world.shape.ring || world.empty.length < 3) return;
  const forged = count % 3;
  for (let i = 0; i < 3; i++) {
    if (i === forged) forge(world, pick, i === 2);
    else put(world, { handle: world.empty.shift()!, offset: HEADROOM, length: 100 }, i === 2);
  }
}

/** One descriptor that breaks a rule. */
export function forge(world: XskWorld, pick: number, ends = true): void {
  const { app, empty, incoming, shape } = world;
  if (incoming.length === shape.ring) return;
  const tell = (what: { readonly named?: number }, address: number, high: number, length: number): void => {
    incoming.push({ ...what, ends });
    produce(world, world.rings.rx, [address, high, length, ends ? 0 : XDP_PKT_CONTD | pick % 1000 << 1]);
  };
  const at = pick % 5;
  if (at === 0) return tell({}, shape.count * bufferBytes(world) + pick % 4096, 0, 60);
  if (at === 1) return tell({}, 0xffffffff - pick % 4096, 0, 60);
  if (at === 2) {
    const named = app[pick % Math.max(1, app.length)];
    return named === undefined ? undefined : tell({ named }, addressOf(world, named) + HEADROOM, 0, 60);
  }
  const given = empty[pick % Math.max(1, empty.length)];
  if (given === undefined) return;
  const start = addressOf(world, given) + HEADROOM;
  if (at === 3) return tell({}, start, 1 + pick % 0xffff, 60);
  tell({}, start, 0, bufferBytes(world) - HEADROOM + 1 + pick);
}

/** What one receive must make of the ring: the frames, whole ones only. */
export function receive(world: XskWorld, max: number): void {
  const { lab, incoming, shape, tally: { rx: tally } } = world;
  const most = Math.max(1, shape.most);
  const frames: Frame[][] = [];
  if (world.seen < max) world.seen = incoming.length;
  const take = (count: number): Incoming[] => {
    const taken = incoming.splice(0, Math.min(count, world.seen));
    world.seen -= taken.length;
    return taken;
  };
  while (world.seen > 0 && frames.length < max) {
    const whole = incoming.slice(0, world.seen).findIndex(({ ends }) => ends) + 1 || Infinity;
    if (world.skipping) {
      const passed = take(whole);
      tally.badDescriptor += passed.filter(({ frame }) => frame === undefined).length;
      world.skipping = whole === Infinity;
      continue;
    }
    if (whole === Infinity && world.seen < most) {
      world.seen = 0; // its end has still to come, and is looked for anew
      break;
    }
    const pieces = take(Math.min(whole, most));
    const good = pieces.flatMap(({ frame }) => frame ?? []);
    tally.badDescriptor += pieces.length - good.length;
    world.skipping = !pieces.at(-1)!.ends;
    if (good.length < pieces.length && (pieces.length > 1 || world.skipping)) tally.broken++;
    else if (world.skipping) tally.tooMany++;
    else if (good.length === pieces.length) frames.push(good);
  }
  const got = lab.burst.xskRx(world.rx, world.vector, max, LCORE);
  expectEqual(readVector(lab, world.vector, got), frames.map(([first]) => first!.handle));
  for (const frame of frames) takeFrame(world, frame);
  tally.packets += got;
  const lack = world.shape.ring - world.empty.length - heldIncoming(world);
  const free = freeCount(world);
  if (lack >= Math.min(64, world.shape.ring / 2) && free < lack) tally.refused++;
  takeFilled(world);
}

/** The program's now: as many mbufs as it has buffers, linked in their order, each with its own place and length. */
function takeFrame(world: XskWorld, frame: readonly Frame[]): void {
  const { lab } = world;
  const total = frame.reduce((sum, { length }) => sum + length, 0);
  frame.forEach(({ handle, offset, length }, i) => {
    const header = headerOf(world, handle);
    const half = (field: number): number => lab.u16[(header + field) >>> 1]!;
    expectEqual([half(MBUF_DATA_OFF), half(MBUF_DATA_LEN), half(MBUF_NB_SEGS)], [offset, length, i === 0 ? frame.length : 1]);
    expectEqual([get(lab, header, MBUF_PKT_LEN), get(lab, header, MBUF_NEXT)], [i === 0 ? total : length, frame[i + 1]?.handle ?? 0]);
    world.app.push(handle);
  });
  if (frame.length > 1) world.chains.set(frame[0]!.handle, frame.map(({ handle }) => handle));
  world.tally.rx.bytes += total;
}
