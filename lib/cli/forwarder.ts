import type { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import type { Host } from '../port/host.js';
import { emptyStats, type Port, type PortStats, type RxQueue, type TxQueue } from '../port/port.js';
import { parseMac, rewriteMacs, swapMacs } from '../wire/ethernet.js';

export type ForwardMode = 'io' | 'mac' | 'macswap';

export interface ForwarderOptions {
  readonly mode: ForwardMode;
  readonly burst: number;
  /** Stop when so many were forwarded. */
  readonly count?: number;
  readonly ethPeer?: readonly string[];
  /** Only from the first port to the second. */
  readonly oneWay?: boolean;
}

export interface ForwardTotals {
  readonly seconds: number;
  /** What the sinks sent, by their own counters. */
  readonly forwarded: number;
  /** What was received and not sent: refused by a sink, or taken by it and then dropped; the sink's counters say why. */
  readonly dropped: number;
  readonly packetsPerSecond: number;
  readonly ports: readonly (PortStats & { readonly name: string; readonly mode: string })[];
}

/** One way of the forwarding: from a queue to a queue, with a burst of its own. */
interface Lane {
  readonly source: Port;
  readonly sink: Port;
  readonly rx: RxQueue;
  readonly tx: TxQueue;
  readonly burst: Burst;
  /** Sources that end (capture files) wait for a slow sink; from the others, what is refused is dropped, as testpmd does. */
  readonly patient: boolean;
  readonly change: (count: number) => void;
  /** mbufs at the front of the burst that are still to be sent, and since when the sink has taken none of them. */
  kept: number;
  stalledSince: number;
}

/** So long a patient lane waits for a sink that takes nothing: a full disk, most likely. */
const PATIENCE_MS = 5000;

/** The forwarding itself, in turns: what `poll` calls. */
export class Forwarder {
  /** Taken by the sinks. */
  forwarded = 0;
  dropped = 0;
  readonly #host: Host;
  readonly #lanes: readonly Lane[];
  readonly #limit: number;

  constructor(host: Host, options: ForwarderOptions) {
    this.#host = host;
    this.#limit = options.count ?? Infinity;
    const [a, b] = host.ports as [Port, Port];
    this.#lanes = [...lanes(host, a, b, options), ...(options.oneWay === true ? [] : lanes(host, b, a, options))];
    if (this.#lanes.length === 0) throw new PollmodeError('EOPTION', `Nothing to forward: neither ${a.name} nor ${b.name} receives what the other could send.`);
  }

  /** One burst each way. Returns whether there can be more. */
  turn(): boolean {
    let more = false;
    for (const lane of this.#lanes) {
      if (lane.kept === 0) this.#receive(lane);
      if (lane.kept > 0) this.#send(lane);
      more ||= lane.kept > 0 || lane.source.finished !== true;
    }
    return more;
  }

  /** At the end: what is still held is freed and counted as dropped. */
  flush(): void {
    for (const lane of this.#lanes) this.#drop(lane);
  }

  totals(seconds: number): ForwardTotals {
    const ports = this.#host.ports.map(port => {
      const stats = emptyStats();
      port.readStats(stats);
      return { name: port.name, mode: port.capabilities.mode, ...stats };
    });
    const forwarded = Math.min(this.forwarded, ports.reduce((sum, port) => sum + port.txPackets, 0));
    return { seconds, forwarded, dropped: this.dropped + this.forwarded - forwarded, packetsPerSecond: forwarded / seconds, ports };
  }

  #receive(lane: Lane): void {
    const wanted = this.#limit - this.forwarded;
    if (wanted <= 0) return;
    lane.kept = lane.rx.rxBurst(lane.burst, wanted < lane.burst.capacity ? wanted : lane.burst.capacity);
    lane.change(lane.kept);
  }

  #send(lane: Lane): void {
    const sent = lane.tx.txBurst(lane.burst, lane.kept);
    this.forwarded += sent;
    if (sent > 0 && sent < lane.kept) lane.burst.keep(sent, lane.kept);
    lane.kept -= sent;
    if (!lane.patient) this.#drop(lane);
    else if (sent === 0) wait(lane);
    else lane.stalledSince = 0;
  }

  #drop(lane: Lane): void {
    if (lane.kept === 0) return;
    this.#host.pool.free(lane.burst, 0, lane.kept);
    this.dropped += lane.kept;
    lane.kept = 0;
  }
}

/** Throws ESYSCALL when the sink has taken nothing for too long. */
function wait(lane: Lane): void {
  const now = performance.now();
  if (lane.stalledSince === 0) lane.stalledSince = now;
  if (now - lane.stalledSince > PATIENCE_MS) {
    throw new PollmodeError('ESYSCALL', `${lane.sink.name} has taken nothing for ${PATIENCE_MS / 1000} s: look at its counters and at what is behind it (a full disk, an interface that is down).`);
  }
}

/** A lane for each receive queue, the send queues taken in turn. */
function lanes(host: Host, from: Port, to: Port, options: ForwarderOptions): Lane[] {
  if (to.tx.length === 0) return [];
  return from.rx.map((rx, index) => {
    const burst = host.burst(options.burst);
    return {
      source: from, sink: to, rx, tx: to.tx[index % to.tx.length]!, burst, kept: 0, stalledSince: 0,
      patient: from.finished !== undefined, change: changer(host, burst, to, options),
    };
  });
}

function changer(host: Host, burst: Burst, to: Port, { mode, ethPeer }: ForwarderOptions): (count: number) => void {
  if (mode === 'io') return () => undefined;
  if (mode === 'macswap') return count => swapMacs(host.mbufs, burst, count);
  const position = host.ports.indexOf(to);
  const peer = parseMac(ethPeer?.[position] ?? `02:00:00:00:00:0${position}`);
  const own = parseMac(to.mac ?? `02:00:00:00:01:0${position}`);
  return count => rewriteMacs(host.mbufs, burst, count, peer, own);
}
