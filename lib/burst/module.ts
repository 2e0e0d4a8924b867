import { readFileSync } from 'node:fs';
import type { Arena } from '../arena/arena.js';
import { PollmodeError } from '../errors.js';
import { MisuseReporter } from './checking.js';
import { copier } from './copier.js';
import type { BurstFunctions, BurstHooks } from './functions.js';
import { twins } from './twins.js';
import { wasm, type WasmMemory } from '../arena/webassembly.js';

/**
 * Which set of burst functions: `fast` is the WebAssembly module for this machine, `portable` the one for any machine
 * (the same, but on x86-64: assembly/publish.ts), `checking` the same sources with assertions and hooks (double free,
 * foreign handle, use after send), `twin` the plain TypeScript.
 */
export type BurstBuild = 'fast' | 'portable' | 'checking' | 'twin';

const PORTABLE = 'burst.wasm';
const FILES = { fast: process.arch === 'x64' ? 'burst_x64.wasm' : PORTABLE, portable: PORTABLE, checking: 'burst_checking.wasm' } as const;
const compiled = new Map<string, object>();
const sets = new WeakMap<Arena, BurstFunctions>();
const reporters = new WeakMap<Arena, MisuseReporter>();

/**
 * This thread's burst functions on an arena: made once, at set-up. POLLMODE_DEBUG=1 chooses the checking build and has
 * misuses reported, POLLMODE_BURST=twin takes the twins.
 */
export function burstFunctions(arena: Arena): BurstFunctions {
  let set = sets.get(arena);
  if (set === undefined) {
    const reporter = misuseReporter(arena);
    set = instantiate(arena.memory, chosenBuild(), reporter === undefined ? {} : { misuse: (code, handle, owner) => reporter.report(code, handle, owner) });
    if (reporter !== undefined) set = reporter.around(set);
    sets.set(arena, set);
  }
  return set;
}

/** Under POLLMODE_DEBUG=1, who tells of misuses in this thread; otherwise undefined. */
export function misuseReporter(arena: Arena): MisuseReporter | undefined {
  if (!debugging()) return undefined;
  let reporter = reporters.get(arena);
  if (reporter === undefined) {
    reporter = new MisuseReporter(arena);
    reporters.set(arena, reporter);
  }
  return reporter;
}

/** Which build the environment asks for. Throws EOPTION for a name that does not exist. */
export function chosenBuild(environment: NodeJS.ProcessEnv = process.env): BurstBuild {
  const asked = environment['POLLMODE_BURST'];
  if (asked === undefined || asked === '') return debugging(environment) ? 'checking' : 'fast';
  if (asked === 'fast' || asked === 'portable' || asked === 'checking' || asked === 'twin') return asked;
  throw new PollmodeError('EOPTION', `POLLMODE_BURST=${asked}: choose fast, portable, checking or twin, or leave it out.`);
}

export function debugging(environment: NodeJS.ProcessEnv = process.env): boolean {
  return environment['POLLMODE_DEBUG'] === '1';
}

/** A fresh set over a memory; for tests and benchmarks, which race the builds. */
export function instantiate(memory: WasmMemory, build: BurstBuild, hooks: BurstHooks = {}): BurstFunctions {
  if (build === 'twin') return twins(memory, hooks);
  const imports = { env: { memory }, pollmode: { fault: hooks.fault ?? nothing, misuse: hooks.misuse ?? nothing, copy: hooks.copy ?? copier(new Uint8Array(memory.buffer)) } };
  return new wasm.Instance(compile(FILES[build]), imports).exports as unknown as BurstFunctions;
}

function compile(file: string): object {
  let module = compiled.get(file);
  if (module === undefined) {
    module = new wasm.Module(readModule(file));
    compiled.set(file, module);
  }
  return module;
}

/** `dist/burst/` beside `dist/lib/burst/`, where this file stands when it runs. */
function readModule(file: string): Uint8Array<ArrayBuffer> {
  const url = new URL(`../../burst/${file}`, import.meta.url);
  try {
    return new Uint8Array(readFileSync(url));
  } catch (cause) {
    throw new PollmodeError('ENOTFOUND', `The burst module ${file} is not beside the library: in a source tree run \`npm run build\`; in an installed package, install it again.`, { cause });
  }
}

function nothing(): void {
  // a hook that nobody asked for
}
