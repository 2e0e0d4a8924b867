/**
 * An 82576 with virtual functions (datasheet, 7.10 and 4.5.11): each has a pool of filters and queues of its own; the
 * physical function has the pool behind theirs, sets what every pool receives, and answers their mailboxes. What a
 * function writes is a guest's word: it is copied once, checked, and refused by default.
 */
import { randomBytes } from 'node:crypto';
import { PollmodeError } from '../../../../errors.js';
import { macBytes, macText } from '../../../../kernel/address.js';
import { checkVlan, multicastBit, groupBytes, TABLE_WORDS } from '../intel/filters.js';
import type { VirtualFunctions, VirtualFunctionState } from '../../../port.js';
import type { Registers } from '../pci/registers.js';
import {
  MAILBOX_STRIDE, MAILBOX_WORDS, MBVFICR_ACKS, MBVFICR_REQUESTS, MESSAGE_ACK, MESSAGE_CTS, MESSAGE_INFO_SHIFT, MESSAGE_KIND, MESSAGE_NACK,
  MULTICAST_MOST, P2V_ACK, P2V_PFU, P2V_RVFU, P2V_STS, PF_CONTROL, VF_RESET, VF_SET_LPE, VF_SET_MAC, VF_SET_MULTICAST, VF_SET_PROMISC, VF_SET_VLAN,
} from './mailbox.js';
import {
  CTRL_EXT_PFRSTD, DTXSWC_LOOPBACK, DTXSWC_VLAN_SHIFT, RAH_AV, RAH_POOL_SHIFT, RCTL_VFE, VLVF_COUNT, VLVF_ENABLE, VLVF_POOL_SHIFT,
  VMOLR_ALL_MULTICAST, VMOLR_BROADCAST, VMOLR_LONG, VMOLR_MULTICAST_TABLE, VMOLR_STRIP_FCS, VMOLR_STRIP_VLAN, VMOLR_UNICAST_TABLE,
  VMOLR_UNTAGGED, VMVIR_ALWAYS, VT_CTL_DEFAULT_POOL_SHIFT, VT_CTL_REPLICATE, type RegisterName,
} from './registers.js';

/** With 8 functions none would be left for the physical one. */
export const MOST_FUNCTIONS = 7;
/** Receive addresses; a function's is counted from the last. */
const ADDRESSES = 16;
const FRAME_MIN = 64;
const FRAME_MAX = 9216;
const USUAL_FRAME = 1522;
/** How long the buffer is waited for; a function that holds it longer has died, or means no good. */
const BUFFER_TRIES = 10;

/** What one pool is to receive. */
interface Pool {
  mac: string;
  vlan: number;
  trust: boolean;
  ready: boolean;
  /** Bytes of the longest frame, with FCS. */
  longest: number;
  promiscuous: boolean;
  allMulticast: boolean;
  stripVlan: boolean;
  /** Bits of the multicast table. */
  multicast: readonly number[];
  vlans: Set<number>;
  messages: number;
  refused: number;
}

export class Pools implements VirtualFunctions {
  readonly count: number;
  readonly #registers: Registers<RegisterName>;
  readonly #name: string;
  /** The functions', then the physical function's own. */
  readonly #pools: readonly Pool[];

