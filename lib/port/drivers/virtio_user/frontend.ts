/** The front-end's side of a vhost-user connection: what a driver says to a back-end before its queues run, and when they stop. */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { getU64 } from '../../../kernel/bytes.js';
import { POLLIN, SOCK_NONBLOCK, SOCK_STREAM } from '../../../kernel/constants.js';
import { check } from '../../../kernel/errno.js';
import { closeAll, unixAddress, unixSocket } from '../../../kernel/unix.js';
import { VHOST_USER_F_PROTOCOL_FEATURES } from '../../../virtqueue/features.js';
import { Channel } from '../../../vhost_user/channel.js';
import {
  FLAG_NEED_REPLY, PROTOCOL_F_MQ, PROTOCOL_F_REPLY_ACK, u64, writeAddress, writeTable, writeVring, type MemoryRegion, type RequestName, type VringAddress,
} from '../../../vhost_user/messages.js';
import { giveTurns } from '../../../vhost_user/turns.js';

/** A piece of memory and the file that it is. */
export interface SharedRegion extends MemoryRegion { readonly fd: number }

export interface SharedVring {
  readonly address: VringAddress;
  readonly size: number;
  readonly base: number;
  /** Eventfds: what it is told by, and what it tells by. */
  readonly kick: number;
  readonly call: number;
}

export interface Wishes {
  /** Features that the driver can do; VERSION_1 must be among the back-end's. */
  readonly features: bigint;
  readonly needed: bigint;
  /** Pairs. */
  readonly queues: number;
  /** Laid out once the features are known: then the rings are there, and zero. */
  readonly vrings: (features: bigint) => readonly SharedVring[];
  readonly regions: readonly SharedRegion[];
}

/** A back-end answers at once; one that is busy with another queue, a little later. */
const ANSWER_MS = 1000;

export class FrontEnd {
  readonly #path: string;
  readonly #channel: Channel;
  readonly #turn: () => void;
  #protocol = 0n;
  #vrings = 0;

  /** Connects. `turn` is the caller's own, which waiting must not take. Throws ENOTFOUND, ERIGHTS, ESYSCALL. */
  constructor(path: string, turn: () => void) {
    this.#path = path;
    this.#turn = turn;
    const fd = unixSocket(SOCK_STREAM | SOCK_NONBLOCK);
    const result = binding().connect(fd, unixAddress(path));
    if (result < 0) binding().close(fd);
    check(result, 'connect', `No back-end listens at ${path}: start it, or check the path.`);
    this.#channel = new Channel(fd, 'front-end');
  }

