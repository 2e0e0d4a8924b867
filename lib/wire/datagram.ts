/** Words of what says to which datagram a fragment belongs: addresses, identification, version and protocol. */
export const KEY_WORDS = 10;
/** What `slotFor` says of a part that is there already, or that overlaps another. */
export const DUPLICATE = -1;
const OVERLAP = -2;

/** One datagram that is waited for. Its arrays are made once. */
export class Datagram {
  readonly key = new Uint32Array(KEY_WORDS);
  readonly handles: Uint32Array;
  /** Of each fragment, in order: where it starts and ends in the datagram, and where its part starts in its frame. */
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly places: Uint16Array;
  count = 0;
  /** Bytes that are there, and that there will be; 0 while the end has not come. */
  got = 0;
  total = 0;
  /** Of each of the four ECN fields that its fragments have, a bit (RFC 3168 section 5). */
  ecn = 0;
  deadline = 0;
  isUsed = false;
  /** Overlapping: whatever comes of it is dropped. */
  isDead = false;

  constructor(fragments: number) {
    this.handles = new Uint32Array(fragments);
    this.starts = new Uint32Array(fragments);
    this.ends = new Uint32Array(fragments);
    this.places = new Uint16Array(fragments);
  }

  hasKey(key: Uint32Array): boolean {
    for (let i = 0; i < KEY_WORDS; i++) if (this.key[i] !== key[i]) return false;
    return true;
  }

  /** Where a part belongs in the order; DUPLICATE or OVERLAP. */
  slotFor(start: number, end: number): number {
    const { starts, ends, count } = this;
    let at = count;
    while (at > 0 && starts[at - 1]! >= start) at--;
    if (at < count && starts[at] === start && ends[at] === end) return DUPLICATE;
    if (at < count && starts[at]! < end) return OVERLAP;
    return at > 0 && ends[at - 1]! > start ? OVERLAP : at;
  }

  insert(at: number, handle: number, start: number, end: number, place: number): void {
    const { handles, starts, ends, places, count } = this;
    handles.copyWithin(at + 1, at, count);
    starts.copyWithin(at + 1, at, count);
    ends.copyWithin(at + 1, at, count);
    places.copyWithin(at + 1, at, count);
    handles[at] = handle;
    starts[at] = start;
    ends[at] = end;
    places[at] = place;
    this.count++;
    this.got += end - start;
  }

  /** `deadline` and key stay. */
  clear(): void {
    this.count = this.got = this.total = this.ecn = 0;
    this.isUsed = this.isDead = false;
  }
}
