/** A kind of change that needs no rights: a line in a file of the test's own. */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PollmodeError } from '../../lib/errors.js';
import { textField, type Change, type Kind } from '../../lib/journal/kind.js';

export interface NoteChange extends Change {
  readonly kind: 'note';
  readonly path: string;
  readonly was: string;
}

const noteKind: Kind<NoteChange> = {
  kind: 'note',
  namespaced: () => false,
  check: fields => ({ kind: 'note', path: textField(fields, 'path', 4096), was: textField(fields, 'was', 100) }),
  describe: ({ path, was }) => `${path} back to ${was}`,
  undo({ path, was }) {
    if (was === 'stuck') throw new PollmodeError('ERIGHTS', 'It may not be written: try again.');
    if (!existsSync(path)) throw new PollmodeError('ENOTFOUND', 'It is gone.');
    if (readFileSync(path, 'utf8') === was) return 'unchanged';
    writeFileSync(path, was);
    appendFileSync(`${path}.log`, `${was}\n`);
    return 'undone';
  },
};

export const noteKinds = [noteKind as unknown as Kind<Change>];

export interface Scratch {
  readonly folder: string;
  /** Where the journals of the test are; nothing makes it but the journal. */
  readonly run: string;
  file(name: string, contents?: string): string;
  remove(): void;
}

export function scratch(): Scratch {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'pollmode-journal-')));
  return {
    folder,
    run: join(folder, 'run'),
    file(name, contents) {
      const path = join(folder, name);
      if (contents !== undefined) writeFileSync(path, contents);
      return path;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The text of a module for `startChild`: makes `journal` and `note(name)`, which records a change of a file and makes it. */
export function childWith({ folder, run }: Scratch, code: string): string {
  return `
    const { Journal } = await import(LIB + 'journal/journal.js');
    const { undoLeft } = await import(LIB + 'journal/left.js');
    const { noteKinds } = await import(LIB + '../test/journal/note_helper.js');
    const { readFileSync, writeFileSync } = await import('node:fs');
    const options = { directories: [${JSON.stringify(run)}], kinds: noteKinds };
    const journal = new Journal(options);
    const note = (name, to) => {
      const path = ${JSON.stringify(folder)} + '/' + name;
      const entry = journal.record({ kind: 'note', path, was: readFileSync(path, 'utf8') });
      writeFileSync(path, to);
      return entry;
    };
    ${code}`;
}
