/** The back-end's side of one vhost-user connection: each request checked, then done, then answered. */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { getU64 } from '../../../kernel/bytes.js';
import { closeAll } from '../../../kernel/unix.js';
import { offloads, ringFormat, VHOST_USER_F_PROTOCOL_FEATURES, type RingFormat } from '../../../virtqueue/features.js';
import type { Channel, Message } from '../../../vhost_user/channel.js';
import { isEventfd } from '../../../vhost_user/descriptors.js';
import {
  FLAG_REPLY, PROTOCOL_F_CONFIGURE_MEM_SLOTS, PROTOCOL_F_INFLIGHT_SHMFD, PROTOCOL_F_MQ, PROTOCOL_F_REPLY_ACK, readAddress, readInflight, readRegion, readTable,
  readVring, SHAPES, u64, VRING_NO_FD, writeInflight, writeVring, type RequestName,
} from '../../../vhost_user/messages.js';
import type { Inflights } from './inflight.js';
import { BadRegion, type GuestMemory } from './memory.js';
import type { Vring } from './vring.js';

export interface BackEndParts {
  readonly channel: Channel;
  readonly memory: GuestMemory;
  readonly inflights: Inflights;
  /** Two for each pair of queues: the guest's receive ring, then its send ring. */
  readonly vrings: readonly Vring[];
  /** Features that are offered. */
  readonly features: bigint;
  readonly longest: number;
}

const PROTOCOL_FEATURES = PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_INFLIGHT_SHMFD | PROTOCOL_F_CONFIGURE_MEM_SLOTS;
const MEMORY_SLOTS = 32n;

/** A request that is refused: the front-end is told where it asked to be, and otherwise the connection ends. */
class Refusal extends Error {}

export class BackEnd {
  readonly #parts: BackEndParts;
  #features = 0n;
  #protocol = 0n;

  constructor(parts: BackEndParts) {
    this.#parts = parts;
  }

  /** Both sides' features; none before they were set. */
  get features(): bigint {
    return this.#features;
  }

  /** Does what the message says and answers. Returns a fault, after which the connection is of no use. The message's descriptors are closed or kept. */
  handle(message: Message): string | undefined {
    const { name, needsReply } = message;
    const fds = [...message.fds];
    const acknowledges = needsReply && (this.#protocol & PROTOCOL_F_REPLY_ACK) !== 0n && !SHAPES[name].replies;
    try {
      const answer = this.#do(name, message.payload, fds);
      if (answer !== undefined && !this.#parts.channel.send(name, FLAG_REPLY, answer.payload, answer.fds)) return 'does not read what it is answered';
      if (acknowledges && !this.#parts.channel.send(name, FLAG_REPLY, u64(0n))) return 'does not read what it is answered';
      return undefined;
    } catch (cause) {
      if (!(cause instanceof Refusal || cause instanceof BadRegion || cause instanceof PollmodeError)) throw cause;
      // What could not be done is not as the front-end thinks it is: it must know, or go.
      if (acknowledges && this.#parts.channel.send(name, FLAG_REPLY, u64(1n))) return undefined;
      return `${name}: ${cause.message}`;
    } finally {
      closeAll(fds);
    }
  }

  /** The connection has ended: nothing of the front-end's is used any more. */
  end(): void {
    for (const vring of this.#parts.vrings) vring.reset();
    this.#parts.memory.clear();
    this.#parts.inflights.clear();
  }

  /** Descriptors that are kept are taken out of `fds`. */
  #do(name: RequestName, payload: Uint8Array, fds: number[]): { payload: Uint8Array; fds?: readonly number[] } | undefined {
    const { memory, vrings, inflights } = this.#parts;
    switch (name) {
      case 'GET_FEATURES': return { payload: u64(this.#parts.features) };
      case 'SET_FEATURES': return this.#setFeatures(getU64(payload, 0));
      case 'GET_PROTOCOL_FEATURES': return { payload: u64(PROTOCOL_FEATURES) };
      case 'SET_PROTOCOL_FEATURES': return this.#setProtocol(getU64(payload, 0));
      case 'GET_QUEUE_NUM': return { payload: u64(BigInt(vrings.length >> 1)) };
      case 'GET_MAX_MEM_SLOTS': return { payload: u64(MEMORY_SLOTS) };
      case 'SET_MEM_TABLE': return this.#setTable(payload, fds);
      case 'ADD_MEM_REG': return this.#paused((): undefined => {
        if (BigInt(memory.regions) >= MEMORY_SLOTS) throw new Refusal('there are as many regions as were offered');
        memory.add(readRegion(payload, 8), fds[0]!);
      });
      case 'REM_MEM_REG': return this.#paused((): undefined => {
        if (!memory.remove(readRegion(payload, 8))) throw new Refusal('there is no such region');
      });
      case 'SET_VRING_NUM': return this.#change(readVring(payload).index, vring => {
        const { value } = readVring(payload);
        if (value === 0 || value > 32768) throw new Refusal(`a ring has 1 to 32768 descriptors, not ${value}`);
        vring.size = value;
      });
      case 'SET_VRING_ADDR': return this.#change(readAddress(payload).index, vring => { vring.address = readAddress(payload); });
      case 'SET_VRING_BASE': return this.#change(readVring(payload).index, vring => { vring.base = readVring(payload).value; });
      case 'GET_VRING_BASE': return this.#getBase(readVring(payload).index);
      case 'SET_VRING_ENABLE': return this.#change(readVring(payload).index, vring => { vring.enabled = readVring(payload).value !== 0; });
      case 'SET_VRING_KICK': return this.#descriptor(payload, fds, (vring, fd) => vring.setKick(fd));
      case 'SET_VRING_CALL': return this.#descriptor(payload, fds, (vring, fd) => vring.setCall(fd));
      case 'SET_VRING_ERR': return this.#descriptor(payload, fds, (_, fd) => { if (fd !== undefined) binding().close(fd); });
      case 'GET_INFLIGHT_FD': return this.#makeInflight(payload);
      case 'SET_INFLIGHT_FD': return this.#paused((): undefined => {
        if (!inflights.set(readInflight(payload), fds[0]!, this.#format)) throw new Refusal('the in-flight memory is not all in its file, or too small');
      });
      // A session begins with the connection; disabling all rings is what the document allows for the other, and SET_VRING_ENABLE does it better.
      case 'SET_OWNER': case 'RESET_OWNER': case 'SEND_RARP': return undefined;
    }
  }

