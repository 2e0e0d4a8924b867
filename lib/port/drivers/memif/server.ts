/** The server's side of a memif port: one client at a time, each message checked, then done, then acknowledged. In the thread that opened the port. */
import { binding } from '../../../binding.js';
import { EFD_NONBLOCK, POLLIN } from '../../../kernel/constants.js';
import { newEventfd } from '../../../kernel/eventfd.js';
import { isEventfd } from '../../../vhost_user/descriptors.js';
import { takeTurns } from '../../../vhost_user/turns.js';
import { VQ_GENERATION, VQ_TELL } from '../../../virtqueue/layout.js';
import { stopQueue } from '../../../virtqueue/state.js';
import { QUEUE_FD } from '../../layout.js';
import { LinkSignal } from '../../link_signal.js';
import type { QueueState } from '../../queue.js';
import type { Incoming, MemifChannel } from './channel.js';
import { MOST_LOG2_RING } from './layout.js';
import { Listener, type Interface } from './listener.js';
import { farewell, fitted, type AddRing, type Init, type Message } from './messages.js';
import { longestFrame, type MemifSettings } from './options.js';
import type { ClientRegions } from './regions.js';
import { ringBytes, startServer, wakeLate } from './ring.js';

const NOBODY = 0xffffffff;
/** How often the socket gets its turn beside the bursts, in milliseconds. */
const PERIOD_MS = 10;
/** In one turn: so many messages, and for a handshake under way so long, with so long a wait for the next message. */
const MOST_MESSAGES = 64;
const TURN_MS = 20;
const NEXT_MESSAGE_MS = 1;
/** A client that has begun and does not go on is sent away after so long: another may be waiting. */
const SILENCE_MS = 1000;

/**
 * A queue, and the eventfd of its ring: the number stays for life, whatever the client puts behind it (dup3), as a thread
 * that polls the queue uses it at any moment.
 */
interface Line {
  readonly state: QueueState;
  readonly scratch: number;
  readonly event: number;
  ring: AddRing | undefined;
}

export class MemifServer implements Interface {
  readonly link = new LinkSignal();
  readonly counts = { connections: 0, disconnections: 0, messages: 0, protocol_errors: 0 };
  /** Why the last connection ended, for people. */
  lastFault = '';
  readonly #settings: MemifSettings;
  readonly #regions: ClientRegions;
  /** From the client, and to it. */
  readonly #rx: Line[] = [];
  readonly #tx: Line[] = [];
  #listener: Listener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #leaveTurns: (() => void) | undefined;
  #channel: MemifChannel | undefined;
  #name = '';
  #connected = false;
  #sayBy = 0;

  constructor(settings: MemifSettings, regions: ClientRegions) {
    this.#settings = settings;
    this.#regions = regions;
  }

