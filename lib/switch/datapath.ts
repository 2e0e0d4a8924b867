import { randomBytes } from 'node:crypto';
import type { Memzone } from '../arena/directory.js';
import { ZONE_SWITCH } from '../arena/layout.js';
import { MAX_BURST, type Burst } from '../burst/burst.js';
import type { BurstFunctions } from '../burst/functions.js';
import { burstFunctions } from '../burst/module.js';
import { PollmodeError } from '../errors.js';
import { HASH_NONE } from '../lookup/hash_layout.js';
import * as mbufLayout from '../mbuf/layout.js';
import type { Mempool } from '../mbuf/mempool.js';
import type { ActionList, Cause } from './actions.js';
import type { Bridge } from './bridge.js';
import { Carrier } from './carrier.js';
import { Copies } from './copies.js';
import { FlowCache, NO_FLOW } from './flows.js';
import * as layout from './layout.js';
import { SwitchPort, type PortOptions } from './ports.js';
import { Translator, type Frame } from './translate.js';
import { UNTAGGED } from './vlan.js';

const { RX_VLAN_STRIPPED } = mbufLayout;
const { ETHERNET_BYTES, FLOW_BYTES, KEY_BYTES, KEY_TAGGED, LINE_SLOTS, PORT_BYTES, SWITCH_HEADER_BYTES, SWITCH_LONGEST, SWITCH_NOW, TAG_BYTES, TAG_KEEP } = layout;

/** Ports, a tunnel's remotes counted singly, and none with number 0. */
export const MOST_PORTS = 1024;
/** A flow that had no packet for so long, in milliseconds, goes; so long is a round over them all. */
const FLOW_IDLE = 10_000;
const ROUND = 1000;
/** Flows that are looked at between two bursts; more where the time between them is long. */
const STEP = 256;
/** Someone who comes back after so long sweeps at once, so that nothing too old is used. */
const LONG_AWAY = 5000;

/**
 * What a packet meets on its way: the cache in the burst function, the slow path behind it, and the lines in front of the
 * ports. Knows nothing of configurations and devices: `switch.ts` puts ports and bridges in.
 */
export class Datapath {
  readonly bridges = new Map<number, Bridge>();
  readonly ports: (SwitchPort | undefined)[] = [undefined];
  readonly flows: FlowCache;
  readonly copies: Copies;
  readonly carrier: Carrier;
  packets = 0;
  slow = 0;
  /** Milliseconds. */
  now: number;
  readonly #pool: Mempool;
  readonly #clock: () => number;
  readonly #burst: BurstFunctions;
  readonly #zone: Memzone;
  readonly #translator: Translator;
  readonly #frame: Frame = { destinationLow: 0, destinationHigh: 0, sourceLow: 0, sourceHigh: 0, tag: UNTAGGED };
  readonly #left: number;
  readonly #leftFlows: number;
  /** Of the packet that the slow path looks at. */
  readonly #key: number;
  readonly #portsAt: number;
  #roundAt: number;
  #sweeping = false;

