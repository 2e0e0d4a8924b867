/** Machines that are not this one: a tree of files for /proc, /sys and /dev, and a network that answers as told. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Files } from '../../lib/doctor/files.js';
import type { Machine, Network } from '../../lib/doctor/machine.js';
import { examine } from '../../lib/doctor/report.js';
import type { Line } from '../../lib/doctor/line.js';
import { PollmodeError } from '../../lib/errors.js';
import { drivers } from '../../lib/port/drivers.js';

/** Contents by path; what starts with "-> " is a symbolic link, relative to the tree's root when it starts with a slash. */
export type Tree = Readonly<Record<string, string>>;

export function tree(test: { teardown(work: () => void): void }, contents: Tree): Files {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'pollmode-doctor-')));
  test.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(contents)) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (!text.startsWith('-> ')) writeFileSync(file, text);
    else symlinkSync(text[3] === '/' ? root + text.slice(3) : text.slice(3), file);
  }
  return new Files(root);
}

/** The status of a process with every capability, or with those bits. */
export function statusFile(capabilities = 0x1ffffffffffn, cpus = '0-1'): string {
  return `Name:\tnode\nCapEff:\t${capabilities.toString(16).padStart(16, '0')}\nCpus_allowed_list:\t${cpus}\n`;
}

const silent: Network = {
  links: () => [], xdp: () => [], queues: () => [],
  driver: () => { throw new PollmodeError('EUNSUPPORTED', 'It names none.'); },
  channels: () => { throw new PollmodeError('EUNSUPPORTED', 'It has none.'); },
};

/** A Linux machine that has nothing but these files; everything else as `change` says. */
export function machine(files: Files, change: Partial<Machine> & { answers?: Partial<Network> } = {}): Machine {
  const { answers, ...rest } = change;
  return {
    platform: 'linux', arch: 'x64', release: '6.18.0', node: '22.1.0', files, drivers,
    addon: { binding: { socket: () => 3, close: () => 0 }, path: '/p/prebuilds/linux-x64/pollmode.node' },
    loadBurst: () => 'fast',
    network: { ...silent, ...answers },
    journals: () => [],
    ...rest,
  };
}

/** Its lines by what they are about. */
export function linesOf(which: Machine): Map<string, Line> {
  return new Map(examine(which).lines.map(line => [line.what, line]));
}
