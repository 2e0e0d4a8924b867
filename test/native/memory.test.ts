import fc from 'fast-check';
import { ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { wasm } from '../../lib/arena/webassembly.js';
import { binding } from '../../lib/binding.js';
import { inChild } from './child.js';

const { EINVAL, EBADF } = constants.errno;
const MAP_SHARED = 1;
const PAGE = 4096;
const b = binding();

function arena(pages = 4): Uint8Array {
  return new Uint8Array(new wasm.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

t.test('a memfd over the arena is one memory seen twice', async (t) => {
  const bytes = arena();
  const fd = b.memfd('pollmode-test', 2 * PAGE, 0);
  t.ok(fd >= 0);
  bytes[PAGE] = 1;
  t.equal(b.overlay(bytes, PAGE, 2 * PAGE, fd, 0, MAP_SHARED), 0);
  t.equal(bytes[PAGE], 0, 'the file is there now');
  bytes[PAGE + 5] = 42;
  t.equal(readFileSync(`/proc/self/fd/${fd}`)[5], 42);
  t.equal(b.restore(bytes, PAGE, 2 * PAGE), 0);
  t.equal(bytes[PAGE + 5], 0, 'plain pages are back');
  t.equal(readFileSync(`/proc/self/fd/${fd}`)[5], 42, 'and the file kept its own');
  t.equal(b.close(fd), 0);
});

t.test('a memfd is close-on-exec and cannot be resized', async (t) => {
  const fd = b.memfd('pollmode-test', PAGE, 0);
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2[0-7]{6}$/m, 'O_CLOEXEC is 02000000');
  t.throws(() => ftruncateSync(fd, 0), { code: 'EPERM' });
  t.throws(() => ftruncateSync(fd, 2 * PAGE), { code: 'EPERM' });
  b.close(fd);
  t.equal(b.memfd('nul\0inside', PAGE, 0), -EINVAL);
});

t.test('a refused overlay leaves the pages as they were', async (t) => {
  const bytes = arena();
  bytes[0] = 7;
  t.equal(b.overlay(bytes, 0, PAGE, 9999, 0, MAP_SHARED), -EBADF);
  t.equal(bytes[0], 7);
});

t.test('ranges outside the view or off the page grid are EINVAL, and nothing is mapped', async (t) => {
  const bytes = arena();
  const fd = b.memfd('pollmode-test', bytes.length, 0);
  const size = fc.oneof(fc.nat(2 * bytes.length), fc.nat(70).map((page) => page * PAGE), fc.constantFrom(2 ** 32, 2 ** 53));
  fc.assert(fc.property(size, size, (offset, length) => {
    const good = offset % PAGE === 0 && length % PAGE === 0 && length > 0 && offset + length <= bytes.length;
    t.equal(b.overlay(bytes, offset, length, fd, 0, MAP_SHARED), good ? 0 : -EINVAL);
    t.equal(b.advise(bytes, offset, length, 4), good ? 0 : -EINVAL);
    t.equal(b.restore(bytes, offset, length), good ? 0 : -EINVAL);
  }));
  b.close(fd);
});

t.test('a guard refuses a range or a flag that is not its own', async (t) => {
  const bytes = arena();
  t.equal(b.guard(bytes, 0, PAGE, 128), -EINVAL, 'flag inside the range');
  t.equal(b.guard(bytes, PAGE, PAGE, 130), -EINVAL, 'flag not on four bytes');
  t.equal(b.guard(bytes, PAGE, PAGE, bytes.length - 2), -EINVAL, 'flag past the end');
  t.equal(b.guard(bytes, PAGE, bytes.length, 0), -EINVAL, 'range past the end');
});

t.test('a truncated file under an overlay: pages are replaced, the flag counts, the process lives', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'pollmode-'));
  const fd = openSync(join(folder, 'file'), 'w+');
  const bytes = arena();
  const words = new Uint32Array(bytes.buffer);
  ftruncateSync(fd, 3 * PAGE);
  t.equal(b.overlay(bytes, PAGE, 3 * PAGE, fd, 0, MAP_SHARED), 0);
  t.equal(b.guard(bytes, PAGE, 3 * PAGE, 64), 0);
  bytes[PAGE] = 1;
  ftruncateSync(fd, 0);
  t.equal(bytes[PAGE], 0);
  t.equal(words[16], 1);
  bytes[2 * PAGE] = 9;
  t.equal(bytes[2 * PAGE], 9, 'the new page takes writes');
  t.equal(words[16], 2);
  t.equal(b.restore(bytes, PAGE, 3 * PAGE), 0);
  t.equal(bytes[3 * PAGE], 0);
  t.equal(words[16], 2, 'no guard is needed any more');
  b.close(fd);
  rmSync(folder, { recursive: true });
});

