/**
 * The part of WebAssembly's JavaScript API that is used here. Its types come with the DOM's, which a Node.js program
 * need not load, so they are stated here. Source: WebAssembly JavaScript Interface (W3C), and the threads proposal.
 */
import { PollmodeError } from '../errors.js';
import { WASM_PAGE } from './layout.js';

/** A shared memory. A SharedArrayBuffer cannot be detached: views over it stay good for life. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

interface WasmApi {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => { readonly exports: object };
}

export const wasm: WasmApi = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;

/** Of so many pages, for good. Throws EARENAFULL. */
export function newMemory(pages: number): WasmMemory {
  try {
    return new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new PollmodeError('EARENAFULL', `No address space for an arena of ${pages * WASM_PAGE} bytes: ask for a smaller one, or raise this process's limit (ulimit -v).`, { cause });
  }
}
