/**
 * `node two_port_bridge_main.js PORT PORT`: what comes in by one port goes out by the other, and what finds no room is
 * dropped, until SIGTERM; then its counters come out as JSON, and at SIGUSR2. Sleeps while there is nothing: the machines want the CPUs.
 */
import { open, type Host } from '../../lib/port/host.js';
import type { Port } from '../../lib/port/port.js';

const host = open(process.argv.slice(2), { mbufs: 8192 });
const [a, b] = host.ports;
const ending = new AbortController();
process.on('SIGTERM', () => ending.abort());
process.on('SIGUSR2', () => process.stdout.write(`${JSON.stringify(host.ports.map(port => host.stats(port)))}\n`));
for (const port of host.ports) port.onEvent?.(({ text }) => process.stderr.write(`${port.name}: ${text}\n`));
process.stdout.write('ready\n');
await Promise.all([carry(host, a!, b!, ending.signal), carry(host, b!, a!, ending.signal)]);
process.stdout.write(`${JSON.stringify(host.ports.map(port => host.stats(port)))}\n`);
host.close();

async function carry({ pool }: Host, from: Port, to: Port, signal: AbortSignal): Promise<void> {
  for await (const burst of from.rx[0]!.bursts({ signal })) {
    const sent = to.tx[0]!.txBurst(burst, burst.count);
    pool.free(burst, sent, burst.count);
  }
}
