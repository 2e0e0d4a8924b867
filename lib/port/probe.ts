import { tryBinding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { Availability } from './port.js';

/** Why no driver that needs the addon is usable where there is none; the mend, which is long, is the addon's own message. */
export const NO_ADDON = 'the native addon is not there';

/** The `probe` of a driver that needs the addon, and nothing else that can be told before a port is opened. */
export function probeAddon(): Availability {
  const addon = tryBinding();
  return addon instanceof PollmodeError ? { usable: false, reason: NO_ADDON, mend: addon.message } : { usable: true };
}

/** A reason or a mend as a sentence of its own. */
export function sentence(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
