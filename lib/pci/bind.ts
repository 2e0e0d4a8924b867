/**
 * Handing NICs to user space and back, by driver_override (Documentation/ABI/testing/sysfs-bus-pci).
 *
 * What is asked for stays after the program has ended; which driver a device had is kept in the run directory until it
 * is restored. Each change is in the journal while it is made: of one that is cut short in the middle the next start, or
 * `pollmode doctor --clean`, gives the device back to its driver in the kernel, or a physical function its virtual ones.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { changePciDriver, changeVirtualFunctions } from '../journal/changes.js';
import { makeRunDirectory, runDirectories } from '../journal/directory.js';
import { removeEmpty } from '../journal/journal.js';
import { NONE } from '../journal/kinds/pci_driver.js';
import { O_RDWR } from '../kernel/constants.js';
import { EBUSY } from '../kernel/errno.js';
import { attributePath, detach, isUnprotected, probe, probeBy, readDevice, readOverride, writeSysfs, type PciDevice } from '../kernel/pci.js';
import { VFIO_DRIVER } from '../kernel/vfio.js';
import { uses } from './use.js';

export interface BindOptions {
  /** Also a NIC that carries the default route, has an address, or is open in a program. */
  readonly force?: boolean;
  /** Checks and says what would be done, and does not do it. */
  readonly dryRun?: boolean;
}

/** What was done, or would be: one line for a person. */
export interface Step {
  readonly address: string;
  readonly did: string;
}

/** What a device had before, as it is kept. */
interface Before {
  readonly driver?: string;
  readonly override: string;
}

/** Gives the device to vfio-pci. Throws EDEVICE, ENOTFOUND, EBUSYQUEUE (in use), EUNSUPPORTED, ERIGHTS, ESYSCALL; then it is as it was. */
export function bindToVfio(address: string, options: BindOptions = {}): Step {
  const device = readDevice(address);
  if (device.driver === VFIO_DRIVER) return { address: device.address, did: `is bound to ${VFIO_DRIVER} already` };
  refuseUnbindable(device);
  refuseUsed(device, options);
  const did = `bound to ${VFIO_DRIVER}${device.driver === undefined ? '' : `, was ${device.driver}'s`}`;
  if (options.dryRun !== true) moveTo(device);
  return { address: device.address, did };
}

function moveTo(device: PciDevice): void {
  const override = readOverride(device);
  const { driver } = device;
  try {
    changePciDriver(device, { driver: driver ?? NONE, override }, () => {
      remember(device, { override: override === NONE ? '' : override, ...(driver === undefined ? {} : { driver }) });
      writeSysfs(attributePath(device, 'driver_override'), VFIO_DRIVER);
      detach(device);
      probe(device);
      if (readDevice(device.address).driver === VFIO_DRIVER) return;
      throw new PollmodeError('EUNSUPPORTED', `${device.address}: ${VFIO_DRIVER} did not take it; it is as it was: the kernel's log says why (dmesg).`);
    }).done();
  } catch (cause) {
    forget(device);
    throw cause;
  }
}

/** Takes the device from vfio-pci and gives it back to the driver that it had. Throws as `bindToVfio`. */
export function restore(address: string, options: BindOptions = {}): Step {
  const device = readDevice(address);
  const before = recall(device);
  if (device.driver !== VFIO_DRIVER) return { address: device.address, did: `is not bound to ${VFIO_DRIVER}` };
  refuseUsed(device, options);
  if (options.dryRun === true) return { address: device.address, did: `given back to ${before?.driver ?? 'the driver that the kernel has for it'}` };
  moveBack(device, before);
  const { driver } = readDevice(device.address);
  return { address: device.address, did: driver === undefined ? 'given back; it has no driver' : `given back to ${driver}` };
}

/** One that is cut short in the middle is finished by whoever reads the journal. */
function moveBack(device: PciDevice, before: Before | undefined): void {
  const { driver, override = '' } = before ?? {};
  const hadNone = before !== undefined && driver === undefined;
  const back = { override: override === '' ? NONE : override, ...(hadNone ? { driver: NONE } : driver === undefined ? {} : { driver }) };
  changePciDriver(device, back, () => {
    detach(device);
    if (hadNone) writeSysfs(attributePath(device, 'driver_override'), override);
    else probeBy(device, driver ?? '', override);
  }).done();
  forget(device);
}

