/** Rules of which a NIC's filters can take some, frames that meet them, and whether the same comes of each frame as without a NIC. */
import fc from 'fast-check';
import { addressBytes } from '../../../../lib/address.js';
import type { Burst } from '../../../../lib/burst/burst.js';
import { NicOffload } from '../../../../lib/flow/nic.js';
import type { FlowAction, FlowMatch, FlowRule } from '../../../../lib/flow/rule.js';
import { FlowTable } from '../../../../lib/flow/table.js';
import type { Mempool } from '../../../../lib/mbuf/mempool.js';
import type { Port } from '../../../../lib/port/port.js';
import { firstMatch } from '../../../flow/rules_helper.js';

/** A port on a model. */
export interface Filtering {
  readonly port: Port;
  readonly pool: Mempool;
  readonly burst: Burst;
  /** From the wire into the rings. */
  give(frame: Uint8Array): void;
}

/** The queue on which it comes out of the table; -1: nowhere. */
export function whereTo(table: FlowTable, { port, pool, burst, give }: Filtering, frame: Uint8Array): number {
  give(frame);
  let found = -1;
  for (const [queue, rx] of [table.around(port.rx[0]!), ...Array.from({ length: port.rx.length - 1 }, (_, i) => table.queue(i + 1))].entries()) {
    // A queue of the table asks the NIC's and its own ring in turn.
    for (let turn = 0; turn < 2; turn++) {
      const got = rx.rxBurst(burst, 8);
      if (got > 0) found = queue;
      pool.free(burst, 0, got);
    }
  }
  return found;
}

const TYPES = [0x88f7, 0x88b5, 0x88b6];
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '10.0.1.1'];
const HIGH = ['2001:db8::1', '2001:db8::2'];
const PROTOCOLS = [1, 6, 17, 47, 132];
const PORTED = [6, 17, 132];

const some = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> => fc.option(fc.constantFrom(...values), { nil: undefined });
/** A whole one mostly, or rules overlap and few go down. */
const address = fc.oneof({ weight: 8, arbitrary: fc.constantFrom<string | undefined>(...ADDRESSES) }, { weight: 1, arbitrary: fc.constantFrom('10.0.0.0/24', undefined) });
const tuple: fc.Arbitrary<FlowMatch> = fc.record({ etherType: some([0x0800]), source: address, destination: address, protocol: some(PROTOCOLS), sourcePort: some([1, 0x102]), destinationPort: some([1, 0x201]) })
  .map(match => Object.fromEntries(Object.entries(match).filter(([key, value]) => value !== undefined && (!key.endsWith('Port') || PORTED.includes(match.protocol ?? 0)))));
const match: fc.Arbitrary<FlowMatch> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...TYPES, ...TYPES, ...TYPES, 0x0800, 0x86dd).map(etherType => ({ etherType })) }, { weight: 7, arbitrary: tuple },
  fc.constantFrom(...HIGH).map(source => ({ source })), fc.constantFrom(1, 5).map(vlan => ({ vlan, etherType: TYPES[0]! })),
).filter(each => Object.keys(each).length > 0);
const fate: fc.Arbitrary<FlowAction[]> = fc.oneof({ weight: 3, arbitrary: fc.constant<FlowAction[]>([{ do: 'drop' }]) }, { weight: 3, arbitrary: fc.constantFrom(1, 2).map((queue): FlowAction[] => [{ do: 'queue', queue }]) }, fc.constant<FlowAction[]>([{ do: 'count' }, { do: 'drop' }]), fc.constant<FlowAction[]>([]));
const rules: fc.Arbitrary<FlowRule[]> = fc.array(fc.tuple(match, fate), { minLength: 1, maxLength: 14, size: 'max' })
  .map(list => list.map(([each, actions], index) => ({ name: `rule ${index}`, priority: index, match: each, actions })));

/** No fragments: of those it is not known what they are to a NIC. */
const frames: fc.Arbitrary<Uint8Array> = fc.record({
  type: fc.oneof({ weight: 4, arbitrary: fc.constant(0x0800) }, { weight: 1, arbitrary: fc.constant(0x86dd) }, { weight: 2, arbitrary: fc.constantFrom(...TYPES) }), tagged: fc.boolean(),
  source: fc.nat(2), destination: fc.nat(2), protocol: fc.constantFrom(...PROTOCOLS), options: fc.nat(1), sourcePort: fc.constantFrom(1, 0x102, 0x201), destinationPort: fc.constantFrom(1, 0x102, 0x201),
}).map(({ type, tagged, source, destination, protocol, options, sourcePort, destinationPort }) => {
  const upper = [sourcePort >> 8, sourcePort & 255, destinationPort >> 8, destinationPort & 255, 0, 20, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0];
  const inside = type === 0x0800
    ? [0x45 + options, 0, 0, 40 + 4 * options, 0, 0, 0x40, 0, 64, protocol, 0, 0, ...addressBytes(ADDRESSES[source]!), ...addressBytes(ADDRESSES[destination]!), ...new Array<number>(4 * options).fill(1), ...upper]
    : type === 0x86dd ? [0x60, 0, 0, 0, 0, 20, protocol === 1 ? 58 : protocol, 64, ...addressBytes(HIGH[source % 2]!), ...addressBytes(HIGH[destination % 2]!), ...upper] : upper;
  const bytes = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, ...(tagged ? [0x81, 0, 0, 5] : []), type >> 8, type & 255, ...inside];
  return Uint8Array.from([...bytes, ...new Array<number>(Math.max(0, 60 - bytes.length)).fill(0)]);
});

/** How many rules went down, and how many of those that drop. Throws for a frame that fares otherwise than by the second opinion on matches. */
export function sameFates(device: Filtering, runs: number): { pushed: number; drops: number; dropped: number } {
  const counts = { pushed: 0, drops: 0, dropped: 0 };
  fc.assert(fc.property(fc.array(rules, { minLength: 1, maxLength: 2 }), fc.array(frames, { minLength: 10, maxLength: 30, size: 'max' }), (versions, sent) => {
    const offload = NicOffload.create(device.port, { firstFragments: true });
    const table = new FlowTable(device.pool, { queues: device.port.rx.length, offload });
    try {
      for (const list of versions) {
        table.replace(list);
        const before = table.query();
        const down = new Set(before.rules.filter(({ ran }) => ran === offload.where).map(({ name }) => name));
        counts.pushed += down.size;
        counts.drops += list.filter(({ name, actions }) => down.has(name) && actions[0]!.do === 'drop').length;
        for (const frame of sent) {
          const name = firstMatch(list, frame);
          const last = list.find(rule => rule.name === name)?.actions.at(-1);
          const wanted = last === undefined ? 0 : last.do === 'drop' ? -1 : last.do === 'queue' ? last.queue as number : 0;
          const found = whereTo(table, device, frame);
          if (found !== wanted) throw new Error(`${Buffer.from(frame).toString('hex')} by ${name ?? 'no rule'}: ${found}, not ${wanted}; ${JSON.stringify(table.query().rules)}`);
          if (wanted === -1) counts.dropped++;
        }
        counts.dropped -= table.query().dropped - before.dropped;
      }
    } finally {
      offload.close();
      table.close();
    }
  }), { numRuns: runs });
  return counts;
}
