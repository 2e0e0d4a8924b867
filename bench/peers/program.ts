import { spawn, type ChildProcess } from 'node:child_process';
import { withNetns } from '../../lib/kernel/netns.js';

export interface ProgramOptions {
  /** Descriptor of the network namespace that it lives in: a child starts in its parent thread's. */
  readonly netns?: number;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A child process whose output is kept, for those who wait for a line of it. */
export class Program {
  readonly name: string;
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  #output = '';
  #errors = '';
  #ended = false;
  #heard: () => void = () => undefined;

  constructor(command: string, args: readonly string[], { netns, environment }: ProgramOptions = {}) {
    this.name = command;
    const start = (): ChildProcess => spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    this.#child = netns === undefined ? start() : withNetns(netns, start);
    this.#child.stdin!.on('error', () => undefined); // it may end while a command is on its way
    this.#child.stdout!.on('data', (chunk: Buffer) => this.#take(chunk.toString()));
    this.#child.stderr!.on('data', (chunk: Buffer) => { this.#errors += chunk.toString(); });
    this.exited = new Promise(resolve => {
      const end = (code: number | null): void => {
        this.#ended = true;
        this.#heard();
        resolve(code);
      };
      this.#child.once('close', end).once('error', error => {
        this.#errors += error.message;
        end(null);
      });
    });
  }

  /** While it runs. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get output(): string {
    return this.#output;
  }

  /** The end of what it said, for an error message. */
  get lastWords(): string {
    const lines = `${this.#errors}\n${this.#output}`.split('\n').filter(line => line.trim() !== '');
    return lines.slice(-3).join(' / ').slice(-300);
  }

  /** Nothing more will be written to it. */
  end(): void {
    this.#child.stdin!.end();
  }

  write(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** Resolves when the output matches; rejects when the program ends first, or after the time. */
  async expect(pattern: RegExp, seconds = 20): Promise<void> {
    const late = Date.now() + seconds * 1000;
    while (!pattern.test(this.#output)) {
      if (this.#ended) throw new Error(`${this.name} ended too early: ${this.lastWords}`);
      if (Date.now() > late) throw new Error(`${this.name} did not answer: ${this.lastWords}`);
      await this.#more(late - Date.now());
    }
  }

  /** Its whole output, when it has ended well within the time. */
  async finish(seconds: number): Promise<string> {
    const timer = setTimeout(() => this.kill(), seconds * 1000);
    const code = await this.exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`${this.name} failed (${code === null ? `no answer in ${seconds} s` : `exit code ${code}`}): ${this.lastWords}`);
    return this.#output;
  }

  kill(): void {
    if (!this.#ended) this.#child.kill('SIGKILL');
  }

  #take(text: string): void {
    this.#output += text;
    this.#heard();
  }

  #more(milliseconds: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, milliseconds);
      this.#heard = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
