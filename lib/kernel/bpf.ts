/**
 * bpf(2): maps, programs and links (linux/bpf.h, union bpf_attr). Whatever is made here is a descriptor that the caller
 * closes; a link detaches its program when its last descriptor goes, so nothing stays behind when the process dies.
 *
 * Rights: CAP_BPF, and CAP_NET_ADMIN (XDP) or CAP_PERFMON (tracing) beside it.
 */
import { binding, type Pointer } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { cString, fromCString, getU32, setCString, setU32, setU64 } from './bytes.js';
import { BPF_ANY, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE } from './constants.js';
import { check, EBUSY, EEXIST, EINVAL, ENOSPC, ERANGE, errnoName, kernelError } from './errno.js';
import { readLink } from './link.js';

const BPF_MAP_CREATE = 0;
const BPF_MAP_LOOKUP_ELEM = 1;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_MAP_DELETE_ELEM = 3;
const BPF_PROG_LOAD = 5;
const BPF_OBJ_PIN = 6;
const BPF_OBJ_GET = 7;
const BPF_PROG_TEST_RUN = 10;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_MAP_GET_FD_BY_ID = 14;
const BPF_OBJ_GET_INFO_BY_FD = 15;
const BPF_RAW_TRACEPOINT_OPEN = 17;
const BPF_LINK_CREATE = 28;
const BPF_LINK_GET_FD_BY_ID = 30;
const BPF_LINK_GET_NEXT_ID = 31;
const BPF_F_XDP_HAS_FRAGS = 1 << 5;
const BPF_LINK_TYPE_XDP = 6;
const BPF_XDP = 37;
const LOG_SIZE = 1 << 20;
const NAME_SIZE = 16;
const ATTRIBUTE_SIZE = 128;
const RIGHTS = 'bpf(2) needs CAP_BPF, and CAP_NET_ADMIN or CAP_PERFMON beside it: run as root, or give Node those capabilities';

