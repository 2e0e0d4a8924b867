/** A real broker in a lab, and real clients without rights. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addonPath } from '../../lib/binding.js';
import { withNetns } from '../../lib/kernel/netns.js';

const PACKAGE = fileURLToPath(new URL('../../../', import.meta.url));

/** A user that is nobody's, so that other tests' locked memory does not count against it. */
export const NOBODY = 65534;

/** A directory that everybody can read, with what a client needs: the package may stand where only root can go. */
export class Stage {
  readonly path = mkdtempSync(join(tmpdir(), 'pollmode-broker-'));
  readonly #children: ChildProcess[] = [];

  constructor() {
    chmodSync(this.path, 0o755);
    for (const part of ['package.json', 'dist/lib', 'dist/burst', 'node_modules/node-gyp-build']) cpSync(join(PACKAGE, part), join(this.path, part), { recursive: true, dereference: true });
    const addon = join(this.path, 'build/Release/pollmode.node');
    mkdirSync(dirname(addon), { recursive: true });
    cpSync(addonPath()!, addon, { dereference: true });
    spawnSync('chmod', ['-R', 'a+rX', this.path]);
  }

  get socket(): string {
    return join(this.path, 'broker.sock');
  }

  /** Starts `pollmode broker` in a namespace; resolves when it says that it is there, or has ended. */
  async broker(netns: number, ...options: string[]): Promise<Talker> {
    return this.#start(netns, [process.execPath, join(PACKAGE, 'dist/lib/cli/main.js'), 'broker', this.socket, ...options]);
  }

  /** Starts a module in a process of user NOBODY with these capabilities and no others; in it, LIB is the URL of `lib`. */
  async client(code: string, capabilities: readonly string[] = [], netns?: number, prefix: readonly string[] = []): Promise<Talker> {
    return this.#start(netns, [...withoutRights(capabilities), ...prefix, process.execPath, '--input-type=module', '-e', `const LIB = ${JSON.stringify(`file://${this.path}/dist/lib/`)};\n${code}`]);
  }

  /** Ends what is running, and takes away what it left. */
  close(): void {
    for (const child of this.#children.splice(0)) child.kill('SIGKILL');
    rmSync(this.socket, { force: true });
  }

  remove(): void {
    this.close();
    rmSync(this.path, { recursive: true, force: true });
  }

  async #start(netns: number | undefined, [program, ...rest]: readonly string[]): Promise<Talker> {
    const make = (): ChildProcess => spawn(program!, rest, { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] } });
    // A child starts in the namespace of the thread that made it.
    const child = netns === undefined ? make() : withNetns(netns, make);
    this.#children.push(child);
    const talker = new Talker(child);
    await talker.line();
    return talker;
  }
}

/** setpriv(1) and its arguments. */
function withoutRights(capabilities: readonly string[]): string[] {
  const sets = ['-all', ...capabilities.map(name => `+${name}`)].join(',');
  return ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', `--inh-caps=${sets}`, `--ambient-caps=${sets}`, `--bounding-set=${sets}`, '--no-new-privs'];
}

/** A child that speaks in lines. */
export class Talker {
  readonly child: ChildProcess;
  /** All lines so far, of its standard output. */
  readonly lines: string[] = [];
  errors = '';
  readonly ended: Promise<number | string>;
  #waiting: (() => void)[] = [];
  #read = 0;
  #over = false;

  constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', line => { this.lines.push(line); this.#wake(); });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.errors += text; this.#wake(); });
    this.ended = new Promise(resolve => child.once('close', (code, signal) => {
      this.#over = true;
      this.#wake();
      resolve(code ?? signal ?? 'unknown');
    }));
  }

  /** The next line; an empty one when it has ended. */
  async line(): Promise<string> {
    while (this.lines.length === this.#read && !this.#over) await this.#change();
    return this.lines[this.#read++] ?? '';
  }

  /** The last line that was read, or the next where none was, as JSON. */
  get said(): Record<string, unknown> {
    const last = this.lines[this.#read - 1];
    if (last === undefined) throw new Error(`it said nothing: ${this.errors}`);
    return JSON.parse(last) as Record<string, unknown>;
  }

  /** The next line as JSON. */
  async next(): Promise<Record<string, unknown>> {
    await this.line();
    return this.said;
  }

  /** Resolves when its standard error has the text. */
  async complained(text: string): Promise<void> {
    while (!this.errors.includes(text) && !this.#over) await this.#change();
    if (!this.errors.includes(text)) throw new Error(`it never said ${text}: ${this.errors}`);
  }

  tell(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  #change(): Promise<void> {
    return new Promise(resolve => { this.#waiting.push(resolve); });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A client that opens each of the ports, closes it at once, and says what came of each. */
export function tries(devices: readonly string[]): string {
  return `
const { open, PollmodeError } = await import(LIB + 'index.js');
for (const device of ${JSON.stringify(devices)}) {
  let said = { mode: '' };
  try {
    const host = open([device], { mbufs: 1024 });
    said.mode = host.ports[0].capabilities.mode;
    host.close();
  } catch (error) {
    if (!(error instanceof PollmodeError)) throw error;
    said = { code: error.code, message: error.message };
  }
  process.stdout.write(JSON.stringify(said) + '\\n');
}
process.exit(0);
`;
}

/**
 * A client that opens a port and says so, or why not; then sends each frame back with its addresses
 * exchanged, until it is told something: `stats` is answered, `close` ends it with an audit of its pool.
 */
export function echo(device: string, mbufs = 1024): string {
  return `
const { open, swapMacs, PollmodeError } = await import(LIB + 'index.js');
const { emptyStats } = await import(LIB + 'port/port.js');
const { readFileSync } = await import('node:fs');
const say = value => process.stdout.write(JSON.stringify(value) + '\\n');
const [, capabilities] = /^CapEff:\\s*(\\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'));
let host;
try {
  host = open([${JSON.stringify(device)}], { mbufs: ${mbufs} });
} catch (error) {
  if (!(error instanceof PollmodeError)) throw error;
  say({ code: error.code, message: error.message });
  process.exit(0);
}
const [port] = host.ports;
const { mode, mtu } = port.capabilities;
say({ mode, mtu, mac: port.mac, uid: process.getuid(), capabilities });
const stop = new AbortController();
process.stdin.setEncoding('utf8').on('data', text => {
  const stats = emptyStats();
  port.readStats(stats);
  if (text.includes('stats')) say(stats);
  if (text.includes('close')) stop.abort();
});
for await (const burst of port.rx[0].bursts({ signal: stop.signal })) {
  swapMacs(host.mbufs, burst, burst.count);
  const sent = port.tx[0].txBurst(burst, burst.count);
  host.pool.free(burst, sent, burst.count);
}
host.close();
say(host.pool.audit());
process.exit(0);
`;
}
