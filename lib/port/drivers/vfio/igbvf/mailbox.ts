import { PollmodeError } from '../../../../errors.js';
import {
  MAILBOX_WORDS, MESSAGE_CTS, MESSAGE_NACK, MESSAGE_KIND, PF_CONTROL, V2P_ACK, V2P_PFACK, V2P_PFSTS, V2P_READ_TO_CLEAR, V2P_REQ, V2P_RSTI, V2P_RSTD, V2P_VFU,
} from '../igb/mailbox.js';
import type { Registers } from '../pci/registers.js';
import type { RegisterName } from './registers.js';

/** How long the physical function has for each step. A busy one looks every few milliseconds. */
const DEADLINE_MS = 2000;

/** The virtual function's side of the mailbox. Blocks, as control may. */
export class Mailbox {
  readonly #registers: Registers<RegisterName>;
  readonly #name: string;
  /** Bits that a read has taken from the register, and that nobody has asked for yet. */
  #kept = 0;

  constructor(name: string, registers: Registers<RegisterName>) {
    this.#name = name;
    this.#registers = registers;
  }

  /** Is the physical function absent, or being reset? */
  get isDown(): boolean {
    const state = this.#state();
    return state === 0xffffffff || (state & V2P_RSTI) !== 0;
  }

  /** Until the physical function is there. Throws ENOANSWER. */
  awaitReady(): void {
    this.#wait(state => state !== 0xffffffff && (state & V2P_RSTI) === 0, 'is not ready: bring it up (ip link set up, or open its port)');
    this.#drop(V2P_RSTD);
  }

  /** One question. Returns the answer's words; undefined when the physical function refuses. Throws ENOANSWER. */
  ask(message: readonly number[], words: number): number[] | undefined {
    this.#own('for a question');
    this.#drop(V2P_PFSTS | V2P_PFACK);
    message.forEach((word, i) => { this.#registers.write('VMBMEM', word, 4 * i); });
    this.#registers.write('V2PMAILBOX', V2P_REQ);
    this.#wait(state => (state & V2P_PFACK) !== 0, 'does not take a message');
    this.#drop(V2P_PFACK);
    // Between the two it may have told us of a change, which is no answer.
    for (let tries = 0; tries < MAILBOX_WORDS; tries++) {
      const answer = this.#receive(words);
      if ((answer[0]! & MESSAGE_KIND) === (message[0]! & MESSAGE_KIND)) return (answer[0]! & MESSAGE_NACK) === 0 ? answer : undefined;
      if ((answer[0]! & MESSAGE_KIND & ~PF_CONTROL) !== 0 && (answer[0]! & MESSAGE_CTS) === 0) break;
    }
    throw this.#silence('answers something else');
  }

  #receive(words: number): number[] {
    this.#wait(state => (state & V2P_PFSTS) !== 0, 'does not answer');
    this.#drop(V2P_PFSTS);
    this.#own('for an answer');
    const answer = Array.from({ length: words }, (_, i) => this.#registers.read('VMBMEM', 4 * i));
    this.#registers.write('V2PMAILBOX', V2P_ACK); // and the buffer is free again
    return answer;
  }

  #own(what: string): void {
    this.#wait(() => {
      this.#registers.write('V2PMAILBOX', V2P_VFU);
      return (this.#state() & V2P_VFU) !== 0;
    }, `does not let go of the mailbox ${what}`);
  }

  /** Takes bits away that have been seen. */
  #drop(bits: number): void {
    this.#kept &= ~bits;
  }

  /** The register, with what earlier reads have cleared in it. */
  #state(): number {
    const read = this.#registers.read('V2PMAILBOX');
    this.#kept |= read & V2P_READ_TO_CLEAR;
    return (read | this.#kept) >>> 0;
  }

  #wait(done: (state: number) => boolean, complaint: string): void {
    const end = performance.now() + DEADLINE_MS;
    while (!done(this.#state())) {
      if (performance.now() > end) throw this.#silence(complaint);
      this.#registers.pause(1);
    }
  }

  #silence(complaint: string): PollmodeError {
    return new PollmodeError('ENOANSWER', `${this.#name}: its physical function ${complaint} within ${DEADLINE_MS} ms: see that its driver runs, and its kernel's log.`);
  }
}
