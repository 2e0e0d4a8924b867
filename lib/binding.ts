/**
 * The only file that loads the native addon, and the whole of its type.
 *
 * The addon makes system calls and nothing else. Every function that is one returns what the kernel returned:
 * zero or more for success, `-errno` for a refusal. Nothing here throws for what the kernel said (only for wrong
 * argument types, which are bugs), so that a caller can choose the sentence; `check` in `kernel/errno.ts` is the
 * usual way to turn a negative number into a `PollmodeError`.
 *
 * Threads: load it in every worker that needs it; it keeps its state per environment. A file descriptor is a number
 * that belongs to the process, so any thread may use one that another opened.
 *
 * The environment variable POLLMODE_ADDON names another file to load, such as a build with sanitizers.
 */
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PollmodeError } from './errors.js';

/** A pointer to `target`'s first byte is stored at byte `at` of the structure before the call (8 bytes, host order). */
export type Pointer = readonly [at: number, target: Uint8Array];

export interface Binding {
  // native/memory.cc: the arena's address space. `bytes` is always a Uint8Array over the whole arena.
  /** Address of the view's first byte. */
  address(bytes: Uint8Array): bigint;
  /**
   * mmap(MAP_FIXED | flags, PROT_READ | PROT_WRITE) of `fd` at `fdOffset` over [offset, offset + length): whole pages
   * inside the view, or -EINVAL. When it is refused, what was there is there still, or else (a driver that refuses
   * late) anonymous pages are: never a hole.
   */
  overlay(bytes: Uint8Array, offset: number, length: number, fd: number, fdOffset: number, flags: number): number;
  /** Fresh anonymous private pages over the range, by one MAP_FIXED; drops the guards that stood inside it. */
  restore(bytes: Uint8Array, offset: number, length: number): number;
  /** madvise(2). */
  advise(bytes: Uint8Array, offset: number, length: number, advice: number): number;
  /** memfd_create(2) (always CLOEXEC and ALLOW_SEALING), ftruncate to `size` bytes, then sealed against shrinking and growing. `flags` are MFD_*. */
  memfd(name: string, size: number, flags: number): number;
  /**
   * A SIGBUS inside the range, in any thread, then replaces the page by an anonymous one and adds 1 to the u32 at
   * `flagOffset` (which must lie outside the range); one elsewhere is passed on. Keeps the arena alive until `restore`
   * of the range, or until this environment ends. At most 512 in a process, then -ENOSPC.
   */
  guard(bytes: Uint8Array, offset: number, length: number, flagOffset: number): number;

  /**
   * Memory of this process beside the arena: mmap(MAP_SHARED) of `fd` at `fdOffset`, guarded as by `guard` (the flag is in
   * `bytes`). Returns its address, or -errno. It stays until `unmapBeside`, also when this environment ends first: other
   * threads may be copying.
   */
  mapBeside(bytes: Uint8Array, fd: number, fdOffset: number, length: number, flagOffset: number): bigint | number;
  /** Undoes a `mapBeside` of this environment; -EINVAL for anything else. Nobody may be copying. */
  unmapBeside(address: bigint): number;
  /**
   * Copies `count` pieces, whose list stands at byte `list` of `bytes`: u64 address in this process, u32 offset in
   * `bytes`, u32 length, each. `out` 0: into `bytes`; 1: out of it. -EINVAL for a
   * list or a piece that is not inside `bytes`, or an address whose bytes are not all inside what one guard watches, at
   * which it stops.
   */
  copyList(bytes: Uint8Array, list: number, count: number, out: number): number;

