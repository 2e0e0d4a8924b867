import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import {
  attachXdp, createMap, loadProgram, mapById, mapFromFd, mapsOfProgram, openPinned, programById, programInfo, updateElement, xdpLinkOf,
  type BpfMap, type XdpMode,
} from '../../../kernel/bpf.js';
import { BPF_FUNC_redirect_map, BPF_MAP_TYPE_XSKMAP, BPF_NOEXIST, BPF_PROG_TYPE_XDP, XDP_PASS } from '../../../kernel/constants.js';
import { missingCapabilities } from '../../../kernel/caps.js';
import { EOPNOTSUPP } from '../../../kernel/errno.js';
import { R1, R2, R3, W, assemble, call, exit, load, loadMap, mov } from '../../../kernel/instructions.js';
import { u32 } from '../../../kernel/bytes.js';
import type { AttachedXdp, Link } from '../../../kernel/link.js';

const OUR_NAME = 'pollmode';
/** struct xdp_md.rx_queue_index */
const RX_QUEUE_INDEX = 16;

/** What steers an interface's frames into the socket. Descriptors in `fds` are ours; closing them detaches our program. */
export interface Steering {
  /** The XSKMAP; undefined when a broker has it and we have not. */
  readonly map: BpfMap | undefined;
  /** Where the program runs. */
  readonly attached: AttachedXdp['where'];
  /** For people, where it is not our own: " (program of another)". */
  readonly whose: string;
  readonly fds: readonly number[];
  /** Has the broker gone, and its program with it? Absent where there is none. */
  readonly gone?: () => boolean;
}

export interface SteeringOptions {
  readonly mode: 'auto' | XdpMode;
  /** A user's program: a pinned path or `fd:N`; then `xskMap` is his XSKMAP, likewise. The map alone: his program is attached already. */
  readonly program?: string;
  readonly xskMap?: string;
}

type OurSteering = Omit<Steering, 'fds' | 'map'> & { readonly map: BpfMap };

/** Keeps a descriptor until the port is closed. */
type Keep = (fd: number) => number;

/**
 * Our own program: a frame of a queue that has a socket in the XSKMAP goes there, any other goes on to the kernel's
 * stack as if we were not there (the XDP_PASS in the lower bits of bpf_redirect_map's flags, Linux 5.3).
 */
function steeringProgram(map: BpfMap): Uint8Array {
  return assemble([
    load(W, R2, R1, RX_QUEUE_INDEX),
    loadMap(R1, map.fd),
    mov(R3, XDP_PASS),
    call(BPF_FUNC_redirect_map),
    exit(),
  ]);
}

/**
 * Loads or opens program and map and attaches by a bpf_link; or joins the program of another of our ports on the same
 * interface. Throws ERIGHTS, EBUSYQUEUE, EUNSUPPORTED, EOPTION, each with its reason.
 */
export function steer(name: string, link: Link, options: SteeringOptions): Steering & { readonly map: BpfMap } {
  const fds: number[] = [];
  const keep: Keep = fd => {
    fds.push(fd);
    return fd;
  };
  try {
    if (options.program !== undefined || options.xskMap !== undefined) return { ...steerByUser(name, link, options, keep), fds };
    return { ...(link.xdp.programId === 0 ? steerByOurs(name, link, options.mode, keep) : joinOurs(name, link, options.mode, keep)), fds };
  } catch (cause) {
    release(fds);
    throw cause;
  }
}

function steerByOurs(name: string, link: Link, mode: SteeringOptions['mode'], keep: Keep): OurSteering {
  requireRights();
  const map = createMap({ type: BPF_MAP_TYPE_XSKMAP, keySize: 4, valueSize: 4, maxEntries: link.rxQueues, name: 'pollmode_xsks' });
  keep(map.fd);
  const program = keep(loadProgram({ type: BPF_PROG_TYPE_XDP, instructions: steeringProgram(map), name: OUR_NAME, frags: true }));
  return { map, whose: '', attached: attach(name, program, link.ifindex, mode, keep) };
}

function steerByUser(name: string, link: Link, options: SteeringOptions, keep: Keep): OurSteering {
  const { program: where, xskMap } = options;
  if (xskMap === undefined) throw new PollmodeError('EOPTION', `${name}: with a program of your own, say which XSKMAP it redirects to: xsk_map=PATH or fd:N.`);
  const map = bpfObject(name, xskMap, keep, mapFromFd);
  if (map.type !== BPF_MAP_TYPE_XSKMAP) throw new PollmodeError('EOPTION', `${name}: ${xskMap} is a BPF map of type ${map.type} and no XSKMAP (17): give the map that your program redirects to.`);
  if (where === undefined) {
    if (link.xdp.where === 'none') throw new PollmodeError('EOPTION', `${name}: no XDP program is attached that could redirect to ${xskMap}: attach yours first, or name it too (program=).`);
    return { map, whose: ' (program of another)', attached: link.xdp.where };
  }
  const program = bpfObject(name, where, keep, fd => ({ fd, type: programInfo(fd).type }));
  if (program.type !== BPF_PROG_TYPE_XDP) throw new PollmodeError('EOPTION', `${name}: ${where} is no XDP program: load it as one.`);
  return { map, whose: ' (program of yours)', attached: attach(name, program.fd, link.ifindex, options.mode, keep) };
}

