/**
 * The part of WebAssembly's JavaScript API that is used here. Its types come with the DOM's, which a Node.js program
 * need not load, so they are stated here. Source: WebAssembly JavaScript Interface (W3C), and the threads proposal.
 */

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
