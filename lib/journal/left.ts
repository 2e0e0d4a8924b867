/**
 * What processes that were killed left in their journals. The journal of a process that lives is never touched. Two
 * that clean at once do not meet: each takes a journal over by renaming it to one of its own, and only one can.
 */
import { lstatSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { refusal, runDirectories } from './directory.js';
import { JournalFile, readJournal, type Contents } from './file.js';
import { removeEmpty, type JournalOptions } from './journal.js';
import { kinds as allKinds, type Kinds } from './kinds.js';
import { readEntry, undoEntry, type Outcome } from './outcome.js';
import { fateOf, ownerOf, ownName, type Fate, type Owner } from './owner.js';

/** One journal that a process left, or is writing. */
export interface Found {
  readonly path: string;
  readonly pid: number;
  readonly fate: Fate;
}

/** A folder that is not to be trusted, and journals with what stands in them; for `pollmode doctor`. Alters nothing. */
export interface Left {
  readonly path: string;
  readonly fate: Fate | 'set aside' | 'untrusted';
  readonly pid?: number;
  /** What is not undone yet. */
  readonly entries: readonly string[];
  /** Lines that cannot be read, or why the file or folder is not. */
  readonly unreadable: readonly string[];
}

export function listJournals(options: JournalOptions = {}): Left[] {
  return (options.directories ?? runDirectories()).flatMap(directory => {
    const why = distrust(directory);
    if (why !== undefined) return [{ path: directory, fate: 'untrusted' as const, entries: [], unreadable: [`${directory} ${why}`] }];
    const aside = names(directory).filter(name => name.endsWith(ASIDE)).map(name => ({ path: join(directory, name), fate: 'set aside' as const, entries: [], unreadable: [name] }));
    return [...journalsIn(directory).map(found => describe(found, options.kinds ?? allKinds)), ...aside];
  });
}

/** Undoes what dead processes left, the latest change first, and reports each entry. Never throws. */
export function undoLeft(options: JournalOptions = {}): Outcome[] {
  return (options.directories ?? runDirectories())
    .filter(directory => distrust(directory) === undefined)
    .flatMap(directory => journalsIn(directory).flatMap(found => safely(found, () => clean(found, options.kinds ?? allKinds))));
}

let looked = false;

/** `undoLeft`, once in a thread: for the start of a program. What could not be undone is a warning. Costs one look into an empty folder. */
export function undoLeftOnce(): void {
  if (looked) return;
  looked = true;
  for (const { what, result, reason } of undoLeft()) {
    if (result === 'kept' || result === 'unreadable') process.emitWarning(`A run of pollmode that was killed left ${what} (${reason}) See pollmode doctor.`, 'PollmodeWarning');
  }
}

const ASIDE = '.unreadable';

/** A folder that is not there is no reason. */
function distrust(directory: string): string | undefined {
  try {
    return lstatSync(directory, { throwIfNoEntry: false }) === undefined ? undefined : refusal(directory);
  } catch (cause) {
    return `cannot be read (${String(cause)})`;
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function journalsIn(directory: string): Found[] {
  return names(directory).flatMap(name => {
    const owner = ownerOf(name);
    return owner === undefined ? [] : [{ path: join(directory, name), pid: owner.pid, fate: fateWhereKnown(owner) }];
  });
}

/** Where /proc does not say who we are, nobody is declared dead. */
function fateWhereKnown(owner: Owner): Fate {
  try {
    return fateOf(owner);
  } catch {
    return 'elsewhere';
  }
}

function describe(found: Found, kinds: Kinds): Left {
  try {
    const { open, unreadable } = readJournal(found.path);
    const entries: string[] = [];
    const broken = unreadable.map(line => `line ${line}`);
    for (const { id, fields } of open) {
      try {
        const { kind, change } = readEntry(fields, kinds);
        entries.push(kind.describe(change));
      } catch (cause) {
        broken.push(`entry ${id}: ${cause instanceof Error ? cause.message : String(cause)}`);
      }
    }
    return { ...found, entries, unreadable: broken };
  } catch (cause) {
    return { ...found, entries: [], unreadable: [cause instanceof Error ? cause.message : String(cause)] };
  }
}

function safely({ path }: Found, work: () => Outcome[]): Outcome[] {
  try {
    return work();
  } catch (cause) {
    // Another has taken it over.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    return [{ what: path, result: 'unreadable', reason: cause instanceof Error ? cause.message : String(cause), journal: path }];
  }
}

function clean({ path, fate }: Found, kinds: Kinds): Outcome[] {
  if (fate === 'before boot') unlinkSync(path);
  if (fate !== 'dead') return [];
  readJournal(path); // refuses a file that is not ours, before it gets a name of ours
  const taken = join(dirname(path), ownName());
  renameSync(path, taken);
  return undoFile(taken, readJournal(taken), kinds);
}

function undoFile(path: string, { open, unreadable }: Contents, kinds: Kinds): Outcome[] {
  const file = new JournalFile(path, 'a');
  const outcomes: Outcome[] = unreadable.map(line => ({ what: `line ${line}`, result: 'unreadable', reason: 'it is no journal entry', journal: path }));
  for (const { id, fields } of [...open].reverse()) {
    const outcome = undoEntry(fields, path, kinds);
    outcomes.push(outcome);
    if (outcome.result !== 'kept' && outcome.result !== 'unreadable') file.strike(id);
  }
  settle(file, outcomes);
  return outcomes;
}

/** Removes a file that is through, keeps one that is to be tried again, and sets one aside that only a person can read. */
function settle(file: JournalFile, outcomes: readonly Outcome[]): void {
  const has = (result: Outcome['result']): boolean => outcomes.some(each => each.result === result);
  if (!has('kept') && !has('unreadable')) {
    file.remove();
    removeEmpty(dirname(file.path));
    return;
  }
  if (!has('kept')) renameSync(file.path, `${file.path}${ASIDE}`);
  file.close();
}
