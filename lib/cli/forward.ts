import { Command, InvalidArgumentError, Option } from 'commander';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { defaultRoutes } from '../kernel/routes.js';
import { poll } from '../lcore/poll.js';
import { parseDevice } from '../port/device.js';
import { drivers } from '../port/drivers.js';
import { open } from '../port/host.js';
import { counted, packetRate } from './figures.js';
import { Forwarder, type ForwardMode } from './forwarder.js';
import { LiveLine } from './live.js';

interface ForwardOptions {
  readonly mode: ForwardMode;
  readonly burst: number;
  readonly count?: number;
  readonly seconds?: number;
  readonly cpu?: number;
  readonly mbufs?: number;
  readonly ethPeer?: string[];
  readonly oneWay?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function forwardCommand(): Command {
  return new Command('forward')
    .description('Forwards packets between two ports, both ways where both receive, until Ctrl-C, --count, --seconds or the end of the capture files.')
    .argument('<a>', 'a port, as driver:device,key=value')
    .argument('<b>', 'another; frames from a go to b, and from b to a')
    .addOption(new Option('--mode <mode>', 'io: unchanged; mac: own source, peer as destination; macswap: exchanged').choices(['io', 'mac', 'macswap']).default('io'))
    .option('--burst <n>', 'most packets per call, 1 to 512', whole(1, 512), 32)
    .option('--count <n>', 'stop when so many packets were forwarded', whole(1, Number.MAX_SAFE_INTEGER))
    .option('--seconds <s>', 'stop after so long', seconds)
    .option('--cpu <n>', 'pin to this CPU', whole(0, 4095))
    .option('--mbufs <n>', 'packets in the pool', whole(32, 1 << 20))
    .option('--eth-peer <macs...>', 'mode mac: destination for frames to a and to b (default 02:00:00:00:00:00 and :01)')
    .option('--one-way', 'only from a to b: `af_xdp:eth1 null: --one-way` counts what comes, and sends nothing')
    .option('--force', 'af_xdp also on an interface that carries the default route')
    .option('--json', 'totals as JSON on stdout at the end')
    .option('--quiet', 'no live statistics')
    .addHelpText('after', `\nDrivers:\n${driverList()}\n\nExamples:\n  pollmode forward null: null: --seconds 5\n  pollmode forward pcap:in.pcapng pcap:,tx=out.pcapng\n  pollmode forward af_xdp:veth0 ring:x --mode macswap\n`)
    .action(forward);
}

async function forward(a: string, b: string, options: ForwardOptions): Promise<void> {
  if (options.force !== true) refuseOwnRoute([a, b]);
  if (options.cpu !== undefined) pin(options.cpu);
  const host = open([a, b], options.mbufs === undefined ? {} : { mbufs: options.mbufs });
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const live = new LiveLine(host, options.quiet !== true && options.json !== true);
  const started = performance.now();
  try {
    const forwarder = new Forwarder(host, options);
    const { count = Infinity } = options;
    await poll(() => forwarder.turn() && forwarder.forwarded < count, {
      signal: stop.signal, ...(options.seconds === undefined ? {} : { seconds: options.seconds }),
    });
    forwarder.flush();
    live.end();
    const seconds = (performance.now() - started) / 1000;
    // Before the report: a port may write out what it holds only now, and what came of it is in its last counts.
    host.close();
    report(forwarder, seconds, options);
    const unwritten = forwarder.totals(seconds).ports.filter(port => (port.xstats['tx_not_written'] ?? 0) > 0);
    if (unwritten.length > 0) {
      process.stderr.write(`pollmode: not all of it is in ${unwritten.map(port => port.name).join(', ')}: see tx_not_written, and what the disk refused (tx_write_*).\n`);
      process.exitCode = 1;
    }
  } finally {
    live.end();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    host.close();
  }
}

function report(forwarder: Forwarder, seconds: number, options: ForwardOptions): void {
  const totals = forwarder.totals(seconds);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(totals, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${counted(totals.forwarded, 'packet')} forwarded in ${seconds.toFixed(2)} s (${packetRate(totals.packetsPerSecond)}), ${totals.dropped} dropped\n`);
  for (const port of totals.ports) {
    const more = Object.entries(port.xstats).filter(([, value]) => value !== 0).map(([name, value]) => ` ${name} ${value}`).join(',');
    process.stdout.write(`  ${port.name} (${port.mode}): rx ${counted(port.rxPackets, 'packet')} ${counted(port.rxBytes, 'byte')}, tx ${counted(port.txPackets, 'packet')} ${counted(port.txBytes, 'byte')}${more === '' ? '' : `;${more}`}\n`);
  }
}

/** An AF_XDP port takes its queue's frames away from the kernel. Throws EBUSYQUEUE. */
function refuseOwnRoute(devices: readonly string[]): void {
  for (const text of devices) {
    const { driver, device, options } = parseDevice(text);
    if (driver !== 'af_xdp' || options.has('netns') || !defaultRoutes().has(device)) continue;
    throw new PollmodeError('EBUSYQUEUE', `${text}: ${device} carries the default route, and what comes for this machine would go to this program, perhaps the session that you type in too: choose another interface, or say --force.`);
  }
}

/** Pins this thread. Throws EADDON, EOPTION. */
export function pin(cpu: number): void {
  const addon = tryBinding();
  if (addon instanceof PollmodeError) throw addon;
  const result = addon.setAffinity(cpu);
  if (result < 0) throw new PollmodeError('EOPTION', `CPU ${cpu} cannot be pinned to: this process may use ${addon.affinity().join(', ')}.`, { syscall: 'sched_setaffinity', errno: -result });
}

function driverList(): string {
  return drivers.map(driver => {
    const options = Object.entries(driver.options).map(([name, spec]) => `      ${name === 'device' ? '(device)' : name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}${spec.choices === undefined ? '' : `=${spec.choices.join('|')}`}  ${spec.help}`);
    return [`  ${driver.name}:  ${driver.summary}`, ...options].join('\n');
  }).join('\n');
}

/** A parser of whole numbers in a range, for commander. */
export function whole(min: number, max: number): (text: string) => number {
  return text => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`);
    return value;
  };
}

export function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value > 0 && value <= 1e9)) throw new InvalidArgumentError('Give a number of seconds above 0.');
  return value;
}
