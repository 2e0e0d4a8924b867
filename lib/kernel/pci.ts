/** PCI devices as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci), and who drives them. */
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { PollmodeError } from '../errors.js';
import { kernelError } from './errno.js';

const DEVICES = '/sys/bus/pci/devices';
const GROUPS = '/sys/kernel/iommu_groups';
/** PCI class code 02: network controllers. */
const NETWORK = 0x02;
const ADDRESS = /^(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i;

export interface PciDevice {
  /** Domain, bus, device and function: "0000:01:00.0". */
  readonly address: string;
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: class, subclass, interface. */
  readonly class: number;
  /** The kernel driver that has it, or undefined. */
  readonly driver: string | undefined;
  /** Number of its IOMMU group; undefined without an IOMMU. */
  readonly group: string | undefined;
  /** Names of its network interfaces in this thread's sysfs. */
  readonly interfaces: readonly string[];
  /** For a physical function with SR-IOV: how many virtual functions it has, and can have. */
  readonly virtualFunctions: { readonly now: number; readonly most: number } | undefined;
  /** For a virtual function: its physical one's address. */
  readonly physicalFunction: string | undefined;
}

/** The whole address for "01:00.0" or "0000:01:00.0". Throws EDEVICE for what is none. */
export function parseAddress(text: string): string {
  const match = ADDRESS.exec(text);
  if (match === null) throw new PollmodeError('EDEVICE', `"${text.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')}" is no PCI address: write domain:bus:device.function, such as 0000:01:00.0 (lspci -D lists them).`);
  return `${match[1] ?? '0000'}:${match[2]}:${match[3]}.${match[4]}`.toLowerCase();
}

/** Throws EDEVICE, ENOTFOUND. */
export function readDevice(text: string): PciDevice {
  const address = parseAddress(text);
  const folder = `${DEVICES}/${address}`;
  if (!existsSync(folder)) throw new PollmodeError('ENOTFOUND', `There is no PCI device ${address}: look for it with pollmode bind, or lspci -D.`);
  const most = number(`${folder}/sriov_totalvfs`);
  return {
    address,
    vendor: number(`${folder}/vendor`) ?? 0,
    device: number(`${folder}/device`) ?? 0,
    class: number(`${folder}/class`) ?? 0,
    driver: linkTo(`${folder}/driver`),
    group: linkTo(`${folder}/iommu_group`),
    interfaces: interfacesBelow(folder),
    virtualFunctions: most === undefined || most === 0 ? undefined : { now: number(`${folder}/sriov_numvfs`) ?? 0, most },
    physicalFunction: linkTo(`${folder}/physfn`),
  };
}

/** Every network controller of the machine, by address. */
export function listNetworkDevices(): PciDevice[] {
  return entries(DEVICES).sort().map(readDevice).filter(device => device.class >>> 16 === NETWORK);
}

/** The devices that the IOMMU cannot tell from each other. */
export function listGroup(group: string): PciDevice[] {
  return entries(`${GROUPS}/${group}/devices`).sort().map(readDevice);
}

/** A group that VFIO made up for a machine without an IOMMU: its devices could write anywhere. */
export function isUnprotected(group: string): boolean {
  return text(`${GROUPS}/${group}/name`) === 'vfio-noiommu';
}

/** The path of a device's attribute in sysfs. */
export function attributePath({ address }: PciDevice, name: string): string {
  return `${DEVICES}/${address}/${name}`;
}

/** Has the kernel's driver let go of the device. Throws ERIGHTS, ESYSCALL. */
export function detach(device: PciDevice): void {
  if (device.driver !== undefined) writeSysfs(attributePath(device, 'driver/unbind'), device.address);
}

/** Has the kernel find a driver for a device that has none: the one of its driver_override, or whichever is made for it. */
export function probe(device: PciDevice): void {
  writeSysfs('/sys/bus/pci/drivers_probe', device.address);
}

/** Has the named driver take a device that has none, whichever others know it too; "" leaves it to the kernel. Its override is `override` afterwards, "" for none. */
export function probeBy(device: PciDevice, driver: string, override: string): void {
  const path = attributePath(device, 'driver_override');
  writeSysfs(path, driver);
  try {
    probe(device);
  } finally {
    writeSysfs(path, override);
  }
}

/** The driver_override as sysfs prints it: "(null)" for none. */
export function readOverride(device: PciDevice): string {
  return readFileSync(attributePath(device, 'driver_override'), 'utf8').trim() || '(null)';
}

/** Writes an attribute. Throws ENOTFOUND, ERIGHTS, EBUSYQUEUE, ESYSCALL. */
export function writeSysfs(path: string, value: string): void {
  try {
    // Many of these files cannot be read, and none can be made or cut short.
    const fd = openSync(path, constants.O_WRONLY);
    try {
      writeSync(fd, `${value}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    const { errno } = cause as NodeJS.ErrnoException;
    if (errno === undefined) throw cause;
    throw kernelError(-errno, 'write', `"${value}" could not be written to ${path}: check that you are root, and what the kernel's log says of it.`);
  }
}

/** A virtio NIC's interface is a virtio device's, one step further down. */
function interfacesBelow(folder: string): string[] {
  return [folder, ...entries(folder).filter(name => /^virtio\d+$/.test(name)).map(name => `${folder}/${name}`)].flatMap(each => entries(`${each}/net`));
}

function number(path: string): number | undefined {
  const value = text(path);
  return value === undefined ? undefined : Number(value);
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // not there, or gone in the meantime
  }
}

function linkTo(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