  /** The whole handshake. Returns the features of both. Throws ENOANSWER, EUNSUPPORTED, EFORMAT. */
  negotiate({ features, needed, queues, vrings, regions }: Wishes): bigint {
    const offered = this.#askU64('GET_FEATURES');
    const both = offered & features;
    if ((both & needed) !== needed) throw new PollmodeError('EUNSUPPORTED', `The back-end at ${this.#path} offers features 0x${offered.toString(16)}, and 0x${needed.toString(16)} are needed: open the port without what it cannot do.`);
    if ((both & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n) this.#negotiateProtocol(queues);
    else if (queues > 1) throw this.#fewQueues(1, queues);
    this.#say('SET_OWNER', new Uint8Array());
    this.#say('SET_FEATURES', u64(both));
    this.#say('SET_MEM_TABLE', writeTable(regions), regions.map(({ fd }) => fd));
    const rings = vrings(both);
    this.#vrings = rings.length;
    rings.forEach((ring, index) => this.#describe(ring, index));
    if ((both & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n) rings.forEach((_, index) => this.#say('SET_VRING_ENABLE', writeVring({ index, value: 1 })));
    return both;
  }

  /** Stops the rings: afterwards the back-end touches no buffer. Returns false when it does not answer. */
  stop(): boolean {
    try {
      for (let index = 0; index < this.#vrings; index++) this.#ask('GET_VRING_BASE', writeVring({ index, value: 0 }));
      return true;
    } catch (cause) {
      if (cause instanceof PollmodeError) return false;
      throw cause;
    }
  }

  /** Has the back-end hung up, or said something that nobody asked for? */
  get ended(): boolean {
    const received = this.#channel.receive();
    if (typeof received === 'object' && 'message' in received) closeAll(received.message.fds);
    return received !== 'none';
  }

  close(): void {
    this.#channel.close();
  }

  #negotiateProtocol(queues: number): void {
    const protocol = this.#askU64('GET_PROTOCOL_FEATURES') & (PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK);
    this.#say('SET_PROTOCOL_FEATURES', u64(protocol));
    this.#protocol = protocol; // from the next request on
    const most = (this.#protocol & PROTOCOL_F_MQ) !== 0n ? Number(this.#askU64('GET_QUEUE_NUM')) : 1;
    if (most < queues) throw this.#fewQueues(most, queues);
  }

  #describe({ size, base, address, kick, call }: SharedVring, index: number): void {
    this.#say('SET_VRING_NUM', writeVring({ index, value: size }));
    this.#say('SET_VRING_BASE', writeVring({ index, value: base }));
    this.#say('SET_VRING_ADDR', writeAddress({ ...address, index }));
    this.#say('SET_VRING_CALL', u64(BigInt(index)), [call]);
    this.#say('SET_VRING_KICK', u64(BigInt(index)), [kick]);
  }

  /** A request without an answer of its own: it is acknowledged, where both can. */
  #say(name: RequestName, payload: Uint8Array, fds: readonly number[] = []): void {
    const acknowledged = (this.#protocol & PROTOCOL_F_REPLY_ACK) !== 0n;
    if (!this.#channel.send(name, acknowledged ? FLAG_NEED_REPLY : 0, payload, fds)) throw this.#error(`does not take ${name}`);
    if (acknowledged && getU64(this.#answer(name, 8), 0) !== 0n) throw new PollmodeError('EUNSUPPORTED', `The back-end at ${this.#path} refused ${name}: its own log says why.`);
  }

  #askU64(name: RequestName): bigint {
    return getU64(this.#ask(name, new Uint8Array(), 8), 0);
  }

  #ask(name: RequestName, payload: Uint8Array, bytes = 8): Uint8Array {
    if (!this.#channel.send(name, 0, payload)) throw this.#error(`does not take ${name}`);
    return this.#answer(name, bytes);
  }

  #answer(name: RequestName, bytes: number): Uint8Array {
    const deadline = performance.now() + ANSWER_MS;
    for (;;) {
      const received = this.#channel.receive();
      if (typeof received === 'object' && 'message' in received) {
        closeAll(received.message.fds);
        if (received.message.name === name && received.message.payload.length === bytes) return received.message.payload;
        throw new PollmodeError('EFORMAT', `The peer at ${this.#path} answered ${name} with ${received.message.name} of ${received.message.payload.length} bytes: check that it is a vhost-user back-end.`);
      }
      if (typeof received === 'object') throw new PollmodeError('EFORMAT', `The peer at ${this.#path} ${received.fault}: check that it is a vhost-user back-end.`);
      if (received === 'end') throw this.#error(`hung up at ${name}`);
      if (performance.now() > deadline) throw this.#error(`did not answer ${name} in ${ANSWER_MS} ms`);
      giveTurns(this.#turn);
      binding().poll(Int32Array.of(this.#channel.fd, POLLIN), 1);
    }
  }

  #error(what: string): PollmodeError {
    return new PollmodeError('ENOANSWER', `The back-end at ${this.#path} ${what}: check that it runs and has room for one more.`);
  }

  #fewQueues(most: number, queues: number): PollmodeError {
    return new PollmodeError('EUNSUPPORTED', `The back-end at ${this.#path} has ${most} pairs of queues, and ${queues} were asked for: open the port with queues=${most}.`);
  }
}
