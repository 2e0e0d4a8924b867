import { Command, InvalidArgumentError } from 'commander';
import { PollmodeError } from '../errors.js';
import { undoLeftOnce } from '../journal/left.js';
import { listNetworkDevices, type PciDevice } from '../kernel/pci.js';
import { bindToVfio, restore, setVirtualFunctions, type Step } from '../pci/bind.js';
import { uses } from '../pci/use.js';

interface Options {
  readonly restore?: boolean;
  readonly vfs?: number;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function bindCommand(): Command {
  return new Command('bind')
    .description('Lists the network devices of the PCI bus, hands them to vfio-pci for a driver in user space, and gives them back.')
    .argument('[addresses...]', 'PCI addresses, such as 0000:01:00.0; none lists all')
    .option('--restore', 'give them back to the drivers that they had')
    .option('--vfs <n>', 'have them make so many SR-IOV virtual functions; 0 takes them away', count)
    .option('--force', 'also a NIC that carries the default route, has an address, or is open in a program')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--json', 'as JSON on stdout')
    .addHelpText('after', '\nWhat is bound stays so until it is given back or the machine starts anew. What was cut\nshort in the middle the next run puts right, or pollmode doctor --clean. A physical\nfunction takes its virtual ones with it. Needs root, and an IOMMU.\n')
    .action(run);
}

function run(addresses: readonly string[], options: Options): void {
  if (addresses.length === 0) {
    if (options.restore === true || options.vfs !== undefined) throw new PollmodeError('EOPTION', 'Which device? Name its PCI address (pollmode bind lists them).');
    list(options);
    return;
  }
  if (options.restore === true && options.vfs !== undefined) throw new PollmodeError('EOPTION', '--restore and --vfs are two different things: do one after the other.');
  if (options.dryRun !== true) undoLeftOnce();
  const did: Step[] = [];
  try {
    for (const address of addresses) did.push(change(address, options));
  } finally {
    // Also of those before one that is refused: they stay so.
    report(did, options);
  }
}

function report(did: readonly Step[], { json, dryRun }: Options): void {
  if (json === true) process.stdout.write(`${JSON.stringify(did, null, 1)}\n`);
  else for (const { address, did: what } of did) process.stdout.write(`${address}  ${dryRun === true ? 'would be: ' : ''}${what}\n`);
}

function change(address: string, options: Options): Step {
  if (options.vfs !== undefined) return setVirtualFunctions(address, options.vfs, options);
  return options.restore === true ? restore(address, options) : bindToVfio(address, options);
}

function list({ json }: Options): void {
  const devices = listNetworkDevices().map(device => ({ ...device, uses: uses(device) }));
  if (json === true) process.stdout.write(`${JSON.stringify(devices, null, 1)}\n`);
  else process.stdout.write(devices.length === 0 ? 'No network device on the PCI bus.\n' : devices.map(line).join(''));
}

function line(device: PciDevice & { readonly uses: readonly string[] }): string {
  const id = [device.vendor, device.device].map(number => number.toString(16).padStart(4, '0')).join(':');
  const words = [
    device.address, id, device.driver ?? 'no driver', device.group === undefined ? 'no IOMMU' : `group ${device.group}`, ...device.interfaces,
    ...(device.virtualFunctions === undefined ? [] : [`${device.virtualFunctions.now} of ${device.virtualFunctions.most} VFs`]),
    ...(device.physicalFunction === undefined ? [] : [`VF of ${device.physicalFunction}`]),
    ...(device.uses.length === 0 ? [] : [`(${device.uses.join('; ')})`]),
  ];
  return `${words.join('  ')}\n`;
}

function count(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
  if (!(value <= 256)) throw new InvalidArgumentError('Give a whole number from 0 to 256.');
  return value;
}
