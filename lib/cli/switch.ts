import { Command } from 'commander';
import { tableStyle } from '../sweep/text_table.js';
import { askSwitch } from '../switch/control_client.js';
import { controlPath, DEFAULT_NAME } from '../switch/control_path.js';
import type { FdbEntry, FlowReport } from '../switch/report.js';
import { readSwitchConfig, switchSchema } from '../switch/parse.js';
import type { ControlRequest } from '../switch/protocol.js';
import { counted } from './figures.js';
import { whole } from './forward.js';
import type { SwitchAnswer } from './switch_answer.js';
import { SwitchProgram } from './switch_program.js';
import { drawSwitch } from './switch_dot.js';
import { changesText, fdbText, flowsText, portsText, showText } from './switch_text.js';

interface RunOptions {
  readonly check?: boolean;
  readonly schema?: boolean;
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

interface AskOptions {
  readonly name: string;
  readonly control?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
  readonly dot?: boolean;
  readonly bridge?: string;
  readonly limit?: number;
}

/** After the options, in `--help`. */
const HELP = `
CONFIG is JSON (--schema prints its schema; examples/switch.json and examples/switch-neutron.json are two to start from):

  { "bridges": { "br0": { "ports": {
      "vm0":  { "device": "vhost:/run/vm0.sock", "vlan": { "access": 10 } },
      "vm1":  { "device": "vhost:/run/vm1.sock", "vlan": { "access": 10 } },
      "wire": { "device": "af_xdp:eth0", "vlan": { "trunk": [10, 20] } } } } } }

A port is a device (pollmode forward --help lists the drivers), a patch to another bridge, or a VXLAN tunnel.
All ports share one pool, so a packet crosses from any driver to any other without a copy.

While it runs, in another terminal:
  pollmode switch show            bridges, ports, VLANs, tunnels and counters, what was lost and where, guests that are
                                  not there ("down"); --watch again every second, with rates
  pollmode switch ports           all counters of each port, its device's own among them
  pollmode switch reload          the changed CONFIG, applied: nothing is lost where no device comes or goes
  kill -HUP                       likewise; --follow does so whenever the file is written

A changed CONFIG that cannot be had (no such device, no room in the pool) is refused whole, and the switch goes on as it
was. "name", "control", "pool", "flows" and "lcore" are taken at the start only.

Exit codes: 0 ended by Ctrl-C, SIGTERM or stop; 1 refused.
`;

export function switchCommand(): Command {
  const command = new Command('switch')
    .description('A virtual switch between ports of any driver: learning bridges, VLANs, mirrors, VXLAN tunnels; changed while it runs.')
    .enablePositionalOptions()
    .argument('[config]', 'the configuration, a JSON file')
    .option('--check', 'only say whether the configuration is right; opens nothing')
    .option('--schema', 'print the JSON schema of configurations')
    .option('--follow', 'apply the file whenever it is written')
    .option('--json', 'the counters as JSON on stdout at the end')
    .option('--quiet', 'no live statistics')
    .addHelpText('after', HELP)
    .action(run);
  return command
    .addCommand(asking('show', 'The layout, with counters.').option('--dot', 'as a drawing, in the language of Graphviz (pipe it into `dot -Tsvg`)').option('--watch', 'again every second, with rates').action(show))
    .addCommand(asking('ports', 'The counters of each port.').option('--watch', 'again every second').action(ports))
    .addCommand(asking('fdb', 'The learned addresses.').option('--bridge <name>', 'of this bridge only').option('--limit <n>', 'at most so many', whole(1, 65536)).option('--watch', 'again every second').action(fdb))
    .addCommand(asking('flows', 'The flows of the cache, with counters.').option('--limit <n>', 'at most so many', whole(1, 65536)).option('--watch', 'again every second').action(flows))
    .addCommand(asking('reload', 'Applies the changed configuration file.').action(reload))
    .addCommand(asking('stop', 'Ends the switch.').action(stop));
}

function asking(name: string, what: string): Command {
  return new Command(name)
    .description(`${what} Of a switch that runs in another terminal.`)
    .option('--name <name>', 'which switch: the "name" of its configuration', DEFAULT_NAME)
    .option('--control <path>', 'which switch: its control socket')
    .option('--json', 'as JSON on stdout');
}

async function run(path: string | undefined, options: RunOptions, command: Command): Promise<void> {
  if (options.schema === true) {
    process.stdout.write(switchSchema());
    return;
  }
  if (path === undefined) return command.error('error: give a configuration, or one of show, ports, fdb, flows, reload, stop ');
  const config = readSwitchConfig(path);
  if (options.check === true) {
    const ports = Object.values(config.bridges).reduce((sum, bridge) => sum + Object.keys(bridge.ports).length, 0);
    process.stdout.write(options.json === true ? `${JSON.stringify(config, null, 1)}\n` : `${path} is right: ${counted(Object.keys(config.bridges).length, 'bridge')}, ${counted(ports, 'port')}\n`);
    return;
  }
  const program = new SwitchProgram(path, config, options);
  await program.run();
}

function show(options: AskOptions): Promise<void> {
  return ask(options, { request: 'show' }, (answer, before) => options.dot === true
    ? drawSwitch(answer as SwitchAnswer)
    : showText(answer as SwitchAnswer, before as SwitchAnswer | undefined, tableStyle(process.stdout, process.env)));
}

function ports(options: AskOptions): Promise<void> {
  return ask(options, { request: 'show' }, answer => portsText(answer as SwitchAnswer), answer => (answer as SwitchAnswer).report.ports);
}

function fdb(options: AskOptions): Promise<void> {
  const { bridge, limit } = options;
  return ask(options, { request: 'fdb', ...(bridge === undefined ? {} : { bridge }), ...(limit === undefined ? {} : { limit }) }, answer => fdbText(answer as FdbEntry[]));
}

function flows(options: AskOptions): Promise<void> {
  return ask(options, { request: 'flows', ...(options.limit === undefined ? {} : { limit: options.limit }) }, answer => flowsText(answer as FlowReport[]));
}

function reload(options: AskOptions): Promise<void> {
  return ask(options, { request: 'reload' }, answer => `${changesText(answer as Parameters<typeof changesText>[0])}\n`);
}

function stop(options: AskOptions): Promise<void> {
  return ask(options, { request: 'stop' }, () => 'stopped\n');
}

/** Once, or with --watch every second until Ctrl-C, over itself on a terminal. */
async function ask(options: AskOptions, request: ControlRequest, text: (answer: unknown, before: unknown) => string, plain: (answer: unknown) => unknown = answer => answer): Promise<void> {
  const path = options.control ?? controlPath(options.name);
  for (let before: unknown; ;) {
    const answer = await askSwitch(path, request);
    const clear = options.watch === true && process.stdout.isTTY ? '\u001b[H\u001b[2J' : '';
    process.stdout.write(options.json === true ? `${JSON.stringify(plain(answer), null, options.watch === true ? 0 : 1)}\n` : `${clear}${text(answer, before)}`);
    if (options.watch !== true) return;
    before = answer;
    await new Promise(resolve => { setTimeout(resolve, 1000); });
  }
}
