import { fstatSync, openSync, readdirSync } from 'node:fs';
import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import t from 'tap';
import { binding } from '../../lib/binding.js';
import { needs } from '../kernel/rights.js';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const EINVAL = 22;

function address(path: string): Uint8Array {
  const bytes = new Uint8Array(2 + path.length + 1);
  bytes[0] = AF_UNIX;
  bytes.set(new TextEncoder().encode(path), 2);
  return bytes;
}

t.test('descriptors travel over a Unix socket', needs(), async t => {
  const b = binding();
  const path = join(tmpdir(), `pollmode-fds-${process.pid}`);
  const server = b.socket(AF_UNIX, SOCK_SEQPACKET, 0);
  t.equal(b.bind(server, address(path)), 0);
  t.teardown(() => unlinkSync(path));
  t.equal(b.listen(server, 4), 0);
  const client = b.socket(AF_UNIX, SOCK_SEQPACKET, 0);
  t.equal(b.connect(client, address(path)), 0);
  const peer = b.accept(server, 0);
  t.ok(peer > 0);
  const before = readdirSync('/proc/self/fd').length;
  const file = openSync('/proc/self/status', 'r');
  const note = new TextEncoder().encode('two of them');
  t.equal(b.sendFds(client, note, new Int32Array([file, client]), 0), note.length);
  const [into, fds] = [new Uint8Array(64), new Int32Array(4)];
  t.equal(b.recvFds(peer, into, fds, 0), note.length);
  t.equal(new TextDecoder().decode(into.subarray(0, note.length)), 'two of them');
  t.same([fds[2], fds[3]], [-1, -1]);
  t.equal(fstatSync(fds[0]!).ino, fstatSync(file).ino, 'the same file');
  b.close(fds[0]!);
  b.close(fds[1]!);

  t.equal(b.sendFds(client, note, new Int32Array([file, file, file]), 0), note.length);
  t.equal(b.recvFds(peer, into, new Int32Array(1), 0), note.length);
  t.equal(readdirSync('/proc/self/fd').length, before + 2, 'the two that found no place were closed: the file and one copy are left');

  t.equal(b.sendFds(client, note, new Int32Array(0), 0), note.length, 'none is a plain message');
  fds.fill(7);
  b.recvFds(peer, into, fds, 0);
  t.same([...fds], [-1, -1, -1, -1]);
  t.equal(b.sendFds(client, note, new Int32Array([9999]), 0), -9, 'EBADF');
  t.equal(b.sendFds(client, note, new Int32Array(254).fill(file), 0), -EINVAL, 'more than the kernel takes');
  b.close(client);
  t.equal(b.recvFds(peer, into, fds, 0), 0, 'the end');
  for (const fd of [peer, server, file]) b.close(fd);
});
