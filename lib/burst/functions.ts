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
   * `lcore` is the caller's. Sp: only one thread may enqueue; when it is another than before, that one must have ended
   * (ring/layout.ts), and where it died `ringRecover` comes first. Mp: any number; lcore names the claim. Returns 0 also
   * when another's claim stood for too long (see RING_SPINS), so a caller is never stuck behind a dead party.
   */
  ringEnqueueSp(ring: number, from: number, count: number, fixed: number, lcore: number): number;
  ringEnqueueMp(ring: number, from: number, count: number, fixed: number, lcore: number): number;
  /** Dequeue, likewise, into the vector at `to`. */
  ringDequeueSc(ring: number, to: number, count: number, fixed: number, lcore: number): number;
  ringDequeueMc(ring: number, to: number, count: number, fixed: number, lcore: number): number;
  /** Takes away the claims of an lcore that is dead for certain, and its being the single producer or consumer. Returns how many there were: 0, 1 or 2. */
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

  /** Packet type (wire/ptype_layout.ts) and lengths of the outer headers of each, into its header: MBUF_PACKET_TYPE, MBUF_TX_OFFLOAD. */
  parse(table: number, burst: number, count: number): void;
  /** The 5-tuple (wire/tuple_layout.ts) of each, to 40 bytes times `count` at `to`. Returns how many are IP packets. */
  tuples(table: number, burst: number, count: number, to: number): number;

  /**
   * Looks at the checksums of IPv4, and of TCP, UDP, ICMP and ICMPv6 where the whole message is there, over all segments:
   * RX_IP_CKSUM_GOOD or _BAD and RX_L4_CKSUM_GOOD or _BAD into ol_flags, none of two where there is nothing to say.
   * Returns how many packets have a bad one.
   */
  checksumCheck(table: number, burst: number, count: number): number;
  /** Writes the same checksums, where the whole message is there. */
  checksumFill(table: number, burst: number, count: number): void;
  /**
   * Of each packet, the one's complement sum of `length` bytes from `offset` on, over all segments: a u32 each to the
   * vector at `to`, folded to 16 bits, in network order, not the complement of it; 0xffffffff where there are not so many.
   */
  checksumRange(table: number, burst: number, count: number, offset: number, length: number, to: number): void;

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

  /**
   * Exact match (lookup/hash_layout.ts). `keys` is the offset of the first key, a multiple of 4, and the others stand
   * `stride` bytes apart, likewise; `to` and `values` are vectors of u32. Values to `to`, HASH_NONE for a key that is not
   * there; `now` other than 0 is noted in what was found. Any thread. Returns how many were there.
   */
  hashLookup(table: number, keys: number, stride: number, to: number, count: number, now: number): number;
  /** The writer alone. Adds, or replaces the value of, the first so many keys; stops where there is no room, and counts that. Returns how many. */
  hashAdd(table: number, keys: number, stride: number, values: number, count: number, now: number): number;
  /** The writer alone. Values of what was deleted, or HASH_NONE, to `to`. Returns how many were there. */
  hashDelete(table: number, keys: number, stride: number, to: number, count: number): number;
  /** The writer alone. Deletes what was not noted for longer than `age` (modulo 2^32) in the next `buckets` buckets, at most `max`; values to `to`. Returns how many. */
  hashExpire(table: number, buckets: number, now: number, age: number, to: number, max: number): number;

  /** Longest-prefix match (lookup/lpm_layout.ts): next hops of `count` addresses to the vector at `to`, LPM_NONE where no route leads. IPv4 addresses are u32 in host order. Any thread. */
  lpm4Lookup(lpm: number, addresses: number, to: number, count: number): void;
  /** The same for IPv6 addresses, 16 bytes in network order, one behind the other, from a multiple of 4 on. */
  lpm6Lookup(lpm: number, addresses: number, to: number, count: number): void;
  /** The same for addresses that stand `place` bytes into each of a burst's mbufs, in network order. LPM_NONE for an mbuf whose first segment ends before. */
  lpm4Mbufs(lpm: number, table: number, burst: number, place: number, to: number, count: number): void;
  lpm6Mbufs(lpm: number, table: number, burst: number, place: number, to: number, count: number): void;

  /**
   * A router's forwarding (lookup/forward_layout.ts) of at most FORWARD_MAX packets: each IPv4 packet without options that
   * has a hop left, a route and a known next hop gets that one's MAC addresses, a hop less and the checksum that follows,
   * and the adjacency's value into the forwarder's vector. All others are left as they were, with ADJACENCY_NONE. Returns
   * how many these are.
   */
  forward4(forwarder: number, burst: number, count: number): number;

  /** Access control lists (lookup/acl_layout.ts): values of the rules that `count` tuples match, ACL_NONE where none does. Any thread. Returns how many match one. */
  aclClassify(acl: number, tuples: number, to: number, count: number): number;

  /**
   * A switch (switch/layout.ts), for packets of port `port`, at most MAX_BURST: each whose flow is known, and asks for no
   * more, goes with its tag in order into the line of the port that it leaves by. What is left, and the flow or HASH_NONE,
   * is in SWITCH_LEFT and SWITCH_LEFT_FLOWS, in order. Returns how many these are. A tag that a NIC took out is put back first.
   */
  switchForward(sw: number, port: number, burst: number, count: number): number;

  /** Maglev (lookup/maglev_layout.ts): backends of `count` hashes, MAGLEV_NONE where there are none. Any thread. */
  maglevLookup(maglev: number, hashes: number, to: number, count: number): void;
  /** The device's side of a virtqueue, split or packed (virtqueue/layout.ts): copies frames out of the driver's buffers. Descriptors are copied, then checked; bad ones counted and given back. */
  vhostRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Copies frames into the driver's buffers and frees their mbufs. Takes what cannot be sent too, and frees it; stops at another pool's mbuf. */
  vhostTx(queue: number, burst: number, count: number, lcore: number): number;

  /** A memif ring whose frames are copied: the server's, or that of a client with buffers of its own (port/drivers/memif/layout.ts). As `vhostRx` and `vhostTx`. */
  memifRx(queue: number, burst: number, max: number, lcore: number): number;
  memifTx(queue: number, burst: number, count: number, lcore: number): number;
  /** A memif client that shares its pool: the server reads and writes the mbufs themselves. Received, then handed out anew. */
  memifZcRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Hands the server empty mbufs, one for each descriptor. Returns how many descriptors have none still. */
  memifZcFill(queue: number, lcore: number): number;
  /** Frees what was taken, then sends. `count` 0 only frees. Takes what cannot be sent too, and frees it; stops at another pool's mbuf. */
  memifZcTx(queue: number, burst: number, count: number, lcore: number): number;
  /** Frees what the server has taken. Returns how many packets. */
  memifZcClean(queue: number, lcore: number): number;

  /** The driver's side of one: the device reads and writes the pool's buffers themselves. Received, then filled up. */
  virtioRx(queue: number, burst: number, max: number, lcore: number): number;
  /** Gives the device buffers, one for each descriptor. Returns how many descriptors it lacks still. */
  virtioFill(queue: number, lcore: number): number;
  /** Frees what was sent, then sends. `count` 0 only frees. Takes what cannot be sent too, and frees it; stops at another pool's mbuf. */
  virtioTx(queue: number, burst: number, count: number, lcore: number): number;
  /** Frees what the device says was sent. Returns how many. */
  virtioClean(queue: number, lcore: number): number;
}

/** What a burst function set may be told to do at its checking points (checking build and twins alike). */
export interface BurstHooks {
  /** A party's death in a test: throw here. */
  fault?(point: number): void;
  /** A misuse was found: code (MISUSE_*), handle, and the owner word that stood there. */
  misuse?(code: number, handle: number, owner: number): void;
  /** Copies a list of OUTSIDE_LIST's entries; default: the native call. */
  copy?(list: number, count: number, out: number): void;
}
