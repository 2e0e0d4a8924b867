import type { Arena } from '../arena/arena.js';
import { Burst } from '../burst/burst.js';
import { CAUSES, type Cause } from './actions.js';
import * as layout from './layout.js';
import type { StormConfig } from './config.js';
import type { StormLimit } from './storm.js';
import type { PortVlans } from './vlan.js';

const { LINE_SLOTS, PORT_BYTES, PORT_LINE, PORT_QUEUED_BYTES, PORT_RX_BYTES, PORT_RX_PACKETS, PORT_WAITING } = layout;

export type PortKind = 'device' | 'patch' | 'vxlan' | 'local';

/** Who takes what leaves by a port: the first so many of the line, as `TxQueue.txBurst`; all of it where it is no device. */
export interface Sink {
  send(line: Burst, count: number): number;
}

/** How the device of a port is: its other end, and what it counted itself. */
export interface DeviceState {
  /** Absent: it does not know. */
  readonly link?: 'up' | 'down';
  /** By the driver's own names; those that are not 0. */
  readonly counters: Readonly<Record<string, number>>;
}

export interface PortOptions {
  readonly name: string;
  readonly kind: PortKind;
  readonly bridge: number;
  readonly vlans: PortVlans;
  /** Ports of one group pass nothing to each other: a tunnel's remotes. Default: none but itself. */
  readonly group?: number;
  /** Which of a tunnel's remotes it stands for. */
  readonly remote?: string;
  /** Its device string. */
  readonly device?: string;
}

/**
 * One way in and out of a bridge. A tunnel has one for each remote, so that an address can be behind one of them. What
 * leaves by it waits in its line until the burst is over.
 */
export class SwitchPort {
  readonly number: number;
  readonly name: string;
  readonly kind: PortKind;
  readonly bridge: number;
  readonly remote: string | undefined;
  readonly device: string | undefined;
  vlans: PortVlans;
  storm: StormLimit | undefined;
  stormConfig: StormConfig | undefined;
  group: number;
  /** The other side of a patch. */
  peer: SwitchPort | undefined;
  /** Absent: nothing leaves by it (patch). */
  sink: Sink | undefined;
  /** Absent where there is no device. */
  state: (() => DeviceState) | undefined;
  /** May several such ports hold one mbuf? A device that copies gives it back before its send returns; a zero-copy one has it for longer. */
  shares = true;
  /** It takes mirrors' packets, and no others. */
  isMirror = false;
  readonly line: Burst;
  txPackets = 0;
  /** Packets in line that a device did not take when it was last asked. */
  refused = 0;
  droppedBytes = 0;
  /** What the burst function does not count: a patch's packets, which flows are credited for, and those of a tunnel's device. */
  moreRxPackets = 0;
  moreRxBytes = 0;
  moreTxPackets = 0;
  moreTxBytes = 0;
  readonly #drops = new Float64Array(CAUSES.length);
  readonly #arena: Arena;
  readonly #record: number;

  constructor(arena: Arena, ports: number, number: number, { name, kind, bridge, vlans, group = -number, remote, device }: PortOptions) {
    this.number = number;
    this.name = name;
    this.kind = kind;
    this.bridge = bridge;
    this.remote = remote;
    this.device = device;
    this.vlans = vlans;
    this.group = group;
    this.#arena = arena;
    this.#record = ports + number * PORT_BYTES;
    this.line = new Burst(arena, LINE_SLOTS);
    arena.u32.fill(0, this.#record >>> 2, (this.#record + PORT_BYTES) >>> 2);
    arena.u32[(this.#record + PORT_LINE) >>> 2] = this.line.offset;
  }

  get waiting(): number {
    return this.#arena.u32[(this.#record + PORT_WAITING) >>> 2]!;
  }

  set waiting(count: number) {
    this.#arena.u32[(this.#record + PORT_WAITING) >>> 2] = count;
  }

  get rxPackets(): number {
    return this.#read(PORT_RX_PACKETS) + this.moreRxPackets;
  }

  get rxBytes(): number {
    return this.#read(PORT_RX_BYTES) + this.moreRxBytes;
  }

  /** Puts a packet of `bytes` into the line, which must have room. */
  put(handle: number, bytes: number): void {
    const { waiting } = this;
    this.line.handles[waiting] = handle;
    this.waiting = waiting + 1;
    const at = (this.#record + PORT_QUEUED_BYTES) >>> 2;
    const low = this.#arena.u32[at]! + bytes;
    this.#arena.u32[at] = low;
    if (low > 0xffffffff) this.#arena.u32[at + 1]!++;
  }

  get txPacketCount(): number {
    return this.txPackets + this.moreTxPackets;
  }

  /** Bytes that were sent: what was ever put in line, but for what was dropped from it or waits. */
  txBytes(waitingBytes: number): number {
    return this.#read(PORT_QUEUED_BYTES) - this.droppedBytes - waitingBytes + this.moreTxBytes;
  }

  drop(cause: Cause, packets = 1): void {
    this.#drops[CAUSES.indexOf(cause)]! += packets;
  }

  /** Those that are not 0. */
  drops(): Partial<Record<Cause, number>> {
    const found: Partial<Record<Cause, number>> = {};
    CAUSES.forEach((cause, index) => {
      if (this.#drops[index]! > 0) found[cause] = this.#drops[index]!;
    });
    return found;
  }

  close(): void {
    this.line.close();
    this.#arena.u32.fill(0, this.#record >>> 2, (this.#record + PORT_BYTES) >>> 2);
  }

  #read(field: number): number {
    const at = (this.#record + field) >>> 2;
    return this.#arena.u32[at]! + this.#arena.u32[at + 1]! * 2 ** 32;
  }
}
