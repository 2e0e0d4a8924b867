/** Frames that end where the memory does: who reads on is stopped by it, in WebAssembly with a trap, in a view with an error. */
import { wasm } from '../../lib/arena/webassembly.js';
import type { Arena } from '../../lib/arena/arena.js';
import { instantiate } from '../../lib/burst/module.js';
import { HEADER_SHIFT, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_NB_SEGS, MBUF_NEXT, MBUF_OL_FLAGS, MBUF_PACKET_TYPE, MBUF_PKT_LEN, MBUF_TX_OFFLOAD } from '../../lib/mbuf/layout.js';
import { Mbufs } from '../../lib/mbuf/mbufs.js';

const PAGES = 3;
const BUFFER = 4096;
const TABLE = 65536;
const HANDLE = (PAGES * 65536 - BUFFER) / 2048;
const VECTOR = 2048;
const TO = 4096;

/** What the burst functions find in one frame, as text to be compared. */
export type Edge = (bytes: Uint8Array) => string;

/** The frame's last byte is the memory's last. The same by `twin` is not stopped, but reads nothing there, and then says something else. */
export function edge(build: 'fast' | 'checking' | 'twin'): Edge {
  const memory = new wasm.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const functions = instantiate(memory, build);
  const [u8, u16, u32] = [new Uint8Array(memory.buffer), new Uint16Array(memory.buffer), new Uint32Array(memory.buffer)];
  const header = TABLE + (HANDLE << HEADER_SHIFT);
  return bytes => {
    u8.set(bytes, u8.length - bytes.length);
    u16[(header + MBUF_DATA_OFF) >>> 1] = BUFFER - bytes.length;
    u16[(header + MBUF_NB_SEGS) >>> 1] = 1;
    u16[(header + MBUF_DATA_LEN) >>> 1] = bytes.length;
    u32[(header + MBUF_PKT_LEN) >>> 2] = bytes.length;
    u32[(header + MBUF_NEXT) >>> 2] = 0;
    u32[(header + MBUF_OL_FLAGS) >>> 2] = 0;
    u32[VECTOR >>> 2] = HANDLE;
    functions.parse(TABLE, VECTOR, 1);
    const found = functions.tuples(TABLE, VECTOR, 1, TO);
    const bad = functions.checksumCheck(TABLE, VECTOR, 1);
    const flags = u32[(header + MBUF_OL_FLAGS) >>> 2];
    functions.checksumFill(TABLE, VECTOR, 1);
    const after = Buffer.from(u8.subarray(u8.length - bytes.length)).toString('hex');
    return [u32[(header + MBUF_PACKET_TYPE) >>> 2], u32[(header + MBUF_TX_OFFLOAD) >>> 2], found, bad, flags, Buffer.from(u8.subarray(TO, TO + 40)).toString('hex'), after].join(' ');
  };
}

/** A memory that only lets itself be read where the frame is. */
class Guarded extends DataView<SharedArrayBuffer> {
  from = 0;
  to = 0;

  override getUint8(at: number): number {
    return super.getUint8(this.#checked(at, 1));
  }

  override getUint16(at: number): number {
    return super.getUint16(this.#checked(at, 2));
  }

  override getUint32(at: number): number {
    return super.getUint32(this.#checked(at, 4));
  }

  #checked(at: number, bytes: number): number {
    if (!(at >= this.from && at + bytes <= this.to)) throw new RangeError(`read of ${bytes} bytes at ${at - this.from} of a frame of ${this.to - this.from}`);
    return at;
  }
}

/** Mbufs with one mbuf, whose view throws when it is read anywhere but in the frame. */
export function guardedMbufs(): { readonly mbufs: Mbufs; put(bytes: Uint8Array): number } {
  const buffer = new SharedArrayBuffer(PAGES * 65536);
  const arena = { buffer, table: TABLE, u8: new Uint8Array(buffer), u16: new Uint16Array(buffer), u32: new Uint32Array(buffer), f64: new Float64Array(buffer) };
  const mbufs = new Mbufs(arena as unknown as Arena);
  const view = new Guarded(buffer);
  (mbufs as { view: DataView }).view = view;
  const header = TABLE + (HANDLE << HEADER_SHIFT);
  return {
    mbufs,
    put(bytes) {
      [view.from, view.to] = [arena.u8.length - bytes.length, arena.u8.length];
      arena.u8.set(bytes, view.from);
      arena.u16[(header + MBUF_DATA_OFF) >>> 1] = BUFFER - bytes.length;
      arena.u16[(header + MBUF_NB_SEGS) >>> 1] = 1;
      arena.u16[(header + MBUF_DATA_LEN) >>> 1] = bytes.length;
      arena.u32[(header + MBUF_PKT_LEN) >>> 2] = bytes.length;
      return HANDLE;
    },
  };
}