  /** A queue, in the order of its direction. */
  add(state: QueueState, scratch: number): void {
    const event = newEventfd();
    (state.direction === 'rx' ? this.#rx : this.#tx).push({ state, scratch, event, ring: undefined });
    if (state.direction === 'rx') state.set(QUEUE_FD, event);
    state.set(VQ_TELL, NOBODY);
  }

  /** Throws EBUSYQUEUE, EEXISTS, EOPTION, ERIGHTS for a place where it cannot listen. */
  start(): void {
    this.#listener = Listener.join(this.#settings, this);
    this.#timer = setInterval(() => this.#onTimer(), PERIOD_MS).unref();
    this.#leaveTurns = takeTurns(() => this.service());
  }

  get id(): number {
    return this.#settings.id;
  }

  get secret(): string {
    return this.#settings.secret;
  }

  get queues(): number {
    return this.#settings.queues;
  }

  get busy(): boolean {
    return this.#channel !== undefined;
  }

  /** Clients that were not let in. */
  get refused(): number {
    return this.#listener?.refused ?? 0;
  }

  welcome(channel: MemifChannel, { name }: Init): void {
    this.counts.connections++;
    this.counts.messages++;
    this.#channel = channel;
    this.#name = fitted(name);
    this.#sayBy = performance.now() + SILENCE_MS;
    if (!channel.send({ kind: 'ack' })) this.#hangUp('does not read what it is answered');
  }

  /** Its turn. `patient`: a handshake that is under way is waited for, for a moment. */
  service(patient = false): void {
    this.#listener?.service();
    const end = patient ? performance.now() + TURN_MS : 0;
    for (let messages = 0; messages < MOST_MESSAGES && this.#channel !== undefined; messages++) {
      const received = this.#channel.receive();
      if (received === 'end') this.#hangUp();
      else if (received === 'none') {
        if (!this.#connected && performance.now() > this.#sayBy) this.#hangUp('Nothing was said');
        else if (!patient || this.#connected || performance.now() > end || binding().poll(Int32Array.of(this.#channel.fd, POLLIN), NEXT_MESSAGE_MS) <= 0) break;
      } else if ('fault' in received) this.#hangUp(received.fault);
      else this.#handle(received);
    }
  }

  #onTimer(): void {
    this.service(true);
    for (const { state, event } of this.#rx) wakeLate(state, event);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#leaveTurns?.();
    this.#channel?.send(farewell('Port closed'));
    this.#hangUp();
    this.link.close();
    this.#listener?.leave(this);
    for (const { state, event } of this.#lines) {
      stopQueue(state);
      state.set(VQ_TELL, NOBODY);
      state.set(QUEUE_FD, NOBODY);
      binding().close(event);
    }
  }

  get #lines(): Line[] {
    return [...this.#rx, ...this.#tx];
  }

  /** The message's descriptor is closed or kept. */
  #handle({ message, fd }: Incoming): void {
    this.counts.messages++;
    this.#sayBy = performance.now() + SILENCE_MS;
    const fds = fd === undefined ? [] : [fd];
    if (message.kind === 'disconnect') return this.#hangUp(undefined, message.reason);
    const fault = this.#do(message, fds);
    for (const each of fds) binding().close(each);
    if (fault !== undefined) return this.#hangUp(fault);
    const answered = this.#channel!.send(message.kind === 'connect' ? { kind: 'connected', name: fitted(this.#settings.device) } : { kind: 'ack' });
    if (!answered) this.#hangUp('does not read what it is answered');
  }

  /** Returns what is wrong. A descriptor that is kept is taken out of `fds`. */
  #do(message: Message, fds: number[]): string | undefined {
    if (this.#connected) return 'Unexpected message';
    switch (message.kind) {
      case 'addRegion': return this.#regions.add(message.index, message.bytes, fds[0]!);
      case 'addRing': return this.#addRing(message, fds);
      case 'connect': return this.#connect(message.name);
      default: return 'Unexpected message';
    }
  }

  #addRing(ring: AddRing, fds: number[]): string | undefined {
    const line = (ring.toServer ? this.#rx : this.#tx)[ring.index];
    if (line === undefined || line.ring !== undefined) return 'Invalid ring index';
    if (ring.log2Size > MOST_LOG2_RING) return `A ring has more than 2^${MOST_LOG2_RING} descriptors`;
    if (ring.privateHeader !== 0) return 'Private headers are not supported';
    if (!isEventfd(fds[0]!)) return 'A ring\'s descriptor is no eventfd';
    line.ring = ring;
    this.#putEvent(line, fds.shift()!);
    return undefined;
  }

  #connect(name: string): string | undefined {
    for (const line of this.#lines) {
      if (line.ring === undefined) continue;
      const { region, offset, log2Size } = line.ring;
      const ring = this.#regions.translate(region, offset, ringBytes(log2Size));
      if (ring === undefined) return 'A ring is not all in its region';
      const fault = startServer(line.state, { ring, log2Size, longest: longestFrame(this.#settings), scratch: line.scratch }, this.#regions.table);
      if (fault !== undefined) return fault;
    }
    this.#connected = true;
    this.link.set(true, `the client is there: ${this.#name}, ${fitted(name)}`);
    return undefined;
  }

  /** Nothing of the client's is used any more, and the next one may come. */
  #hangUp(fault?: string, reason = fault ?? ''): void {
    this.lastFault = fitted(reason, 96);
    if (fault !== undefined) this.counts.protocol_errors++;
    if (this.#channel === undefined) return;
    for (const { state } of this.#lines) stopQueue(state);
    if (fault !== undefined) this.#channel.send(farewell(fault));
    this.#channel.close();
    this.#channel = undefined;
    this.counts.disconnections++;
    for (const line of this.#lines) this.#forget(line);
    this.#regions.clear();
    this.#connected = false;
    this.link.set(false, `the client is gone${this.lastFault === '' ? '' : ` (${this.lastFault})`}`);
  }

  /** Where the process has no descriptor more, the client's stays behind the number till the next comes: nobody tells it. */
  #forget(line: Line): void {
    if (line.ring === undefined) return;
    line.ring = undefined;
    this.#putEvent(line, binding().eventfd(0, EFD_NONBLOCK));
    line.state.set(VQ_TELL, NOBODY);
  }

  #putEvent({ state, event }: Line, by: number): void {
    binding().replace(event, by);
    binding().close(by);
    state.set(VQ_GENERATION, state.get(VQ_GENERATION) + 1);
    if (state.direction === 'tx') state.set(VQ_TELL, event);
  }
}
