/** Packets that a program offers to an AF_XDP port: good ones, and ones with something wrong or out of the ordinary, and what must come of each. */
import { HANDLE_SHIFT, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_REFCNT } from '../../lib/mbuf/layout.js';
import { set } from './layout_helper.js';
import { bufferBytes, headerOf, LONGEST, LONGEST_PLAIN, type XskWorld } from './xsk_world_helper.js';

/** What is wrong with an mbuf that is offered, or out of the ordinary, one in eight. */
const FAULTS = ['beyond', 'before', 'between', 'chain', 'none at all', 'short', 'long', 'past the end', 'shared'] as const;
type Fault = (typeof FAULTS)[number] | 'none';

/** A packet that is offered: its mbufs, what the vector says of it, the places and lengths of its segments, and what must come of it. */
export interface Offered {
  readonly segments: readonly number[];
  readonly said: number;
  readonly pieces: readonly { readonly offset: number; readonly length: number }[];
  readonly fate: 'whole' | 'copy' | 'badFrame' | 'tooMany' | 'elsewhere';
  /** mbufs that are freed with it besides its own, and those of its own that another holds too. */
  readonly besides?: readonly number[];
  readonly shared?: number;
}

export const lengthOf = ({ pieces }: Offered): number => pieces.reduce((sum, { length }) => sum + length, 0);
export const copyRoom = (world: XskWorld): number => bufferBytes(world) - HEADROOM;
const most = ({ shape }: XskWorld): number => Math.max(1, shape.most);

export function prepare(world: XskWorld, handle: number, pick: number): Offered {
  const { lab, shape } = world;
  const wish: Fault = pick % 8 === 0 ? FAULTS[(pick >>> 3) % FAULTS.length]! : 'none';
  const fault = wish === 'between' && shape.units === 1 ? 'none' : wish;
  const size = bufferBytes(world);
  const lengths: Partial<Record<Fault, number>> = { short: pick % 14, long: LONGEST + 1 + pick % 100, 'past the end': LONGEST_PLAIN };
  const length = lengths[fault] ?? 14 + pick % (LONGEST_PLAIN - 13);
  const offset = fault === 'past the end' ? size - LONGEST_PLAIN + 1 : (pick >>> 5) % (size - LONGEST_PLAIN + 1);
  writeSegment(world, handle, { offset, length }, 0);
  lab.u16[(headerOf(world, handle) + MBUF_NB_SEGS) >>> 1] = { chain: 2, 'none at all': 0 }[fault as string] ?? 1;
  const elsewhere: Partial<Record<Fault, number>> = { beyond: shape.first + shape.count * shape.units + pick % 100, before: shape.first - 1 - pick % 100, between: handle + 1 };
  const shared = fault === 'shared' ? { shared: handle } : {};
  if (fault === 'shared') lab.u16[(headerOf(world, handle) + MBUF_REFCNT) >>> 1] = 2;
  const fate = fault === 'none' ? 'whole' : fault === 'shared' ? 'copy' : fault in elsewhere ? 'elsewhere' : 'badFrame';
  return { segments: [handle], said: elsewhere[fault] ?? handle, pieces: [{ offset, length }], fate, ...shared };
}

/** What is wrong with a chain, one in two. */
const CHAIN_FAULTS = ['an empty segment', 'past the end', 'leads elsewhere', 'goes on', 'goes back', 'short', 'long', 'shared'] as const;

export function isInZone({ lab, shape }: XskWorld): boolean {
  return shape.first * 2048 >= lab.base && shape.first * 2048 < lab.base + lab.zone.length;
}

