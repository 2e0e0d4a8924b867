import type { DescriptorKind } from '../intel/chip.js';
import { INTEL_82576, RXD_ERRORS_82599, TXD_DATA_82576, TXD_DEXT, TXD_IFCS, TXD_PAYLEN_SHIFT } from '../intel/layout.js';

/**
 * Advanced descriptors, of receiving (7.1.6) and of sending (7.2.3.2.3 context, 7.2.3.2.4 data): those of an 82576 but for
 * the error bits, L4E and IPE being the places 30 and 31. With WTHRESH 0 one in 40 descriptors must report (8.2.3.9.10);
 * the 33 that a frame takes at most here are below the limit of 38 (7.2.1.1).
 */
export const ADVANCED: DescriptorKind = {
  context: INTEL_82576, command: TXD_IFCS | TXD_DEXT | TXD_DATA_82576, payload: 1 << TXD_PAYLEN_SHIFT, reports: 40,
  errors: RXD_ERRORS_82599, ipBadShift: 29, l4BadShift: 27,
};