  // native/file.cc
  /** open(2), always O_CLOEXEC. */
  open(path: string, flags: number): number;
  close(fd: number): number;
  /** dup3(2): from now on the number `fd` is the file of `by`, close-on-exec, in every thread; what it was before is closed. */
  replace(fd: number, by: number): number;
  /** ioctl(2) with `argument` as the structure (-EINVAL when it is shorter than `request` says), or a plain number where the request takes one. */
  ioctl(fd: number, request: number, argument: Uint8Array | number, pointers?: readonly Pointer[]): number;
  /** read(2) / write(2) of the whole view, once. */
  read(fd: number, into: Uint8Array): number;
  write(fd: number, from: Uint8Array): number;
  /** poll(2). `fds` holds pairs (fd, events); each `events` is replaced by revents. Blocks this thread up to `timeoutMs`. */
  poll(fds: Int32Array, timeoutMs: number): number;
  eventfd(initial: number, flags: number): number;
  /**
   * One read(2) per packet, for files that carry packets (tap, raw sockets). `pairs` holds (offset, capacity) per
   * packet; each capacity is replaced by the length read. Stops at the first refusal. Returns how many were read, or
   * -errno when the first one was refused. `writeEach` is the same for write(2), with (offset, length),
   * and `sendEach` for send(2) with MSG_* flags.
   */
  readEach(fd: number, bytes: Uint8Array, pairs: Uint32Array, count: number): number;
  writeEach(fd: number, bytes: Uint8Array, pairs: Uint32Array, count: number): number;
  /**
   * `readEach` by readv(2): what a packet's own place has no room for goes to `spill`, and the call ends behind the first
   * packet that was longer; its length is that of the whole.
   */
  readEachSpilling(fd: number, bytes: Uint8Array, pairs: Uint32Array, count: number, spill: number, spillLength: number): number;
  /** writev(2) of one packet whose parts are the pairs, at most 1024. */
  writev(fd: number, bytes: Uint8Array, pairs: Uint32Array, count: number): number;
  sendEach(fd: number, bytes: Uint8Array, pairs: Uint32Array, count: number, flags: number): number;

  // native/socket.cc
  /** socket(2), always SOCK_CLOEXEC. */
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array): number;
  connect(fd: number, address: Uint8Array): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, pointers?: readonly Pointer[]): number;
  /** Returns the length that the kernel wrote. */
  getsockopt(fd: number, level: number, name: number, value: Uint8Array): number;
  /** sendto(2); `bytes` null sends nothing, which is AF_XDP's and PACKET_TX_RING's kick. */
  send(fd: number, bytes: Uint8Array | null, flags: number, address?: Uint8Array): number;
  /** recvfrom(2); `bytes` null is AF_XDP's kick for the receive side. */
  recv(fd: number, bytes: Uint8Array | null, flags: number): number;
  listen(fd: number, backlog: number): number;
  /** accept4(2), always SOCK_CLOEXEC. */
  accept(fd: number, flags: number): number;
  /** sendmsg(2) with descriptors as SCM_RIGHTS (at most 253, the kernel's SCM_MAX_FD); they stay open here too. Never raises SIGPIPE. */
  sendFds(fd: number, bytes: Uint8Array, fds: Int32Array, flags: number): number;
  /** recvmsg(2). Descriptors that came are stored in `fds`, close-on-exec and the caller's; the rest of it is -1. Those that find no place are closed. */
  recvFds(fd: number, into: Uint8Array, fds: Int32Array, flags: number): number;

  // native/bpf.cc
  /** bpf(2) with `attribute` as union bpf_attr. File descriptors it returns are close-on-exec already. */
  bpf(command: number, attribute: Uint8Array, pointers?: readonly Pointer[]): number;

  // native/watch.cc: the event loop of the calling environment
  /** A number that names a watch on `fd`, or -errno. The descriptor stays the caller's, and open until `unwatch`. Keeps the event loop alive while armed. */
  watch(fd: number, readable: () => void): number;
  /** Calls back once, when it is readable or its peer has gone. */
  rearm(watch: number): number;
  unwatch(watch: number): number;

  // native/thread.cc: all of it about the calling thread
  gettid(): number;
  /** Pins the calling thread to one CPU; -1 as `cpu` allows every CPU the process may use. */
  setAffinity(cpu: number): number;
  /** The CPUs the thread may run on, as numbers. */
  affinity(): number[];
  setns(fd: number, type: number): number;
  unshare(flags: number): number;
  /** Effective capability set as a bit mask (bit 13 is CAP_NET_RAW), from capget(2). */
  capabilities(): bigint;
  /** getrusage(RUSAGE_THREAD or RUSAGE_SELF): `into` = [user µs, system µs, voluntary switches, involuntary switches]. */
  usage(whole: boolean, into: Float64Array): number;
  /** prlimit(2) on this process: soft and hard limit, Infinity for none; sets the soft one when `soft` is given. */
  rlimit(resource: number, into: Float64Array, soft?: number): number;
  /** kill(pid, 0): 0 alive, -ESRCH gone. */
  alive(pid: number): number;
  /** The CPU's time-stamp counter (0 where it has none), and CLOCK_MONOTONIC in ns, read together into `into` = [tsc, ns]. */
  clock(into: Float64Array): void;
  /** How often this thread has called the addon, this call included: a data path that makes no calls can show it. */
  calls(): number;
}

