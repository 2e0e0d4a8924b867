import type { Left } from '../../journal/left.js';
import { info, ok, warn, type Finding } from '../line.js';
import type { Machine } from '../machine.js';

const CLEAN = 'pollmode doctor --clean, with the rights of who made the change';

/** What killed runs of this user left, and what living ones would undo. */
export function journalChecks(machine: Machine): Finding[] {
  const journals = machine.journals().filter(each => each.fate !== 'before boot');
  const lines = journals.flatMap(journalLines);
  return lines.length === 0 ? [ok('left by killed runs', 'nothing')] : lines;
}

function journalLines(left: Left): Finding[] {
  const name = left.path.split('/').at(-1)!;
  const entries = left.entries.map(entry => entryLine(left, entry));
  if (left.unreadable.length === 0) return entries;
  const value = left.unreadable.join('; ');
  if (left.fate === 'untrusted') return [warn('journal folder', value, 'Nothing in it is believed: another could have written it.', `Look who made it, and remove it: ${left.path}`)];
  return [...entries, warn('journal', `${name}: ${value}`, 'What cannot be read cannot be undone.', left.fate === 'set aside' ? `Look whether a setting is to be put right, then: rm ${left.path}` : `${CLEAN}, undoes the rest and sets the file aside.`)];
}

function entryLine({ fate, pid }: Left, entry: string): Finding {
  if (fate === 'alive') return info('to be undone', entry, `Process ${pid} lives and undoes it when it closes.`);
  if (fate === 'elsewhere') return info('to be undone', entry, 'Its process is in another PID namespace, such as a container: the next start there undoes it.');
  return warn('left by a killed run', entry, `Process ${pid} ended without undoing it.`, CLEAN);
}
