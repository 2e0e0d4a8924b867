import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import t from 'tap';
import { wasm } from '../../lib/arena/webassembly.js';
import { binding } from '../../lib/binding.js';
import { AF_UNIX, MSG_DONTWAIT, O_RDONLY, POLLIN, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET, SO_RCVBUF } from '../../lib/kernel/constants.js';
import { setU16, u32 } from '../../lib/kernel/bytes.js';

const { EINVAL, ENOENT, EBADF, EAGAIN, ENOTTY } = constants.errno;
const b = binding();
const text = new TextEncoder();

/** Two datagram sockets, the second connected to the first, by an abstract name that no file stands for. */
function pair(): [number, number] {
  const name = new Uint8Array(40);
  setU16(name, 0, AF_UNIX);
  name.set(text.encode(`pollmode-test-${process.pid}-${Math.random()}`).subarray(0, 37), 3);
  const receiver = b.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const sender = b.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  t.equal(b.bind(receiver, name), 0);
  t.equal(b.connect(sender, name), 0);
  return [receiver, sender];
}

t.test('open, read, close: the kernel\'s numbers come through', async (t) => {
  const fd = b.open('/proc/self/stat', O_RDONLY);
  t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2[0-7]{6}$/m, 'close-on-exec');
  const into = new Uint8Array(64);
  t.equal(b.read(fd, into), 64);
  t.ok(new TextDecoder().decode(into).startsWith(`${process.pid} (`));
  t.equal(b.close(fd), 0);
  t.equal(b.close(fd), -EBADF);
  t.equal(b.open('/no/such/file', O_RDONLY), -ENOENT);
  t.equal(b.open('/proc/self/stat\0/../x', O_RDONLY), -EINVAL, 'a NUL does not cut a path short');
});

t.test('writeEach, sendEach and readEach move one packet per pair', async (t) => {
  const [receiver, sender] = pair();
  const bytes = new Uint8Array(new wasm.Memory({ initial: 1, maximum: 1, shared: true }).buffer);
  bytes.set(text.encode('onetwothree'), 100);
  t.equal(b.writeEach(sender, bytes, Uint32Array.of(100, 3, 103, 3), 2), 2);
  t.equal(b.sendEach(sender, bytes, Uint32Array.of(106, 5), 1, MSG_DONTWAIT), 1);
  const pairs = Uint32Array.of(1000, 50, 2000, 50, 3000, 50, 4000, 50);
  t.equal(b.readEach(receiver, bytes, pairs, 4), 3, 'stops where there is no more');
  t.same([...pairs], [1000, 3, 2000, 3, 3000, 5, 4000, 50]);
  t.equal(new TextDecoder().decode(bytes.slice(3000, 3005)), 'three');
  t.equal(b.readEach(receiver, bytes, pairs, 4), -EAGAIN);
  for (const fd of [receiver, sender]) b.close(fd);
});

t.test('readEachSpilling: what a place has no room for goes on in another, and the call ends there', async (t) => {
  const [receiver, sender] = pair();
  const bytes = new Uint8Array(8192);
  for (const [first, length] of [[1, 40], [2, 50], [3, 51], [4, 120], [5, 10]] as const) b.send(sender, new Uint8Array(length).fill(first), 0);
  const pairs = Uint32Array.of(0, 50, 50, 50, 100, 50, 150, 50, 200, 50);
  t.equal(b.readEachSpilling(receiver, bytes, pairs, 5, 4000, 100), 3);
  t.same([...pairs.subarray(0, 6)], [0, 40, 50, 50, 100, 51]);
  t.same([bytes[149], bytes[4000], bytes[4001]], [3, 3, 0]);
  t.equal(b.readEachSpilling(receiver, bytes, pairs.subarray(6), 2, 4000, 60), 1);
  t.same([pairs[7], bytes[4059], bytes[4060]], [110, 4, 0], 'cut to what there is');
  t.equal(b.readEachSpilling(receiver, bytes, pairs.subarray(8), 1, 0, 0), 1);
  t.equal(pairs[9], 10);
  t.equal(b.readEachSpilling(receiver, bytes, pairs, 1, 8000, 193), -EINVAL, 'a place outside the view');
  t.equal(b.readEachSpilling(receiver, bytes, Uint32Array.of(8192, 1), 1, 0, 0), -EINVAL);
  for (const fd of [receiver, sender]) b.close(fd);
});

