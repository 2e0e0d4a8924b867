/** What a virtio_user port has besides its queues' states: rings that it shares, descriptors, and the back-end it is connected to. In the thread that opened the port. */
import type { Memzone } from '../../../arena/directory.js';
import { PAGE } from '../../../arena/layout.js';
import { binding } from '../../../binding.js';
import { twoEventfds } from '../../../kernel/eventfd.js';
import { burstFunctions } from '../../../burst/module.js';
import { PollmodeError } from '../../../errors.js';
import { driverPrivateBytes, resetDriver, ringPlaces } from '../../../virtqueue/driver.js';
import {
  ringFormat, VHOST_USER_F_PROTOCOL_FEATURES, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MQ, VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
} from '../../../virtqueue/features.js';
import { VQ_NEXT_AVAIL, VQ_SIZE, VQ_TELL } from '../../../virtqueue/layout.js';
import { takeBack } from '../../../virtqueue/returning.js';
import { openQueue, stopQueue } from '../../../virtqueue/state.js';
import { giveTurns, takeTurns } from '../../../vhost_user/turns.js';
import { QUEUE_FD } from '../../layout.js';
import { LinkSignal } from '../../link_signal.js';
import type { PortHost } from '../../port.js';
import type { QueueState } from '../../queue.js';
import { FrontEnd, type SharedRegion, type SharedVring } from './frontend.js';
import type { VirtioUserOptions } from './options.js';

/** What is added to an offset in the arena to make the address that the back-end knows: no address is 0, and none looks like an offset. */
const IOVA = 1n << 32n;
const OVERHEAD = 14 + 4;
/** How often a connection is looked at beside the bursts; how long after a failure it is tried again. */
const PERIOD_MS = 10;
const RETRY_MS = 200;

interface Line { readonly state: QueueState; readonly kick: number; readonly call: number; readonly shared: number; readonly own: number }

export class VirtioSide {
  readonly link = new LinkSignal();
  readonly counts = { connections: 0, disconnections: 0, tx_lost: 0 };
  readonly #settings: Required<VirtioUserOptions>;
  readonly #host: PortHost;
  readonly #lines: Line[] = [];
  #rings: Memzone | undefined;
  #private: Memzone | undefined;
  #frontEnd: FrontEnd | undefined;
  #timer: NodeJS.Timeout | undefined;
  #leaveTurns: (() => void) | undefined;
  #retryAt = 0;

