import type { DescriptorKind } from '../intel/chip.js';
import { INTEL_82576, RXD_ERRORS, TXD_DATA_82576, TXD_DEXT, TXD_IFCS, TXD_PAYLEN_SHIFT } from '../intel/layout.js';

/** Advanced descriptors (7.1.5, 7.2.2), of an 82576 and of its virtual functions. */
export const ADVANCED: DescriptorKind = {
  context: INTEL_82576, command: TXD_IFCS | TXD_DEXT | TXD_DATA_82576, payload: 1 << TXD_PAYLEN_SHIFT, errors: RXD_ERRORS, ipBadShift: 28, l4BadShift: 26,
};
