import type { Burst } from '../../lib/burst/burst.js';
import { open, type Host } from '../../lib/port/host.js';
import type { RxQueue, TxQueue } from '../../lib/port/port.js';
import { swapMacs } from '../../lib/wire/ethernet.js';
import { measure, pin, print, settings } from './common.js';

const BURSTS_PER_TURN = 500;

/** Forwards both ways between two ports for the time, as testpmd does with its port pair, and prints what was sent. */
export function forwardBench(a: string, b: string, options: { swap?: boolean; seed?: number } = {}): void {
  const { seconds, cpu, burst: size } = settings();
  pin(cpu);
  const host = open([a, b], { mbufs: 16384 });
  const [left, right] = host.ports;
  const burst = host.burst(size);
  for (const port of host.ports) seed(host, port.tx[0]!, burst, options.seed ?? 0);
  const step = options.swap === true ? swapping : plain;
  const [rxLeft, txLeft, rxRight, txRight] = [left!.rx[0]!, left!.tx[0]!, right!.rx[0]!, right!.tx[0]!];
  const turn = (): number => {
    let packets = 0;
    for (let i = 0; i < BURSTS_PER_TURN; i++) packets += step(host, rxLeft, txRight, burst) + step(host, rxRight, txLeft, burst);
    return packets;
  };
  print({ ...measure(seconds, turn), mode: left!.capabilities.mode });
  host.close();
}

/** testpmd's `start tx_first N`: N bursts to circle between ring ports. */
function seed(host: Host, tx: TxQueue, burst: Burst, bursts: number): void {
  for (let i = 0; i < bursts; i++) {
    const got = host.pool.alloc(burst, burst.capacity);
    for (let k = 0; k < got; k++) host.mbufs.append(burst.handles[k]!, 60);
    const sent = tx.txBurst(burst, got);
    host.pool.free(burst, sent, got);
  }
}

/** One burst one way. */
function plain(host: Host, rx: RxQueue, tx: TxQueue, burst: Burst): number {
  const got = rx.rxBurst(burst);
  const sent = tx.txBurst(burst, got);
  if (sent < got) host.pool.free(burst, sent, got);
  return sent;
}

function swapping(host: Host, rx: RxQueue, tx: TxQueue, burst: Burst): number {
  const got = rx.rxBurst(burst);
  swapMacs(host.mbufs, burst, got);
  const sent = tx.txBurst(burst, got);
  if (sent < got) host.pool.free(burst, sent, got);
  return sent;
}
