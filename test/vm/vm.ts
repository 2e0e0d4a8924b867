/** A virtual machine that stays: one CPU under software emulation, a shell that is given one script after the other, until it is killed. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Image } from './image.js';
import { guestArguments, QEMU } from './machine.js';

export interface VmOptions {
  readonly name: string;
  readonly memoryMb: number;
  /** More arguments of QEMU: its network cards. */
  readonly devices: readonly string[];
  /** Words before QEMU's own: `ip netns exec ...`, `taskset -c 0`. */
  readonly within?: readonly string[];
}

export interface Answer {
  /** The script's exit code; -1 when the machine ended first. */
  readonly code: number;
  readonly output: string;
}

/** What the guest runs: scripts by the number that comes over the serial port, which lie in the folder that both sides see. */
const SHELL = `
stty -F /dev/ttyS1 raw -echo
export HOME=/tmp LANG=C
ip link set lo up
echo 'done 0 0'
while read -r number; do
  (. /run/job/$number.sh) < /dev/null 2>&1
  echo "done $number $?"
done < /dev/ttyS1
`;

export class Vm {
  readonly name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #folder: string;
  readonly #stop: () => void;
  /** Resolves with the end of the script that is running. */
  #answer: (answer: Answer) => void = () => undefined;
  #output = '';
  #errors = '';
  #number = 0;
  #ended = false;

  private constructor(image: Image, { name, memoryMb, devices, within = [] }: VmOptions) {
    this.name = name;
    this.#folder = mkdtempSync(join(tmpdir(), 'pollmode-vm-'));
    writeFileSync(join(this.#folder, 'run.sh'), SHELL);
    const [program, ...words] = [...within, QEMU];
    this.#child = spawn(program!, [
      ...words, '-M', 'q35', '-accel', 'tcg', '-smp', '1', '-m', String(memoryMb), ...guestArguments(image, this.#folder, ''), '-monitor', 'none', ...devices,
    ]);
    this.#stop = (): void => {
      this.#child.kill('SIGKILL');
      rmSync(this.#folder, { recursive: true, force: true });
    };
    process.once('exit', this.#stop);
    this.#child.stderr.on('data', (chunk: Buffer) => { this.#errors += String(chunk); });
    this.#child.stdout.on('data', (chunk: Buffer) => this.#hear(String(chunk)));
    this.#child.stdin.on('error', () => undefined);
    const end = (): void => {
      this.#ended = true;
      this.#answer({ code: -1, output: this.#output });
    };
    this.#child.on('error', end).on('exit', end);
  }

  /** Resolves when its shell is there. */
  static async start(image: Image, options: VmOptions): Promise<Vm> {
    const vm = new Vm(image, options);
    const { code } = await vm.#wait(120);
    if (code === 0) return vm;
    const said = `${vm.#errors}\n${vm.console().split('\n').slice(-10).join('\n')}`;
    await vm.kill();
    throw new Error(`The machine ${options.name} did not start: ${said}`);
  }

  /** Runs a shell script as root. One at a time. */
  run(script: string, seconds = 60): Promise<Answer> {
    if (this.#ended) return Promise.resolve({ code: -1, output: '' });
    const number = ++this.#number;
    writeFileSync(join(this.#folder, `${number}.sh`), script);
    const answer = this.#wait(seconds);
    this.#child.stdin.write(`${number}\n`);
    return answer;
  }

  /** Its kernel's log. */
  console(): string {
    return readFileSync(join(this.#folder, 'console'), { encoding: 'utf8', flag: 'a+' });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** As when its plug is pulled. */
  async kill(): Promise<void> {
    if (!this.#ended) await new Promise(resolve => { this.#child.once('exit', resolve).kill('SIGKILL'); });
    this.#stop();
    process.off('exit', this.#stop);
  }

  #wait(seconds: number): Promise<Answer> {
    this.#output = '';
    return new Promise(resolve => {
      const timer = setTimeout(() => this.#answer({ code: -1, output: `${this.#output}\nno end after ${seconds} s` }), seconds * 1000);
      this.#answer = answer => {
        clearTimeout(timer);
        this.#answer = () => undefined;
        resolve(answer);
      };
    });
  }

  #hear(text: string): void {
    this.#output += text.replace(/\r/g, '');
    const end = /^done (\d+) (\d+)\n/m.exec(this.#output);
    if (end === null || Number(end[1]) !== this.#number) return;
    this.#answer({ code: Number(end[2]), output: this.#output.slice(0, end.index) });
  }
}

/** A card whose other end is a vhost-user back-end that listens at `path`, now or later, and again when it has gone. Needs `sharedMemory`. */
export function vhostCard(id: string, path: string, mac: string, more = ''): string[] {
  return [
    '-chardev', `socket,id=${id},path=${path},reconnect-ms=200`, '-netdev', `vhost-user,id=${id},chardev=${id}`,
    '-device', `virtio-net-pci,netdev=${id},mac=${mac},disable-legacy=on,romfile=${more}`,
  ];
}

/** A card whose other end is a tap of the host's, by its name. */
export function tapCard(id: string, tap: string, mac: string, more = ''): string[] {
  return [
    '-netdev', `tap,id=${id},ifname=${tap},script=no,downscript=no`,
    '-device', `virtio-net-pci,netdev=${id},mac=${mac},disable-legacy=on,romfile=${more}`,
  ];
}

/** The guest's memory in a file that a back-end can map. */
export function sharedMemory(megabytes: number): string[] {
  return ['-object', `memory-backend-memfd,id=guest,size=${megabytes}M,share=on`, '-numa', 'node,memdev=guest'];
}
