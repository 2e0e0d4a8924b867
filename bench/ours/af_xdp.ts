import type { Burst } from '../../lib/burst/burst.js';
import { open, type Host } from '../../lib/port/host.js';
import type { RxQueue, TxQueue } from '../../lib/port/port.js';
import { buildFrame, FCS } from '../../lib/sweep/frame.js';
import { swapMacs } from '../../lib/wire/ethernet.js';
import { measure, pin, print, settings } from './common.js';

const BURSTS_PER_TURN = 8;

export function afXdpBench(what: 'send' | 'receive' | 'macswap'): void {
  const options = settings();
  pin(options.cpu);
  const host = open([`af_xdp:${options.interface}`], { mbufs: 16384 });
  const port = host.ports[0]!;
  const burst = host.burst(options.burst);
  const paced = pacer(options.rate);
  const body = { send: () => paced() ? send(host, port.tx[0]!, burst, options.size) : 0, receive: () => receive(host, port.rx[0]!, burst), macswap: () => bounce(host, port.rx[0]!, port.tx[0]!, burst) }[what];
  if (what === 'send') writeFrames(host, burst, buildFrame(options.ends, options.size + FCS));
  const result = measure(options.seconds, body);
  print({ ...result, mode: port.capabilities.mode, userShare: result.userSeconds / (result.userSeconds + result.systemSeconds) });
  host.close();
}

/** Every buffer gets the frame once; sending does not change it, so the loop writes lengths only, as testpmd's txonly copies a ready header. */
function writeFrames(host: Host, burst: Burst, frame: Uint8Array): void {
  const held: number[] = [];
  while (host.pool.alloc(burst, burst.capacity) > 0) {
    for (const handle of burst.handles) {
      host.mbufs.u8.set(frame, host.mbufs.data(handle));
      held.push(handle);
    }
  }
  for (let i = 0; i < held.length; i += burst.capacity) {
    burst.handles.set(held.slice(i, i + burst.capacity));
    host.pool.free(burst, 0, Math.min(burst.capacity, held.length - i));
  }
}

/** Says whether a turn may send now, so that not more than `rate` packets go out in a second; always, for a rate of 0. */
function pacer(rate: number): () => boolean {
  if (rate === 0) return () => true;
  const interval = BURSTS_PER_TURN * 32 / rate * 1000;
  let next = performance.now();
  return () => {
    if (performance.now() < next) return false;
    next = Math.max(next + interval, performance.now() - interval);
    return true;
  };
}

function send(host: Host, tx: TxQueue, burst: Burst, size: number): number {
  const { mbufs, pool } = host;
  let packets = 0;
  for (let i = 0; i < BURSTS_PER_TURN; i++) {
    const got = pool.alloc(burst, burst.capacity);
    for (let k = 0; k < got; k++) mbufs.append(burst.handles[k]!, size);
    const sent = tx.txBurst(burst, got);
    if (sent < got) pool.free(burst, sent, got);
    packets += sent;
  }
  return packets;
}

function receive(host: Host, rx: RxQueue, burst: Burst): number {
  let packets = 0;
  for (let i = 0; i < BURSTS_PER_TURN; i++) {
    const got = rx.rxBurst(burst);
    if (got > 0) host.pool.free(burst, 0, got);
    packets += got;
  }
  return packets;
}

function bounce(host: Host, rx: RxQueue, tx: TxQueue, burst: Burst): number {
  let packets = 0;
  for (let i = 0; i < BURSTS_PER_TURN; i++) {
    const got = rx.rxBurst(burst);
    if (got === 0) continue;
    swapMacs(host.mbufs, burst, got);
    const sent = tx.txBurst(burst, got);
    if (sent < got) host.pool.free(burst, sent, got);
    packets += sent;
  }
  return packets;
}