let loaded: Binding | PollmodeError | undefined;

/** The addon, or a `PollmodeError` with code EADDON that says what was tried and how to build it. */
export function tryBinding(): Binding | PollmodeError {
  loaded ??= load();
  return loaded;
}

/** The addon. Throws EADDON where there is none. */
export function binding(): Binding {
  const found = tryBinding();
  if (found instanceof PollmodeError) throw found;
  return found;
}

/** The file that the addon was loaded from; undefined where it was not. */
export function addonPath(): string | undefined {
  if (tryBinding() instanceof PollmodeError) return undefined;
  const named = process.env['POLLMODE_ADDON'];
  if (named !== undefined && named !== '') return resolve(named);
  const nodeGypBuild = createRequire(import.meta.url)('node-gyp-build') as { path(root: string): string };
  return nodeGypBuild.path(packageRoot());
}

function load(): Binding | PollmodeError {
  if (process.platform !== 'linux') return new PollmodeError('EADDON', describeElsewhere());
  const root = packageRoot();
  const require = createRequire(import.meta.url);
  const named = process.env['POLLMODE_ADDON'];
  try {
    if (named !== undefined && named !== '') return require(resolve(named)) as Binding;
    const nodeGypBuild = require('node-gyp-build') as (root: string) => Binding;
    return nodeGypBuild(root);
  } catch (cause) {
    return new PollmodeError('EADDON', describe(root, named, cause), { cause });
  }
}

/** The package's folder. This file is `dist/lib/binding.js` in it, or a part of a file in `dist/lib/bundle/`. */
function packageRoot(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  return here.endsWith(join('lib', 'bundle')) ? join(here, '..', '..', '..') : join(here, '..', '..');
}

function describeElsewhere(): string {
  return `pollmode's native addon exists for Linux only (this is ${process.platform}-${process.arch}): ` +
    'use memory ports here, and Linux for everything that needs the kernel.';
}

function describe(root: string, named: string | undefined, cause: unknown): string {
  const target = `${process.platform}-${process.arch}`;
  const tried = named ? `${resolve(named)}, which POLLMODE_ADDON names`
    : `${join(root, 'build', 'Release')} and ${join(root, 'prebuilds', target)}`;
  return `pollmode's native addon could not be loaded on ${target} (${libc()}, Node ${process.versions.node}). Tried ${tried}. ` +
    `(${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)}) ` +
    `Build it from source: cd ${root} && npm install --no-save --ignore-scripts node-gyp node-addon-api && npx node-gyp rebuild.`;
}

function libc(): string {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  const glibc = report?.header?.glibcVersionRuntime;
  return glibc === undefined ? 'musl' : `glibc ${glibc}`;
}
