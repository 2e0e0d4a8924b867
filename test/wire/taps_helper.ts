/** Two Linux hosts on taps of one program, which is the wire between them. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { binding } from '../../lib/binding.js';
import { createNetns, withNetns } from '../../lib/kernel/netns.js';
import { open, type Host } from '../../lib/port/host.js';

const MACS = ['02:00:00:00:0a:01', '02:00:00:00:0a:02'] as const;
/** The hosts' addresses, of both families. */
export const ADDRESSES = { IPv4: ['10.8.0.1', '10.8.0.2'], IPv6: ['fd08::1', 'fd08::2'] } as const;

export class TwoLinuxes {
  readonly host: Host;
  readonly #netns: readonly number[];

  constructor() {
    this.#netns = [createNetns(), createNetns()];
    this.host = open(this.#netns.map((fd, i) => `tap:tap0,netns=/proc/self/fd/${fd},mac=${MACS[i]!}`), { mbufs: 4096 });
    for (const i of [0, 1]) {
      for (const [mine, other] of Object.values(ADDRESSES).map(pair => i === 0 ? pair : [pair[1], pair[0]] as const)) {
        const six = mine.includes(':');
        this.run(i, 'ip', 'addr', 'add', `${mine}/${six ? 64 : 24}`, 'dev', 'tap0', ...(six ? ['nodad'] : []));
        this.run(i, 'ip', 'neigh', 'add', other, 'lladdr', MACS[1 - i]!, 'dev', 'tap0', 'nud', 'permanent');
      }
    }
  }

  /** On host 0 or 1, to its end. */
  run(which: number, program: string, ...words: string[]): string {
    const { status, stdout, stderr } = this.within(which, () => spawnSync(program, words, { encoding: 'utf8' }));
    if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  within<Result>(which: number, work: () => Result): Result {
    return withNetns(this.#netns[which]!, work);
  }

  /** What a Node.js program on host `which` prints, while `meanwhile` runs; `heard` is told of each part of it. */
  async script(which: number, code: string, words: readonly string[], meanwhile: () => void, heard: (text: string) => void = () => undefined): Promise<string> {
    const child = this.within(which, () => spawn(process.execPath, ['-e', code, ...words], { stdio: ['ignore', 'pipe', 'inherit'], timeout: 120_000 }));
    let [text, ended] = ['', false];
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      heard(chunk.toString());
    });
    child.on('close', () => { ended = true; });
    while (!ended) {
      meanwhile();
      await turn();
    }
    return text;
  }

  /** A counter of /proc/net/snmp or snmp6: ('Tcp', 'InCsumErrors'), ('', 'Udp6InCsumErrors'). */
  counter(which: number, group: string, name: string): number {
    const file = `/proc/thread-self/net/${group === '' ? 'snmp6' : 'snmp'}`;
    const lines = this.within(which, () => readFileSync(file, 'utf8')).split('\n').map(line => line.split(/\s+/));
    if (group === '') return Number(lines.find(([first]) => first === name)?.[1]);
    const [names, values] = lines.filter(([first]) => first === `${group}:`);
    return Number(values?.[names?.indexOf(name) ?? -1]);
  }

  close(): void {
    this.host.close();
    for (const fd of this.#netns) binding().close(fd);
  }
}