  get #format(): RingFormat {
    return ringFormat(this.#features);
  }

  #setFeatures(features: bigint): undefined {
    if ((features & ~this.#parts.features) !== 0n) throw new Refusal(`features 0x${features.toString(16)} were not all offered`);
    return this.#paused((): undefined => {
      this.#features = features;
      if ((features & VHOST_USER_F_PROTOCOL_FEATURES) === 0n) for (const vring of this.#parts.vrings) vring.enabled = true;
    });
  }

  #setProtocol(features: bigint): undefined {
    if ((features & ~PROTOCOL_FEATURES) !== 0n) throw new Refusal(`protocol features 0x${features.toString(16)} were not all offered`);
    this.#protocol = features;
    return undefined;
  }

  #setTable(payload: Uint8Array, fds: readonly number[]): undefined {
    const regions = readTable(payload);
    if (regions === undefined || regions.length !== fds.length) throw new Refusal(`${fds.length} descriptors came for ${regions?.length ?? 'more'} regions than were sent`);
    return this.#paused((): undefined => {
      this.#parts.memory.clear();
      regions.forEach((region, i) => this.#parts.memory.add(region, fds[i]!));
    });
  }

  #getBase(index: number): { payload: Uint8Array } {
    const vring = this.#vring(index);
    vring.stop(this.#format.packed);
    vring.dropDescriptors();
    return { payload: writeVring({ index, value: vring.base }) };
  }

  #descriptor(payload: Uint8Array, fds: number[], keep: (vring: Vring, fd: number | undefined) => void): undefined {
    const value = Number(getU64(payload, 0) & 0xffffffffn);
    const polled = (value & VRING_NO_FD) !== 0;
    if (polled !== (fds.length === 0)) throw new Refusal(polled ? 'a descriptor came that was said not to' : 'its descriptor is missing');
    if (fds[0] !== undefined && !isEventfd(fds[0])) throw new Refusal('its descriptor is no eventfd');
    return this.#change(value & 0xff, vring => keep(vring, fds.shift()));
  }

  /** Rings that run write into what there was before. */
  #makeInflight(payload: Uint8Array): { payload: Uint8Array; fds: readonly number[] } {
    return this.#paused(() => {
      const { description, fd } = this.#parts.inflights.make(readInflight(payload), this.#format);
      return { payload: writeInflight(description), fds: [fd] };
    });
  }

  /** Changes one vring while it stands still. */
  #change(index: number, work: (vring: Vring) => void): undefined {
    const vring = this.#vring(index);
    vring.stop(this.#format.packed);
    work(vring);
    this.#start(vring, index);
    return undefined;
  }

  /** Changes what all of them need. */
  #paused<T>(work: () => T): T {
    const { vrings } = this.#parts;
    for (const vring of vrings) vring.stop(this.#format.packed);
    try {
      return work();
    } finally {
      vrings.forEach((vring, index) => this.#start(vring, index));
    }
  }

  #start(vring: Vring, index: number): void {
    const { memory, longest, inflights } = this.#parts;
    const lacks = vring.start({
      memory, format: this.#format, longest, inflight: inflights.at(index), resume: inflights.resume(index),
      offloads: offloads(this.#features, index % 2 === 0 ? 'receive' : 'send'),
    });
    // Not before: what was never written would be taken for a place.
    if (lacks === undefined) inflights.begin(index);
  }

  #vring(index: number): Vring {
    const vring = this.#parts.vrings[index];
    if (vring === undefined) throw new Refusal(`there is no vring ${index}`);
    return vring;
  }
}
