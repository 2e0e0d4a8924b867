/**
 * A memif socket that listens. Several ports of a thread may have it together, each with an id of its own: a client says
 * in its first message which one it wants, and until then it is nobody's.
 */
import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { Door } from '../../../kernel/door.js';
import { MemifChannel } from './channel.js';
import { MOST_LOG2_RING, MOST_MEMIF_REGIONS } from './layout.js';
import { farewell, MEMIF_VERSION, MODE_ETHERNET, type Init } from './messages.js';
import type { MemifSettings } from './options.js';

/** A port that clients may ask for. */
export interface Interface {
  readonly id: number;
  readonly secret: string;
  readonly queues: number;
  /** Has it a client? */
  readonly busy: boolean;
  /** The channel is the interface's from now on. */
  welcome(channel: MemifChannel, init: Init): void;
}

/** Clients that have not said what they want: so many, and so long. Others wait to be accepted. */
const MOST_WAITING = 8;
const WAIT_MS = 1000;

interface Waiting { readonly channel: MemifChannel; readonly until: number }

const listeners = new Map<string, Listener>();

export class Listener {
  /** Clients that were sent away, or went, without a port of theirs. */
  refused = 0;
  readonly #key: string;
  readonly #door: Door;
  readonly #interfaces: Interface[] = [];
  #waiting: Waiting[] = [];

  /** The socket of that place, made if there is none yet. Throws EBUSYQUEUE (another program, or another port with that id), EEXISTS, EOPTION, ERIGHTS. */
  static join(settings: MemifSettings, port: Interface): Listener {
    const key = `${settings.abstract ? '@' : ''}${settings.device}`;
    const listener = listeners.get(key) ?? new Listener(key, settings);
    if (listener.#interfaces.some(({ id }) => id === port.id)) throw new PollmodeError('EBUSYQUEUE', `A port with id=${port.id} is at ${settings.device} already: give this one another id.`);
    listener.#interfaces.push(port);
    listeners.set(key, listener);
    return listener;
  }

  private constructor(key: string, { device, abstract }: MemifSettings) {
    this.#key = key;
    this.#door = abstract ? Door.abstract(device) : new Door(device, [process.geteuid!()]);
  }

  /** Its turn: greets who comes, and hands who has said what it wants to the port that it wants. */
  service(): void {
    while (this.#waiting.length < MOST_WAITING) {
      const fd = this.#door.accept();
      if (fd === undefined) break;
      const channel = new MemifChannel(fd);
      if (channel.send(this.#hello())) this.#waiting.push({ channel, until: performance.now() + WAIT_MS });
      else this.#sendAway(channel);
    }
    if (this.#waiting.length === 0) return;
    const now = performance.now();
    this.#waiting = this.#waiting.filter(each => this.#hear(each, now));
  }

  /** The last port takes the socket with it. */
  leave(port: Interface): void {
    this.#interfaces.splice(this.#interfaces.indexOf(port), 1);
    if (this.#interfaces.length > 0) return;
    listeners.delete(this.#key);
    for (const { channel } of this.#waiting.splice(0)) channel.close();
    this.#door.close();
  }

  /** Returns true while it is still waited for. */
  #hear({ channel, until }: Waiting, now: number): boolean {
    const received = channel.receive();
    if (received === 'none' && now < until) return true;
    if (typeof received === 'string') this.#sendAway(channel, received === 'none' ? 'Nothing was said' : undefined);
    else if ('fault' in received) this.#sendAway(channel, received.fault);
    else if (received.message.kind !== 'init') {
      if (received.fd !== undefined) binding().close(received.fd);
      this.#sendAway(channel, 'Unexpected message');
    } else this.#introduce(channel, received.message);
    return false;
  }

  #introduce(channel: MemifChannel, init: Init): void {
    const port = this.#interfaces.find(({ id }) => id === init.id);
    const reason = init.version !== MEMIF_VERSION ? 'Incompatible memif version'
      : port === undefined ? 'ID not found'
        : init.mode !== MODE_ETHERNET ? 'Only ethernet mode supported'
          : port.secret !== '' && port.secret !== init.secret ? init.secret === '' ? 'Secret required' : 'Incorrect secret'
            : port.busy ? 'Already connected' : undefined;
    if (reason !== undefined) this.#sendAway(channel, reason);
    else port!.welcome(channel, init);
  }

  #sendAway(channel: MemifChannel, reason?: string): void {
    this.refused++;
    if (reason !== undefined) channel.send(farewell(reason));
    channel.close();
  }

  #hello(): Parameters<MemifChannel['send']>[0] {
    const queues = Math.max(...this.#interfaces.map(each => each.queues));
    return {
      kind: 'hello', name: 'pollmode', minVersion: MEMIF_VERSION, maxVersion: MEMIF_VERSION, maxRegion: MOST_MEMIF_REGIONS - 1, maxToClient: queues - 1,
      maxToServer: queues - 1, maxLog2Ring: MOST_LOG2_RING,
    };
  }
}
