/**
 * A small assembler for BPF (Documentation/bpf/standardization/instruction-set.rst): a program is an array of calls.
 *
 *     assemble([
 *       load(W, R2, R1, 16),            // r2 = *(u32 *)(r1 + 16)
 *       jump('==', R2, 0, 'pass'),
 *       mov(R0, XDP_DROP),
 *       exit(),
 *       label('pass'),
 *       mov(R0, XDP_PASS),
 *       exit(),
 *     ]);
 */
import { PollmodeError } from '../errors.js';
import { setI32, setU16, setU32 } from './bytes.js';

export interface Register { readonly register: number }
export type Operand = Register | number;

const register = (number: number): Register => Object.freeze({ register: number });
/** The result; R1 to R5 are arguments and are lost over a call; R6 to R9 are kept; R10 is the frame's end, read only. */
export const R0 = register(0);
export const R1 = register(1);
export const R2 = register(2);
export const R3 = register(3);
export const R4 = register(4);
export const R5 = register(5);
export const R6 = register(6);
export const R7 = register(7);
export const R8 = register(8);
export const R9 = register(9);
export const R10 = register(10);

/** Sizes of memory access: 4, 2, 1 and 8 bytes. */
export const W = 0x00;
export const H = 0x08;
export const B = 0x10;
export const DW = 0x18;
export type Size = typeof W | typeof H | typeof B | typeof DW;

interface Slot {
  kind: 'instruction';
  opcode: number;
  target: number;
  source: number;
  offset: number;
  immediate: number;
  /** The label that `offset` becomes the distance to. */
  to?: string;
}
interface Label { kind: 'label'; name: string }
export type Instruction = Label | Slot | readonly Slot[];

function slot(opcode: number, target: Register, source: Register, offset: number, immediate: number, to?: string): Slot {
  const made: Slot = { kind: 'instruction', opcode, target: target.register, source: source.register, offset, immediate };
  return to === undefined ? made : { ...made, to };
}

const ALU64 = 0x07;
const SOURCE_REGISTER = 0x08;
const ALU = { '+': 0x00, '-': 0x10, '*': 0x20, '/': 0x30, '|': 0x40, '&': 0x50, '<<': 0x60, '>>>': 0x70, '%': 0x90, '^': 0xa0, '>>': 0xc0 } as const;
const MOV = 0xb0;
const JMP = 0x05;
/** Unsigned unless the name begins with an s; '&' jumps when any bit of the mask is set. */
const JUMPS = { '==': 0x10, '>': 0x20, '>=': 0x30, '&': 0x40, '!=': 0x50, 's>': 0x60, 's>=': 0x70, '<': 0xa0, '<=': 0xb0, 's<': 0xc0, 's<=': 0xd0 } as const;

function operation(opcode: number, target: Register, value: Operand, to?: string): Slot {
  return typeof value === 'number' ? slot(opcode, target, R0, 0, value, to)
    : slot(opcode | SOURCE_REGISTER, target, value, 0, 0, to);
}

/** target = value; a number is 32 bits, sign-extended to 64. */
export function mov(target: Register, value: Operand): Instruction {
  return operation(ALU64 | MOV, target, value);
}

/** target = target OP value, on 64 bits. */
export function alu(op: keyof typeof ALU, target: Register, value: Operand): Instruction {
  return operation(ALU64 | ALU[op], target, value);
}

/** target = the low `bits` of target, in network byte order: BPF_TO_BE, a swap on little-endian machines. */
export function toBigEndian(target: Register, bits: 16 | 32 | 64): Instruction {
  return slot(0xdc, target, R0, 0, bits);
}

/** target = *(size *)(from + offset) */
export function load(size: Size, target: Register, from: Register, offset: number): Instruction {
  return slot(0x61 | size, target, from, offset, 0);
}

/** *(size *)(to + offset) = value */
export function store(size: Size, to: Register, offset: number, value: Operand): Instruction {
  return typeof value === 'number' ? slot(0x62 | size, to, R0, offset, value) : slot(0x63 | size, to, value, offset, 0);
}

/** *(size *)(to + offset) += value, as one step that no other CPU can come between. W and DW only. */
export function atomicAdd(size: typeof W | typeof DW, to: Register, offset: number, value: Register): Instruction {
  return slot(0xc3 | size, to, value, offset, 0);
}

/** Two slots: target = a 64-bit number. */
export function load64(target: Register, value: bigint): Instruction {
  return wide(target, R0, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
}

/** Two slots: target = the map behind a descriptor (BPF_PSEUDO_MAP_FD). */
export function loadMap(target: Register, fd: number): Instruction {
  return wide(target, R1, fd, 0);
}

function wide(target: Register, source: Register, low: number, high: number): readonly Slot[] {
  return [slot(0x18, target, source, 0, low), slot(0x00, R0, R0, 0, high)];
}

export function label(name: string): Instruction {
  return { kind: 'label', name };
}

export function jump(op: keyof typeof JUMPS, left: Register, right: Operand, to: string): Instruction {
  return operation(JMP | JUMPS[op], left, right, to);
}

export function jumpAlways(to: string): Instruction {
  return slot(JMP, R0, R0, 0, 0, to);
}

/** r0 = helper(r1, ..., r5), by BPF_FUNC_* number. */
export function call(helper: number): Instruction {
  return slot(0x85, R0, R0, 0, helper);
}

export function exit(): Instruction {
  return slot(0x95, R0, R0, 0, 0);
}

/** The program's bytes, 8 per slot. EOPTION for a label that is missing, is there twice, or is too far away. */
export function assemble(program: readonly Instruction[]): Uint8Array {
  const places = new Map<string, number>();
  const slots: Slot[] = [];
  for (const item of program.flat()) {
    if (item.kind === 'instruction') slots.push(item);
    else if (places.has(item.name)) throw wrong(`The label "${item.name}" stands twice: rename one.`);
    else places.set(item.name, slots.length);
  }
  const bytes = new Uint8Array(slots.length * 8);
  slots.forEach((one, at) => encode(bytes, at, one, places));
  return bytes;
}

function encode(bytes: Uint8Array, at: number, one: Slot, places: Map<string, number>): void {
  const offset = one.to === undefined ? one.offset : distance(one.to, at, places);
  if (!Number.isInteger(offset) || offset < -32768 || offset > 32767) throw wrong(`The offset ${offset} does not fit in 16 bits: come nearer.`);
  const { immediate } = one;
  if (!Number.isInteger(immediate) || immediate < -(2 ** 31) || immediate >= 2 ** 32) throw wrong(`${immediate} does not fit in 32 bits: use load64.`);
  bytes[at * 8] = one.opcode;
  bytes[at * 8 + 1] = packRegisters(one.target, one.source);
  setU16(bytes, at * 8 + 2, offset);
  if (immediate < 0) setI32(bytes, at * 8 + 4, immediate);
  else setU32(bytes, at * 8 + 4, immediate);
}

/** struct bpf_insn's two bit fields, which the compiler lays out from the low end on little-endian machines. */
function packRegisters(target: number, source: number): number {
  const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  return little ? target | source << 4 : target << 4 | source;
}

/** Slots from the one after `from` to the label. */
function distance(name: string, from: number, places: Map<string, number>): number {
  const place = places.get(name);
  if (place === undefined) throw wrong(`There is no label "${name}": add it.`);
  return place - from - 1;
}

function wrong(sentence: string): PollmodeError {
  return new PollmodeError('EOPTION', sentence);
}