/**
 * An interface takes one program only. The one that stands there may be that of our port on another queue, in any
 * process: then its XSKMAP has a place for us too, and holding its link as well keeps it attached until the last goes.
 */
function joinOurs(name: string, link: Link, mode: SteeringOptions['mode'], keep: Keep): OurSteering {
  const { programId, where } = link.xdp;
  const busy = (why: string): PollmodeError => new PollmodeError('EBUSYQUEUE', `${name}: the interface has an XDP program already (number ${programId}, ${where})${why}`);
  if (missingCapabilities(['CAP_SYS_ADMIN']).length > 0) throw busy(': end the program that holds it, or take its XSKMAP (xsk_map=). If it is a pollmode port on another queue, CAP_SYS_ADMIN is needed to join it.');
  const ours = heldProgram(programId);
  if (ours !== undefined) keep(ours.link);
  if (ours?.map === undefined) throw busy(', which is no pollmode port\'s: detach it (ip link set dev NAME xdp off), or take its XSKMAP (xsk_map=).');
  keep(ours.map.fd);
  if (mode !== 'auto' && mode !== where) throw busy(` by a port that was opened with mode=${where}: open this one with it too, or with mode=auto.`);
  return { map: ours.map, whose: ' (joined)', attached: where };
}

/** The link and the map of an attached program; no map when the program is not of our making. Undefined when nothing of it can be had. */
function heldProgram(id: number): { link: number; map: BpfMap | undefined } | undefined {
  const link = xdpLinkOf(id);
  if (link === undefined) return undefined;
  const program = programById(id);
  try {
    const [map] = programInfo(program).name === OUR_NAME ? mapsOfProgram(program) : [];
    return { link, map: map === undefined ? undefined : mapById(map) };
  } finally {
    binding().close(program);
  }
}

/** Sends a queue's frames to a socket from now on. */
export function enter(name: string, { map }: { readonly map: BpfMap }, queue: number, socket: number): void {
  if (queue >= map.maxEntries) throw new PollmodeError('EOPTION', `${name}: the XSKMAP has ${map.maxEntries} place${map.maxEntries === 1 ? '' : 's'}, and none for queue ${queue}: make it larger, or, if it is a pollmode port's, close all of the interface's ports and open them again.`);
  try {
    updateElement(map, u32(queue), u32(socket), BPF_NOEXIST);
  } catch (refusal) {
    if (!(refusal instanceof PollmodeError) || refusal.code !== 'EEXISTS') throw refusal;
    throw new PollmodeError('EBUSYQUEUE', `${name}: the XSKMAP's place for queue ${queue} is taken by another socket: end its program (or close it, where it is open here already), or choose another queue or map.`, { syscall: 'bpf(BPF_MAP_UPDATE_ELEM)', cause: refusal });
  }
}

export function release(fds: readonly number[]): void {
  for (const fd of [...fds].reverse()) binding().close(fd);
}

/** Automatic: native where the driver has it, else generic. */
function attach(name: string, program: number, ifindex: number, mode: SteeringOptions['mode'], keep: Keep): XdpMode {
  if (mode !== 'auto') {
    keep(explained(name, mode, () => attachXdp(program, ifindex, mode)));
    return mode;
  }
  try {
    keep(attachXdp(program, ifindex, 'native'));
    return 'native';
  } catch (refusal) {
    if (!(refusal instanceof PollmodeError) || refusal.code === 'EBUSYQUEUE' || refusal.code === 'ERIGHTS') throw refusal;
    keep(explained(name, 'generic', () => attachXdp(program, ifindex, 'generic')));
    return 'generic';
  }
}

function explained(name: string, mode: XdpMode, work: () => number): number {
  try {
    return work();
  } catch (refusal) {
    if (!(refusal instanceof PollmodeError) || refusal.errno !== EOPNOTSUPP || mode !== 'native') throw refusal;
    throw new PollmodeError('EUNSUPPORTED', `${name}: its driver runs no XDP programs (native mode): use mode=generic, or mode=auto.`, { syscall: 'bpf(BPF_LINK_CREATE)', cause: refusal, errno: EOPNOTSUPP });
  }
}

/** Each capability is asked for by its name, since bpf(2) answers EPERM for all of them. */
function requireRights(): void {
  const missing = missingCapabilities(['CAP_BPF', 'CAP_NET_ADMIN']).filter(() => missingCapabilities(['CAP_SYS_ADMIN']).length > 0);
  if (missing.length === 0) return;
  throw new PollmodeError('ERIGHTS', `Loading and attaching the XDP program needs ${missing.join(' and ')}: run as root, or setcap ${missing.map(each => each.toLowerCase()).join(',')}+ep on node, or take what is needed from who has the rights (broker=, xsk_map=).`);
}

/** Opens what a path or `fd:N` names, and reads about it. A descriptor that was passed by number stays its giver's. */
function bpfObject<T>(name: string, where: string, keep: Keep, read: (fd: number) => T): T {
  const given = /^fd:(\d{1,9})$/.exec(where);
  if (given === null) return read(keep(openPinned(where)));
  try {
    return read(Number(given[1]));
  } catch (refusal) {
    throw new PollmodeError('EOPTION', `${name}: ${where} is no descriptor of a BPF object in this process: pass the number of an open one, or a pinned path.`, { cause: refusal });
  }
}