export function prepareChain(world: XskWorld, segments: readonly number[], pick: number, others: number[]): Offered {
  const fault = pick % 2 === 0 ? CHAIN_FAULTS[(pick >>> 1) % CHAIN_FAULTS.length]! : 'none';
  const size = bufferBytes(world);
  const at = pick % segments.length;
  const pieces = segments.map((_, i) => {
    const usual = { offset: (pick >>> 4) % 300, length: 14 + (pick + i * 977) % 1000 };
    if (fault === 'short') return { ...usual, length: i < 2 ? 1 + pick % 6 : 1 };
    if (fault === 'long') return { ...usual, length: Math.ceil((LONGEST + 1) / segments.length) };
    if (i !== at) return usual;
    return { offset: fault === 'past the end' ? size - usual.length + 1 : usual.offset, length: fault === 'an empty segment' ? 0 : usual.length };
  });
  const bad = ['an empty segment', 'past the end', 'leads elsewhere', 'goes on', 'goes back'].includes(fault);
  const besides = fault === 'goes on' ? others.splice(0, 1) : [];
  for (const handle of besides) writeSegment(world, handle, { offset: 0, length: 60 }, 0);
  const tail = fault === 'leads elsewhere' ? world.shape.first + world.shape.count * world.shape.units + 7 : fault === 'goes back' ? segments[at]! : besides[0] ?? 0;
  link(world, segments, pieces, tail, fault === 'leads elsewhere' ? segments.length + 1 : segments.length);
  const shared = fault === 'shared' ? segments[at] : undefined;
  if (shared !== undefined) world.lab.u16[(headerOf(world, shared) + MBUF_REFCNT) >>> 1] = 2;
  const packet = { segments, said: segments[0]!, pieces, besides, ...(shared === undefined ? {} : { shared }) };
  return { ...packet, fate: fateOf(world, pieces, shared !== undefined, bad && (fault !== 'goes on' || besides.length > 0)) };
}

function fateOf(world: XskWorld, pieces: Offered['pieces'], shared: boolean, bad: boolean): Offered['fate'] {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  if (pieces.length > 64) return 'tooMany';
  if (bad || total < 14 || total > LONGEST || pieces.some(({ offset, length }) => length === 0 || offset + length > bufferBytes(world))) return 'badFrame';
  if (!shared && pieces.length <= most(world)) return 'whole';
  return Math.ceil(total / copyRoom(world)) > most(world) ? 'tooMany' : 'copy';
}

/** A chain that was received. */
export function asItIs(world: XskWorld, segments: readonly number[]): Offered {
  const half = (handle: number, field: number): number => world.lab.u16[(headerOf(world, handle) + field) >>> 1]!;
  const pieces = segments.map(handle => ({ offset: half(handle, MBUF_DATA_OFF), length: half(handle, MBUF_DATA_LEN) }));
  return { segments, said: segments[0]!, pieces, fate: fateOf(world, pieces, false, false) };
}

function link(world: XskWorld, segments: readonly number[], pieces: Offered['pieces'], tail: number, said: number): void {
  segments.forEach((handle, i) => writeSegment(world, handle, pieces[i]!, segments[i + 1] ?? tail));
  world.lab.u16[(headerOf(world, segments[0]!) + MBUF_NB_SEGS) >>> 1] = said;
  // What was a packet's first is not always told that it is one no more.
  if (segments.length > 2) world.lab.u16[(headerOf(world, segments[2]!) + MBUF_NB_SEGS) >>> 1] = 3;
}

function writeSegment(world: XskWorld, handle: number, { offset, length }: { offset: number; length: number }, next: number): void {
  const { lab } = world;
  const header = headerOf(world, handle);
  for (const [field, value] of [[MBUF_DATA_OFF, offset], [MBUF_DATA_LEN, length], [MBUF_REFCNT, 1], [MBUF_NB_SEGS, 1]] as const) lab.u16[(header + field) >>> 1] = value;
  set(lab, header, MBUF_NEXT, next);
  if (!isInZone(world)) return;
  for (let i = 0; i < length && offset + i < bufferBytes(world); i++) lab.zone[(handle << HANDLE_SHIFT) - lab.base + offset + i] = handle * 31 + i * 7;
}
