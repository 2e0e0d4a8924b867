/**
 * Two virtual machines through `pollmode switch` on two vhost: ports, and the same two through the kernel's taps and
 * bridge, the traditional layout: TCP both ways, small packets, the round trip of a ping, and the host's CPU. Each machine
 * has a card in either network, so that both are measured in the same boot, in turns; medians of the rounds, and their
 * ranges. The machines run under software emulation, one CPU each, QEMU pinned to one: their own kernels are most of what
 * is measured, and the host's kernel has no vhost-net, so QEMU itself moves the packets between tap and ring.
 *
 *   node dist/bench/two_vms.js [--rounds 3] [--seconds 3] [--json]
 *
 * Needs root, for the taps' network namespace, which goes with this process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { median } from '../lib/sweep/statistics.js';
import { buildImage } from '../test/vm/image.js';
import { address, FIRST, NAMES, SwitchProcess, TwoVms, type Name, type Network } from '../test/vm/two_vms.js';
import { tapCard } from '../test/vm/vm.js';
import { benchOptions } from './options.js';

const SECOND: Network = { card: 'eth1', prefix: '198.51.100' };
const LAYOUTS = { 'pollmode switch': FIRST, 'kernel bridge': SECOND } as const;
type Layout = keyof typeof LAYOUTS;

/** What is measured. At full speed both CPUs are busy in either layout; what the host has to do is told apart at a rate that both carry. */
const COLUMNS = {
  tcp: 'TCP, Mbit/s', back: 'TCP back, Mbit/s', packets: 'UDP of 18 bytes, received/s', ping: 'ping, median, ms', tcpCpu: 'CPUs at TCP of 300 Mbit/s', packetsCpu: 'CPUs at UDP of 10,000/s',
} as const;
type Figures = Record<keyof typeof COLUMNS, number>;

const values = benchOptions({
  what: 'TCP, small packets, ping and the host\'s CPU between two virtual machines on `pollmode switch`.',
  against: 'the kernel\'s taps and bridge, in the same boot, in turns',
  needs: 'root, QEMU, iperf3, and what `npm run test:vm` builds',
  options: { rounds: { value: 'N', default: '3', help: 'figures are medians' }, seconds: { value: 'S', default: '3', help: 'of each measurement' }, json: { help: 'the figures as JSON' } },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
const say = (line: string): void => { process.stderr.write(`two_vms: ${line}\n`); };

const namespace = await openNamespace();
const bridge = new SwitchProcess();
const vms = new TwoVms(buildImage(say), name => ['nsenter', '-t', String(namespace.pid), '-n', 'taskset', '-c', name === 'a' ? '0' : '1']);
const all: Record<Layout, Figures[]> = { 'pollmode switch': [], 'kernel bridge': [] };
try {
  await bridge.start({ options: ',pass_offloads' });
  say('booting the two machines ...');
  await Promise.all(NAMES.map(name => vms.start(name, [...bridge.card(name), ...tapCard('tap', `tap-${name}`, macOf(name))], [FIRST, SECOND])));
  await vms.serve();
  for (let round = 0; round < rounds; round++) {
    for (const layout of Object.keys(LAYOUTS) as Layout[]) {
      all[layout].push(await measure(LAYOUTS[layout]));
      say(`round ${round + 1} of ${rounds}, ${layout}: ${Object.values(all[layout].at(-1)!).map(value => value.toPrecision(4)).join(' ')}`);
    }
  }
} finally {
  await vms.close();
  await bridge.close();
  namespace.kill('SIGKILL');
}
process.stdout.write(values.json ? `${JSON.stringify(all, null, 1)}\n` : table());
process.exit(0);

async function measure(network: Network): Promise<Figures> {
  const tcp = await vms.client(`-t ${seconds}`, network);
  const back = await vms.client(`-t ${seconds} -R`, network);
  const before = await vms.counts('b', network);
  await vms.client(`-u -l 18 -b 0 -t ${seconds}`, network);
  const packets = ((await vms.counts('b', network)).rxPackets - before.rxPackets) / seconds;
  return {
    tcp: tcp / 1e6, back: back / 1e6, packets, ping: await ping(network),
    tcpCpu: await cpus(() => vms.client(`-b 300M -t ${seconds}`, network)), packetsCpu: await cpus(() => vms.client(`-u -l 18 -b 1440K -t ${seconds}`, network)),
  };
}

async function ping(network: Network): Promise<number> {
  const output = await vms.must('a', `/bin/busybox ping -c 150 -i 0.01 ${address('b', network)}`);
  return median([...output.matchAll(/time=([\d.]+) ms/g)].map(match => Number(match[1])));
}

/** How many of the host's CPUs were busy meanwhile. */
async function cpus(work: () => Promise<unknown>): Promise<number> {
  const [start, busy] = [performance.now(), busyMs()];
  await work();
  return (busyMs() - busy) / (performance.now() - start);
}

/** Of all CPUs together since the boot; proc(5): user nice system idle iowait irq softirq steal, in ticks of 10 ms. */
function busyMs(): number {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number);
  return 10 * ticks.reduce((sum, each, i) => i === 3 || i === 4 ? sum : sum + each, 0);
}

/** A namespace with the bridge and the taps in it. It has no name: it is there as long as its process, and the machines, are. */
function openNamespace(): Promise<ChildProcess & { pid: number }> {
  const taps = NAMES.map(name => `ip tuntap add tap-${name} mode tap vnet_hdr && ip link set tap-${name} master br0 up`);
  const child = spawn('unshare', ['-n', 'sh', '-c', `ip link add br0 type bridge && ${taps.join(' && ')} && ip link set br0 up && echo ready && exec cat`], { stdio: ['pipe', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.on('exit', code => reject(new Error(`no network namespace with a bridge and taps (exit ${String(code)}): run as root, on a kernel with bridge and tun.`)));
    child.stdout.once('data', () => resolve(child as ChildProcess & { pid: number }));
  });
}

function macOf(name: Name): string {
  return name === 'a' ? '52:54:00:00:0b:01' : '52:54:00:00:0b:02';
}

function table(): string {
  const rows = (Object.keys(LAYOUTS) as Layout[]).map(layout => [layout, ...(Object.keys(COLUMNS) as (keyof Figures)[]).map(column => {
    const each = all[layout].map(figures => figures[column]);
    const digits = column.endsWith('Cpu') || column === 'ping' ? 2 : 0;
    return `${median(each).toFixed(digits)} (${Math.min(...each).toFixed(digits)}–${Math.max(...each).toFixed(digits)})`;
  })]);
  const [head, ...others] = [['', ...Object.values(COLUMNS)], ...rows].map(cells => `| ${cells.join(' | ')} |`);
  return `${[head, `|${'---|'.repeat(1 + Object.keys(COLUMNS).length)}`, ...others].join('\n')}\n`;
}