/** Has a physical function make so many virtual ones; 0 takes them away. Throws as `bindToVfio`, EOPTION. */
export function setVirtualFunctions(address: string, count: number, options: BindOptions = {}): Step {
  const device = readDevice(address);
  const { virtualFunctions } = device;
  if (virtualFunctions === undefined) throw new PollmodeError('EUNSUPPORTED', `${device.address} has no SR-IOV: choose a physical function of a NIC that has (pollmode bind lists them).`);
  const { now, most } = virtualFunctions;
  if (!Number.isInteger(count) || count < 0 || count > most) throw new PollmodeError('EOPTION', `${device.address} can have 0 to ${most} virtual functions, not ${count}: choose among those.`);
  if (count === now) return { address: device.address, did: `has ${now} virtual functions already` };
  // The kernel takes all of them away before it makes another number of them.
  refuseUsedFunctions(device, options);
  if (options.dryRun !== true) changeVirtualFunctions(device, now, count).done();
  return { address: device.address, did: `has ${count} virtual functions, had ${now}` };
}

/** By their order, as sysfs links them. */
export function virtualFunction(device: PciDevice, index: number): PciDevice {
  const address = /PCI_SLOT_NAME=(\S+)/.exec(readFileSync(attributePath(device, `virtfn${index}/uevent`), 'utf8'))?.[1];
  return readDevice(address ?? '');
}

function refuseUnbindable(device: PciDevice): void {
  if (device.group === undefined || isUnprotected(device.group)) throw new PollmodeError('EUNSUPPORTED', `${device.address}: no IOMMU stands before it, and pollmode drives no device without one: switch it on in the firmware (VT-d, AMD-Vi, SMMU) and for the kernel (intel_iommu=on).`);
  if (!existsSync(`/sys/bus/pci/drivers/${VFIO_DRIVER}`)) throw new PollmodeError('EUNSUPPORTED', `The kernel has no ${VFIO_DRIVER}: modprobe ${VFIO_DRIVER}.`);
}

function refuseUsed(device: PciDevice, options: BindOptions): void {
  if (options.force === true) return;
  const reasons = uses(device);
  if (reasons.length > 0) throw new PollmodeError('EBUSYQUEUE', `${device.address} is in use (${reasons.join('; ')}): choose another, or say --force.`);
  if (device.driver === VFIO_DRIVER) refuseOpen(device);
  refuseUsedFunctions(device, options);
}

/** The virtual ones go when the physical one's driver does. */
function refuseUsedFunctions(device: PciDevice, options: BindOptions): void {
  for (let index = 0; index < (device.virtualFunctions?.now ?? 0); index++) refuseUsed(virtualFunction(device, index), options);
}

/** The kernel would wait until the program closes it. */
function refuseOpen(device: PciDevice): void {
  const path = `/dev/vfio/${device.group ?? ''}`;
  const fd = binding().open(path, O_RDWR);
  if (fd >= 0) binding().close(fd);
  if (fd === -EBUSY) throw new PollmodeError('EBUSYQUEUE', `${device.address} is open in a program (fuser ${path} names it): end it first, or say --force and the kernel waits for that.`);
}

const folderIn = (directory: string): string => join(directory, 'bound');

function remember(device: PciDevice, before: Before): void {
  const folder = folderIn(makeRunDirectory());
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, `${device.address}.json`), `${JSON.stringify(before)}\n`, { mode: 0o600 });
}

/** Undefined when another program bound it. What the file says goes into sysfs, so only a driver's name is taken. */
function recall(device: PciDevice): Before | undefined {
  for (const directory of runDirectories()) {
    try {
      const said = JSON.parse(readFileSync(join(folderIn(directory), `${device.address}.json`), 'utf8')) as Record<string, unknown>;
      const name = (value: unknown): string | undefined => typeof value === 'string' && /^[\w-]{1,64}$/.test(value) ? value : undefined;
      const driver = name(said['driver']);
      return { override: name(said['override']) ?? '', ...(driver === undefined ? {} : { driver }) };
    } catch {
      // no such file, or not ours
    }
  }
  return undefined;
}

/** The folders go with the last of them. */
function forget(device: PciDevice): void {
  for (const directory of runDirectories()) {
    rmSync(join(folderIn(directory), `${device.address}.json`), { force: true });
    removeEmpty(folderIn(directory));
    removeEmpty(directory);
  }
}
