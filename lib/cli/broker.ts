import { Command, InvalidArgumentError, Option } from 'commander';
import { Broker } from '../broker/broker.js';
import { PollmodeError } from '../errors.js';
import { checkName } from '../kernel/link.js';
import { whole } from './forward.js';

interface BrokerCommandOptions {
  readonly interface: string;
  readonly queues?: readonly number[];
  readonly mode: 'auto' | 'native' | 'generic';
  readonly allowUid?: readonly number[];
  readonly give: 'socket' | 'map' | 'both';
  readonly quiet?: boolean;
}

/** After the options, in `--help`. */
const HELP = `
The broker has the rights (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF: run it as root), and the packet programs need none:

  broker:   pollmode broker /run/pollmode.sock --interface eth0 --allow-uid 1000
  program:  af_xdp:eth0,broker=/run/pollmode.sock            a socket: no capability
            af_xdp:eth0,broker=/run/pollmode.sock,take=map   the XSKMAP (--give map): CAP_NET_RAW only

A program with a socket may run in any network namespace and sends and receives on that interface only (Linux 6.6 and
later; before, it could send on the other interfaces of the broker's namespace). One with the XSKMAP must run in the
interface's namespace and could take over the other queues: give the map only to programs that trust each other.
Its packet memory counts against the program's memlock limit (ulimit -l).

The socket's file is the allowed user's own (mode 0600); with several --allow-uid everybody can connect and the kernel
says who it is. Root and the broker's own user may always ask. The broker runs until Ctrl-C; its XDP program and every
lease end with it, also when it is killed. A queue is free again when its program has ended.

Exit codes: 0 ended by Ctrl-C or SIGTERM; 1 refused, or the interface or the XDP program went away.
`;

export function brokerCommand(): Command {
  return new Command('broker')
    .description('Lends AF_XDP to programs without rights, over a Unix socket, until Ctrl-C.')
    .argument('<socket>', 'path of the Unix socket to make; one that a dead broker left is replaced')
    .requiredOption('--interface <name>', 'the interface whose queues are lent', interfaceName)
    .option('--queues <list>', 'the queues to lend, as 0-3,6 (default: all)', queueList)
    .addOption(new Option('--mode <mode>', 'where the XDP program runs').choices(['auto', 'native', 'generic']).default('auto'))
    .option('--allow-uid <uid...>', 'users that may ask, by number', userList)
    .addOption(new Option('--give <what>', 'an AF_XDP socket, the XSKMAP, or what the program takes').choices(['socket', 'map', 'both']).default('socket'))
    .option('--quiet', 'no line for each client')
    .addHelpText('after', HELP)
    .action(broker);
}

async function broker(path: string, options: BrokerCommandOptions): Promise<void> {
  const stop = new Promise<'stopped'>(resolve => {
    process.once('SIGINT', () => resolve('stopped')).once('SIGTERM', () => resolve('stopped'));
  });
  const { interface: device, queues, mode, give, allowUid: allowUids = [] } = options;
  const report = (line: string): void => { if (options.quiet !== true) process.stderr.write(`broker: ${line}\n`); };
  const opened = new Broker({ path, device, queues, mode, give, allowUids, report });
  try {
    process.stdout.write(`broker of ${device} (${opened.attached}) at ${path}: ${queues === undefined ? 'all queues' : `queues ${queues.join(', ')}`}, gives ${give}\n`);
    if (await Promise.race([stop, opened.lost]) !== 'stopped') throw new PollmodeError('ENOTFOUND', `${device} or its XDP program has gone: start the broker again.`);
  } finally {
    opened.close();
  }
}

function interfaceName(text: string): string {
  try {
    checkName(text);
    return text;
  } catch (refusal) {
    throw new InvalidArgumentError(refusal instanceof Error ? refusal.message : String(refusal));
  }
}

/** "0-3,6" */
function queueList(text: string): number[] {
  const queues = text.split(',').flatMap(part => {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const from = Number(first);
    const count = Number(last) - from + 1;
    if (!(count >= 1 && Number(last) < 65536)) throw new InvalidArgumentError('Give queue numbers and ranges, as 0-3,6.');
    return Array.from({ length: count }, (_, i) => from + i);
  });
  return [...new Set(queues)].sort((a, b) => a - b);
}

function userList(text: string, before: readonly number[] | undefined): number[] {
  return [...before ?? [], whole(0, 2 ** 32 - 2)(text)];
}
