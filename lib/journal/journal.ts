/**
 * The journal of what this process changed and the kernel keeps: channel counts, `driver_override`, values in sysfs. An
 * entry is on the disk before its change is made. It is undone by whoever closes what needed it; if the process ends
 * before that, when it exits, at the next start (`left.ts`), or by `pollmode doctor --clean`.
 *
 *     const entry = journal().record(change);   // then make the change
 *     entry.undo();                             // at close
 *
 * Each thread has a journal and a file of its own, so none waits for another.
 */
import { rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeRunDirectory, runDirectories } from './directory.js';
import { JournalFile } from './file.js';
import type { Change, Fields } from './kind.js';
import { kinds as allKinds, type Kinds } from './kinds.js';
import { currentNamespace } from './namespace.js';
import { readEntry, undoEntry, type Outcome } from './outcome.js';
import { ownName } from './owner.js';

export interface JournalOptions {
  /** Folders to try, in turn. Default: `runDirectories()`. */
  readonly directories?: readonly string[];
  readonly kinds?: Kinds;
}

export interface JournalEntry {
  /** It is undone, or was never made: the entry is struck out. */
  done(): void;
  /** Puts the old value back and strikes the entry out; an entry that is `kept` stays. Never throws for what the kernel said. */
  undo(): Outcome;
}

export class Journal {
  readonly #directories: readonly string[];
  readonly #kinds: Kinds;
  readonly #open = new Map<number, Fields>();
  #file: JournalFile | undefined;
  #ids = 0;

  constructor(options: JournalOptions = {}) {
    this.#directories = options.directories ?? runDirectories();
    this.#kinds = options.kinds ?? allKinds;
  }

  /** Durable on return; make the change after it. Throws EFORMAT for a change that no kind allows, ERIGHTS, ESYSCALL: then make none. */
  record<C extends Change>(wanted: C): JournalEntry {
    const { kind, change } = readEntry(wanted as unknown as Fields, this.#kinds);
    const id = ++this.#ids;
    const fields: Fields = { id, ...change, ...(kind.namespaced(change) ? { net: currentNamespace() } : {}) };
    this.#file ??= createFile(this.#directories);
    this.#open.set(id, fields);
    try {
      this.#file.append(fields);
    } catch (cause) {
      this.#forget(id);
      throw cause;
    }
    return { done: () => this.#done(id), undo: () => this.#undo(id, fields) };
  }

  /** The latest first. */
  undoAll(): Outcome[] {
    return [...this.#open].reverse().map(([id, fields]) => this.#undo(id, fields));
  }

  #undo(id: number, fields: Fields): Outcome {
    const outcome: Outcome = this.#open.has(id) ? undoEntry(fields, this.#file!.path, this.#kinds) : { what: 'an entry', result: 'unchanged', journal: '' };
    if (outcome.result !== 'kept') this.#done(id);
    return outcome;
  }

  #done(id: number): void {
    if (this.#open.size > 1 && this.#open.has(id)) this.#file?.strike(id);
    this.#forget(id);
  }

  /** The file goes with its last entry. */
  #forget(id: number): void {
    if (!this.#open.delete(id) || this.#open.size > 0 || this.#file === undefined) return;
    this.#file.remove();
    removeEmpty(dirname(this.#file.path));
    this.#file = undefined;
  }
}

/** Another process may remove the folder, empty, between its making and ours. */
function createFile(directories: readonly string[]): JournalFile {
  for (let attempt = 1; ; attempt++) {
    try {
      return new JournalFile(join(makeRunDirectory(directories), ownName()), 'wx');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 10) throw cause;
    }
  }
}

/** The folder goes with its last journal. */
export function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // others have journals in it
  }
}

let mine: Journal | undefined;

/** This thread's. What is in it when the thread or the process exits by itself is undone then. */
export function journal(): Journal {
  if (mine === undefined) {
    const made = mine = new Journal();
    process.once('exit', () => { made.undoAll(); });
  }
  return mine;
}