export interface BpfMap {
  readonly fd: number;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

export interface MapOptions {
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  /** At most 15 bytes. */
  name?: string;
}

export interface ProgramOptions {
  /** BPF_PROG_TYPE_*. */
  type: number;
  /** From `assemble`. */
  instructions: Uint8Array;
  name?: string;
  /** XDP: it may be given frames in several buffers (BPF_F_XDP_HAS_FRAGS, Linux 5.18); an older kernel loads it without that. */
  frags?: boolean;
  /** Some helpers are for GPL-compatible programs only; "Dual MIT/GPL" is one. */
  license?: string;
}

export interface ProgramInfo {
  type: number;
  id: number;
  name: string;
}

export type XdpMode = 'native' | 'generic';

function bpf(command: number, attribute: Uint8Array, pointers: readonly Pointer[] = []): number {
  return binding().bpf(command, attribute, pointers);
}

/** A zeroed union bpf_attr whose first u32 fields are `words`. The kernel takes a longer one than its own when the rest is zero. */
function attribute(...words: readonly number[]): Uint8Array {
  const attr = new Uint8Array(ATTRIBUTE_SIZE);
  words.forEach((word, index) => setU32(attr, 4 * index, word));
  return attr;
}

export function createMap(options: MapOptions): BpfMap {
  const attr = attribute(options.type, options.keySize, options.valueSize, options.maxEntries);
  setCString(attr, 28, NAME_SIZE, options.name ?? '');
  const fd = check(bpf(BPF_MAP_CREATE, attr), 'bpf(BPF_MAP_CREATE)', `A BPF map could not be made. ${RIGHTS}; on kernels before 5.11 raise the memlock limit too (ulimit -l).`);
  return { fd, type: options.type, keySize: options.keySize, valueSize: options.valueSize, maxEntries: options.maxEntries };
}

function element(map: BpfMap, key: Uint8Array): Uint8Array {
  if (key.length !== map.keySize) throw wrongSize('key', key.length, map.keySize);
  return attribute(map.fd);
}

/** The kernel writes `valueSize` bytes wherever it is told to, so the length is checked before. */
function wrongSize(what: string, length: number, wanted: number): PollmodeError {
  return new PollmodeError('EOPTION', `A ${what} of this BPF map has ${wanted} bytes and not ${length}: pass ${wanted}.`);
}

/** Fills `value` and returns true, or returns false when the key is not there. */
export function lookupElement(map: BpfMap, key: Uint8Array, value: Uint8Array): boolean {
  // A map with one value per CPU would fill more than one; its types are 5, 6, 10 and 21.
  if ([5, 6, 10, 21].includes(map.type)) throw new PollmodeError('EUNSUPPORTED', 'Maps with a value per CPU are not read here: use a plain one.');
  if (value.length !== map.valueSize) throw wrongSize('value', value.length, map.valueSize);
  const result = bpf(BPF_MAP_LOOKUP_ELEM, element(map, key), [[8, key], [16, value]]);
  if (result === -2) return false; // ENOENT
  check(result, 'bpf(BPF_MAP_LOOKUP_ELEM)');
  return true;
}

/** `flags` is BPF_ANY, BPF_NOEXIST (then EEXISTS when it is there) or BPF_EXIST. */
export function updateElement(map: BpfMap, key: Uint8Array, value: Uint8Array, flags = BPF_ANY): void {
  if (value.length !== map.valueSize) throw wrongSize('value', value.length, map.valueSize);
  const attr = element(map, key);
  setU64(attr, 24, BigInt(flags));
  check(bpf(BPF_MAP_UPDATE_ELEM, attr, [[8, key], [16, value]]), 'bpf(BPF_MAP_UPDATE_ELEM)');
}

/** False when the key was not there. */
export function deleteElement(map: BpfMap, key: Uint8Array): boolean {
  const result = bpf(BPF_MAP_DELETE_ELEM, element(map, key), [[8, key]]);
  if (result === -2) return false;
  check(result, 'bpf(BPF_MAP_DELETE_ELEM)');
  return true;
}

/** Loads a program and returns its descriptor. When the verifier refuses it, the error carries the verifier's log. */
export function loadProgram(options: ProgramOptions): number {
  const { instructions, name = '', license = 'Dual MIT/GPL' } = options;
  const attr = attribute(options.type, instructions.length / 8);
  setCString(attr, 48, NAME_SIZE, name);
  const pointers: Pointer[] = [[8, instructions], [16, cString(license)]];
  if (options.frags === true) setU32(attr, 44, BPF_F_XDP_HAS_FRAGS);
  let quiet = bpf(BPF_PROG_LOAD, attr, pointers);
  if (quiet === -EINVAL && options.frags === true) {
    setU32(attr, 44, 0);
    quiet = bpf(BPF_PROG_LOAD, attr, pointers);
  }
  return quiet >= 0 ? quiet : loadAloud(attr, pointers, name);
}

/** Once more with a log: asked for at first, it would cost every good load its time, and can itself be the refusal. */
function loadAloud(attr: Uint8Array, pointers: readonly Pointer[], name: string): number {
  const log = new Uint8Array(LOG_SIZE);
  setU32(attr, 24, 1);
  setU32(attr, 28, LOG_SIZE);
  const result = bpf(BPF_PROG_LOAD, attr, [...pointers, [32, log]]);
  if (result >= 0) return result;
  const words = fromCString(log).trim();
  if (words === '') throw kernelError(-result, 'bpf(BPF_PROG_LOAD)', `The BPF program "${name}" was refused. ${RIGHTS}.`);
  // EACCES is then the verifier's own "invalid access", and no matter of rights.
  throw new PollmodeError('EUNSUPPORTED', `This kernel's verifier refused the BPF program "${name}" (${errnoName(-result)}):\n${words}\nMend the program, or use a newer kernel.`, { syscall: 'bpf(BPF_PROG_LOAD)', errno: -result });
}

/**
 * Attaches an XDP program to an interface by a bpf_link and returns the link's descriptor: closing it, or the end of
 * the process, detaches. `native` runs in the driver, `generic` in the stack; without a mode the kernel takes native
 * where the driver has it. EBUSYQUEUE when another program is attached.
 */
export function attachXdp(program: number, ifindex: number, mode?: XdpMode): number {
  const flags = mode === undefined ? 0 : mode === 'native' ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
  const result = bpf(BPF_LINK_CREATE, attribute(program, ifindex, BPF_XDP, flags));
  if (result === -EBUSY || result === -EEXIST) {
    throw new PollmodeError('EBUSYQUEUE', `Link ${ifindex} has an XDP program already: detach it (ip link set dev NAME xdp off), or end the program that holds it.`, { syscall: 'bpf(BPF_LINK_CREATE)', errno: -result });
  }
  if (result === -ENOSPC) {
    throw kernelError(ENOSPC, 'bpf(BPF_LINK_CREATE)', `Link ${ifindex} has too few queues for native XDP (a veth needs as many to receive as its peer has to send): give it more, or use generic mode.`);
  }
  if (result === -ERANGE) {
    throw new PollmodeError('EUNSUPPORTED', `Link ${ifindex} has too large an MTU for native XDP, or its peer has (a frame must fit in one page, or the program must be for frames in several: BPF_F_XDP_HAS_FRAGS, and a driver that has them): make it smaller (ip link set dev NAME mtu 1500), or use generic mode.`, { syscall: 'bpf(BPF_LINK_CREATE)', errno: ERANGE });
  }
  // The kernel says EINVAL for everything from here on: the missing interface is told apart by asking.
  if (result === -EINVAL) readLink(ifindex);
  return check(result, 'bpf(BPF_LINK_CREATE)', `No XDP program could be attached to link ${ifindex} in ${mode ?? 'automatic'} mode: check the rights (CAP_NET_ADMIN), and that the program is an XDP one; or use generic mode.`);
}

/** Runs a program on every hit of a raw tracepoint ("sys_enter") until the returned descriptor is closed. */
export function attachRawTracepoint(program: number, name: string): number {
  const attr = attribute();
  setU32(attr, 8, program);
  return check(bpf(BPF_RAW_TRACEPOINT_OPEN, attr, [[0, cString(name)]]), 'bpf(BPF_RAW_TRACEPOINT_OPEN)');
}

/** Opens what is pinned at a path of a bpf filesystem; the caller closes it. */
export function openPinned(path: string): number {
  return check(bpf(BPF_OBJ_GET, attribute(), [[0, cString(path)]]), 'bpf(BPF_OBJ_GET)', `Nothing could be opened at ${path}: check the path, and that a bpf filesystem is mounted there.`);
}

/** Pins an object at a path of a bpf filesystem, where it outlives the process: for users' own programs. */
export function pin(fd: number, path: string): void {
  const attr = attribute();
  setU32(attr, 8, fd);
  check(bpf(BPF_OBJ_PIN, attr, [[0, cString(path)]]), 'bpf(BPF_OBJ_PIN)');
}

/** Longer than any of the kernel's info structures so far; the rest stays zero. */
const INFO_SIZE = 512;

function objectInfo(fd: number): Uint8Array {
  return readInfo(fd, new Uint8Array(INFO_SIZE));
}

function readInfo(fd: number, info: Uint8Array): Uint8Array {
  check(bpf(BPF_OBJ_GET_INFO_BY_FD, attribute(fd, info.length), [[8, info]]), 'bpf(BPF_OBJ_GET_INFO_BY_FD)', `Descriptor ${fd} is no BPF object: pass one from bpf(2).`);
  return info;
}

/** About a program's descriptor; check `type` before use: the kernel does not say what kind of object it was asked about. */
export function programInfo(fd: number): ProgramInfo {
  const info = objectInfo(fd);
  return { type: getU32(info, 0), id: getU32(info, 4), name: fromCString(info, 64, NAME_SIZE) };
}

/** A map that someone else made, by descriptor. */
export function mapFromFd(fd: number): BpfMap {
  const info = objectInfo(fd);
  return { fd, type: getU32(info, 0), keySize: getU32(info, 8), valueSize: getU32(info, 12), maxEntries: getU32(info, 16) };
}

const BY_ID = 'Taking hold of a BPF object by its number needs CAP_SYS_ADMIN: run as root';

/** A descriptor of the program with that number, which the caller closes. Needs CAP_SYS_ADMIN; ENOTFOUND when it is gone. */
export function programById(id: number): number {
  return check(bpf(BPF_PROG_GET_FD_BY_ID, attribute(id)), 'bpf(BPF_PROG_GET_FD_BY_ID)', `There is no BPF program ${id} to be had. ${BY_ID}.`);
}

/** Likewise a map. */
export function mapById(id: number): BpfMap {
  return mapFromFd(check(bpf(BPF_MAP_GET_FD_BY_ID, attribute(id)), 'bpf(BPF_MAP_GET_FD_BY_ID)', `There is no BPF map ${id} to be had. ${BY_ID}.`));
}

/** The numbers of the maps that a program uses, 64 at most. */
export function mapsOfProgram(fd: number): number[] {
  const ids = new Uint8Array(64 * 4);
  const info = new Uint8Array(INFO_SIZE);
  setU32(info, 52, ids.length / 4); // nr_map_ids
  setU64(info, 56, binding().address(ids));
  readInfo(fd, info);
  return Array.from({ length: Math.min(getU32(info, 52), ids.length / 4) }, (_, i) => getU32(ids, i * 4));
}

/** A descriptor of the XDP link that holds that program, which the caller closes: the program stays attached until the last such descriptor goes. Undefined when no link does. Needs CAP_SYS_ADMIN. */
export function xdpLinkOf(programId: number): number | undefined {
  const next = attribute(0);
  while (bpf(BPF_LINK_GET_NEXT_ID, next) >= 0) {
    const id = getU32(next, 4);
    setU32(next, 0, id);
    const fd = bpf(BPF_LINK_GET_FD_BY_ID, attribute(id));
    if (fd < 0) continue; // it went meanwhile, or another has the right to it
    const info = objectInfo(fd);
    if (getU32(info, 0) === BPF_LINK_TYPE_XDP && getU32(info, 8) === programId) return fd;
    binding().close(fd);
  }
  return undefined;
}

/** Runs a program once on `frame`, attached nowhere, and returns its result (XDP_* for XDP). The frame is 14 bytes or more. */
export function testRun(program: number, frame: Uint8Array): number {
  const attr = attribute(program, 0, frame.length);
  check(bpf(BPF_PROG_TEST_RUN, attr, [[16, frame]]), 'bpf(BPF_PROG_TEST_RUN)');
  return getU32(attr, 4);
}

const BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1;
/** struct xdp_md, linux/bpf.h */
const XDP_MD_SIZE = 24;

/**
 * Runs an XDP program on `count` copies of `frame` as if they had come in at the interface, and does with each what the
 * program says: XDP_TX sends it out there (Documentation/bpf/bpf_prog_run.rst, Linux 5.18). The kernel makes the frames
 * and moves them in batches of `batch`, 256 at most, so this is by far its fastest sender. A veth takes them only while
 * its peer has NAPI, by a native XDP program or GRO; others are lost, uncounted. Blocks the thread. The frame is 14 bytes
 * or more.
 */
export function runOnLiveFrames(program: number, frame: Uint8Array, ifindex: number, count: number, batch = 128): void {
  const context = new Uint8Array(XDP_MD_SIZE);
  setU32(context, 4, frame.length); // data_end
  setU32(context, 12, ifindex); // ingress_ifindex
  const attr = attribute(program, 0, frame.length);
  setU32(attr, 32, count);
  setU32(attr, 40, context.length);
  setU32(attr, 64, BPF_F_TEST_XDP_LIVE_FRAMES);
  setU32(attr, 72, batch);
  check(bpf(BPF_PROG_TEST_RUN, attr, [[16, frame], [48, context]]), 'bpf(BPF_PROG_TEST_RUN)', 'XDP programs run on live frames from Linux 5.18 on.');
}
