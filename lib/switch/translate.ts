import type { ActionList, Cause, Crossing, Output, StormClass } from './actions.js';
import { inOrder } from './actions.js';
import type { Bridge } from './bridge.js';
import type { SwitchPort } from './ports.js';
import { RESERVED_VLAN, tagChange, UNTAGGED } from './vlan.js';

/** Bridges that one packet may go through, whatever the patch ports say. */
const MOST_HOPS = 16;

/** The addresses of a frame, as fdb.ts has them, and its C-tag. */
export interface Frame {
  destinationLow: number;
  destinationHigh: number;
  sourceLow: number;
  sourceHigh: number;
  tag: number;
}

/**
 * The slow path: what the bridges do with a frame, found out once for each flow. Follows patch ports, learns the source
 * on every bridge on the way (IEEE 802.1Q-2018, 8.7 the learning process, 8.6 the forwarding process).
 */
export class Translator {
  readonly #bridges: ReadonlyMap<number, Bridge>;
  readonly #ports: readonly (SwitchPort | undefined)[];
  #outputs: Output[] = [];
  #crossings: Crossing[] = [];
  #patches: number[] = [];
  #mirrored = new Set<string>();
  #limiters: number[] = [];
  #storm: StormClass | undefined;
  #drop: { cause: Cause; port: number } | undefined;
  #frame: Frame;

  constructor(bridges: ReadonlyMap<number, Bridge>, ports: readonly (SwitchPort | undefined)[]) {
    this.#bridges = bridges;
    this.#ports = ports;
    this.#frame = { destinationLow: 0, destinationHigh: 0, sourceLow: 0, sourceHigh: 0, tag: UNTAGGED };
  }

  translate(port: SwitchPort, frame: Frame, now: number): ActionList {
    this.#outputs = [];
    this.#crossings = [];
    this.#patches = [];
    this.#mirrored = new Set();
    this.#limiters = [];
    this.#storm = undefined;
    this.#drop = undefined;
    this.#frame = frame;
    this.#enter(port, frame.tag, now);
    const outputs = inOrder(this.#outputs);
    return { outputs, crossings: this.#crossings, patches: this.#patches, storm: this.#limiters.length > 0 ? this.#storm : undefined, limiters: this.#limiters, drop: this.#drop };
  }

  /** Learns again what a packet on this path teaches: so that addresses which only the cache sees do not age. */
  relearn(list: ActionList, low: number, high: number, now: number): void {
    for (const { bridge, port, vlan } of list.crossings) this.#bridges.get(bridge)?.fdb.learn(vlan, low, high, port, now);
  }

  #enter(port: SwitchPort, tag: number, now: number): void {
    const bridge = this.#bridges.get(port.bridge)!;
    const { destinationLow: low, destinationHigh: high, sourceLow, sourceHigh } = this.#frame;
    if (port.isMirror) return this.#end('mirror_only', port);
    if (tag === RESERVED_VLAN) return this.#end('reserved_vlan', port);
    const vlan = port.vlans.ingress(tag);
    if (vlan < 0) return this.#end('vlan_ingress', port);
    if (this.#crossings.length >= MOST_HOPS || this.#crossings.some(each => each.bridge === bridge.number && each.vlan === vlan)) return this.#end('loop', port);
    this.#mirror(bridge, port, tag, 'rx');
    if (isReserved(low, high)) return this.#end('reserved_address', port);
    this.#crossings.push({ bridge: bridge.number, port: port.number, vlan });
    bridge.fdb.learn(vlan, sourceLow, sourceHigh, port.number, now);
    const isGroup = (low & 1) !== 0;
    const known = isGroup ? 0 : bridge.fdb.lookup(vlan, low, high, now);
    if (known !== 0) return this.#toOne(bridge, port, this.#ports[known], vlan, now);
    this.#storm ??= !isGroup ? 'unknown' : low === 0xffffffff && high === 0xffff ? 'broadcast' : 'multicast';
    if (port.storm !== undefined) this.#limiters.push(port.number);
    let sent = 0;
    for (const out of bridge.ports) {
      if (out !== port && out.group !== port.group && this.#leave(bridge, out, vlan, now)) sent++;
    }
    if (sent === 0) this.#end('no_port', port);
  }

  #toOne(bridge: Bridge, port: SwitchPort, out: SwitchPort | undefined, vlan: number, now: number): void {
    if (out === undefined) this.#end('no_port', port);
    else if (out.group === port.group) this.#end('same_port', port);
    else if (!this.#leave(bridge, out, vlan, now)) this.#end('vlan_egress', port);
  }

  /** Returns whether frames of this VLAN leave by that port. */
  #leave(bridge: Bridge, out: SwitchPort, vlan: number, now: number): boolean {
    const tag = out.vlans.egress(vlan);
    if (out.isMirror || tag < UNTAGGED) return false;
    this.#mirror(bridge, out, tag, 'tx');
    if (out.kind !== 'patch') this.#outputs.push({ port: out.number, tag: tagChange(this.#frame.tag, tag), snap: 0 });
    else if (out.peer !== undefined) {
      this.#patches.push(out.number);
      this.#enter(out.peer, tag, now);
    }
    return true;
  }

  /** Once for each mirror, however many of its ports a packet passes. */
  #mirror(bridge: Bridge, port: SwitchPort, tag: number, direction: 'rx' | 'tx'): void {
    for (const mirror of bridge.mirrors) {
      const name = `${bridge.number}/${mirror.name}`;
      if (!mirror[direction].has(port.number) || this.#mirrored.has(name)) continue;
      this.#mirrored.add(name);
      this.#outputs.push({ port: mirror.to, tag: tagChange(this.#frame.tag, tag), snap: mirror.snap });
    }
  }

  #end(cause: Cause, port: SwitchPort): void {
    this.#drop ??= { cause, port: port.number };
  }
}

/** 01:80:C2:00:00:00 to 0F, which a C-VLAN bridge never passes on (802.1Q table 8-1). */
function isReserved(low: number, high: number): boolean {
  return low === 0x00c28001 && (high & 0xf0ff) === 0;
}
