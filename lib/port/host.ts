import { Arena, DEFAULT_ARENA, MAX_ARENA, type ArenaOptions } from '../arena/arena.js';
import type { HugePages } from '../arena/backing.js';
import { BACKING_HUGE } from '../arena/layout.js';
import { freshName } from '../arena/names.js';
import { Burst } from '../burst/burst.js';
import { PollmodeError } from '../errors.js';
import { undoLeftOnce } from '../journal/left.js';
import { BUFFER_UNIT, HEADROOM } from '../mbuf/layout.js';
import type { Mbufs } from '../mbuf/mbufs.js';
import { Mempool } from '../mbuf/mempool.js';
import { checkOptions, parseDevice, readOptions } from './device.js';
import { drivers } from './drivers.js';
import { emptyStats, type MemoryDemand, type Port, type PortDriver, type PortStats } from './port.js';
import { sentence } from './probe.js';
import { StatsPublisher } from './stats_zone.js';

/** A port as an object instead of a device string: `{ driver: 'af_xdp', device: 'eth0', queues: 2 }`. */
export interface PortObject {
  readonly driver: string;
  readonly [option: string]: unknown;
}

export type PortRequest = string | PortObject;

export interface OpenOptions {
  /** An arena to use; default: a new one, made with `arenaOptions`, which `close` closes too. */
  readonly arena?: Arena;
  readonly arenaOptions?: ArenaOptions;
  /** A pool of that arena to use, for a thread that shares another's; default: a new one. `close` leaves it. */
  readonly pool?: Mempool;
  /** mbufs of the pool; default: what the ports may hold at once, and 4096 for the program. */
  readonly mbufs?: number;
  /** 2048 or 4096; default: the smallest that all ports can use. */
  readonly bufferSize?: number;
  /** At how many places of a buffer frames begin, see MempoolOptions: those of `alloc` and of the null port; what other ports receive begins at one. */
  readonly spread?: number;
  /** Per-lcore cache of the pool, see MempoolOptions. */
  readonly cache?: number;
  readonly hugePages?: HugePages;
  /** The pool is a file of this process's own even where no port asks for that: ports that share it with a peer (virtio_user, memif) can then be added later. Default off. */
  readonly ownFile?: boolean;
}

const FOR_THE_PROGRAM = 4096;
let hosts = 0;

/**
 * Opens ports over one pool that satisfies all of them, so that a packet received on one is sent on any other without a
 * copy. Throws EDEVICE, EOPTION, EPOOL, and whatever the drivers throw; nothing is left open then. The first call of a
 * thread also undoes what a killed run left (see journal/).
 */
export function open(requests: readonly PortRequest[], options: OpenOptions = {}): Host {
  if (!Array.isArray(requests)) throw new PollmodeError('EOPTION', 'open takes a list of ports: open([\'null:\']).');
  undoLeftOnce();
  return new Host(requests, options);
}

/** mbufs that these ports may hold at once: to size a pool that others are to be added to. Throws as `open`, and opens nothing. */
export function demandOf(requests: readonly PortRequest[]): number {
  return requests.reduce((sum, request) => sum + prepare(request).demand.mbufs, 0);
}

/** Are these the words of a port that there could be? Nothing is looked at but them. Throws EDEVICE, EOPTION. */
export function checkRequest(request: PortRequest): void {
  const { driver, options } = read(request);
  driver.plan(options);
}

/** Ports, the pool that their packets live in, and the arena that holds it all. Belongs to one thread. */
export class Host {
  readonly arena: Arena;
  readonly pool: Mempool;
  readonly mbufs: Mbufs;
  readonly #ports: Port[] = [];
  readonly #ownsArena: boolean;
  readonly #ownsPool: boolean;
  /** Of an arena that other processes can attach to. */
  #publisher: StatsPublisher | undefined;
  #closed = false;