  /** @param flows places of the cache @param clock milliseconds, never backwards */
  constructor(pool: Mempool, flows: number, clock: () => number) {
    const { arena } = pool;
    this.#pool = pool;
    this.#clock = clock;
    this.now = clock();
    this.#roundAt = this.now;
    this.#burst = burstFunctions(arena);
    const [portsAt, flowsAt] = [SWITCH_HEADER_BYTES, SWITCH_HEADER_BYTES + MOST_PORTS * PORT_BYTES];
    const vectors = flowsAt + flows * FLOW_BYTES;
    this.#zone = arena.reserve(`switch/${randomBytes(6).toString('hex')}`, vectors + MAX_BURST * (KEY_BYTES + 12) + KEY_BYTES, { align: 64, type: ZONE_SWITCH });
    const { offset } = this.#zone;
    this.#portsAt = offset + portsAt;
    const keys = offset + vectors;
    const values = keys + MAX_BURST * KEY_BYTES;
    this.#left = (values + MAX_BURST * 4) >>> 2;
    this.#leftFlows = this.#left + MAX_BURST;
    this.#key = (this.#leftFlows + MAX_BURST) * 4;
    for (const [field, value] of [
      [layout.SWITCH_TABLE, arena.table], [layout.SWITCH_FLOWS, offset + flowsAt], [layout.SWITCH_FLOW_COUNT, flows], [layout.SWITCH_PORTS, this.#portsAt],
      [layout.SWITCH_PORT_COUNT, MOST_PORTS], [layout.SWITCH_KEYS, keys], [layout.SWITCH_VALUES, values], [layout.SWITCH_LEFT, this.#left * 4],
      [layout.SWITCH_LEFT_FLOWS, this.#leftFlows * 4], [layout.SWITCH_KIND, layout.SWITCH_MAGIC],
    ] as const) this.#set(field, value);
    this.flows = new FlowCache(arena, offset, offset + flowsAt, flows, (list, packets, bytes) => this.#credit(list, packets, bytes));
    this.#set(layout.SWITCH_HASH, this.flows.table);
    this.copies = new Copies(pool);
    this.carrier = new Carrier(arena, pool.mbufs, this.copies, this.ports);
    this.#translator = new Translator(this.bridges, this.ports);
    this.#set(SWITCH_NOW, Math.floor(this.now) >>> 0);
  }

  /** Throws EOPTION when there are too many. */
  addPort(options: PortOptions): SwitchPort {
    let number = 1;
    while (this.ports[number] !== undefined) number++;
    if (number >= MOST_PORTS) throw tooManyPorts();
    return this.ports[number] = new SwitchPort(this.#pool.arena, this.#portsAt, number, options);
  }

  /** What is in its line is sent if it can be, else freed and counted. The flows must be made anew afterwards. */
  removePort(port: SwitchPort): void {
    if (port.kind === 'device' && port.waiting > 0) this.carrier.send(port);
    this.carrier.discardLine(port);
    for (const bridge of this.bridges.values()) bridge.fdb.forget(each => each === port.number);
    port.close();
    this.ports[port.number] = undefined;
  }

  /** What came in by a port, at most MAX_BURST: all of it is the switch's. */
  process(port: SwitchPort, burst: Burst, count: number): void {
    const { u32 } = this.#pool.arena;
    this.packets += count;
    const left = this.#burst.switchForward(this.#zone.offset, port.number, burst.offset, count);
    const { installed } = this.flows;
    for (let i = 0; i < left; i++) this.#look(port, u32[this.#left + i]!, u32[this.#leftFlows + i]!, installed);
    if (left > 0) this.copies.flush();
    if (u32[(this.#zone.offset + SWITCH_LONGEST) >>> 2]! > LINE_SLOTS / 2) this.carrier.sendAll();
  }

  /** Reads the clock, and does a part of what has to be done now and then. */
  tick(): void {
    const now = this.#clock();
    const away = now - this.now;
    this.now = now;
    this.#set(SWITCH_NOW, Math.floor(now) >>> 0);
    if (away > LONG_AWAY) this.sweep(now);
    else if (this.#sweeping || now - this.#roundAt >= ROUND) this.#sweepSome(Math.max(STEP, Math.ceil(this.flows.capacity * away / ROUND)));
  }

  /** A whole round: what the cache saw is learned again, flows that are idle and addresses that are too old go. */
  sweep(now: number): void {
    this.now = Math.max(this.now, now);
    this.#set(SWITCH_NOW, Math.floor(this.now) >>> 0);
    // From the first flow on: a round that is under way is finished first.
    if (this.#sweeping) this.#sweepSome(this.flows.capacity);
    this.#sweepSome(this.flows.capacity);
  }

  /** Ends with every packet of lines freed. */
  close(): void {
    for (const port of this.ports) if (port !== undefined) this.removePort(port);
    for (const { fdb } of this.bridges.values()) fdb.close();
    this.flows.close();
    this.carrier.close();
    this.copies.close();
    this.#pool.arena.release(this.#zone);
  }

  #sweepSome(flows: number): void {
    this.#sweeping = true;
    const now = Math.floor(this.now) >>> 0;
    const done = this.flows.sweep(now, FLOW_IDLE, flows, flow => this.#relearn(flow, (now - this.flows.stamp(flow)) >>> 0));
    if (!done) return;
    this.#sweeping = false;
    this.#roundAt = this.now;
    for (const { fdb } of this.bridges.values()) fdb.expire(this.now);
  }

  #relearn(flow: number, age: number): void {
    const [middle, last] = [this.flows.keyWord(flow, 1), this.flows.keyWord(flow, 2)];
    this.#translator.relearn(this.flows.list(flow), ((middle >>> 16) | (last << 16)) >>> 0, last >>> 16, this.now - age);
  }

  /**
   * A packet that the burst function left, with its flow if it has one. A flow that was put in since then, for a packet
   * before it in the burst, may stand in that one's place, or have made all lists anew.
   */
  #look(port: SwitchPort, handle: number, flow: number, installed: number): void {
    this.slow++;
    if (flow !== HASH_NONE && this.flows.installed === installed) return this.carrier.carry(this.flows.list(flow), handle, this.now);
    const cause = this.#readFrame(port, handle);
    if (cause !== undefined) {
      port.drop(cause);
      return this.copies.free(handle);
    }
    let known = this.flows.find(this.#key);
    if (known === NO_FLOW) known = this.#install(port);
    if (flow === HASH_NONE) this.flows.count1(known, this.#pool.mbufs.pktLen(handle)); // else the burst function has
    this.carrier.carry(this.flows.list(known), handle, this.now);
  }

  #install(port: SwitchPort): number {
    const list = this.#translator.translate(port, this.#frame, this.now);
    const only = list.outputs.length === 1 && list.drop === undefined && list.storm === undefined ? list.outputs[0]! : undefined;
    const vlan = list.crossings[0]?.vlan ?? 0;
    return only === undefined || only.snap > 0 ? this.flows.install(this.#key, list, vlan, 0, TAG_KEEP) : this.flows.install(this.#key, list, vlan, only.port, only.tag);
  }

  /** Writes the packet's key and addresses. Returns why it can have none. */
  #readFrame(port: SwitchPort, handle: number): Cause | undefined {
    const { mbufs, arena: { u32 } } = this.#pool;
    const { view } = mbufs;
    const length = mbufs.dataLen(handle);
    if (length < ETHERNET_BYTES) return 'runt';
    if ((mbufs.flags(handle) & RX_VLAN_STRIPPED) !== 0) return 'no_headroom'; // the burst function could not put the tag back
    const start = mbufs.data(handle);
    const isTagged = view.getUint16(start + 12) === 0x8100;
    if (isTagged && length < ETHERNET_BYTES + TAG_BYTES) return 'runt';
    if ((view.getUint8(start + 6) & 1) !== 0) return 'source_multicast';
    const tag = isTagged ? view.getUint16(start + 14) & 0xfff : UNTAGGED;
    const key = this.#key >>> 2;
    u32[key] = view.getUint32(start, true);
    u32[key + 1] = view.getUint32(start + 4, true);
    u32[key + 2] = view.getUint32(start + 8, true);
    u32[key + 3] = ((port.number << 16) | (isTagged ? KEY_TAGGED | tag : 0)) >>> 0;
    this.#frame.destinationLow = u32[key]!;
    this.#frame.destinationHigh = u32[key + 1]! & 0xffff;
    this.#frame.sourceLow = view.getUint32(start + 6, true);
    this.#frame.sourceHigh = view.getUint16(start + 10, true);
    this.#frame.tag = tag;
    return undefined;
  }

  #credit({ patches }: ActionList, packets: number, bytes: number): void {
    for (const number of patches) {
      const port = this.ports[number];
      if (port === undefined) continue;
      port.moreTxPackets += packets;
      port.moreTxBytes += bytes;
      if (port.peer === undefined) continue;
      port.peer.moreRxPackets += packets;
      port.peer.moreRxBytes += bytes;
    }
  }

  #set(field: number, value: number): void {
    this.#pool.arena.u32[(this.#zone.offset + field) >>> 2] = value;
  }
}

export function tooManyPorts(): PollmodeError {
  return new PollmodeError('EOPTION', `A switch has at most ${MOST_PORTS - 1} ports, a tunnel's remotes counted singly: leave some out.`);
}
