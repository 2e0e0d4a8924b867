import { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import { Chains } from '../mbuf/chains.js';
import { RX_VLAN_STRIPPED } from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { Mempool } from '../mbuf/mempool.js';
import { Datagram, DUPLICATE, KEY_WORDS } from './datagram.js';
import { Ethernet } from './ether.js';
import type { Header } from './header.js';
import { Ipv4 } from './ipv4.js';
import { Ipv6 } from './ipv6.js';
import * as protocol from './protocol_layout.js';

const {
  ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP_BYTES, IPV6_BYTES, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP, SCTP_BYTES,
  TCP_MIN_BYTES, UDP_BYTES,
} = protocol;

export interface ReassemblerOptions {
  /** Milliseconds that a datagram may take, from its first fragment that came. Default 30,000, as Linux has it (RFC 8200 says 60 s at most). */
  readonly timeout?: number;
  /** Datagrams that are waited for at once, rounded up to a power of two; the oldest of those in its way gives way to a new one. Default 256. */
  readonly datagrams?: number;
  /** Fragments that a datagram may have, at most 512. Default 64. */
  readonly fragments?: number;
}

/** Fragments, counted by what became of them; all but `fragments` and `datagrams` were dropped. */
export interface ReassemblerStats {
  fragments: number;
  /** Whole datagrams given out. */
  datagrams: number;
  /** Of datagrams that did not become whole in time. */
  timedOut: number;
  /** Overlapping another: the whole datagram goes with it, and what still comes of it (RFC 5722, for IPv4 too). */
  overlapping: number;
  /** The same part once more. */
  duplicates: number;
  /** A first fragment without all of its transport header, or TCP flags in a second one (RFC 1858, RFC 8200 section 4.5). */
  tiny: number;
  /** A length that is no multiple of 8 before the end, nothing in it, two ends, several segments, held by others too, or of a datagram that both met congestion and was of no ECN (RFC 3168 section 5.3). */
  malformed: number;
  /** Ending beyond 65535 bytes. */
  tooLong: number;
  /** Of a datagram with more fragments than are kept. */
  tooMany: number;
  /** Of a datagram that gave way to a newer one. */
  evicted: number;
}

type Drop = 'timedOut' | 'overlapping' | 'duplicates' | 'tiny' | 'malformed' | 'tooLong' | 'tooMany' | 'evicted';

const WAYS = 8;

/**
 * Puts fragments of IPv4 and IPv6 together (RFC 791 section 3.2, RFC 8200 section 4.5). What it is given is its own: a
 * fragment is kept, or dropped and counted; the last one that was missing gives the whole datagram, a chain of the
 * fragments' mbufs with the first one's headers put right, and no byte copied.
 *
 * Memory is bounded: so many datagrams of so many fragments, whatever comes. Time is the caller's clock, in milliseconds;
 * `expire` from time to time frees what waited too long. Thread: the one that made it.
 */
export class Reassembler {
  readonly stats: ReassemblerStats = { fragments: 0, datagrams: 0, timedOut: 0, overlapping: 0, duplicates: 0, tiny: 0, malformed: 0, tooLong: 0, tooMany: 0, evicted: 0 };
  readonly #pool: Mempool;
  readonly #mbufs: Mbufs;
  readonly #chains: Chains;
  readonly #single: Burst;
  readonly #ether: Ethernet;
  readonly #four: Ipv4;
  readonly #six: Ipv6;
  readonly #timeout: number;
  readonly #table: readonly Datagram[];
  readonly #key = new Uint32Array(KEY_WORDS);

  /** Throws EOPTION, EARENAFULL. */
  constructor(pool: Mempool, { timeout = 30_000, datagrams = 256, fragments = 64 }: ReassemblerOptions = {}) {
    if (!(timeout > 0)) refuse(`a timeout is more than 0 ms, not ${String(timeout)}`);
    if (!Number.isInteger(datagrams) || datagrams < 1 || datagrams > 65536) refuse(`1 to 65536 datagrams, not ${String(datagrams)}`);
    if (!Number.isInteger(fragments) || fragments < 2 || fragments > 512) refuse(`2 to 512 fragments, not ${String(fragments)}`);
    this.#pool = pool;
    this.#mbufs = pool.mbufs;
    this.#chains = new Chains(pool);
    this.#single = new Burst(pool.arena, 1);
    this.#ether = new Ethernet(pool.mbufs);
    this.#four = new Ipv4(pool.mbufs);
    this.#six = new Ipv6(pool.mbufs);
    this.#timeout = timeout;
    this.#table = Array.from({ length: Math.max(WAYS, 2 ** Math.ceil(Math.log2(datagrams))) }, () => new Datagram(fragments));
  }

  /** What is no fragment comes back as it is; a fragment is taken. Returns a whole packet's handle, or 0 when there is none yet. */
  add(handle: number, now: number): number {
    if (!this.#ether.at(handle)) return handle;
    const { type, end } = this.#ether;
    if (type === ETHERTYPE_IPV4 && this.#four.at(handle, end) && this.#four.isFragment) return this.#add4(handle, now);
    if (type === ETHERTYPE_IPV6 && this.#six.at(handle, end) && this.#six.isFragment) return this.#add6(handle, now);
    return handle;
  }

  /** Frees what has waited too long. Returns how many fragments that were. */
  expire(now: number): number {
    const before = this.stats.timedOut;
    for (const datagram of this.#table) if (datagram.isUsed && datagram.deadline <= now) this.#forget(datagram, 'timedOut');
    return this.stats.timedOut - before;
  }

  /** Frees all that is waited for, and its own memory. */
  close(): void {
    this.expire(Infinity);
    this.#chains.close();
    this.#single.close();
  }

  #add4(handle: number, now: number): number {
    const ip = this.#four;
    const { view } = this.#mbufs;
    this.#key.fill(0);
    this.#key[0] = ip.source;
    this.#key[4] = ip.destination;
    this.#key[8] = ip.identification;
    this.#key[9] = (this.#vlan(handle) << 12) | 0x400 | view.getUint8(ip.start + 9);
    const length = ip.totalLength - ip.length;
    return this.#place(handle, now, ip, ip.end, length, ip.fragmentOffset, ip.moreFragments, ip.protocol);
  }

  #add6(handle: number, now: number): number {
    const ip = this.#six;
    for (let word = 0; word < 4; word++) {
      this.#key[word] = ip.sourceWord(word);
      this.#key[4 + word] = ip.destinationWord(word);
    }
    this.#key[8] = ip.identification;
    this.#key[9] = (this.#vlan(handle) << 12) | 0x600; // the next header is the first fragment's to say (RFC 8200)
    const place = ip.fragmentStart + 8 - ip.start + ip.offset;
    const length = ip.offset + IPV6_BYTES + ip.payloadField - place;
    return this.#place(handle, now, ip, place, length, ip.fragmentOffset, ip.moreFragments, ip.complete ? ip.protocol : INCOMPLETE);
  }

  /** Hosts of two VLANs may have the same addresses: its number with a bit more, 0 for none. Also of a tag that the port took off. */
  #vlan(handle: number): number {
    if ((this.#mbufs.flags(handle) & RX_VLAN_STRIPPED) !== 0) return 0x1000 | (this.#mbufs.vlanTci(handle) & 0xfff);
    return this.#ether.tags > 0 ? 0x1000 | this.#ether.vlan : 0;
  }

  /** One fragment whose part of the datagram starts at `place` in its frame. */
  #place(handle: number, now: number, ip: Header, place: number, length: number, start: number, more: boolean, kind: number): number {
    this.stats.fragments++;
    if (this.#mbufs.segments(handle) !== 1 || this.#mbufs.refcnt(handle) !== 1 || length <= 0 || place + length > this.#mbufs.dataLen(handle) || (more && length % 8 !== 0)) return this.#drop(handle, 'malformed');
    // What the length field of the whole would have to say: IPv6's leaves out its own header, and there is no fragment header then.
    const ahead = place - ip.offset - (ip === this.#six ? IPV6_BYTES + 8 : 0);
    if (start + length + ahead > 0xffff) return this.#drop(handle, 'tooLong');
    if (isTiny(kind, start, more, ip.limit - ip.end)) return this.#drop(handle, 'tiny');
    const datagram = this.#find(now);
    if (datagram.isDead) return this.#drop(handle, 'overlapping');
    const at = datagram.slotFor(start, start + length);
    if (at < 0) {
      if (at === DUPLICATE) return this.#drop(handle, 'duplicates');
      return this.#kill(datagram, handle, 'overlapping');
    }
    const isBeyond = datagram.total > 0 && (start + length > datagram.total || (!more && start + length !== datagram.total));
    const isBefore = !more && datagram.count > 0 && datagram.ends[datagram.count - 1]! > start + length;
    if (isBeyond || isBefore) return this.#kill(datagram, handle, 'malformed');
    if (datagram.count === datagram.handles.length) return this.#kill(datagram, handle, 'tooMany');
    datagram.insert(at, handle, start, start + length, place);
    datagram.ecn |= 1 << (ip === this.#six ? this.#six.trafficClass & 3 : this.#four.ecn);
    if (!more) datagram.total = start + length;
    return datagram.got === datagram.total ? this.#finish(datagram) : 0;
  }

  /** The datagram with this key, or a free place for it; the oldest of eight gives way. */
  #find(now: number): Datagram {
    let hash = 0;
    for (let i = 0; i < KEY_WORDS; i++) hash = Math.imul(hash ^ this.#key[i]!, 0x9e3779b1) ^ (hash >>> 15);
    const first = (hash >>> 7) & (this.#table.length - 1) & ~(WAYS - 1);
    let best = this.#table[first]!;
    for (let way = 0; way < WAYS; way++) {
      const datagram = this.#table[first + way]!;
      if (datagram.isUsed && datagram.deadline <= now) this.#forget(datagram, 'timedOut');
      if (datagram.isUsed && datagram.hasKey(this.#key)) return datagram;
      if (best.isUsed && (!datagram.isUsed || datagram.deadline < best.deadline)) best = datagram;
    }
    if (best.isUsed) this.#forget(best, 'evicted');
    best.key.set(this.#key);
    best.isUsed = true;
    best.deadline = now + this.#timeout;
    return best;
  }

  /** What every fragment has passed; the whole may still not do. */
  #check({ handles, places, total, ecn }: Datagram): Drop | undefined {
    this.#ether.at(handles[0]!);
    const ahead = places[0]! - this.#ether.end - (this.#isSix ? IPV6_BYTES + 8 : 0); // longer than another's, perhaps: options are the first one's
    if (ahead + total > 0xffff) return 'tooLong';
    return (ecn & NO_ECN_AND_CONGESTION) === NO_ECN_AND_CONGESTION ? 'malformed' : undefined;
  }

  get #isSix(): boolean {
    return ((this.#key[9]! >>> 8) & 15) === 6;
  }

  #finish(datagram: Datagram): number {
    const { handles, places, starts, ends, count, total, ecn } = datagram;
    const why = this.#check(datagram);
    if (why !== undefined) {
      this.#forget(datagram, why);
      return 0;
    }
    for (let i = 0; i < count; i++) {
      this.#mbufs.trim(handles[i]!, this.#mbufs.dataLen(handles[i]!) - places[i]! - (ends[i]! - starts[i]!));
      if (i > 0) this.#mbufs.adjust(handles[i]!, places[i]!);
    }
    const head = handles[0]!;
    // From the back, so that no walk is long.
    for (let i = count - 1; i > 0; i--) this.#chains.chain(handles[i - 1]!, handles[i]!);
    const isMarked = ecn >>> CONGESTION !== 0; // on any: the receiver has to know
    if (this.#isSix) this.#mend6(head, total, isMarked);
    else this.#mend4(head, total, isMarked);
    datagram.clear();
    this.stats.datagrams++;
    return head;
  }

  #mend4(head: number, total: number, isMarked: boolean): void {
    this.#four.at(head, this.#ether.end);
    if (isMarked) this.#four.ecn = CONGESTION;
    this.#four.totalLength = this.#four.length + total;
    this.#four.moreFragments = false;
    this.#four.updateChecksum();
  }

  /** The fragment header goes, and what stands before it moves up. */
  #mend6(head: number, total: number, isMarked: boolean): void {
    const ip = this.#six;
    const { view, u8 } = this.#mbufs;
    ip.at(head, this.#ether.end);
    if (isMarked) ip.trafficClass |= CONGESTION;
    const gone = ip.fragmentStart;
    let before = ip.start + 6;
    while (ip.nextExtension() && ip.extensionStart !== gone) before = ip.extensionStart;
    view.setUint8(before, view.getUint8(gone));
    view.setUint16(ip.start + 4, gone - ip.start - IPV6_BYTES + total);
    const start = this.#mbufs.data(head);
    u8.copyWithin(start + 8, start, gone);
    this.#mbufs.adjust(head, 8);
  }

  #forget(datagram: Datagram, why: Drop): void {
    for (let i = 0; i < datagram.count; i++) this.#drop(datagram.handles[i]!, why);
    datagram.clear();
  }

  /** The datagram and this fragment are lost; what still comes of it is dropped until its time is over. */
  #kill(datagram: Datagram, handle: number, why: Drop): 0 {
    this.#forget(datagram, why);
    datagram.isUsed = true;
    datagram.isDead = true;
    return this.#drop(handle, why);
  }

  #drop(handle: number, why: Drop): 0 {
    this.stats[why]++;
    this.#single.handles[0] = handle;
    this.#pool.free(this.#single, 0, 1);
    return 0;
  }
}

/** No protocol: a first fragment whose extension headers go on in the next (RFC 7112). */
const INCOMPLETE = -1;
/** The ECN field that says "congestion experienced"; and the bits of that and of "no ECN". */
const CONGESTION = 3;
const NO_ECN_AND_CONGESTION = (1 << CONGESTION) | 1;

/** `left`: bytes of the packet behind IP's headers in this fragment. */
function isTiny(kind: number, start: number, more: boolean, left: number): boolean {
  if ((kind === PROTOCOL_TCP && start === 8) || (kind === INCOMPLETE && start === 0)) return true;
  return start === 0 && more && left < (kind === PROTOCOL_TCP ? TCP_MIN_BYTES : kind === PROTOCOL_UDP ? UDP_BYTES
    : kind === PROTOCOL_SCTP ? SCTP_BYTES : kind === PROTOCOL_ICMP || kind === PROTOCOL_ICMPV6 ? ICMP_BYTES : 0);
}

function refuse(what: string): never {
  throw new PollmodeError('EOPTION', `A reassembler takes ${what}.`);
}
