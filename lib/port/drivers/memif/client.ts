/** The client's side of a memif port: what it shares, and the conversation with its server, step by step, again when the server has gone. In the thread that opened the port. */
import { binding } from '../../../binding.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError, type ErrorCode } from '../../../errors.js';
import { POLLIN } from '../../../kernel/constants.js';
import { check } from '../../../kernel/errno.js';
import { newEventfd } from '../../../kernel/eventfd.js';
import { hasEnded, seqpacketSocket } from '../../../kernel/unix.js';
import { giveTurns, takeTurns } from '../../../vhost_user/turns.js';
import { VQ_TELL } from '../../../virtqueue/layout.js';
import { stopQueue } from '../../../virtqueue/state.js';
import { QUEUE_FD } from '../../layout.js';
import { LinkSignal } from '../../link_signal.js';
import type { PortHost } from '../../port.js';
import type { QueueState } from '../../queue.js';
import { MemifChannel } from './channel.js';
import { ClientMemory } from './client_memory.js';
import { MEMIF_SIDE } from './layout.js';
import { farewell, fitted, MEMIF_VERSION, MODE_ETHERNET, type Hello, type Message } from './messages.js';
import { longestFrame, socketAddress, type MemifSettings } from './options.js';
import { takeBack } from './outstanding.js';
import { makeRing, startCopying, startSharing, wakeLate } from './ring.js';

const NOBODY = 0xffffffff;
/** How often the connection is looked at beside the bursts; how long after a failure it is tried again; how long a server may take to answer, and to let go at the end. */
const PERIOD_MS = 10;
const RETRY_MS = 200;
const ANSWER_MS = 1000;
const FAREWELL_MS = 100;
const MOST_MESSAGES = 64;

/** A queue and its eventfd, which the server is told by, or we are. */
interface Line { readonly state: QueueState; readonly event: number; readonly number: number }

interface Outgoing { readonly message: Message; readonly fd?: number }

export class MemifClient {
  readonly link = new LinkSignal();
  readonly counts = { connections: 0, disconnections: 0, messages: 0, protocol_errors: 0, tx_lost: 0 };
  readonly #settings: MemifSettings;
  readonly #host: PortHost;
  readonly #memory: ClientMemory;
  readonly #lines: Line[] = [];
  #timer: NodeJS.Timeout | undefined;
  #leaveTurns: (() => void) | undefined;
  #channel: MemifChannel | undefined;
  #connected = false;
  /** What is to be said still; undefined before the server has said hello. */
  #saying: Outgoing[] | undefined;
  #log2Size = 0;
  #answerBy = 0;
  #retryAt = 0;
  /** Why the last connection ended. */
  #failure: PollmodeError | undefined;

  /** Reserves what is shared. Throws EPOOL, EARENAFULL. */
  constructor(settings: MemifSettings, host: PortHost) {
    this.#settings = settings;
    this.#host = host;
    try {
      this.#memory = new ClientMemory(settings, host);
    } catch (cause) {
      this.link.close();
      throw cause;
    }
  }

