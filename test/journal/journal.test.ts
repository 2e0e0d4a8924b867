import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { makeRunDirectory, runDirectories } from '../../lib/journal/directory.js';
import { parseJournal } from '../../lib/journal/file.js';
import { Journal } from '../../lib/journal/journal.js';
import { listJournals, undoLeft } from '../../lib/journal/left.js';
import { ownerOf, fateOf, ownName } from '../../lib/journal/owner.js';
import { codeThrown, needs } from '../kernel/rights.js';
import { inChild, startChild } from '../native/child.js';
import { childWith, noteKinds, scratch, type NoteChange, type Scratch } from './note_helper.js';

const read = (path: string): string => readFileSync(path, 'utf8');
const note = (path: string, was: string): NoteChange => ({ kind: 'note', path, was });
const optionsOf = ({ run }: Scratch): { directories: string[]; kinds: typeof noteKinds } => ({ directories: [run], kinds: noteKinds });
const results = (of: Scratch): string[] => undoLeft(optionsOf(of)).map(each => each.result);
const files = ({ run }: Scratch): string[] => existsSync(run) ? readdirSync(run) : [];

/** A child that does `code` and is killed as soon as it has written a line. */
async function killed(of: Scratch, code: string): Promise<void> {
  const child = startChild(childWith(of, `${code}; console.log('ready'); setInterval(() => {}, 1000);`));
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** The journal that a process left which wrote these lines and is dead: another boot, namespace or start if asked. */
function deadJournal(of: Scratch, contents: string, change: { boot?: string; pidns?: string } = {}): string {
  mkdirSync(of.run, { mode: 0o700, recursive: true });
  const { pid, start, pidns, boot } = ownerOf(ownName())!;
  // This very process's PID, and a start before its own: the PID was given again.
  const path = join(of.run, `${pid}-${start - 1}-${change.pidns ?? pidns}-${change.boot ?? boot}-${'0'.repeat(15)}${files(of).length}.journal`);
  writeFileSync(path, contents, { mode: 0o600 });
  return path;
}

t.test('an entry is on the disk before the change, and gone with its undoing', async (t) => {
  const lab = scratch();
  const [one, two] = [lab.file('one', 'b'), lab.file('two', 'b')];
  const journal = new Journal(optionsOf(lab));
  t.same(files(lab), [], 'nothing is made before it is needed');
  const first = journal.record(note(one, 'a'));
  const second = journal.record(note(two, 'a'));
  const [name] = files(lab) as [string];
  t.same(read(join(lab.run, name)).trim().split('\n').map(line => JSON.parse(line) as unknown), [{ id: 1, kind: 'note', path: one, was: 'a' }, { id: 2, kind: 'note', path: two, was: 'a' }]);
  t.equal(fateOf(ownerOf(name)!), 'alive');
  t.match(first.undo(), { result: 'undone' });
  t.equal(read(one), 'a');
  t.match(first.undo(), { result: 'unchanged' }, 'twice is once');
  t.match(listJournals(optionsOf(lab)), [{ fate: 'alive', pid: process.pid, entries: [`${two} back to a`], unreadable: [] }]);
  second.done();
  t.equal(read(two), 'b', 'done undoes nothing');
  t.notOk(existsSync(lab.run), 'the folder goes with its last journal');
  t.match(journal.record(note(two, 'a')).undo(), { result: 'undone' }, 'and comes again');
  t.notOk(existsSync(lab.run));
  lab.remove();
});

t.test('undoAll takes the latest change first', async (t) => {
  const lab = scratch();
  const path = lab.file('value', 'c');
  const journal = new Journal(optionsOf(lab));
  journal.record(note(path, 'a'));
  journal.record(note(path, 'b'));
  t.same(journal.undoAll().map(each => each.result), ['undone', 'undone']);
  t.equal(read(path), 'a');
  t.equal(read(`${path}.log`), 'b\na\n');
  t.same(journal.undoAll(), []);
  lab.remove();
});

t.test('a killed process is undone at the next look, once', async (t) => {
  const lab = scratch();
  for (const name of ['one', 'two']) lab.file(name, 'old');
  await killed(lab, 'note("one", "new"); note("two", "new"); note("one", "newer").done();');
  t.equal(read(lab.file('one')), 'newer');
  t.match(listJournals(optionsOf(lab)), [{ fate: 'dead', entries: [String, String] }]);
  t.same(results(lab), ['undone', 'undone']);
  t.equal(read(lab.file('one')), 'old');
  t.equal(read(lab.file('two')), 'old');
  t.same(results(lab), []);
  t.notOk(existsSync(lab.run));
  lab.remove();
});

t.test('one that was killed between entry and change leaves nothing to undo', async (t) => {
  const lab = scratch();
  lab.file('one', 'old');
  await killed(lab, `journal.record({ kind: 'note', path: ${JSON.stringify(lab.file('one'))}, was: 'old' })`);
  t.same(results(lab), ['unchanged']);
  lab.remove();
});

t.test('the journal of a process that lives is left alone; a dead one that nobody waited for is not', async (t) => {
  const lab = scratch();
  for (const name of ['one', 'two']) lab.file(name, 'old');
  const child = startChild(childWith(lab, 'note("one", "new"); console.log("ready"); process.stdin.on("end", () => { journal.undoAll(); }).resume();'));
  await once(child.stdout!, 'data');
  const before = files(lab);
  t.same(results(lab), []);
  t.same(files(lab), before);
  t.equal(read(lab.file('one')), 'new');
  child.stdin!.end();
  await once(child, 'exit');
  t.equal(read(lab.file('one')), 'old', 'it undid its own');
  // A shell that never waits: its child is a zombie until it ends.
  const script = childWith(lab, 'note("two", "new"); process.kill(process.pid, "SIGKILL");');
  const ended = inChild(`
    const { spawn } = await import('node:child_process');
    spawn('sh', ['-c', '"$0" "$@" & sleep 0.3; exec sleep 5', process.execPath, '--input-type=module', '-e', ${JSON.stringify(`const LIB = LIBRARY;${script}`)}.replace('LIBRARY', JSON.stringify(LIB))], { stdio: 'ignore', detached: true }).unref();
    const { undoLeft } = await import(LIB + 'journal/left.js');
    const { noteKinds } = await import(LIB + '../test/journal/note_helper.js');
    const until = performance.now() + 60000;
    let found = [];
    while (found.length === 0 && performance.now() < until) found = undoLeft({ directories: [${JSON.stringify(lab.run)}], kinds: noteKinds });
    console.log(found.map(each => each.result).join());`);
  t.equal(ended.stdout, 'undone\n', ended.stderr);
  lab.remove();
});

t.test('an exit without close undoes by itself; so does an error that nobody caught', async (t) => {
  const lab = scratch();
  const code = (end: string): string => `
    process.env.POLLMODE_RUN_DIR = ${JSON.stringify(lab.run)};
    const { journal } = await import(LIB + 'journal/journal.js');
    const { readdirSync, readFileSync } = await import('node:fs');
    // Its own kinds are the kernel's: a value that is what it was is enough to see that the entry goes.
    journal().record({ kind: 'sysfs', path: '/proc/sys/net/ipv4/ip_forward', was: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() });
    console.log(readdirSync(${JSON.stringify(lab.run)}).length);
    ${end}`;
  for (const end of ['process.exit(3)', 'throw new Error("mine")', '']) {
    t.equal(inChild(code(end)).stdout, '1\n', end);
    t.notOk(existsSync(lab.run), end);
  }
  lab.remove();
});

t.test('two that clean at once undo each entry once', async (t) => {
  const lab = scratch();
  const count = process.env['POLLMODE_LONG'] === '1' ? 2000 : 100;
  for (let i = 0; i < count; i++) {
    const { pid, start, pidns, boot } = ownerOf(ownName())!;
    mkdirSync(lab.run, { mode: 0o700, recursive: true });
    lab.file(`${i}`, 'new');
    writeFileSync(join(lab.run, `${pid}-${start - 1}-${pidns}-${boot}-${String(i).padStart(16, '0')}.journal`), `${JSON.stringify({ id: 1, ...note(lab.file(`${i}`), 'old') })}\n`, { mode: 0o600 });
  }
  const code = childWith(lab, 'process.stdin.once("data", () => { console.log(undoLeft(options).length); process.exit(); }); console.log("ready");');
  const cleaners = [startChild(code), startChild(code)];
  await Promise.all(cleaners.map(each => once(each.stdout!, 'data')));
  const answers = cleaners.map(each => once(each.stdout!, 'data') as Promise<[Buffer]>);
  for (const each of cleaners) each.stdin!.write('go\n');
  const shares = (await Promise.all(answers)).map(([line]) => Number(line.toString()));
  t.equal(shares[0]! + shares[1]!, count);
  for (let i = 0; i < count; i++) if (read(`${lab.file(`${i}`)}.log`) !== 'old\n') t.fail(`${i} was undone more than once`);
  t.notOk(existsSync(lab.run));
  lab.remove();
});

t.test('garbled lines are named, the others are undone, and the file is set aside for a person', async (t) => {
  const lab = scratch();
  const path = lab.file('one', 'new');
  const good = JSON.stringify({ id: 2, ...note(path, 'old') });
  const dead = deadJournal(lab, `nonsense\n${good}\n{"id":3,"kind":"no such kind"}\n{"id":4,"kind":"note","path":7}\n{"id":5,"kind":"note","path":"${path}","was":"torn`);
  t.match(listJournals(optionsOf(lab)), [{ fate: 'dead', entries: [`${path} back to old`], unreadable: ['line 1', /^entry 3: .*no such kind/, /^entry 4: .*"path"/] }]);
  t.match(undoLeft(optionsOf(lab)), [{ what: 'line 1', result: 'unreadable' }, { result: 'unreadable' }, { result: 'unreadable' }, { result: 'undone' }]);
  t.equal(read(path), 'old');
  t.notOk(existsSync(dead));
  const [aside, ...rest] = files(lab);
  t.match(aside, /\.unreadable$/);
  t.same(rest, []);
  t.match(read(join(lab.run, aside!)), /^nonsense\n/);
  t.same(results(lab), [], 'and is reported once');
  t.match(listJournals(optionsOf(lab)), [{ fate: 'set aside' }]);
  lab.remove();
});

t.test('what cannot be undone now is kept for the next; what is gone is not', async (t) => {
  const lab = scratch();
  deadJournal(lab, [note(lab.file('gone'), 'old'), note(lab.file('held', 'x'), 'stuck'), note(lab.file('good', 'new'), 'old')].map((change, id) => `${JSON.stringify({ id, ...change })}\n`).join(''));
  const code = childWith(lab, 'console.log(undoLeft(options).map(each => each.result).join());');
  t.equal(inChild(code).stdout, 'undone,kept,gone\n');
  t.equal(inChild(code).stdout, 'kept\n', 'it is the only one left');
  t.equal(files(lab).length, 1);
  lab.remove();
});

t.test('journals of before the boot are forgotten, those of another PID namespace are not touched', async (t) => {
  const lab = scratch();
  const line = `${JSON.stringify({ id: 1, ...note(lab.file('one', 'new'), 'old') })}\n`;
  deadJournal(lab, line, { boot: '00000000-0000-0000-0000-000000000000' });
  const elsewhere = deadJournal(lab, line, { pidns: '1' });
  t.same(results(lab), []);
  t.equal(read(lab.file('one')), 'new');
  t.same(files(lab).map(name => join(lab.run, name)), [elsewhere]);
  t.match(listJournals(optionsOf(lab)), [{ fate: 'elsewhere' }]);
  lab.remove();
});

t.test('a file or folder that others can write is believed in nothing', async (t) => {
  const lab = scratch();
  const path = lab.file('one', 'new');
  const line = `${JSON.stringify({ id: 1, ...note(path, 'old') })}\n`;
  const spoil: [string, (file: string) => void][] = [
    ['writable by others', file => chmodSync(file, 0o622)],
    ['a second name', file => linkSync(file, lab.file(`link${Math.random()}`))],
    ['a symbolic link', (file) => { renameSync(file, lab.file('moved')); symlinkSync(lab.file('moved'), file); }],
    ['a folder', (file) => { renameSync(file, lab.file('moved2')); mkdirSync(file); }],
    ['too long', file => truncateSync(file, (1 << 20) + 1)],
    ...(process.geteuid?.() === 0 ? [['another user\'s', (file: string) => chownSync(file, 65534, 65534)] as [string, (file: string) => void]] : []),
  ];
  for (const [what, work] of spoil) {
    const file = deadJournal(lab, line);
    work(file);
    t.same(results(lab), ['unreadable'], what);
    t.equal(read(path), 'new', what);
    renameSync(file, lab.file(`away${Math.random()}`));
  }
  deadJournal(lab, line);
  for (const [what, work, back] of [
    ['writable by others', () => chmodSync(lab.run, 0o777), () => chmodSync(lab.run, 0o700)],
    ['a symbolic link', () => { renameSync(lab.run, `${lab.run}2`); symlinkSync(`${lab.run}2`, lab.run); }, () => {}],
  ] as const) {
    work();
    t.same(results(lab), [], what);
    t.match(listJournals(optionsOf(lab)), [{ fate: 'untrusted' }], what);
    t.equal(codeThrown(() => new Journal(optionsOf(lab)).record(note(path, 'x'))), 'ERIGHTS', what);
    back();
  }
  t.equal(read(path), 'new');
  lab.remove();
});

t.test('a folder is looked for in turn, and the one that the environment names is the only one', async (t) => {
  const lab = scratch();
  t.same(runDirectories({ POLLMODE_RUN_DIR: '/x' }), ['/x']);
  t.ok(runDirectories({ XDG_RUNTIME_DIR: '/run/user/9' }).includes('/run/user/9/pollmode'));
  t.notOk(runDirectories({ XDG_RUNTIME_DIR: 'relative' }).some(each => each.startsWith('relative')));
  t.equal(runDirectories({}).includes('/run/pollmode'), process.geteuid?.() === 0);
  t.equal(makeRunDirectory(['/proc/no/such', lab.run]), lab.run);
  t.throws(() => makeRunDirectory(['/proc/no/such', lab.file('a file', '')]), { code: 'ERIGHTS', message: /\/proc\/no\/such .*a file is no folder/ });
  lab.remove();
});

t.test('a disk that is full: the change is refused before it is made', needs('CAP_SYS_ADMIN'), async (t) => {
  const lab = scratch();
  const ended = inChild(childWith(lab, `
    const { spawnSync } = await import('node:child_process');
    const { mkdirSync, readdirSync } = await import('node:fs');
    mkdirSync(options.directories[0], { mode: 0o700 });
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4096,mode=700', 'none', options.directories[0]]);
    const codes = [];
    for (let i = 0; i < 3; i++) {
      try { journal.record({ kind: 'note', path: 'p'.repeat(3000), was: 'x' }); codes.push('ok'); } catch (error) { codes.push(error.code); }
    }
    const [file] = readdirSync(options.directories[0]);
    console.log(codes.join(), readFileSync(options.directories[0] + '/' + file, 'utf8').split('\\n').length - 1);
    journal.undoAll();
    writeFileSync(options.directories[0] + '/filler', new Uint8Array(4096));
    try { journal.record({ kind: 'note', path: 'p', was: 'x' }); } catch (error) { console.log(error.code, readdirSync(options.directories[0]).join()); }`), ['unshare', '-m']);
  t.equal(ended.stdout, 'ok,ESYSCALL,ESYSCALL 1\nESYSCALL filler\n', ended.stderr);
  lab.remove();
});

t.test('any bytes at all are entries or unreadable lines, and a cut loses the last line only', async (t) => {
  const lines = fc.array(fc.oneof(
    fc.record({ id: fc.integer({ min: 1, max: 9 }), kind: fc.string() }).map(each => JSON.stringify(each)),
    fc.record({ done: fc.integer({ min: 1, max: 9 }) }).map(each => JSON.stringify(each)),
    fc.string().map(text => text.replace(/\n/g, ' ')),
    fc.constantFrom('null', '[]', '7', '{"id":"1"}', '{"id":1.5}', '{"done":{}}'),
  ), { maxLength: 12 });
  fc.assert(fc.property(lines, fc.nat(), (all, cut) => {
    const text = all.map(line => `${line}\n`).join('');
    const bytes = new TextEncoder().encode(text);
    const short = bytes.subarray(0, bytes.length === 0 ? 0 : cut % bytes.length);
    const whole = new TextDecoder().decode(short).split('\n').slice(0, -1).map(line => `${line}\n`).join('');
    t.same(parseJournal(short), parseJournal(new TextEncoder().encode(whole)));
    const { open, unreadable } = parseJournal(bytes);
    return open.length + unreadable.length <= all.length && unreadable.every(line => line >= 1 && line <= all.length);
  }), { numRuns: 100 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => parseJournal(bytes).open.length === 0 || bytes.length > 7));
});

t.test('names that are no journal\'s are not looked at', async (t) => {
  const lab = scratch();
  const dead = deadJournal(lab, 'x\n');
  copyFileSync(dead, join(lab.run, 'notes.txt'));
  copyFileSync(dead, `${dead}.bak`);
  t.same(results(lab), ['unreadable']);
  t.same(files(lab).filter(name => /txt|bak/.test(name)).length, 2);
  for (const bad of ['', '1.journal', '1-2-3-x-0.journal', `../${ownName()}`]) t.equal(ownerOf(bad), undefined, bad);
  lab.remove();
});
