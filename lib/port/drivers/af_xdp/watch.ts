import { PollmodeError } from '../../../errors.js';
import { readLink } from '../../../kernel/link.js';
import { LinkEvents } from '../../../kernel/link_events.js';
import { HeldNetns } from '../../../kernel/netns.js';
import type { PortEvent } from '../../port.js';
import { activeQueues } from './channels.js';
import type { Losable } from './loss_watch.js';

/** What the watch does to its port. */
export interface Watched extends Losable {
  /** Number of the interface that it is on. */
  ifindex(): number;
  /** On the interface of that name, if there is one that is up. Throws why not. */
  rebind(): void;
  /** Helps queues over to the new sockets. Returns whether all are there. */
  tend(): boolean;
}

/** How often the port's thread asks whether the kernel has said something, and how often it looks even if not. */
const PERIOD_MS = 100;
const LOOK_EVERY = 10;

/**
 * Watches the interface of an open port, in the port's thread, beside its bursts: it costs one system call each tenth of
 * a second, and needs the event loop to have a turn now and then, as `poll` and `bursts` give it. An interface that is
 * down keeps its sockets and needs nothing; one that is deleted takes them along, and the port comes back with the next
 * interface of that name.
 */
export class InterfaceWatch {
  readonly counts = { interface_down: 0, interface_gone: 0, rebinds: 0, rebinds_refused: 0, channel_changes: 0 };
  readonly #port: Watched;
  readonly #netns: HeldNetns;
  readonly #links: LinkEvents;
  readonly #listeners = new Set<(event: PortEvent) => void>();
  readonly #timer: NodeJS.Timeout;
  #ticks = 0;
  #up = true;
  #gone = false;
  #moving = false;
  #closed = false;
  #queues: number;
  #refusal = '';

  /** In the namespace that the port was opened in. Leaves nothing behind when it fails. */
  constructor(port: Watched) {
    this.#port = port;
    this.#queues = activeQueues(port.device, readLink(port.ifindex()));
    this.#netns = new HeldNetns();
    try {
      this.#links = new LinkEvents();
    } catch (cause) {
      this.#netns.close();
      throw cause;
    }
    this.#timer = setInterval(() => this.#tick(), PERIOD_MS).unref();
  }

  listen(listener: (event: PortEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#links.close();
    this.#netns.close();
  }

  #tick(): void {
    if (this.#moving) this.#moving = !this.#port.tend();
    const said = this.#links.any();
    if (!said && ++this.#ticks % LOOK_EVERY !== 0) return;
    try {
      this.#netns.within(() => this.#look());
    } catch (cause) {
      this.#refused(cause);
    }
  }

  #look(): void {
    if (!this.#gone && !this.#port.isBound()) {
      this.#gone = true;
      this.counts.interface_gone++;
      this.#tell('gone', `${this.#port.device} is gone: its port waits for one of that name`);
    }
    if (this.#closed) return; // by who was told
    if (this.#gone) this.#comeBack();
    else this.#compare();
  }

  #comeBack(): void {
    if (!this.#port.lose()) return; // a queue is just being moved: at the next look
    try {
      this.#port.rebind();
    } catch (cause) {
      this.#refused(cause);
      return;
    }
    this.#gone = false;
    this.#up = true;
    this.#refusal = '';
    this.counts.rebinds++;
    this.#moving = !this.#port.tend();
    this.#queues = activeQueues(this.#port.device, readLink(this.#port.ifindex()));
    this.#tell('back', `${this.#port.device} is back: its port is on interface number ${this.#port.ifindex()}`);
  }

  /** An interface that is not there, or not up yet, is no refusal. */
  #refused(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof PollmodeError && (cause.code === 'ENOTFOUND' || cause.code === 'EDOWN')) return;
    this.counts.rebinds_refused++;
    if (why === this.#refusal) return;
    this.#refusal = why;
    this.#tell('gone', why);
  }

  #compare(): void {
    const link = readLink(this.#port.ifindex());
    const [before, queues] = [this.#queues, activeQueues(link.name, link)];
    const turned = link.up !== this.#up;
    [this.#up, this.#queues] = [link.up, queues];
    if (turned && !link.up) this.counts.interface_down++;
    if (queues !== before) this.counts.channel_changes++;
    if (turned) this.#tell(link.up ? 'up' : 'down', `${this.#port.device} is ${link.up ? 'up again' : 'down: what is sent waits'}`);
    if (queues !== before) this.#tell('channels', `${this.#port.device} has ${queues} receive queues now, ${before} before: frames of queues that are not the port's go to the kernel's stack`);
  }

  #tell(kind: PortEvent['kind'], text: string): void {
    for (const listener of this.#listeners) listener({ kind, text });
  }
}
