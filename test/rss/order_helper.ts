/**
 * What the lcores of the order tests share: one zone that says of each flow which packet comes next, whoever receives
 * it, and counts. Each packet is a real IPv4/UDP frame with its flow and its number in the payload, so the hash is
 * computed from it and the order is checked on every one.
 */
import type { Arena } from '../../lib/arena/arena.js';
import { ZONE_RAW } from '../../lib/arena/layout.js';

export const FRAME = 60;
/** Where the flow and the number stand: behind Ethernet, IPv4 and UDP headers, both u32 of this machine's byte order. */
const PAYLOAD = 42;
const WORKERS = 64;

const SENT = 0;
const WRONG = 1;
const WRONG_FLOW = 2;
const WRONG_SEEN = 3;
const WRONG_DUE = 4;
const STOP = 5;
const SLEEP = 6;
const RECEIVED = 16;
const ORDERS = RECEIVED + WORKERS;
const NEXT = ORDERS + WORKERS;

/** What a worker is told to do while it holds a burst. */
export const ORDER_NONE = 0;
export const ORDER_THROW = 1;
export const ORDER_EXIT = 2;

export class OrderBook {
  readonly #i32: Int32Array;
  readonly #u32: Uint32Array;
  readonly #u8: Uint8Array;
  readonly #at: number;

  private constructor(arena: Arena, offset: number) {
    this.#i32 = arena.i32;
    this.#u32 = arena.u32;
    this.#u8 = arena.u8;
    this.#at = offset >>> 2;
  }

  static create(arena: Arena, name: string, flows: number): OrderBook {
    return new OrderBook(arena, arena.reserve(name, (NEXT + flows) * 4, { align: 128, type: ZONE_RAW }).offset);
  }

  static find(arena: Arena, name: string): OrderBook {
    return new OrderBook(arena, arena.find(name).offset);
  }

  /** Is this packet (its frame stands at `data`) its flow's next one; or, where packets may be lost, at least none of the past? */
  check(data: number, strict: boolean): boolean {
    const flow = this.#read(data + PAYLOAD);
    const number = this.#read(data + PAYLOAD + 4);
    const due = this.#u32[this.#at + NEXT + flow];
    this.#u32[this.#at + NEXT + flow] = number + 1;
    if (strict ? number === due : number >= due) return true;
    if (Atomics.add(this.#i32, this.#at + WRONG, 1) > 0) return false;
    for (const [field, value] of [[WRONG_FLOW, flow], [WRONG_SEEN, number], [WRONG_DUE, due]] as const) this.#u32[this.#at + field] = value;
    return false;
  }

  stamp(data: number, flow: number, number: number): void {
    this.#write(data + PAYLOAD, flow);
    this.#write(data + PAYLOAD + 4, number);
  }

  addSent(count: number): void {
    Atomics.add(this.#i32, this.#at + SENT, count);
  }

  addReceived(worker: number, count: number): void {
    Atomics.add(this.#i32, this.#at + RECEIVED + worker, count);
  }

  get sent(): number {
    return Atomics.load(this.#u32, this.#at + SENT);
  }

  received(worker: number): number {
    return Atomics.load(this.#u32, this.#at + RECEIVED + worker);
  }

  get receivedInAll(): number {
    let sum = 0;
    for (let worker = 0; worker < WORKERS; worker++) sum += this.received(worker);
    return sum;
  }

  /** Packets that came out of order, and the first of them. */
  get wrong(): { readonly count: number; readonly flow: number; readonly seen: number; readonly due: number } {
    const read = (field: number): number => Atomics.load(this.#u32, this.#at + field);
    return { count: read(WRONG), flow: read(WRONG_FLOW), seen: read(WRONG_SEEN), due: read(WRONG_DUE) };
  }

  order(worker: number, what: number): void {
    Atomics.store(this.#i32, this.#at + ORDERS + worker, what);
  }

  /** The order for a worker; it is given once. */
  obey(worker: number): number {
    return Atomics.load(this.#i32, this.#at + ORDERS + worker) === ORDER_NONE ? ORDER_NONE : Atomics.exchange(this.#i32, this.#at + ORDERS + worker, ORDER_NONE);
  }

  /** Gives the CPU to another thread for a moment: the tests have more lcores than the machine has CPUs. */
  nap(): void {
    Atomics.wait(this.#i32, this.#at + SLEEP, 0, 0.05);
  }

  stop(): void {
    Atomics.store(this.#i32, this.#at + STOP, 1);
  }

  get stopped(): boolean {
    return Atomics.load(this.#i32, this.#at + STOP) !== 0;
  }

  #read(at: number): number {
    return (this.#u8[at] | (this.#u8[at + 1] << 8) | (this.#u8[at + 2] << 16) | (this.#u8[at + 3] << 24)) >>> 0;
  }

  #write(at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#u8[at + i] = value >>> (8 * i);
  }
}

export { xorshift as randomNumbers } from '../xorshift.js';
