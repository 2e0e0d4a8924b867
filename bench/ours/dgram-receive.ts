/** Node's own UDP socket, receiving: counts the messages that reach the listener. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { UDP_PORT } from '../../lib/sweep/frame.js';
import { pin, print, settings, WARM_UP_SECONDS } from './common.js';

const { seconds, cpu, ends } = settings();
pin(cpu);
const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
socket.bind({ address: ends.to.ip, port: UDP_PORT, exclusive: true });
await once(socket, 'listening');
let received = 0;
socket.on('message', () => { received++; });
await sleep(WARM_UP_SECONDS * 1000);
process.stdout.write('measuring\n');
const [from, start] = [received, performance.now()];
await sleep(seconds * 1000);
print({ packets: received - from, seconds: (performance.now() - start) / 1000 });
socket.close();
