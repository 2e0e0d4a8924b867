import { randomBytes } from 'node:crypto';
import type { Arena } from '../arena/arena.js';
import { HashTable } from '../lookup/hash.js';
import { HASH_NONE } from '../lookup/hash_layout.js';
import { Vector } from '../lookup/vector.js';
import { listKey, type ActionList } from './actions.js';
import { AddressChains, NONE } from './address_chains.js';
import * as layout from './layout.js';

const { FLOW_BYTES, FLOW_BYTE_COUNT, FLOW_GENERATION, FLOW_KEY, FLOW_LIST, FLOW_OUT, FLOW_PACKETS, FLOW_STAMP, FLOW_TAG, FLOW_VLAN, KEY_BYTES, SWITCH_GENERATION, SWITCH_NOW } = layout;

export const NO_FLOW = -1;
/** Lists beyond which all flows are made anew, so that those that nobody uses go. */
const MOST_LISTS = 16384;

/** Told what a flow had since the last time: packets that were also a patch port's. */
export type FlowCredit = (list: ActionList, packets: number, bytes: number) => void;

/**
 * The flow cache: an exact-match table in front of the bridges. The burst function finds flows by their key and carries
 * most of them out; here they are put in, and made invalid when an address that they rest on is learned, moves or goes.
 * It holds so many; when all are taken, the next in turn goes (in effect the oldest).
 *
 * Thread: the switch's.
 */
export class FlowCache {
  readonly capacity: number;
  /** Offset of the table, for the burst function. */
  readonly table: number;
  count = 0;
  installed = 0;
  evicted = 0;
  invalidated = 0;
  readonly #u32: Uint32Array;
  readonly #f64of: (at: number) => number;
  readonly #state: number;
  readonly #flows: number;
  readonly #hash: HashTable;
  readonly #key: Vector;
  readonly #value: Vector;
  readonly #credit: FlowCredit;
  readonly #present: Uint8Array;
  readonly #free: number[] = [];
  readonly #bySource: AddressChains;
  readonly #byDestination: AddressChains;
  /** What was credited. */
  readonly #packets: Float64Array;
  readonly #bytes: Float64Array;
  readonly #lists: ActionList[] = [];
  readonly #numbers = new Map<string, number>();
  #turn = 0;
  #cursor = 0;

  /** @param state the switch's zone @param flows offset of flow 0 in it */
  constructor(arena: Arena, state: number, flows: number, capacity: number, credit: FlowCredit) {
    this.capacity = capacity;
    this.#u32 = arena.u32;
    this.#f64of = at => arena.u32[at >>> 2]! + arena.u32[(at >>> 2) + 1]! * 2 ** 32;
    this.#state = state;
    this.#flows = flows;
    this.#credit = credit;
    this.#hash = HashTable.create(arena, `flows/${randomBytes(6).toString('hex')}`, { entries: capacity, keyBytes: KEY_BYTES });
    this.table = this.#hash.offset;
    this.#key = this.#hash.keys(1);
    this.#value = new Vector(arena, 1);
    this.#present = new Uint8Array(capacity);
    for (let flow = capacity - 1; flow >= 0; flow--) this.#free.push(flow);
    this.#bySource = new AddressChains(capacity);
    this.#byDestination = new AddressChains(capacity);
    this.#packets = new Float64Array(capacity);
    this.#bytes = new Float64Array(capacity);
    this.forgetAll();
  }

  /** The flow that packets of this key (four words in the arena) may follow, or NO_FLOW. */
  find(key: number): number {
    const flow = this.#find(key);
    return flow !== NONE && this.#isValid(flow) ? flow : NO_FLOW;
  }

  list(flow: number): ActionList {
    return this.#lists[this.#get(flow, FLOW_LIST)]!;
  }

