import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { check } from '../kernel/errno.js';
import { closeAll, hasEnded, receiveMessage, sendMessage, type UnixMessage } from '../kernel/unix.js';
import { MESSAGE_LIMIT, encodeMessage, parseRequest, refusal, type Refusal, type Request } from '../port/drivers/af_xdp/protocol.js';

/** So long one may be connected without having asked for anything. */
const FIRST_REQUEST_MS = 10_000;

export interface Handlers {
  /** Answers a request, or throws the `PollmodeError` that it is refused with. `theirs` is the descriptor that came with it; it is closed afterwards. The answer's descriptors stay ours. */
  asked(request: Request, theirs: number | undefined): { text: string; fds: readonly number[] };
  /** Once, when the connection is over, whoever ended it. */
  ended(why: string): void;
}

/**
 * One client's connection, on the event loop. The client is a stranger: one message a turn, every answer without
 * waiting, and at the first thing that is no request the connection ends.
 */
export class Client {
  readonly #fd: number;
  readonly #handlers: Handlers;
  readonly #watch: number;
  readonly #patience: NodeJS.Timeout;
  #open = true;

  constructor(fd: number, handlers: Handlers) {
    this.#fd = fd;
    this.#handlers = handlers;
    this.#watch = check(binding().watch(fd, () => this.#listen()), 'uv_poll_init');
    binding().rearm(this.#watch);
    this.#patience = setTimeout(() => this.close('asked for nothing'), FIRST_REQUEST_MS);
    this.#patience.unref();
  }

  /** With a last word. */
  dismiss(why: Refusal): void {
    sendMessage(this.#fd, new TextEncoder().encode(encodeMessage(why)));
    this.close(`was sent away: ${why.why}`);
  }

  /** Without waiting for the event loop to tell. */
  lookIfEnded(): void {
    if (this.#open && hasEnded(this.#fd)) this.close('left');
  }

  close(why = 'was let go'): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#patience);
    binding().unwatch(this.#watch);
    binding().close(this.#fd);
    this.#handlers.ended(why);
  }

  #listen(): void {
    if (!this.#open) return;
    const message = receiveMessage(this.#fd, MESSAGE_LIMIT);
    if (message === 'end') return this.close('left');
    if (message !== undefined) this.#take(message);
    if (this.#open) binding().rearm(this.#watch);
  }

  #take({ bytes, fds, cut }: UnixMessage): void {
    try {
      if (cut || fds.length > 1) throw new PollmodeError('EFORMAT', cut ? `a request has at most ${MESSAGE_LIMIT} bytes: send less.` : 'more than one descriptor came: send one.');
      const { text, fds: answers } = this.#handlers.asked(parseRequest(new TextDecoder().decode(bytes)), fds[0]);
      clearTimeout(this.#patience);
      if (sendMessage(this.#fd, new TextEncoder().encode(text), answers) < 0) this.close('does not read its answers');
    } catch (refused) {
      if (!(refused instanceof PollmodeError)) throw refused;
      this.dismiss(refusal(refused.code, refused.message));
    } finally {
      closeAll(fds);
    }
  }
}
