/** Bytes out of the segments of chains, and into them. The twin is burst/vhost_chains.ts. */
import { SEGMENT_SHIFT } from '../../virtqueue/layout';
import { copyFrame } from './copy';

/** Takes `length` bytes off the front of segments, to `to`. Returns the segment that has the next byte. */
export function readSegments(segment: usize, to: usize, length: u32): usize {
  while (length > 0) {
    const part = min(load<u32>(segment, 4), length);
    copyFrame(to, load<u32>(segment), part);
    to += part as usize;
    segment = shorten(segment, part);
    length -= part;
  }
  return segment;
}

/** The other way: `length` bytes into the front of segments. */
export function writeSegments(segment: usize, from: usize, length: u32): usize {
  while (length > 0) {
    const part = min(load<u32>(segment, 4), length);
    copyFrame(load<u32>(segment), from, part);
    from += part as usize;
    segment = shorten(segment, part);
    length -= part;
  }
  return segment;
}

// @ts-ignore: decorator
@inline
function shorten(segment: usize, by: u32): usize {
  const left = load<u32>(segment, 4) - by;
  store<u32>(segment, load<u32>(segment) + by);
  store<u32>(segment, left, 4);
  return left == 0 ? segment + (1 << SEGMENT_SHIFT) : segment;
}
