/** Bytes out of the segments of chains, and into them, in plain TypeScript. The fast double is assembly/vhost_chains.ts; neither calls the other. */
import { CHAIN_SHIFT, SEGMENT_SHIFT, VQ_SCRATCH } from '../virtqueue/layout.js';
import { queueMbufs } from './queue_mbufs.js';
import type { ArenaViews } from './views.js';

export interface VhostChains {
  /** A gathered chain, by its number. */
  chainAt(queue: number, index: number): number;
  /** Takes `length` bytes off the front of segments, to `to`. Returns the segment that has the next byte. */
  readSegments(segment: number, to: number, length: number): number;
  /** The other way: `length` bytes into the front of segments. */
  writeSegments(segment: number, from: number, length: number): number;
}

export function vhostChains(views: ArenaViews): VhostChains {
  const { u8 } = views;
  const { field, setField } = queueMbufs(views);
  return { chainAt, readSegments, writeSegments };

  function chainAt(queue: number, index: number): number {
    return field(queue, VQ_SCRATCH) + (index << CHAIN_SHIFT);
  }

  function readSegments(segment: number, to: number, length: number): number {
    return eachPart(segment, length, (from, done, part) => { u8.copyWithin(to + done, from, from + part); });
  }

  function writeSegments(segment: number, from: number, length: number): number {
    return eachPart(segment, length, (to, done, part) => { u8.copyWithin(to, from + done, from + done + part); });
  }

  /** Walks `length` bytes of segments, and shortens them by what was walked. */
  function eachPart(segment: number, length: number, work: (at: number, done: number, part: number) => void): number {
    for (let done = 0; done < length;) {
      const part = Math.min(field(segment, 4), length - done);
      work(field(segment, 0), done, part);
      setField(segment, 0, field(segment, 0) + part);
      setField(segment, 4, field(segment, 4) - part);
      if (field(segment, 4) === 0) segment += 1 << SEGMENT_SHIFT;
      done += part;
    }
    return segment;
  }
}
