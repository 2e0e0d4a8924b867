/**
 * Receive-side scaling in the arena. Plain number constants: TypeScript and AssemblyScript both read this file.
 *
 * First the hash: a key, and for each of the 36 bytes that a hash input can have (two IPv6 addresses and two ports) a
 * table of 256 words, so that a hash is one look-up and one exclusive-or per byte. Toeplitz is linear: what a byte
 * contributes does not depend on its neighbours.
 */
export const RSS_MAGIC = 0x53535220; // " RSS"
export const RSS_KIND = 0;
/** u32: bytes of the key. */
export const RSS_KEY_LENGTH = 4;
/** u32: RSS_* of what is hashed. */
export const RSS_TYPES = 8;
/** u64: mbufs hashed, and mbufs that had nothing to hash (hash 0). */
export const RSS_HASHED = 16;
export const RSS_UNHASHED = 24;
export const RSS_KEY = 64;
export const RSS_KEY_MAX = 64;
/** u32: word of byte value b at input position i stands at RSS_TABLES + i * 1024 + b * 4. */
export const RSS_TABLES = 128;
export const RSS_INPUT_MAX = 36;
export const RSS_BYTES = 128 + 36 * 1024;

// What is hashed, by packet type; DPDK's RTE_ETH_RSS_* by other numbers.
export const RSS_IPV4 = 1;
export const RSS_TCP_IPV4 = 2;
export const RSS_UDP_IPV4 = 4;
export const RSS_SCTP_IPV4 = 8;
export const RSS_IPV6 = 16;
export const RSS_TCP_IPV6 = 32;
export const RSS_UDP_IPV6 = 64;
export const RSS_SCTP_IPV6 = 128;

/**
 * Then software steering: a table of buckets, each with the worker that its packets go to now, and the one that they
 * shall go to. A bucket moves only when its old worker is done with all that was handed to it, so that no flow is ever
 * reordered. RPS is a small table that a planner fills; RFS a large one that the consumers write their names into.
 *
 * Only the distributor's thread writes the header, the buckets' `now` and `tail`, and the vectors.
 */
export const STEER_MAGIC = 0x52454554; // "TEER"
export const STEER_KIND = 0;
/** u32: offset of the RSS state that hashes what came without a hash. */
export const STEER_RSS = 4;
/** u32: offset of the pool that dropped packets go back to, and of the mbuf header table. */
export const STEER_POOL = 8;
export const STEER_TABLE = 12;
/** u32: workers, buckets, and buckets - 1 when that is a mask, else 0. */
export const STEER_WORKERS = 16;
export const STEER_BUCKETS = 20;
export const STEER_MASK = 24;
/** u32: offset of the first bucket. */
export const STEER_FIRST = 28;
/** u64: handed to workers; dropped because a worker's ring was full; buckets moved; packets whose bucket wanted to move and had to wait. */
export const STEER_DISTRIBUTED = 32;
export const STEER_RING_FULL = 40;
export const STEER_MOVES = 48;
export const STEER_WAITS = 56;
/** u32: lcore id + 1 of the one thread that distributes; 0 when that is free to be taken. */
export const STEER_LCORE = 64;
/** u32: counts the workers that went out of service or came back, so that the distributor looks only when there is something new. */
export const STEER_CHANGES = 68;
/** u32: up to which of these the distributor has done what there was to do. */
export const STEER_SEEN = 80;
/** u64: packets taken out of rings of workers that are out of service, and handed to others. */
export const STEER_TAKEN_OVER = 72;
/** A burst is at most as long as a worker's vector. */
export const STEER_VECTOR = 512;
export const STEER_WORKER_MAX = 64;

/** One for each worker, the distributor's line first, then the worker's. */
export const STEER_WORKER_FIRST = 128;
export const STEER_WORKER_STRIDE = 256;
/** u32: offset of the worker's ring; how many are in its vector now; u64: handed to it. */
export const STEER_RING = 0;
export const STEER_COUNT = 4;
export const STEER_HANDED = 8;
/** u32: WORKER_*. */
export const STEER_STATE = 16;
/** u32: up to which ring index the worker is done with what it took. Written by the worker. */
export const STEER_DONE = 128;
/** u64: taken by the worker. */
export const STEER_TAKEN = 136;
/** u32: lcore id + 1 of the one thread that takes; 0 when that is free to be taken. */
export const STEER_HOLDER = 144;

/** In service: buckets may move to it. A worker that has not come yet is in service too, its packets wait. */
export const WORKER_IN = 0;
/** Out of service: no bucket moves to it, and the distributor gives what it has to others. */
export const WORKER_OUT = 1;
/** The distributor is doing so now. */
export const WORKER_TAKING = 2;

/** The workers' vectors, from the end of the worker records on. */
export const STEER_VECTORS = 128 + 64 * 256;
/** Then the bucket of each packet of a burst: all are looked up before any is used, so that the waits for memory overlap. */
export const STEER_PLACES = 128 + 64 * 256 + 64 * 512 * 4;
export const STEER_BUCKETS_AT = 128 + 64 * 256 + 65 * 512 * 4;

export const BUCKET_BYTES = 16;
/** u32: the worker that its packets go to. */
export const BUCKET_NOW = 0;
/** u32: the worker that they shall go to; any thread may write it. */
export const BUCKET_WANTED = 4;
/** u32: ring index behind its newest packet in the ring of `now`. */
export const BUCKET_TAIL = 8;
/** u32: packets, modulo 2^32: what a rebalancer looks at. */
export const BUCKET_PACKETS = 12;
