/** What a host at 192.0.2.2 answers: ARP requests (RFC 826) and pings (RFC 792), each in the mbuf that it came in. */
import type { Host } from '../../../lib/port/host.js';
import type { Port } from '../../../lib/port/port.js';

export const ADDRESS = '192.0.2.2';
const OURS = [192, 0, 2, 2];

export class Responder {
  readonly counts = { arp: 0, ping: 0, other: 0 };
  readonly #host: Host;
  readonly #port: Port;
  readonly #mac: Uint8Array;

  constructor(host: Host, port: Port, mac = port.mac!) {
    this.#host = host;
    this.#port = port;
    this.#mac = Uint8Array.from(mac.split(':'), pair => Number.parseInt(pair, 16));
  }

  /** Until the signal: sleeps on the event loop while there is nothing. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const burst of this.#port.rx[0]!.bursts({ signal })) {
      let answers = 0;
      for (let i = 0; i < burst.count; i++) {
        const handle = burst.handles[i]!;
        if (!this.#answer(this.#bytes(handle))) continue;
        burst.handles[i] = burst.handles[answers]!;
        burst.handles[answers++] = handle;
      }
      const sent = answers === 0 ? 0 : this.#port.tx[0]!.txBurst(burst, answers);
      this.#host.pool.free(burst, sent, burst.count);
    }
  }

  #bytes(handle: number): Uint8Array {
    const { mbufs } = this.#host;
    return mbufs.u8.subarray(mbufs.data(handle), mbufs.data(handle) + mbufs.dataLen(handle));
  }

  /** Turns a question into its answer, in place. */
  #answer(frame: Uint8Array): boolean {
    const isArp = frame[12] === 8 && frame[13] === 6 && frame[21] === 1 && same(frame, 38);
    const isPing = frame[12] === 8 && frame[13] === 0 && frame[23] === 1 && frame[34] === 8 && same(frame, 30);
    frame.copyWithin(0, 6, 12);
    frame.set(this.#mac, 6);
    if (isArp) {
      frame[21] = 2;
      frame.copyWithin(32, 22, 32);
      frame.set(this.#mac, 22);
      frame.set(OURS, 28);
      this.counts.arp++;
    } else if (isPing) {
      frame.copyWithin(30, 26, 30);
      frame.set(OURS, 26);
      frame[34] = 0;
      addToChecksum(frame, 36, 0x0800); // the type is 8 less
      this.counts.ping++;
    } else {
      this.counts.other++;
    }
    return isArp || isPing;
  }
}

function same(frame: Uint8Array, at: number): boolean {
  return OURS.every((byte, i) => frame[at + i] === byte);
}

/** RFC 1624: a checksum is a complement, so what the packet loses it gains. */
function addToChecksum(frame: Uint8Array, at: number, lost: number): void {
  const sum = (frame[at]! << 8) + frame[at + 1]! + lost;
  const folded = (sum & 0xffff) + (sum >>> 16);
  frame[at] = folded >>> 8;
  frame[at + 1] = folded & 0xff;
}
