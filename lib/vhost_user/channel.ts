/** A vhost-user connection: a stream of messages, each taken whole, with its descriptors, or not at all. What comes in is a stranger's. */
import { binding } from '../binding.js';
import { concat, getU32, setU32 } from '../kernel/bytes.js';
import { MSG_DONTWAIT } from '../kernel/constants.js';
import { EAGAIN } from '../kernel/errno.js';
import { closeAll } from '../kernel/unix.js';
import { FDS_SEEN, fitsPayload, FLAG_NEED_REPLY, FLAG_REPLY, FLAG_VERSION, HEADER_BYTES, MOST_PAYLOAD, requestNamed, SHAPES, type RequestName } from './messages.js';

export interface Message {
  readonly name: RequestName;
  readonly needsReply: boolean;
  readonly payload: Uint8Array;
  /** The receiver's to close. */
  readonly fds: readonly number[];
}

/** What a read gives besides a message: nothing yet; the peer is gone; or what is wrong with what it sent, after which nothing can be read. */
export type Received = { readonly message: Message } | 'none' | 'end' | { readonly fault: string };

/** Which end this is: it is sent requests, or replies to its own. */
export type End = 'back-end' | 'front-end';

export class Channel {
  readonly fd: number;
  readonly #end: End;
  readonly #header = new Uint8Array(HEADER_BYTES);
  /** Descriptors of one read. Poll loops read now and then, mostly in vain, so that makes no objects. */
  readonly #came = new Int32Array(FDS_SEEN);
  #payload = new Uint8Array(0);
  /** Bytes of the message that have come. */
  #have = 0;
  #fds: number[] = [];
  #broken = false;

  /** Over a connected SOCK_STREAM socket that does not wait; it is the channel's to close. */
  constructor(fd: number, end: End) {
    this.fd = fd;
    this.#end = end;
  }

  /** The next message, if all of it is there. Never waits. */
  receive(): Received {
    if (this.#broken) return 'end';
    while (this.#have < HEADER_BYTES + this.#payload.length || this.#have < HEADER_BYTES) {
      const got = this.#read();
      if (got !== 'more') return got;
      if (this.#have === HEADER_BYTES) {
        const fault = this.#begin();
        if (fault !== undefined) return this.#break(fault);
      }
    }
    return this.#whole();
  }

  /** Returns false when the peer takes no more (it does not read), or is gone. */
  send(name: RequestName, flags: number, payload: Uint8Array, fds: readonly number[] = []): boolean {
    const header = new Uint8Array(HEADER_BYTES);
    [SHAPES[name].id, flags | FLAG_VERSION, payload.length].forEach((value, i) => setU32(header, i * 4, value));
    const bytes = concat([header, payload]);
    return binding().sendFds(this.fd, bytes, Int32Array.from(fds), MSG_DONTWAIT) === bytes.length;
  }

  close(): void {
    closeAll(this.#fds.splice(0));
    this.#broken = true;
    binding().close(this.fd);
  }

  #read(): 'more' | 'none' | 'end' | { fault: string } {
    const got = binding().recvFds(this.fd, this.#missing(), this.#came, MSG_DONTWAIT);
    if (got === -EAGAIN) return 'none';
    if (got <= 0) return 'end';
    this.#have += got;
    this.#fds.push(...[...this.#came].filter(fd => fd >= 0));
    return this.#fds.length >= FDS_SEEN ? this.#break(`sent more than ${FDS_SEEN - 1} descriptors with a message`) : 'more';
  }

  /** What the message that has begun lacks, first of its header. */
  #missing(): Uint8Array {
    if (this.#have === 0) return this.#header;
    return this.#have < HEADER_BYTES ? this.#header.subarray(this.#have) : this.#payload.subarray(this.#have - HEADER_BYTES);
  }

  /** The header is there: what is to come is known. Returns what is wrong with it. */
  #begin(): string | undefined {
    const [id, flags, bytes] = [0, 4, 8].map(at => getU32(this.#header, at)) as [number, number, number];
    const name = requestNamed(id);
    if ((flags & 3) !== FLAG_VERSION) return `speaks version ${flags & 3}`;
    if (name === undefined) return `asks for ${id}, which was not offered`;
    if (((flags & FLAG_REPLY) !== 0) !== (this.#end === 'front-end')) return this.#end === 'front-end' ? 'asks instead of answering' : 'answers what was not asked';
    if (bytes > MOST_PAYLOAD || (this.#end === 'back-end' && !fitsPayload(SHAPES[name], bytes))) return `sent ${name} with ${bytes} bytes`;
    this.#payload = new Uint8Array(bytes);
    return undefined;
  }

  #whole(): Received {
    const [id, flags] = [getU32(this.#header, 0), getU32(this.#header, 4)];
    const name = requestNamed(id)!;
    const [least, most] = SHAPES[name].fds;
    if (this.#end === 'back-end' && (this.#fds.length < least || this.#fds.length > most)) return this.#break(`sent ${name} with ${this.#fds.length} descriptors`);
    const message = { name, needsReply: (flags & FLAG_NEED_REPLY) !== 0, payload: this.#payload, fds: this.#fds.splice(0) };
    this.#payload = new Uint8Array(0);
    this.#have = 0;
    return { message };
  }

  #break(fault: string): { fault: string } {
    closeAll(this.#fds.splice(0));
    this.#broken = true;
    return { fault };
  }
}