  /**
   * Packets of this key go by this list from now on. `out` and `tag`: the only thing to do, which the burst function
   * does; `out` 0 leaves them to TypeScript. Returns the flow.
   */
  install(key: number, list: ActionList, vlan: number, out: number, tag: number): number {
    let flow = this.#find(key);
    if (flow === NONE) flow = this.#take(key);
    else this.#settle(flow);
    this.#set(flow, FLOW_OUT, out);
    this.#set(flow, FLOW_TAG, tag);
    this.#set(flow, FLOW_LIST, this.#numberOf(list));
    this.#set(flow, FLOW_VLAN, vlan);
    this.#set(flow, FLOW_STAMP, this.#u32[(this.#state + SWITCH_NOW) >>> 2]!);
    this.#set(flow, FLOW_GENERATION, this.#generation);
    this.installed++;
    return flow;
  }

  /** A packet of `bytes` that the burst function did not see as this flow's. */
  count1(flow: number, bytes: number): void {
    for (const [field, by] of [[FLOW_PACKETS, 1], [FLOW_BYTE_COUNT, bytes]] as const) {
      const low = this.#get(flow, field) + by;
      this.#set(flow, field, low);
      if (low > 0xffffffff) this.#set(flow, field + 4, this.#get(flow, field + 4) + 1);
    }
  }

