import { attributePath, writeSysfs, type PciDevice } from '../../kernel/pci.js';
import { numberField, type Change, type Fields, type Kind } from '../kind.js';
import { deviceFields, inodeOf, sameDevice, type PciDeviceFields } from './pci_device.js';

/** Another number of a physical function's virtual ones: there are none in the middle. */
export interface VirtualFunctionsChange extends Change, PciDeviceFields {
  readonly kind: 'virtual-functions';
  readonly was: number;
  readonly to: number;
}

/** SR-IOV's NumVFs register has 16 bits. */
const MOST = 0xffff;
const ATTRIBUTE = 'sriov_numvfs';

export const virtualFunctionsKind: Kind<VirtualFunctionsChange> = {
  kind: 'virtual-functions',
  namespaced: () => false,
  check: (fields: Fields) => ({
    kind: 'virtual-functions', ...deviceFields(fields), was: numberField(fields, 'was', 0, MOST), to: numberField(fields, 'to', 0, MOST),
  }),
  describe: ({ address, was }) => `the virtual functions of ${address} back to ${was}`,
  /** Those that were asked for and are there stay: somebody may use them by now. */
  undo({ was, to, ...which }) {
    const device = sameDevice(which, ATTRIBUTE);
    const now = device.virtualFunctions?.now;
    if (now === was) return 'unchanged';
    if (now !== 0 || to === 0) return 'superseded';
    writeSysfs(attributePath(device, ATTRIBUTE), String(was));
    return 'undone';
  },
};

/** What to record before their number is changed. Throws as `readDevice`. */
export function virtualFunctionsChange(device: PciDevice, was: number, to: number): VirtualFunctionsChange {
  return { kind: 'virtual-functions', address: device.address, inode: inodeOf(device, ATTRIBUTE), was, to };
}