  /** Reserves the rings. Throws EPOOL for a pool that cannot be shared, EARENAFULL. */
  constructor(settings: Required<VirtioUserOptions>, host: PortHost) {
    this.#settings = settings;
    this.#host = host;
    const { buffers } = host.pool;
    if (buffers.fd < 0 || buffers.pid !== process.pid) {
      this.link.close();
      throw new PollmodeError('EPOOL', `${host.device} shares its pool with the back-end, and "${host.pool.name}" is in no file of this process's own: open the port together with its pool, or make that with { file: 'own' }.`);
    }
    const { arena, number } = host;
    try {
      this.#rings = arena.reserve(`port/${number}/virtio/rings`, 2 * settings.queues * this.#sharedBytes, { align: PAGE, file: 'own', touch: true });
      this.#private = arena.reserve(`port/${number}/virtio/own`, 2 * settings.queues * this.#ownBytes, { align: 64 });
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  /** A queue, in the order of vrings: receive and send of the first pair, then of the next. */
  add(state: QueueState, index: number): void {
    const [kick, call] = twoEventfds();
    state.set(VQ_TELL, kick);
    state.set(QUEUE_FD, call);
    this.#lines[index] = { state, kick, call, shared: this.#rings!.offset + index * this.#sharedBytes, own: this.#private!.offset + index * this.#ownBytes };
  }

  get longest(): number {
    return this.#settings.mtu + OVERHEAD;
  }

  /** The first time: throws why it cannot. */
  start(): void {
    this.#connect();
    this.#timer = setInterval(() => this.service(), PERIOD_MS).unref();
    this.#leaveTurns = takeTurns(() => this.service());
  }

  /** Its turn: a back-end that has gone is noticed, and tried again. */
  readonly service = (): void => {
    if (this.#frontEnd !== undefined) {
      if (this.#frontEnd.ended) this.#disconnect();
      return;
    }
    if (performance.now() < this.#retryAt) return;
    try {
      this.#connect();
    } catch (cause) {
      if (!(cause instanceof PollmodeError)) throw cause;
      this.#retryAt = performance.now() + RETRY_MS;
    }
  };

  close(): void {
    clearInterval(this.#timer);
    this.#leaveTurns?.();
    this.#disconnect();
    this.link.close();
    // Not all of them are there, when opening failed.
    for (const { state, kick, call } of this.#lines.filter(line => line !== undefined)) {
      state.set(VQ_TELL, 0xffffffff);
      state.set(QUEUE_FD, 0xffffffff);
      binding().close(kick);
      binding().close(call);
    }
    for (const zone of [this.#rings, this.#private]) if (zone !== undefined) this.#host.arena.release(zone);
  }

  #connect(): void {
    const { device, queues } = this.#settings;
    const frontEnd = new FrontEnd(device, this.service);
    // Nobody may take another turn of ours while we wait.
    this.#retryAt = Infinity;
    try {
      frontEnd.negotiate({ features: this.#features(), needed: this.#needed(), queues, vrings: features => this.#layOut(features), regions: this.#regions() });
    } catch (cause) {
      frontEnd.close();
      throw cause;
    } finally {
      this.#retryAt = 0;
    }
    this.#frontEnd = frontEnd;
    this.counts.connections++;
    const { virtioFill } = burstFunctions(this.#host.arena);
    for (const { state } of this.#lines) {
      openQueue(state);
      if (state.direction === 'rx') virtioFill(state.offset, this.#host.arena.lcore);
    }
    this.link.set(true, 'the back-end is there');
  }

  #disconnect(): void {
    if (this.#frontEnd === undefined) return;
    for (const { state } of this.#lines) stopQueue(state);
    // Before the buffers are anyone else's; one that does not answer is gone.
    this.#frontEnd.stop();
    this.#frontEnd.close();
    this.#frontEnd = undefined;
    // One in this thread hears of it now.
    giveTurns(this.service);
    this.counts.disconnections++;
    for (const { state } of this.#lines) this.#takeBack(state);
    this.link.set(false, 'the back-end is gone');
  }

  /** Everything that was out comes back; a frame on its way is lost. */
  #takeBack(state: QueueState): void {
    const { arena, pool } = this.#host;
    if (state.get(VQ_SIZE) === 0) return;
    if (state.direction === 'tx') burstFunctions(arena).virtioClean(state.offset, arena.lcore);
    const count = takeBack(state, pool);
    if (state.direction === 'tx') this.counts.tx_lost += count;
  }

  #layOut(features: bigint): SharedVring[] {
    const format = ringFormat(features);
    const size = this.#settings.queueSize;
    const { desc, avail, used } = ringPlaces(format.packed, size);
    return this.#lines.map(({ state, kick, call, shared, own }, index) => {
      resetDriver(state, { format: { ...format, inOrder: format.inOrder && state.direction === 'tx' }, size, shared, own, iova: IOVA, pool: this.#host.pool, longest: this.longest });
      const at = (place: number): bigint => IOVA + BigInt(shared + place);
      const first = state.get(VQ_NEXT_AVAIL);
      return { size, base: format.packed ? (first | (first << 16)) >>> 0 : 0, kick, call, address: { index, flags: 0, desc: at(desc), avail: at(avail), used: at(used) } };
    });
  }

  #features(): bigint {
    const { packed, mergeable, indirect, queues } = this.#settings;
    return VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | VIRTIO_F_IN_ORDER | VHOST_USER_F_PROTOCOL_FEATURES | (packed ? VIRTIO_F_RING_PACKED : 0n)
      | (mergeable ? VIRTIO_NET_F_MRG_RXBUF : 0n) | (indirect ? VIRTIO_RING_F_INDIRECT_DESC : 0n) | (queues > 1 ? VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_VQ : 0n);
  }

  #needed(): bigint {
    return VIRTIO_F_VERSION_1 | (this.#settings.packed ? VIRTIO_F_RING_PACKED : 0n);
  }

  #regions(): SharedRegion[] {
    return [this.#host.pool.buffers, this.#rings!].map(({ offset, length, fd }) => {
      const address = IOVA + BigInt(offset);
      return { guest: address, user: address, bytes: BigInt(length), fileOffset: 0n, fd };
    });
  }

  get #sharedBytes(): number {
    const { packed, queueSize } = this.#settings;
    return Math.ceil(ringPlaces(packed, queueSize).bytes / 128) * 128;
  }

  get #ownBytes(): number {
    return Math.ceil(driverPrivateBytes(this.#settings.queueSize) / 64) * 64;
  }
}
