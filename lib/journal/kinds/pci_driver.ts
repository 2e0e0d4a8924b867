import { PollmodeError } from '../../errors.js';
import { attributePath, probeBy, readDevice, readOverride, writeSysfs, type PciDevice } from '../../kernel/pci.js';
import { VFIO_DRIVER } from '../../kernel/vfio.js';
import { textField, type Change, type Fields, type Kind, type Undone } from '../kind.js';
import { deviceFields, inodeOf, sameDevice, type PciDeviceFields } from './pci_device.js';

/** How sysfs prints a driver_override that is not set; also a driver that is none. */
export const NONE = '(null)';
const ATTRIBUTE = 'driver_override';

/** A PCI device on its way between its driver in the kernel and vfio-pci: it has none in the middle. */
export interface PciDriverChange extends Change, PciDeviceFields {
  readonly kind: 'pci-driver';
  /** The kernel's driver that it had, or is given back to; NONE: it had none; absent: whichever the kernel has for it. */
  readonly driver?: string;
  /** Its driver_override beside that. */
  readonly override: string;
}

/**
 * Undone is a device that has no driver, or has one of the kernel's beside an override of ours. One that has arrived at
 * vfio-pci stays there: a program may have it open by now, and the kernel would wait for that.
 */
export const pciDriverKind: Kind<PciDriverChange> = {
  kind: 'pci-driver',
  namespaced: () => false,
  check: (fields: Fields) => ({
    kind: 'pci-driver', ...deviceFields(fields), override: nameField(fields, 'override'),
    ...(fields['driver'] === undefined ? {} : { driver: nameField(fields, 'driver') }),
  }),
  describe: ({ address, driver }) => `${address}, which lost its driver, ${driver === NONE ? 'to none' : `back to ${driver ?? 'the one that the kernel has for it'}`}`,
  undo(change) {
    const device = sameDevice(change, ATTRIBUTE);
    if (device.driver === VFIO_DRIVER) return 'superseded';
    if (device.driver === undefined && change.driver !== NONE) return giveBack(device, change);
    return putOverride(device, change);
  },
};

/** What to record before a device is moved. Throws as `readDevice`. */
export function pciDriverChange(device: PciDevice, back: Pick<PciDriverChange, 'driver' | 'override'>): PciDriverChange {
  return { kind: 'pci-driver', address: device.address, inode: inodeOf(device, ATTRIBUTE), ...back };
}

function giveBack(device: PciDevice, { driver, override }: PciDriverChange): Undone {
  probeBy(device, driver ?? '', override === NONE ? '' : override);
  if (readDevice(device.address).driver !== undefined) return 'undone';
  throw new PollmodeError('EUNSUPPORTED', `${driver ?? 'No driver'} did not take it: modprobe it, and see the kernel's log (dmesg).`);
}

/** One that is neither vfio-pci nor the driver's own name is somebody else's. */
function putOverride(device: PciDevice, { driver, override }: PciDriverChange): Undone {
  const now = readOverride(device);
  if (now === override) return 'unchanged';
  if (now !== VFIO_DRIVER && now !== driver) return 'superseded';
  writeSysfs(attributePath(device, ATTRIBUTE), override === NONE ? '' : override);
  return 'undone';
}

function nameField(fields: Fields, name: string): string {
  const value = textField(fields, name, 64);
  if (value === NONE || /^[\w-]+$/.test(value)) return value;
  throw new PollmodeError('EFORMAT', `A journal entry's "${name}" is no driver's name: nothing was written; bind the device by hand (driver_override).`);
}
