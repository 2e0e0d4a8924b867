/** The one thing that a burst function cannot do in the arena: copying between it and other memory of this process, natively. */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import type { CopyList } from './outside.js';

export function copier(bytes: Uint8Array): CopyList {
  return (list, count, out) => {
    const result = binding().copyList(bytes, list, count, out);
    if (result < 0) throw new PollmodeError('EOPTION', `A list of ${count} copies at ${list} names bytes that are not in the arena, or not in a guest's memory: only the burst functions make such lists.`);
  };
}
