import { interfacesOf, type Interface } from '../interfaces.js';
import { info, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

export function interfaceChecks(machine: Machine): Finding[] {
  const all = interfacesOf(machine);
  if (all.length === 0) return [info('interfaces', 'none in this network namespace')];
  return all.flatMap(each => [linkLine(each), queueLine(each), xdpLine(machine, each), useLine(each)]);
}

function linkLine({ name, kind, driver, bus, up, operstate, mtu, numaNode }: Interface): Finding {
  const device = [driver ?? (kind || 'no driver named'), ...(bus === undefined ? [] : [`at ${bus}`]), ...(numaNode === undefined ? [] : [`NUMA node ${numaNode}`])].join(' ');
  const value = `${device}; ${up ? 'up' : 'down'}, link ${operstate}; MTU ${mtu}`;
  if (up) return ok(name, value);
  return bus === undefined ? info(name, value) : warn(name, value, 'A port on an interface that is down is refused.', `As root: ip link set ${name} up`);
}

function queueLine({ name, channels, rxQueues, txQueues, xskQueues }: Interface): Finding {
  const taken = xskQueues.length === 0 ? '' : `; AF_XDP sockets on ${xskQueues.join(', ')}`;
  if (channels === undefined) return info(`${name} queues`, `${rxQueues} rx, ${txQueues} tx${taken}`);
  const of = (word: string, now: number, most: number): string[] => most === 0 ? [] : [`${now} of ${most} ${word}`];
  const counts = [...of('combined', channels.combined, channels.maxCombined), ...of('rx', channels.rx, channels.maxRx), ...of('tx', channels.tx, channels.maxTx)];
  const value = `${counts.join(', ') || 'none'}${taken}`;
  return taken === '' ? ok(`${name} queues`, value) : info(`${name} queues`, value, 'A queue takes one AF_XDP socket: choose another, or end its program.');
}

/** The features of Documentation/netlink/specs/netdev.yaml (xdp-act), in words. */
function xdpLine(machine: Machine, { name, xdp, bus }: Interface): Finding {
  const what = `${name} XDP`;
  if (xdp === undefined) return info(what, 'unknown', machine.network === undefined ? 'The kernel is asked through the native addon.' : 'The kernel says so from Linux 6.3 on: mode=auto finds out by trying.');
  const has = (feature: (typeof xdp.xdp)[number]): boolean => xdp.xdp.includes(feature);
  const rest = [
    ...(has('redirect') ? ['redirects'] : []),
    ...(has('ndo-xmit') ? ['takes redirected frames'] : []),
    has('xsk-zerocopy') ? `zero-copy AF_XDP${xdp.zeroCopyMaxSegments > 1 ? ` (${xdp.zeroCopyMaxSegments} segments)` : ''}` : 'no zero-copy',
    has('rx-sg') ? 'multi-buffer' : 'no multi-buffer',
    ...(has('hw-offload') ? ['programs in hardware'] : []),
    ...xdp.rxMetadata.map(each => `rx ${each}`), ...xdp.xsk.map(each => `AF_XDP ${each}`),
  ].join(', ');
  if (has('basic')) return ok(what, `native; ${rest}`);
  if (bus === undefined) return info(what, 'generic only', 'The device runs programs after the kernel made a socket buffer of the frame.');
  return warn(what, 'generic only', 'Its driver runs no XDP programs; generic mode works, after the kernel made a socket buffer of each frame.', 'Use mode=generic, or a NIC whose driver has native XDP.');
}

function useLine({ name, device, defaultRoute }: Interface): Finding {
  if (!defaultRoute) return info(`${name} opens as`, device);
  return info(`${name} opens as`, device, 'It has the default route: af_xdp takes a queue\'s frames away from the kernel, and with them perhaps the session that you type in.');
}

