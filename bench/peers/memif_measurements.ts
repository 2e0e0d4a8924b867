/** The measurements over memif sockets: DPDK's net_memif at one end, and ours or DPDK's in the other role. Clients share their pool (zero-copy=yes). */
import type { Measurement } from './bench.js';
import { oursEnd, socketMeasurement, testpmdEnd, type Starter } from './socket_measurements.js';

type Forward = 'rxonly' | 'txonly';

const server = (forward: Forward): Starter => testpmdEnd('server', path => `net_memif0,role=server,socket=${path},socket-abstract=no`, forward);
const client = (forward: Forward): Starter => testpmdEnd('client', path => `net_memif0,role=client,socket=${path},socket-abstract=no,zero-copy=yes`, forward);
const ourServer = (direction: 'receive' | 'send'): Starter => oursEnd(path => `memif:${path},role=server`, direction);
const ourClient = (direction: 'receive' | 'send'): Starter => oursEnd(path => `memif:${path}`, direction);

export const memifMeasurements: readonly Measurement[] = [
  socketMeasurement('testpmd net_memif server rxonly', { first: server('rxonly'), second: client('txonly'), measured: 'first', counter: 'rx' }),
  socketMeasurement('memif-server-receive', { first: ourServer('receive'), second: client('txonly'), measured: 'first', counter: 'ours' }),
  socketMeasurement('testpmd net_memif server txonly', { first: server('txonly'), second: client('rxonly'), measured: 'first', counter: 'tx' }),
  socketMeasurement('memif-server-send', { first: ourServer('send'), second: client('rxonly'), measured: 'first', counter: 'ours' }),
  socketMeasurement('testpmd net_memif client rxonly', { first: server('txonly'), second: client('rxonly'), measured: 'second', counter: 'rx' }),
  socketMeasurement('memif-client-receive', { first: server('txonly'), second: ourClient('receive'), measured: 'second', counter: 'ours' }),
  socketMeasurement('testpmd net_memif client txonly', { first: server('rxonly'), second: client('txonly'), measured: 'second', counter: 'tx' }),
  socketMeasurement('memif-client-send', { first: server('rxonly'), second: ourClient('send'), measured: 'second', counter: 'ours' }),
];
