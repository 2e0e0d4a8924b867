/** What the kinds that change PCI devices share: which device an entry is about. */
import { statSync } from 'node:fs';
import { PollmodeError } from '../../errors.js';
import { attributePath, parseAddress, readDevice, type PciDevice } from '../../kernel/pci.js';
import { textField, type Fields } from '../kind.js';

export interface PciDeviceFields {
  readonly address: string;
  /** Of the attribute that is changed, as in SysfsChange: a device that was taken out and put back is new. */
  readonly inode: string;
}

export function deviceFields(fields: Fields): PciDeviceFields {
  return { address: addressField(fields), inode: textField(fields, 'inode', 20) };
}

/** The device as it is now. Throws ENOTFOUND when it is gone, or another. */
export function sameDevice({ address, inode }: PciDeviceFields, attribute: string): PciDevice {
  const device = readDevice(address);
  if (inodeOf(device, attribute) !== inode) throw new PollmodeError('ENOTFOUND', `${address} is another device now: it was left alone.`);
  return device;
}

/** Empty for an attribute that is not there. */
export function inodeOf(device: PciDevice, attribute: string): string {
  return statSync(attributePath(device, attribute), { bigint: true, throwIfNoEntry: false })?.ino.toString() ?? '';
}

function addressField(fields: Fields): string {
  const text = textField(fields, 'address', 12);
  try {
    return parseAddress(text);
  } catch {
    throw new PollmodeError('EFORMAT', 'A journal entry\'s "address" is no PCI address: nothing was written; put the device right by hand (pollmode bind lists them).');
  }
}
