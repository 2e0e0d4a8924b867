import { binding } from '../../../binding.js';
import { PollmodeError } from '../../../errors.js';
import { attachXdp, createMap, loadProgram, mapFromFd, openPinned, programInfo, updateElement, type BpfMap, type XdpMode } from '../../../kernel/bpf.js';
import { BPF_FUNC_redirect_map, BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP } from '../../../kernel/constants.js';
import { missingCapabilities } from '../../../kernel/caps.js';
import { R1, R2, R3, W, assemble, call, exit, load, loadMap, mov } from '../../../kernel/instructions.js';
import { u32 } from '../../../kernel/bytes.js';

const XDP_PASS = 2;
/** struct xdp_md.rx_queue_index */
const RX_QUEUE_INDEX = 16;

/** What steers an interface's frames into the socket. Descriptors in `fds` are ours; closing them detaches our program. */
export interface Steering {
  readonly map: BpfMap;
  readonly attached: XdpMode | 'by another';
  readonly fds: readonly number[];
}

export interface SteeringOptions {
  readonly mode: 'auto' | XdpMode;
  /** A user's program: a pinned path or `fd:N`; then `xskMap` is his XSKMAP, likewise. The map alone: his program is attached already. */
  readonly program?: string;
  readonly xskMap?: string;
}

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

/** Loads or opens program and map and attaches by a bpf_link. Throws ERIGHTS, EBUSYQUEUE, EUNSUPPORTED, each with its reason. */
export function steer(name: string, ifindex: number, queues: number, options: SteeringOptions): Steering {
  const fds: number[] = [];
  const own = (fd: number): number => {
    fds.push(fd);
    return fd;
  };
  try {
    if (options.program === undefined && options.xskMap === undefined) {
      requireRights();
      const map = createMap({ type: BPF_MAP_TYPE_XSKMAP, keySize: 4, valueSize: 4, maxEntries: queues, name: 'pollmode_xsks' });
      own(map.fd);
      const program = own(loadProgram({ type: BPF_PROG_TYPE_XDP, instructions: steeringProgram(map), name: 'pollmode' }));
      return { map, fds, attached: attach(name, program, ifindex, options.mode, own) };
    }
    if (options.xskMap === undefined) throw new PollmodeError('EOPTION', `${name}: with a program of your own, say which XSKMAP it redirects to: xsk_map=PATH or fd:N.`);
    const map = mapFromFd(openObject(options.xskMap, own));
    if (map.type !== BPF_MAP_TYPE_XSKMAP) throw new PollmodeError('EOPTION', `${name}: ${options.xskMap} is a BPF map of type ${map.type} and no XSKMAP (17): give the map that your program redirects to.`);
    if (options.program === undefined) return { map, fds, attached: 'by another' };
    const program = openObject(options.program, own);
    if (programInfo(program).type !== BPF_PROG_TYPE_XDP) throw new PollmodeError('EOPTION', `${name}: ${options.program} is no XDP program: load it as one.`);
    return { map, fds, attached: attach(name, program, ifindex, options.mode, own) };
  } catch (cause) {
    release(fds);
    throw cause;
  }
}

/** Sends a queue's frames to a socket from now on. */
export function enter(steering: Steering, queue: number, socket: number): void {
  updateElement(steering.map, u32(queue), u32(socket));
}

export function release(fds: readonly number[]): void {
  for (const fd of [...fds].reverse()) binding().close(fd);
}

/** Automatic: native where the driver has it, else generic. */
function attach(name: string, program: number, ifindex: number, mode: SteeringOptions['mode'], own: (fd: number) => number): XdpMode {
  if (mode !== 'auto') {
    own(explained(name, mode, () => attachXdp(program, ifindex, mode)));
    return mode;
  }
  try {
    own(attachXdp(program, ifindex, 'native'));
    return 'native';
  } catch (refusal) {
    if (!(refusal instanceof PollmodeError) || refusal.code === 'EBUSYQUEUE' || refusal.code === 'ERIGHTS') throw refusal;
    own(explained(name, 'generic', () => attachXdp(program, ifindex, 'generic')));
    return 'generic';
  }
}

function explained(name: string, mode: XdpMode, work: () => number): number {
  try {
    return work();
  } catch (refusal) {
    if (!(refusal instanceof PollmodeError) || refusal.code !== 'EUNSUPPORTED' || mode !== 'native') throw refusal;
    throw new PollmodeError('EUNSUPPORTED', `${name}: its driver runs no XDP programs (native mode): use mode=generic, or mode=auto.`, { syscall: 'bpf(BPF_LINK_CREATE)', cause: refusal, ...(refusal.errno === undefined ? {} : { errno: refusal.errno }) });
  }
}

/** Each capability is asked for by its name, since bpf(2) answers EPERM for all of them. */
function requireRights(): void {
  const missing = missingCapabilities(['CAP_BPF', 'CAP_NET_ADMIN']).filter(() => missingCapabilities(['CAP_SYS_ADMIN']).length > 0);
  if (missing.length === 0) return;
  throw new PollmodeError('ERIGHTS', `Loading and attaching the XDP program needs ${missing.join(' and ')}: run as root, or setcap ${missing.map(each => each.toLowerCase()).join(',')}+ep on node, or take an XSKMAP from who has the rights (xsk_map=).`);
}

function openObject(where: string, own: (fd: number) => number): number {
  const given = /^fd:(\d+)$/.exec(where);
  return given === null ? own(openPinned(where)) : Number(given[1]);
}