t.test('the table is finite, restore frees a place, and a full one says so', async (t) => {
  const bytes = arena(64);
  const flag = 0;
  let added = 0;
  while (added < 600 && b.guard(bytes, PAGE * (1 + added), PAGE, flag) === 0) added++;
  t.equal(added, 512);
  t.equal(b.guard(bytes, PAGE, PAGE, flag), -constants.errno.ENOSPC);
  t.equal(b.restore(bytes, PAGE, PAGE), 0);
  t.equal(b.guard(bytes, PAGE, PAGE, flag), 0);
  t.equal(b.restore(bytes, PAGE, 600 * PAGE), 0);
  t.equal(b.guard(bytes, PAGE, PAGE, flag), 0);
  t.equal(b.restore(bytes, PAGE, PAGE), 0);
});

/** In a child: an overlay at PAGE whose file is about to go, and the flag at word 16. */
const OVERLAY = `
  const { binding } = await import(LIB + 'binding.js');
  const { openSync, ftruncateSync, mkdtempSync, rmSync } = await import('node:fs');
  const b = binding();
  const folder = mkdtempSync(process.env.FOLDER);
  const fd = openSync(folder + '/file', 'w+');
  rmSync(folder, { recursive: true });
  const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
  const bytes = new Uint8Array(memory.buffer), words = new Uint32Array(memory.buffer);
  ftruncateSync(fd, 8192);
  b.overlay(bytes, 4096, 8192, fd, 0, 1);`;
const FOLDER = { FOLDER: join(tmpdir(), 'pollmode-') };

t.test('a SIGBUS outside every guard is passed on: the process dies of it', async (t) => {
  const ended = inChild(`${OVERLAY}
    b.guard(bytes, 4096, 4096, 64);
    ftruncateSync(fd, 0);
    bytes[4096] = 1;
    console.log('survived', words[16]);
    bytes[8192] = 1;
    console.log('not reached');`, [], FOLDER);
  t.match(ended.stdout, /^survived 1\n$/);
  t.ok(ended.signal === 'SIGBUS' || ended.stderr.includes('SIGBUS') || ended.stderr.includes('BUS on'), `died of SIGBUS: ${ended.signal}`);
});

t.test('a SIGBUS that was sent, and not raised by memory, is passed on too', async (t) => {
  const ended = inChild(`${OVERLAY}
    b.guard(bytes, 4096, 4096, 64);
    process.kill(process.pid, 'SIGBUS');
    setTimeout(() => console.log('not reached'), 5000);`, [], FOLDER);
  t.notMatch(ended.stdout, /not reached/);
  t.ok(ended.signal === 'SIGBUS' || ended.stderr.includes('BUS'), `died of SIGBUS: ${ended.signal}`);
});

t.test('a worker\'s guards go with the worker, and the handler stays good', async (t) => {
  const ended = inChild(`${OVERLAY}
    const { Worker } = await import('node:worker_threads');
    const { once } = await import('node:events');
    const body = "import('" + LIB + "binding.js').then(({ binding }) => {" +
      "const { workerData: m } = require('node:worker_threads'); const bytes = new Uint8Array(m.buffer);" +
      "if (binding().guard(bytes, 8192, 4096, 68) !== 0) process.exit(3); })";
    b.guard(bytes, 4096, 4096, 64);
    const [code] = await once(new Worker(body, { eval: true, execArgv: [], workerData: memory }), 'exit');
    ftruncateSync(fd, 0);
    bytes[4096] = 1;
    console.log('worker ended', code, 'main guard', words[16]);
    bytes[8192] = 1;
    console.log('not reached');`, [], FOLDER);
  t.equal(ended.stdout, 'worker ended 0 main guard 1\n');
  t.ok(ended.signal === 'SIGBUS' || ended.stderr.includes('BUS'), `died of SIGBUS: ${ended.signal}`);
});

t.test('the handler is good when the only environment that loaded the addon has ended', async (t) => {
  const ended = inChild(`
    const { Worker } = await import('node:worker_threads');
    const { once } = await import('node:events');
    const body = "import('" + LIB + "binding.js').then(({ binding }) => {" +
      "const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer);" +
      "if (binding().guard(bytes, 8192, 4096, 68) !== 0) process.exit(3); })";
    const [code] = await once(new Worker(body, { eval: true, execArgv: [] }), 'exit');
    console.log('worker ended', code);
    process.kill(process.pid, 'SIGBUS');
    setTimeout(() => console.log('not reached'), 5000);`);
  t.equal(ended.stdout, 'worker ended 0\n');
  t.ok(ended.signal === 'SIGBUS' || ended.stderr.includes('BUS'), `died of SIGBUS: ${ended.signal}`);
});

t.test('the address is of the view, not of its buffer', async (t) => {
  const bytes = arena();
  t.equal(b.address(bytes.subarray(100)) - b.address(bytes), 100n);
  t.equal(b.address(bytes) % BigInt(PAGE), 0n);
});
