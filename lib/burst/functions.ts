/**
 * The burst functions: work on a whole burst in one call. There are two sets with this one type, the WebAssembly
 * module (fast) and the TypeScript twins (short, and the text to read first). Both pass the same property tests.
 *
 * Every argument that names a thing (`ring`, `pool`, `queue`, `table`) is its offset in the arena; `from` and `to` are
 * offsets of vectors of u32 handles. Nothing is checked that the caller has set up itself; everything that came from
 * outside is. None of them throws, and none keeps state outside the arena.
 */
export interface BurstFunctions {
  /**
   * Enqueue up to `count` u32 from the vector at `from`; all or none when `fixed` is not 0. Returns how many went in.
   * Sp: only one thread may enqueue. Mp: any number; `lcore` is the caller's, and names its claim. Returns 0 also when
   * another's claim stood for too long (see RING_SPINS), so a caller is never stuck behind a dead party.
   */
  ringEnqueueSp(ring: number, from: number, count: number, fixed: number): number;
  ringEnqueueMp(ring: number, from: number, count: number, fixed: number, lcore: number): number;
  /** Dequeue, likewise, into the vector at `to`. */
  ringDequeueSc(ring: number, to: number, count: number, fixed: number): number;
  ringDequeueMc(ring: number, to: number, count: number, fixed: number, lcore: number): number;
  /** Takes away the claims of an lcore that is dead for certain. Returns how many there were: 0, 1 or 2. */
  ringRecover(ring: number, lcore: number): number;

  /** `count` mbufs with fresh headers, owned by lcore's program, or none (0): then POOL_DRY is counted. */
  mbufAlloc(pool: number, lcore: number, to: number, count: number): number;
  /** Gives up one hold on each; chains and shared mbufs too. The vector at `from` may be changed. */
  mbufFree(pool: number, lcore: number, from: number, count: number): void;
  /** Writes the owner word of each. */
  mbufOwn(table: number, from: number, count: number, owner: number): void;

  /** rx: up to `max` into the vector at `burst`. tx: takes the first so many. Both return how many. */
  nullRx(queue: number, burst: number, max: number, lcore: number): number;
  nullTx(queue: number, burst: number, count: number, lcore: number): number;
  ringRx(queue: number, burst: number, max: number, lcore: number): number;
  ringTx(queue: number, burst: number, count: number, lcore: number): number;

  /** AF_XDP over the kernel's rings (port/drivers/af_xdp/layout.ts). Descriptors are checked before use; bad ones counted. */
  xskRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Gives the kernel buffers up to XSK_AIM. Returns how many it has. */
  xskFill(queue: number, lcore: number): number;
  /** Frees what was sent, then sends. `count` 0 only frees. Frames that cannot be sent are taken too, dropped and counted; another pool's mbuf stops it. */
  xskTx(queue: number, burst: number, count: number, lcore: number): number;
  /** Frees what the kernel says was sent. Returns how many. */
  xskComplete(queue: number, lcore: number): number;

  /** Toeplitz hashes (rss/layout.ts) of `count` inputs of `length` bytes, a multiple of 4 and at most 36, `stride` apart, to a vector of u32. */
  toeplitz(rss: number, inputs: number, stride: number, length: number, to: number, count: number): void;
  /** Hashes frames as a NIC does, into their headers; what is no IP gets hash 0 and no flag. Returns how many were hashed. */
  rssHash(rss: number, table: number, burst: number, count: number): number;

  /** Hands up to 512 mbufs to workers by their hash, each flow in order; all are gone afterwards. Returns how many were handed over, the rest was dropped and counted. */
  steerDistribute(steer: number, burst: number, count: number, lcore: number): number;
  /** A worker's receive; coming back says that it is done with what it took before. */
  steerTake(steer: number, worker: number, burst: number, max: number, lcore: number): number;
  /** RFS: the flows of these mbufs are wanted by `worker` from now on. */
  steerRecord(steer: number, burst: number, count: number, worker: number): void;

  /** AF_PACKET over the kernel's rings (port/drivers/af_packet/layout.ts): copies frames out, after checking where they stand. */
  packetRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Copies frames into the ring and frees their mbufs; the caller then kicks the kernel. Takes bad ones too, and counts them. */
  packetTx(queue: number, burst: number, count: number, lcore: number): number;

  /** An Intel NIC over its descriptor rings (port/drivers/vfio/intel/layout.ts). Descriptors are checked before use; bad ones counted. */
  intelRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Gives the device buffers up to one less than its ring has. Returns how many it has. */
  intelFill(queue: number, lcore: number): number;
  /** Frees what was sent, then sends. `count` 0 only frees. Takes what cannot be sent too, and frees it; stops at another pool's mbuf. */
  intelTx(queue: number, burst: number, count: number, lcore: number): number;
  /** Frees what the device says was sent. Returns how many. */
  intelClean(queue: number, lcore: number): number;
}

/** What a burst function set may be told to do at its checking points (checking build and twins alike). */
export interface BurstHooks {
  /** A party's death in a test: throw here. */
  fault?(point: number): void;
  /** A misuse was found: code (MISUSE_*), handle, and the owner word that stood there. */
  misuse?(code: number, handle: number, owner: number): void;
}
