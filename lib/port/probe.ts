import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { Availability } from './port.js';

/** The `probe` of a driver that needs the addon, and nothing else that can be told before a port is opened. */
export function probeAddon(): Availability {
  const addon = tryBinding();
  return addon instanceof PollmodeError ? { usable: false, reason: 'the native addon is not there', mend: addon.message } : { usable: true };
}
