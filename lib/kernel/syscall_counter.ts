/**
 * Counts the system calls of chosen threads: a BPF program on the raw tracepoint `sys_enter` adds one to the thread's
 * entry in a map. It runs at every system call of the machine while it is open, so only measurements open it; it goes
 * when it is closed or the process ends. Needs CAP_BPF and CAP_PERFMON.
 */
import { statSync } from 'node:fs';
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { attachRawTracepoint, createMap, deleteElement, loadProgram, lookupElement, updateElement, type BpfMap } from './bpf.js';
import { getU64, u32 } from './bytes.js';
import { BPF_FUNC_get_current_pid_tgid, BPF_FUNC_get_ns_current_pid_tgid, BPF_FUNC_map_lookup_elem, BPF_MAP_TYPE_HASH, BPF_PROG_TYPE_RAW_TRACEPOINT } from './constants.js';
import { alu, assemble, atomicAdd, call, DW, exit, jump, label, load, load64, loadMap, mov, R0, R1, R2, R3, R4, R10, store, W, type Instruction } from './instructions.js';

const MAX_THREADS = 256;
/** The machine's first PID namespace (linux/proc_ns.h, PROC_PID_INIT_INO). */
const FIRST_PID_NAMESPACE = 0xeffffffc;

export interface SyscallCounter {
  /** For a watched thread that reads its own count: plain data, good in every thread while the counter is open. */
  readonly map: BpfMap;
  /** Begins to count for a thread (`binding().gettid()` in it), from 0. */
  watch(tid: number): void;
  /** Calls since `watch`; 0 for a thread that is not watched. Any thread may ask; asking is one call of the thread that asks. */
  read(tid: number): number;
  unwatch(tid: number): void;
  close(): void;
}

/** The counter, or the reason why there is none here. Never throws for a lack of rights. */
export function openSyscallCounter(): SyscallCounter | PollmodeError {
  const opened: number[] = [];
  try {
    const map = createMap({ type: BPF_MAP_TYPE_HASH, keySize: 4, valueSize: 8, maxEntries: MAX_THREADS, name: 'pollmode_calls' });
    opened.push(map.fd);
    const program = loadProgram({ type: BPF_PROG_TYPE_RAW_TRACEPOINT, instructions: assemble(countCalls(map)), name: 'pollmode_calls' });
    opened.push(program);
    opened.push(attachRawTracepoint(program, 'sys_enter'));
    return counter(map, opened);
  } catch (error) {
    for (const fd of opened) binding().close(fd);
    if (error instanceof PollmodeError) return error;
    throw error;
  }
}

/** Calls of a thread since it is watched, by a counter's map; 0 for one that is not. Asking is one call of the thread that asks, and counted. */
export function syscallsOf(map: BpfMap, tid: number): number {
  const value = new Uint8Array(8);
  return lookupElement(map, u32(tid), value) ? Number(getU64(value, 0)) : 0;
}

function counter(map: BpfMap, opened: number[]): SyscallCounter {
  return {
    map,
    watch: (tid) => updateElement(map, u32(tid), new Uint8Array(8)),
    read: (tid) => syscallsOf(map, tid),
    unwatch: (tid) => void deleteElement(map, u32(tid)),
    close: () => { for (const fd of opened.splice(0).reverse()) binding().close(fd); },
  };
}

/** Only threads that are in the map are counted, so the rest of the machine pays one look-up. */
function countCalls(map: BpfMap): Instruction[] {
  return [
    ...threadId(),
    store(W, R10, -4, R0),
    mov(R2, R10),
    alu('+', R2, -4),
    loadMap(R1, map.fd),
    call(BPF_FUNC_map_lookup_elem),
    jump('==', R0, 0, 'out'),
    mov(R1, 1),
    atomicAdd(DW, R0, 0, R1),
    label('out'),
    mov(R0, 0),
    exit(),
  ];
}

/** r0 = the thread's id as the thread itself sees it, which in a container is not the machine's number. */
function threadId(): Instruction[] {
  const space = statSync('/proc/self/ns/pid', { bigint: true });
  if (space.ino === BigInt(FIRST_PID_NAMESPACE)) return [call(BPF_FUNC_get_current_pid_tgid)];
  return [
    store(DW, R10, -16, 0),
    load64(R1, kernelDevice(space.dev)),
    load64(R2, space.ino),
    mov(R3, R10),
    alu('+', R3, -16),
    mov(R4, 8),
    call(BPF_FUNC_get_ns_current_pid_tgid),
    jump('!=', R0, 0, 'out'),
    load(W, R0, R10, -16), // struct bpf_pidns_info: pid (the thread), tgid
  ];
}

/** stat(2)'s device number in the form that the kernel keeps (linux/kdev_t.h): major above 20 bits of minor. */
function kernelDevice(dev: bigint): bigint {
  const major = dev >> 8n & 0xfffn;
  const minor = dev & 0xffn | dev >> 12n & 0xfff00n;
  return major << 20n | minor;
}
