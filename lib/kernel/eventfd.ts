/** eventfd(2): a number that a descriptor is readable by, here always one that does not make its writer or reader wait. */
import { binding } from '../binding.js';
import { EFD_NONBLOCK } from './constants.js';
import { check } from './errno.js';

/** The caller closes it. Throws ESYSCALL when the process has no more descriptors. */
export function newEventfd(): number {
  return check(binding().eventfd(0, EFD_NONBLOCK), 'eventfd', 'No eventfd could be made: allow the process more open files (ulimit -n).');
}

/** Two of them, or none. */
export function twoEventfds(): [number, number] {
  const first = newEventfd();
  try {
    return [first, newEventfd()];
  } catch (cause) {
    binding().close(first);
    throw cause;
  }
}