  constructor(requests: readonly PortRequest[], options: OpenOptions) {
    const plans = requests.map(prepare);
    const demand = plans.map(plan => plan.demand);
    const bufferSize = options.pool?.bufferSize ?? options.bufferSize ?? (demand.some(each => each.bufferSize > 2048) ? 4096 : 2048);
    const count = options.mbufs ?? Math.max(32, demand.reduce((sum, each) => sum + each.mbufs, 0) + FOR_THE_PROGRAM);
    refuseSmall(plans, bufferSize);
    this.#ownsPool = options.pool === undefined;
    this.#ownsArena = options.arena === undefined && this.#ownsPool;
    this.arena = options.pool?.arena ?? options.arena ?? Arena.create(options.arenaOptions ?? arenaFor(count * bufferSize + demand.reduce((sum, each) => sum + (each.overlays ?? 0), 0)));
    try {
      this.pool = options.pool ?? Mempool.create(this.arena, freshName(this.arena, () => `pool/${hosts++}.${this.arena.lcore}`), {
        count, bufferSize,
        hugePages: options.hugePages ?? hugePagesFor(demand),
        ...(options.ownFile === true || demand.some(each => each.ownFile === true) ? { file: 'own' as const } : {}),
        ...(options.cache === undefined ? {} : { cache: options.cache }),
        ...(options.spread === undefined ? {} : { spread: options.spread }),
      });
      this.mbufs = this.pool.mbufs;
      refuseSmallRoom(plans, this.pool);
      refuseSmallPages(plans, this.pool);
      for (const plan of plans) this.#open(plan);
      if (this.arena.named) this.#publisher = new StatsPublisher(this.arena, () => `${hosts++}.${this.arena.lcore}`, this.#ports);
    } catch (cause) {
      this.#abandon();
      throw cause;
    }
  }

  /** In the order they were asked for. */
  get ports(): readonly Port[] {
    return this.#ports;
  }

