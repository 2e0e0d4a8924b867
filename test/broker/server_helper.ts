/** Servers at a Unix socket that say what a test wants said: in a process of their own, since a client waits with its thread blocked. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withNetns } from '../../lib/kernel/netns.js';
import { startChild } from '../native/child.js';
import { Talker } from './broker_helper.js';

/** What the server does once a request has come. */
export interface Step {
  readonly text?: string;
  /** Instead of a text. */
  readonly bytes?: readonly number[];
  /** Descriptors beside it. `program` is a BPF program whose type has an XSKMAP's number. */
  readonly fds?: readonly ('xdp' | 'unix' | 'file' | 'xskmap' | 'array' | 'program')[];
  readonly close?: boolean;
  /** Says nothing, and stays. */
  readonly sleep?: boolean;
}

/** Goes through a list of steps with each that connects: the first list with the first. It speaks no protocol. */
export class FakeServer {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'pollmode-server-'));
  readonly #talker: Talker;

  private constructor(netns: number, lists: readonly (readonly Step[])[]) {
    this.path = join(this.#directory, 'socket');
    this.#talker = new Talker(withNetns(netns, () => startChild(script(this.path, lists))));
  }

  /** In a network namespace: its AF_XDP sockets are of that. */
  static async start(netns: number, lists: readonly (readonly Step[])[]): Promise<FakeServer> {
    const server = new FakeServer(netns, lists);
    await server.#talker.line();
    return server;
  }

  async close(): Promise<void> {
    this.#talker.child.kill('SIGKILL');
    await this.#talker.ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function script(path: string, lists: readonly (readonly Step[])[]): string {
  return `
const { binding } = await import(LIB + 'binding.js');
const { unixAddress } = await import(LIB + 'kernel/unix.js');
const { createMap, loadProgram } = await import(LIB + 'kernel/bpf.js');
const { R0, assemble, exit, mov } = await import(LIB + 'kernel/instructions.js');
const b = binding();
const make = {
  xdp: () => b.socket(44, 3, 0),
  unix: () => b.socket(1, 5, 0),
  file: () => b.open('/dev/null', 0),
  xskmap: () => createMap({ type: 17, keySize: 4, valueSize: 4, maxEntries: 4, name: 'x' }).fd,
  array: () => createMap({ type: 2, keySize: 4, valueSize: 4, maxEntries: 4, name: 'x' }).fd,
  program: () => loadProgram({ type: 17, instructions: assemble([mov(R0, 0), exit()]) }),
};
const listener = b.socket(1, 5, 0);
if (b.bind(listener, unixAddress(${JSON.stringify(path)})) < 0 || b.listen(listener, 4) < 0) throw new Error('no socket');
console.log('ready');
for (const steps of ${JSON.stringify(lists)}) {
  const client = b.accept(listener, 0);
  for (const { text, bytes, fds = [], close, sleep } of steps) {
    const got = b.recvFds(client, new Uint8Array(4096), new Int32Array(1), 0);
    if (got <= 0 || close) break;
    if (sleep) {
      b.poll(Int32Array.of(client, 1), 15000);
      break;
    }
    const made = Int32Array.from(fds, name => make[name]());
    b.sendFds(client, bytes === undefined ? new TextEncoder().encode(text) : Uint8Array.from(bytes), made, 0);
    for (const fd of new Set(made)) b.close(fd);
  }
  b.close(client);
}
`;
}
