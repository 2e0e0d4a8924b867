import type { Arena } from '../arena/arena.js';
import { PollmodeError } from '../errors.js';

/**
 * Who may write to a lookup structure: a word in the arena with the lcore's id plus one. The first who writes has it,
 * until it lets go or dies.
 */
export class Writer {
  readonly #arena: Arena;
  readonly #word: number;
  readonly #subject: string;

  constructor(arena: Arena, offset: number, subject: string) {
    this.#arena = arena;
    this.#word = offset >>> 2;
    this.#subject = subject;
  }

  /** Makes this thread the writer, or throws ETHREAD. One load where it is already. */
  claim(): void {
    if (Atomics.load(this.#arena.u32, this.#word) !== this.#arena.lcore + 1) this.#take();
  }

  release(): void {
    Atomics.compareExchange(this.#arena.u32, this.#word, this.#arena.lcore + 1, 0);
  }

  #take(): void {
    const { u32, lcore } = this.#arena;
    const other = Atomics.compareExchange(u32, this.#word, 0, lcore + 1);
    if (other === 0) return;
    const lives = this.#arena.lcores().some(each => each.lcore === other - 1 && each.life !== 'dead');
    if (!lives && Atomics.compareExchange(u32, this.#word, other, lcore + 1) === other) return;
    throw new PollmodeError('ETHREAD', `${this.#subject} is written to by lcore ${other - 1}: let it call release(), or write from there.`);
  }
}
