/** switchForward in all its builds: the same bytes in the whole zone, whatever frames, flows and mbufs there are. */
import fc from 'fast-check';
import t from 'tap';
import { HASH_NONE } from '../../lib/lookup/hash_layout.js';
import {
  HANDLE_SHIFT, HEADER_BYTES, MBUF_DATA_LEN, MBUF_DATA_OFF, MBUF_OL_FLAGS, MBUF_PKT_LEN, MBUF_REFCNT, MBUF_TX_OFFLOAD, MBUF_VLAN_TCI, RX_RSS_HASH, RX_VLAN_STRIPPED,
} from '../../lib/mbuf/layout.js';
import {
  FLOW_BYTES, FLOW_GENERATION, FLOW_OUT, FLOW_PACKETS, FLOW_TAG, KEY_BYTES, KEY_TAGGED, LINE_SLOTS, PORT_BYTES, PORT_LINE, PORT_RX_PACKETS, PORT_WAITING, SWITCH_FLOWS,
  SWITCH_GENERATION, SWITCH_HASH, SWITCH_KEYS, SWITCH_LEFT, SWITCH_LEFT_FLOWS, SWITCH_NOW, SWITCH_PORTS, SWITCH_TABLE, SWITCH_VALUES, TAG_KEEP, TAG_POP, TAG_PUSH, TAG_SET,
} from '../../lib/switch/layout.js';
import { makeTable } from '../lookup/hash_helper.js';
import { expectSameBytes, HIGH_BASE, IMPLEMENTATIONS, expectEqual, get, get64, makeLab, makePool, readVector, reserve, reset, set, writeVector, type Lab, type Pool } from './layout_helper.js';

const RUNS = process.env['POLLMODE_LONG'] === '1' ? 4000 : 150;
const [MBUFS, FLOWS, PORTS] = [24, 16, 4];

interface Packet {
  /** Which flow it has: MACs are made of the number. */
  readonly flow: number; readonly port: number; readonly length: number; readonly offset: number; readonly tci: number | undefined; readonly refcnt: number;
  readonly stripped: boolean; readonly l2: number;
}
interface Flow { readonly flow: number; readonly port: number; readonly vlan: number | undefined; readonly out: number; readonly tag: number; readonly change: number; readonly generation: number }
interface Case { readonly flows: readonly Flow[]; readonly bursts: readonly (readonly Packet[])[]; readonly waiting: number }

const tcis = fc.constantFrom(undefined, undefined, undefined, undefined, 0x0005, 0x0005, 0xe005, 0x1fff, 0xa000);
const packets: fc.Arbitrary<Packet> = fc.record({
  flow: fc.integer({ min: 0, max: 2 }), port: fc.constantFrom(1, 1, 1, 2), length: fc.oneof({ weight: 5, arbitrary: fc.constant(60) }, fc.integer({ min: 0, max: 80 })),
  offset: fc.oneof({ weight: 3, arbitrary: fc.constant(256) }, fc.integer({ min: 0, max: 300 })), tci: tcis,
  refcnt: fc.constantFrom(1, 1, 1, 2), stripped: fc.constantFrom(false, false, false, true), l2: fc.constantFrom(0, 14, 126),
});
const flows: fc.Arbitrary<Flow> = fc.record({
  flow: fc.integer({ min: 0, max: 2 }), port: fc.constantFrom(1, 1, 1, 2), vlan: fc.constantFrom(undefined, undefined, 5, 5, 4095), out: fc.constantFrom(0, 1, 2, 3, 3),
  tag: fc.constantFrom(TAG_KEEP, TAG_KEEP, TAG_POP, TAG_PUSH, TAG_SET), change: fc.integer({ min: 0, max: 4095 }), generation: fc.constantFrom(7, 7, 7, 0),
}).map(flow => flow.vlan === undefined && (flow.tag === TAG_POP || flow.tag === TAG_SET) ? { ...flow, tag: TAG_PUSH } : flow);
const cases: fc.Arbitrary<Case> = fc.record({
  flows: fc.array(flows, { minLength: FLOWS / 2, maxLength: FLOWS, size: 'max' }), bursts: fc.array(fc.array(packets, { minLength: 1, maxLength: MBUFS, size: 'max' }), { minLength: 1, maxLength: 3 }),
  waiting: fc.constantFrom(0, 0, LINE_SLOTS - 2),
});

interface World { readonly lab: Lab; readonly pool: Pool; readonly sw: number; readonly vector: number; readonly used: ReadonlyMap<number, Flow> }

