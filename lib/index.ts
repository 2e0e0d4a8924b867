/**
 * pollmode: userspace poll-mode packet I/O. Start with `open`, `host.burst` and `poll`; the contract of a port, and who
 * owns a packet when, stands in port/port.ts.
 */
export { open, type Host, type OpenOptions, type PortObject, type PortRequest } from './port/host.js';
export type { Availability, BurstsOptions, LinkState, Port, PortCapabilities, PortDriver, PortEvent, PortLink, PortRss, PortStats, RxQueue, TxQueue, VirtualFunctions, VirtualFunctionState, WakeSource } from './port/port.js';
export { drivers } from './port/drivers.js';
export { attachRx, attachTx, releaseQueue, takeQueue } from './port/attach.js';
export { poll, type PollOptions } from './lcore/poll.js';
export { Idle, type IdleOptions, type IdlePolicy, type IdleStats } from './lcore/idle.js';
export { launch, type Lcore, type LaunchOptions, type LcoreEnd, type QueueName } from './lcore/lcore.js';
export type { LcoreContext, LcoreMain } from './lcore/context.js';
export { recoverDead, type Recovery } from './lcore/recover.js';
export { Arena, type ArenaOptions, type ArenaShare, type OverlayOptions, type ReserveOptions } from './arena/arena.js';
export type { Memzone } from './arena/directory.js';
export type { LcoreHolder } from './arena/lcores.js';
export type { WasmMemory } from './arena/webassembly.js';
export { Burst } from './burst/burst.js';
export { Ring, type RingOptions, type RingStats } from './ring/ring.js';
export { Mempool, type MempoolOptions, type MempoolStats } from './mbuf/mempool.js';
export type { PoolAudit } from './mbuf/audit.js';
export type { Mbufs } from './mbuf/mbufs.js';
export * as layout from './mbuf/layout.js';
export { Rss, DEFAULT_TYPES, type RssOptions } from './rss/rss.js';
export { DEFAULT_KEY, SYMMETRIC_KEY, type RssKey } from './rss/keys.js';
export type { Flow } from './rss/tuple.js';
export { Steering, type SteeringOptions, type SteeringSighting, type SteeringStats } from './rss/steering.js';
export { SteeringDistributor, SteeringWorker } from './rss/steering_sides.js';
export { RetaGuard, type RetaCounts, type RetaGuardOptions, type RetaMove, type RetaStep } from './rss/reta.js';
export { GuardedRxQueue, type GuardedQueueOptions } from './rss/reta_queue.js';
export { Rebalancer, type RebalanceOptions, type RebalanceRound } from './rss/rebalancer.js';
export { Distributor, type DistributorEvent, type DistributorOptions, type DistributorResult, type Who } from './lcore/distributor.js';
export { swapMacs, formatMac } from './wire/ethernet.js';
export { PollmodeError, type ErrorCode } from './errors.js';
