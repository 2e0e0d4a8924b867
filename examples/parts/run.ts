import { Help, InvalidArgumentError, type Command } from 'commander';
import { poll, PollmodeError, type Host } from '../../lib/index.js';

export interface RunOptions {
  readonly seconds?: number;
  /** No lines every second. */
  readonly quiet?: boolean;
}

/**
 * Runs a packet program until Ctrl-C or its time is over: `turn` once a burst, asleep while its queues are empty;
 * `tick` ten times a second, and a line of what it says every second. Closes the host at the end, and says what its ports counted.
 */
export async function run(host: Host, turn: () => number, tick: () => string, options: RunOptions, end: () => void): Promise<void> {
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  let ticks = 0;
  const timer = setInterval(() => {
    const line = tick();
    if (++ticks % 10 === 0 && options.quiet !== true) process.stdout.write(`${line}\n`);
  }, 100);
  try {
    const queues = host.ports.flatMap(port => port.rx);
    // A ring or a capture file has nothing to sleep on.
    const policy = queues.every(queue => queue.wake !== undefined) ? 'adaptive' : 'busy';
    await poll(turn, { signal: stop.signal, idle: { policy, queues }, ...(options.seconds === undefined ? {} : { seconds: options.seconds }) });
  } finally {
    clearInterval(timer);
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    process.stdout.write(`${tick()}\n`);
    end();
    host.close();
    process.stdout.write(`${portLine(host)}\n`);
  }
}

/** What the ports count; "refused" is what they had no room for. */
export function portLine(host: Host): string {
  return host.ports.map(port => {
    const { rxPackets, txPackets, txRefused } = host.stats(port);
    return `${port.name} rx ${rxPackets} tx ${txPackets} refused ${txRefused}`;
  }).join('   ');
}

/** For `--seconds`. */
export function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(value > 0)) throw new InvalidArgumentError('Give a number of seconds above 0.');
  return value;
}

/** Whoever reads what is printed may go at any time (`| head -1`): then the program ends, too. */
function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    if (process.listenerCount('SIGTERM') === 0) process.exit();
    process.emit('SIGTERM', 'SIGTERM');
  });
}

/** Runs a program's command. What its user can mend is said in a sentence. */
export async function main(command: Command): Promise<void> {
  endWithReader();
  command.showHelpAfterError('(--help tells what there is)');
  const help = new Help();
  // Defaults as a user would type them: not in quotes, and no empty list.
  command.configureHelp({ optionDescription: option => help.optionDescription(option).replace(/ \(default: (\[\]|"(.*)")\)$/, (_, all: string, text: string) => all === '[]' ? '' : ` (default: ${text})`) });
  try {
    await command.parseAsync();
  } catch (cause) {
    if (!(cause instanceof PollmodeError)) throw cause;
    process.stderr.write(`${command.name()}: ${cause.message}\n`);
    process.exitCode = 1;
  }
}
