import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { hasCapability } from '../kernel/caps.js';
import { readResults, type SweepResult } from '../sweep/results.js';
import { sweep, SWEEP_PATHS, type SweepOptions } from '../sweep/sweep.js';
import { sweepTables, tableStyle } from '../sweep/table.js';
import { writeReport } from '../sweep/write.js';
import { seconds, whole } from './forward.js';
import { MemorySweep } from './memory_sweep.js';

interface Options {
  readonly paths: string[];
  readonly bursts: number[];
  readonly frames: number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmup: number;
  readonly latencyRate: number;
  readonly xdp: string;
  readonly out: string;
  readonly compare?: string;
  readonly json?: boolean;
}

/** Set in a sweep that was started again inside a user namespace. */
const INSIDE = 'POLLMODE_SWEEP_INSIDE';

export function sweepCommand(): Command {
  return new Command('sweep')
    .description('The main job: burst sizes of AF_XDP and AF_PACKET rings against kernel sockets, on a veth pair of its own. Prints tables and writes a report.')
    .option('--paths <list>', `of ${SWEEP_PATHS.join(', ')}`, paths, [...SWEEP_PATHS])
    .option('--bursts <list>', 'packets per call, each 1 to 512', numbers(1, 512), [1, 4, 16, 32, 64, 256])
    .option('--frames <list>', 'frame sizes with FCS (RFC 2544), each 64 to 1518', numbers(64, 1518), [64, 1518])
    .option('--rounds <n>', 'how often each cell is measured; the median counts', whole(1, 100), 3)
    .option('--seconds <s>', 'per cell and round', seconds, 0.3)
    .option('--warmup <s>', 'before each', seconds, 0.1)
    .option('--latency-rate <pps>', 'packets per second that the latency runs offer; 0 for none', whole(0, 10_000_000), 20_000)
    .option('--xdp <options>', 'options of the af_xdp port, for example mode=generic', '')
    .option('--out <folder>', 'where the report goes', 'pollmode-report')
    .option('--compare <file>', 'results.json of an earlier sweep, drawn beside this one')
    .option('--json', 'the result as JSON on stdout instead of tables')
    .addHelpText('after', '\nNothing outside is touched: the interfaces are in network namespaces that go with the process.\nWithout root it tries a user namespace, does what is allowed there, and says what was left out.\n')
    .action(run);
}

async function run(options: Options): Promise<void> {
  const earlier = options.compare === undefined ? undefined : readResults(options.compare);
  const addon = tryBinding();
  if (addon instanceof PollmodeError) return withoutKernel(addon.message);
  if (!hasCapability('CAP_SYS_ADMIN') || !hasCapability('CAP_NET_ADMIN')) return again();
  const result = await sweepWithProgress(options);
  const files = writeReport(options.out, result, earlier);
  if (options.json === true) process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  else process.stdout.write(`${sweepTables(result, tableStyle(process.stdout, process.env), earlier)}\nReport: ${pathToFileURL(resolve(files.html)).href}\n`);
}

async function sweepWithProgress(options: Options): Promise<SweepResult> {
  const stop = new AbortController();
  const interrupt = (): void => {
    process.stderr.write('\nstopping after this cell; what was measured is kept\n');
    stop.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const { warmup, ...rest } = options;
  const progress: SweepOptions['progress'] = (done, total, what) => {
    const left = Math.ceil((total - done) * (options.seconds + warmup + 0.03));
    const line = `${String(done + 1).padStart(4)}/${total}  about ${left} s left  ${what}`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
    else if (done % 20 === 0) process.stderr.write(`${line}\n`);
  };
  try {
    return await sweep({ ...rest, warmUp: warmup, signal: stop.signal, progress });
  } finally {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

/** Without the rights: once more in a user namespace of its own, where namespaces and veth pairs are allowed to everyone. */
function again(): void {
  if (process.env[INSIDE] === undefined) {
    process.stderr.write('Not root: trying in a user namespace. AF_XDP needs CAP_BPF on the machine itself, so it will be left out; run as root for all of it.\n');
    const entered = spawnSync('unshare', ['--user', '--map-root-user', '--net', process.execPath, ...process.execArgv, fileURLToPath(new URL('./main.js', import.meta.url)), ...process.argv.slice(2)], {
      stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' },
    });
    if (entered.error === undefined && entered.status === 0) return;
    process.stderr.write('A user namespace is not allowed here either (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces).\n');
  }
  withoutKernel('network namespaces need CAP_SYS_ADMIN: run as root, or allow user namespaces');
}

/** What every machine can do: the memory ports. */
function withoutKernel(reason: string): void {
  process.stdout.write(`The kernel paths were left out: ${reason}\n\n`);
  new MemorySweep().print(process.stdout);
}

function paths(text: string): string[] {
  const chosen = text.split(',').map(each => each.trim());
  const unknown = chosen.find(each => !(SWEEP_PATHS as readonly string[]).includes(each));
  if (unknown !== undefined) throw new InvalidArgumentError(`There is no path "${unknown}": choose of ${SWEEP_PATHS.join(', ')}, separated by commas.`);
  return chosen;
}

function numbers(min: number, max: number): (text: string) => number[] {
  return text => text.split(',').map(each => whole(min, max)(each.trim()));
}
