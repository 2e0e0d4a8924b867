/**
 * The privileged parent of packet programs that have no rights: it puts an XDP program on an interface, and gives whoever
 * may ask an AF_XDP socket or the XSKMAP (port/drivers/af_xdp/protocol.ts is what they say to each other).
 *
 * What a client can do with what it got: with a socket, send and receive on that interface (it can bind another free
 * queue of it than the one it leased, which then gets it nothing but sending there). With the XSKMAP, also take over the
 * queues of others: give it only to those who trust each other.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { netnsCookie, peerCredentials, type Credentials } from '../kernel/unix.js';
import { encodeMessage, refusal, type Grant, type Request } from '../port/drivers/af_xdp/protocol.js';
import { Client } from './client.js';
import { Door } from '../kernel/door.js';
import { Leases, type LeaseOptions } from './leases.js';

export interface BrokerOptions extends LeaseOptions {
  /** Of its Unix socket. */
  readonly path: string;
  /** Users that may ask, beside root and the broker's own. */
  readonly allowUids: readonly number[];
  /** Told of every client, in a line for people. */
  readonly report: (line: string) => void;
}

/** Clients at once: enough for every queue of a large NIC, and few enough for the descriptors of one process. */
const MOST_CLIENTS = 256;

/** How often the interface is looked after. */
const LOOK_MS = 1000;

/** Opened on the main thread, since it sets the umask for a moment; then driven by the event loop until `close`. */
export class Broker {
  /** Resolves when the interface or the program has gone, which ends the broker's use. */
  readonly lost: Promise<void>;
  readonly #options: BrokerOptions;
  readonly #leases: Leases;
  readonly #door: Door;
  readonly #timer: NodeJS.Timeout;
  readonly #clients = new Set<Client>();
  #closed = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#leases = new Leases(options);
    try {
      this.#door = new Door(options.path, options.allowUids);
      this.#door.watch(fd => this.#admitIfPossible(fd));
    } catch (cause) {
      this.#leases.close();
      throw cause;
    }
    const { promise, resolve } = deferred();
    this.lost = promise;
    this.#timer = setInterval(() => { if (!this.#leases.standing) resolve(); }, LOOK_MS);
    this.#timer.unref();
  }

  /** Where the program runs. */
  get attached(): string {
    return this.#leases.attached;
  }

  /** Clients see their connection end; the program and the file are gone. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#door.close();
    for (const client of this.#clients) client.close();
    this.#leases.close();
  }

  /** What the kernel refuses of one client is that one's end, and no other's. */
  #admitIfPossible(fd: number): void {
    try {
      this.#admit(fd);
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      binding().close(fd);
      this.#options.report(`a client could not be let in: ${cause.message}`);
    }
  }

  #admit(fd: number): void {
    const who = peerCredentials(fd);
    const client: Client = new Client(fd, {
      asked: (request, theirs) => this.#answer(client, request, theirs),
      ended: why => this.#forget(client, who, why),
    });
    this.#clients.add(client);
    if (!this.#mayAsk(who.uid)) client.dismiss(refusal('ERIGHTS', `user ${who.uid} may not ask here: start the broker with --allow-uid ${who.uid}.`));
    else if (this.#clients.size > MOST_CLIENTS) client.dismiss(refusal('EBUSYQUEUE', `there are ${MOST_CLIENTS} clients already: end some of them.`));
    else this.#options.report(`process ${who.pid} of user ${who.uid} is here`);
  }

  #mayAsk(uid: number): boolean {
    return uid === 0 || uid === process.getuid?.() || this.#options.allowUids.includes(uid);
  }

  /** A refusal is thrown, for the client to be told. */
  #answer(client: Client, request: Request, theirs: number | undefined): { text: string; fds: readonly number[] } {
    if (request.request === 'enter') {
      this.#leases.enter(client, request.queue, theirs);
      this.#options.report(`queue ${request.queue} is in use`);
      return { text: encodeMessage({ answer: 'entered' }), fds: [] };
    }
    if (theirs !== undefined) throw new PollmodeError('EFORMAT', 'a descriptor came that nobody asked for: send none.');
    // Its holder may have gone without our having heard of it yet.
    (this.#leases.holderOf(request.queue) as Client | undefined)?.lookIfEnded();
    const { link, fd } = this.#leases.open(client, request.device, request.queue, request.take);
    const { ifindex, mac, mtu, rxQueues, kind } = link;
    const grant: Grant = {
      answer: request.take, program: this.#leases.attached as Grant['program'], netns: String(netnsCookie(this.#door.fd) ?? ''),
      link: { ifindex, mac, mtu, queues: rxQueues, kind },
    };
    return { text: encodeMessage(grant), fds: [fd] };
  }

  #forget(client: Client, { pid, uid }: Credentials, why: string): void {
    this.#clients.delete(client);
    if (this.#closed) return;
    this.#leases.end(client);
    this.#options.report(`process ${pid} of user ${uid} ${why}`);
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>(done => { resolve = done; });
  return { promise, resolve };
}
