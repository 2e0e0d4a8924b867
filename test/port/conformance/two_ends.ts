/** Two ends of ours over a Unix socket in a folder, in one thread; the one that is not under test has an arena of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena } from '../../../lib/arena/arena.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Place, Rig, Setup } from './subject.js';
import { receiveBy } from './wires.js';

/** So that the longest frame is the longest that fits in a buffer of 2048 behind the headroom, with a VLAN tag on top. */
export const MTU = 1792 - 14 - 4;

/** The end that is not under test. What its ring has no room for waits, as before a link that is slow. */
class OtherEnd {
  readonly host: Host;
  readonly #pending: Uint8Array[] = [];
  readonly #received: Uint8Array[] = [];
  readonly #takes: boolean;
  readonly #timer: NodeJS.Timeout;

  /** `takes`: it receives by itself, not only when it is asked. */
  constructor(host: Host, takes: boolean) {
    this.host = host;
    this.#takes = takes;
    this.#timer = setInterval(() => this.#turn(), 1).unref();
  }

  send(frames: readonly Uint8Array[]): void {
    this.#pending.push(...frames);
    this.#turn();
  }

  received(): Uint8Array[] {
    return [...this.#received.splice(0), ...receiveBy(this.host, this.host.ports[0]!)];
  }

  /** What is under way belongs to the past. */
  forget(): void {
    this.#pending.length = 0;
    this.received();
  }

  close(): void {
    clearInterval(this.#timer);
    this.host.close();
  }

  #turn(): void {
    const [port] = this.host.ports;
    if (this.#takes) this.#received.push(...receiveBy(this.host, port!));
    const burst = this.host.burst(1);
    while (this.#pending.length > 0 && this.host.pool.alloc(burst, 1) > 0) {
      this.host.mbufs.copyIn(burst.handles[0]!, this.#pending[0]!);
      if (port!.tx[0]!.txBurst(burst, 1) === 0) {
        this.host.pool.free(burst, 0, 1);
        break;
      }
      this.#pending.shift();
    }
    port!.tx[0]!.txBurst(burst, 0);
    burst.close();
  }
}

function folder(): { path: string; remove: () => void } {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-socket-'));
  return { path: join(made, 's'), remove: () => rmSync(made, { recursive: true, force: true }) };
}

/** Both device strings, for a socket's path. */
export interface Devices {
  readonly tested: (path: string) => string;
  readonly other: (path: string) => string;
}

/** The end that waits for the other is under test; the other comes and goes with it. */
export function waitingPlace({ tested, other }: Devices): Place {
  const { path, remove } = folder();
  const device = tested(path);
  const arena = Arena.create({ size: 32 << 20 });
  const pool = Mempool.create(arena, 'other', { count: 2048, file: 'own' });
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      const end = new OtherEnd(open([other(path)], { arena, pool }), false);
      end.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => end.send(frames), departed: () => end.received(),
        close() {
          host.close();
          end.close();
        },
      };
    },
    close() {
      arena.close();
      remove();
    },
  };
}

/** The end that connects is under test; the other stays, and takes by itself what it is sent, or no mbuf would come back. */
export function connectingPlace({ tested, other }: Devices): Place {
  const { path, remove } = folder();
  const device = tested(path);
  const end = new OtherEnd(open([other(path)], { mbufs: 2048, arenaOptions: { size: 64 << 20 } }), true);
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      end.forget();
      end.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => end.send(frames), departed: () => end.received(),
        close: () => host.close(),
      };
    },
    close() {
      end.close();
      remove();
    },
  };
}
