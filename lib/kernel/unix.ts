/**
 * Unix sockets of the kind SOCK_SEQPACKET (unix(7)): whole messages, with descriptors beside them, and an end that both
 * sides see. What comes in is a stranger's: a message is taken whole or not at all, and descriptors that nobody asked
 * for are closed.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { cString, getU32, getU64, setU16 } from './bytes.js';
import { AF_UNIX, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, POLLERR, POLLHUP, SOCK_NONBLOCK, SOCK_SEQPACKET, SOL_SOCKET, SO_NETNS_COOKIE, SO_PEERCRED } from './constants.js';
import { check, EAGAIN, ECONNRESET } from './errno.js';

/** sizeof(sun_path), linux/un.h. */
const SUN_PATH = 108;

/** The fds of one message that are looked at: one more than any message here has, so that a surplus is seen. */
const FDS_SEEN = 2;

/** A descriptor and what is with it, for `hasEnded`, which poll loops ask now and then. */
const POLLED = new Int32Array(2);

/** One message. The descriptors are the receiver's to close. */
export interface UnixMessage {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  /** It was longer than the limit: `bytes` is its front. */
  readonly cut: boolean;
}

/** Who is at the other end, as the kernel noted it at connect(2) (SO_PEERCRED); in the numbers of our own namespaces. */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** struct sockaddr_un. EOPTION for a path that does not fit. */
export function unixAddress(path: string): Uint8Array {
  const name = cString(path);
  if (name.length < 2 || name.length > SUN_PATH) throw new PollmodeError('EOPTION', `A Unix socket's path has 1 to ${SUN_PATH - 1} bytes, and "${path.slice(0, 60)}" ${name.length - 1}: choose a shorter one.`);
  const bytes = new Uint8Array(2 + name.length);
  setU16(bytes, 0, AF_UNIX);
  bytes.set(name, 2);
  return bytes;
}

/** The same for a name in the abstract namespace (unix(7)): it has no file, goes with its socket, and everybody in the network namespace may connect to it. */
export function abstractAddress(name: string): Uint8Array {
  const bytes = cString(name).subarray(0, -1);
  if (bytes.length < 1 || bytes.length > SUN_PATH - 1) throw new PollmodeError('EOPTION', `An abstract socket's name has 1 to ${SUN_PATH - 1} bytes, and "${name.slice(0, 60)}" ${bytes.length}: choose a shorter one.`);
  const address = new Uint8Array(3 + bytes.length);
  setU16(address, 0, AF_UNIX);
  address.set(bytes, 3);
  return address;
}

/** A Unix socket of that type; the caller closes it. */
export function unixSocket(type: number): number {
  return check(binding().socket(AF_UNIX, type, 0), 'socket');
}

/** One that never waits, for whole messages. */
export function seqpacketSocket(): number {
  return unixSocket(SOCK_SEQPACKET | SOCK_NONBLOCK);
}

export function peerCredentials(fd: number): Credentials {
  const bytes = new Uint8Array(12); // struct ucred
  check(binding().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytes), 'getsockopt(SO_PEERCRED)');
  return { pid: getU32(bytes, 0), uid: getU32(bytes, 4), gid: getU32(bytes, 8) };
}

/** A number that names the network namespace of a socket; undefined before Linux 5.14. */
export function netnsCookie(fd: number): bigint | undefined {
  const bytes = new Uint8Array(8);
  return binding().getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, bytes) === 8 ? getU64(bytes, 0) : undefined;
}

/**
 * The next message: undefined when there is none yet, 'end' when there will be none (the peer is gone, or sent an empty
 * one, which is the same to us).
 */
export function receiveMessage(fd: number, limit: number): UnixMessage | 'end' | undefined {
  // Mostly there is none: poll loops ask now and then, so that costs no memory.
  if (binding().recv(fd, null, MSG_DONTWAIT | MSG_PEEK) === -EAGAIN) return undefined;
  const [into, fds] = [new Uint8Array(limit), new Int32Array(FDS_SEEN)];
  // MSG_TRUNC: the whole length is told, also of a message that was cut.
  const receive = (): number => binding().recvFds(fd, into, fds, MSG_DONTWAIT | MSG_TRUNC);
  let got = receive();
  // A peer that left without reading all it was sent may have left a last word: it comes behind this, told once.
  if (got === -ECONNRESET) got = receive();
  if (got === -EAGAIN) return undefined;
  const came = [...fds].filter(each => got >= 0 && each >= 0);
  if (got > 0) return { bytes: into.slice(0, Math.min(got, limit)), fds: came, cut: got > limit };
  closeAll(came);
  return 'end';
}

/** Never waits. Returns 0, or -errno: -EAGAIN when the peer does not read what it was sent. */
export function sendMessage(fd: number, bytes: Uint8Array, fds: readonly number[] = []): number {
  return Math.min(0, binding().sendFds(fd, bytes, Int32Array.from(fds), MSG_DONTWAIT));
}

/** Has the peer gone? What it may have said is left unread. */
export function hasEnded(fd: number): boolean {
  POLLED[0] = fd;
  POLLED[1] = 0;
  return binding().poll(POLLED, 0) > 0 && (POLLED[1]! & (POLLHUP | POLLERR)) !== 0;
}

export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) binding().close(fd);
}