function makeWorld(lab: Lab, { flows: wanted, waiting }: Case): World {
  reset(lab);
  const pool = makePool(lab, { count: MBUFS, cache: 0, lcores: 1, buffers: true });
  const sw = reserve(lab, 64);
  const hash = makeTable(lab, { keyBytes: KEY_BYTES, capacity: FLOWS, colliding: false });
  const entries = reserve(lab, FLOWS * FLOW_BYTES);
  const ports = reserve(lab, PORTS * PORT_BYTES);
  for (const [field, value] of [
    [SWITCH_TABLE, pool.table], [SWITCH_HASH, hash], [SWITCH_FLOWS, entries], [SWITCH_PORTS, ports], [SWITCH_GENERATION, 7], [SWITCH_NOW, 99],
    [SWITCH_KEYS, reserve(lab, MBUFS * KEY_BYTES)], [SWITCH_VALUES, reserve(lab, MBUFS * 4)], [SWITCH_LEFT, reserve(lab, MBUFS * 4)], [SWITCH_LEFT_FLOWS, reserve(lab, MBUFS * 4)],
  ] as const) set(lab, sw, field, value);
  for (let port = 0; port < PORTS; port++) {
    set(lab, ports + port * PORT_BYTES, PORT_LINE, reserve(lab, LINE_SLOTS * 4));
    set(lab, ports + port * PORT_BYTES, PORT_WAITING, waiting);
  }
  const vector = reserve(lab, MBUFS * 4);
  const used = new Map<number, Flow>();
  wanted.forEach((flow, number) => {
    writeVector(lab, vector, [...keyOf(flow), number]);
    lab.burst.hashAdd(hash, vector, KEY_BYTES, vector + KEY_BYTES, 1, 0);
    const entry = entries + number * FLOW_BYTES;
    set(lab, entry, FLOW_GENERATION, flow.generation);
    set(lab, entry, FLOW_OUT, flow.out);
    set(lab, entry, FLOW_TAG, flow.tag === TAG_KEEP || flow.tag === TAG_POP ? flow.tag : (flow.tag | (flow.change << 16)) >>> 0);
    used.set(number, flow);
  });
  return { lab, pool, sw, vector, used };
}

function macs(flow: number): number[] {
  return [2, 0, 0, 1, flow, 0, 2, 0, 0, 2, 0, flow];
}

function keyOf({ flow, port, vlan }: Flow): number[] {
  const bytes = Uint32Array.from({ length: 3 }, (_, i) => macs(flow).slice(i * 4, i * 4 + 4).reduceRight((sum, byte) => sum * 256 + byte, 0));
  return [...bytes, ((port << 16) | (vlan === undefined ? 0 : KEY_TAGGED | vlan)) >>> 0];
}

function frameOf({ flow, length, tci, stripped }: Packet): number[] {
  const tag = tci === undefined || stripped ? [] : [0x81, 0, tci >>> 8, tci & 255];
  return [...macs(flow), ...tag, 8, 0, ...Array.from({ length: 80 }, (_, i) => i)].slice(0, length);
}

function forward(world: World, burst: readonly Packet[]): number {
  const { lab, pool, sw, vector } = world;
  burst.forEach((packet, i) => {
    const handle = pool.handles[i]!;
    const header = pool.table + handle * HEADER_BYTES;
    lab.u16[(header + MBUF_DATA_OFF) >>> 1] = packet.offset;
    lab.u16[(header + MBUF_REFCNT) >>> 1] = packet.refcnt;
    lab.u16[(header + MBUF_DATA_LEN) >>> 1] = packet.length;
    lab.u16[(header + MBUF_VLAN_TCI) >>> 1] = packet.tci ?? 3;
    set(lab, header, MBUF_PKT_LEN, packet.length);
    set(lab, header, MBUF_OL_FLAGS, RX_RSS_HASH | (packet.stripped ? RX_VLAN_STRIPPED : 0));
    set(lab, header, MBUF_TX_OFFLOAD, packet.l2 | 0x1400);
    lab.zone.set(frameOf(packet), handle * 2 ** HANDLE_SHIFT + packet.offset - lab.base);
  });
  writeVector(lab, vector, pool.handles.slice(0, burst.length));
  return lab.burst.switchForward(sw, burst[0]!.port, vector, burst.length);
}

