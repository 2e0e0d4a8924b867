/** A next hop of a tunnel's end: its MAC, once that is known, and packets that wait for it. */
export interface Neighbour {
  /** IPv4, host order. */
  readonly address: number;
  readonly mac: Uint8Array;
  known: boolean;
  /** Somebody asks for it. */
  users: number;
  confirmed: number;
  asked: number;
  /** Questions since the last answer. */
  questions: number;
  readonly waiting: number[];
}

/** Packets that wait for one neighbour; Linux keeps as many kilobytes, roughly (unres_qlen_bytes). */
const MOST_WAITING = 64;
const ASK_EVERY = 1000;
/** Questions without an answer after which what waits is given up, and a known address too. */
const MOST_QUESTIONS = 3;
/** An address is asked for again when it was confirmed so long ago: it goes on being used meanwhile. */
const STALE = 30_000;

/**
 * ARP's table (RFC 826, timers as RFC 1122 section 2.3.2 wants them): only of those that tunnels lead to, so that nobody
 * on the wire can fill it. Asks at most once a second for each.
 */
export class Neighbours {
  readonly #table = new Map<number, Neighbour>();
  readonly #ask: (address: number) => void;
  readonly #giveUp: (handle: number) => void;

  constructor(ask: (address: number) => void, giveUp: (handle: number) => void) {
    this.#ask = ask;
    this.#giveUp = giveUp;
  }

  /** The one that this tunnel uses from now on; `leave` when it no longer does. */
  use(address: number): Neighbour {
    let neighbour = this.#table.get(address);
    if (neighbour === undefined) {
      neighbour = { address, mac: new Uint8Array(6), known: false, users: 0, confirmed: -Infinity, asked: -Infinity, questions: 0, waiting: [] };
      this.#table.set(address, neighbour);
    }
    neighbour.users++;
    return neighbour;
  }

  leave(neighbour: Neighbour): void {
    if (--neighbour.users > 0) return;
    this.#drain(neighbour);
    this.#table.delete(neighbour.address);
  }

  /** Keeps a packet until the address is known. False: there are enough. */
  wait(neighbour: Neighbour, handle: number, now: number): boolean {
    this.#askFor(neighbour, now);
    if (neighbour.waiting.length >= MOST_WAITING) return false;
    neighbour.waiting.push(handle);
    return true;
  }

  /** Somebody says what its MAC is. Returns it when packets may have waited for that; undefined for one that nobody uses. */
  heard(address: number, mac: Uint8Array, now: number): Neighbour | undefined {
    const neighbour = this.#table.get(address);
    if (neighbour === undefined || (mac[0]! & 1) !== 0) return undefined;
    neighbour.mac.set(mac.subarray(0, 6));
    neighbour.known = true;
    neighbour.confirmed = now;
    neighbour.questions = 0;
    return neighbour;
  }

  /** Now and then: asks again, and gives up. */
  tick(now: number): void {
    for (const neighbour of this.#table.values()) {
      if (neighbour.known ? now - neighbour.confirmed <= STALE : neighbour.waiting.length === 0) continue;
      if (now - neighbour.asked < ASK_EVERY) continue;
      if (neighbour.questions < MOST_QUESTIONS) this.#askFor(neighbour, now);
      else {
        neighbour.known = false;
        neighbour.questions = 0;
        this.#drain(neighbour);
      }
    }
  }

  close(): void {
    for (const neighbour of this.#table.values()) this.#drain(neighbour);
    this.#table.clear();
  }

  #askFor(neighbour: Neighbour, now: number): void {
    if (now - neighbour.asked < ASK_EVERY) return;
    neighbour.asked = now;
    neighbour.questions++;
    this.#ask(neighbour.address);
  }

  #drain(neighbour: Neighbour): void {
    for (const handle of neighbour.waiting.splice(0)) this.#giveUp(handle);
  }
}
