/** A host at 192.0.2.2 that echoes what TCP connections to its port 7 say (RFC 862): as little of RFC 9293 as Linux at the other end needs, on a wire that loses nothing. */
import type { Burst } from '../../../lib/burst/burst.js';
import { layout } from '../../../lib/index.js';
import { Chains } from '../../../lib/mbuf/chains.js';
import type { Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';
import { copyWhole } from '../../port/conformance/frames.js';
import { sum16 } from './udp.js';

const { MBUF_OL_FLAGS, MBUF_TSO_SEGSZ, MBUF_TX_OFFLOAD, TX_L3_LEN_SHIFT, TX_L4_LEN_SHIFT, TX_TCP_CKSUM, TX_TCP_SEG } = layout;
const [SYN, RST, PSH, ACK, FIN] = [2, 4, 8, 16, 1];
const HEADERS = 54;
const PORT = 7;
const MSS = 1460;

/** Of a received packet. */
interface Heard { readonly flags: number; readonly length: number }

export class EchoHost {
  /** Of every TCP packet with data that came. */
  readonly heard: Heard[] = [];
  /** Bytes of payload of each packet that was sent. */
  readonly sent: number[] = [];
  /** Checksums of what came that are not right by themselves. */
  wrong = 0;
  readonly #host: Host;
  readonly #port: Port;
  readonly #chains: Chains;
  readonly #one: Burst;
  readonly #burst: Burst;
  readonly #most: number;
  #next = 1000;
  #waiting: { head: Uint8Array; data: Uint8Array[] } | undefined;

  /** `most`: bytes of payload that go out in one packet; above an MSS the NIC is to cut it. */
  constructor(host: Host, port: Port, most: number) {
    this.#host = host;
    this.#port = port;
    this.#chains = new Chains(host.pool);
    this.#one = host.burst(1);
    this.#burst = host.burst(32);
    this.#most = most;
  }

  turn(): void {
    const { mbufs, pool } = this.#host;
    const got = this.#port.rx[0]!.rxBurst(this.#burst);
    for (const handle of this.#burst.handles.subarray(0, got)) this.#receive(copyWhole(mbufs, handle), mbufs.flags(handle));
    pool.free(this.#burst, 0, got);
    this.#say();
    this.#port.tx[0]!.txBurst(this.#one, 0);
  }

  close(): void {
    this.#chains.close();
  }

  #receive(frame: Uint8Array, flags: number): void {
    if (frame[12] !== 8 || frame[13] !== 0 || frame[23] !== 6 || frame[37] !== PORT) return;
    const length = (frame[16]! << 8) + frame[17]! - 20;
    const tcp = frame.subarray(34, 34 + length);
    const data = tcp.subarray((tcp[12]! >>> 4) * 4);
    if (data.length > 0) this.heard.push({ flags, length: data.length });
    if (sum16(Uint8Array.from([...frame.subarray(26, 34), 0, 6, length >>> 8, length & 255, ...tcp])) !== 0xffff) this.wrong++;
    if ((tcp[13]! & RST) !== 0) return;
    if ((tcp[13]! & SYN) !== 0) {
      this.#next = 1000;
      this.#answer(frame, SYN | ACK, 1, new Uint8Array(0), Uint8Array.of(2, 4, MSS >>> 8, MSS & 255));
      this.#next++;
    } else if (data.length > 0) {
      // One answer for all that came at once: it is longer than a frame then.
      this.#waiting = { head: frame.slice(0, HEADERS), data: [...this.#waiting?.data ?? [], data] };
      advance(this.#waiting.head, 38, data.length);
    }
    if ((tcp[13]! & FIN) !== 0) {
      this.#say();
      this.#answer(frame, FIN | ACK, data.length + 1, new Uint8Array(0));
      this.#next++;
    }
  }

  #say(): void {
    if (this.#waiting === undefined) return;
    const { head, data } = this.#waiting;
    this.#waiting = undefined;
    const all = Buffer.concat(data);
    for (let from = 0; from < all.length; from += this.#most) {
      const part = all.subarray(from, from + this.#most);
      this.#answer(head, PSH | ACK, 0, part);
      this.#next += part.length;
    }
  }

  /** `taken`: what the packet's number goes on by. Checksum and segments are the NIC's to do. */
  #answer(to: Uint8Array, flags: number, taken: number, data: Uint8Array, options = new Uint8Array(0)): void {
    const { pool, mbufs, arena } = this.#host;
    const bytes = new Uint8Array(HEADERS + options.length + data.length);
    const view = new DataView(bytes.buffer);
    const length = 20 + options.length + data.length;
    bytes.set([...to.subarray(6, 12), ...to.subarray(0, 6), 8, 0, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, ...to.subarray(30, 34), ...to.subarray(26, 30), ...to.subarray(36, 38), ...to.subarray(34, 36)]);
    view.setUint16(16, 20 + length);
    view.setUint16(24, ~sum16(bytes.subarray(14, 34)) & 0xffff);
    view.setUint32(38, this.#next);
    view.setUint32(42, (new DataView(to.buffer, to.byteOffset).getUint32(38) + taken) >>> 0);
    bytes.set([(5 + options.length / 4) << 4, flags, 0xff, 0xff], 46);
    bytes.set(options, HEADERS);
    bytes.set(data, HEADERS + options.length);
    view.setUint16(50, sum16(Uint8Array.from([...bytes.subarray(26, 34), 0, 6, length >>> 8, length & 255])));
    if (pool.alloc(this.#one, 1) === 0 || !this.#chains.copyIn(this.#one.handles[0]!, bytes)) throw new Error('no mbufs');
    const header = mbufs.header(this.#one.handles[0]!);
    const cut = data.length > MSS;
    arena.u32[(header + MBUF_OL_FLAGS) >>> 2] = TX_TCP_CKSUM | (cut ? TX_TCP_SEG : 0);
    arena.u32[(header + MBUF_TX_OFFLOAD) >>> 2] = 14 | 20 << TX_L3_LEN_SHIFT | (20 + options.length) << TX_L4_LEN_SHIFT;
    if (cut) arena.u16[(header + MBUF_TSO_SEGSZ) >>> 1] = MSS;
    if (data.length > 0) this.sent.push(data.length);
    if (this.#port.tx[0]!.txBurst(this.#one, 1) !== 1) throw new Error('the ring is full');
  }
}

/** A sequence number goes on. */
function advance(frame: Uint8Array, at: number, by: number): void {
  const view = new DataView(frame.buffer, frame.byteOffset);
  view.setUint32(at, (view.getUint32(at) + by) >>> 0);
}
