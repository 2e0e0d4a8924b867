/** A vhost port's socket: who listens, who connects, one connection at a time, and what comes over it. In the thread that opened the port. */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { SOCK_NONBLOCK, SOCK_STREAM, POLLIN } from '../../../kernel/constants.js';
import { Door } from '../../../kernel/door.js';
import { unixAddress, unixSocket } from '../../../kernel/unix.js';
import { Channel } from '../../../vhost_user/channel.js';
import type { RequestName } from '../../../vhost_user/messages.js';
import { takeTurns } from '../../../vhost_user/turns.js';
import { LinkSignal } from '../../link_signal.js';
import { BackEnd, type BackEndParts } from './backend.js';

/** How often the socket gets its turn beside the bursts, and how often a client tries again, in milliseconds. */
const PERIOD_MS = 10;
const RETRY_MS = 100;
/** In one turn: so many messages, and for a handshake under way so long, with so long a wait for the next message. */
const MOST_MESSAGES = 64;
/** What maps memory takes as long as many others, and counts as so many. */
const MAPPING: ReadonlySet<RequestName> = new Set(['SET_MEM_TABLE', 'ADD_MEM_REG', 'REM_MEM_REG', 'GET_INFLIGHT_FD', 'SET_INFLIGHT_FD']);
const MAPPING_COUNTS = 16;
const TURN_MS = 20;
const NEXT_MESSAGE_MS = 1;
/** Waits that a handshake may need; one more comes with each turn of the timer, so that a front-end that talks for ever holds nobody. */
const WAITS = 64;
const WAITS_EACH_VRING = 16;

export interface ControlParts extends Omit<BackEndParts, 'channel'> {
  readonly path: string;
  /** Connects instead of listening. */
  readonly client: boolean;
  /** Sends what waits for room. */
  readonly flush: () => void;
}

export class VhostControl {
  readonly link = new LinkSignal();
  readonly counts = { connections: 0, disconnections: 0, messages: 0, protocol_errors: 0 };
  /** Why the last connection ended, for people. */
  lastFault = '';
  readonly #parts: ControlParts;
  readonly #door: Door | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #leaveTurns: () => void;
  #channel: Channel | undefined;
  #backEnd: BackEnd | undefined;
  #tried = -Infinity;
  #waits = 0;
  /** A burst did not end when a connection did: what it works on is kept until it has. */
  #stuck = false;

  /** Throws EBUSYQUEUE, EEXISTS, EOPTION, ERIGHTS for a place where it cannot listen. */
  constructor(parts: ControlParts) {
    this.#parts = parts;
    this.#waits = this.#mostWaits;
    try {
      unixAddress(parts.path);
      this.#door = parts.client ? undefined : new Door(parts.path, [process.geteuid!()], SOCK_STREAM);
    } catch (cause) {
      this.link.close();
      throw cause;
    }
    this.#timer = setInterval(() => {
      parts.flush();
      this.service(true);
    }, PERIOD_MS).unref();
    this.#leaveTurns = takeTurns(() => this.service());
  }

  get connected(): boolean {
    return this.#channel !== undefined;
  }

  /** Both sides' features; 0 while there is no front-end. */
  get features(): bigint {
    return this.#backEnd?.features ?? 0n;
  }

  /** Its turn. `patient`: a handshake that is under way is waited for, for a moment. */
  service(patient = false): void {
    if (patient) this.#waits = Math.min(this.#waits + 1, this.#mostWaits);
    if (this.#channel === undefined && this.#retired()) this.#connect();
    if (this.#channel === undefined) return;
    const end = patient ? performance.now() + TURN_MS : 0;
    for (let messages = 0; messages < MOST_MESSAGES && this.#channel !== undefined; messages++) {
      const received = this.#channel.receive();
      if (received === 'end') this.#hangUp();
      else if (received === 'none') {
        if (messages === 0 || !patient || performance.now() > end || !this.#waitForMore(this.#channel)) break;
      } else if ('fault' in received) this.#hangUp(received.fault);
      else {
        this.counts.messages++;
        if (MAPPING.has(received.message.name)) messages += MAPPING_COUNTS - 1;
        const fault = this.#backEnd!.handle(received.message);
        if (fault !== undefined) this.#hangUp(fault);
      }
    }
    this.#tellState();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#leaveTurns();
    this.#hangUp();
    this.link.close();
    this.#door?.close();
    this.#backEnd?.end();
  }

  get #mostWaits(): number {
    return WAITS + WAITS_EACH_VRING * this.#parts.vrings.length;
  }

  #waitForMore({ fd }: Channel): boolean {
    if (this.#waits === 0) return false;
    this.#waits--;
    return binding().poll(Int32Array.of(fd, POLLIN), NEXT_MESSAGE_MS) > 0;
  }

  #connect(): void {
    const fd = this.#door === undefined ? this.#call() : this.#door.accept();
    if (fd === undefined) return;
    this.counts.connections++;
    this.#channel = new Channel(fd, 'back-end');
    this.#backEnd = new BackEnd({ ...this.#parts, channel: this.#channel });
  }

  /** As a client: a front-end that is not there yet is tried again. */
  #call(): number | undefined {
    if (performance.now() - this.#tried < RETRY_MS) return undefined;
    this.#tried = performance.now();
    const fd = unixSocket(SOCK_STREAM | SOCK_NONBLOCK);
    if (binding().connect(fd, unixAddress(this.#parts.path)) >= 0) return fd;
    binding().close(fd);
    return undefined;
  }

  #hangUp(fault?: string): void {
    if (fault !== undefined) {
      this.counts.protocol_errors++;
      this.lastFault = fault;
    }
    if (this.#channel === undefined) return;
    this.counts.disconnections++;
    this.#channel.close();
    this.#channel = undefined;
    this.#retired();
    this.#tellState();
  }

  /** Is nothing of the last front-end's in use any more? Its memory stays where a thread hangs in a burst, and no other comes until that has ended. */
  #retired(): boolean {
    if (this.#backEnd === undefined) return true;
    if (this.#stuck && this.#parts.vrings.some(vring => vring.busy)) return false;
    try {
      this.#backEnd.end();
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      this.lastFault = cause.message;
      this.#stuck = true;
      return false;
    }
    this.#backEnd = undefined;
    this.#stuck = false;
    return true;
  }

  /** Up while the first pair of queues runs. */
  #tellState(): void {
    const [rx, tx] = [this.#parts.vrings[0]!, this.#parts.vrings[1]!];
    if (rx.running && tx.running) this.link.set(true, 'the guest\'s driver is there');
    else this.link.set(false, `the guest's driver is gone${this.lastFault === '' ? '' : ` (${this.lastFault})`}`);
  }
}
