/** One end of a vhost-user or memif socket, on one CPU: takes all frames that come, or sends as many as it can. --interface is its device string. */
import { open } from '../../lib/port/host.js';
import { cyclesPerSecond, pin, print, settings, WARM_UP_SECONDS } from './common.js';

/** Bursts between two looks at the clock: about a microsecond. */
const CALLS = 8;

/**
 * `idle`: the part of the time that went by in looks that moved nothing, so it waited for the other end; `cycles`: of the
 * time-stamp counter, per packet, over the rest. `burst`: packets of a call that moved some.
 */
export async function virtqueueBench(direction: 'receive' | 'send'): Promise<void> {
  const { seconds, cpu, interface: device, burst: size } = settings();
  pin(cpu);
  // A null port makes the frames that are sent, so none costs any JavaScript.
  const host = open(direction === 'receive' ? [device] : [device, 'null:size=64'], { mbufs: 8192 });
  const [port, source] = host.ports as [typeof host.ports[0], typeof host.ports[0]];
  const burst = host.burst(size);
  const [rx, tx] = [port.rx[0]!, port.tx[0]!];
  let have = 0;
  const receive = (): number => {
    const got = rx.rxBurst(burst);
    if (got > 0) host.pool.free(burst, 0, got);
    return got;
  };
  const send = (): number => {
    if (have === 0) have = source.rx[0]!.rxBurst(burst);
    const sent = tx.txBurst(burst, have);
    if (sent > 0 && sent < have) burst.keep(sent, have);
    have -= sent;
    return sent;
  };
  const move = direction === 'receive' ? receive : send;
  // Not in variables: a number that is not small, kept from one turn to the next, is an object each time, and those are collected while the ring fills.
  const times = new Float64Array(4);
  const [BEGUN, BEFORE, NOW, IDLE] = [0, 1, 2, 3] as const;
  const spin = (milliseconds: number): { packets: number; idle: number; total: number; moved: number } => {
    let [packets, moved] = [0, 0];
    times[BEGUN] = times[BEFORE] = performance.now();
    times[IDLE] = 0;
    for (;;) {
      const already = packets;
      for (let i = 0; i < CALLS; i++) {
        const count = move();
        packets += count;
        if (count > 0) moved++;
      }
      times[NOW] = performance.now();
      if (packets === already) times[IDLE]! += times[NOW] - times[BEFORE]!;
      const total = times[NOW] - times[BEGUN]!;
      if (total > milliseconds) return { packets, idle: times[IDLE]!, total, moved };
      times[BEFORE] = times[NOW];
    }
  };
  process.stdout.write('waiting\n');
  while (port.link!.read().up !== true) await new Promise(resolve => { setTimeout(resolve, 2); });
  spin(WARM_UP_SECONDS * 1000);
  process.stdout.write('measuring\n');
  const { packets, idle, total, moved } = spin(seconds * 1000);
  print({
    packets, seconds: total / 1000, idle: idle / total, burst: packets / Math.max(1, moved),
    cycles: (total - idle) / 1000 * cyclesPerSecond() / Math.max(1, packets), xstats: host.stats(port).xstats,
  });
  host.close();
}
