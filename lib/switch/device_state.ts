import { emptyStats, type Port } from '../port/port.js';
import type { DeviceState } from './ports.js';

/** In the thread that opened the device. */
export function deviceState(device: Port): DeviceState {
  const stats = emptyStats();
  device.readStats(stats);
  const counters = Object.entries({ rx_no_mbuf: stats.rxNoMbuf, ...stats.xstats }).filter(([, count]) => count !== 0);
  return { ...(device.link === undefined ? {} : { link: device.link.read().up ? 'up' : 'down' }), counters: Object.fromEntries(counters) };
}
