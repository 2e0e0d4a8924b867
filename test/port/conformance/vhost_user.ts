/** A vhost-user socket in a folder, our two ends of it in one thread; the one that is not under test has an arena of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena } from '../../../lib/arena/arena.js';
import { Mempool } from '../../../lib/mbuf/mempool.js';
import { open, type Host } from '../../../lib/port/host.js';
import type { Place, Rig, Setup, Subject } from './subject.js';
import { receiveBy } from './wires.js';

/** So that the longest frame is the longest that fits in a buffer of 2048 behind the headroom, with a VLAN tag on top. */
export const MTU = 1792 - 14 - 4;

/** The end that is not under test. What its ring has no room for waits, as before a link that is slow. */
export class OtherEnd {
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

export function folder(): { path: string; remove: () => void } {
  const made = mkdtempSync(join(tmpdir(), 'pollmode-socket-'));
  return { path: join(made, 's'), remove: () => rmSync(made, { recursive: true, force: true }) };
}

/** The vhost port is under test, and a driver's side comes and goes with it. `words`: what its rings are like. */
function vhostPlace(words: string): Place {
  const { path, remove } = folder();
  const device = `vhost:${path},guest_memory=16,mtu=${MTU}`;
  const arena = Arena.create({ size: 32 << 20 });
  const pool = Mempool.create(arena, 'guest', { count: 2048, file: 'own' });
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      const other = new OtherEnd(open([`virtio_user:${path},mtu=${MTU},${words}`], { arena, pool }), false);
      other.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => other.send(frames), departed: () => other.received(),
        close() {
          host.close();
          other.close();
        },
      };
    },
    close() {
      arena.close();
      remove();
    },
  };
}

/** The driver's side is under test; the back-end stays, and takes by itself what it is sent, or no buffer would come back. */
function virtioUserPlace(words: string): Place {
  const { path, remove } = folder();
  const device = `virtio_user:${path},mtu=${MTU},${words}`;
  const other = new OtherEnd(open([`vhost:${path},guest_memory=16,mtu=${MTU}`], { mbufs: 2048, arenaOptions: { size: 64 << 20 } }), true);
  return {
    device,
    within: work => work(),
    async open({ options, incoming = [] }: Setup): Promise<Rig> {
      const host = open([device], options);
      other.forget();
      other.send(incoming);
      return {
        host, port: host.ports[0]!, arrive: async frames => other.send(frames), departed: () => other.received(),
        close: () => host.close(),
      };
    },
    close() {
      other.close();
      remove();
    },
  };
}

/** What both ends of vhost-user promise, with either kind of rings. */
function subject(driver: string, refused: Subject['refused'], place: () => Place): Subject {
  return {
    driver, carries: true, shortest: 14, longest: room => room, chains: 'carried', jumbo: false,
    refusals: { short: 'tx_bad_frame', long: 'tx_bad_frame' }, takesMbufs: true, losses: [], fills: true, pool: { file: 'own' }, refused, place,
  };
}

/** The other end is our own driver's side. */
export function vhostSubject(options: string): Subject {
  return subject('vhost', [
    ['vhost:', 'EDEVICE'], ['vhost:/nonexistent/folder/s', 'ENOTFOUND'], [`vhost:/tmp/${'x'.repeat(120)}`, 'EOPTION'], ['vhost:/tmp', 'EEXISTS'],
    ['vhost:/tmp/pollmode-never-made,queues=65', 'EDEVICE'],
  ], () => vhostPlace(options));
}

/** The other end is our own vhost port. */
export function virtioUserSubject(options: string): Subject {
  return subject('virtio_user', [
    ['virtio_user:', 'EDEVICE'], ['virtio_user:/nonexistent/folder/s', 'ENOTFOUND'], [`virtio_user:/tmp/${'x'.repeat(120)}`, 'EOPTION'],
    ['virtio_user:/nonexistent/s,queue_size=100', 'EOPTION'],
  ], () => virtioUserPlace(options));
}
