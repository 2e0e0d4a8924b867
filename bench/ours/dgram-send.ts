/**
 * Node's own UDP socket, sending as fast as it goes: connected, no callback per send, so that each send is one system
 * call made at once, and the event loop has a turn after every burst.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { payloadBytes, UDP_PORT, FCS } from '../../lib/sweep/frame.js';
import { pin, print, settings, WARM_UP_SECONDS } from './common.js';

const { seconds, cpu, ends, burst, size } = settings();
pin(cpu);
const socket = createSocket({ type: 'udp4' });
socket.bind({ address: ends.from.ip, port: UDP_PORT, exclusive: true });
await once(socket, 'listening');
socket.connect(UDP_PORT, ends.to.ip);
await once(socket, 'connect');
const payload = Buffer.alloc(payloadBytes(size + FCS));
let sent = 0;
await spin(WARM_UP_SECONDS);
process.stdout.write('measuring\n');
const [from, start] = [sent, performance.now()];
await spin(seconds);
print({ packets: sent - from, seconds: (performance.now() - start) / 1000 });
socket.close();

async function spin(length: number): Promise<void> {
  for (const until = performance.now() + length * 1000; performance.now() < until; await nextTurn()) {
    for (let i = 0; i < burst; i++) socket.send(payload);
    sent += burst;
  }
}