  /** Flows from or to this address are looked into anew. */
  forget(low: number, high: number): void {
    for (let flow = this.#bySource.first(low, high); flow !== NONE; flow = this.#bySource.next(flow)) {
      if (this.#get(flow, FLOW_KEY + 8) === sourceWord(low, high) && (this.#get(flow, FLOW_KEY + 4) >>> 16) === (low & 0xffff)) this.#invalidate(flow);
    }
    for (let flow = this.#byDestination.first(low, high); flow !== NONE; flow = this.#byDestination.next(flow)) {
      if (this.#get(flow, FLOW_KEY) === low && (this.#get(flow, FLOW_KEY + 4) & 0xffff) === high) this.#invalidate(flow);
    }
  }

  /** All flows are looked into anew: the configuration is another. */
  forgetAll(): void {
    const at = (this.#state + SWITCH_GENERATION) >>> 2;
    this.#u32[at] = (this.#u32[at]! + 1) >>> 0 || 1;
    this.#numbers.clear();
    // Afterwards no flow has anything to settle, so that the numbers of lists may be given out again.
    for (let flow = 0; flow < this.capacity; flow++) if (this.#present[flow] === 1) this.#settle(flow);
    this.#lists.length = 0;
  }

  /**
   * Goes over the next `most` places: `use` is told of each flow that had packets since the last time, and flows without
   * any for `idle` milliseconds are taken out. Returns whether a round is complete.
   */
  sweep(now: number, idle: number, most: number, use: (flow: number) => void): boolean {
    const end = Math.min(this.capacity, this.#cursor + most);
    for (; this.#cursor < end; this.#cursor++) {
      const flow = this.#cursor;
      if (this.#present[flow] === 0) continue;
      if (this.#settle(flow) && this.#isValid(flow)) use(flow);
      if (((now - this.#get(flow, FLOW_STAMP)) >>> 0) > idle) this.#remove(flow);
    }
    if (this.#cursor < this.capacity) return false;
    this.#cursor = 0;
    return true;
  }

  /** Hands out what is not credited yet, of all flows: before counters are read. */
  settleAll(): void {
    for (let flow = 0; flow < this.capacity; flow++) if (this.#present[flow] === 1) this.#settle(flow);
  }

  *valid(): Generator<number> {
    for (let flow = 0; flow < this.capacity; flow++) if (this.#present[flow] === 1 && this.#isValid(flow)) yield flow;
  }

  packets(flow: number): number {
    return this.#f64of(this.#at(flow, FLOW_PACKETS));
  }

  bytes(flow: number): number {
    return this.#f64of(this.#at(flow, FLOW_BYTE_COUNT));
  }

  /** When it last had a packet, on the clock of SWITCH_NOW, and one word of its key. */
  stamp(flow: number): number {
    return this.#get(flow, FLOW_STAMP);
  }

  keyWord(flow: number, word: number): number {
    return this.#get(flow, FLOW_KEY + word * 4);
  }

  vlan(flow: number): number {
    return this.#get(flow, FLOW_VLAN);
  }

  close(): void {
    this.#key.close();
    this.#value.close();
    this.#hash.close();
  }

  get #generation(): number {
    return this.#u32[(this.#state + SWITCH_GENERATION) >>> 2]!;
  }

  #isValid(flow: number): boolean {
    return this.#get(flow, FLOW_GENERATION) === this.#generation;
  }

  #invalidate(flow: number): void {
    if (!this.#isValid(flow)) return;
    this.#set(flow, FLOW_GENERATION, 0);
    this.invalidated++;
  }

  #numberOf(list: ActionList): number {
    const key = listKey(list);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      if (this.#lists.length >= MOST_LISTS) this.forgetAll();
      number = this.#lists.push(list) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  #find(key: number): number {
    this.#key.u32.set(this.#u32.subarray(key >>> 2, (key >>> 2) + 4));
    this.#hash.lookupBulk(this.#key, this.#value, 1);
    const flow = this.#value.u32[0]!;
    return flow === HASH_NONE ? NONE : flow;
  }

  #take(key: number): number {
    const flow = this.#free.pop() ?? this.#evict();
    this.#key.u32.set(this.#u32.subarray(key >>> 2, (key >>> 2) + 4));
    this.#value.u32[0] = flow;
    this.#hash.addBulk(this.#key, this.#value, 1);
    const at = this.#at(flow, 0) >>> 2;
    this.#u32.fill(0, at, at + FLOW_BYTES / 4);
    this.#u32.set(this.#key.u32, at + FLOW_KEY / 4);
    [this.#packets[flow], this.#bytes[flow]] = [0, 0];
    const [a, b, c] = [this.#key.u32[0]!, this.#key.u32[1]!, this.#key.u32[2]!];
    this.#bySource.add(flow, sourceLow(b, c), c >>> 16);
    if ((a & 1) === 0) this.#byDestination.add(flow, a, b & 0xffff); // groups are never learned
    this.#present[flow] = 1;
    this.count++;
    return flow;
  }

  #evict(): number {
    while (this.#present[this.#turn] === 0) this.#turn = (this.#turn + 1) % this.capacity;
    const flow = this.#turn;
    this.#turn = (flow + 1) % this.capacity;
    this.evicted++;
    this.#remove(flow);
    return this.#free.pop()!;
  }

  #remove(flow: number): void {
    this.#settle(flow);
    for (let word = 0; word < 4; word++) this.#key.u32[word] = this.keyWord(flow, word);
    this.#hash.deleteBulk(this.#key, this.#value, 1);
    this.#set(flow, FLOW_GENERATION, 0);
    this.#bySource.remove(flow);
    this.#byDestination.remove(flow);
    this.#present[flow] = 0;
    this.#free.push(flow);
    this.count--;
  }

  /** Credits what it had since the last time. Returns whether that is anything. */
  #settle(flow: number): boolean {
    const packets = this.packets(flow);
    const bytes = this.bytes(flow);
    if (packets === this.#packets[flow]) return false;
    const list = this.#lists[this.#get(flow, FLOW_LIST)];
    if (list !== undefined && list.patches.length > 0) this.#credit(list, packets - this.#packets[flow]!, bytes - this.#bytes[flow]!);
    [this.#packets[flow], this.#bytes[flow]] = [packets, bytes];
    return true;
  }

  #at(flow: number, field: number): number {
    return this.#flows + flow * FLOW_BYTES + field;
  }

  #get(flow: number, field: number): number {
    return this.#u32[this.#at(flow, field) >>> 2]!;
  }

  #set(flow: number, field: number, value: number): void {
    this.#u32[this.#at(flow, field) >>> 2] = value;
  }
}

/** The source stands in the key behind the destination's last two bytes: its first two, then its last four. */
function sourceLow(middle: number, last: number): number {
  return ((middle >>> 16) | (last << 16)) >>> 0;
}

function sourceWord(low: number, high: number): number {
  return ((low >>> 16) | (high << 16)) >>> 0;
}
