/** The virtual functions of the lab's 82576, for the tests: under Linux's driver, or under ours in another process. */
import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { listLinks } from '../../../lib/kernel/link.js';
import { readDevice } from '../../../lib/kernel/pci.js';
import { bindToVfio, restore, setVirtualFunctions, virtualFunction } from '../../../lib/pci/bind.js';
import type { VirtualFunctionState } from '../../../lib/port/port.js';
import { igb } from '../devices.js';

/** The address that frames of the tests are for. */
export const FRAME_MAC = '02:00:00:00:00:0b';
export const TOKEN = '5ca1ab1e-0000-4000-8000-00000000cafe';
const SERVER = fileURLToPath(new URL('pf_server.js', import.meta.url));

/** Makes `count` functions under Linux's igb, each of them vfio-pci's. Returns their PCI addresses and the physical function's interface. */
export function underLinux(macs: readonly string[]): { readonly functions: string[]; readonly name: string } {
  if (readDevice(igb.nic).driver !== 'igb') restore(igb.nic, { force: true });
  setVirtualFunctions(igb.nic, 0, { force: true });
  setVirtualFunctions(igb.nic, macs.length, { force: true });
  const { name } = listLinks().find(link => link.mac === igb.mac)!;
  writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1\n'); // it would speak on the wire by itself
  run('ip', 'link', 'set', name, 'up');
  macs.forEach((mac, index) => { run('ip', 'link', 'set', name, 'vf', String(index), 'mac', mac); });
  const functions = macs.map((_, index) => virtualFunction(readDevice(igb.nic), index).address);
  for (const address of functions) bindToVfio(address, { force: true });
  return { functions, name };
}

/** Our physical function, in a process of its own: a virtual function's port waits for its answers. */
export class PfServer {
  readonly functions: readonly string[];
  readonly #child: ReturnType<typeof spawn>;
  readonly #lines: AsyncIterator<string>;

  private constructor(functions: readonly string[]) {
    this.functions = functions;
    this.#child = spawn(process.execPath, [SERVER, `vfio:${igb.nic},vf_token=${TOKEN}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(count: number): Promise<PfServer> {
    bindToVfio(igb.nic, { force: true });
    setVirtualFunctions(igb.nic, 0, { force: true });
    setVirtualFunctions(igb.nic, count, { force: true });
    const functions = Array.from({ length: count }, (_, index) => virtualFunction(readDevice(igb.nic), index).address);
    for (const address of functions) bindToVfio(address, { force: true });
    const server = new PfServer(functions);
    await server.#answer();
    return server;
  }

  /** Changes function `index`, or none for -1. */
  async set(index: number, change: { readonly mac?: string; readonly vlan?: number; readonly trust?: boolean } = {}): Promise<{ readonly states: VirtualFunctionState[]; readonly rx: number }> {
    this.#child.stdin!.write(`${JSON.stringify({ index, ...change })}\n`);
    return this.#answer();
  }

  async stop(): Promise<void> {
    const gone = new Promise(resolve => this.#child.once('close', resolve));
    this.#child.stdin!.end();
    await gone;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #answer(): Promise<{ readonly states: VirtualFunctionState[]; readonly rx: number }> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the physical function\'s process has ended');
    return JSON.parse(value as string) as { states: VirtualFunctionState[]; rx: number };
  }
}

export function run(program: string, ...words: string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`);
}
