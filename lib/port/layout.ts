/**
 * The state of one rx or tx queue in the arena: a common part, then the driver's. Plain number constants: TypeScript
 * and AssemblyScript both read this file.
 */
/** The highest queue number of any device that a port takes. */
export const MAX_PORT_QUEUE = 255;
export const QUEUE_MAGIC = 0x45555551; // "QUUE"
export const QUEUE_KIND = 0;
/** u32: offset of the pool's header. */
export const QUEUE_POOL = 4;
/** u32: the owner word for buffers that the port holds. */
export const QUEUE_OWNER = 8;
/** u32: lcore id + 1 of the one thread that may poll it; 0 when it is free to be taken (see port/attach.ts), and after close. */
export const QUEUE_LCORE = 12;
/** u32: offset of the mbuf header table. */
export const QUEUE_TABLE = 16;
/** u32: bytes of a frame that fit (buffer - headroom). */
export const QUEUE_ROOM = 20;
/** i32: the descriptor that the queue's system calls are made on, a number of the process that opened the port; -1 for none. */
export const QUEUE_FD = 24;

// Counters, u64 each. The first three mean the same for every driver; the rest have the names that the driver gives.
export const QUEUE_PACKETS = 32;
export const QUEUE_BYTES = 40;
/** rx: receives that found no buffer in the pool. tx: packets that the port did not take, counted once per refusal. */
export const QUEUE_NOMBUF = 48;
export const QUEUE_X0 = 56;
export const QUEUE_X1 = 64;
export const QUEUE_X2 = 72;
export const QUEUE_X3 = 80;
export const QUEUE_X4 = 88;
export const QUEUE_X5 = 96;
export const QUEUE_X6 = 104;

/** 16 bytes of ASCII, padded with NUL: the driver's name, so that another thread knows whose queue this is. */
export const QUEUE_DRIVER_NAME = 112;
export const QUEUE_DRIVER_NAME_MAX = 16;

/** The first 32 bytes of an mbuf header as a receive writes them: lengths are filled in per packet. */
export const QUEUE_TEMPLATE = 128;
export const QUEUE_DRIVER = 192;
export const QUEUE_BYTES_TOTAL = 1024;
