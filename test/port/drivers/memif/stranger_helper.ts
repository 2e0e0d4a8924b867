/** A client that is nobody's library: it says what it is told to say, with the descriptors that it is told to send. */
import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { binding } from '../../../../lib/binding.js';
import { MSG_DONTWAIT } from '../../../../lib/kernel/constants.js';
import { seqpacketSocket, unixAddress } from '../../../../lib/kernel/unix.js';
import { MEMIF_COOKIE } from '../../../../lib/port/drivers/memif/layout.js';
import { MEMIF_VERSION, MESSAGE_BYTES, readMessage, writeMessage, type Message } from '../../../../lib/port/drivers/memif/messages.js';

export interface Said { readonly bytes: Uint8Array; readonly fds: readonly number[] }

export const REGION_BYTES = 1 << 20;
export const LOG2_RING = 4;
/** Where its rings are in the region: to the server and back. */
export const RINGS = [0, 4096] as const;

/** asm-generic/fcntl.h, with O_DIRECTORY: a file without a name. */
const O_TMPFILE = 0o20200000;

export function said(message: Message, fds: readonly number[] = []): Said {
  return { bytes: writeMessage(message), fds };
}

/** Files that a client has: its memory, with two rings in it, and their eventfds. The memory's file is not sealed, so it can be cut. */
export class ClientFiles {
  readonly memory = openSync(tmpdir(), O_TMPFILE | constants.O_RDWR);
  readonly events = [0, 1].map(() => binding().eventfd(0, 0x800));

  constructor() {
    ftruncateSync(this.memory, REGION_BYTES);
    for (const ring of RINGS) writeSync(this.memory, new Uint8Array(Uint32Array.of(MEMIF_COOKIE).buffer), 0, 4, ring);
  }

  close(): void {
    closeSync(this.memory);
    for (const fd of this.events) binding().close(fd);
  }
}

/** All that a client says until its rings run. */
export function handshake({ memory, events }: ClientFiles, log2Size = LOG2_RING): Said[] {
  return [
    said({ kind: 'init', version: MEMIF_VERSION, id: 0, mode: 0, secret: '', name: 'stranger' }),
    said({ kind: 'addRegion', index: 0, bytes: BigInt(REGION_BYTES) }, [memory]),
    ...RINGS.map((offset, i) => said({ kind: 'addRing', toServer: i === 0, index: 0, region: 0, offset, log2Size, privateHeader: 0 }, [events[i]!])),
    said({ kind: 'connect', name: 'stranger0' }),
  ];
}

export class Stranger {
  readonly fd = seqpacketSocket();
  readonly #files = new ClientFiles();

  constructor(path: string) {
    const result = binding().connect(this.fd, unixAddress(path));
    if (result < 0) throw new Error(`connect: ${result}`);
  }

  get memory(): number {
    return this.#files.memory;
  }

  say({ bytes, fds }: Said): number {
    return binding().sendFds(this.fd, bytes, Int32Array.from(fds), MSG_DONTWAIT);
  }

  /** The next message; undefined for none. Its descriptors are closed. */
  hear(): Message | undefined {
    const [into, fds] = [new Uint8Array(MESSAGE_BYTES), new Int32Array(16)];
    const got = binding().recvFds(this.fd, into, fds, MSG_DONTWAIT);
    for (const fd of fds) if (got >= 0 && fd >= 0) binding().close(fd);
    return got === MESSAGE_BYTES ? readMessage(into) : undefined;
  }

  /** The whole handshake; the port has its turns by its timer. */
  async connect(): Promise<void> {
    for (const each of handshake(this.#files)) {
      this.say(each);
      for (let i = 0; i < 400 && this.hear() === undefined; i++) await sleep(2);
    }
  }

  close(): void {
    binding().close(this.fd);
    this.#files.close();
  }
}