const PAIRS = [
  [makeLab({ build: 'fast' }), makeLab({ build: 'twin' })], [makeLab({ build: 'portable' }), makeLab({ build: 'twin' })],
  [makeLab({ build: 'checking', checks: true }), makeLab({ build: 'twin' })], [makeLab({ build: 'fast', base: HIGH_BASE }), makeLab({ build: 'twin', base: HIGH_BASE })],
] as const;

for (const [left, right] of PAIRS) {
  t.test(`lockstep: ${left.name} and ${right.name} leave the same bytes`, async t => {
    let [put, kept] = [0, 0];
    fc.assert(fc.property(cases, each => {
      const worlds = [makeWorld(left, each), makeWorld(right, each)] as const;
      for (const burst of each.bursts) {
        const leftOver = forward(worlds[0], burst);
        expectEqual(forward(worlds[1], burst), leftOver);
        expectSameBytes(left, right);
        kept += leftOver;
        put += burst.length - leftOver;
      }
    }), { numRuns: RUNS });
    t.ok(put > RUNS && kept > RUNS, `${put} put in line, ${kept} left`);
  });
}

for (const implementation of IMPLEMENTATIONS) {
  const lab = makeLab(implementation);
  t.test(`${lab.name}: every packet is in one line, with the tag that its flow asks for, or left`, async t => {
    fc.assert(fc.property(cases, each => {
      const world = makeWorld(lab, { ...each, waiting: 0 });
      const burst = each.bursts[0]!;
      const left = forward(world, burst);
      const lines = Array.from({ length: PORTS }, (_, port) => readVector(lab, get(lab, portAt(world, port), PORT_LINE), get(lab, portAt(world, port), PORT_WAITING)));
      const leftHandles = readVector(lab, get(lab, world.sw, SWITCH_LEFT), left);
      expectEqual([...lines.flat(), ...leftHandles].sort((a, b) => a - b), world.pool.handles.slice(0, burst.length));
      expectEqual(get64(lab, portAt(world, burst[0]!.port), PORT_RX_PACKETS), burst.length);
      lines.forEach((line, port) => { for (const handle of line) expectSent(world, burst[handle - world.pool.handles[0]!]!, burst[0]!.port, handle, port); });
      // A flow that is left with its packet has counted it.
      const flowsLeft = readVector(lab, get(lab, world.sw, SWITCH_LEFT_FLOWS), left);
      const counted = [...world.used.keys()].reduce((sum, flow) => sum + get64(lab, get(lab, world.sw, SWITCH_FLOWS) + flow * FLOW_BYTES, FLOW_PACKETS), 0);
      expectEqual(counted, lines.flat().length + flowsLeft.filter(flow => flow !== HASH_NONE).length);
    }), { numRuns: RUNS });
    t.pass(`${RUNS} bursts`);
  });
}

function portAt({ lab, sw }: World, port: number): number {
  return get(lab, sw, SWITCH_PORTS) + port * PORT_BYTES;
}

/** The flow that stands last in the table for this packet's key says so, and the frame is as it says. */
function expectSent({ lab, pool, used }: World, packet: Packet, port: number, handle: number, out: number): void {
  const vlan = packet.tci === undefined ? undefined : packet.tci & 0xfff;
  const flow = [...used.values()].filter(each => each.flow === packet.flow && each.port === port && each.vlan === vlan).at(-1);
  if (flow === undefined) throw new Error(`sent by port ${out} without a flow`);
  expectEqual([flow.out, flow.generation], [out, 7]);
  const tci = flow.tag === TAG_PUSH ? flow.change : flow.tag === TAG_SET ? (packet.tci! & 0xf000) | flow.change : packet.tci;
  const inner = packet.stripped || packet.tci === undefined ? frameOf({ ...packet, tci: undefined }).slice(12) : frameOf(packet).slice(16);
  const old = flow.tag === TAG_PUSH && packet.tci !== undefined ? [0x81, 0, packet.tci >>> 8, packet.tci & 255] : [];
  const tag = flow.tag === TAG_POP || tci === undefined ? [] : [0x81, 0, tci >>> 8, tci & 255];
  const header = pool.table + handle * HEADER_BYTES;
  const start = handle * 2 ** HANDLE_SHIFT + lab.u16[(header + MBUF_DATA_OFF) >>> 1] - lab.base;
  const length = lab.u16[(header + MBUF_DATA_LEN) >>> 1];
  expectEqual([...lab.zone.subarray(start, start + length)], [...macs(packet.flow), ...tag, ...old, ...inner]);
  expectEqual(get(lab, header, MBUF_PKT_LEN), length);
  expectEqual(get(lab, header, MBUF_OL_FLAGS), RX_RSS_HASH);
}
