/**
 * Options of IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) are built alike: a kind of one byte; behind all
 * kinds but 0 (end of the list) and 1 (no operation) the length of the whole option.
 */
export const OPTION_END = 0;
export const OPTION_NOP = 1;

/** Bytes of the option at `at`; 0 at the list's end, and where the option runs past `end` or says that it is shorter than itself. */
export function optionBytes(view: DataView, at: number, end: number): number {
  if (at >= end) return 0;
  const kind = view.getUint8(at);
  if (kind === OPTION_END) return 0;
  if (kind === OPTION_NOP) return 1;
  if (at + 2 > end) return 0;
  const length = view.getUint8(at + 1);
  return length >= 2 && at + length <= end ? length : 0;
}
