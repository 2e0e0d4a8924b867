/** The measurements over vhost-user sockets: two programs on two CPUs, ours or DPDK's at either end. */
import type { Measurement } from './bench.js';
import { finishOurs, startOurs } from './ours.js';
import { figures, onCpu, oursEnd, socketMeasurement, socketPath, testpmdEnd, withDistance, type Starter } from './socket_measurements.js';

const RING = 1024;
/** testpmd's 256 MiB have no room over the arena then. */
const BESIDE = ',guest_memory=1';

const vhost = (forward: 'rxonly' | 'txonly'): Starter => testpmdEnd('vhost', path => `net_vhost0,iface=${path},queues=1`, forward);
const virtio = (forward: 'rxonly' | 'txonly'): Starter => testpmdEnd('virtio', path => `net_virtio_user0,path=${path},queues=1,queue_size=${RING}`, forward);
const ours = (direction: 'receive' | 'send', words = ''): Starter => oursEnd(path => `vhost:${path}${words}`, direction);

export const vhostMeasurements: readonly Measurement[] = [
  socketMeasurement('testpmd net_vhost rxonly', { first: vhost('rxonly'), second: virtio('txonly'), measured: 'first', counter: 'rx' }),
  socketMeasurement('vhost-receive', { first: ours('receive'), second: virtio('txonly'), measured: 'first', counter: 'ours' }),
  socketMeasurement('testpmd net_vhost txonly', { first: vhost('txonly'), second: virtio('rxonly'), measured: 'first', counter: 'tx' }),
  socketMeasurement('vhost-send', { first: ours('send'), second: virtio('rxonly'), measured: 'first', counter: 'ours' }),
  socketMeasurement('vhost-receive beside', { first: ours('receive', BESIDE), second: virtio('txonly'), measured: 'first', counter: 'ours' }),
  socketMeasurement('vhost-send beside', { first: ours('send', BESIDE), second: virtio('rxonly'), measured: 'first', counter: 'ours' }),
  both('virtio-to-vhost split', ''),
  both('virtio-to-vhost packed', ',packed=1'),
];

/** Our driver's side sends to our vhost port; each on a CPU of its own. */
function both(name: string, words: string): Measurement {
  return {
    name, lacks: () => undefined,
    run: bench => withDistance(bench, async () => {
      const path = socketPath(bench);
      const receiver = startOurs(bench.machine, 'virtqueue-receive', onCpu(bench, bench.cpus.measured), { seconds: bench.seconds, more: ['--interface', `vhost:${path}`] });
      await receiver.expect(/waiting/);
      const sender = startOurs(bench.machine, 'virtqueue-send', onCpu(bench, bench.cpus.other), { seconds: bench.seconds, more: ['--interface', `virtio_user:${path},queue_size=${RING}${words}`] });
      const [received, sent] = await Promise.all([finishOurs(receiver, bench.seconds + 10), finishOurs(sender, bench.seconds + 10)]);
      const { cycles: senderCycles, idle: senderIdle } = figures(sent);
      return { ...figures(received), senderCycles: senderCycles!, senderIdle: senderIdle! };
    }),
  };
}
