/** What the tests of the kernel room need to know about where they run. */
import { tryBinding } from '../../lib/binding.js';
import { PollmodeError } from '../../lib/errors.js';
import { missingCapabilities, type Capability } from '../../lib/kernel/caps.js';

/** tap's options: skips with the reason when a capability is missing, or the addon is. */
export function needs(...names: Capability[]): { skip: string | false } {
  if (tryBinding() instanceof PollmodeError) return { skip: 'the native addon is not built' };
  const missing = missingCapabilities(names);
  return { skip: missing.length > 0 && `needs ${missing.join(' and ')}: run as root` };
}

/** The code of the PollmodeError that `work` throws; 'none' when it throws nothing. Any other error goes on. */
export function codeThrown(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (error instanceof PollmodeError) return error.code;
    throw error;
  }
}

/** Code and sentence of what `work` throws; 'none' when it throws nothing. */
export function refusal(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    return error instanceof PollmodeError ? `${error.code} ${error.message}` : `untyped ${String(error)}`;
  }
}
