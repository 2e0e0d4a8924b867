import type { Host } from '../port/host.js';
import { emptyStats } from '../port/port.js';
import { packetRate } from './figures.js';

/** One line of statistics a second on stderr, over itself on a terminal. */
export class LiveLine {
  readonly #host: Host;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #started = performance.now();
  #last = { at: performance.now(), rx: 0, tx: 0 };

  constructor(host: Host, wanted: boolean) {
    this.#host = host;
    if (!wanted) return;
    this.#timer = setInterval(() => this.#print(), 1000);
    this.#timer.unref();
  }

  end(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }

  #print(): void {
    const now = performance.now();
    const total = { rx: 0, tx: 0, missed: 0 };
    for (const port of this.#host.ports) {
      const stats = emptyStats();
      port.readStats(stats);
      total.rx += stats.rxPackets;
      total.tx += stats.txPackets;
      total.missed += stats.rxNoMbuf + stats.txRefused;
    }
    const seconds = (now - this.#last.at) / 1000;
    const rate = (packets: number): string => packetRate(packets / seconds);
    const line = `${((now - this.#started) / 1000).toFixed(0)} s  rx ${rate(total.rx - this.#last.rx)}  tx ${rate(total.tx - this.#last.tx)}  no mbuf or refused ${total.missed}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
    this.#last = { at: now, rx: total.rx, tx: total.tx };
  }
}
