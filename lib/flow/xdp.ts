/**
 * Rules pushed down into the kernel's receive path: an XDP program in front of an af_xdp port, which drops and counts
 * what the rules say before a packet costs this process anything.
 *
 *     const offload = XdpOffload.create({ queues: 1 });
 *     const host = open([{ driver: 'af_xdp', device: 'eth0', ...offload.options }]);
 *     const flow = new FlowTable(host.pool, { rules, offload });
 *
 * What it does: rules whose actions are `count` and `drop`. A packet that matches any other rule goes up at once, with the
 * rules behind it unasked, and the table in software begins with the first rule; so the result is the same either way,
 * and a counted packet is counted once. The frames are the port's as the kernel has them (see FlowMatch of tags).
 *
 * The rules are a program of their own, entered by a tail call: `replace` puts another in its place in one step, without
 * the port's noticing. Packets that are on their way to the socket at that moment meet the new rules in software only.
 *
 * Rights: CAP_BPF and CAP_NET_ADMIN. Everything hangs on descriptors, and goes with the process or with `close`, which
 * comes after the port's. Linux 5.3.
 */
import { binding } from '../binding.js';
import { PollmodeError } from '../errors.js';
import { createMap, deleteElement, loadProgram, lookupElement, testRun, updateElement, type BpfMap } from '../kernel/bpf.js';
import { getU64, u32 } from '../kernel/bytes.js';
import {
  BPF_FUNC_map_lookup_elem, BPF_FUNC_redirect_map, BPF_FUNC_tail_call, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, XDP_DROP, XDP_PASS,
} from '../kernel/constants.js';
import {
  DW, R0, R1, R10, R2, R3, R6, R7, R8, W, alu, assemble, atomicAdd, call, exit, jump, jumpAlways, label, load, load64, loadMap, mov, store, type Instruction,
} from '../kernel/instructions.js';
import { COUNT, DROP } from './actions.js';
import { MOST_RULES, type CompiledRule, type FlowOffload } from './compile.js';
import type { FieldTest } from './match.js';
import { MD_RX_QUEUE_INDEX, readFields, STACK_KEY, stackOf } from './xdp_fields.js';

export interface XdpOffloadOptions {
  /** Receive queues of the interface: places in the XSKMAP, 1 to 256. Default 1. */
  readonly queues?: number;
}

/** Packets, then bytes. */
const COUNTER_BYTES = 16;

export class XdpOffload implements FlowOffload {
  readonly where = 'xdp';
  /** For the af_xdp port: its program, and the map that it redirects to. */
  readonly options: { readonly program: string; readonly xskMap: string };
  readonly #fds: number[] = [];
  readonly #sockets: BpfMap;
  readonly #counters: BpfMap;
  readonly #rules: BpfMap;
  #program = -1;

  /** Throws EOPTION, ERIGHTS, EUNSUPPORTED. */
  static create(options: XdpOffloadOptions = {}): XdpOffload {
    const { queues = 1 } = options;
    if (!(Number.isInteger(queues) && queues >= 1 && queues <= 256)) throw new PollmodeError('EOPTION', `An XDP offload is for 1 to 256 queues, not ${String(queues)}: give as many as the interface has.`);
    return new XdpOffload(queues);
  }

  private constructor(queues: number) {
    const map = (type: number, valueSize: number, maxEntries: number, name: string): BpfMap => {
      const made = createMap({ type, keySize: 4, valueSize, maxEntries, name });
      this.#fds.push(made.fd);
      return made;
    };
    try {
      this.#sockets = map(BPF_MAP_TYPE_XSKMAP, 4, queues, 'flow_xsks');
      this.#counters = map(BPF_MAP_TYPE_ARRAY, COUNTER_BYTES, MOST_RULES, 'flow_counters');
      this.#rules = map(BPF_MAP_TYPE_PROG_ARRAY, 4, 1, 'flow_rules');
      const entry = this.#load(entryProgram(this.#rules, this.#sockets), 'flow_entry');
      this.#fds.push(entry);
      this.options = { program: `fd:${entry}`, xskMap: `fd:${this.#sockets.fd}` };
    } catch (cause) {
      this.close();
      throw cause;
    }
  }

