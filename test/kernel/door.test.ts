/** Two programs at one place at once: what one has just made is not taken for what a dead one left. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { binding } from '../../lib/binding.js';
import { SOCK_NONBLOCK, SOCK_SEQPACKET } from '../../lib/kernel/constants.js';
import { Door } from '../../lib/kernel/door.js';
import { unixAddress, unixSocket } from '../../lib/kernel/unix.js';
import { codeThrown, needs } from './rights.js';

const addon = needs();

function place(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-door-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return join(folder, 'door');
}

/** A socket with a file at which nobody listens. */
function bound(path: string): number {
  const fd = unixSocket(SOCK_SEQPACKET | SOCK_NONBLOCK);
  t.equal(binding().bind(fd, unixAddress(path)), 0);
  return fd;
}

/** Has something happen right after the next knock was refused. */
function afterKnock(work: () => void): void {
  const native = binding() as { connect: (fd: number, address: Uint8Array) => number };
  const real = native.connect;
  native.connect = (fd, address) => {
    native.connect = real;
    const result = real(fd, address);
    work();
    return result;
  };
}

t.test('a file that a dead program left is replaced, another is not', addon, async t => {
  const path = place(t);
  binding().close(bound(path));
  const door = new Door(path, []);
  t.equal(codeThrown(() => new Door(path, [])), 'EBUSYQUEUE');
  door.close();
  t.notOk(existsSync(path));
  writeFileSync(path, '');
  t.equal(codeThrown(() => new Door(path, [])), 'EEXISTS');
});

t.test('one that is made just now does not listen yet, and is none of a dead program', addon, async t => {
  const path = place(t);
  const fd = bound(path);
  afterKnock(() => t.equal(binding().listen(fd, 1), 0));
  t.equal(codeThrown(() => new Door(path, [])), 'EBUSYQUEUE');
  t.ok(existsSync(path));
  binding().close(fd);
});

t.test('of two that find the same file stale, one takes its place', addon, async t => {
  const path = place(t);
  binding().close(bound(path));
  let other: Door | undefined;
  afterKnock(() => {
    unlinkSync(path);
    writeFileSync(`${path}.between`, ''); // so that the file system does not give the same number again
    other = new Door(path, []);
  });
  t.equal(codeThrown(() => new Door(path, [])), 'EBUSYQUEUE');
  t.ok(existsSync(path));
  other!.close();
});

t.test('whoever knocks while there is no descriptor left is let in later, and the event loop is not spun meanwhile', addon, async t => {
  const path = place(t);
  const door = new Door(path, []);
  t.teardown(() => door.close());
  const admitted: number[] = [];
  door.watch(fd => admitted.push(fd));
  const caller = unixSocket(SOCK_SEQPACKET | SOCK_NONBLOCK);
  const native = binding() as { accept: ReturnType<typeof binding>['accept'] };
  const { accept } = native;
  let tries = 0;
  native.accept = (...words) => {
    tries++;
    return accept(...words);
  };
  // From outside, since with the limit at 3 this process can start nothing.
  const limiter = spawn('sh', ['-c', `soft=$(prlimit --pid ${process.pid} --nofile -o SOFT --noheadings) && prlimit --pid ${process.pid} --nofile=3: && sleep 1 && prlimit --pid ${process.pid} --nofile=$soft:`], { stdio: 'ignore' });
  const ended = once(limiter, 'exit');
  try {
    for (let made = 0; made >= 0; await sleep(5)) {
      made = binding().eventfd(0, 0);
      if (made >= 0) binding().close(made);
    }
    t.equal(binding().connect(caller, unixAddress(path)), 0);
    await sleep(300);
    t.ok(tries >= 1 && tries <= 10, `${tries} tries`);
    t.same(admitted, []);
    t.same(await ended, [0, null]);
    for (let wait = 0; wait < 100 && admitted.length === 0; wait++) await sleep(20);
    t.equal(admitted.length, 1);
  } finally {
    native.accept = accept;
    await ended;
    for (const fd of [caller, ...admitted]) binding().close(fd);
  }
});
