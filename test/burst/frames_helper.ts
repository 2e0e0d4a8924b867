/**
 * What two ends in one memory have, whatever stands between them: pools of their own, frames that are built and looked at
 * again, and guards beside what they share.
 */
import fc from 'fast-check';
import { HANDLE_SHIFT, HEADER_BYTES, HEADROOM, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OWNER, MBUF_PKT_LEN } from '../../lib/mbuf/layout.js';
import { CACHE_LENGTH, CACHE_STRIDE, POOL_CACHES } from '../../lib/mbuf/pool_layout.js';
import { get, readVector, reserve, ringContents, set, type Lab, type Pool } from './layout_helper.js';

export const LCORE = 1;
export const ROOM = 2048 - HEADROOM;
export const LONGEST = 4000;
const GUARD = 0xa5;

/** The lengths of its segments, at least one; `shift` moves its front into the headroom or away from it; `held` gives it a second holder. */
export interface Outgoing { readonly parts: readonly number[]; readonly shift: number; readonly held: boolean }

export const outgoing: fc.Arbitrary<Outgoing> = fc.record({
  parts: fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.integer({ min: 14, max: ROOM })) },
    { weight: 2, arbitrary: fc.array(fc.integer({ min: 1, max: ROOM }), { minLength: 2, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(0, 13)) },
  ),
  shift: fc.constantFrom(0, 0, 0, -200, -250, 40), held: fc.constantFrom(false, false, false, false, true),
}).map(({ parts, shift, held }) => ({ parts: (parts as number[]).map(part => shift > 0 ? Math.min(part, ROOM - shift) : part), shift, held: held && parts.length === 1 }));

export interface Side {
  readonly pool: Pool;
  readonly rx: number;
  readonly tx: number;
  /** The program's mbufs; and those that it has a second hold on, which it may give up once they were sent. */
  readonly held: number[];
  readonly shared: number[];
}

/** Where frames are made. `seed` changes their contents. */
export interface Stage { readonly lab: Lab; readonly vector: number; readonly guards: readonly number[]; seed: number }

export const align = (lab: Lab, to: number): void => { lab.next = Math.ceil(lab.next / to) * to; };

/** Bytes beside what is shared, which nobody may ever write. */
export function guard(lab: Lab): number {
  const at = reserve(lab, 256);
  lab.zone.fill(GUARD, at - lab.base, at - lab.base + 256);
  return at;
}

export function guardsStand({ lab, guards }: Stage): boolean {
  return guards.every(at => lab.zone.subarray(at - lab.base, at - lab.base + 256).every(byte => byte === GUARD));
}

export const headerOf = ({ pool }: Side, handle: number): number => (pool.table + handle * HEADER_BYTES) >>> 0;

/** A frame's bytes over all its segments. */
export function bytesOf({ lab }: Stage, side: Side, first: number): Buffer {
  const parts: Buffer[] = [];
  let handle = first;
  for (let left = lab.u16[(headerOf(side, first) + MBUF_NB_SEGS) >>> 1]!; left > 0; left--) {
    const header = headerOf(side, handle);
    const at = (handle << HANDLE_SHIFT >>> 0) + lab.u16[(header + MBUF_DATA_OFF) >>> 1]! - lab.base;
    parts.push(lab.zone.subarray(at, at + lab.u16[(header + MBUF_DATA_LEN) >>> 1]!));
    handle = get(lab, header, MBUF_NEXT);
  }
  return Buffer.concat(parts);
}

export interface Sent { readonly bytes: Buffer; readonly frame: Outgoing; readonly handle: number }

/** Builds frames of new mbufs, as many as the pool has. A second holder of some is noted in the side. */
export function stageFrames(stage: Stage, side: Side, frames: readonly Outgoing[]): Sent[] {
  const { lab, vector } = stage;
  const staged: Sent[] = [];
  for (const frame of frames) {
    const count = frame.parts.length;
    if (lab.burst.mbufAlloc(side.pool.offset, LCORE, vector, count) === 0) break;
    const handles = readVector(lab, vector, count);
    handles.forEach((handle, i) => fillPart(stage, side, handle, frame, i, handles[i + 1] ?? 0));
    const head = headerOf(side, handles[0]!);
    lab.u16[(head + MBUF_NB_SEGS) >>> 1] = count;
    set(lab, head, MBUF_PKT_LEN, frame.parts.reduce((sum, part) => sum + part, 0));
    staged.push({ bytes: bytesOf(stage, side, handles[0]!), frame, handle: handles[0]! });
    if (frame.held) {
      lab.u16[(head + 2) >>> 1] = 2;
      side.shared.push(handles[0]!);
    }
  }
  return staged;
}

function fillPart({ lab, ...stage }: Stage, side: Side, handle: number, { parts, shift }: Outgoing, i: number, next: number): void {
  const header = headerOf(side, handle);
  const offset = HEADROOM + (i === 0 ? shift : 0);
  lab.u16[(header + MBUF_DATA_OFF) >>> 1] = offset;
  lab.u16[(header + MBUF_DATA_LEN) >>> 1] = parts[i]!;
  set(lab, header, MBUF_PKT_LEN, parts[i]!);
  set(lab, header, MBUF_NEXT, next);
  const at = (handle << HANDLE_SHIFT >>> 0) + offset - lab.base;
  for (let byte = 0; byte < parts[i]!; byte++) lab.zone[at + byte] = (stage.seed + i * 31 + byte * 7) & 0xff;
}

/** Whatever the program holds, and whatever is in the rings, counted by mbufs: the whole pool. */
export function accounted({ lab }: Stage, side: Side, ...owners: readonly number[]): number {
  const cached = [0, 1].map(core => get(lab, side.pool.offset, POOL_CACHES + core * CACHE_STRIDE + CACHE_LENGTH));
  const listed = ringContents(lab, side.pool.ring).length + cached[0]! + cached[1]!;
  const out = side.pool.handles.filter(handle => owners.includes(get(lab, headerOf(side, handle), MBUF_OWNER))).length;
  return listed + out;
}