  /** A queue, in the order of its direction: those to the server first. */
  add(state: QueueState, queue: number): void {
    const event = newEventfd();
    const receives = state.direction === 'rx';
    const line = { state, event, number: queue + (receives ? this.#settings.queues : 0) };
    this.#lines.push(line);
    state.set(VQ_TELL, receives ? NOBODY : event);
    if (receives) state.set(QUEUE_FD, event);
    state.set(MEMIF_SIDE, this.#memory.side(line.number));
  }

  /** The first time it waits for the server. Throws ENOTFOUND, ERIGHTS, ENOANSWER, EUNSUPPORTED, EFORMAT. */
  start(): void {
    this.#call();
    while (!this.#connected && this.#channel !== undefined) {
      giveTurns(this.service);
      binding().poll(Int32Array.of(this.#channel.fd, POLLIN), 1);
      this.service();
    }
    if (!this.#connected) throw this.#failure!;
    this.#timer = setInterval(() => this.#onTimer(), PERIOD_MS).unref();
    this.#leaveTurns = takeTurns(this.service);
  }

  /** Its turn: what the server says, and a server that has gone, or is not there yet, tried again. */
  readonly service = (): void => {
    if (this.#channel === undefined && performance.now() >= this.#retryAt) this.#callAgain();
    for (let messages = 0; messages < MOST_MESSAGES && this.#channel !== undefined; messages++) {
      const received = this.#channel.receive();
      if (received === 'none') {
        if (!this.#connected && performance.now() > this.#answerBy) this.#hangUp('ENOANSWER', `did not answer in ${ANSWER_MS} ms`);
        break;
      }
      if (received === 'end') this.#hangUp('ENOANSWER', 'hung up');
      else if ('fault' in received) this.#fault(received.fault);
      else {
        this.counts.messages++;
        if (received.fd !== undefined) binding().close(received.fd);
        this.#handle(received.message);
      }
    }
  };

  #onTimer(): void {
    this.service();
    for (const { state, event } of this.#lines) if (state.direction === 'rx') wakeLate(state, event);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#leaveTurns?.();
    if (this.#channel?.send(farewell('Port closed')) === true) this.#waitForEnd(this.#channel);
    this.#hangUp('ECLOSED', 'was left');
    this.link.close();
    for (const { state, event } of this.#lines) {
      state.set(VQ_TELL, NOBODY);
      state.set(QUEUE_FD, NOBODY);
      binding().close(event);
    }
    this.#memory.close();
  }

  #call(): void {
    const { device } = this.#settings;
    const fd = seqpacketSocket();
    const result = binding().connect(fd, socketAddress(this.#settings));
    if (result < 0) binding().close(fd);
    check(result, 'connect', `No memif server listens at ${device}: start it, or check the path.`);
    this.#channel = new MemifChannel(fd);
    this.#saying = undefined;
    this.#answerBy = performance.now() + ANSWER_MS;
  }

  #callAgain(): void {
    try {
      this.#call();
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      this.#retryAt = performance.now() + RETRY_MS;
    }
  }

  #handle(message: Message): void {
    if (message.kind === 'disconnect') return this.#hangUp('EUNSUPPORTED', `ended the connection ("${fitted(message.reason, 96)}")`);
    if (message.kind === 'hello' && this.#saying === undefined) return this.#greet(message);
    if (message.kind === 'ack' && (this.#saying?.length ?? 0) > 0) return this.#say();
    if (message.kind === 'connected' && this.#saying?.length === 0 && !this.#connected) return this.#run();
    this.#fault(`said ${message.kind} out of turn`);
  }

  #greet(hello: Hello): void {
    const { queues, rsize } = this.#settings;
    const { regions } = this.#memory;
    const most = Math.min(hello.maxToServer, hello.maxToClient) + 1;
    if (hello.minVersion > MEMIF_VERSION || hello.maxVersion < MEMIF_VERSION) return this.#refuse('speaks another version of memif');
    if (most < queues) return this.#refuse(`has ${most} queues, and ${queues} were asked for`);
    if (hello.maxRegion + 1 < regions.length) return this.#refuse(`takes ${hello.maxRegion + 1} regions, and there are ${regions.length}`);
    this.#log2Size = Math.min(rsize, hello.maxLog2Ring);
    for (const { state, number } of this.#lines) makeRing(state, this.#memory.ring(number), this.#log2Size);
    this.#saying = this.#conversation();
    this.#say();
  }

  /** One after the other, each when the one before it was acknowledged. */
  #conversation(): Outgoing[] {
    const { id, secret, device, queues } = this.#settings;
    return [
      { message: { kind: 'init', version: MEMIF_VERSION, id, mode: MODE_ETHERNET, secret, name: 'pollmode' } },
      ...this.#memory.regions.map(({ bytes, fd }, index) => ({ message: { kind: 'addRegion', index, bytes: BigInt(bytes) } as const, fd })),
      ...this.#lines.map(({ event, number }) => {
        const toServer = number < queues;
        const ring = { kind: 'addRing', toServer, index: toServer ? number : number - queues, region: 0, offset: this.#memory.ringPlace(number), log2Size: this.#log2Size, privateHeader: 0 } as const;
        return { message: ring, fd: event };
      }),
      { message: { kind: 'connect', name: fitted(device) } },
    ];
  }

  #say(): void {
    const { message, fd } = this.#saying!.shift()!;
    this.#answerBy = performance.now() + ANSWER_MS;
    if (!this.#channel!.send(message, fd)) this.#hangUp('ENOANSWER', `does not take ${message.kind}`);
  }

  /** The server has all that it needs. */
  #run(): void {
    const { arena, pool } = this.#host;
    this.#connected = true;
    this.counts.connections++;
    for (const { state, number } of this.#lines) {
      const setup = { ring: this.#memory.ring(number), log2Size: this.#log2Size, longest: longestFrame(this.#settings), scratch: this.#memory.scratch(number) };
      if (!this.#settings.zeroCopy) startCopying(state, setup, this.#memory.buffers(number));
      else {
        startSharing(state, setup, pool);
        if (state.direction === 'rx') burstFunctions(arena).memifZcFill(state.offset, arena.lcore);
      }
    }
    this.link.set(true, 'the server is there');
  }

  #fault(what: string): void {
    this.counts.protocol_errors++;
    this.#channel?.send(farewell(what));
    this.#hangUp('EFORMAT', what);
  }

  #refuse(why: string): void {
    this.#channel?.send(farewell(why));
    this.#hangUp('EUNSUPPORTED', why);
  }

  /** Everything that was out comes back; frames on their way are lost. */
  #hangUp(code: ErrorCode, what: string): void {
    this.#failure = new PollmodeError(code, `The memif server at ${this.#settings.device} ${what}: check its log, and id=, secret= and queues= here.`);
    if (this.#channel === undefined) return;
    for (const { state } of this.#lines) stopQueue(state);
    this.#channel.close();
    this.#channel = undefined;
    this.#retryAt = performance.now() + RETRY_MS;
    if (!this.#connected) return;
    this.#connected = false;
    this.counts.disconnections++;
    for (const { state } of this.#lines) {
      const lost = this.#settings.zeroCopy ? takeBack(state, this.#host.pool) : 0;
      if (state.direction === 'tx') this.counts.tx_lost += lost;
    }
    this.link.set(false, `the server is gone: it ${what}`);
  }

  /** A server that hangs up has let go of our memory. One that does not, in its time, is not waited for. */
  #waitForEnd({ fd }: MemifChannel): void {
    for (const { state } of this.#lines) stopQueue(state);
    const deadline = performance.now() + FAREWELL_MS;
    while (!hasEnded(fd) && performance.now() < deadline) {
      giveTurns(this.service);
      binding().poll(Int32Array.of(fd, 0), 1);
    }
  }
}