  constructor(name: string, registers: Registers<RegisterName>, count: number, mac: string) {
    if (count > MOST_FUNCTIONS) throw new PollmodeError('EOPTION', `${name} has ${count} virtual functions, and with more than ${MOST_FUNCTIONS} it has no queue of its own left: make fewer (pollmode bind --vfs).`);
    this.#name = name;
    this.#registers = registers;
    this.count = count;
    this.#pools = Array.from({ length: count + 1 }, (_, index) => ({
      mac: index === count ? mac : someAddress(), vlan: 0, trust: index === count, ready: index === count, longest: USUAL_FRAME, promiscuous: false, allMulticast: false,
      stripVlan: false, multicast: [], vlans: new Set<number>(), messages: 0, refused: 0,
    }));
  }

  /** 4.5.11: pools on, everything refused that has not been asked for, and the functions may come. */
  start(own: { readonly longest: number; readonly promiscuous: boolean; readonly stripVlan: boolean }): void {
    const registers = this.#registers;
    Object.assign(this.#own, own);
    registers.write('VT_CTL', VT_CTL_REPLICATE | this.count << VT_CTL_DEFAULT_POOL_SHIFT);
    registers.write('RPLOLR', VMOLR_STRIP_FCS);
    registers.set('RCTL', RCTL_VFE);
    // A tag is looked up in both tables; the second says whose it is.
    for (let word = 0; word < TABLE_WORDS; word++) registers.write('VFTA', 0xffffffff, 4 * word);
    registers.write('QDE', 0xff);
    const functions = (1 << this.count) - 1;
    registers.write('DTXSWC', (DTXSWC_LOOPBACK | functions | functions << DTXSWC_VLAN_SHIFT) >>> 0);
    registers.write('VFRE', 1 << this.count);
    registers.write('VFTE', 1 << this.count);
    registers.write('VFLRE', 0xff);
    registers.write('MBVFICR', MBVFICR_REQUESTS | MBVFICR_ACKS);
    this.#pools.forEach((_, index) => { this.#apply(index); });
    this.#writeTables();
    registers.set('CTRL_EXT', CTRL_EXT_PFRSTD);
  }

  set(index: number, { mac, vlan, trust }: { readonly mac?: string; readonly vlan?: number; readonly trust?: boolean }): void {
    const pool = this.#function(index);
    if (mac !== undefined && (macBytes(mac)[0]! & 1) !== 0) throw new PollmodeError('EOPTION', `${mac} is a group's address: give a function one of its own.`);
    if (vlan !== undefined) checkVlan(vlan);
    Object.assign(pool, { ...(mac === undefined ? {} : { mac }), ...(vlan === undefined ? {} : { vlan }), ...(trust === undefined ? {} : { trust }) });
    if (!pool.trust) pool.promiscuous = false;
    this.#apply(index);
    this.#writeTables();
  }

  read(index: number): VirtualFunctionState {
    const { mac, vlan, trust, ready, vlans, messages, refused } = this.#function(index);
    return { mac, vlan, trust, ready, vlans: [...vlans], messages, refused };
  }

  serve(): number {
    const registers = this.#registers;
    const gone = registers.read('VFLRE');
    const asked = registers.read('MBVFICR');
    if (asked === 0xffffffff) return 0; // the device has gone
    for (let index = 0; index < this.count; index++) if ((gone & 1 << index) !== 0) this.#forget(index);
    if (gone !== 0) registers.write('VFLRE', gone);
    if ((asked & MBVFICR_ACKS) !== 0) registers.write('MBVFICR', asked & MBVFICR_ACKS);
    let served = 0;
    for (let index = 0; index < this.count; index++) {
      if ((asked & 1 << index) === 0) continue;
      registers.write('MBVFICR', 1 << index);
      this.#answer(index);
      served++;
    }
    return served;
  }

  /** Tells every function that says it is there to look again: at the link. */
  tell(): void {
    for (let index = 0; index < this.count; index++) if (this.#pools[index]!.ready) this.#send(index, [PF_CONTROL | MESSAGE_CTS]);
  }

  /** The physical function's own pool. */
  ownPromiscuous(on: boolean): void {
    this.#own.promiscuous = on;
    this.#apply(this.count);
    this.#writeTables();
  }

  ownMulticast(groups: readonly string[]): void {
    this.#own.multicast = groups.map(group => multicastBit(groupBytes(group)));
    this.#writeTables();
  }

  ownVlans(ids: readonly number[]): void {
    this.#own.vlans = this.#roomFor(ids.map(checkVlan), this.#own);
    this.#writeTables();
  }

  get #own(): Pool {
    return this.#pools[this.count]!;
  }

  #function(index: number): Pool {
    const pool = index < this.count ? this.#pools[index] : undefined;
    if (pool === undefined) throw new PollmodeError('EOPTION', `${this.#name}: there is no virtual function ${String(index)} of ${this.count}: count from 0.`);
    return pool;
  }

  /** A function that was reset asks for everything anew. */
  #forget(index: number): void {
    const pool = this.#pools[index]!;
    Object.assign(pool, { ready: false, longest: USUAL_FRAME, promiscuous: false, allMulticast: false, multicast: [], vlans: new Set<number>() });
    this.#allow(index, false);
    this.#apply(index);
    this.#writeTables();
  }

  #allow(index: number, on: boolean): void {
    for (const register of ['VFRE', 'VFTE'] as const) {
      if (on) this.#registers.set(register, 1 << index);
      else this.#registers.clear(register, 1 << index);
    }
  }

  #answer(index: number): void {
    const message = this.#take(index);
    const pool = this.#pools[index]!;
    pool.messages++;
    if (message === undefined) return void pool.refused++;
    const kind = message[0]! & MESSAGE_KIND;
    if (kind === VF_RESET) {
      // It says so after its reset: what is still to be seen of that is over.
      this.#registers.write('VFLRE', 1 << index);
      this.#forget(index);
      pool.ready = true;
      this.#allow(index, true);
      const mac = macBytes(pool.mac);
      const word = (at: number): number => (mac[at]! | mac[at + 1]! << 8 | (mac[at + 2] ?? 0) << 16 | (mac[at + 3] ?? 0) << 24) >>> 0;
      this.#send(index, [(VF_RESET | MESSAGE_ACK) >>> 0, word(0), word(4)]);
      return;
    }
    const good = pool.ready && this.#obey(pool, kind, message);
    if (!good) pool.refused++;
    this.#apply(index);
    this.#writeTables();
    this.#send(index, [(message[0]! & 0xffffff | (good ? MESSAGE_ACK : MESSAGE_NACK) | MESSAGE_CTS) >>> 0]);
  }

  /** Does what the message says, as far as the function may. Returns whether it did. */
  #obey(pool: Pool, kind: number, message: readonly number[]): boolean {
    const info = (message[0]! >>> MESSAGE_INFO_SHIFT) & 0xff;
    switch (kind) {
      case VF_SET_LPE:
        if (message[1]! < FRAME_MIN || message[1]! > FRAME_MAX) return false;
        pool.longest = message[1]!;
        return true;
      case VF_SET_MULTICAST:
        if (info > MULTICAST_MOST) return false;
        pool.multicast = Array.from({ length: info }, (_, i) => (message[1 + (i >> 1)]! >>> 16 * (i & 1)) & 0xfff);
        return true;
      case VF_SET_VLAN: return this.#obeyVlan(pool, message[1]! & 0xfff, info !== 0);
      case VF_SET_PROMISC:
        if ((info & 1) !== 0 && !pool.trust) return false;
        Object.assign(pool, { promiscuous: (info & 1) !== 0, allMulticast: (info & 2) !== 0 });
        return true;
      case VF_SET_MAC: {
        const mac = macText(Uint8Array.of(message[1]!, message[1]! >>> 8, message[1]! >>> 16, message[1]! >>> 24, message[2]!, message[2]! >>> 8));
        if (mac !== pool.mac && (!pool.trust || (message[1]! & 1) !== 0)) return false;
        pool.mac = mac;
        return true;
      }
      default: return false;
    }
  }

  #obeyVlan(pool: Pool, id: number, add: boolean): boolean {
    if (pool.vlan !== 0 || id === 0xfff) return false;
    if (!add) return pool.vlans.delete(id) || true;
    const all = new Set(this.#pools.flatMap(each => [...each.vlans, ...(each.vlan === 0 ? [] : [each.vlan])]));
    if (!all.has(id) && all.size >= VLVF_COUNT) return false;
    pool.vlans.add(id);
    return true;
  }

  /** Throws EOPTION: the table of VLANs has room for 32 of all pools together. */
  #roomFor(ids: readonly number[], mine: Pool): Set<number> {
    const all = new Set([...ids, ...this.#pools.filter(each => each !== mine).flatMap(each => [...each.vlans, ...(each.vlan === 0 ? [] : [each.vlan])])]);
    if (all.size > VLVF_COUNT) throw new PollmodeError('EOPTION', `${this.#name}: with virtual functions it knows ${VLVF_COUNT} VLANs, of all of them together: ask for fewer.`);
    return new Set(ids);
  }

  /** A pool's own registers: address, what it receives, and its tag. */
  #apply(index: number): void {
    const registers = this.#registers;
    const pool = this.#pools[index]!;
    const isOwn = index === this.count;
    const at = 8 * (isOwn ? 0 : ADDRESSES - 1 - index);
    const mac = macBytes(pool.mac);
    registers.write('RAL', (mac[0]! | mac[1]! << 8 | mac[2]! << 16 | mac[3]! << 24) >>> 0, at);
    registers.write('RAH', (mac[4]! | mac[5]! << 8 | 1 << RAH_POOL_SHIFT + index | (pool.ready ? RAH_AV : 0)) >>> 0, at);
    const filters = VMOLR_BROADCAST | VMOLR_MULTICAST_TABLE | (pool.promiscuous ? VMOLR_UNICAST_TABLE | VMOLR_ALL_MULTICAST : 0) | (pool.allMulticast ? VMOLR_ALL_MULTICAST : 0);
    const tags = pool.vlan === 0 ? VMOLR_UNTAGGED | (pool.stripVlan ? VMOLR_STRIP_VLAN : 0) : VMOLR_STRIP_VLAN;
    registers.write('VMOLR', (VMOLR_STRIP_FCS | VMOLR_LONG | pool.longest | filters | tags) >>> 0, 4 * index);
    registers.write('VMVIR', pool.vlan === 0 ? 0 : VMVIR_ALWAYS | pool.vlan, 4 * index);
  }

  /** What all pools share: groups, and who is in which VLAN. */
  #writeTables(): void {
    const groups = new Uint32Array(TABLE_WORDS);
    const members = new Map<number, number>();
    this.#pools.forEach((pool, index) => {
      for (const bit of pool.multicast) groups[bit >>> 5]! |= 1 << (bit & 31);
      for (const id of pool.vlan === 0 ? pool.vlans : [pool.vlan]) members.set(id, (members.get(id) ?? 0) | 1 << index);
    });
    // Unicast for nobody: all of it while some pool wants it, and VMOLR says which.
    const strays = this.#pools.some(({ promiscuous }) => promiscuous) ? 0xffffffff : 0;
    groups.forEach((bits, word) => {
      this.#registers.write('MTA', bits, 4 * word);
      this.#registers.write('UTA', strays, 4 * word);
    });
    const rows = [...members];
    for (let row = 0; row < VLVF_COUNT; row++) {
      const [id, pools] = rows[row] ?? [0, 0];
      this.#registers.write('VLVF', pools === 0 ? 0 : (VLVF_ENABLE | pools << VLVF_POOL_SHIFT | id) >>> 0, 4 * row);
    }
  }

  /** Copies the message, and says that it was taken. Undefined when the function does not let go of the buffer. */
  #take(index: number): number[] | undefined {
    if (!this.#takeBuffer(index)) return undefined;
    const message = Array.from({ length: MAILBOX_WORDS }, (_, i) => this.#registers.read('VMBMEM', index * MAILBOX_STRIDE + 4 * i));
    this.#registers.write('P2VMAILBOX', P2V_ACK, 4 * index);
    return message;
  }

  #send(index: number, message: readonly number[]): void {
    if (!this.#takeBuffer(index)) return void this.#pools[index]!.refused++;
    message.forEach((word, i) => { this.#registers.write('VMBMEM', word, index * MAILBOX_STRIDE + 4 * i); });
    this.#registers.write('P2VMAILBOX', P2V_STS, 4 * index);
  }

  /** Takes the buffer; from a function that keeps it by force in the end. */
  #takeBuffer(index: number): boolean {
    for (let tries = 0; tries < BUFFER_TRIES; tries++) {
      this.#registers.write('P2VMAILBOX', P2V_PFU, 4 * index);
      if ((this.#registers.read('P2VMAILBOX', 4 * index) & P2V_PFU) !== 0) return true;
      this.#registers.pause(1);
    }
    this.#registers.write('P2VMAILBOX', P2V_RVFU, 4 * index);
    return false;
  }
}

/** IEEE 802-2014 section 8.2.1: of one station, given by whoever runs it. */
function someAddress(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 2;
  return macText(bytes);
}
