/**
 * pollmode: userspace poll-mode packet I/O. Start with `open`, `host.burst` and `poll`; the contract of a port, and who
 * owns a packet when, stands in port/port.ts.
 */
export { open, type Host, type OpenOptions, type PortObject, type PortRequest } from './port/host.js';
export type { Availability, Port, PortCapabilities, PortDriver, PortStats, RxQueue, TxQueue } from './port/port.js';
export { drivers } from './port/drivers.js';
export { poll, type PollOptions } from './lcore/poll.js';
export { Arena, type ArenaOptions, type ArenaShare, type OverlayOptions, type ReserveOptions } from './arena/arena.js';
export type { Memzone } from './arena/directory.js';
export type { Lcore } from './arena/lcores.js';
export type { WasmMemory } from './arena/webassembly.js';
export { Burst } from './burst/burst.js';
export { Ring, type RingOptions, type RingStats } from './ring/ring.js';
export { Mempool, type MempoolOptions, type MempoolStats } from './mbuf/mempool.js';
export type { PoolAudit } from './mbuf/audit.js';
export { reclaimDead, type Reclaimed, type ReclaimOptions } from './mbuf/reclaim.js';
export type { Mbufs } from './mbuf/mbufs.js';
export * as layout from './mbuf/layout.js';
export { swapMacs, formatMac } from './wire/ethernet.js';
export { PollmodeError, type ErrorCode } from './errors.js';
