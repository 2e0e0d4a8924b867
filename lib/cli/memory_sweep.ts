import { open } from '../port/host.js';
import { swapMacs } from '../wire/ethernet.js';

const BURSTS = [1, 4, 16, 32, 64, 256];
const SECONDS = 0.2;

/** The sweep where there is no kernel to ask: null ports, with and without a MAC swap, over the burst sizes. */
export class MemorySweep {
  print(out: NodeJS.WritableStream): void {
    out.write('null to null, 64-byte frames, one thread, Mpps\n  burst       io  macswap\n');
    for (const size of BURSTS) {
      out.write(`${String(size).padStart(7)}  ${this.#rate(size, false).padStart(7)}  ${this.#rate(size, true).padStart(7)}\n`);
    }
  }

  #rate(size: number, swap: boolean): string {
    const host = open(['null:', 'null:']);
    const [from, to] = [host.ports[0]!.rx[0]!, host.ports[1]!.tx[0]!];
    const burst = host.burst(size);
    const turn = (times: number): number => {
      let packets = 0;
      for (let i = 0; i < times; i++) {
        const got = from.rxBurst(burst);
        if (swap) swapMacs(host.mbufs, burst, got);
        packets += to.txBurst(burst, got);
      }
      return packets;
    };
    turn(20000);
    const start = performance.now();
    let packets = 0;
    while (performance.now() - start < SECONDS * 1000) packets += turn(1000);
    const rate = packets / (performance.now() - start) / 1000;
    host.close();
    return rate.toFixed(1);
  }
}