t.test('writev: the parts of one packet', async (t) => {
  const [receiver, sender] = pair();
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  t.equal(b.writev(sender, bytes, Uint32Array.of(10, 3, 200, 2, 0, 0, 255, 1), 4), 6);
  const into = new Uint8Array(20);
  t.equal(b.recv(receiver, into, 0), 6);
  t.same([...into.subarray(0, 6)], [10, 11, 12, 200, 201, 255]);
  for (const wrong of [Uint32Array.of(10, 3, 255, 2), Uint32Array.of(0xffffffff, 2, 0, 1)]) t.equal(b.writev(sender, bytes, wrong, 2), -EINVAL);
  t.equal(b.writev(sender, bytes, Uint32Array.of(0, 1), 2), -EINVAL);
  t.equal(b.recv(receiver, into, MSG_DONTWAIT), -EAGAIN, 'nothing of it was sent');
  for (const fd of [receiver, sender]) b.close(fd);
});

t.test('a pair that leads outside the view stops before it', async (t) => {
  const [receiver, sender] = pair();
  const bytes = new Uint8Array(256);
  fc.assert(fc.property(fc.nat(400), fc.nat(400), fc.boolean(), (offset, length, far) => {
    const at = far ? 0xffffff00 + (offset & 0xff) : offset;
    const good = at + length <= bytes.length;
    t.equal(b.writeEach(sender, bytes, Uint32Array.of(0, 1, at, length), 2), good ? 2 : 1);
    const into = new Uint8Array(512);
    t.equal(b.recv(receiver, into, 0), 1);
    if (good) t.equal(b.recv(receiver, into, 0), length);
    t.equal(b.recv(receiver, into, 0), -EAGAIN);
  }));
  t.equal(b.writeEach(sender, bytes, Uint32Array.of(0, 1), 2), -EINVAL, 'fewer pairs than counted');
  t.equal(b.writeEach(sender, bytes, new Uint32Array(), 0xffffffff), -EINVAL);
  for (const fd of [receiver, sender]) b.close(fd);
});

t.test('poll replaces events by what is there', async (t) => {
  const fd = b.eventfd(0, 0);
  const fds = Int32Array.of(fd, POLLIN, -1, POLLIN);
  t.equal(b.poll(fds, 0), 0);
  t.same([...fds], [fd, 0, -1, 0]);
  b.write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  fds[1] = POLLIN;
  t.equal(b.poll(fds, 1000), 1);
  t.same([...fds], [fd, POLLIN, -1, 0]);
  b.close(fd);
});

t.test('ioctl refuses a structure that is shorter than its request', async (t) => {
  const fd = b.eventfd(0, 0);
  t.equal(b.ioctl(fd, 0x8946, new Uint8Array(39)), -EINVAL, 'an ifreq has 40');
  t.equal(b.ioctl(fd, 0x400454ca, new Uint8Array(3)), -EINVAL, 'TUNSETIFF says 4');
  t.equal(b.ioctl(fd, 0x400454ca, new Uint8Array(40)), -ENOTTY);
  t.equal(b.ioctl(fd, 0x400454ca, 1), -ENOTTY, 'a plain number is passed as it is');
  b.close(fd);
});

t.test('pointers stay inside the structure', async (t) => {
  const target = new Uint8Array(8);
  for (const at of [-1, 33, 2 ** 53, 0.5]) t.equal(b.ioctl(-1, 0, new Uint8Array(40), [[at, target]]), -EINVAL, `at ${at}`);
  const structure = new Uint8Array(40);
  t.equal(b.ioctl(-1, 0, structure, [[32, target]]), -EBADF);
  t.equal(new DataView(structure.buffer).getBigUint64(32, true), b.address(target));
});

t.test('socket options come back with their length', async (t) => {
  const fd = b.socket(AF_UNIX, SOCK_DGRAM, 0);
  t.equal(b.setsockopt(fd, SOL_SOCKET, SO_RCVBUF, u32(8192)), 0);
  const value = new Uint8Array(16);
  t.equal(b.getsockopt(fd, SOL_SOCKET, SO_RCVBUF, value), 4);
  t.ok(new DataView(value.buffer).getUint32(0, true) >= 8192);
  b.close(fd);
});
