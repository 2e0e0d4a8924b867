/** One entry's undoing, and what came of it. */
import { PollmodeError } from '../errors.js';
import type { Fields, Kind, Change, Undone } from './kind.js';
import type { Kinds } from './kinds.js';
import { inNamespace, isNamespaceId } from './namespace.js';

export interface Outcome {
  /** What was put back to what, or the journal's line that could not be read. */
  readonly what: string;
  /** `gone`: there is nothing left to undo. `kept`: to be tried again. `unreadable`: nothing was done. */
  readonly result: Undone | 'gone' | 'kept' | 'unreadable';
  /** For `kept`, `gone` and `unreadable`: why. */
  readonly reason?: string;
  /** The journal that it stood in. */
  readonly journal: string;
}

/** What an entry would do, checked. Throws EFORMAT. */
export function readEntry(fields: Fields, kinds: Kinds): { kind: Kind<Change>; change: Change } {
  const kind = kinds.find(each => each.kind === fields['kind']);
  if (kind === undefined) {
    throw new PollmodeError('EFORMAT', `No journal entry has the kind ${JSON.stringify(fields['kind'])?.slice(0, 40)}: use the release of pollmode that wrote it.`);
  }
  return { kind, change: kind.check(fields) };
}

/** Undoes what a journal's line says. Never throws. */
export function undoEntry(fields: Fields, journal: string, kinds: Kinds): Outcome {
  let what = 'an entry';
  let checked = false;
  try {
    const { kind, change } = readEntry(fields, kinds);
    what = kind.describe(change);
    const { net } = fields;
    if (kind.namespaced(change) && !isNamespaceId(net)) throw new PollmodeError('EFORMAT', 'It does not say in which network namespace.');
    checked = true;
    const undo = (): Undone => kind.undo(change);
    return { what, journal, result: kind.namespaced(change) && isNamespaceId(net) ? inNamespace(net, undo) : undo() };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (!checked) return { what, journal, result: 'unreadable', reason };
    return { what, journal, result: cause instanceof PollmodeError && cause.code === 'ENOTFOUND' ? 'gone' : 'kept', reason };
  }
}