  /** One more port over the same pool. Throws EPOOL, by name, when the pool fails its demand. */
  add(request: PortRequest): Port {
    if (this.#closed) throw new PollmodeError('ECLOSED', 'This host is closed: open a new one with open([...]).');
    const plan = prepare(request);
    refuseSmall([plan], this.pool.bufferSize);
    refuseSmallRoom([plan], this.pool);
    refuseSmallPages([plan], this.pool);
    const free = this.pool.available;
    if (plan.demand.mbufs > free) {
      throw new PollmodeError('EPOOL', `${plan.device} may hold ${plan.demand.mbufs} mbufs and the pool has ${free} free: open it together with the other ports, or ask for more with { mbufs }.`);
    }
    return this.#open(plan);
  }

  /** A burst vector for rxBurst and txBurst, 1 to 512 mbufs; one is enough for a whole program. */
  burst(capacity = 32): Burst {
    return new Burst(this.arena, capacity);
  }

  stats(port: Port): PortStats {
    const stats = emptyStats();
    port.readStats(stats);
    return stats;
  }

  /** Closes the ports, last opened first, and the arena when it was made here. What the program still holds stays counted in the pool. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#publisher?.close();
    for (const port of [...this.#ports].reverse()) port.close();
    // Also in an arena of its own, which goes without it: its huge pages are a file's.
    if (this.#ownsPool && this.pool.audit().free === this.pool.size) this.pool.close();
    if (this.#ownsArena) this.arena.close();
  }

  #open({ driver, options, device }: Plan): Port {
    const number = freeNumber(this.arena);
    const port = driver.open(options, { arena: this.arena, pool: this.pool, number, device });
    this.#ports.push(port);
    return port;
  }

  /** After a port would not open: no half-open host is left. */
  #abandon(): void {
    this.#closed = true;
    for (const port of this.#ports.reverse()) port.close();
    if (this.#ownsPool && (this.pool as Mempool | undefined) !== undefined) this.pool.close();
    if (this.#ownsArena) this.arena.close();
  }
}

interface Plan {
  readonly driver: PortDriver;
  readonly options: object;
  readonly demand: MemoryDemand;
  readonly device: string;
}

function prepare(request: PortRequest): Plan {
  const { driver, options, device } = read(request);
  const available = driver.probe();
  if (!available.usable) throw new PollmodeError('EUNSUPPORTED', `${device} cannot be opened here: ${available.reason}. ${sentence(available.mend)}`);
  return { driver, options, demand: driver.plan(options), device };
}

function read(request: PortRequest): Omit<Plan, 'demand'> {
  if (typeof request !== 'string' && (typeof request !== 'object' || request === null)) {
    throw new PollmodeError('EDEVICE', `A port is asked for by a device string or an object with a driver, not by ${String(request)}: write 'null:' or { driver: 'null' }.`);
  }
  const driver = driverNamed(typeof request === 'string' ? parseDevice(request).driver : request.driver);
  const options = typeof request === 'string' ? readOptions(driver, request) : checkOptions(driver, withoutDriver(request));
  const device = typeof request === 'string' ? request : `${driver.name}:${typeof request['device'] === 'string' ? request['device'] : ''}`;
  return { driver, options, device };
}

function driverNamed(name: string): PortDriver {
  const driver = drivers.find(each => each.name === name);
  if (driver === undefined) throw new PollmodeError('EDEVICE', `No driver is named "${String(name).slice(0, 40)}": there are ${drivers.map(each => each.name).join(', ')}.`);
  return driver;
}

function withoutDriver(request: PortObject): Record<string, unknown> {
  const { driver: _, ...options } = request;
  return options;
}

function refuseSmall(plans: readonly Plan[], bufferSize: number): void {
  for (const { device, demand } of plans) {
    if (demand.bufferSize > bufferSize) throw new PollmodeError('EPOOL', `${device} needs buffers of ${demand.bufferSize} bytes and the pool's have ${bufferSize}: ask for { bufferSize: 4096 }, or for smaller frames.`);
  }
}

/** In a pool that spreads its frames. Who asks for whole buffers takes them as they are, and says so with its MTU. */
function refuseSmallRoom(plans: readonly Plan[], pool: Mempool): void {
  for (const { device, demand } of plans) {
    const room = pool.room + HEADROOM;
    if (demand.bufferSize > room && demand.bufferSize % BUFFER_UNIT !== 0) throw new PollmodeError('EPOOL', `${device} needs ${demand.bufferSize} bytes of a buffer and this pool, which spreads its frames, has ${room}: ask for less { spread }, or for smaller frames.`);
  }
}

function refuseSmallPages(plans: readonly Plan[], pool: Mempool): void {
  const strict = plans.find(plan => plan.demand.hugePages === 'must');
  if (strict === undefined || pool.buffers.backing === BACKING_HUGE) return;
  throw new PollmodeError('EPOOL', `${strict.device} needs its packets in huge pages and the pool's are not: open it together with the other ports, or ask for { hugePages: 'must' }.`);
}

/** The strictest wish of the ports. */
function hugePagesFor(demand: readonly MemoryDemand[]): HugePages {
  const wishes = demand.map(each => each.hugePages ?? (each.registered ? 'try' : 'never'));
  return wishes.includes('must') ? 'must' : wishes.includes('try') ? 'try' : 'never';
}

/** The default size, or as much as the pool, its headers and its ring need; what no arena can hold is the pool's to refuse. */
function arenaFor(bytes: number): ArenaOptions {
  const needed = Math.ceil(bytes * 1.1) + (32 << 20);
  return needed > DEFAULT_ARENA ? { size: Math.min(MAX_ARENA, Math.ceil(needed / 65536) * 65536) } : { size: DEFAULT_ARENA };
}

/** Port numbers are the arena's: the lowest whose queues are not there. */
function freeNumber(arena: Arena): number {
  const taken = new Set(arena.zones().map(zone => /^port\/(\d+)\//.exec(zone.name)?.[1]));
  let number = 0;
  while (taken.has(String(number))) number++;
  return number;
}
