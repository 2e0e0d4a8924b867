/** One run of a virtual machine: q35 with an emulated IOMMU, under software emulation, for as long as one job takes. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Image } from './image.js';

export interface Job {
  /** The shell script that the guest runs as root in the host's tree; /run/job is a folder that both sides can write to. */
  readonly script: string;
  /** More arguments of QEMU: the devices under test. */
  readonly devices?: readonly string[];
  /** Shell words that make the host's side of its taps, in a network namespace that goes with QEMU. Needs root. Default: this process's namespace. */
  readonly network?: string;
  readonly minutes?: number;
  /** So long without a line of the job, the machine counts as frozen and is ended. Default: never. */
  readonly silentMinutes?: number;
  readonly memoryMb?: number;
  /** More words of the kernel's command line. */
  readonly append?: string;
  /** A line of the job that starts so goes to QEMU's monitor instead: the job can have its devices pulled out. */
  readonly monitorMark?: string;
  /** Each line that the job prints, as it comes. */
  readonly line?: (line: string) => void;
}

export interface Outcome {
  /** The job's exit code; -1 when the machine ended without one. */
  readonly code: number;
  readonly output: string;
  /** The guest's kernel log and console: IOMMU faults stand here. */
  readonly console: string;
  /** How QEMU broke down, when nobody here ended it for another reason: the signal of an assertion of its own, or `silence`. */
  readonly crash?: NodeJS.Signals | 'silence';
}

export const QEMU = 'qemu-system-x86_64';

/** What init.sh says last. */
const END = /^exit (\d+)\s*$/m;

export async function boot(image: Image, job: Job): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-vm-'));
  const remove = (): void => { rmSync(folder, { recursive: true, force: true }); };
  process.once('exit', remove);
  try {
    writeFileSync(join(folder, 'run.sh'), job.script);
    const { output, crash } = await run([
      '-M', 'q35,kernel-irqchip=split', '-accel', 'tcg,thread=multi', '-smp', '2', '-m', String(job.memoryMb ?? 2048),
      // eim: the guest's interrupt controllers are registers of its CPUs then, not memory. QEMU looks at a map of the memory that may
      // just have changed, and where that was a controller's place an end of interrupt is lost, and the guest sleeps for ever.
      '-device', 'intel-iommu,intremap=on,eim=on,caching-mode=on', '-monitor', `unix:${join(folder, 'monitor')},server=on,wait=off`,
      ...guestArguments(image, folder, `intel_iommu=on iommu=nopt ${job.append ?? ''}`),
      ...job.devices ?? [],
    ], job, join(folder, 'monitor'));
    const end = END.exec(output);
    return { code: end === null ? -1 : Number(end[1]), output: output.replace(END, ''), console: readFileSync(join(folder, 'console'), 'utf8'), ...crash === undefined ? {} : { crash } };
  } finally {
    remove();
    process.off('exit', remove);
  }
}

/** What every guest of the lab has: kernel, a console in a file, the job's serial port on QEMU's own input and output, and the host's tree. */
export function guestArguments(image: Image, folder: string, append: string): string[] {
  return [
    '-cpu', 'max', '-nographic', '-vga', 'none', '-net', 'none', '-no-reboot', '-nodefaults',
    '-kernel', image.kernel, '-initrd', image.initramfs, '-append', `console=ttyS0 quiet loglevel=5 panic=-1 ${append}`,
    '-serial', `file:${join(folder, 'console')}`, '-serial', 'stdio',
    '-fsdev', 'local,id=h,path=/,security_model=none,readonly=on,multidevs=remap', '-device', 'virtio-9p-pci,fsdev=h,mount_tag=host',
    '-fsdev', `local,id=j,path=${folder},security_model=none`, '-device', 'virtio-9p-pci,fsdev=j,mount_tag=job',
  ];
}

/** Runs QEMU to its end, or kills it. What the guest prints on its second port comes back. */
function run(args: readonly string[], { minutes = 10, silentMinutes, line, monitorMark, network }: Job, monitor: string): Promise<Pick<Outcome, 'output' | 'crash'>> {
  const [program, ...words] = network === undefined ? [QEMU] : ['unshare', '-n', 'sh', '-c', `${network} && exec ${QEMU} "$@"`, 'sh'];
  const child = spawn(program!, [...words, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stopped = false;
  let silent = false;
  const stop = (): void => {
    stopped = true;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(stop, minutes * 60_000);
  const silence = silentMinutes === undefined ? undefined : setTimeout(() => {
    silent = true;
    stop();
  }, silentMinutes * 60_000);
  process.once('exit', stop);
  let output = '';
  let rest = '';
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += String(chunk);
    process.stderr.write(chunk); // a device that finds fault with its driver says so here
  });
  child.stdout.on('data', (chunk: Buffer) => {
    silence?.refresh();
    const text = String(chunk).replace(/\r/g, '');
    output += text;
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const each of lines) {
      if (monitorMark !== undefined && each.startsWith(monitorMark)) command(monitor, each.slice(monitorMark.length));
      else if (!END.test(each)) line?.(each);
    }
  });
  return new Promise((resolve, reject) => {
    child.on('error', cause => reject(new Error(`qemu-system-x86_64 cannot be run: ${cause.message}; apt-get install qemu-system-x86.`)));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearTimeout(silence);
      process.off('exit', stop);
      const crash = silent ? 'silence' : stopped ? null : signal;
      if (code === 0 || output !== '' || silent) resolve({ output, ...crash === null ? {} : { crash } });
      else reject(new Error(`QEMU ended with ${String(code ?? signal)}: ${errors}`));
    });
  });
}

/** One command for QEMU's monitor; what it answers is of no interest. */
function command(monitor: string, text: string): void {
  const socket = connect(monitor, () => socket.end(`${text}\n`));
  socket.on('error', () => undefined).resume();
}
