import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import type { ActionList, Output } from './actions.js';
import type { Copies } from './copies.js';
import * as layout from './layout.js';
import type { SwitchPort } from './ports.js';

const { LINE_SLOTS, TAG_KEEP } = layout;
/** Packets that stay in line for a port that does not take them now; two bursts. Its receiver has a queue of its own. */
const KEPT = 64;
/** So often what tunnels put in line anew is sent in one go; what is in line then waits for the next. */
const ROUNDS = 4;

/** Carries out lists of actions: puts packets in line, and sends the lines. */
export class Carrier {
  readonly #mbufs: Mbufs;
  readonly #copies: Copies;
  readonly #ports: readonly (SwitchPort | undefined)[];
  readonly #aside: Burst;
  #sending = false;

  constructor(arena: Arena, mbufs: Mbufs, copies: Copies, ports: readonly (SwitchPort | undefined)[]) {
    this.#mbufs = mbufs;
    this.#copies = copies;
    this.#aside = new Burst(arena, LINE_SLOTS);
    this.#ports = ports;
  }

  /** The packet is gone afterwards: in lines, or freed and counted. */
  carry(list: ActionList, handle: number, now: number): void {
    const { outputs, drop } = list;
    if (!this.#admits(list, now)) return this.#copies.free(handle);
    if (drop !== undefined) this.#ports[drop.port]?.drop(drop.cause);
    let from = 0;
    while (from < outputs.length) {
      const to = this.#sameUntil(outputs, from);
      const isLast = to === outputs.length && outputs[from]!.snap === 0;
      this.#sendAlike(outputs, from, to, handle, isLast);
      if (isLast) return;
      from = to;
    }
    this.#copies.free(handle);
  }

  /** Puts packets in line as they are; all are gone from the burst afterwards. */
  putAll(port: SwitchPort, burst: Burst, count: number): void {
    for (let i = 0; i < count; i++) this.#put(port, burst.handles[i]!);
  }

  /** Counts what came in by a port whose packets the burst function does not see. */
  countIn(port: SwitchPort, burst: Burst, count: number): void {
    port.moreRxPackets += count;
    for (let i = 0; i < count; i++) port.moreRxBytes += this.#mbufs.pktLen(burst.handles[i]!);
  }

  /** Sends every line. A port that takes not all keeps a part of it for the next time. */
  sendAll(): void {
    if (this.#sending) return;
    this.#sending = true;
    let again = true;
    for (let round = 0; again && round < ROUNDS; round++) {
      again = false;
      for (let number = 1; number < this.#ports.length; number++) {
        const port = this.#ports[number];
        if (port === undefined || port.waiting === 0) continue;
        if (port.kind !== 'device') again = this.#sendInside(port) || again;
        else if (round === 0 || port.waiting > port.refused) this.send(port);
      }
    }
    this.#sending = false;
    this.#copies.flush();
  }

  /** Sends a device's line. */
  send(port: SwitchPort): void {
    const count = port.waiting;
    const sent = port.sink === undefined ? 0 : port.sink.send(port.line, count);
    port.txPackets += sent;
    const rest = port.line.keep(sent, count);
    const kept = Math.min(rest, KEPT);
    for (let i = kept; i < rest; i++) this.#discard(port, port.line.handles[i]!);
    port.waiting = kept;
    port.refused = kept;
  }

  /** A tunnel's line, or a local port's: their packets may come back into the switch, and into this line, while they are sent. */
  #sendInside(port: SwitchPort): boolean {
    const count = port.waiting;
    this.#aside.handles.set(port.line.handles.subarray(0, count));
    port.waiting = 0;
    port.txPackets += count;
    if (port.sink !== undefined) port.sink.send(this.#aside, count);
    else for (let i = 0; i < count; i++) this.#copies.free(this.#aside.handles[i]!);
    return true;
  }

  close(): void {
    this.#aside.close();
  }

  /** Frees what is in line for a port that goes. */
  discardLine(port: SwitchPort): void {
    for (let i = 0; i < port.waiting; i++) {
      port.drop('port_gone');
      port.droppedBytes += this.#mbufs.pktLen(port.line.handles[i]!);
      this.#copies.free(port.line.handles[i]!);
    }
    port.waiting = 0;
  }

  /** Bytes that are in line. */
  waitingBytes(port: SwitchPort): number {
    let bytes = 0;
    for (let i = 0; i < port.waiting; i++) bytes += this.#mbufs.pktLen(port.line.handles[i]!);
    return bytes;
  }

  #admits({ storm, limiters }: ActionList, now: number): boolean {
    if (storm === undefined) return true;
    for (const number of limiters) {
      const port = this.#ports[number];
      if (port?.storm === undefined || port.storm.admits(now)) continue;
      port.drop(`storm_${storm}`);
      return false;
    }
    return true;
  }

  /** Outputs that are the same frame: one at a time where it is cut. */
  #sameUntil(outputs: readonly Output[], from: number): number {
    let to = from + 1;
    while (to < outputs.length && outputs[from]!.snap === 0 && outputs[to]!.tag === outputs[from]!.tag) to++;
    return to;
  }

  #sendAlike(outputs: readonly Output[], from: number, to: number, handle: number, isLast: boolean): void {
    const frame = this.#frameFor(outputs[from]!, handle, isLast);
    for (let i = from; i < to; i++) {
      const port = this.#ports[outputs[i]!.port];
      const own = frame === 0 ? 0 : this.#holdFor(port, frame, i + 1 === to);
      if (own === 0) port?.drop('no_mbuf');
      else if (port === undefined) this.#copies.free(own);
      else this.#put(port, own);
    }
  }

  /**
   * A hold on the frame where the port is done with it when it has sent it; else an mbuf of the port's own: who owns one is
   * a single word, by which a virtio queue knows its own when it comes back, and for which AF_XDP copies what others hold too.
   */
  #holdFor(port: SwitchPort | undefined, frame: number, isLast: boolean): number {
    if (port?.shares === false) return isLast ? this.#copies.own(frame) : this.#copies.copy(frame);
    if (!isLast) this.#copies.hold(frame);
    return frame;
  }

  /** The frame as these outputs send it, `handle` itself where it is not wanted any more; 0 when the pool is dry. */
  #frameFor({ tag, snap }: Output, handle: number, isLast: boolean): number {
    if (snap > 0) return this.#changed(this.#copies.cut(handle, snap), tag);
    if (tag === TAG_KEEP) return handle;
    return this.#changed(isLast ? this.#copies.own(handle) : this.#copies.copy(handle), tag);
  }

  #changed(frame: number, tag: number): number {
    if (frame === 0 || this.#copies.retag(frame, tag)) return frame;
    const roomy = this.#copies.copy(frame);
    this.#copies.free(frame);
    if (roomy === 0 || this.#copies.retag(roomy, tag)) return roomy;
    this.#copies.free(roomy);
    return 0;
  }

  #put(port: SwitchPort, handle: number): void {
    if (port.waiting === LINE_SLOTS && port.kind === 'device') this.send(port);
    if (port.waiting === LINE_SLOTS) {
      port.drop('tx_full');
      return this.#copies.free(handle);
    }
    port.put(handle, this.#mbufs.pktLen(handle));
  }

  #discard(port: SwitchPort, handle: number): void {
    port.drop('tx_full');
    port.droppedBytes += this.#mbufs.pktLen(handle);
    this.#copies.free(handle);
  }
}