  install(rules: readonly CompiledRule[]): readonly (true | string)[] {
    const verdicts = rules.map(refusalOf);
    const program = this.#load(rulesProgram(rules.map((rule, index) => ({ rule, here: verdicts[index] === true })), this.#counters, this.#sockets), 'flow_rules');
    try {
      updateElement(this.#rules, u32(0), u32(program));
    } catch (cause) {
      binding().close(program);
      throw cause;
    }
    if (this.#program >= 0) binding().close(this.#program);
    this.#program = program;
    return verdicts;
  }

  read(slot: number): { packets: number; bytes: number } {
    const value = new Uint8Array(COUNTER_BYTES);
    lookupElement(this.#counters, u32(slot), value);
    return { packets: Number(getU64(value, 0)), bytes: Number(getU64(value, 8)) };
  }

  reset(slot: number): void {
    updateElement(this.#counters, u32(slot), new Uint8Array(COUNTER_BYTES));
  }

  /** What the rules say of one frame of 14 bytes or more, attached nowhere: for tests. It counts. */
  tryFrame(frame: Uint8Array): 'drop' | 'pass' {
    const verdict = testRun(this.#program, frame);
    if (verdict !== XDP_DROP && verdict !== XDP_PASS) throw new PollmodeError('EUNSUPPORTED', `The rules' program answered ${verdict}: it drops (${XDP_DROP}) or passes (${XDP_PASS}).`);
    return verdict === XDP_DROP ? 'drop' : 'pass';
  }

  /** Once the port is closed. Twice is once. */
  close(): void {
    if (this.#program >= 0) {
      deleteElement(this.#rules, u32(0));
      binding().close(this.#program);
    }
    this.#program = -1;
    for (const fd of this.#fds.splice(0).reverse()) binding().close(fd);
  }

  #load(program: readonly Instruction[], name: string): number {
    return loadProgram({ type: BPF_PROG_TYPE_XDP, instructions: assemble(program), name, frags: true });
  }
}

/** True when XDP can do all of it, else why not. */
function refusalOf({ steps, rule }: CompiledRule): true | string {
  const other = steps.findIndex(({ code }) => code !== COUNT && code !== DROP);
  return other < 0 ? true : `an XDP program here counts and drops, and does not ${rule.actions[other]!.do}`;
}

/** On to the rules; without any, or when the tail call fails, straight to the socket. */
function entryProgram(rules: BpfMap, sockets: BpfMap): Instruction[] {
  return [mov(R6, R1), loadMap(R2, rules.fd), mov(R3, 0), call(BPF_FUNC_tail_call), ...toSocket(sockets)];
}

/** To the socket of its queue; to the kernel where there is none. R6 is the context. */
function toSocket(sockets: BpfMap): Instruction[] {
  return [load(W, R2, R6, MD_RX_QUEUE_INDEX), loadMap(R1, sockets.fd), mov(R3, XDP_PASS), call(BPF_FUNC_redirect_map), exit()];
}

function rulesProgram(rules: readonly { readonly rule: CompiledRule; readonly here: boolean }[], counters: BpfMap, sockets: BpfMap): Instruction[] {
  return [
    mov(R6, R1), ...readFields(),
    ...rules.flatMap(({ rule, here }, index) => [...rule.tests.flatMap(test => check(test, `rule ${index + 1}`)), ...(here ? act(rule, index, counters) : [jumpAlways('pass')]), label(`rule ${index + 1}`)]),
    label('pass'), ...toSocket(sockets),
  ];
}

/** On to the next rule unless `from <= (field & mask) <= to`. All of it is unsigned, in 64 bits of which 32 are zero. */
function check({ field, mask, from, to }: FieldTest, next: string): Instruction[] {
  const masked = mask === 0xffffffff ? [] : [load64(R3, BigInt(mask)), alu('&', R2, R3)];
  const bounds = from === to
    ? [load64(R3, BigInt(from)), jump('!=', R2, R3, next)]
    : [load64(R3, BigInt(from)), jump('<', R2, R3, next), load64(R3, BigInt(to)), jump('>', R2, R3, next)];
  return [load(W, R2, R10, stackOf(field)), ...masked, ...bounds];
}

function act({ steps, slot }: CompiledRule, index: number, counters: BpfMap): Instruction[] {
  const counting = steps.filter(({ code }) => code === COUNT).flatMap((_, each) => tally(slot, `counted ${index} ${each}`, counters));
  return [...counting, ...(steps.some(({ code }) => code === DROP) ? [mov(R0, XDP_DROP), exit()] : [jumpAlways('pass')])];
}

function tally(slot: number, done: string, counters: BpfMap): Instruction[] {
  return [
    store(W, R10, STACK_KEY, slot), mov(R2, R10), alu('+', R2, STACK_KEY), loadMap(R1, counters.fd), call(BPF_FUNC_map_lookup_elem),
    jump('==', R0, 0, done),
    mov(R1, 1), atomicAdd(DW, R0, 0, R1), mov(R1, R8), alu('-', R1, R7), atomicAdd(DW, R0, 8, R1),
    label(done),
  ];
}
