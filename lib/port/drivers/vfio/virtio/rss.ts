/** Receive-side scaling of a virtio-net device: virtio 1.2, sections 5.1.4 (what it can) and 5.1.6.5.7.1 (VIRTIO_NET_CTRL_MQ_RSS_CONFIG). */
import { DEFAULT_KEY } from '../../../../rss/keys.js';
import { RSS_IPV4, RSS_IPV6, RSS_TCP_IPV4, RSS_TCP_IPV6, RSS_UDP_IPV4, RSS_UDP_IPV6 } from '../../../../rss/layout.js';
import { NicRss } from '../nic_rss.js';
import { NET_RSS_HASH_TYPES, NET_RSS_MAX_KEY, NET_RSS_MAX_TABLE } from './registers.js';
import type { DeviceConfig } from './transport.js';

/** 5.1.6.4.3.1: VIRTIO_NET_HASH_TYPE_*. Those of IPv6 with options in the hash are not taken: no other NIC here has them. */
const HASH_TYPES = new Map([[RSS_IPV4, 1], [RSS_TCP_IPV4, 2], [RSS_UDP_IPV4, 4], [RSS_IPV6, 8], [RSS_TCP_IPV6, 16], [RSS_UDP_IPV6, 32]]);
const KEY_BYTES = DEFAULT_KEY.length;
const MOST_ENTRIES = 128;
/** What is not hashed comes to it. */
const UNCLASSIFIED_QUEUE = 0;

export class VirtioRss extends NicRss {
  readonly #queues: number;
  readonly #send: (command: Uint8Array) => void;

  /** Undefined for a device whose key or table is too short, or that hashes nothing of ours. `send`: the command, waited for. */
  static of(name: string, queues: number, config: DeviceConfig, send: (command: Uint8Array) => void): VirtioRss | undefined {
    const entries = 2 ** Math.floor(Math.log2(Math.min(config.u16(NET_RSS_MAX_TABLE), MOST_ENTRIES)));
    const offered = config.u32(NET_RSS_HASH_TYPES);
    const canHash = [...HASH_TYPES].reduce((all, [type, bit]) => (offered & bit) !== 0 ? all | type : all, 0);
    if (config.u8(NET_RSS_MAX_KEY) < KEY_BYTES || entries < queues || canHash === 0) return undefined;
    return new VirtioRss(name, queues, entries, canHash, send);
  }

  private constructor(name: string, queues: number, entries: number, canHash: number, send: (command: Uint8Array) => void) {
    super({ name, queues, keyBytes: KEY_BYTES, entries, canHash });
    this.#queues = queues;
    this.#send = send;
  }

  /** struct virtio_net_rss_config; it also says how many queues there are. */
  override write(): void {
    const { reta, types } = this;
    const bytes = new Uint8Array(8 + 2 * reta.length + 3 + KEY_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, [...HASH_TYPES].reduce((bits, [type, bit]) => (types & type) !== 0 ? bits | bit : bits, 0), true);
    view.setUint16(4, reta.length - 1, true);
    view.setUint16(6, UNCLASSIFIED_QUEUE, true);
    reta.forEach((queue, i) => view.setUint16(8 + 2 * i, queue, true));
    const behind = 8 + 2 * reta.length;
    view.setUint16(behind, this.#queues, true);
    view.setUint8(behind + 2, KEY_BYTES);
    bytes.set(this.key, behind + 3);
    this.#send(bytes);
  }
}
