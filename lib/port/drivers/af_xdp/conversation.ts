/** Asking a server at a Unix socket for rights: each request has one answer, within a deadline. */
import { binding } from '../../../binding.js';
import { PollmodeError, type ErrorCode } from '../../../errors.js';
import { POLLIN } from '../../../kernel/constants.js';
import { EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, ENOENT, ENOTSOCK, EPIPE, EPROTOTYPE, kernelError } from '../../../kernel/errno.js';
import { closeAll, hasEnded, netnsCookie, receiveMessage, seqpacketSocket, sendMessage, unixAddress } from '../../../kernel/unix.js';

/** Between two tries to connect to one whose backlog is full. */
const KNOCK_AGAIN_MS = 20;

export interface Terms {
  /** Who is spoken to, for people: "broker". */
  readonly who: string;
  /** Bytes of the longest message. */
  readonly limit: number;
  /** How long an answer may take, in milliseconds. */
  readonly deadlineMs: number;
}

export interface Answer {
  readonly text: string;
  /** At most one descriptor came; it is the caller's. */
  readonly fd: number | undefined;
}

/**
 * Made connected, or throws: ENOTFOUND (nobody there), ERIGHTS (the file may not be written), EFORMAT (another kind of
 * socket), ENOANSWER. Waits by blocking the thread: for set-up only.
 */
export class Conversation {
  readonly fd: number;
  readonly #path: string;
  readonly #terms: Terms;

  constructor(path: string, terms: Terms) {
    this.#path = path;
    this.#terms = terms;
    const address = unixAddress(path);
    this.fd = seqpacketSocket();
    try {
      this.#connect(address);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** Throws ENOANSWER when nothing comes or the other hangs up, EFORMAT for what is too long, no text, or has more than one descriptor. */
  ask(text: string, fds: readonly number[] = []): Answer {
    const bytes = new TextEncoder().encode(text);
    if (bytes.length > this.#terms.limit) throw new PollmodeError('EOPTION', `${this.#name} takes requests of ${this.#terms.limit} bytes, and "${text.slice(0, 60)}..." has ${bytes.length}: use shorter names.`);
    const refused = sendMessage(this.fd, bytes, fds);
    // One that hung up may have said why before.
    if (refused < 0 && refused !== -EPIPE && refused !== -ECONNRESET) throw this.error('ENOANSWER', `takes no request (${kernelError(-refused, 'sendmsg').message.split(':')[0]}): start it again`);
    return this.#answer();
  }

  /** An error of this conversation; `what` ends in what to do. */
  error(code: ErrorCode, what: string): PollmodeError {
    return new PollmodeError(code, `${this.#name} ${what}.`);
  }

  /** Which network namespace we are in; undefined where the kernel does not say. */
  get netns(): bigint | undefined {
    return netnsCookie(this.fd);
  }

  get ended(): boolean {
    return hasEnded(this.fd);
  }

  close(): void {
    binding().close(this.fd);
  }

  get #name(): string {
    return `The ${this.#terms.who} at ${this.#path}`;
  }

  #connect(address: Uint8Array): void {
    const { who, deadlineMs } = this.#terms;
    const until = performance.now() + deadlineMs;
    let result = binding().connect(this.fd, address);
    while (result === -EAGAIN && performance.now() < until) {
      binding().poll(new Int32Array(), KNOCK_AGAIN_MS);
      result = binding().connect(this.fd, address);
    }
    if (result >= 0) return;
    const say = (code: ErrorCode, why: string): PollmodeError => new PollmodeError(code, why, { syscall: 'connect', errno: -result });
    if (result === -ENOENT) throw say('ENOTFOUND', `There is no ${who} at ${this.#path}: start it, or give the path of its socket.`);
    if (result === -ECONNREFUSED || result === -ENOTSOCK) throw say('ENOTFOUND', `No ${who} listens at ${this.#path}: start it (again).`);
    if (result === -EACCES) throw say('ERIGHTS', `The ${who}'s socket ${this.#path} may not be used by this user: have the ${who} let it in.`);
    if (result === -EPROTOTYPE) throw say('EFORMAT', `What listens at ${this.#path} is no ${who}: its socket is of another kind. Give the ${who}'s path.`);
    if (result === -EAGAIN) throw say('ENOANSWER', `${this.#name} lets nobody in: start it again.`);
    throw kernelError(-result, 'connect');
  }

  #answer(): Answer {
    const { deadlineMs, limit } = this.#terms;
    const until = performance.now() + deadlineMs;
    for (;;) {
      const message = receiveMessage(this.fd, limit);
      if (message === 'end') throw this.error('ENOANSWER', 'hung up in the middle: see what it says of this client, and start it again');
      if (message !== undefined) {
        const text = decode(message.bytes);
        if (!message.cut && text !== undefined && message.fds.length <= 1) return { text, fd: message.fds[0] };
        closeAll(message.fds);
        throw this.error('EFORMAT', `sent ${message.cut ? `a message of more than ${limit} bytes` : text === undefined ? 'what is no text' : 'more descriptors than were asked for'}: check that it is one`);
      }
      const left = Math.ceil(until - performance.now());
      if (left <= 0) throw this.error('ENOANSWER', `did not answer within ${deadlineMs / 1000} s: start it again`);
      binding().poll(Int32Array.of(this.fd, POLLIN), left);
    }
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
